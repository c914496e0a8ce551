"""JSON as ComfyUI sends it: fast for usual text, tolerant of unusual text."""

from __future__ import annotations

import contextlib
import gc
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["parse_json", "parse_large_json"]

# `{"queue_pending": [row, ...]}`, `{class: {...}, ...}`: what stands this deep is parsed in one go.
_PIECES_BELOW: Final = 2
_DECODER: Final = json.JSONDecoder()
_NEXT: Final = re.compile(r"[ \t\n\r]*").match
_LOCK: Final = threading.Lock()
_pausing = 0


def parse_json(text: bytes | str) -> Any:
    """Parse JSON text.

    `pydantic_core` is about twice as fast as the standard library but refuses lone surrogates,
    which Python servers do send (file names that are no UTF-8).

    Raises:
        ValueError: The text is no JSON.
    """
    try:
        return _from_json(text)
    except ValueError:
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def parse_large_json(text: bytes) -> Any:
    """Parse JSON of many megabytes; for a thread.

    A parser holds the interpreter's lock until it is done, in whatever thread, and every pause of
    the garbage collector goes over all that is there by then: 40 MB in one go stop the event loop
    for as long as the whole takes. Here it is parsed piece by piece, without such pauses.

    Raises:
        ValueError: The text is no JSON.
    """
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return parse_json(text)
    with _no_collections():
        try:
            value, end = _piecewise(decoded, _skipped(decoded, 0), _PIECES_BELOW)
        except (IndexError, StopIteration):
            raise ValueError("the text ends too early") from None
        except RecursionError:
            raise ValueError("nested too deeply") from None
    if _skipped(decoded, end) != len(decoded):
        raise ValueError("there is more behind the end")
    return value


def _piecewise(text: str, at: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins at a place, and where it ends."""
    if depth == 0 or text[at] not in "{[":
        return _DECODER.raw_decode(text, at)
    is_object = text[at] == "{"
    close = "}" if is_object else "]"
    found: dict[str, Any] = {}
    items: list[Any] = []
    at = _skipped(text, at + 1)
    while text[at] != close or found or items:
        if is_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _skipped(text, at)
            if not isinstance(key, str) or text[at] != ":":
                raise ValueError(f"no key and value at {at}")
            found[key], at = _piecewise(text, _skipped(text, at + 1), depth - 1)
        else:
            item, at = _piecewise(text, at, depth - 1)
            items.append(item)
        at = _skipped(text, at)
        if text[at] == close:
            break
        if text[at] != ",":
            raise ValueError(f"neither a comma nor the end at {at}")
        at = _skipped(text, at + 1)
    return (found if is_object else items), at + 1


def _skipped(text: str, at: int) -> int:
    """Return the next place that is no white space."""
    match = _NEXT(text, at)
    return at if match is None else match.end()


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Pause the garbage collector, which finds nothing in what JSON makes; several may at once."""
    global _pausing
    with _LOCK:
        _pausing += 1 if _pausing or gc.isenabled() else 0
        mine = _pausing > 0
        if mine:
            gc.disable()
    try:
        yield
    finally:
        with _LOCK:
            _pausing -= 1 if mine else 0
            if mine and not _pausing:
                gc.enable()


def _load(text: bytes | str) -> Any:
    """Load pydantic_core, which takes a tenth of the time of all imports, when the first JSON comes."""
    global _from_json
    from pydantic_core import from_json

    _from_json = from_json
    return from_json(text)


_from_json: Callable[[bytes | str], Any] = _load
