"""What the resources need of their session."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from .._base.hooks import Hooks
from .._base.settings import Settings
from .._dialects.dialect import Dialect
from .._dialects.server import ServerInfo
from .._transport.http import HttpClient
from ..events import BaseEvent

__all__ = ["EventReader", "Host"]


class EventReader(Protocol):
    """An iterator over events that can be left early."""

    def __aiter__(self) -> EventReader:
        """Return itself."""
        ...

    async def __anext__(self) -> BaseEvent:
        """Return the next event."""
        ...

    async def aclose(self) -> None:
        """Stop reading."""
        ...


class Host(Protocol):
    """A connection to one server, as a resource sees it: the session's engine."""

    client_id: str
    settings: Settings
    http: HttpClient
    api: Dialect
    hooks: Hooks

    @property
    def uses_socket(self) -> bool:
        """False when it works without any WebSocket."""
        ...

    @property
    def base_url(self) -> str:
        """The server's address without credentials and without a trailing slash."""
        ...

    @property
    def server(self) -> ServerInfo:
        """What the server is and can do, as far as it is known."""
        ...

    def check_loop(self) -> None:
        """Raise in another event loop, and when everything is closed."""
        ...

    async def known_server(self) -> ServerInfo:
        """Request once what the server is; raises in another event loop, and when everything is closed."""
        ...

    async def hear(self) -> None:
        """Wait until the socket receives messages, for as long as it is worth waiting."""
        ...

    def events(self) -> EventReader:
        """Return every event from now on."""
        ...

    def stopping(
        self, prompt_ids: Iterable[str] | None = None, *, of: Collection[str] = ("pending",)
    ) -> AbstractContextManager[None]:
        """While jobs are stopped from outside, those of this session in such a state end as cancelled.

        Raises as `check_loop` does, before it touches any.
        """
        ...
