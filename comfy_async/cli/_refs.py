"""Which jobs are meant: ids, or what `submit` printed, as files, texts or on stdin."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ._connection import Connection, UsageError
from ._values import read_text

if TYPE_CHECKING:
    from comfy_async import ComfySession

__all__ = ["plain", "read_refs", "toward", "whole_refs"]

_ID_LENGTH: Final = 36
# Fewer characters begin too many ids.
_BEGINNING: Final = re.compile(r"[0-9a-f][0-9a-f-]{3,34}")
_LOOKED_AT: Final = 2000
_PAGE: Final = 200


def read_refs(words: Iterable[str]) -> list[dict[str, Any]]:
    """Return the refs that ids, files, JSON texts and stdin (`-`) stand for.

    Raises:
        UsageError: One of them is none of these.
        OSError: A file cannot be read.
    """
    found: list[dict[str, Any]] = []
    for word in words:
        if word == "-":
            found += _refs_in(sys.stdin.buffer.read().decode("utf-8-sig", "replace"), "stdin")
        elif word.lstrip().startswith("{"):
            found += _refs_in(word, "the argument")
        elif Path(word).is_file():
            found += _refs_in(read_text(Path(word)), word)
        else:
            found.append({"prompt_id": word})
    return found


def _refs_in(text: str, where: str) -> list[dict[str, Any]]:
    """Return the refs among JSON lines; a plain line is an id.

    Raises:
        UsageError: There is none.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in filter(None, map(str.strip, text.split("\n"))):
        try:
            value = json.loads(line)
        except ValueError:
            value = {"prompt_id": line}
        if isinstance(value, dict) and isinstance(value.get("prompt_id"), str):
            # Later lines of one job (events of `run --json`) know less than its first.
            found.setdefault(value["prompt_id"], value)
    if not found:
        raise UsageError(f"there is no job in {where}: it takes an id, or what `comfy-async submit` prints")
    return list(found.values())


def toward(connection: Connection, refs: Sequence[Mapping[str, Any]]) -> Connection:
    """Return the way to the server that the refs name, unless the options name another.

    Raises:
        UsageError: They name several.
    """
    servers = {ref["server"] for ref in refs if isinstance(ref.get("server"), str)}
    if connection.server is not None or connection.cloud or not servers:
        return connection
    if len(servers) > 1:
        raise UsageError(
            f"these jobs are on several servers: {', '.join(sorted(servers))}; name one --server"
        )
    return dataclasses.replace(connection, server=servers.pop())


def plain(ref: Mapping[str, Any]) -> dict[str, str]:
    """Return what `attach` takes."""
    return {key: ref[key] for key in ("prompt_id", "client_id") if isinstance(ref.get(key), str)}


async def whole_refs(comfy: ComfySession, refs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the refs with whole ids, of which lists and names show the first eight characters.

    Raises:
        UsageError: The server has no job whose id begins so, or has several.
        ComfyError: The request failed.
    """
    return [{**ref, "prompt_id": await _whole_id(comfy, str(ref["prompt_id"]))} for ref in refs]


async def _whole_id(comfy: ComfySession, word: str) -> str:
    """Return the id that a word is, or the beginning of.

    Raises:
        UsageError: It is none, or of several jobs.
        ComfyError: The request failed.
    """
    from comfy_async import NotFoundError

    if len(word) == _ID_LENGTH:
        return word
    try:
        # Ids that somebody chose have any length.
        return (await comfy.jobs.get(word)).id
    except NotFoundError:
        pass
    found = await _beginning_so(comfy, word) if _BEGINNING.fullmatch(word) else []
    if len(found) > 1:
        raise UsageError(f"{word!r} begins the ids of several jobs: {', '.join(sorted(found)[:5])}")
    if not found:
        raise UsageError(
            f"{comfy.base_url} knows no job {word!r}: an id has {_ID_LENGTH} characters, "
            "of which four or more of the first are enough while queue or history have the job"
        )
    return found.pop()


async def _beginning_so(comfy: ComfySession, word: str) -> list[str]:
    """Return the ids of the latest jobs that begin so."""
    found: dict[str, None] = {}
    seen = 0
    async for page in comfy.jobs.page(size=_PAGE):
        found |= dict.fromkeys(job.id for job in page if job.id.startswith(word))
        seen += len(page)
        if seen >= _LOOKED_AT:
            break
    return list(found)
