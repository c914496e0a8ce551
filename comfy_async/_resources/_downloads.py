"""One file from the server to disk: through a temporary name, resumed where it broke, whole at the end."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from .._base.backoff import Backoff
from .._base.clock import Clock
from .._base.paths import part_of
from .._base.tasks import in_thread, to_the_end
from .._transport.answers import Answer
from .._transport.http import Stream
from ..errors import NotComfyUIError, ResponseError, TransportError
from ._answered import demand_file
from ._transfer import Meter

__all__ = ["Download"]

_BATCH: Final = 1 << 20
_TRIES_WITHOUT_PROGRESS: Final = 6
_RANGE_OVER: Final = 416


@dataclasses.dataclass(slots=True)
class _Known:
    """What the first answer said of the file; a later one must match to be appended to it."""

    total: int | None = None
    validator: str = ""
    resumable: bool = False

    @classmethod
    def of(cls, answer: Answer) -> _Known:
        """Read the headers of a whole answer."""
        headers = answer.headers
        if "content-encoding" in headers:
            return cls()
        length = headers.get("content-length", "")
        return cls(int(length) if length.isdigit() else None, _validator(headers), resumable=True)


class Ask(Protocol):
    """Requests the file, from the beginning or from an offset."""

    def __call__(
        self, *, headers: Mapping[str, str], expect: Sequence[int] = ()
    ) -> AbstractAsyncContextManager[Stream]:
        """Return the answer, its body still to come."""
        ...


class Download:
    """Fetches one file to one path."""

    def __init__(self, ask: Ask, meter: Meter, *, clock: Clock, what: str, filename: str = "") -> None:
        """Prepare.

        Args:
            ask: Asks for the file.
            meter: Counts the bytes.
            clock: Measures pauses.
            what: The file, for errors.
            filename: The name that the server has for the file, which says of what kind it is.
        """
        self._ask = ask
        self._what = what
        self._filename = filename
        self._meter = meter
        self._clock = clock
        self._known = _Known()

    async def run(self, target: Path) -> Path:
        """Fetch until the file is whole, then give it its name.

        Raises:
            NotFoundError: The server has no such file.
            ComfyError: It refuses, or the connection breaks again and again without progress.
            OSError: The disk would not take it.
        """
        part = part_of(target)
        opened: list[BinaryIO] = []
        try:
            try:
                await in_thread(lambda: opened.append(_create(part)))
                await self._fetch(opened[0])
            finally:
                for file in opened:
                    await in_thread(file.close)
            await in_thread(os.replace, part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return target

    async def _fetch(self, file: BinaryIO) -> None:
        """Try until all is there; the count of tries starts again whenever bytes have come."""
        backoff = Backoff(first=0.2, cap=5.0)
        while True:
            before = self._meter.done
            try:
                await self._once(file)
                return
            except (TransportError, ResponseError) as error:
                if not error.retryable or isinstance(error, NotComfyUIError):
                    raise
                if self._meter.done > before:
                    backoff.reset()
                if backoff.tries >= _TRIES_WITHOUT_PROGRESS:
                    raise
                pause = backoff.next()
            await self._clock.sleep(pause)

    async def _once(self, file: BinaryIO) -> None:
        """Fetch what is missing."""
        headers = {"Accept-Encoding": "identity"}
        if self._meter.done and self._known.resumable:
            headers["Range"] = f"bytes={self._meter.done}-"
            # aiohttp reads only dates here and lets an ETag pass: `_continues` looks again.
            if self._known.validator:
                headers["If-Range"] = self._known.validator
        async with self._ask(headers=headers, expect=(_RANGE_OVER,)) as stream:
            server = stream.answer.server
            if not self._continues(stream.answer):
                if stream.answer.status in (206, _RANGE_OVER):
                    await self._rewind(file)
                    raise TransportError(f"{self._what}: the file changed while it was read")
                await self._rewind(file)
                demand_file(stream.answer, self._filename)
                self._known = _Known.of(stream.answer)
                self._meter.total = self._known.total
            await self._copy(stream, file)
        if self._known.total is not None and self._meter.done != self._known.total:
            raise TransportError(
                f"{self._what}: {self._meter.done} of {self._known.total} bytes came", server=server
            )

    def _continues(self, answer: Answer) -> bool:
        """Say whether an answer holds exactly the missing rest of the same file."""
        if answer.status != 206 or not self._meter.done:
            return False
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("content-range", ""))
        if match is None or int(match[1]) != self._meter.done:
            return False
        same_total = match[3] == "*" or self._known.total is None or int(match[3]) == self._known.total
        return same_total and _validator(answer.headers) == self._known.validator

    async def _rewind(self, file: BinaryIO) -> None:
        """Begin again."""
        self._meter.restart()
        await in_thread(_truncate, file)

    async def _copy(self, stream: Stream, file: BinaryIO) -> None:
        """Write the body; one batch is written while the next one comes."""
        batch: list[bytes] = []
        size = 0
        writing: asyncio.Future[None] | None = None
        try:
            async for chunk in stream.chunks():
                if not size and not self._meter.done:
                    demand_file(stream.answer, self._filename, head=chunk[:512])
                batch.append(chunk)
                size += len(chunk)
                if size >= _BATCH:
                    if writing is not None:
                        await writing
                    writing = asyncio.ensure_future(in_thread(_write, file, batch))
                    self._meter.add(size)
                    batch, size = [], 0
        finally:
            # What has come is kept, also when the connection broke: the next try goes on from here.
            if writing is not None:
                await to_the_end([writing])
                writing.result()
            if batch:
                await in_thread(_write, file, batch)
                self._meter.add(size)


def _validator(headers: Mapping[str, str]) -> str:
    """Return what identifies one state of the file: a strong ETag, or its date."""
    etag = headers.get("etag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("last-modified", "")


def _create(path: Path) -> BinaryIO:
    """Open a new file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _write(file: BinaryIO, batch: list[bytes]) -> None:
    """Write by one call: each call that frees the interpreter's lock waits to get it back."""
    file.write(b"".join(batch))


def _truncate(file: BinaryIO) -> None:
    """Empty a file."""
    file.seek(0)
    file.truncate()
