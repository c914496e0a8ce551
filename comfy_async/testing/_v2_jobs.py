"""The job routes of API v2."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

from aiohttp import web

from ._books import RunRecord
from ._core import Core
from ._queue import QueueItem
from ._routes_run import is_canonical_uuid
from ._v2_board import Board, JobStatus
from ._v2_errors import REFUSALS, JobRefusal, V2Problem, rejection
from ._v2_labels import check_labels
from ._v2_live import LiveJob
from ._v2_manners import ApiV2
from ._v2_stream import Stream
from ._validate import Validation, validate_prompt

__all__ = ["V2Jobs", "answering", "base_of"]

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LONGEST_KEY = 255
_STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


def answering(handler: Handler) -> Handler:
    """Let a handler refuse by raising."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except V2Problem as problem:
            return problem.response()

    return answer


def base_of(request: web.Request, prefix: str) -> str:
    """Return scheme, host and prefix under which a client asked."""
    return f"{request.scheme}://{request.host}{prefix}"


class V2Jobs:
    """Submit, look up, follow and cancel jobs."""

    def __init__(self, core: Core, board: Board, *, prefix: str) -> None:
        """Serve from these parts."""
        self._core = core
        self._board = board
        self._prefix = prefix

    def table(self) -> list[web.RouteDef]:
        """Return the routes, `/api/v2` included."""
        routes = [
            web.post("/api/v2/jobs", self._submit),
            web.get("/api/v2/jobs/{id}", self._one),
            web.get("/api/v2/jobs/{id}/workflow", self._workflow),
            web.post("/api/v2/jobs/{id}/cancel", self._cancel),
            web.get("/api/v2/jobs/{id}/events", self._events),
        ]
        return [web.route(route.method, route.path, answering(route.handler)) for route in routes]

    @property
    def _manners(self) -> ApiV2:
        return self._board.manners

    async def _submit(self, request: web.Request) -> web.Response:
        """Check a job and queue it, once for each key."""
        body = await self._read(request)
        self._closed(body)
        workflow = self._graph(body)
        prompt = self._resolved(workflow)
        key = self._key(request)
        try:
            verdict = self._verdict(prompt)
        except V2Problem:
            self._board.keys.pop(key or "", None)
            raise
        if self._board.swallowed:
            # Whether a job was made is not known to whoever asked: the key stays claimed.
            status = self._board.swallowed.pop(0)
            code: JobRefusal = "upstream_unreachable" if status == 503 else "upstream_error"
            raise V2Problem(status, code, REFUSALS[code][1])
        job = self._queued(prompt, verdict, body)
        answer = self.told(job, request, status=self._board.status(job))
        if self._manners.style == "proxy":
            # It does not look again.
            answer |= {"status": "queued", "queue_position": None, "progress": None, "outputs": []}
        return web.json_response(answer, status=201)

    async def _read(self, request: web.Request) -> dict[str, Any]:
        """Return the body of a request.

        Raises:
            V2Problem: It is no JSON object.
        """
        try:
            body = await request.json()
        except (json.JSONDecodeError, UnicodeDecodeError):
            body = None
        if not isinstance(body, dict):
            self._invalid("The body is no JSON object.")
        found: dict[str, Any] = body
        return found

    def _closed(self, body: dict[str, Any]) -> None:
        """Refuse what may not be sent along.

        Raises:
            V2Problem: There is such a thing.
        """
        for name in ("webhook_url", "inputs"):
            if body.get(name) is not None:
                raise V2Problem(422, "invalid_workflow", f"{name!r} is reserved and not accepted.")
        extra = body.get("extra_data")
        if extra == {} and self._manners.style == "proxy":
            extra = None
        key = extra.get("api_key_comfy_org") if isinstance(extra, dict) else None
        if extra is not None and not (isinstance(key, str) and len(extra) == 1):
            self._invalid("'extra_data' takes 'api_key_comfy_org' alone, which is a text.")
        check_labels(body.get("metadata"), self._manners)

    def _invalid(self, message: str) -> NoReturn:
        """Refuse a request whose form is wrong: the proxy with 400, which the description does not know.

        Raises:
            V2Problem: Always.
        """
        if self._manners.style == "proxy":
            raise V2Problem(400, "invalid_request", message)
        raise V2Problem(422, "invalid_workflow", message)

    def _graph(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the graph of a request.

        Raises:
            V2Problem: There is none, or it is an editor's.
        """
        workflow = body.get("workflow")
        if not isinstance(workflow, dict):
            raise V2Problem(422, "invalid_workflow", "'workflow' is missing: a graph in API format.")
        if isinstance(workflow.get("nodes"), list) and "links" in workflow:
            message = "This is the editor's format. Export the workflow in API format."
            raise V2Problem(422, "workflow_format_ui", message)
        if not all(
            isinstance(node, dict) and isinstance(node.get("inputs", {}), dict) for node in workflow.values()
        ):
            raise V2Problem(422, "invalid_workflow", "A node is no object with class_type and inputs.")
        return workflow

    def _resolved(self, workflow: dict[str, Any]) -> dict[str, Any]:
        """Return a graph with names in the place of references to assets.

        Raises:
            V2Problem: A reference leads nowhere.
        """
        missing: list[str] = []
        resolved: dict[str, Any] = self._replaced(workflow, missing)
        if missing:
            message = f"No such asset: {', '.join(missing)}"
            raise V2Problem(422, "missing_asset", message, missing_ids=missing)
        if not all(_is_node(node) for node in resolved.values()):
            raise V2Problem(422, "invalid_workflow", "A node is no object with class_type and inputs.")
        return resolved

    def _replaced(self, value: Any, missing: list[str]) -> Any:
        if isinstance(value, dict) and value.get("__type") == "core/ASSET":
            info = value.get("info")
            asset = None
            if isinstance(info, dict):
                asset = self._board.shelf.assets.get(info.get("id", ""))
                if asset is None and self._manners.style == "proxy" and isinstance(info.get("hash"), str):
                    asset = self._board.shelf.with_hash(info["hash"])
            if asset is None:
                missing.append(str(info.get("id", "<no id>")) if isinstance(info, dict) else "<no info>")
                return value
            return self._board.shelf.name_in_graph(asset, style=self._manners.style)
        if isinstance(value, dict):
            return {key: self._replaced(item, missing) for key, item in value.items()}
        return [self._replaced(item, missing) for item in value] if isinstance(value, list) else value

    def _key(self, request: web.Request) -> str | None:
        """Claim the key of a request.

        Raises:
            V2Problem: It was used before, or is none.
        """
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return None
        if not 1 <= len(key) <= _LONGEST_KEY:
            self._invalid(f"An Idempotency-Key has 1 to {_LONGEST_KEY} characters.")
        if not self._board.claim(key):
            message = "This Idempotency-Key was used before: look for its job instead of sending it again."
            raise V2Problem(422, "idempotency_key_reuse", message)
        return key

    def _verdict(self, prompt: dict[str, Any]) -> Validation:
        """Check a graph and whether there is room for it.

        Raises:
            V2Problem: It cannot run, or the queue is full.
        """
        core = self._core
        verdict = validate_prompt(prompt, core.classes.rules(core.capabilities))
        partly = bool(verdict.node_errors) and self._manners.partial == "reject"
        if verdict.error is not None or partly:
            raise rejection(verdict, prompt, style=self._manners.style)
        limit = self._manners.max_queue
        if limit is not None and len(core.queue.pending) >= limit:
            raise V2Problem(429, "queue_full", "The queue is full.", headers={"Retry-After": "1"})
        return verdict

    def _queued(self, prompt: dict[str, Any], verdict: Validation, body: dict[str, Any]) -> LiveJob:
        """Queue a graph; its frames go to nobody's socket but to the job."""
        core = self._core
        job_id = str(uuid.uuid4())
        job = LiveJob(job_id, prompt, self._manners, time.time())
        if self._manners.labels == "kept":
            job.metadata = body.get("metadata")
        if self._manners.style == "proxy":
            job.priority = body.get("priority")
        job.need(verdict.outputs)
        self._board.add(job)
        core.hub.taps[job_id] = job.hear
        extra_data = {**(body.get("extra_data") or {}), "client_id": job_id}
        secrets = core.take_secrets(extra_data)
        core.stamp(extra_data)
        number = core.next_number
        core.next_number += 1
        record = RunRecord(job_id, job_id, number, extra_data=extra_data, secrets=secrets)
        core.books.accept(record)
        core.queue.put(QueueItem(number, job_id, prompt, extra_data, verdict.outputs, secrets, record))
        return job

    def _job(self, request: web.Request) -> LiveJob:
        """Return the job that a request names.

        Raises:
            V2Problem: There is none.
        """
        job_id = request.match_info["id"]
        job = self._board.find(job_id) if is_canonical_uuid(job_id) else None
        if job is None:
            raise V2Problem(404, "not_found", f"No job {job_id}.")
        return job

    def told(self, job: LiveJob, request: web.Request, *, status: JobStatus | None = None) -> dict[str, Any]:
        base = base_of(request, self._prefix)
        origin = self._prefix if self._manners.relative_urls else base
        return self._board.told(job, base, origin=origin, status=status)

    async def _one(self, request: web.Request) -> web.Response:
        return web.json_response(self.told(self._job(request), request))

    async def _workflow(self, request: web.Request) -> web.Response:
        return web.json_response({"workflow": self._job(request).workflow, "format": "api"})

    async def _cancel(self, request: web.Request) -> web.Response:
        """Ask for a job's end, and tell how it stands."""
        job = self._job(request)
        queue = self._core.queue
        asked = False
        if queue.is_running(job.id):
            job.canceling = asked = True
            self._core.interrupt()
            self._board.refresh()
        elif (dropped := queue.delete(job.id)) is not None:
            self._core.books.end(dropped.record, "deleted")
            self._board.refresh()
        answer = self.told(job, request, status=self._board.status(job))
        if asked and answer["status"] == "running":
            answer["status"] = "canceling"
        return web.json_response(answer)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Follow a job until its end."""
        job, board = self._job(request), self._board
        if not self._manners.streams:
            raise V2Problem(501, "not_implemented", "There are no event streams here yet.")
        if len(board.streams) >= self._manners.max_streams:
            headers = {"Retry-After": "5"}
            raise V2Problem(429, "too_many_streams", "Too many streams are open.", headers=headers)
        stream = Stream(job, self._manners, base=base_of(request, self._prefix))
        response = web.StreamResponse(headers=_STREAM_HEADERS)
        board.open(stream)
        try:
            await response.prepare(request)
            self._core.books.touch()
            await stream.serve(request, response, quiet=lambda: board.reconcile(stream))
        except ConnectionError:
            pass
        finally:
            board.close(stream)
            self._core.books.touch()
        return response


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("inputs", {}), dict)
