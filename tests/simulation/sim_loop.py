"""An event loop whose time is a number: it jumps to the next timer when nothing is ready.

Everything above it is asyncio's own: tasks, futures, handles, timeouts. What is replaced is what
touches the world: the selector (`SimLoop` never waits), the threads (work is a step of the loop),
the sockets (see `sim_net`) and the order of things that asyncio leaves to chance (the hash of a task,
which is its address and decides the order of sets of tasks).
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import itertools
import random
import socket
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sim_net import Net

_T = TypeVar("_T")

FIRST_SECOND = 1_000.0
"""What the loop's clock shows when a simulation begins."""

_MOST_TURNS_AT_ONCE = 200_000
_TASK_STEPS = ("TaskStepMethWrapper", "TaskWakeupMethWrapper")


class StuckError(Exception):
    """Nothing is ready and no timer is set: what is awaited can never come."""


class RunawayError(Exception):
    """The loop turns and turns while its time stands still."""


class Process:
    """Everything that lives and dies together: what is started in its context belongs to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen: list[asyncio.Handle] = []

    def __repr__(self) -> str:
        return f"<Process {self.name}{' (dead)' if self.dead else ''}>"


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("PROCESS", default=None)


class SimTask(asyncio.Task[Any]):
    """A task whose hash is its number, so that sets of tasks have the same order every time.

    Attributes:
        process: What it belongs to.
    """

    _numbers = itertools.count(1)
    number = 0

    def __init__(self, coro: Generator[Any, None, Any] | Coroutine[Any, Any, Any], **options: Any) -> None:
        # asyncio's own constructor enters the task in a set already.
        self.number = next(SimTask._numbers)
        context: contextvars.Context | None = options.get("context")
        self.process = PROCESS.get() if context is None else context.get(PROCESS)
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number


def process_of(task: asyncio.Task[Any]) -> Process | None:
    """Return the process that a task belongs to."""
    # The package's own kind of task does its work in a second one.
    inner = getattr(task, "attempt", None)
    process: Process | None = getattr(inner or task, "process", None)
    return process


class _Selector:
    """Waits by setting the clock."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Jump to the next timer, or let the ready ones run."""
        self._loop.turn(timeout)
        return []

    def close(self) -> None:
        """Nothing is open."""


