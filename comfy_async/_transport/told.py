"""The calls of hooks for requests and files."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import httpx

from .._base.hooks import Hooks

__all__ = ["tell_of_file", "told"]


class Body(Protocol):
    """A file that comes down.

    Attributes:
        began: When the body began, by `time.perf_counter()`.
        taken: How many bytes of it have come.
    """

    began: float
    taken: int


async def told(
    hooks: Hooks, sending: Coroutine[Any, Any, httpx.Response], method: str, path: str, server: str
) -> httpx.Response:
    """Return the answer to a request; hooks are called when it begins, or when there is none.

    Raises:
        Exception: What sending raises.
    """
    if hooks.on_request is None:
        return await sending
    began, status = time.perf_counter(), None
    try:
        response = await sending
        status = response.status_code
        return response
    finally:
        hooks.on_request(method, path, status, time.perf_counter() - began, server)


def tell_of_file(
    hooks: Hooks, server: str, path: str, *, params: Mapping[str, Any] | None, body: Body
) -> None:
    """Call hooks with what came of a file, the whole of it or a part."""
    if hooks.on_transfer is None:
        return
    query = params or {}
    folder, kind = query.get("subfolder"), query.get("type", "output")
    leaf = str(query.get("filename") or path)
    name = f"{folder}/{leaf}" if folder else leaf
    # As inputs name a file: LoadImage and its kind take `a.png [output]`.
    shown = name if kind == "input" else f"{name} [{kind}]"
    hooks.on_transfer(server, "download", shown, body.taken, time.perf_counter() - body.began)
