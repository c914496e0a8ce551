"""A server that only sends: frames encoded beforehand, as fast as the client takes them.

    python tests/benchmarks/blaster.py        # prints its port, serves until its stdin closes

It speaks just enough of ComfyUI for a session to submit jobs, and costs next to nothing itself,
so that a rate measured against it is the client's. `POST /bench/plan` encodes the frames of
some prompts, `POST /bench/go` sends them to the socket that was opened last.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CHUNK_BYTES: Final = 256 * 1024
_STEPS_PER_NODE: Final = 20
_PREVIEW_BYTES: Final = 40_000
_ANY_ID: Final = "00000000-0000-4000-8000-000000000000"

LIFECYCLE_FRAMES: Final = 4
"""Frames of a job beside those of the kind: its start, the cached nodes, a node's start, its end."""


def text(kind: str, data: dict[str, Any]) -> bytes:
    """Return a message as ComfyUI writes it."""
    return json.dumps({"type": kind, "data": data}).encode()


def progress(prompt_id: str, number: int, count: int) -> bytes:
    """Return a step of a sampler."""
    return text("progress", {"value": number, "max": count, "prompt_id": prompt_id, "node": "1"})


def progress_state(prompt_id: str, number: int, count: int, *, nodes: int) -> bytes:
    """Return the state of many nodes: half were finished before, and one more after each 20 steps."""
    finished = min(nodes - 1, nodes // 2 + number // _STEPS_PER_NODE)

    def state(index: int) -> dict[str, Any]:
        name = str(index + 1)
        step = number % _STEPS_PER_NODE if index == finished else 0
        over = index < finished
        return {
            "value": 20 if over else step,
            "max": 20,
            "state": "finished" if over else "running",
            "node_id": name,
            "prompt_id": prompt_id,
            "display_node_id": name,
            "parent_node_id": None,
            "real_node_id": name,
        }

    return text(
        "progress_state",
        {"prompt_id": prompt_id, "nodes": {str(index + 1): state(index) for index in range(nodes)}},
    )


def preview(prompt_id: str, number: int, count: int) -> bytes:
    """Return a picture with its metadata (binary type 4)."""
    about = {
        "node_id": "1",
        "prompt_id": prompt_id,
        "display_node_id": "1",
        "parent_node_id": None,
        "real_node_id": "1",
        "image_type": "image/jpeg",
    }
    header = json.dumps(about).encode()
    picture = number.to_bytes(4, "big") + bytes(_PREVIEW_BYTES - 4)
    return struct.pack(">II", 4, len(header)) + header + picture


KINDS: Final[dict[str, Callable[[str, int, int], bytes]]] = {
    "progress": progress,
    "progress_state 30": lambda *at: progress_state(*at, nodes=30),
    "progress_state 300": lambda *at: progress_state(*at, nodes=300),
    "preview 40 kB": preview,
}


def frame(payload: bytes) -> bytes:
    """Return a WebSocket frame: binary when it begins with a NUL."""
    opcode = 0x82 if payload[:1] == b"\0" else 0x81
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", opcode, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", opcode, 126, size) + payload
    return struct.pack("!BBQ", opcode, 127, size) + payload


def frames(kind: str, count: int, prompt_ids: list[str]) -> Iterator[bytes]:
    """Return all frames of all jobs, `count` of the kind for each, the jobs taking turns."""
    make = KINDS[kind]
    for prompt_id in prompt_ids:
        yield text("execution_start", {"prompt_id": prompt_id, "timestamp": 1})
        yield text("execution_cached", {"nodes": [], "prompt_id": prompt_id, "timestamp": 1})
        yield text("executing", {"node": "1", "display_node": "1", "prompt_id": prompt_id})
    for number in range(1, count + 1):
        for prompt_id in prompt_ids:
            yield make(prompt_id, number, count)
    for prompt_id in prompt_ids:
        yield text("execution_success", {"prompt_id": prompt_id, "timestamp": 2})


