"""A hook that writes down all that a hook can be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_async import Job
from comfy_async.events import BaseEvent


class Book:
    """Writes down all that a hook can be told."""

    def __init__(self) -> None:
        """Start empty."""
        self.calls: list[tuple[Any, ...]] = []
        self.events: list[BaseEvent] = []

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Return what one method was told."""
        return [call[1:] for call in self.calls if call[0] == name]

    @property
    def lives(self) -> list[str]:
        """The turns in the lives of jobs, in order."""
        wanted = ("on_submit_failed", "on_begin", "on_end", "on_left")
        return [call[0].removeprefix("on_") for call in self.calls if call[0] in wanted]

    def on_submit_failed(self, workflow: Any, error: BaseException) -> None:
        """Note it."""
        self.calls.append(("on_submit_failed", workflow, error))

    def on_begin(self, job: Job, extra_data: Mapping[str, Any]) -> None:
        """Note it."""
        self.calls.append(("on_begin", job, extra_data))

    def on_event(self, job: Job, event: BaseEvent) -> None:
        """Note it."""
        self.events.append(event)
        self.calls.append(("on_event", job, event))

    def on_end(self, job: Job) -> None:
        """Note it, with what can be read by then."""
        self.calls.append(("on_end", job, job.status, job.error))

    def on_left(self, job: Job) -> None:
        """Note it."""
        self.calls.append(("on_left", job, job.status))

    def on_request(self, method: str, path: str, status: int | None, seconds: float) -> None:
        """Note it."""
        self.calls.append(("on_request", method, path, status, seconds))

    def on_transfer(self, server: str, direction: str, file: str, size: int, seconds: float) -> None:
        """Note it."""
        self.calls.append(("on_transfer", server, direction, file, size, seconds))

    def on_connection(self, server: str, event: BaseEvent) -> None:
        """Note it."""
        self.calls.append(("on_connection", server, event))

    def on_poll(self, server: str) -> None:
        """Note it."""
        self.calls.append(("on_poll", server))
