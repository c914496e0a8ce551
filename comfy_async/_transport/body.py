"""The bodies of answers: read as they come, unpacked a little at a time, and within a bound."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Final

import httpx

from .._base.secrets import Veil
from ..errors import TransportError
from .answers import Answer
from .unpack import Unpacker

__all__ = ["LARGE_BODY", "Stream", "answer_of", "pieces", "read_whole"]

LARGE_BODY: Final = 512 * 1024
"""What is larger is not worked on in the event loop."""
# A refusal repeats what was sent: a picture in base64 within a prompt, for example.
_ERROR_BODY: Final = 64 << 20


class Stream:
    """An answer whose body is still to come.

    Attributes:
        answer: The answer without its body.
        began: When the body began, by `time.perf_counter()`.
        taken: How many bytes of it have come, unpacked.
    """

    def __init__(
        self,
        response: httpx.Response,
        answer: Answer,
        *,
        max_body: int,
        guard: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Wrap an open response; `guard` turns foreign errors into ours."""
        self._response = response
        self._max_body = max_body
        self._guard = guard
        self.answer = answer
        self.began = time.perf_counter()
        self.taken = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes; no chunk is larger than some 100 kB.

        Raises:
            TransportError: The connection broke before the body was whole.
        """
        with self._guard():
            async for piece in pieces(self._response, self.answer):
                self.taken += len(piece)
                yield piece

    async def whole(self) -> bytes:
        """Return the body, which must fit into memory: it has at most `Settings.max_body` bytes.

        Raises:
            TransportError: It is larger than `Settings.max_body`, or the connection broke.
        """
        with self._guard():
            body = (await read_whole(self._response, self.answer, max_body=self._max_body)).body
        self.taken = len(body)
        return body


def answer_of(response: httpx.Response, method: str, path: str, server: str, veil: Veil) -> Answer:
    """Return a response without anything of httpx in it; its body is still to be read."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, b"", method, path, server, veil)


async def pieces(response: httpx.Response, answer: Answer) -> AsyncIterator[bytes]:
    """Yield a body unpacked.

    Raises:
        TransportError: It cannot be unpacked, or is a bomb.
    """
    what = f"{answer.method} {answer.path}"
    unpacker = Unpacker(answer.headers.get("content-encoding", ""), what=what, server=answer.server)
    # What `response.aiter_raw` adds, a count and chunks of one size, is not wanted.
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        for piece in unpacker.feed(chunk):
            yield piece
    unpacker.finish()


async def read_whole(response: httpx.Response, answer: Answer, *, max_body: int) -> Answer:
    """Return an answer with its body, which may not be endless; the end of a refusal is left away then.

    What a server refuses with is for people to read, and may repeat the request: secrets in it are
    masked here, before an error is made of it.

    Raises:
        TransportError: It is larger than that, and no refusal.
    """
    refused = answer.status >= 400
    limit = min(_ERROR_BODY, max_body) if refused else max_body
    length = answer.headers.get("content-length", "")
    if not refused and length.isdecimal() and int(length) > limit and answer.method != "HEAD":
        raise _too_large(answer, limit)
    chunks: list[bytes] = []
    size = 0
    async for piece in pieces(response, answer):
        size += len(piece)
        if size > limit:
            if not refused:
                raise _too_large(answer, limit)
            break
        chunks.append(piece)
    body = b"".join(chunks)
    if refused:
        large = len(body) >= LARGE_BODY
        body = await asyncio.to_thread(answer.veil.data, body) if large else answer.veil.data(body)
    return dataclasses.replace(answer, body=body, cut=size > limit)


def _too_large(answer: Answer, limit: int) -> TransportError:
    """Return the error for an answer that does not fit."""
    return TransportError(
        f"the answer to {answer.path} is larger than {limit} bytes",
        hint="Raise `Settings.max_body` if that is what you want; `files.save` takes any size.",
        server=answer.server,
        retryable=False,
    )
