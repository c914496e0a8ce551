"""What is uploaded is read in threads: a file is open for as long as one of them reads it, and no longer."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import BinaryIO

import pytest

from comfy_async._resources._sources import CHUNK, Payload


class Gated:
    """Opens files that wait at a gate, and takes down what happens to them."""

    def __init__(self) -> None:
        """Let everything through."""
        self.log: list[str] = []
        self.loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self._open = threading.Event()
        self._open.set()

    def __call__(self) -> BinaryIO:
        """Open a file of three chunks."""
        self.wait()
        self.log.append("opened")
        return _File(self)

    def shut(self) -> None:
        """Let nothing through from now on, and take down anew."""
        self.log.clear()
        self._open.clear()

    def pass_on(self) -> None:
        """Let everything through again."""
        self._open.set()

    def wait(self) -> None:
        """Wait at the gate."""
        if not self._open.is_set():
            self.loop.call_soon_threadsafe(self.reached.set)
        self._open.wait()


class _File(io.BytesIO):
    def __init__(self, gate: Gated) -> None:
        super().__init__(bytes(3 * CHUNK))
        self._gate = gate

    def read(self, size: int | None = -1, /) -> bytes:
        self._gate.wait()
        self._gate.log.append("closed too early" if self.closed else "read")
        return super().read(size)

    def close(self) -> None:
        if not self.closed:
            self._gate.log.append("closed")
        super().close()


@pytest.mark.parametrize("during", ["opening", "reading"])
async def test_cancelled_while_a_thread_works(during: str) -> None:
    """The file is closed after the thread that opens or reads it, not under it."""
    gate = Gated()
    payload = Payload(gate, stem="", ending="")

    async def consume() -> None:
        async for _ in payload.chunks():
            gate.shut()

    if during == "opening":
        gate.shut()
    task = asyncio.create_task(consume())
    await gate.reached.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    gate.pass_on()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.log == (["opened", "closed"] if during == "opening" else ["read", "closed"])


async def test_left_early() -> None:
    """Whoever takes one chunk and goes leaves no file open."""
    gate = Gated()
    payload = Payload(gate, stem="", ending="")
    gate.log.clear()
    chunks = payload.chunks()
    assert len(await anext(chunks)) == CHUNK
    await chunks.aclose()  # type: ignore[attr-defined]
    assert gate.log == ["opened", "read", "read", "closed"]
