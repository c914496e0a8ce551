"""`--label NAME=TEXT`: labels of jobs, read from the command line and shown in lists."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from .._base.labels import checked_key, checked_labels
from ._connection import UsageError
from ._tables import short_text

if TYPE_CHECKING:
    from comfy_async import ComfySession

__all__ = ["label_text", "labelled", "latest", "read_key", "read_labels"]

_ASKED_AT_ONCE: Final = 8


def read_labels(texts: Iterable[str] | None) -> dict[str, str]:
    """Return the labels of each `NAME=TEXT`; of a name that is given twice the last text.

    Raises:
        UsageError: One has no `=`, or is no label.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--label takes NAME=TEXT, for example user=7, not {text!r}")
        found[name.strip()] = value
    try:
        return checked_labels(found)
    except ValueError as error:
        raise UsageError(f"--label: {error}") from None


def read_key(text: str | None) -> str | None:
    """Return what the job is for.

    Raises:
        UsageError: It is no key.
    """
    try:
        return None if text is None else checked_key(text)
    except ValueError as error:
        raise UsageError(f"--key: {error}") from None


def label_text(labels: Mapping[str, str] | None) -> str:
    """Return labels on one line, as `--label` takes them."""
    return short_text(" ".join(f"{name}={value}" for name, value in (labels or {}).items()))


async def latest(comfy: ComfySession, states: Sequence[str], *, limit: int) -> list[Any]:
    """Return the latest jobs in some states, with the labels of each, which the list does not have.

    Raises:
        ComfyError: The request failed.
    """
    found: list[Any] = []
    async for page in comfy.jobs.page(status=states, size=min(limit, 100)):
        found += page
        if len(found) >= limit:
            break
    places = asyncio.Semaphore(_ASKED_AT_ONCE)
    return await asyncio.gather(*(_told(comfy, job, places) for job in found[:limit]))


async def _told(comfy: ComfySession, job: Any, places: asyncio.Semaphore) -> Any:
    """Return a job of the list with what was sent along, as it is where it has been deleted since."""
    from comfy_async import NotFoundError

    if job.labels is not None:
        return job
    async with places:
        try:
            return job.model_copy(update={"workflow": (await comfy.jobs.get(job.id)).workflow})
        except NotFoundError:
            return job


async def labelled(
    comfy: ComfySession, states: Sequence[str], *, limit: int, labels: Mapping[str, str]
) -> list[Any]:
    """Return the latest jobs in some states that have some labels.

    Raises:
        ComfyError: The request failed.
    """
    # `opened` has connected: it is known which of both orders they come in.
    if comfy.server.dialect != "comfyui":
        found: list[Any] = []
        async for job in comfy.jobs.find(labels=labels, status=states):
            found.append(job)
            if len(found) == limit:
                break
        return found
    newest: deque[Any] = deque(maxlen=limit)
    async for job in comfy.jobs.find(labels=labels, status=states):
        newest.append(job)
    return list(reversed(newest))
