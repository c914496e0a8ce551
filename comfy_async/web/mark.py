"""By what a job of this site is recognized, in this process and after its end.

The id of a job on the web is its `prompt_id`: a random UUID, made here, told to nobody but the caller.
So a process that knows nothing yet finds the job by that id alone, in the ComfyUI's queue or history.
The labels that go along with the prompt say that it is ours, of which app, and whose: a job that somebody
else runs on the same ComfyUI has none of them, and is no job of this site.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .._base.labels import labels_of
from .._client.client import Client
from .._client.pool import ComfyPool, pool_engine_of
from .._client.session import ComfySession, engine_of
from .._job.job import Job
from .._session.engine import Engine

__all__ = ["found_again", "is_job_id", "marked", "marks_of"]

_APP: Final = "web_app"
_CLIENT: Final = "client"
_LONGEST: Final = 200


def is_job_id(text: str) -> bool:
    """Return whether this can be a job's id: anything else needs no look-up."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def marked(app: str, caller: str) -> dict[str, Any]:
    """Return what `submit` is to send along, so that the job is recognized."""
    return {"labels": {_APP: app, _CLIENT: caller[:_LONGEST]}}


def marks_of(labels: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return app and caller by a job's labels, None when it is no job of this site."""
    app, caller = labels.get(_APP), labels.get(_CLIENT)
    return (app, caller) if isinstance(app, str) and isinstance(caller, str) else None


async def found_again(comfy: Client, prompt_id: str) -> tuple[Job, str, str] | None:
    """Return a job of this site with its app and its caller, None when the ComfyUI has none of that id.

    Raises:
        ComfyError: The request failed.
    """
    marks = marks_of(await _labels_of(comfy, prompt_id))
    if marks is None or not isinstance(comfy, ComfySession | ComfyPool):
        return None
    return await comfy.attach(prompt_id), *marks


async def _labels_of(comfy: Client, prompt_id: str) -> Mapping[str, Any]:
    """Return the labels of a job on whichever server has it, {} when none has."""
    for engine in _engines(comfy):
        await engine.known_server()
        history = await engine.api.history(prompt_id)
        if history is not None:
            return labels_of(history.extra_data)
        entry = await engine.api.find(prompt_id)
        if entry is not None and entry.extra_data is None:
            # A long queue: the jobs API of older servers tells the id alone.
            entry = (await engine.api.snapshot(whole=True)).entries.get(prompt_id)
        if entry is not None:
            return labels_of(entry.extra_data)
    return {}


def _engines(comfy: Client) -> Iterable[Engine]:
    """Return the engine of every server."""
    if isinstance(comfy, ComfySession):
        return [engine_of(comfy)]
    return list(pool_engine_of(comfy).servers.engines()) if isinstance(comfy, ComfyPool) else []
