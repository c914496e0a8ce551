"""Is a server back, and how long is its queue? Requested only when a job waits for a place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from .._base.clock import Clock
from ..errors import ComfyError, SessionClosedError
from .member import Member
from .places import Places

__all__ = ["Health"]

_log = logging.getLogger("comfy_async")

# A server that takes longer to tell its queue is asked last, not waited for.
_LOOK_S: Final = 1.0
# How often those who wait for a server are looked after, which costs no request.
_JUDGE_S: Final = 5.0
_PAUSE_LEAST_S: Final = 0.1


class Health:
    """Looks after the servers of a pool, in tasks that live only while jobs wait."""

    def __init__(self, places: Places, clock: Clock) -> None:
        """Prepare; nothing runs."""
        self._places = places
        self._clock = clock
        self._nurse: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._looks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def refresh(self) -> None:
        """Request the queues that are unknown, for a moment; a single server's is not needed.

        Servers whose socket receives messages are not asked: they report it by themselves.
        """
        members = [m for m in self._places.members if not m.draining]
        healthy = [m for m in members if m.usable]
        if not healthy and members:
            await self.ask_all(members, wait_for_all=True)
            return
        due = [m for m in members if m.is_due]
        stale = [m for m in healthy if m.is_stale] if len(members) > 1 else []
        if due:
            self._start(due)
        if stale:
            await self.ask_all(stale)

    def watch(self) -> None:
        """Make sure that waiting jobs get a place when a server comes back."""
        self._wake.set()
        if self._nurse is None or self._nurse.done():
            self._nurse = asyncio.create_task(self._run(), name="comfy_async pool health")

    def ask(self, member: Member) -> None:
        """Probe one server in the background, and stop what should not run there any more."""
        self._start([member])

    async def aclose(self) -> None:
        """End the tasks; no other is started."""
        self._closed = True
        tasks = [*self._looks, *([self._nurse] if self._nurse is not None else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        """Probe those that do not answer, at growing intervals, as long as jobs wait."""
        while self._places.is_waited_for:
            sick = [m for m in self._places.members if not m.draining and not m.usable]
            if not sick:
                break
            self._wake.clear()
            for task in self._start(m for m in sick if m.is_due):
                task.add_done_callback(lambda _task: self._wake.set())
            now = self._clock.monotonic()
            pause = min((m.retry_at - now for m in sick if m.state == "down"), default=_JUDGE_S)
            await self._clock.wait(self._wake, min(max(pause, _PAUSE_LEAST_S), _JUDGE_S))
            self._places.dispatch()
            self._places.judge_all()
        # Who was heard again, or has left, before anybody looked: nobody else says so to those who wait.
        self._places.dispatch()
        self._places.judge_all()

    async def ask_all(self, members: Iterable[Member], *, wait_for_all: bool = False) -> None:
        """Probe several at once; a slow one is not waited for unless it is the only one."""
        tasks = self._start(members)
        if not tasks:
            return
        if wait_for_all:
            await asyncio.wait(tasks)
            return
        done = asyncio.Event()

        def one_done(_task: asyncio.Task[None]) -> None:
            if all(task.done() for task in tasks):
                done.set()

        for task in tasks:
            task.add_done_callback(one_done)
        await self._clock.wait(done, _LOOK_S)
        for member in members:
            if member.looking is not None and not member.looking.done():
                member.unanswered = True

    def _start(self, members: Iterable[Member]) -> list[asyncio.Task[None]]:
        """Begin to probe, each server once at a time; a slow one is not waited for again."""
        tasks = []
        for member in () if self._closed else members:
            if member.looking is None or member.looking.done():
                member.looking = asyncio.create_task(self._look(member), name="comfy_async pool look")
                self._looks.add(member.looking)
                member.looking.add_done_callback(self._looks.discard)
            elif member.unanswered:
                continue
            tasks.append(member.looking)
        return tasks

    async def _look(self, member: Member) -> None:
        """Ask one server for the length of its queue; its answer closes the breaker."""
        was_open = member.state == "down"
        if was_open:
            member.state = "probing"
        try:
            await member.engine.known_server()
            queue = await member.engine.api.ping()
        except SessionClosedError:
            return
        except ComfyError as error:
            member.failed(error)
            if member.ghosts and member.state == "up":
                member.go_down("it may run what runs elsewhere by now, and does not answer")
            return
        except BaseException:
            if member.state == "probing":
                member.state = "down"
            raise
        member.looked(queue)
        if was_open:
            member.come_up()
            self._places.dispatch()
        await self._lay_ghosts(member)

    async def _lay_ghosts(self, member: Member) -> None:
        """Stop what was given up for lost there and runs elsewhere by now."""
        for prompt_id in list(member.ghosts):
            try:
                await member.engine.api.cancel(prompt_id)
            except ComfyError as error:
                _log.warning("pool: job %s may run twice, %s: %s", prompt_id, member.url, error)
                return
            member.ghosts.discard(prompt_id)
