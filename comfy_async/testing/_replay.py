"""A server that replays what a recorded one sent."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict, deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from ._recording import Entry, read_recording, route_of

if TYPE_CHECKING:
    from comfy_async import ComfySession

__all__ = ["Replay"]

_ENDS: Final = frozenset({"execution_success", "execution_error", "execution_interrupted"})
_VERSION: Final = "0.33.0"
_GREETING: Final = '{"type": "feature_flags", "data": {}}'


class Replay:
    """Plays a recording: the answers to the same requests, and the frames in their order.

    Frames that came after a prompt, a cancel or another request that changes something are sent
    once that request is made. Prompt ids are those of the client that is played to. What the
    recording lacks is answered as an idle server would, or with a 404.

    Args:
        path: A file that `Recorder` wrote.
        pace: 0.0 sends frames at once, 1.0 with the pauses that they were recorded with.

    Example:
        >>> async with Recorder(fake.url, "run.jsonl") as recorder, recorder.session() as comfy:
        ...     result = await comfy.run(flow)
        >>> async with Replay("run.jsonl") as replay, replay.session() as comfy:
        ...     job = await comfy.submit(replay.prompts[0])
        ...     print([event.type async for event in job][-1])
        execution_success
    """

    def __init__(self, path: str | os.PathLike[str], *, pace: float = 0.0) -> None:
        """Read the file.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no recording.
        """
        self.url = ""
        self._pace = pace
        self._greeting: list[str] = []
        self._script: list[Entry] = []
        self._answers: defaultdict[tuple[str, str], deque[Entry]] = defaultdict(deque)
        self._made: set[int] = set()
        self._ids: dict[str, str] = {}
        self._open: dict[str, Any] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._moved = asyncio.Event()
        self._player: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        for entry in read_recording(path):
            self._sort(entry)
        if not self._greeting:
            # A session waits for a socket that hears: recordings of refusals may lack its greeting.
            self._greeting.append(_GREETING)

    @property
    def prompts(self) -> list[dict[str, Any]]:
        """The graphs of the recorded prompts, in order: what to submit."""
        return [entry.asked["prompt"] for entry in self._script if _is_prompt(entry) and entry.asked]

    async def __aenter__(self) -> Replay:
        """Listen on a free port of the loopback."""
        application = web.Application(client_max_size=1 << 40)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._player = asyncio.create_task(self._play(), name="comfy_async replay")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop playing."""
        assert self._runner is not None
        assert self._player is not None
        self._player.cancel()
        await asyncio.wait([self._player])
        for socket in list(self._sockets):
            await socket.close()
        await self._runner.cleanup()

    def session(self, **options: Any) -> ComfySession:
        """Return a session to it, not yet connected; the options are ComfySession's."""
        from comfy_async import ComfySession

        return ComfySession(self.url, **options)

    # Reading.

    def _sort(self, entry: Entry) -> None:
        """Put a line where it will be looked for."""
        if entry.frame is None:
            self._answers[entry.method, route_of(entry.path)].append(entry)
            if entry.method != "GET":
                self._script.append(entry)
        elif isinstance(entry.frame, str) and _is_greeting(entry.frame):
            self._greeting.append(entry.frame)
        else:
            self._script.append(entry)

    # Playing.

    async def _play(self) -> None:
        """Send the frames in their order, each after the requests that came before it."""
        before: float | None = None
        for index, entry in enumerate(self._script):
            if entry.frame is None:
                await self._until(lambda index=index: index in self._made)
            else:
                await self._until(lambda: self._sockets)
                if before is not None and self._pace > 0:
                    await asyncio.sleep((entry.t - before) * self._pace)
                await self._send(entry.frame)
            before = entry.t

    async def _until(self, holds: Any) -> None:
        """Wait until something has come."""
        while not holds():
            self._moved.clear()
            await self._moved.wait()

    async def _send(self, frame: str | bytes) -> None:
        """Send a frame to every client, with the ids of this replay."""
        shown = self._today(frame)
        if isinstance(shown, str):
            self._note_end(shown)
        for socket in list(self._sockets):
            if isinstance(shown, str):
                await socket.send_str(shown)
            else:
                await socket.send_bytes(shown)

    def _note_end(self, frame: str) -> None:
        """Take a job that ends out of the queue."""
        message = json.loads(frame)
        if message.get("type") in _ENDS:
            self._open.pop(message["data"].get("prompt_id"), None)

    def _today(self, content: Any) -> Any:
        """Return a frame or a body with the prompt ids of this client; an id is always 36 characters."""
        for recorded, actual in self._ids.items():
            if isinstance(content, str):
                content = content.replace(recorded, actual)
            elif len(recorded) == len(actual):
                content = content.replace(recorded.encode(), actual.encode())
        return content

    # Answering.

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._socket(request)
        content = await request.read()
        path = request.path_qs
        for recorded, actual in self._ids.items():
            path = path.replace(actual, recorded)
        entry = self._find(request.method, path)
        if entry is not None and request.method != "GET":
            self._arrive(entry, content)
        if entry is None:
            return self._idle(request)
        headers = {"Content-Type": entry.content_type} if entry.content_type else {}
        return web.Response(status=entry.status, body=self._today(entry.body), headers=headers)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        """Greet a socket, and keep it until it is closed."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        for frame in self._greeting:
            await socket.send_str(frame)
        self._sockets.add(socket)
        self._moved.set()
        try:
            async for _message in socket:
                pass
        finally:
            self._sockets.discard(socket)
        return socket

    def _find(self, method: str, path: str) -> Entry | None:
        """Return the next recorded answer; the last one of a GET holds for all that come later."""
        for route in (route_of(path), route_of(path.partition("?")[0])):
            waiting = self._answers.get((method, route))
            if waiting:
                return waiting.popleft() if len(waiting) > 1 or method != "GET" else waiting[0]
        return None

    def _arrive(self, entry: Entry, content: bytes) -> None:
        """Let the frames go on that came after a request."""
        if _is_prompt(entry):
            recorded = _prompt_id(entry.body) or (entry.asked or {}).get("prompt_id")
            asked = json.loads(content)
            if recorded and entry.status == 200:
                actual = str(asked.get("prompt_id") or recorded)
                self._ids[recorded] = actual
                self._open[actual] = asked.get("prompt", {})
        index = next(i for i, other in enumerate(self._script) if other is entry)
        self._made.add(index)
        self._moved.set()

    def _idle(self, request: web.Request) -> web.Response:
        """Answer what was not recorded as a server would that does nothing else."""
        rows = [[number, name, graph, {}, []] for number, (name, graph) in enumerate(self._open.items())]
        jobs = [{"id": name, "status": "in_progress", "create_time": 0} for name in self._open]
        answers: dict[str, Any] = {
            "/system_stats": {"system": {"comfyui_version": _VERSION}, "devices": []},
            "/features": {},
            "/prompt": {"exec_info": {"queue_remaining": len(rows)}},
            "/queue": {"queue_running": rows, "queue_pending": []},
            "/jobs": {"jobs": jobs, "pagination": {"offset": 0, "total": len(jobs), "has_more": False}},
        }
        route = route_of(request.path)
        if request.method == "GET" and route in answers:
            return web.json_response(answers[route])
        if request.method == "GET" and route.startswith("/history"):
            return web.json_response({})
        if request.method == "POST" and route == "/prompt":
            error = {"type": "replay_over", "message": "the recording has no further prompt", "details": ""}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        return web.json_response({"error": "not in the recording"}, status=404)


def _is_prompt(entry: Entry) -> bool:
    """Tell whether a line is a submitted prompt."""
    return entry.method == "POST" and route_of(entry.path) == "/prompt"


def _is_greeting(frame: str) -> bool:
    """Tell whether a frame greets a new socket."""
    return '"sid"' in frame or '"feature_flags"' in frame[:40]


def _prompt_id(body: bytes) -> str | None:
    """Return the id in the answer to a prompt, None when it was refused."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    found = answer.get("prompt_id") if isinstance(answer, dict) else None
    return found if isinstance(found, str) else None
