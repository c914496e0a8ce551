"""What `upload`, `download`, `logs` and `free` do."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ..types import FileUrl
from ._connection import Connection, UsageError, opened
from ._interrupt import Interrupts
from ._out import OutPlace, demand_place
from ._tables import has_colours, without_controls
from ._watch import saved, tell, watch

if TYPE_CHECKING:
    from comfy_async import ComfySession

    from ._report import Report

__all__ = ["download_files", "free_memory", "show_logs", "upload_files"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TYPES = ("output", "input", "temp")


async def upload_files(
    paths: list[Path], connection: Connection, report: Report, *, subfolder: str, overwrite: bool
) -> int:
    """Send files, one after the other, and print their names.

    Raises:
        ComfyError: The server refuses or cannot be reached.
        OSError: A file cannot be read.
    """
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise UsageError(f"there is no file {', '.join(missing)}")
    async with opened(connection) as comfy:
        for path in paths:
            # As a file of its own name it is found again in the editor's menus.
            file = await comfy.files.upload(path, name=path.name, subfolder=subfolder, overwrite=overwrite)
            fields = {
                "event": "uploaded",
                "path": str(path),
                "input": file.name_for_input,
                "name": file.name,
                "subfolder": file.subfolder,
                "type": file.type,
            }
            report.item(fields, file.name_for_input)
    return 0


async def download_files(
    names: list[str], connection: Connection, report: Report, *, out: OutPlace, subfolder: str, type_: str
) -> int:
    """Fetch files by name, or all files of jobs, and print where they are.

    Raises:
        ComfyError: The server has no such file, or cannot be reached.
        UsageError: There is no such kind of folder.
        OSError: A file cannot be written.
    """
    if type_ not in _TYPES:
        raise UsageError(f"--type takes {', '.join(_TYPES)}, not {type_!r}")
    await demand_place(out, attached=True)
    if out.name is not None and not all(map(_UUID.fullmatch, names)):
        raise UsageError(f"--out {out}: a file has its own name; patterns are for the files of jobs")
    code = 0
    async with opened(connection, transport="poll") as comfy:
        for name in names:
            if _UUID.fullmatch(name):
                job = await comfy.attach(name)
                outcome = await watch(job, report, Interrupts(), cancel=False)
                outcome = await saved(outcome, report, out, later=connection)
                code = max(code, tell(outcome, report))
                continue
            path = await _fetch(comfy, name, out, subfolder=subfolder, type_=type_)
            place = {"filename": name, "subfolder": subfolder, "type": type_}
            report.item({"event": "saved", "path": str(path), **place}, str(path))
    return code


async def _fetch(
    comfy: ComfySession, name: str, out: OutPlace, *, subfolder: str, type_: str
) -> Path | FileUrl:
    """Fetch one file under a safe name that no other file has; `sub/name` brings its subfolder."""
    from comfy_async import OutputFile

    folder, _, leaf = name.replace("\\", "/").rpartition("/")
    place = {"filename": leaf, "subfolder": "/".join(filter(None, (subfolder, folder))), "type": type_}
    if out.path is not None:
        await anyio.Path(out.path).mkdir(parents=True, exist_ok=True)
    return await OutputFile(place, node="", title="", key="", reader=comfy.files).save(out.place)


async def free_memory(connection: Connection, report: Report, *, keep_models: bool) -> int:
    """Ask the server to free its memory.

    Raises:
        ComfyError: The request failed.
    """
    async with opened(connection) as comfy:
        await comfy.system.free(unload_models=not keep_models)
    what = "caches" if keep_models else "models and caches"
    report.item({"event": "freed", "models": not keep_models}, f"{what} go as soon as nothing runs")
    return 0


async def show_logs(
    connection: Connection, report: Report, interrupts: Interrupts, *, follow: bool, lines: int
) -> int:
    """Print the last lines of the log, and those to come.

    Raises:
        UnsupportedError: The server does not show its log.
        ComfyError: The request failed.
    """
    async with opened(connection) as comfy:
        snapshot = await comfy.system.logs()
        for entry in snapshot.entries[-lines:] if lines else ():
            _log_line(report, entry.time, entry.text)
        if not follow:
            return 0
        try:
            async for event in comfy.system.follow_logs():
                for item in event.entries:
                    _log_line(report, str(item.get("t", "")), str(item.get("m", "")))
        except asyncio.CancelledError:
            if not interrupts.asked:
                raise
    return 0


def _log_line(report: Report, when: str, text: str) -> None:
    """Print one entry."""
    fields = {"event": "log", "time": when, "text": without_controls(text)}
    report.item(fields, text.rstrip("\r\n"), colours=has_colours())
