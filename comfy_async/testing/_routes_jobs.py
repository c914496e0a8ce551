"""The jobs API, which is only there under /api (comfy_execution/jobs.py)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from ._core import Core
from ._queue import QueueItem
from ._routes_run import is_canonical_uuid

__all__ = ["JobRoutes", "ended_job", "outputs_summary", "queued_job"]

_STATUSES = ["pending", "in_progress", "completed", "failed", "cancelled"]
_ENDED = {"completed", "failed", "cancelled"}
_PREVIEWABLE = {"images", "video", "audio", "3d", "text"}
_MODEL_SUFFIXES = (".obj", ".fbx", ".gltf", ".glb", ".usdz")
_TEXT_SUFFIXES = (".txt", ".md", ".json")
_TEXT_LIMIT = 1024


class JobRoutes:
    """List, look up and cancel jobs."""

    def __init__(self, core: Core) -> None:
        """Serve from these parts."""
        self._core = core
        self._ended: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    def table(self) -> list[web.RouteDef]:
        """Return the routes, `/api` included."""
        capabilities = self._core.capabilities
        routes = []
        if capabilities.has("jobs_cancel"):
            routes += [
                web.post("/api/jobs/cancel", self._cancel_many),
                web.post("/api/jobs/{job_id}/cancel", self._cancel_one),
            ]
        if capabilities.has("jobs"):
            routes += [web.get("/api/jobs", self._list), web.get("/api/jobs/{job_id}", self._one)]
        return routes

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            wanted = self._statuses(query.get("status"))
            sort_by = _one_of(
                query.get("sort_by", "created_at"), "sort_by", ["created_at", "execution_duration"]
            )
            order = _one_of(query.get("sort_order", "desc"), "sort_order", ["asc", "desc"])
            limit = _limit(query.get("limit"))
            offset = max(0, _integer(query.get("offset", "0"), "offset"))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        jobs = self._gather(wanted)
        workflow = query.get("workflow_id")
        if workflow:
            jobs = [job for job in jobs if job.get("workflow_id") == workflow]
        jobs.sort(key=_duration if sort_by == "execution_duration" else _created, reverse=order == "desc")
        page = jobs[offset:] if limit is None else jobs[offset : offset + limit]
        pagination = {
            "offset": offset,
            "limit": limit,
            "total": len(jobs),
            "has_more": offset + len(page) < len(jobs),
        }
        return web.json_response({"jobs": page, "pagination": pagination})

    def _statuses(self, text: str | None) -> set[str]:
        """Read a list of statuses.

        Raises:
            ValueError: One of them is none.
        """
        known = [status for status in _STATUSES if status != "cancelled" or self._knows_cancelled]
        wanted = [part.strip().lower() for part in (text or "").split(",") if part.strip()]
        bad = [status for status in wanted if status not in known]
        if bad:
            valid = ", ".join(known)
            raise ValueError(f"Invalid status value(s): {', '.join(bad)}. Valid values: {valid}")
        return set(wanted or known)

    @property
    def _knows_cancelled(self) -> bool:
        """Before 0.9.0 what was interrupted is called failed."""
        return self._core.capabilities.has("jobs_cancelled")

    def _gather(self, wanted: set[str]) -> list[dict[str, Any]]:
        """Return all jobs of some statuses; the history is left alone when none of it is asked for."""
        queue = self._core.queue
        jobs = []
        if "in_progress" in wanted:
            jobs += [queued_job(item, "in_progress") for item in queue.running]
        if "pending" in wanted:
            jobs += [queued_job(item, "pending") for item in queue.pending]
        if wanted & _ENDED:
            ended = (self._ended_job(prompt_id, entry) for prompt_id, entry in queue.history.items())
            jobs += [job for job in ended if job["status"] in wanted]
        return jobs

    def _ended_job(self, prompt_id: str, entry: dict[str, Any]) -> dict[str, Any]:
        """Return a job of the history, worked out once: thousands of them are asked for again and again."""
        known = self._ended.get(prompt_id)
        if known is None or known[0] is not entry:
            if len(self._ended) > 2 * len(self._core.queue.history):
                self._ended.clear()
            shown = {**entry, "outputs": self._outputs(entry)}
            known = self._ended[prompt_id] = (entry, self._told(ended_job(prompt_id, shown)))
        return known[1]

    def _told(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return a job of the history in the format of this version."""
        if job["status"] == "cancelled" and not self._knows_cancelled:
            return {**job, "status": "failed"}
        return job

    async def _one(self, request: web.Request) -> web.Response:
        job = self._find(request.match_info["job_id"])
        if job is None:
            return web.json_response({"error": "Job not found"}, status=404)
        return web.json_response(job)

    def _find(self, job_id: str) -> dict[str, Any] | None:
        queue = self._core.queue
        entry = queue.history.get(job_id)
        if entry is not None:
            _, _, prompt, extra_data, _ = entry["prompt"]
            return {
                **self._told(ended_job(job_id, {**entry, "outputs": self._outputs(entry)})),
                "outputs": self._outputs(entry),
                "execution_status": entry["status"],
                "workflow": {"prompt": prompt, "extra_data": extra_data},
            }
        for items, status in ((queue.running, "in_progress"), (queue.pending, "pending")):
            for item in items:
                if item.prompt_id == job_id:
                    return queued_job(item, status) | self._workflow(item)
        return None

    def _outputs(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return the outputs of an ended job, with what newer servers know of the files."""
        store, outputs = self._core.assets, entry["outputs"]
        return outputs if store is None else store.told(outputs)

    def _workflow(self, item: QueueItem) -> dict[str, Any]:
        """Return the graph of a job that has not ended, where the server tells it before that."""
        if not self._core.capabilities.has("jobs_workflow"):
            return {}
        return {"workflow": {"prompt": item.prompt, "extra_data": item.extra_data}}

    async def _cancel_one(self, request: web.Request) -> web.Response:
        return web.json_response({"cancelled": self._cancel(request.match_info["job_id"])})

    async def _cancel_many(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except json.JSONDecodeError:
            return web.json_response({"error": "Request body must be valid JSON"}, status=400)
        ids = body.get("job_ids") if isinstance(body, dict) else None
        if not isinstance(ids, list):
            return web.json_response({"error": "job_ids must be a list"}, status=400)
        bad = [
            value if isinstance(value, str) else repr(value) for value in ids if not is_canonical_uuid(value)
        ]
        if bad:
            error = {"error": "job_ids contains invalid id(s)", "invalid_ids": bad}
            return web.json_response(error, status=400)
        cancelled = [self._cancel(job_id) for job_id in ids]
        return web.json_response({"cancelled": any(cancelled)})

    def _cancel(self, job_id: str) -> bool:
        """Interrupt a running job or delete a pending one; True is no proof that it takes effect."""
        queue = self._core.queue
        if queue.is_running(job_id):
            self._core.interrupt()
            return True
        dropped = queue.delete(job_id)
        if dropped is None:
            return False
        self._core.books.end(dropped.record, "deleted")
        return True


def queued_job(item: QueueItem, status: str) -> dict[str, Any]:
    """Return a job that has not ended."""
    job = {
        "id": item.prompt_id,
        "status": status,
        "priority": item.number,
        "create_time": item.extra_data.get("create_time"),
        "outputs_count": 0,
        "previewable_outputs_count": 0,
        "workflow_id": _workflow_id(item.extra_data),
    }
    return {key: value for key, value in job.items() if value is not None}


def ended_job(prompt_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return a job that is in the history."""
    number, _, _, extra_data, _ = entry["prompt"]
    events = dict(entry["status"]["messages"])
    error = events.get("execution_error")
    interrupted = "execution_interrupted" in events
    end = events.get("execution_success") or error or events.get("execution_interrupted") or {}
    failed = "cancelled" if interrupted else "failed"
    count, previewable, preview = outputs_summary(entry["outputs"])
    job = {
        "id": prompt_id,
        "status": "completed" if entry["status"]["status_str"] == "success" else failed,
        "priority": number,
        "create_time": extra_data.get("create_time"),
        "execution_start_time": events.get("execution_start", {}).get("timestamp"),
        "execution_end_time": end.get("timestamp"),
        "execution_error": error,
        "outputs_count": count,
        "previewable_outputs_count": previewable,
        "preview_output": preview,
        "workflow_id": _workflow_id(extra_data),
    }
    return {key: value for key, value in job.items() if value is not None}


def outputs_summary(outputs: dict[str, Any]) -> tuple[int, int, dict[str, Any] | None]:
    """Return how many outputs there are, how many can be shown, and the one to show.

    Saved media come first, then temporary ones, then text files, then plain text.
    """
    count = previewable = 0
    best: dict[int, dict[str, Any]] = {}
    for node_id, key, item in _output_items(outputs):
        if isinstance(item, str):
            if key == "text":
                shown: dict[str, Any] = {"content": item[:_TEXT_LIMIT]}
                if len(item) > _TEXT_LIMIT:
                    shown["truncated"] = True
                best.setdefault(3, {**shown, "nodeId": node_id, "mediaType": key})
            continue
        count += 1
        if not _is_previewable(key, item):
            continue
        previewable += 1
        textual = key == "text" or str(item.get("filename", "")).lower().endswith(_TEXT_SUFFIXES)
        rank = 2 if textual else 0 if item.get("type") == "output" else 1
        best.setdefault(rank, {"mediaType": key, **item, "nodeId": node_id})
    return count, previewable, best[min(best)] if best else None


def _output_items(outputs: dict[str, Any]) -> Iterable[tuple[str, str, Any]]:
    """Return every output as node, key and item; names of 3D files count as files."""
    for node_id, by_key in outputs.items():
        for key, items in by_key.items():
            if key == "animated" or not isinstance(items, list):
                continue
            for item in items:
                if isinstance(item, str) and item.lower().endswith(_MODEL_SUFFIXES):
                    yield (
                        node_id,
                        key,
                        {"filename": item, "type": "output", "subfolder": "", "mediaType": "3d"},
                    )
                elif isinstance(item, (dict, str)):
                    yield node_id, key, item


def _is_previewable(key: str, item: dict[str, Any]) -> bool:
    """Whether an output can be shown in a list of jobs."""
    kind = str(item.get("format", ""))
    name = str(item.get("filename", "")).lower()
    return (
        key in _PREVIEWABLE
        or kind.startswith(("video/", "audio/"))
        or name.endswith(_MODEL_SUFFIXES + _TEXT_SUFFIXES)
    )


def _workflow_id(extra_data: dict[str, Any]) -> str | None:
    """Return the editor's id of the workflow, when the client sent it along."""
    found: str | None = ((extra_data.get("extra_pnginfo") or {}).get("workflow") or {}).get("id")
    return found


def _created(job: dict[str, Any]) -> float:
    return float(job.get("create_time", 0))


def _duration(job: dict[str, Any]) -> float:
    start, end = job.get("execution_start_time"), job.get("execution_end_time")
    return end - start if start and end else 0.0


def _one_of(text: str, name: str, valid: list[str]) -> str:
    """Read a choice.

    Raises:
        ValueError: It is none of them.
    """
    if text.lower() not in valid:
        raise ValueError(f"{name} must be {' or '.join(repr(choice) for choice in valid)}")
    return text.lower()


def _integer(text: str, name: str) -> int:
    """Read a number.

    Raises:
        ValueError: It is none.
    """
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must be an integer") from None


def _limit(text: str | None) -> int | None:
    """Read the number of jobs that are wanted.

    Raises:
        ValueError: It is no number above zero.
    """
    if text is None:
        return None
    limit = _integer(text, "limit")
    if limit <= 0:
        raise ValueError("limit must be a positive integer")
    return limit
