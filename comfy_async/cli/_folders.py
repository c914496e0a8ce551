"""Whether there is a place for what a run will make, found out before it runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ._connection import UsageError

__all__ = ["demand_folder"]


def demand_folder(folder: Path | None) -> None:
    """See to it before a long run that its files can be saved after it; leaves nothing behind.

    A file is really made in the nearest folder that exists: what permissions say is not what a
    read-only or full disk does.

    Raises:
        UsageError: Nothing can be written there.
    """
    if folder is None:
        return
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        where = f"{folder}" if there == folder else f"{folder} ({there})"
        raise UsageError(f"--out {where} cannot be written: {error.strerror or error}") from error
