"""A request's body as values by name: its size is checked while it comes in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .answers import RefusedError
from .limits import Limits

__all__ = ["FormText", "fields_of", "is_small"]

_SMALL: Final = 1 << 20


class FormText(str):
    """A value that came as a form's text: numbers and booleans have yet to be parsed from it."""

    __slots__ = ()


@asynccontextmanager
async def fields_of(request: Request, limits: Limits) -> AsyncIterator[Mapping[str, Any]]:
    """Give the values of a request by name, as long as the block lasts: JSON, texts and files.

    Raises:
        RefusedError: It is too large, takes too long, is no JSON and no form, or cannot be read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        raise RefusedError(
            415, "unsupported_media_type", "send application/json or multipart/form-data, not " + repr(kind)
        )
    _check_announced(request, limits)
    files: list[UploadFile] = []
    try:
        async with asyncio.timeout(limits.upload_seconds):
            if kind == "application/json":
                fields = await _json(request, limits)
            else:
                fields = await _form(request, limits, files)
    except TimeoutError:
        raise RefusedError(408, "too_slow", "the request took too long to come in") from None
    except ClientDisconnect:
        raise _gone() from None
    try:
        yield fields
    finally:
        for file in files:
            await file.close()


def is_small(request: Request) -> bool:
    """Say whether a request says of itself that it is small: what is in it is read, and no file of size."""
    announced = request.headers.get("content-length", "")
    return announced.isdecimal() and int(announced) <= _SMALL


def _check_announced(request: Request, limits: Limits) -> None:
    """Refuse a body whose declared length is too large, before anything is read.

    Raises:
        RefusedError: It does.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.body_bytes:
        raise _too_large(limits)


def _gone() -> RefusedError:
    """Return the refusal for a caller that has left."""
    return RefusedError(400, "gone", "the caller left while it was sending")


def _too_large(limits: Limits) -> RefusedError:
    """Return the refusal of a request of too many bytes."""
    return RefusedError(
        413, "too_large", f"a request may have {limits.body_bytes:,} bytes, its files included"
    )


async def _limited(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes, up to the limit.

    Raises:
        RefusedError: It is larger.
    """
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.body_bytes:
            raise _too_large(limits)
        yield chunk


async def _json(request: Request, limits: Limits) -> Mapping[str, Any]:
    """Return the object of a JSON body.

    Raises:
        RefusedError: There is none.
    """
    body = bytearray()
    async for chunk in _limited(request, limits):
        body += chunk
    try:
        # Files may stand in it as text: those are read beside the loop.
        found = await asyncio.to_thread(_loads, bytes(body)) if len(body) > 1 << 20 else _loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "no_json", f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise RefusedError(400, "no_object", "the body must be an object with the inputs by name")
    if len(found) > limits.fields:
        raise RefusedError(400, "too_many_fields", f"a request may have {limits.fields} inputs")
    return found


def _loads(body: bytes) -> Any:
    """Read JSON; NaN and infinity, which it has no words for, are none.

    Raises:
        ValueError: It is not JSON.
    """
    return json.loads(body or b"{}", parse_constant=_no_number)


def _no_number(word: str) -> Any:
    """Refuse a constant that Python takes for a number.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{word} is no JSON")


class _WholeFormParser(MultiPartParser):
    """Knows whether it has come to the end: Starlette's takes a form that breaks off for a short one."""

    is_whole = False

    def on_end(self) -> None:
        """Note that the last boundary has come."""
        super().on_end()
        self.is_whole = True


class _BrokenOffError(MultiPartException):
    """A refusal in the middle of a form: of this kind of error alone every Starlette closes the files."""

    def __init__(self, refusal: RefusedError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


async def _for_parser(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes, up to the limit.

    Raises:
        _BrokenOffError: It is larger, or the caller has left.
    """
    try:
        async for chunk in _limited(request, limits):
            yield chunk
    except RefusedError as error:
        raise _BrokenOffError(error) from None
    except ClientDisconnect:
        raise _BrokenOffError(_gone()) from None


async def _form(request: Request, limits: Limits, files: list[UploadFile]) -> Mapping[str, Any]:
    """Return the fields of a form; files that nobody chose are left out.

    Raises:
        RefusedError: It is no form, or has too many parts.
    """
    parser = _WholeFormParser(
        request.headers,
        _for_parser(request, limits),
        max_files=limits.fields,
        max_fields=limits.fields,
        max_part_size=min(limits.body_bytes, 1 << 20),
    )
    try:
        form = await parser.parse()
    except _BrokenOffError as error:
        raise error.refusal from None
    except MultiPartException as error:
        raise RefusedError(400, "no_form", error.message) from None
    if not parser.is_whole:
        await form.close()
        raise RefusedError(400, "no_form", "the form breaks off before its end")
    found: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.append(value)
            if value.filename or value.size:
                found[name] = value
        elif name not in found:
            found[name] = FormText(value)
    return found
