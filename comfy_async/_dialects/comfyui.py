"""The few requests that runs need, in ComfyUI's own format; answers come back as facts."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Final, Literal
from urllib.parse import quote

from .._base.secrets import Secret
from .._transport.answers import Answer
from .._transport.http import HttpClient, Stream
from .._transport.multipart import Multipart
from ..errors import ComfyError
from .bodies import body_of
from .comfyui_jobs import NO_ROUTE, JobLists
from .dialect import MARK, DialectName, Draft, Posted
from .server import ServerInfo
from .wrong_address import perhaps_tls, too_long_an_address

__all__ = ["RunApi"]

_log = logging.getLogger("comfy_async")

# The server takes one prompt after the other. A thousand posts at once would only open more
# connections, and wait in httpcore's pool, whose work grows with the square of those that wait.
_POSTS_AT_ONCE: Final = 8
# What Python itself writes (threading.excepthook) of the thread that main.py starts.
_WORKER_DIED: Final = re.compile(r"Exception in thread [^\n]*\(prompt_worker\)")
_CLAIMS: Final = "comfy_async_keys"


class RunApi(JobLists):
    """A local server's routes. Every method raises `ComfyError` when the server fails."""

    name: ClassVar[DialectName] = "comfyui"
    has_socket: ClassVar[bool] = True
    has_streams: ClassVar[bool] = False
    chooses_ids: ClassVar[bool] = False
    is_idempotent: ClassVar[bool] = False
    takes_extra_data: ClassVar[bool] = True
    labels_are_in: ClassVar[Literal["queue and history", "each job", "its list"]] = "queue and history"
    has_routes: ClassVar[bool] = True
    tells_single_classes: ClassVar[bool] = True
    hides_partial: ClassVar[bool] = False
    names_models: ClassVar[bool] = True
    history_route: ClassVar[str] = "/history"
    orders: ClassVar[Mapping[str, str]] = {"created": "created_at", "duration": "execution_duration"}
    jobs_at_once: ClassVar[int | None] = None

    def __init__(self, http: HttpClient) -> None:
        """Use the session's HTTP client."""
        super().__init__(http)
        self.probed = False
        self._posts = asyncio.Semaphore(_POSTS_AT_ONCE)

    @property
    def address(self) -> str:
        """The server's base URL, without credentials and without a trailing slash."""
        return self._http.address.base

    async def probe(self) -> ServerInfo:
        """Find out what answers at the address, and whether its routes stand under /api.

        Raises:
            NotComfyUIError: It is no ComfyUI.
            ComfyError: It cannot be reached, or refuses.
        """
        try:
            answer = await self._http.request("GET", "/api/system_stats", root=True, expect=(404, 405))
        except ComfyError as error:
            perhaps_tls(error, self.address)
            raise
        self._http.prefix = "/api"
        if answer.status != 200 or answer.content_type == "text/html":
            # Servers before 2024-06 have no /api; some gateways map it away.
            answer = await self._http.request("GET", "/system_stats", root=True, expect=(404, 405))
            self._http.prefix = ""
        body = answer.json_object() if answer.status == 200 else {}
        system = body.get("system")
        too_long = too_long_an_address(self._http.address)
        if not isinstance(system, dict):
            wrong = answer.not_comfyui("this is no ComfyUI")
            wrong.hint = too_long or wrong.hint
            raise wrong
        if self._http.address.route_at_end == "/api" and not self._http.prefix:
            _log.warning("%s: some of its routes are not found there. %s", self.address, too_long)
        devices = body.get("devices")
        self.probed = True
        self.server = ServerInfo(
            version=str(system.get("comfyui_version") or ""),
            cloud=self.server.cloud,
            dialect=self.name,
            features=self.server.features,
            proven=self.server.proven,
            devices=tuple(d for d in devices if isinstance(d, dict)) if isinstance(devices, list) else (),
            editor=_editor_version(system),
        )
        return self.server

    def learn(self, features: Mapping[str, Any]) -> None:
        """Keep what the server announced on the socket."""
        self.server = dataclasses.replace(self.server, features=dict(features))

    def encode(self, draft: Draft) -> Secret[bytes]:
        """Return the body of POST /prompt; the graph's bytes are shared between variants."""
        server = self.server
        extra: dict[str, Any] = dict(draft.extra)
        if draft.previews != "default" and server.can("preview_method"):
            extra.setdefault("preview_method", draft.previews)
        envelope: dict[str, Any] = {}
        if not self.chooses_ids:
            envelope["client_id"] = draft.client_id
            envelope["prompt_id"] = draft.prompt_id
            if not server.can("client_prompt_id"):
                extra[MARK] = draft.prompt_id
        if extra:
            envelope["extra_data"] = extra
        if draft.number is not None:
            envelope["number"] = draft.number
        elif draft.front:
            envelope["front"] = True
        if draft.targets is not None:
            server.require("partial_execution_targets", "run only some outputs (`targets`)")
            envelope["partial_execution_targets"] = list(draft.targets)
        return body_of("prompt", draft.graph, envelope)

    async def post(self, draft: Draft, body: Secret[bytes]) -> Posted | Mapping[str, Any]:
        """POST /prompt; 400 is an answer, not an error."""
        headers = {"Content-Type": "application/json", "Comfy-Usage-Source": "comfy-async"}
        async with self._posts:
            answer = await self._http.request("POST", "/prompt", content=body, headers=headers, expect=(400,))
        said = answer.json_object()
        if answer.status == 400 or (said.get("error") and "prompt_id" not in said):
            return said
        prompt_id = said.get("prompt_id")
        if not isinstance(prompt_id, str) or not prompt_id:
            raise answer.not_comfyui("the answer to a prompt has no prompt_id")
        return Posted(prompt_id, answer.body, said, said.get("node_errors") or {})

    @property
    def finds_posted(self) -> bool:
        """True: by the id that was sent along, or by the mark."""
        return True

    async def find_posted(self, draft: Draft, known: Collection[str]) -> str | None:
        """Look for the job in queue, history and queue, or for its mark where the server chose its id."""
        prompt_id = draft.prompt_id
        if not self.server.can("client_prompt_id"):
            return await self.find_mark(MARK, prompt_id)
        for _ in range(2):
            if prompt_id in (await self.snapshot()).entries or await self.history(prompt_id) is not None:
                return prompt_id
        return None

    async def job_record(self, prompt_id: str) -> Mapping[str, Any] | None:
        """Return None: there are routes for it."""
        return None

    async def ping(self) -> int | None:
        """Return the number of running and waiting jobs."""
        return await self.queue_remaining()

    async def workflow(self, prompt_id: str) -> Mapping[str, Any]:
        """Return {}: queue and history carry the graphs."""
        return {}

    async def cancel(self, prompt_id: str) -> None:
        """Ask the server to remove or stop exactly this job; no answer is a proof that it did.

        Out of the queue first, which is quick however long that is: the cancel of the jobs API copies
        the queue and the history, and blocks a server with 300 jobs for seconds (PROTOCOL 1.5). What
        is not in the queue any more may run, and only what is seen to run is stopped.
        """
        await self._http.request("POST", "/queue", json={"delete": [prompt_id]})
        running = await self._listed("in_progress")
        if running is not None and prompt_id not in running.entries:
            return
        if await self._stopped([prompt_id]) is None:
            await self.interrupt(prompt_id)

    async def cancel_all(self, prompt_ids: Sequence[str]) -> bool:
        """Ask the server to remove or stop these jobs; return whether it had any of them."""
        rest = await self._dequeued(prompt_ids)
        taken = len(rest) < len(prompt_ids)
        stopped = await self._stopped(rest) if rest else False
        if stopped is None:
            entries = (await self.snapshot()).entries
            running = [one for one in rest if one in entries and entries[one].running]
            for prompt_id in running:
                await self.interrupt(prompt_id)
            stopped = bool(running)
        return taken or stopped

    async def interrupt(self, prompt_id: str) -> None:
        """Ask the server to stop this job if it runs, and no other one."""
        if self.server.can("targeted_interrupt"):
            await self._http.request("POST", "/interrupt", json={"prompt_id": prompt_id})
        else:
            await self._interrupt_what_runs(prompt_id)

    async def _dequeued(self, prompt_ids: Sequence[str]) -> list[str]:
        """Take those jobs that wait out of the queue; return the others, and those that have just begun."""
        before = (await self.snapshot()).entries
        waiting = {one for one in prompt_ids if one in before and not before[one].running}
        if not waiting:
            return list(prompt_ids)
        await self._http.request("POST", "/queue", json={"delete": sorted(waiting)})
        waiting -= (await self.snapshot()).entries.keys()
        return [one for one in prompt_ids if one not in waiting]

    async def _stopped(self, prompt_ids: Sequence[str]) -> bool | None:
        """Cancel by the jobs API, whose interrupt cannot hit another job; None when there is none.

        The server's answer, whether it accepted any of them, is no proof.
        """
        if not self.server.can("cancel_jobs"):
            return None
        if len(prompt_ids) > 1:
            answer = await self._post_cancel("/api/jobs/cancel", {"job_ids": list(prompt_ids)})
            # One id that is no UUID spoils the whole batch: then each is asked for.
            if answer.status != 400:
                return self._taken_on(answer)
        found: bool | None = False
        for prompt_id in prompt_ids:
            answer = await self._post_cancel(f"/api/jobs/{quote(prompt_id, safe='')}/cancel", None)
            taken = self._taken_on(answer)
            if taken is None:
                return None
            found = found or taken
        return found

    async def _post_cancel(self, path: str, body: Any) -> Answer:
        """POST a cancel; where there is no such route it is 405, as GET /api/jobs/{id} is one, or 404."""
        expect = (400, *NO_ROUTE)
        return await self._http.request("POST", path, json=body, root=True, expect=expect, retry=True)

    def _taken_on(self, answer: Answer) -> bool | None:
        """Read what a cancel was answered; None when the route is not there."""
        self.prove("cancel_jobs", answer.status not in NO_ROUTE)
        return bool(answer.json_object().get("cancelled")) if answer.status == 200 else None

    async def _interrupt_what_runs(self, prompt_id: str) -> None:
        """Stop whatever runs, having seen that it is this job: a server before 0.3.57 has no other way.

        Reading a long queue takes seconds, in which the job may end and another begin. So it is looked
        for once more in a few bytes: what ran and has no history yet runs still. Between that answer
        and the interrupt lies the way of one request, and nothing can close this gap.
        """
        snapshot = await self._whole_queue()
        entry = snapshot.entries.get(prompt_id)
        if entry is None or not entry.running or await self.history(prompt_id) is not None:
            return
        if len(snapshot.entries) > 1:
            _log.warning(
                "ComfyUI %s can only be told to stop whatever runs: that was job %s a moment ago; "
                "should it end just now, the next of the queue is stopped in its place",
                self.server.version or "of unknown version",
                prompt_id,
            )
        await self._http.request("POST", "/interrupt", json={})

    async def has_dead_worker(self) -> bool:
        """Return whether the server's log says that its worker thread has ended: it runs nothing any more.

        It accepts prompts all the same, and shows the one that killed it as running for ever. False where
        the log says nothing, or is not shown: then it is not known.
        """
        path = "/internal/logs/raw"
        answer = await self._http.request("GET", path, root=True, expect=(401, 403, *NO_ROUTE))
        entries = answer.json_object().get("entries") if answer.status == 200 else None
        lines = entries if isinstance(entries, list) else []
        text = "".join(str(line.get("m", "")) for line in lines if isinstance(line, Mapping))
        return _WORKER_DIED.search(text) is not None

    def stream(self, prompt_id: str, *, silent_seconds: float) -> AbstractAsyncContextManager[Stream]:
        """Raise: the socket brings the events of all jobs."""
        raise self.server.unsupported("stream one job's events")

    def listed(self, labels: Mapping[str, str]) -> AsyncIterator[Mapping[str, Any]]:
        """Raise: no list has labels; the queue and the history do."""
        raise self.server.unsupported("list its jobs by labels")

    def history_rows(self, body: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return the finished jobs in a page, by id."""
        return [(key, entry) for key, entry in body.items() if isinstance(entry, Mapping)]

    async def claim(self, name: str, text: str) -> bool:
        """Request a name that only one can have until the server restarts; return whether it was given.

        It is a file in the temp folder, which the server empties when it starts. For a name that is taken
        it makes up another one, within one step of its event loop (server.py, image_upload).

        Raises:
            UnsupportedError: What answers names uploads in another way.
        """
        data = text.encode()
        fields = {"type": "temp", "subfolder": _CLAIMS}
        body = Multipart(fields, field="image", filename=name, size=len(data), chunks=lambda: _once(data))
        # The same content under the same name is no second file: it may be sent again.
        answer = await self._http.request(
            "POST", "/upload/image", content=body, headers=body.headers, retry=True
        )
        stem, dot, ending = name.rpartition(".")
        given = str(answer.json_object().get("name"))
        if given != name and not re.fullmatch(rf"{re.escape(stem)} \(\d+\){re.escape(dot + ending)}", given):
            raise self.server.unsupported("keep two uploads of one name apart, as keys need it")
        return given == name

    async def claim_text(self, name: str) -> str | None:
        """Return what stands in a claim, None when nobody has made it."""
        params = {"filename": name, "subfolder": _CLAIMS, "type": "temp"}
        answer = await self._http.request("GET", "/view", params=params, expect=(404,), retry=True)
        return None if answer.status == 404 else answer.text

    async def object_info(self, class_type: str) -> Mapping[str, Any]:
        """Return the spec of one class, {} when the server has none."""
        body = await self._http.get_json(f"/object_info/{quote(class_type, safe='')}")
        info = body.get(class_type) if isinstance(body, dict) else None
        return info if isinstance(info, dict) else {}


async def _once(data: bytes) -> AsyncIterator[bytes]:
    """Yield a body of one piece."""
    yield data


def _editor_version(system: Mapping[str, Any]) -> str:
    """Return the version of the editor that a server ships, as /system_stats says, "" when it does not."""
    packages = system.get("comfy_package_versions")
    named = [each for each in packages if isinstance(each, dict)] if isinstance(packages, list) else []
    found = [each.get("installed") for each in named if each.get("name") == "comfyui-frontend-package"]
    for version in (*found, system.get("required_frontend_version")):
        if isinstance(version, str) and re.match(r"\d+\.\d+\.\d+", version):
            return version
    return ""
