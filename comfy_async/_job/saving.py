"""Saving the files of a result: names by pattern, what can be saved is, and each failure is reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from .._base.paths import safe_parts, save_at
from .._base.stores import Store
from .._base.tasks import together
from ..errors import ComfyError, ConnectError, NotFoundError, SaveError, SessionClosedError
from ..types import FileUrl
from .output import OutputFile
from .patterns import NamePattern
from .storing import store_at

__all__ = ["Folder", "LocalFolder", "StoreFolder", "save_all"]

_P = TypeVar("_P")

_AT_ONCE: Final = 4

_log = logging.getLogger("comfy_async")


class Folder(Protocol[_P]):
    """Where the files of a result go: on this machine, or in a store."""

    async def save(self, parts: tuple[str, ...], file: OutputFile, *, kept: set[_P], overwrite: bool) -> _P:
        """Write a file below it and return its place; `kept` has those of the files before it."""
        ...


class LocalFolder:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        """Belong to a folder."""
        self._root = root

    async def save(
        self, parts: tuple[str, ...], file: OutputFile, *, kept: set[Path], overwrite: bool
    ) -> Path:
        """Write a file below it and return its path."""
        path = self._root.joinpath(*parts)
        return file.was_saved(await save_at(path, file.write_to, kept=kept, overwrite=overwrite))


class StoreFolder:
    """A folder of a store behind fsspec."""

    def __init__(self, store: Store) -> None:
        """Belong to a folder."""
        self._store = store
        # Each holds a block or two of its file in memory.
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def save(
        self, parts: tuple[str, ...], file: OutputFile, *, kept: set[FileUrl], overwrite: bool
    ) -> FileUrl:
        """Stream a file into it and return its URL."""
        async with self._slots:
            place = await store_at(self._store, parts, file.stream, kept=kept, overwrite=overwrite)
        return file.was_saved(place)


async def save_all(
    files: Sequence[OutputFile],
    folder: Folder[_P],
    names: NamePattern | None,
    *,
    overwrite: bool,
    cached_nodes: Sequence[str],
    prompt_id: str,
) -> list[_P]:
    """Save files below a folder, all that can be saved, and return their places in order.

    Raises:
        SaveError: Some could not be; it names each and says why.
        ComfyError: The only one could not be.
        OSError: As before.
    """
    if names is not None:
        names.tell_endings(files)
    by_name: dict[tuple[str, ...], list[int]] = {}
    for index, file in enumerate(files):
        parts = names.parts(file, index) if names else safe_parts(file.subfolder, file.filename)
        by_name.setdefault(parts, []).append(index)
    kept: set[_P] = set()
    done: dict[int, _P] = {}
    failed: dict[int, Exception] = {}

    async def save_group(parts: tuple[str, ...], group: list[int]) -> None:
        # What wants the same name gets its number in the order of the result.
        for index in group:
            try:
                # Only what was there before may be replaced, never one of these by another.
                first = overwrite and index == group[0]
                done[index] = await folder.save(parts, files[index], kept=kept, overwrite=first)
            except (ComfyError, OSError) as error:
                failed[index] = error

    await together([save_group(parts, group) for parts, group in by_name.items()])
    if failed:
        raise _error(files, done, failed, cached_nodes=cached_nodes, prompt_id=prompt_id)
    return [done[index] for index in range(len(files))]


def _error(
    files: Sequence[OutputFile],
    done: Mapping[int, Any],
    failed: Mapping[int, Exception],
    *,
    cached_nodes: Sequence[str],
    prompt_id: str,
) -> Exception:
    """Return the error for files that could not be saved: a lone file's own, else one that names each."""
    order = sorted(failed)
    first = failed[order[0]]
    hint = ""
    if any(isinstance(failed[i], NotFoundError) and files[i].node in cached_nodes for i in order):
        hint = (
            "The run was cached: the server made nothing anew, and the files of the earlier run are gone. "
            "Another seed (`flow.randomized()`) makes new ones."
        )
    elif isinstance(first, ConnectError) and all(isinstance(e, ConnectError) for e in failed.values()):
        hint = f"{first.hint} `error.saved` has the paths of the others." if done else first.hint
    if len(files) == 1 or all(isinstance(error, SessionClosedError) for error in failed.values()):
        if hint and isinstance(first, ComfyError):
            first.hint = f"The server has no {_shown(files[0])!r}. {hint}"
        return first
    names = {_shown(files[i]): failed[i] for i in order}
    reasons = "; ".join(f"{name}: {_reason(error)}" for name, error in names.items())
    made = SaveError(
        f"{len(failed)} of {len(files)} files could not be saved: {reasons}",
        hint=hint or "The others are saved: `error.saved` has their paths, `error.failed` each reason.",
        saved=[done[i] for i in sorted(done)],
        failed=names,
        prompt_id=prompt_id,
        server=next((e.server for e in failed.values() if isinstance(e, ComfyError)), None),
        retryable=all(isinstance(e, ComfyError) and e.retryable for e in failed.values()),
    )
    made.__cause__ = first
    return made


def _shown(file: OutputFile) -> str:
    """Return a file's name for people."""
    where = f"{file.subfolder}/{file.filename}" if file.subfolder else file.filename
    return where.encode("utf-8", "backslashreplace").decode()


def _reason(error: Exception) -> str:
    """Return why a file could not be saved, in one sentence."""
    return str(error.args[0]) if isinstance(error, ComfyError) and error.args else str(error)
