"""One server of a pool: how busy it is, whether it answers, and what it lacks."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from .._base.backoff import Backoff
from .._job.core import JobCore
from .._session.engine import Engine
from ..errors import ComfyError, ConnectError, RateLimitError
from .needs import Need

__all__ = ["Member", "PoolServer"]

_log = logging.getLogger("comfy_async")

PoolState: TypeAlias = Literal["up", "down", "probing"]

_FAILURES_TO_OPEN: Final = 3
_BACKOFF_FIRST_S: Final = 1.0
_BACKOFF_CAP_S: Final = 30.0
# Full jitter may draw next to nothing: a probe costs a request all the same.
_PAUSE_LEAST_S: Final = 0.25
# What the socket does not tell is asked for, but not more often than this.
_LOOK_FRESH_S: Final = 2.0
# Node packs and models get installed: a refusal is believed that long.
_LACK_BELIEVED_S: Final = 600.0


@dataclasses.dataclass(frozen=True, slots=True)
class PoolServer:
    """One server of a pool at one moment.

    Attributes:
        url: Its base URL, without credentials.
        state: "up"; "down" while it gets no jobs since it does not answer, or answers only
            with errors; "probing" while a request finds out whether it is back; "draining".
        jobs: The pool's own jobs there, those on their way included.
        queue: Running and waiting jobs of everybody as the server said last, None when unknown.
        weight: Its share of the work.
        limit: The most jobs that the pool has there at once, None for any number.
        reason: Why it gets no jobs, "" when it does.
        last_error: What went wrong there last, "" when nothing did.
        models: The model files of the last job, likely to be loaded still.
        lacks: Node classes and values that it refused, as `Class` or `Class.input=value`.

    Example:
        >>> async with ComfyPool({"http://10.0.0.7:8188": 1, "http://10.0.0.8:8188": 2}) as pool:
        ...     for server in pool.servers:
        ...         print(server.state, server.jobs, server.queue, server.weight)
        up 0 0 1.0
        up 0 0 2.0
    """

    url: str
    state: Literal["up", "down", "probing", "draining"]
    jobs: int
    queue: int | None
    weight: float
    limit: int | None
    reason: str = ""
    last_error: str = ""
    models: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class Member:
    """A session with what the pool knows about its server; every method decides without awaiting."""

    def __init__(self, engine: Engine, *, weight: float, limit: int | None) -> None:
        """Assume that it is up and lacks nothing until it proves otherwise.

        Raises:
            ValueError: Weight or limit is invalid.
        """
        if not weight > 0:
            raise ValueError(f"a server's weight must be more than 0, not {weight}")
        if limit is not None and limit < 1:
            raise ValueError(f"a server's limit must be 1 or more, not {limit}")
        self.engine = engine
        self.weight = weight
        self.limit = limit
        self.state: PoolState = "up"
        self.leaving = False
        self.reason = ""
        self.last_error: ComfyError | None = None
        self.retry_at = 0.0
        self.models: frozenset[str] = frozenset()
        self.turn = 0
        self.ghosts: set[str] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self.looking: asyncio.Task[None] | None = None
        self.unanswered = False
        self._clock = engine.clock
        self._jobs: set[JobCore] = set()
        self._failures = 0
        self._was_away = False
        self._backoff = Backoff(first=_BACKOFF_FIRST_S, cap=_BACKOFF_CAP_S)
        self._lacks: dict[Need, float] = {}
        self._looked: int | None = None
        self._looked_at: float | None = None
        self._reported: int | None = None
        self._ended = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.engine.base_url

    @property
    def draining(self) -> bool:
        """True when it gets no more jobs: it is on its way out, or its session was closed by its owner."""
        return self.leaving or self.engine.closed

    # How busy it is.

    @property
    def queue(self) -> int | None:
        """Everybody's jobs as the server reported last: without a request while the socket is alive."""
        live = self.engine.health.queue_remaining if self.engine.link.hearing else None
        return self._looked if live is None else live

    @property
    def load(self) -> float:
        """What a further job would find there, by weight: own jobs and those of others."""
        self._read_queue()
        others = max(0, (self._reported or 0) - self._ended - len(self._jobs))
        return (len(self._jobs) + others + 1) / self.weight

    def _read_queue(self) -> None:
        """Read the length again if the server has sent another one."""
        reported = self.queue
        if reported != self._reported:
            self._reported, self._ended = reported, 0

    @property
    def has_room(self) -> bool:
        """True unless the limit is reached."""
        return self.limit is None or len(self._jobs) < self.limit

    @property
    def is_stale(self) -> bool:
        """True when the length of its queue is unknown at this moment."""
        if self.engine.link.hearing and self.engine.health.queue_remaining is not None:
            return False
        now = self._clock.monotonic()
        return self._looked_at is None or now - self._looked_at >= _LOOK_FRESH_S

    def looked(self, queue: int | None) -> None:
        """Its queue was requested; None where the server has no route for it."""
        self._looked, self._looked_at = queue, self._clock.monotonic()
        self.unanswered = False

    def take(self, job: JobCore) -> None:
        """Keep a place for a job."""
        self._jobs.add(job)
        self.idle.clear()

    def release(self, job: JobCore) -> None:
        """The job has ended, or gone elsewhere."""
        if job in self._jobs:
            self._jobs.discard(job)
            self._read_queue()
            # The end of a job of ours is heard before the queue's new length is.
            self._ended += 1
        if not self._jobs:
            self.idle.set()

    # Whether it answers.

    @property
    def away(self) -> bool:
        """True while the session's poller gets no answer about open jobs."""
        return self.engine.poller.away

    @property
    def usable(self) -> bool:
        """True while it may get jobs."""
        self.notice()
        return self.state == "up" and not self.draining

    def notice(self) -> None:
        """Learn from its session's poller, which polls open jobs."""
        if self.state == "up" and self.away:
            self.go_down("it does not answer about its jobs")
            self._was_away = True
        elif self.state == "down" and self._was_away and not self.away and self.engine.jobs:
            # It was heard again: that is as good as a probe.
            self.come_up()

    @property
    def is_due(self) -> bool:
        """True when it is time to ask whether it is back."""
        return self.state == "down" and self._clock.monotonic() >= self.retry_at

    def failed(self, error: ComfyError) -> None:
        """A request failed in a way that says something about the server."""
        self._failures += 1
        self.last_error = error
        now_at_once = isinstance(error, (ConnectError, RateLimitError)) or not error.retryable
        if self.state == "probing" or now_at_once or self._failures >= _FAILURES_TO_OPEN:
            pause = error.retry_after if isinstance(error, RateLimitError) else None
            self.go_down(str(error.args[0]) if error.args else type(error).__name__, pause=pause)

    def go_down(self, reason: str, *, pause: float | None = None) -> None:
        """Give it no more jobs before a probe has been answered."""
        pause = max(_PAUSE_LEAST_S, self._backoff.next() if pause is None else pause)
        # A probe that fails is no news.
        level = logging.WARNING if self.state == "up" else logging.DEBUG
        self.state, self.reason = "down", reason
        self.retry_at = self._clock.monotonic() + pause
        _log.log(level, "pool: %s gets no jobs, next try in %.1f s: %s", self.url, pause, reason)

    def come_up(self) -> None:
        """A probe was answered: it may get jobs; what it lacked may have been installed meanwhile."""
        if self.state != "up":
            _log.warning("pool: %s is back", self.url)
            self._lacks.clear()
        self.state, self.reason, self._failures = "up", "", 0
        self._was_away = False

    def accepted(self, models: frozenset[str]) -> None:
        """A job was queued: proof that it works."""
        if self.state == "up":
            self.reason, self._failures = "", 0
            self._backoff.reset()
        if models:
            self.models = models

    # What it lacks.

    def lack(self, needs: Iterable[Need]) -> None:
        """Remember what it refused."""
        until = self._clock.monotonic() + _LACK_BELIEVED_S
        self._lacks.update(dict.fromkeys(needs, until))

    def has(self, needs: Iterable[Need]) -> None:
        """It accepted what it was believed to lack."""
        for need in needs:
            self._lacks.pop(need, None)

    def is_lacking(self, needs: frozenset[Need]) -> bool:
        """Say whether it is believed to refuse a workflow."""
        if not self._lacks:
            return False
        now = self._clock.monotonic()
        for need in [need for need, until in self._lacks.items() if until <= now]:
            del self._lacks[need]
        return any(need in needs for need in self._lacks)

    def snapshot(self) -> PoolServer:
        """Return what is to be read about it."""
        self.notice()
        error = self.last_error
        return PoolServer(
            url=self.url,
            state="draining" if self.draining else self.state,
            jobs=len(self._jobs),
            queue=self.queue,
            weight=self.weight,
            limit=self.limit,
            reason=self.reason,
            last_error="" if error is None else str(error.args[0] if error.args else error),
            models=tuple(sorted(self.models)),
            lacks=tuple(sorted(_said(need) for need in self._lacks)),
        )


def _said(need: Need) -> str:
    """Return a need as a text."""
    return need[0] if len(need) == 1 else f"{need[0]}.{need[1]}={need[2]}"
