"""The streams of single jobs, where the server has one for each (API v2).

A stream brings the news sooner, and is never the only source: jobs without a live stream are polled, and
an end that a stream reports is looked up. So a stream that breaks, stalls or is wrong loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
from collections.abc import Mapping
from typing import Any, Final

from .._base.backoff import Backoff
from .._base.json import parse_json
from .._base.settings import Settings
from .._dialects.dialect import Speaker
from .._job.core import JobCore
from .._protocol.job_v2 import JobTeller
from .._protocol.sse import SseError, SseReader
from ..errors import AuthError, ComfyError, NotFoundError, RateLimitError, ResponseError
from ..events import BaseEvent
from .open_jobs import OpenJobs
from .poller import Poller

__all__ = ["Streams"]

_log = logging.getLogger("comfy_async")

# Whoever has heard nothing for this long looks for himself, as slowly as the poller does.
_FRESH_S: Final = 2.0
# A look that takes longer than this is not waited for.
_FIRST_LOOK_S: Final = 2.0
_TOO_MANY_S: Final = 5.0
# A stream that lasted for this long proves that the server does not just open and end them.
_STABLE_S: Final = 5.0
_ENDS: Final = frozenset({"succeeded", "failed", "canceled", "expired"})


class Streams:
    """Follows the jobs that somebody waits for, a bounded number at once.

    Attributes:
        poller: What polls where no stream reports.
        opened: How many streams were opened.
    """

    poller: Poller

    def __init__(self, jobs: OpenJobs, *, speaker: Speaker, settings: Settings) -> None:
        """Start without any. Set `poller` before the first job."""
        self.opened = 0
        self._jobs = jobs
        self._speaker = speaker
        self._settings = settings
        self._clock = settings.clock
        self._most = settings.streams
        self._served = True
        self._held_until = 0.0
        self._tellers: dict[str, JobTeller] = {}
        self._waiting: dict[str, JobCore] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._heard: dict[str, float] = {}
        self._looks: dict[str, tuple[JobCore, asyncio.TimerHandle]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # Who is followed.

    def follow(self, job: JobCore) -> None:
        """Somebody waits for this job's news."""
        if self._closed or not self._served or not self._speaker.api.has_streams:
            return
        known = job.prompt_id in self._tasks or job.prompt_id in self._looks
        if not known and self._jobs.has(job) and not job.done:
            self._waiting[job.prompt_id] = job
            self._fill()

    @property
    def live(self) -> int:
        """How many streams report on jobs."""
        return len(self._heard)

    def covers(self, job: JobCore) -> bool:
        """Return whether a stream has sent news of a job a short while ago, beyond its state.

        A stream of comfy-api-proxy that says "running", and gets nothing from ComfyUI before the end, is
        silent for fifteen seconds then: that happens with quick jobs.
        """
        heard = self._heard.get(job.prompt_id)
        return heard is not None and self._clock.monotonic() - heard < _FRESH_S

    def forget(self, job: JobCore) -> None:
        """A job has ended, or gone elsewhere."""
        for known in (self._tellers, self._waiting, self._heard):
            known.pop(job.prompt_id, None)
        if self._end_look(job):
            self._fill()
        task = self._tasks.get(job.prompt_id)
        if task is not None and task is not _current_task():
            task.cancel()

    def polled(self, job: JobCore, told: Mapping[str, Any], now: float) -> None:
        """Bring a job what a poll has found."""
        # A look may be older than what a live stream has told since it was asked for.
        for event in self._teller(job).snapshot(told, now, progress=not self.covers(job)):
            job.take(event)
        if self._end_look(job) and not job.done:
            self._open(job)

    async def aclose(self) -> None:
        """End all streams."""
        self._closed = True
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        for job, _ in list(self._looks.values()):
            self._end_look(job)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _fill(self) -> None:
        """Open streams for those that wait, as long as there is room."""
        wait = self._held_until - self._clock.monotonic()
        if wait > 0.0 and self._waiting:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(wait, self._fill_again)
            return
        while self._waiting and len(self._tasks) + len(self._looks) < self._most:
            job = self._waiting.pop(next(iter(self._waiting)))
            if not job.done and job.prompt_id not in self._tasks:
                self._look_first(job)

    def _fill_again(self) -> None:
        """The server allows further streams."""
        self._timer = None
        self._fill()

    # A quick job has ended when it is first looked at, and needs no stream.

    def _look_first(self, job: JobCore) -> None:
        """Have a job looked at, and open its stream when it is found going on."""
        if not self._is_crowded:
            self.poller.poke([job])
        timer = asyncio.get_running_loop().call_later(_FIRST_LOOK_S, self._look_takes_long, job)
        self._looks[job.prompt_id] = job, timer

    def _look_takes_long(self, job: JobCore) -> None:
        """Open the stream of a job that no look has found in time, unless its turn is far off."""
        if not self._end_look(job):
            return
        if self._is_crowded:
            self._look_first(job)
        else:
            self._open(job)

    def _end_look(self, job: JobCore) -> bool:
        """Wait no longer for a look at a job; return whether there was one to wait for."""
        waits = self._looks.pop(job.prompt_id, None)
        if waits is None:
            return False
        waits[1].cancel()
        return True

    @property
    def _is_crowded(self) -> bool:
        """True for many more jobs than may have streams: for all but the oldest a look is too soon."""
        return len(self._jobs) > 2 * self._most

    def _open(self, job: JobCore) -> None:
        """Follow a job."""
        task = asyncio.create_task(self._run(job), name=f"comfy_async stream {job.prompt_id[:8]}")
        self._tasks[job.prompt_id] = task
        task.add_done_callback(functools.partial(self._over, job.prompt_id))

    def _over(self, prompt_id: str, _task: asyncio.Task[None]) -> None:
        """A stream's task has ended: the next job may have its place."""
        self._tasks.pop(prompt_id, None)
        self._heard.pop(prompt_id, None)
        if not self._closed:
            self._fill()

    # One stream.

    async def _run(self, job: JobCore) -> None:
        """Follow one job to its end, through as many streams as it takes."""
        backoff = Backoff(first=self._settings.reconnect_first, cap=self._settings.reconnect_cap)
        while not job.done and self._jobs.has(job):
            began = self._clock.monotonic()
            try:
                if await self._read(job):
                    # It told of an end: whether that is true is looked up, and no stream says more.
                    return
            except RateLimitError as error:
                self._hold(job, error)
                return
            except (AuthError, NotFoundError) as error:
                _log.info("job %s is polled: %s", job.prompt_id, error.args[0])
                return
            except ResponseError as error:
                if error.status in (405, 501):
                    self._served = False
                    self._waiting.clear()
                    _log.info("%s streams no events: polling instead", self._speaker.api.address)
                    return
            except (ComfyError, SseError) as error:
                _log.debug("the stream of job %s broke: %s", job.prompt_id, error)
            except Exception:
                _log.exception("the stream of job %s could not be read", job.prompt_id)
            self._heard.pop(job.prompt_id, None)
            # What was said meanwhile is gone; the job itself knows.
            self.poller.poke([job])
            if self._clock.monotonic() - began >= _STABLE_S:
                backoff.reset()
            await self._clock.sleep(backoff.next())

    async def _read(self, job: JobCore) -> bool:
        """Read one stream to its end; return whether it reported the job's end."""
        over = False
        reader = SseReader()
        silent = self._settings.stream_seconds
        async with self._speaker.api.stream(job.prompt_id, silent_seconds=silent) as stream:
            self.opened += 1
            if stream.answer.content_type != "text/event-stream":
                raise stream.answer.not_comfyui("this is no stream of events")
            async with contextlib.aclosing(stream.chunks()) as chunks:
                async for chunk in chunks:
                    for name, data in reader.feed(chunk):
                        over |= self._take(job, name, data)
                    if job.done:
                        break
        return over

    def _take(self, job: JobCore, name: str, raw: bytes) -> bool:
        """Process one event of a stream, and return whether it is the end; one that cannot be read is not."""
        now = self._clock.unix()
        self._heard.setdefault(job.prompt_id, -math.inf)
        try:
            data = parse_json(job.owner.veil.data(raw))
        except ValueError:
            data = None
        if not isinstance(data, Mapping):
            _log.debug("an event %r of the stream of job %s cannot be read", name[:40], job.prompt_id)
            return False
        if name == "status":
            return self._status(job, data, now)
        if name != "progress" or data.get("current_node") is not None:
            self._heard[job.prompt_id] = self._clock.monotonic()
        for event in self._events(self._teller(job), name, raw=raw, data=data, now=now):
            job.take(event)
        return False

    def _events(
        self, teller: JobTeller, name: str, *, raw: bytes, data: Mapping[str, Any], now: float
    ) -> list[BaseEvent]:
        """Return what an event of a stream says."""
        match name:
            case "progress":
                return teller.progress(data, now, raw)
            case "preview":
                return teller.preview(data, now)
            case "output":
                return teller.output(data, now)
        return teller.unknown(name, raw, data, now)

    def _status(self, job: JobCore, data: Mapping[str, Any], now: float) -> bool:
        """Process a job's state; its end is looked up, with everything that belongs to it."""
        status, place = data.get("status"), data.get("queue_position")
        if status in _ENDS:
            self.poller.poke([job])
            return True
        if status == "queued":
            if isinstance(place, int):
                job.put_place(place, now)
        else:
            for event in self._teller(job).started(now):
                job.take(event)
        return False

    def _hold(self, job: JobCore, error: RateLimitError) -> None:
        """The server allows no further stream: jobs that wait for one are polled meanwhile."""
        pause = _TOO_MANY_S if error.retry_after is None else error.retry_after
        self._held_until = self._clock.monotonic() + pause
        if self._jobs.has(job) and not job.done:
            self._waiting[job.prompt_id] = job

    def _teller(self, job: JobCore) -> JobTeller:
        """Return what makes a job's events."""
        teller = self._tellers.get(job.prompt_id)
        if teller is None:
            teller = self._tellers[job.prompt_id] = JobTeller(job.prompt_id, job.state.plan)
        return teller


def _current_task() -> asyncio.Task[Any] | None:
    """Return the task that runs, None outside of any."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
