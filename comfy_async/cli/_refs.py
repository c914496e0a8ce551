"""Which jobs are meant: ids, or what `submit` printed, as files, texts or on stdin."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ._connection import Connection, UsageError
from ._values import read_text

__all__ = ["plain", "read_refs", "toward"]


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