class SimLoop(asyncio.BaseEventLoop):
    """An event loop in simulated time, on a simulated network.

    Attributes:
        rng: Where all chance comes from.
        net: The network.
        shuffle: Let tasks that are ready at the same moment run in any order.
        turns: How often the loop has turned.
    """

    _ready: collections.deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, rng: random.Random, *, shuffle: bool = False) -> None:
        super().__init__()
        SimTask._numbers = itertools.count(1)
        self.rng = rng
        self.net: Net
        self.shuffle = shuffle
        self.turns = 0
        self.now = FIRST_SECOND
        self._turns_here = 0
        self._selector = _Selector(self)
        # Larger than the distance of two floats, years after the beginning too.
        self._clock_resolution = 1e-6
        self.set_task_factory(_make_task)

    def time(self) -> float:
        """Return simulated seconds."""
        return self.now

    def turn(self, timeout: float | None) -> None:
        """Begin a turn: set the clock forward when nothing is ready.

        Raises:
            StuckError: Nothing will ever happen.
            RunawayError: Time stands still for too many turns.
        """
        self.turns += 1
        if timeout is None:
            raise StuckError(self._whereabouts())
        if timeout > 0:
            self.now = max(self.now, self._scheduled[0].when())
            self._turns_here = 0
            return
        self._turns_here += 1
        if self._turns_here > _MOST_TURNS_AT_ONCE:
            self._turns_here = 0
            raise RunawayError(self._whereabouts())
        if self.shuffle and len(self._ready) > 1:
            self._shuffle()

    def _whereabouts(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        return "\n".join([f"at {self.now:.3f}:", *(repr(task) for task in tasks)])

    def _shuffle(self) -> None:
        """Mix the tasks that are ready; plain callbacks keep their places, as asyncio promises."""
        handles = list(self._ready)
        begin = 0
        while begin < len(handles):
            end = begin
            while end < len(handles) and _is_task_step(handles[end]):
                end += 1
            if end - begin > 1:
                run = handles[begin:end]
                self.rng.shuffle(run)
                handles[begin:end] = run
            begin = end + 1
        self._ready.clear()
        self._ready.extend(handles)

    def crash(self, process: Process) -> None:
        """Let a process stop in the middle of whatever it does: none of its code runs any more.

        What it would have done is kept in `process.frozen`, see `thaw`.
        """
        process.dead = True
        self.net.crash(process)
        for handle in [*self._ready, *self._scheduled]:
            if handle.cancelled() or _context(handle).get(PROCESS) is not process:
                continue
            if not isinstance(handle, asyncio.TimerHandle):
                process.frozen.append(_copy(handle, self))
            # It keeps its place, and does nothing: the loop may be in the middle of its turn.
            handle.cancel()

    def thaw(self, process: Process) -> None:
        """Let the code of a dead process go on, without a network: for its tasks to be cancelled."""
        self._ready.extend(process.frozen)
        process.frozen.clear()

    # Threads

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        """Do the work as a step of the loop, in a moment; chance says how long it takes."""
        future: asyncio.Future[_T] = self.create_future()
        early = self.rng.random() < 0.5
        self.call_later(self.rng.uniform(0.0, 0.002), self._begin, future, func, args, early)
        return future

    def _begin(
        self, future: asyncio.Future[_T], func: Callable[..., _T], args: tuple[Any, ...], early: bool
    ) -> None:
        """Begin some work; a thread that has begun is not stopped by a cancellation."""
        if future.cancelled():
            return
        if early:
            self.call_later(self.rng.uniform(0.0, 0.002), _resolve, future, _outcome(func, args))
        else:
            _resolve(future, _outcome(func, args))

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """There is none."""

    # The network

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """Resolve a name."""
        address = await self.net.resolve(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, int(port)))]

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> tuple[asyncio.Transport, Any]:
        """Connect over the simulated network.

        Raises:
            OSError: Nobody listens, or nobody answers.
            NotImplementedError: TLS, or a socket of one's own.
        """
        if options.get("ssl") or options.get("sock") is not None:
            raise NotImplementedError("the simulated network has no TLS and no foreign sockets")
        infos = await self.getaddrinfo(host, port)
        return await self.net.connect(protocol_factory, infos[0][4])

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        *,
        ssl: Any = None,
        start_serving: bool = True,
        **options: Any,
    ) -> asyncio.AbstractServer:
        """Listen on the simulated network.

        Raises:
            OSError: The port is taken.
            NotImplementedError: TLS.
        """
        if ssl:
            raise NotImplementedError("the simulated network has no TLS")
        address = await self.net.resolve(host)
        server = self.net.listen(protocol_factory, address, int(port or 0))
        if start_serving:
            await server.start_serving()
        return server

    async def sendfile(self, *_args: Any, **_options: Any) -> int:
        """Leave it to who asks: aiohttp then writes the file itself.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing comes from outside."""


def _make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> SimTask:
    return SimTask(coro, loop=loop, **options)


def _copy(handle: asyncio.Handle, loop: asyncio.AbstractEventLoop) -> asyncio.Handle:
    """Return another handle that does the same."""
    callback, args = handle._callback, handle._args  # type: ignore[attr-defined]
    return asyncio.Handle(callback, args, loop, _context(handle))


def _context(handle: asyncio.Handle) -> contextvars.Context:
    context: contextvars.Context = handle._context  # type: ignore[attr-defined]
    return context


def _is_task_step(handle: asyncio.Handle) -> bool:
    """Say whether a handle is a task that goes on."""
    callback = handle._callback  # type: ignore[attr-defined]
    return type(callback).__name__ in _TASK_STEPS or isinstance(
        getattr(callback, "__self__", None), asyncio.Task
    )


def _outcome(func: Callable[..., _T], args: tuple[Any, ...]) -> tuple[_T | None, BaseException | None]:
    try:
        return func(*args), None
    except Exception as error:
        return None, error


def _resolve(future: asyncio.Future[Any], outcome: tuple[Any, BaseException | None]) -> None:
    if future.done():
        return
    result, error = outcome
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
