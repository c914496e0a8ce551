"""The workflow that pictures, films and sounds carry, as ComfyUI writes it."""

from __future__ import annotations

import os
from typing import Any

from ..errors import WorkflowFormatError

__all__ = ["is_media", "read_media"]


def is_media(head: bytes) -> bool:
    """Tell by its first bytes whether a file is of a kind that can carry a workflow."""
    return head.startswith(b"\x89PNG\r\n\x1a\n")


def read_media(source: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """Return what the file carries under `prompt` and `workflow`, decoded."""
    raise WorkflowFormatError("not yet")
