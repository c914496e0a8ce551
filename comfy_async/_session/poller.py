"""The session's one poller: it finds by HTTP what the socket does not say.

While the socket is known to receive messages it polls rarely and cheaply, only to find out whether
it still does. While it does not, it finds the state of every open job: one request for the queue for
all of them, and the history of those that left it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from .._base.settings import Settings
from .._dialects.dialect import Dialect, Speaker
from .._job.core import JobCore
from .._protocol.snapshot import QueueSnapshot
from ..errors import ComfyError, RateLimitError
from ..events import Disconnected, Lost, PollingStarted, Started
from .concerns import Concerns
from .ends import GRACE_S, Ends
from .link import Link
from .open_jobs import OpenJobs
from .socket_health import SocketHealth
from .turns import Turns

__all__ = ["Poller"]

_log = logging.getLogger("comfy_async")

# The history follows execution_success by up to half a second (PROTOCOL 0.2).
_SOON_S: Final = 0.1
_GROWTH: Final = 1.5


class Followed(Protocol):
    """The streams of single jobs, as the poller sees them."""

    def covers(self, job: JobCore) -> bool:
        """Return whether a stream has sent news of a job a short while ago."""
        ...

    def polled(self, job: JobCore, told: Mapping[str, Any], now: float) -> None:
        """Bring a job what a poll has found."""
        ...


class Poller:
    """Polls while jobs are open. Decides without awaiting; the awaits are the requests.

    Attributes:
        closed: Nothing is polled any more.
        ends: What finds out how jobs have ended.
    """

    def __init__(
        self,
        jobs: OpenJobs,
        *,
        speaker: Speaker,
        client_id: str,
        link: Link,
        health: SocketHealth,
        streams: Followed,
        settings: Settings,
        on_poll: Callable[[], None] | None = None,
    ) -> None:
        """Prepare; the task runs only while there are jobs. `on_poll` is called for each poll."""
        self.closed = False
        self._jobs = jobs
        self._speaker = speaker
        self._client_id = client_id
        self._link = link
        self._health = health
        self._streams = streams
        self._settings = settings
        self._clock = settings.clock
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._pause = settings.poll_min
        self._away_since: float | None = None
        self._due: set[str] = set()
        self._turns = Turns(fresh=settings.poll_min / 2, stale=settings.poll_max)
        self._timer: asyncio.TimerHandle | None = None
        self._closely = False
        self._must_look = False
        self._watching_status = False
        self._places_changed = False
        self._frames_before = 0
        self._on_poll = on_poll
        self.ends = Ends(jobs, speaker=speaker, client_id=client_id, health=health, settings=settings)
        self._concerns = Concerns(jobs, server=speaker.api.address, settings=settings)

    @property
    def _api(self) -> Dialect:
        """The requests in the server's dialect."""
        return self._speaker.api

    @property
    def away(self) -> bool:
        """True while the server does not answer about open jobs."""
        return self._away_since is not None

    @property
    def running(self) -> bool:
        """True unless it has nothing to do, or was ended with the program."""
        task = self._task
        return task is not None and not task.done() and not task.cancelling()

    async def look_for(self, job: JobCore) -> None:
        """Poll for one job at once, instead of the task that was ended with the program.

        One poll is for all: a caller that comes during another waits for its end, and may not need its own.

        Raises:
            ComfyError: The server did not answer.
        """
        async with self._looking:
            if job.done:
                return
            jobs = list(self._jobs)
            for one in jobs:
                # The socket's reader was ended too.
                one.state.mark_gap()
            known = self._known()
            await self._take(await self._api.snapshot([job.prompt_id]), jobs, known)

    def start(self) -> None:
        """Begin to poll unless that is under way, or no job is open."""
        if not self.closed and (self._task is None or self._task.done()):
            self._pause = self._settings.poll_min
            self._task = asyncio.create_task(self._run(), name="comfy_async poller")

    def poke(self, jobs: Iterable[JobCore] = ()) -> None:
        """Poll now; the given jobs are looked up although the socket receives messages."""
        self._due.update(job.prompt_id for job in jobs)
        self._pause = self._settings.poll_min
        self._wake.set()

    def soon(self) -> None:
        """Poll everything in a second: the queue shrank without an end of a job of this session.

        One of the session's jobs may have been deleted, of which no event comes.
        """
        self._must_look = True
        self._set_timer()

    def queue_changed(self) -> None:
        """The queue has changed: read in a second the places of the jobs in it that somebody watches."""
        self._places_changed = True
        self._set_timer()

    def expect_status(self) -> None:
        """A prompt was queued: a message about it must come within a second, or the socket is silent."""
        self._frames_before = self._link.frames
        self._watching_status = True
        self._set_timer()

    def _set_timer(self) -> None:
        """Check what is suspected when a moment has passed."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GRACE_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        unheard = self._watching_status and self._link.frames == self._frames_before
        places = self._places_changed and any(job.place_is_watched for job in self._jobs)
        wanted = self._must_look or unheard or places
        self._must_look = self._watching_status = self._places_changed = False
        if wanted:
            self._closely = True
            self._wake.set()

    def forget(self, job: JobCore) -> None:
        """A job has ended."""
        self.ends.forget(job)
        self._turns.forget(job.prompt_id)
        self._due.discard(job.prompt_id)

    async def aclose(self) -> None:
        """End the task."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        """Poll, pause, poll again, until no job is open."""
        while self._jobs:
            await self._clock.wait(self._wake, self._next_pause())
            self._wake.clear()
            if not self._jobs:
                break
            asking = self._concerns.asking()
            try:
                await self._look()
            except RateLimitError as error:
                # It answers, and says when it will again.
                self._reachable()
                self._pause = max(self._settings.poll_max, error.retry_after or 0.0)
            except ComfyError as error:
                self._unreachable(error)
            except Exception:
                _log.exception("a poll of the server failed in an unforeseen way")
                self._pause = self._settings.poll_max
            finally:
                asking.cancel()
            self._concerns.quiet()
        # Nobody looks any more: how long the server has been away begins anew with the next job.
        self._away_since = None

    def _needy(self) -> list[JobCore]:
        """Return the jobs whose end polling must find."""
        jobs = self._jobs.submitted()
        if self._link.hearing and not self._health.stalled:
            mine = self._client_id
            return [
                job
                for job in jobs
                if job.client_id != mine or job.state.wants_history or job.prompt_id in self._due
            ]
        if self._api.has_streams:
            return [job for job in jobs if job.prompt_id in self._due or not self._streams.covers(job)]
        return jobs

    def _next_pause(self) -> float:
        """Return how long no request is needed."""
        if self._turns.more:
            return 0.0
        if any(job.state.wants_history for job in self._jobs):
            return _SOON_S
        if self._needy() or self.ends.half_known or self._away_since is not None:
            return self._pause
        if self._api.has_streams:
            # No socket wakes whoever sleeps when a stream falls silent, or a prompt is accepted.
            return self._pause
        return self._health.pause()

    async def _look(self) -> None:
        """Poll once, as much as is needed."""
        if self._on_poll is not None:
            self._on_poll()
        needy = self._turns.next(
            self._needy(), due=self._due, most=self._api.jobs_at_once, now=self._clock.monotonic()
        )
        if not needy and not self.ends.half_known:
            if self._api.has_socket:
                await self._watch()
            return
        before, known = self._picture(), self._known()
        snapshot = await self._api.snapshot(self._asked_about(needy))
        self._reachable()
        if self._link.hearing:
            self._health.compare(snapshot)
        await self._take(snapshot, needy, known)
        self._turns.looked()
        changed = self._picture() != before
        self._pause = (
            self._settings.poll_min if changed else min(self._settings.poll_max, self._pause * _GROWTH)
        )
        self._due.difference_update(job.prompt_id for job in needy)
        self._due.intersection_update(self._jobs.by_id)
        # What is half known is looked at again soon.
        if self.ends.half_known:
            self._pause = min(self._pause, GRACE_S)

    def _asked_about(self, needy: list[JobCore]) -> list[str]:
        """Return the ids that a poll is for: of jobs that need it, and of those that were found in part."""
        return list(dict.fromkeys([*(job.prompt_id for job in needy), *self.ends.half_known]))

    async def _watch(self) -> None:
        """Send the cheap request: does the socket still receive messages?"""
        closely, self._closely = self._closely, False
        known = self._known()
        snapshot = await self._health.look(closely=closely)
        self._reachable()
        if snapshot is not None:
            await self._take(snapshot, [], known)

    def _picture(self) -> tuple[tuple[str, str], ...]:
        """Return what changes when a poll has found something."""
        return tuple((job.prompt_id, job.status) for job in self._jobs)

    def _known(self) -> frozenset[str]:
        """Return the jobs that a poll which begins now can find missing."""
        return frozenset(job.prompt_id for job in self._jobs.accepted())

    async def _take(self, snapshot: QueueSnapshot, needy: list[JobCore], known: frozenset[str]) -> None:
        """Bring the queue's facts to the jobs, then look for those that left it.

        Args:
            snapshot: The queue.
            needy: The jobs that it was requested for.
            known: Those that the server had accepted when it was requested.
        """
        self._concerns.looked(snapshot)
        gone: list[JobCore] = []
        wanted = set(needy)
        limit = self._settings.away_seconds
        for job in self._turns.untold(snapshot, needy, now=self._clock.monotonic(), limit=limit):
            self.ends.lose(job, _silent(f"the server said nothing of it for {limit:g} s"))
        positions = snapshot.positions()
        now = self._clock.unix()
        for job in self._jobs.accepted():
            if not snapshot.tells_of(job.prompt_id):
                continue
            entry = snapshot.entries.get(job.prompt_id)
            if entry is None and job.prompt_id not in known and not job.state.wants_history:
                # It was accepted while the request was under way, which may be older.
                continue
            if entry is None or job.state.wants_history:
                gone.append(job)
                continue
            self.ends.found(job)
            if job.prompt_id in positions:
                job.put_place(positions[job.prompt_id], now)
            if entry.told is not None:
                self._streams.polled(job, entry.told, now)
            if entry.running and job in wanted and self.ends.is_blind(job):
                job.take(Started(None, {}, job.prompt_id, received_at=now))
        await self.ends.find(gone)

    def _reachable(self) -> None:
        """A request was answered."""
        self._concerns.answered()
        if self._away_since is not None:
            self._away_since = None
            self._pause = self._settings.poll_min
            self._jobs.tell_all(PollingStarted, "the server answers again")

    def _unreachable(self, error: ComfyError) -> None:
        """A poll failed: that says nothing about any job, but the server may be away."""
        now = self._clock.monotonic()
        self._pause = min(self._settings.poll_max, self._pause * _GROWTH)
        if self._away_since is None:
            self._away_since = now
            reason = str(error.args[0]) if error.args else "no answer"
            self._jobs.tell_all(Disconnected, f"the server does not answer: {reason}")
        self._concerns.unanswered(error.args[0] if error.args else "no answer")
        limit = self._settings.away_seconds
        if limit is not None and now - self._away_since >= limit:
            data = _silent(f"the server has not answered for {limit:g} s")
            for job in self._jobs:
                if job.status != "submitting":
                    job.take(Lost(None, data, job.prompt_id, received_at=self._clock.unix()))


def _silent(reason: str) -> dict[str, Any]:
    """Return what stands in the end of a job that is given up although it may run on."""
    return {"reason": reason, "silent": True}
