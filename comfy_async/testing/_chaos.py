"""All faults of a server, and random ones by a seed: the same ones at the same times, every time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Literal, TypeAlias, get_args

from ._faults import SingleFaults
from ._v2_chaos import V2Draws, V2Kind

__all__ = ["Chaos", "ChaosKind", "Faults"]

PlainKind: TypeAlias = Literal[
    "drop",
    "half_open",
    "deafen",
    "late_cleanup",
    "stall",
    "refuse",
    "accept_and_close",
    "garbage",
    "delay",
    "fail_submit",
    "fail_other",
    "miss_cancel",
    "slow_history",
    "lose_queue",
    "restart",
]
ChaosKind: TypeAlias = PlainKind | V2Kind

# What befalls a server that speaks API v2 and nothing else.
_OF_ALL: tuple[ChaosKind, ...] = ("delay", "miss_cancel", "slow_history", "lose_queue", "restart")
_SHORT = 0.3
_RARE = {"restart": 0.25, "lose_queue": 0.25, "stall": 0.5, "half_open": 0.5}
_ROUTES = ("/history/*", "/api/jobs*", "/queue", "/prompt", "/view")


class Chaos(V2Draws):
    """Does one random fault after the other until its block is left, then repairs the server.

    Attributes:
        log: What was done, as `(seconds since the start, kind, details)`.

    Example:
        >>> async with fake.faults.chaos(seed=7, rate=20, kinds=["drop"]) as chaos:
        ...     result = await comfy.run(flow)  # comes through, whatever happens
        >>> for seconds, kind, details in chaos.log:
        ...     print(f"{seconds:.2f} {kind}")
    """

    def __init__(self, faults: SingleFaults, *, seed: int, rate: float, kinds: Iterable[ChaosKind]) -> None:
        """Prepare a schedule; use `Faults.chaos()`."""
        self._faults = faults
        self._random = random.Random(seed)
        self._rate = rate
        self._kinds = list(kinds)
        self._weights = [_RARE.get(kind, 1.0) for kind in self._kinds]
        self._task: asyncio.Task[None] | None = None
        self.log: list[tuple[float, ChaosKind, str]] = []

    async def __aenter__(self) -> Chaos:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._rage(), name="fake-comfy-chaos")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and repair what can be repaired.

        Raises:
            Exception: What went wrong in the chaos itself.
        """
        if self._task is not None:
            self._task.cancel()
            results = await asyncio.gather(self._task, return_exceptions=True)
            await self._faults.heal()
            failures = [result for result in results if isinstance(result, Exception)]
            if failures and error is None:
                raise failures[0]

    async def _rage(self) -> None:
        """Wait and do something bad, for ever."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        due = begin
        while True:
            due += self._random.expovariate(self._rate)
            (kind,) = self._random.choices(self._kinds, self._weights)
            # The numbers are drawn before anything is awaited: timing must not change the schedule.
            action, details = self._draw(kind)
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.log.append((due - begin, kind, details))
            done = action()
            if done is not None:
                await done

    def _draw(self, kind: ChaosKind) -> tuple[Callable[[], Awaitable[None] | None], str]:
        """Return what to do for a kind, with its numbers drawn, and a description."""
        draw: Callable[[], tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]
        draw = getattr(self, f"_{kind}")
        action, arguments, options = draw()
        text = ", ".join([*map(repr, arguments), *(f"{name}={value!r}" for name, value in options.items())])

        def act() -> Awaitable[None] | None:
            result = action(*arguments, **options)
            return result if asyncio.iscoroutine(result) else None

        return act, f"{action.__name__}({text})"

    def _seconds(self) -> float:
        return round(self._random.uniform(0.0, _SHORT), 3)

    def _drop(self) -> Any:
        how = self._random.choice(["close", "cut", "reset"])
        code = self._random.choice([1001, 1009, 1011])
        return self._faults.drop_sockets, (how,), {"code": code}

    def _half_open(self) -> Any:
        return self._faults.drop_sockets, ("half_open",), {"ends_after": self._seconds()}

    def _deafen(self) -> Any:
        return self._faults.deafen, (), {"later": self._seconds()}

    def _late_cleanup(self) -> Any:
        return self._faults.late_cleanup, (self._random.choice([0.0, self._seconds()]),), {}

    def _stall(self) -> Any:
        return self._stall_for, (self._seconds(),), {}

    async def _stall_for(self, seconds: float) -> None:
        self._faults.stall()
        await asyncio.sleep(seconds)
        self._faults.unstall()

    def _refuse(self) -> Any:
        status = self._random.choice([500, 502, 503])
        return self._faults.refuse_upgrades, (status,), {"count": self._random.randint(1, 3)}

    def _accept_and_close(self) -> Any:
        return self._faults.accept_and_close, (self._random.randint(1, 3),), {}

    def _garbage(self) -> Any:
        faults = self._faults
        choices = [faults.send_truncated, faults.send_invalid_text, faults.send_wrong_shapes]
        return self._random.choice(choices), (), {}

    def _delay(self) -> Any:
        return self._faults.delay, ("*", "*", self._seconds()), {"count": self._random.randint(1, 5)}

    def _fail_submit(self) -> Any:
        failure = self._random.choice([500, 503, "reset", "html"])
        options = {"count": self._random.randint(1, 2), "after_effect": self._random.random() < 0.5}
        return self._faults.fail, ("POST", "/prompt", failure), options

    def _fail_other(self) -> Any:
        failure = self._random.choice([500, 503, "reset", "html"])
        path = self._random.choice(_ROUTES)
        return self._faults.fail, ("GET", path, failure), {"count": self._random.randint(1, 5)}

    def _miss_cancel(self) -> Any:
        return self._faults.miss_cancels, (), {}

    def _slow_history(self) -> Any:
        return self._faults.slow_history, (self._random.choice([0.0, self._seconds()]),), {}

    def _lose_queue(self) -> Any:
        return self._faults.lose_queue, (), {}

    def _restart(self) -> Any:
        options = {"history": self._random.random() < 0.5, "down_for": self._seconds()}
        return self._faults.restart, (), options


class Faults(SingleFaults):
    """The faults of one server, as `fake.faults`.

    What is done to sockets means those of one client, or all of them when no client id is
    given. Rules for requests hold until their count is used up, or `cancel()` or `clear()`.

    Example:
        >>> rule = fake.faults.fail("POST", "/prompt", "reset", count=1, after_effect=True)
        >>> job = await comfy.submit(flow)  # the answer was lost, the prompt was not
        >>> result = await job
        >>> fake.books.starts(job.prompt_id)
        1
    """

    def chaos(self, seed: int, *, rate: float = 10.0, kinds: Iterable[ChaosKind] | None = None) -> Chaos:
        """Return a source of random faults, to be used with `async with`.

        Args:
            seed: The same one gives the same faults at the same times.
            rate: Faults a second, on average.
            kinds: Which ones, all that the server can have when None.
        """
        return Chaos(self, seed=seed, rate=rate, kinds=self._kinds() if kinds is None else kinds)

    def _kinds(self) -> tuple[ChaosKind, ...]:
        """Return the kinds that this server can have."""
        plain: tuple[ChaosKind, ...] = get_args(PlainKind) if self._core.speaks_plain else _OF_ALL
        return plain if self._core.v2 is None else (*plain, *get_args(V2Kind))
