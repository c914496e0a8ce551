"""The routes of a run: submit, queue, interrupt, history (server.py)."""

from __future__ import annotations

import json
import uuid
from typing import Any

from aiohttp import web

from ._books import RunRecord
from ._core import Core
from ._queue import QueueItem
from ._validate import validate_prompt
from ._worker import Worker

__all__ = ["RunRoutes", "is_canonical_uuid"]

_WANTED_ID = (
    "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
    "omit it to let the server generate one"
)


def is_canonical_uuid(value: Any) -> bool:
    """Whether a value is a UUID in lower case with hyphens, the only form that is taken."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


class RunRoutes:
    """Everything that a run needs over HTTP, but for the jobs API."""

    def __init__(self, core: Core, worker: Worker) -> None:
        """Serve from these parts."""
        self._core = core
        self._worker = worker

    def table(self) -> list[web.RouteDef]:
        """Return the routes without a prefix."""
        return [
            web.get("/ws", self._core.hub.serve),
            web.get("/prompt", self._queue_info),
            web.post("/prompt", self._submit),
            web.get("/queue", self._show_queue),
            web.post("/queue", self._change_queue),
            web.post("/interrupt", self._interrupt),
            web.get("/history", self._history),
            web.get("/history/{prompt_id}", self._history_of),
            web.post("/history", self._change_history),
            web.post("/free", self._free),
        ]

    async def _queue_info(self, _request: web.Request) -> web.Response:
        return web.json_response(self._core.queue_info())

    async def _submit(self, request: web.Request) -> web.Response:
        """Validate a prompt and queue it; nothing here checks whether its id is taken."""
        core = self._core
        core.log("got prompt")
        body = await request.json()
        number = self._number(body)
        if "prompt" not in body:
            return _refused("no_prompt", "No prompt provided", "No prompt provided")
        prompt_id = self._prompt_id(body)
        if prompt_id is None:
            return _refused("invalid_prompt_id", "prompt_id must be a valid UUID", _WANTED_ID)
        has_targets = core.capabilities.has("partial_targets")
        targets = body.get("partial_execution_targets") if has_targets else None
        verdict = validate_prompt(body["prompt"], core.classes.rules(core.capabilities), targets=targets)
        node_errors: Any = verdict.node_errors
        if not node_errors and not core.capabilities.has("node_errors_object"):
            node_errors = []
        if verdict.error is not None:
            return web.json_response({"error": verdict.error, "node_errors": node_errors}, status=400)
        extra_data, secrets = self._extra_data(request, body)
        client_id = extra_data.get("client_id")
        record = RunRecord(prompt_id, client_id, number, extra_data=extra_data, secrets=secrets)
        core.books.accept(record)
        core.queue.put(
            QueueItem(number, prompt_id, body["prompt"], extra_data, verdict.outputs, secrets, record)
        )
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": node_errors})

    def _prompt_id(self, body: dict[str, Any]) -> str | None:
        """Return the client's id, or a new one where it gives none or has no say; None for a bad one."""
        given = body.get("prompt_id") if self._core.capabilities.has("client_prompt_id") else None
        if given is None:
            return str(uuid.uuid4())
        if self._core.capabilities.has("prompt_id_uuid") and not is_canonical_uuid(given):
            return None
        return str(given)

    def _number(self, body: dict[str, Any]) -> float:
        """Return the place in the queue: lower runs first, `front` goes below zero."""
        if "number" in body:
            return float(body["number"])
        number = self._core.next_number
        self._core.next_number += 1
        return -number if body.get("front") else number

    def _extra_data(
        self, request: web.Request, body: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is kept with the prompt, and apart from it the secrets."""
        capabilities = self._core.capabilities
        extra_data: dict[str, Any] = body.get("extra_data", {})
        if "workflow_metadata" in body and capabilities.has("workflow_metadata"):
            extra_data["workflow_metadata"] = body["workflow_metadata"]
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        source = request.headers.get("Comfy-Usage-Source")
        if source and capabilities.has("prompt_id_uuid"):
            extra_data.setdefault("comfy_usage_source", source)
        sensitive = self._core.take_secrets(extra_data)
        self._core.stamp(extra_data)
        return extra_data, sensitive

    async def _show_queue(self, _request: web.Request) -> web.Response:
        queue = self._core.queue
        return web.json_response(
            {
                "queue_running": [item.row() for item in queue.running],
                "queue_pending": [item.row() for item in queue.pending],
            }
        )

    async def _change_queue(self, request: web.Request) -> web.Response:
        """Clear the pending prompts, or delete some; running ones are not touched."""
        body = await request.json()
        if body.get("clear"):
            for item in self._core.queue.clear():
                self._core.books.end(item.record, "deleted")
        for prompt_id in body.get("delete", ()):
            dropped = self._core.queue.delete(prompt_id)
            if dropped is not None:
                self._core.books.end(dropped.record, "deleted")
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        """Interrupt what runs; with a prompt_id only when that one does."""
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = {}
        prompt_id = body.get("prompt_id")
        if not prompt_id or not self._core.capabilities.has("targeted_interrupt"):
            self._core.interrupt()
        elif self._core.queue.is_running(prompt_id):
            self._core.interrupt()
        return web.Response()

    async def _history(self, request: web.Request) -> web.Response:
        max_items = request.query.get("max_items")
        offset = request.query.get("offset") if self._core.capabilities.has("history_offset") else None
        page = self._core.queue.page(
            None if max_items is None else int(max_items), -1 if offset is None else int(offset)
        )
        return web.json_response(page)

    async def _history_of(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = self._core.queue.history.get(prompt_id)
        return web.json_response({} if entry is None else {prompt_id: entry})

    async def _change_history(self, request: web.Request) -> web.Response:
        body = await request.json()
        history = self._core.queue.history
        doomed = list(history) if body.get("clear") else []
        doomed += [prompt_id for prompt_id in body.get("delete", ()) if prompt_id in history]
        self._core.books.forget(doomed)
        for prompt_id in doomed:
            history.pop(prompt_id, None)
        return web.Response()

    async def _free(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("free_memory"):
            self._worker.free()
        return web.Response()


def _refused(kind: str, message: str, details: str) -> web.Response:
    """Return a 400 that no node is to blame for."""
    error = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return web.json_response({"error": error, "node_errors": {}}, status=400)
