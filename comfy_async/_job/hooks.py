"""How hooks are called for one job."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import Any

from .._base.hooks import Hooks
from .._base.secrets import sealed
from ..events import BaseEvent
from .core import JobCore
from .job import Job, handle

__all__ = ["introduce", "tell_of_saves"]


def introduce(job: JobCore, hooks: Hooks, extra_data: Mapping[str, Any] | None = None) -> None:
    """Call hooks for a job, once, from its first event on; a job without any event is not reported to them.

    Args:
        job: The job.
        hooks: What is called.
        extra_data: What goes along with its prompt, or was found with it on the server.
    """
    tell_of_saves(job, hooks)
    if hooks.hear_jobs and not job.done and not job.is_told:
        job.tell_to(_JobHooks(hooks, job, sealed(extra_data or {})))


def tell_of_saves(job: JobCore, hooks: Hooks) -> None:
    """Call hooks for the saved files of a job, also of one that ended long ago."""
    told = hooks.on_saved
    if told is not None:
        job.saved_to = lambda file, place: told(handle(job), file, place)


class _JobHooks:
    """Calls hooks for one job.

    It holds the job as users see it: what hooks get is the same object each time.
    """

    __slots__ = ("_begun", "_context", "_extra", "_handle", "_hooks")

    def __init__(self, hooks: Hooks, job: JobCore, extra_data: dict[str, Any]) -> None:
        """Wait for its first event."""
        self._hooks = hooks
        self._handle: Job = handle(job)
        self._extra = extra_data
        self._begun = False
        # The first event may come by the socket's reader, which knows nothing of who submits.
        self._context = contextvars.copy_context()

    def event(self, event: BaseEvent) -> None:
        """Something has happened to it."""
        if not self._begun:
            self._begin()
        if self._hooks.on_event is not None:
            self._hooks.on_event(self._handle, event)

    def end(self) -> None:
        """It has had its end."""
        if self._hooks.on_end is not None:
            self._hooks.on_end(self._handle)

    def left(self) -> None:
        """It is not followed any more."""
        if self._begun and self._hooks.on_left is not None:
            self._hooks.on_left(self._handle)

    def _begin(self) -> None:
        """Report that there is a job, in the context of the caller that submitted it."""
        self._begun = True
        if self._hooks.on_begin is not None:
            self._context.run(self._hooks.on_begin, self._handle, self._extra)
        del self._context, self._extra
