"""Writing an API graph so that equal graphs make equal files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["node_order", "save"]


def node_order(node: str) -> list[tuple[int, int, str]]:
    """Return the sort key of a node id: `2` before `10`, `57:3` after `57`."""
    parts = re.split(r"(\d{1,18})", node)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def save(api: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write a graph with its nodes by id; a file that is there is replaced in one step.

    Raises:
        OSError: The file cannot be written.
    """
    target = Path(path)
    ordered = {node: api[node] for node in sorted(api, key=node_order)}
    try:
        content = json.dumps(ordered, indent=2, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, as cut-off emoji leave it, has no UTF-8.
        content = json.dumps(ordered, indent=2).encode()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(content + b"\n")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target
