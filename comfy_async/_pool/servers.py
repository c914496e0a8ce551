"""The servers of a pool: they come, are watched, and go."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Iterator, Mapping

from .._base.settings import Settings
from .._job.mailbox import EventStream, Mailbox, Watchers
from .._session.engine import Engine
from .._transport.address import Address
from ..errors import ComfyError, ConnectError, TransportError
from .member import Member
from .places import Places

__all__ = ["Servers", "undecided"]

_log = logging.getLogger("comfy_async")


class Servers:
    """Every server that a pool has to do with, those that it gives no jobs too.

    Attributes:
        places: The servers that get jobs, and the queue for them.
    """

    def __init__(self, places: Places, *, make: Callable[[str], Engine], settings: Settings) -> None:
        """Start without servers; `make` opens a session with one that is asked for by its URL alone."""
        self.places = places
        self._make = make
        self._settings = settings
        self._guests: list[Member] = []
        self._retired: list[Engine] = []
        self._watchers = Watchers()

    def known(self) -> list[Member]:
        """Return the servers of the pool, and those that are asked but get no jobs."""
        return [*self.places.members, *self._guests]

    def engines(self) -> Iterator[Engine]:
        """Go through every session, those of drained servers too."""
        yield from (member.engine for member in self.known())
        yield from self._retired

    def add(self, engine: Engine, *, weight: float, limit: int | None) -> None:
        """Add a server; waiting jobs may go there at once.

        Raises:
            ValueError: The weight or the limit is invalid, or it is in the pool.
        """
        if any(member.url == engine.base_url for member in self.places.members):
            raise ValueError(f"{engine.base_url} is in the pool already")
        member = Member(engine, weight=weight, limit=limit)
        self.places.members.append(member)
        for box in self._watchers.boxes:
            _watch(box, engine)
        _log.debug("pool: %s was added, weight %g, limit %s", member.url, weight, member.limit)
        self.places.dispatch()

    async def drain(self, url: str) -> None:
        """Give a server no more jobs, wait for those that it has, and remove it.

        Raises:
            ValueError: It is not in the pool.
        """
        base = Address.parse(url).base
        member = next((m for m in self.known() if m.url == base), None)
        if member is None:
            raise ValueError(f"{base} is not in the pool")
        member.leaving = True
        _log.debug("pool: %s is drained", member.url)
        self.places.judge_all()
        while not member.idle.is_set() or member.engine.jobs:
            await member.idle.wait()
            await _ends_of(member.engine)
        if member in self.known():
            own = member in self.places.members
            (self.places.members if own else self._guests).remove(member)
            self._retired.append(member.engine)
            member.engine.watchers.boxes.clear()
            await member.engine.link.aclose()

    def at(self, url: str) -> Member | None:
        """Return the server of a job's ref; one that is not in the pool is asked, but gets no jobs."""
        try:
            base = Address.parse(url).base
        except ValueError:
            return None
        for member in self.known():
            if member.url == base:
                return member
        guest = Member(self._make(url), weight=1.0, limit=None)
        guest.leaving = True
        self._guests.append(guest)
        return guest

    def events(self) -> EventStream:
        """Return every event of every server from now on."""
        settings = self._settings
        box = Mailbox(max_events=settings.mailbox_events, max_bytes=settings.mailbox_bytes, firm=True)
        self._watchers.boxes.append(box)
        for member in self.places.members:
            _watch(box, member.engine)
        return EventStream(box, self._drop)

    def close_watchers(self) -> None:
        """End every `events()`."""
        self._watchers.close()

    def _drop(self, box: Mailbox) -> None:
        """Forget a reader of `events()`."""
        self._watchers.drop(box)
        for engine in self.engines():
            engine.watchers.drop(box)


def undecided(what: str, failures: Mapping[str, ComfyError], *, prompt_id: str | None = None) -> ComfyError:
    """Return the error for what only servers can decide that do not answer, or answer with an error.

    Args:
        what: What is to be decided, such as `key 'order-12'`.
        failures: What each of those servers failed with, by its URL.
        prompt_id: The job that is looked for.
    """
    first = next(iter(failures.values()))
    reasons = "; ".join(f"{url}: {error.args[0] if error.args else error}" for url, error in failures.items())
    told = ConnectError(server=first.server) if isinstance(first, TransportError) else copy.copy(first)
    told.args = (f"{what} cannot be decided: a server that may have the job does not say so ({reasons})",)
    drains = " and ".join(f"`await pool.drain({url!r})`" for url in failures)
    told.hint = (
        f"Try again when the server answers, or leave it out with {drains}: "
        "what it has is not looked for then, and may run a second time."
    )
    told.prompt_id = prompt_id
    return told


def _watch(box: Mailbox, engine: Engine) -> None:
    """Put the events of one server into a mailbox."""
    engine.watchers.boxes.append(box)
    engine.listen()


async def _ends_of(engine: Engine) -> None:
    """Wait for the ends of the jobs that are open now."""
    waiting = [asyncio.ensure_future(job.ended.wait()) for job in engine.jobs]
    try:
        if waiting:
            await asyncio.wait(waiting)
    finally:
        for one in waiting:
            one.cancel()
