"""Which job gets a place where, and which first: the least loaded server, and batches in turn."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable

from .._base.clock import Clock
from ..errors import ComfyError, ConnectError
from .job import Order, PoolJob
from .member import Member
from .needs import worst_first

__all__ = ["Places"]

_log = logging.getLogger("comfy_async")


class _Waiter:
    """A job that waits for a place."""

    __slots__ = ("job", "place")

    def __init__(self, job: PoolJob, place: asyncio.Future[Member]) -> None:
        self.job = job
        self.place = place


class Places:
    """The places on all servers, and the queue for them; every method but `take` decides at once.

    Those who wait are grouped by batch. A free place goes to the group whose turn it is, so that
    a batch of thousands and one of three both go on.
    """

    def __init__(self, clock: Clock, *, away_seconds: float | None, on_wait: Callable[[], None]) -> None:
        """Start without servers; `on_wait` is called when somebody begins to wait."""
        self._on_wait = on_wait
        self.members: list[Member] = []
        self._clock = clock
        self._away_seconds = away_seconds
        self._groups: dict[object, deque[_Waiter]] = {}
        self._turn = 0
        self._closed: Exception | None = None

    @property
    def is_waited_for(self) -> bool:
        """True while jobs wait for a place."""
        return bool(self._groups)

    async def take(self, job: PoolJob, *, first: bool = False) -> Member:
        """Wait for a place on a server that can run a job, and keep it for the job.

        Args:
            job: What is to run.
            first: Before the others of its group: it has waited once already.

        Raises:
            ComfyError: No server can or will run it: the error of the nearest miss.
        """
        if self._closed is not None:
            raise self._closed
        waiter = _Waiter(job, asyncio.get_running_loop().create_future())
        queue = self._groups.setdefault(job.order.group, deque())
        queue.appendleft(waiter) if first else queue.append(waiter)
        self.dispatch(newcomer=waiter)
        if not waiter.place.done():
            self._on_wait()
        try:
            return await waiter.place
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def dispatch(self, *, newcomer: _Waiter | None = None) -> None:
        """Assign free places: something has ended, come back, or begun to wait."""
        while self._serve_next():
            pass
        if newcomer is not None and not newcomer.place.done():
            self._judge(newcomer)

    def judge_all(self) -> None:
        """End the waits of jobs that no server can run."""
        for queue in list(self._groups.values()):
            for waiter in list(queue):
                self._judge(waiter)

    def close(self, error: Exception) -> None:
        """End every wait."""
        self._closed = error
        for queue in self._groups.values():
            for waiter in queue:
                if not waiter.place.done():
                    waiter.place.set_exception(error)
        self._groups.clear()

    def _serve_next(self) -> bool:
        """Give one place to the first group that can use one; return whether there was any."""
        if not self._groups or not any(m.usable and m.has_room for m in self.members):
            return False
        for group, queue in self._groups.items():
            for waiter in queue:
                member = self._choose(waiter.job.order)
                if isinstance(member, Exception) or member is None:
                    continue
                queue.remove(waiter)
                del self._groups[group]
                if queue:
                    # Its turn is over: the other groups come first now.
                    self._groups[group] = queue
                self._settle(waiter, member)
                return True
        return False

    def _settle(self, waiter: _Waiter, member: Member) -> None:
        """Keep the place."""
        if waiter.place.done():
            return
        self._turn += 1
        member.turn = self._turn
        _log.debug("pool: a job goes to %s: its load is %.2f, its queue %s", *_figures(member))
        member.take(waiter.job)
        waiter.job.member = member
        waiter.place.set_result(member)

    def _judge(self, waiter: _Waiter) -> None:
        """End a wait that has become hopeless."""
        verdict = self._choose(waiter.job.order)
        if isinstance(verdict, Exception) and not waiter.place.done():
            self._forget(waiter)
            waiter.place.set_exception(verdict)

    def _forget(self, waiter: _Waiter) -> None:
        """A job waits no more, or was given a place that is not wanted any more."""
        group = waiter.job.order.group
        queue = self._groups.get(group)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._groups[group]
        place = waiter.place
        if place.done() and not place.cancelled() and place.exception() is None:
            place.result().release(waiter.job)
            self.dispatch()

    def _choose(self, order: Order) -> Member | ComfyError | None:
        """Return the best server for a job, None while it has to wait, an error when none can run it."""
        open_to = [m for m in self.members if not m.draining and m not in order.refused]
        able = [m for m in open_to if not m.is_lacking(order.needs)]
        if not able and order.refused:
            return _refusal(order)
        # What they are believed to lack may have been installed since: one of them is asked.
        able = able or open_to
        if not able:
            return ConnectError("the pool has no server", hint="`pool.add(url)` brings one.")
        ready = [m for m in able if m.usable]
        if not ready:
            return self._unreachable(order, able)
        order.stuck_since = None
        key = order.key
        if key is not None:
            # Pools of several processes choose the same server, where one of them gets the key; and the same
            # next one, where the first has lost the job.
            own = max(ready, key=lambda m: (m not in order.had_by, _draw(key, m.url)))
            return own if own.has_room else None
        free = [m for m in ready if m.has_room]
        return min(free, key=lambda m: _rank(m, order)) if free else None

    def _unreachable(self, order: Order, able: list[Member]) -> ComfyError | None:
        """No server that could run it answers: wait as long as was said, or not at all."""
        now = self._clock.monotonic()
        order.stuck_since = now if order.stuck_since is None else order.stuck_since
        limit = self._away_seconds
        if order.patient and (limit is None or now - order.stuck_since < limit):
            return None
        if order.refused:
            return _refusal(order)
        whys = "; ".join(f"{m.url}: {m.reason or 'no answer'}" for m in able)
        errors = [m.last_error for m in able if m.last_error is not None]
        if len(errors) == len(able) == 1:
            return errors[0]
        return ConnectError(f"no server of the pool can be reached: {whys}", hint="Nothing was sent.")


def _rank(member: Member, order: Order) -> tuple[bool, float, int, int, int]:
    """Return what the servers are compared by, the best has the least.

    First the load. Among equals the one that has the models loaded, then one that would throw
    none out, then the one whose turn is longest ago.
    """
    shared = len(order.models & member.models)
    evicted = bool(member.models) if order.models and not shared else False
    return member.unanswered, member.load, -shared, int(evicted), member.turn


def _draw(key: str, url: str) -> bytes:
    """Return a number that is drawn for a key and a server, the same one in every process."""
    return hashlib.sha256(f"{key}\n{url}".encode()).digest()


def _figures(member: Member) -> tuple[str, float, int | None]:
    """Return what the log says of a choice."""
    return member.url, member.load, member.queue


def _refusal(order: Order) -> ComfyError:
    """Return why no server runs it: the error of the nearest miss."""
    nearest: ComfyError = worst_first(order.refused.values())[-1]  # type: ignore[assignment]
    return nearest
