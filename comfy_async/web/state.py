"""A job as JSON: where it stands, what it made, why it failed, and where to go from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .._base.paths import safe_name
from .._client.app import App
from .._client.words import plain_title
from .._job.job import Job
from .._job.output import OutputFile
from ..errors import ComfyError
from .answers import fault_of_job, problem_fields
from .desk import Entry
from .hub import progress_fields
from .kinds import shown_as

__all__ = ["files_of", "state_of"]

_TEXTS: Final = 100
_LONGEST_TEXT: Final = 20_000


async def files_of(job: Job) -> list[OutputFile]:
    """Return what a completed job made, each always at the same place, also for a job that was found again.

    The history has the nodes in another order than they ran in.
    """
    if job.status != "completed":
        return []
    files = (await job).files
    return sorted(files, key=lambda file: (file.is_preview, _by_number(file.node)))


def _by_number(node: str) -> list[tuple[int, str]]:
    """Return a key that sorts "9" before "10", and "12:3" among them."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"[:.]", node)]


async def state_of(entry: Entry, app: App | None, root: str) -> dict[str, Any]:
    """Return where a job stands; `root` is the address below which the site is."""
    job, home = entry.job, f"{root}/jobs/{entry.id}"
    error = job.error if job.done and isinstance(job.error, ComfyError) else None
    files = await files_of(job)
    texts = (await job).texts if job.status == "completed" else ()
    return {
        "id": entry.id,
        "app": entry.app,
        "status": job.status,
        "position": job.queue_position,
        "progress": progress_fields(job),
        "outputs": [_output(number, file, app, home) for number, file in enumerate(files)],
        "texts": [text[:_LONGEST_TEXT] for text in texts[:_TEXTS]],
        "missing": list((await job).missing) if job.status == "completed" else [],
        "error": None if error is None else fault_of_job(error),
        "warnings": [problem_fields(problem) for problem in job.node_errors],
        "links": {
            "self": home,
            "events": f"{home}/events",
            "app": f"{root}/apps/{entry.app}",
            "page": f"{root}/apps/{entry.app}/#{entry.id}",
        },
    }


def _output(number: int, file: OutputFile, app: App | None, home: str) -> Mapping[str, Any]:
    """Return one file."""
    mime, inline = shown_as(file.mime)
    return {
        "name": _name_of(file, app),
        "title": plain_title(file.title),
        "kind": file.kind if inline else "file",
        "type": mime,
        "filename": safe_name(file.display_name),
        "preview": file.is_preview,
        "href": f"{home}/outputs/{number}",
    }


def _name_of(file: OutputFile, app: App | None) -> str | None:
    """Return what the app calls the output that a file belongs to, None for one that it does not name."""
    for name, output in (app.outputs if app is not None else {}).items():
        if output.node == file.node:
            return name
    return None
