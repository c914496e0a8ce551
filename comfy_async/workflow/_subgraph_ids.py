"""Classes that are subgraphs: the editor calls them by the ids of their definitions in the same file."""

from __future__ import annotations

import re

__all__ = ["NO_DEFINITION", "is_subgraph"]

NO_DEFINITION = (
    "The file lacks the definition of this subgraph (`definitions.subgraphs`), and no node pack has it: save "
    "or export the workflow anew in the ComfyUI where it was made."
)

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_subgraph(class_type: str) -> bool:
    """Tell whether the name of a class is the id of a subgraph's definition."""
    return _ID.fullmatch(class_type) is not None