class Blaster:
    """What all connections share: the open jobs, the socket, and what is to be sent."""

    def __init__(self) -> None:
        """Start without jobs."""
        self.jobs: list[str] = []
        self.number = 0
        self.socket: Connection | None = None
        self.chunks: list[bytes] = []
        self.number_of_frames = 0
        self.template: tuple[str, int, int, list[bytes]] = ("", 0, 0, [])
        self.sending: asyncio.Task[None] | None = None

    def status(self) -> bytes:
        """Return the message about the queue's length."""
        return frame(text("status", {"status": {"exec_info": {"queue_remaining": len(self.jobs)}}}))

    def plan(self, kind: str, count: int, prompt_ids: list[str]) -> int:
        """Encode what `go` will send and return the number of frames."""
        if len(prompt_ids) == 1:
            # Encoded once, with an id of the same length in the place of the job's.
            if self.template[:2] != (kind, count):
                self._encode(kind, count, [_ANY_ID])
                self.template = kind, count, self.number_of_frames, self.chunks
            _, _, number, chunks = self.template
            self.chunks = [chunk.replace(_ANY_ID.encode(), prompt_ids[0].encode()) for chunk in chunks]
            return number
        return self._encode(kind, count, prompt_ids)

    def _encode(self, kind: str, count: int, prompt_ids: list[str]) -> int:
        self.chunks, chunk, number = [], bytearray(), 0
        for payload in frames(kind, count, prompt_ids):
            chunk += frame(payload)
            number += 1
            if len(chunk) >= _CHUNK_BYTES:
                self.chunks.append(bytes(chunk))
                chunk = bytearray()
        self.chunks.append(bytes(chunk))
        self.number_of_frames = number
        return number

    def go(self) -> None:
        """Send, then forget the jobs."""
        self.sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        socket = self.socket
        chunks, self.chunks = self.chunks, []
        for chunk in chunks:
            if socket is None or socket.transport is None:
                return
            socket.transport.write(chunk)
            await socket.writable.wait()
        self.jobs.clear()
        if socket is not None and socket.transport is not None:
            socket.transport.write(self.status())


class Connection(asyncio.Protocol):
    """One TCP connection: HTTP, until it is upgraded."""

    def __init__(self, blaster: Blaster) -> None:
        """Serve for this blaster."""
        self.blaster = blaster
        self.transport: asyncio.Transport | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self._upgraded = False
        self._greeted = False
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=4 * _CHUNK_BYTES, low=_CHUNK_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever sends stop."""
        self.transport = None
        self.writable.set()
        if self.blaster.socket is self:
            self.blaster.socket = None

    def pause_writing(self) -> None:
        """The client is slower."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        """Read requests, or what a client says on its socket."""
        if self._upgraded:
            self._heard(data)
            return
        self._data += data
        while not self._upgraded and b"\r\n\r\n" in self._data:
            head, _, rest = self._data.partition(b"\r\n\r\n")
            line, *rows = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return
            self._data = rest[length:]
            method, path, _ = line.split(" ", 2)
            self._answer(method, path.partition("?")[0].removeprefix("/api"), headers, rest[:length])

    def _heard(self, data: bytes) -> None:
        """Answer the hello and the end; everything else is of no interest."""
        assert self.transport is not None
        if data[0] & 0x0F == 8:
            self.transport.write(b"\x88\x02\x03\xe8")
            self.transport.close()
        elif data[0] & 0x0F == 1 and not self._greeted:
            self._greeted = True
            self.transport.write(frame(text("feature_flags", {"supports_preview_metadata": True})))

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        """Serve one request."""
        assert self.transport is not None
        if path == "/ws":
            key = hashlib.sha1(headers["sec-websocket-key"].encode() + _GUID).digest()
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(key) + b"\r\n\r\n" + self.blaster.status()
            )
            self._upgraded = True
            self.blaster.socket = self
            return
        content = json.dumps(self._body(method, path, body)).encode()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(content), content)
        )

    def _body(self, method: str, path: str, body: bytes) -> Any:
        """Return what a route answers with."""
        blaster = self.blaster
        match method, path:
            case "GET", "/system_stats":
                return {"system": {"comfyui_version": "0.33.0"}, "devices": []}
            case "GET", "/prompt":
                return {"exec_info": {"queue_remaining": len(blaster.jobs)}}
            case "GET", "/jobs":
                rows = [{"id": prompt_id, "status": "pending", "priority": 1} for prompt_id in blaster.jobs]
                return {"jobs": rows, "pagination": {"has_more": False}}
            case "POST", "/prompt":
                prompt_id = json.loads(body)["prompt_id"]
                blaster.jobs.append(prompt_id)
                blaster.number += 1
                if blaster.socket is not None and blaster.socket.transport is not None:
                    blaster.socket.transport.write(blaster.status())
                return {"prompt_id": prompt_id, "number": blaster.number, "node_errors": {}}
            case "POST", "/bench/plan":
                return {"frames": blaster.plan(**json.loads(body))}
            case "POST", "/bench/go":
                blaster.go()
        return {}


async def main() -> None:
    """Serve until stdin closes."""
    loop = asyncio.get_running_loop()
    blaster = Blaster()
    server = await loop.create_server(lambda: Connection(blaster), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
