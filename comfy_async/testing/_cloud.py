"""The cloud's v1 dialect, as its documentation has it (PROTOCOL 4); never compared with the cloud."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from ._books import RunRecord, Upload
from ._core import Core
from ._queue import QueueItem
from ._routes_files import FileRoutes
from ._routes_jobs import ended_job, queued_job
from ._storage import Storage
from ._validate import validate_prompt

__all__ = ["ACCOUNT", "CloudRoutes"]

ACCOUNT = "the account"
"""Stands for the client id that the cloud ignores: every socket of the account gets everything."""

_PUBLIC = (
    "/api/extensions /api/global_subgraphs /api/node_replacements /api/system_stats "
    "/api/workflow_templates /api/features /api/experiment/models /health"
).split()
_OLD_STATUSES = {"failed": "error"}
_MAX_UPLOAD = 50 * 1024 * 1024
_DEFAULT_LIMIT, _MAX_LIMIT = 100, 1000


class CloudRoutes:
    """What the cloud serves in another format than a local server."""

    def __init__(self, core: Core, storage: Storage, *, api_key: str, prefix: str) -> None:
        """Serve one account with one key."""
        self._core = core
        self._storage = storage
        self._api_key = api_key
        self._prefix = prefix
        self._files = FileRoutes(core)

    def fixed(self) -> list[web.RouteDef]:
        """Return the routes that are not under /api."""
        return [web.get("/health", self._health)]

    def table(self) -> list[web.RouteDef]:
        """Return the routes that are under /api, without it."""
        return [
            web.post("/prompt", self._submit),
            web.get("/prompt", self._queue_info),
            web.get("/queue", self._show_queue),
            web.post("/queue", self._change_queue),
            web.post("/interrupt", self._interrupt),
            web.get("/history_v2", self._history),
            web.get("/history_v2/{prompt_id}", self._history_of),
            web.post("/history", self._nothing),
            web.get("/job/{job_id}/status", self._old_status),
            web.get("/jobs", self._list),
            web.get("/jobs/{job_id}", self._one),
            web.post("/jobs/cancel", self._cancel_many),
            web.post("/jobs/{job_id}/cancel", self._cancel_one),
            web.get("/view", self._view),
            web.post("/upload/image", self._upload),
            web.post("/upload/mask", self._upload),
            web.get("/user", self._user),
        ]

    def admits(self, request: web.Request) -> bool:
        """Whether a request brings the key, or needs none."""
        path = request.path.removeprefix(self._prefix)
        if path == "/ws":
            return request.query.get("token") == self._api_key
        given = request.headers.get("X-API-Key") or request.headers.get("Authorization", "").removeprefix(
            "Bearer "
        )
        return given == self._api_key or path.startswith(tuple(_PUBLIC))

    def refusal(self) -> web.Response:
        """Return what those without a key get."""
        return _problem(401, "UNAUTHORIZED", "A valid API key is needed.")

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _user(self, _request: web.Request) -> web.Response:
        return web.json_response({"id": "user_fake", "status": "active"})

    async def _nothing(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _queue_info(self, _request: web.Request) -> web.Response:
        return web.json_response(self._core.queue_info())

    async def _submit(self, request: web.Request) -> web.Response:
        """Queue a prompt under an id of the server's own; number, front and client_id mean nothing."""
        body = await request.json()
        if not isinstance(body.get("prompt"), dict):
            return _refused({"type": "no_prompt", "message": "No prompt provided", "details": ""}, {})
        verdict = validate_prompt(
            body["prompt"],
            self._core.classes.rules(self._core.capabilities),
            targets=body.get("partial_execution_targets"),
        )
        if verdict.error is not None:
            return _refused(verdict.error, verdict.node_errors)
        number = self._core.next_number
        self._core.next_number += 1
        prompt_id = str(uuid.uuid4())
        extra_data = dict(body.get("extra_data") or {})
        self._core.stamp(extra_data)
        secrets = self._core.take_secrets(extra_data)
        record = RunRecord(prompt_id, None, number, extra_data=extra_data, secrets=secrets)
        self._core.books.accept(record)
        self._core.queue.put(
            QueueItem(number, prompt_id, body["prompt"], extra_data, verdict.outputs, secrets, record)
        )
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        return web.json_response(answer)

    async def _show_queue(self, _request: web.Request) -> web.Response:
        def row(item: QueueItem) -> list[Any]:
            times = {"create_time": item.extra_data.get("create_time")}
            return [item.number, item.prompt_id, item.prompt, item.outputs, times]

        queue = self._core.queue
        return web.json_response(
            {
                "queue_running": [row(item) for item in queue.running],
                "queue_pending": [row(item) for item in queue.pending],
            }
        )

    async def _change_queue(self, request: web.Request) -> web.Response:
        """Cancel jobs, running ones too, or clear the pending ones."""
        body = await request.json()
        deleted = [job_id for job_id in body.get("delete", ()) if self._cancel(job_id)]
        cleared = bool(body.get("clear"))
        if cleared:
            for item in self._core.queue.clear():
                self._core.books.end(item.record, "deleted")
        return web.json_response({"deleted": deleted, "cleared": cleared})

    async def _interrupt(self, _request: web.Request) -> web.Response:
        self._core.interrupt()
        return web.Response()

    async def _history(self, _request: web.Request) -> web.Response:
        entries = [
            {"prompt_id": prompt_id, **entry}
            for prompt_id, entry in reversed(self._core.queue.history.items())
        ]
        return web.json_response({"history": entries})

    async def _history_of(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = self._core.queue.history.get(prompt_id)
        if entry is None:
            return _problem(404, "NOT_FOUND", "There is no history of this prompt.")
        return web.json_response({prompt_id: entry})

    async def _old_status(self, request: web.Request) -> web.Response:
        job = self._find(request.match_info["job_id"])
        if job is None:
            return _problem(404, "NOT_FOUND", "Job not found")
        return web.json_response({"id": job["id"], "status": _OLD_STATUSES.get(job["status"], job["status"])})

    async def _list(self, request: web.Request) -> web.Response:
        """List jobs, the newest first, in pages with a cursor."""
        query = request.query
        try:
            limit = min(_MAX_LIMIT, int(query.get("limit", _DEFAULT_LIMIT)))
            offset = int(query.get("after") or query.get("offset") or 0)
        except ValueError:
            return _problem(400, "INVALID_REQUEST", "limit and after must be numbers")
        by = "execution_start_time" if query.get("sort_by") == "execution_time" else "create_time"
        wanted = {status.strip() for status in query.get("status", "").split(",") if status.strip()}
        jobs = [job for job in self._all() if not wanted or job["status"] in wanted]
        jobs.sort(key=lambda job: job.get(by) or 0, reverse=query.get("sort_order", "desc") == "desc")
        page = jobs[offset : offset + limit]
        following = offset + len(page)
        more = following < len(jobs)
        pagination: dict[str, Any] = {"offset": offset, "limit": limit, "total": len(jobs), "has_more": more}
        if more:
            pagination["next_cursor"] = str(following)
        return web.json_response({"jobs": page, "pagination": pagination})

    async def _one(self, request: web.Request) -> web.Response:
        job = self._find(request.match_info["job_id"])
        if job is None:
            return _problem(404, "NOT_FOUND", "Job not found")
        entry = self._core.queue.history.get(job["id"])
        if entry is not None:
            _, _, prompt, extra_data, _ = entry["prompt"]
            job |= {
                "outputs": entry["outputs"],
                "execution_status": entry["status"],
                "execution_meta": entry["meta"],
                "workflow": {"prompt": prompt, "extra_data": extra_data},
            }
        return web.json_response(job)

    async def _cancel_one(self, request: web.Request) -> web.Response:
        job_id = request.match_info["job_id"]
        if self._find(job_id) is None:
            return _problem(404, "NOT_FOUND", "Job not found")
        return web.json_response({"cancelled": self._cancel(job_id)})

    async def _cancel_many(self, request: web.Request) -> web.Response:
        """Cancel some jobs; one unknown id among them, and nothing is cancelled."""
        try:
            ids = (await request.json())["job_ids"]
        except (json.JSONDecodeError, KeyError, TypeError):
            return _problem(400, "INVALID_REQUEST", "job_ids must be a list")
        unknown = [job_id for job_id in ids if self._find(job_id) is None]
        if unknown:
            return _problem(404, "NOT_FOUND", f"Jobs not found: {', '.join(map(str, unknown))}")
        return web.json_response({"cancelled": [job_id for job_id in ids if self._cancel(job_id)]})

    def _cancel(self, job_id: str) -> bool:
        queue = self._core.queue
        if queue.is_running(job_id):
            self._core.interrupt()
            return True
        dropped = queue.delete(job_id)
        if dropped is not None:
            self._core.books.end(dropped.record, "deleted")
        return dropped is not None

    def _all(self) -> list[dict[str, Any]]:
        queue = self._core.queue
        jobs = [queued_job(item, "in_progress") for item in queue.running]
        jobs += [self._waiting(item) for item in queue.pending]
        jobs += [ended_job(prompt_id, entry) for prompt_id, entry in queue.history.items()]
        return [_with_update_time(job) for job in jobs]

    def _waiting(self, item: QueueItem) -> dict[str, Any]:
        """Return a job that waits; newer clouds say where and why."""
        job = queued_job(item, "pending")
        if self._core.capabilities.has("jobs_workflow"):
            place = sorted(self._core.queue.pending).index(item)
            job |= {"queue_position": place, "queue_reason": "concurrency_limit"}
        return job

    def _find(self, job_id: str) -> dict[str, Any] | None:
        queue = self._core.queue
        if job_id in queue.history:
            return _with_update_time(ended_job(job_id, queue.history[job_id]))
        for items, status in ((queue.running, "in_progress"), (queue.pending, "pending")):
            for item in items:
                if item.prompt_id == job_id:
                    job = self._waiting(item) if status == "pending" else queued_job(item, status)
                    return _with_update_time(job)
        return None

    async def _view(self, request: web.Request) -> web.StreamResponse:
        """Redirect to where the file really is; a channel or a thumbnail is answered here."""
        found = self._files.locate(request)
        if isinstance(found, int):
            return _problem(found, "NOT_FOUND", "There is no such file.")
        if "res" in request.query:
            size = max(64, min(1024, int(request.query["res"])))
            return web.Response(body=_thumbnail(found, size), content_type="image/jpeg")
        if "channel" in request.query:
            return await self._files.view(request)
        return web.Response(status=302, headers={"Location": self._storage.link(found)})

    async def _upload(self, request: web.Request) -> web.Response:
        """Store a file under a name made of its content; subfolder and overwrite mean nothing."""
        form = await request.post()
        field = form.get("image")
        if not isinstance(field, web.FileField):
            return _problem(400, "INVALID_REQUEST", "image is missing")
        data = field.file.read()
        if len(data) > _MAX_UPLOAD:
            return _problem(400, "INVALID_REQUEST", "The file is larger than 50 MB.")
        name = hashlib.blake2b(data, digest_size=20).hexdigest() + Path(field.filename).suffix
        kind = str(form.get("type") or "input")
        folder = self._core.folders.of_type(kind)
        if folder is None:
            return _problem(400, "INVALID_REQUEST", "There is no such type.")
        written = not (folder / name).exists()
        (folder / name).write_bytes(data)
        self._core.books.uploads.append(Upload(name, "", kind, len(data), written))
        self._core.books.touch()
        return web.json_response({"name": name, "subfolder": "", "type": kind})


def _with_update_time(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job with the time of its last change."""
    latest = job.get("execution_end_time") or job.get("execution_start_time") or job.get("create_time")
    return {**job, "update_time": latest}


def _thumbnail(path: Path, size: int) -> bytes:
    """Return a small JPEG of a picture."""
    buffer = io.BytesIO()
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
        picture.thumbnail((size, size))
        picture.save(buffer, format="JPEG")
    return buffer.getvalue()


def _problem(status: int, code: str, message: str) -> web.Response:
    """Return an error in the cloud's shape."""
    return web.json_response({"code": code, "message": message}, status=status)


def _refused(error: dict[str, Any], node_errors: dict[str, Any]) -> web.Response:
    """Return a refused prompt, in a shape of its own."""
    return web.json_response({"error": error, "node_errors": node_errors}, status=400)
