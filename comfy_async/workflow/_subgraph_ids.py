"""Subgraphs as classes: a subgraph node's class is the id of its definition in the same file."""

from __future__ import annotations

import re

__all__ = ["NO_DEFINITION", "is_subgraph"]

NO_DEFINITION = (
    "The file lacks the definition of this subgraph (`definitions.subgraphs`), and no node pack provides it: "
    "save or export the workflow again in the ComfyUI where it was made."
)

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_subgraph(class_type: str) -> bool:
    """Return whether a class name has the form of a subgraph's id (a UUID)."""
    return _ID.fullmatch(class_type) is not None
