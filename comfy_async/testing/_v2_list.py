"""The list of jobs, which the public description of API v2 does not know.

A deployment's is played by what comfy-sdk 0.5.0 tells of it; the proxy's is another one.
"""

from __future__ import annotations

import re
from typing import Any, get_args

from aiohttp import web

from ._v2_board import Board, JobStatus
from ._v2_errors import V2Problem
from ._v2_jobs import V2Jobs, answering
from ._v2_labels import check_filter
from ._v2_live import LiveJob

__all__ = ["V2List"]

_MOST, _USUALLY = 100, 50


class V2List:
    """List jobs, the newest first."""

    def __init__(self, jobs: V2Jobs, board: Board) -> None:
        """Serve from these parts."""
        self._jobs = jobs
        self._board = board

    def table(self) -> list[web.RouteDef]:
        """Return the route, `/api/v2` included."""
        return [web.get("/api/v2/jobs", answering(self._list))]

    async def _list(self, request: web.Request) -> web.Response:
        proxy = self._board.manners.style == "proxy"
        if not self._board.manners.lists_jobs:
            if proxy:
                raise V2Problem(404, "not_found", "There is no such route.")
            raise V2Problem(501, "not_implemented", "Jobs are not listed here yet.")
        limit = self._limit(request)
        found = (self._board.find(job_id) for job_id in reversed(self._board.jobs))
        jobs = [job for job in found if job is not None]
        return self._proxys(request, jobs, limit) if proxy else self._page(request, jobs, limit)

    def _limit(self, request: web.Request) -> int:
        """Return how many jobs are wanted.

        Raises:
            V2Problem: That is no number, or out of bounds.
        """
        text = request.query.get("limit", str(_USUALLY))
        limit = int(text) if text.isdigit() else 0
        if not 1 <= limit <= _MOST:
            raise V2Problem(400, "invalid_request", f"'limit' is a number from 1 to {_MOST}.")
        return limit

    def _proxys(self, request: web.Request, jobs: list[LiveJob], limit: int) -> web.Response:
        """Return whole jobs, of some statuses, all in one page."""
        wanted = {word.strip() for word in request.query.get("status", "").split(",") if word.strip()}
        if unknown := wanted - set(get_args(JobStatus)):
            raise V2Problem(400, "invalid_request", f"There is no status {', '.join(sorted(unknown))}.")
        told = [self._jobs.told(job, request) for job in jobs]
        found = [job for job in told if not wanted or job["status"] in wanted]
        return web.json_response({"jobs": found[:limit], "truncated": False})

    def _page(self, request: web.Request, jobs: list[LiveJob], limit: int) -> web.Response:
        """Return a page of short entries with these labels, and the cursor of the next."""
        labels = self._labels(request)
        kept = [job for job in jobs if not labels or labels.items() <= _metadata(job).items()]
        start = 0
        if cursor := request.query.get("cursor"):
            ids = [job.id for job in kept]
            if cursor not in ids:
                raise V2Problem(400, "invalid_cursor", "This cursor was not given here.")
            start = ids.index(cursor)
        page: dict[str, Any] = {"jobs": [self._entry(job) for job in kept[start : start + limit]]}
        if start + limit < len(kept):
            page["next_cursor"] = kept[start + limit].id
        return web.json_response(page)

    def _labels(self, request: web.Request) -> dict[str, str]:
        """Return the filter of a request, none where labels are not kept.

        Raises:
            V2Problem: It cannot be read.
        """
        found = {}
        for name, value in request.query.items():
            if name.startswith("metadata"):
                key = re.fullmatch(r"metadata\[(.*)\]", name)
                found[key[1] if key else ""] = value
        if self._board.manners.labels != "kept":
            return {}
        check_filter(found)
        return found

    def _entry(self, job: LiveJob) -> dict[str, Any]:
        return {
            "id": job.id,
            "status": self._board.status(job),
            "create_time": self._board.words.time(job.created_at),
            "update_time": self._board.words.time(self._board.changed_at(job)),
            "deployment_id": "dep-fake",
            "metadata": _metadata(job),
        }


def _metadata(job: LiveJob) -> dict[str, str]:
    """Return the labels of a job."""
    return job.metadata if isinstance(job.metadata, dict) else {}
