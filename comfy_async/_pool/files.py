"""Input files of workflows that may run on any of several servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from .._session.engine import Engine
from ..errors import ComfyError
from ..workflow import Workflow

__all__ = ["own_files", "with_files_read"]

_log = logging.getLogger("comfy_async")


async def with_files_read(workflow: Workflow) -> Workflow:
    """Return a workflow whose open files are bytes: they can be read once, and are closed soon.

    Raises:
        OSError: A file cannot be read.
        ValueError: It was opened as text.
    """
    if workflow.format != "api":
        return workflow
    files = {place: value for place, value in workflow.uploads().items() if _is_file(value)}
    if not files:
        return workflow
    unique = {id(value): value for value in files.values()}
    contents = {key: await asyncio.to_thread(_read, value) for key, value in unique.items()}
    return workflow.with_inputs({place: contents[id(value)] for place, value in files.items()})


async def own_files(workflow: Workflow, engine: Engine, others: Mapping[str, Engine]) -> Workflow:
    """Return a workflow whose uploaded files are on this server: sent again where they are not.

    A handle without a source, of a server that does not answer, stays as it is: this server may
    have a file of that name.

    Raises:
        ComfyError: The server refuses a file, or cannot be reached.
        OSError: A file cannot be read any more.
    """
    here = engine.base_url
    changes: dict[tuple[str, str], Any] = {}
    sent: dict[int, Any] = {}
    for place, handle in workflow.handles().items():
        server = getattr(handle, "server", "")
        if not server or server == here:
            continue
        if id(handle) not in sent:
            source = await _source(handle, others.get(server))
            if source is None:
                _log.debug("pool: %s is on %s and cannot be sent to %s", handle, server, here)
                sent[id(handle)] = handle
            else:
                sent[id(handle)] = await engine.files.upload(
                    source, name=handle.name, subfolder=handle.subfolder, type=handle.type
                )
        changes[place] = sent[id(handle)]
    return workflow.with_inputs(changes) if changes else workflow


async def _source(handle: Any, origin: Engine | None) -> Any:
    """Return what was uploaded: as it was given, or read back from the server that has it."""
    if handle.source is not None and not _is_file(handle.source):
        return handle.source
    if origin is None:
        return None
    try:
        return await origin.files.read(
            handle.name, subfolder=handle.subfolder, type=handle.type, asset=handle.asset_id
        )
    except ComfyError as error:
        _log.debug("pool: %s cannot be read back: %s", handle, error)
        return None


def _read(file: Any) -> bytes:
    """Return what an open file holds from where it stands."""
    content = file.read()
    if not isinstance(content, bytes):
        raise ValueError("the file was opened as text: open it in binary mode")
    return content


def _is_file(value: Any) -> bool:
    """Say whether a value is an open file rather than a path, bytes, or a picture."""
    return callable(getattr(value, "read", None)) and not hasattr(value, "save")
