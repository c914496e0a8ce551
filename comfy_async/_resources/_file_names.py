"""What uploads and their places are called: folders within names, sources, the picture of a mask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._base.places import is_stored
from ._sources import UploadSource
from ._uploads import UploadedFile

__all__ = ["is_repeatable", "reference_of", "source_name", "split_name"]


def is_repeatable(source: UploadSource) -> bool:
    """Say whether something that was uploaded can be uploaded again: a file that was read cannot."""
    return source is not None and (
        isinstance(source, str | os.PathLike)
        or is_stored(source)
        or not callable(getattr(source, "read", None))
    )


def split_name(name: str, subfolder: str) -> tuple[str, str]:
    """Return the folder and the file of a name that may have folders in it."""
    inner, _, leaf = name.rpartition("/")
    if not leaf:
        return subfolder, name
    return "/".join(filter(None, (subfolder.rstrip("/"), inner))), leaf


def source_name(source: UploadSource) -> str:
    """Return a name to show for what is uploaded."""
    if isinstance(source, str | os.PathLike):
        return Path(source).name
    if is_stored(source):
        return source.path.rpartition("/")[2]
    return type(source).__name__


def reference_of(original: UploadedFile | Mapping[str, Any] | str) -> dict[str, str]:
    """Return the picture of a mask as the server wants it named."""
    if isinstance(original, UploadedFile):
        return {"filename": original.name, "subfolder": original.subfolder, "type": original.type}
    if isinstance(original, str):
        folder, leaf = split_name(original, "")
        return {"filename": leaf, "subfolder": folder, "type": "input"}
    return {
        "filename": str(original.get("filename") or original.get("name") or ""),
        "subfolder": str(original.get("subfolder") or ""),
        "type": str(original.get("type") or "output"),
    }
