"""The servers of a pool: they come, are read and watched, and go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Literal

from .._client.session import ComfySession
from .._job.mailbox import EventStream, Mailbox
from .._transport.address import Address
from .core import PoolCore
from .member import Member, PoolServer

__all__ = ["PoolServers"]

_log = logging.getLogger("comfy_async")


class PoolServers(PoolCore):
    """The part of `ComfyPool` that is about its servers."""

    _limit: int | None
    _session_options: Mapping[str, Any]

    @property
    def servers(self) -> tuple[PoolServer, ...]:
        """Every server at this moment: its state, its load, what it lacks, and why."""
        return tuple(member.snapshot() for member in self._places.members)

    def add(
        self,
        server: str | ComfySession,
        *,
        weight: float = 1.0,
        limit: int | None | Literal["pool"] = "pool",
        **options: Any,
    ) -> None:
        """Take a server into the pool, at any time; whoever waits may go there at once.

        Args:
            server: Its base URL, or a session of your own, which the pool then closes.
            weight: Its share of the work: one of weight 2 gets twice as many jobs as one of 1.
            limit: The pool's own jobs there at once, None for any number; the pool's own limit
                unless given.
            options: What `ComfySession` takes, beyond what the pool was given.

        Raises:
            ValueError: The URL, the weight or the limit makes no sense, or it is in the pool.
            SessionClosedError: The pool is closed.
        """
        if self._closed:
            raise self._closed_error(None)
        session = server if isinstance(server, ComfySession) else self._session(server, options)
        if any(member.url == session.base_url for member in self._places.members):
            raise ValueError(f"{session.base_url} is in the pool already")
        member = Member(session, weight=weight, limit=self._limit if limit == "pool" else limit)
        self._places.members.append(member)
        for box in self._watchers:
            self._watch_with(box, session)
        _log.debug("pool: %s comes in, weight %g, limit %s", member.url, weight, member.limit)
        self._places.dispatch()

    async def drain(self, url: str) -> None:
        """Give a server no more jobs, wait for those that it has, and let it go.

        What its finished jobs made can be downloaded until the pool is closed, or the server is.

        Raises:
            ValueError: It is not in the pool.

        Example:
            >>> async with ComfyPool(["http://10.0.0.7:8188"]) as pool:
            ...     pool.add("http://10.0.0.8:8188", weight=2)
            ...     await pool.drain("http://10.0.0.7:8188")
            ...     print([server.weight for server in pool.servers])
            [2]
        """
        self._check_loop()
        base = Address.parse(url).base
        member = next((m for m in self._places.members if m.url == base), None)
        if member is None:
            raise ValueError(f"{base} is not in the pool")
        member.leaving = True
        _log.debug("pool: %s is drained", member.url)
        self._places.judge_all()
        while not member.idle.is_set() or member.session._jobs:
            await member.idle.wait()
            others = [asyncio.ensure_future(job._ended.wait()) for job in member.session._jobs.values()]
            try:
                if others:
                    await asyncio.wait(others)
            finally:
                for waiting in others:
                    waiting.cancel()
        if member in self._places.members:
            self._places.members.remove(member)
            self._retired.append(member.session)
            member.session._watchers.clear()
            await member.session._link.aclose()

    def _session(self, url: str, options: Mapping[str, Any]) -> ComfySession:
        """Make a session with one server."""
        return ComfySession(url, **{"settings": self.settings, **self._session_options, **options})

    def _member_at(self, url: str) -> Member | None:
        """Return the server of a job's ref; one that is not in the pool is asked, but gets no jobs."""
        try:
            base = Address.parse(url).base
        except ValueError:
            return None
        for member in [*self._places.members, *self._guests]:
            if member.url == base:
                return member
        guest = Member(self._session(url, {}), weight=1.0, limit=None)
        guest.leaving = True
        self._guests.append(guest)
        return guest

    def events(self) -> EventStream:
        """Return every event of every server from now on: of all jobs, and those of no job.

        Raises:
            SessionClosedError: The pool is closed.
        """
        self._check_loop()
        box = Mailbox(max_events=self.settings.mailbox_events, max_bytes=self.settings.mailbox_bytes)
        self._watchers.append(box)
        for member in self._places.members:
            self._watch_with(box, member.session)
        return EventStream(box, self._drop_watcher)

    def _watch_with(self, box: Mailbox, session: ComfySession) -> None:
        """Put the events of one server into a mailbox."""
        session._watchers.append(box)
        if session._transport == "auto":
            session._link.start()

    def _drop_watcher(self, box: Mailbox) -> None:
        """Forget somebody who read `events()`."""
        # A new list: the garbage collector may come by in the middle of a loop over the old one.
        self._watchers = [other for other in self._watchers if other is not box]
        for session in self._sessions():
            session._drop_watcher(box)
