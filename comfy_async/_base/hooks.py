"""Hooks: objects of users whose methods are called for what a session, a pool or a fleet does."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import functools
import inspect
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias

from .secrets import Veil
from .tasks import look_at

__all__ = ["NO_HOOKS", "Hooks", "Tell"]

_log = logging.getLogger("comfy_async")

# Nothing else happens in the event loop meanwhile: no frame is read, no other job goes on.
_SLOW_S: Final = 0.25
_CLOSING_S: Final = 5.0

Tell: TypeAlias = Callable[..., None]
"""Calls one method of every hook that has it; never raises."""


class Hooks:
    """The hooks of an owner, by the names of the methods that they have.

    A name is None when no hook has it, so that what happens a hundred thousand times a second costs
    one attribute. All are called in the event loop and never awaited; what they raise is logged, once
    for each kind, and changes nothing. A further name is a further line here.

    Attributes:
        on_submit_failed: (workflow, error): what was to be submitted never became a job.
        on_begin: (job, extra_data): a job is followed from now on; before its first event.
        on_event: (job, event): something happened to it; before any mailbox drops events.
        on_end: (job): it has had its one end.
        on_left: (job): nobody follows it any more, and it has had no end.
        on_saved: (job, file, place): a file of its result was saved, or was there: a `Path`, or a URL.
        on_request: (method, path, status, seconds, server): an HTTP request; status None without an
            answer. The server's base URL may be left out of the method.
        on_transfer: (server, direction, file, size, seconds): a file went up or came down.
        on_connection: (server, event): `Disconnected` or `Reconnected`, once for all jobs.
        on_poll: (server): the server is polled for open jobs.
        befores: Their `before_submit`; the one thing that may change something, and raise.
        closers: Their `before_close`; the one thing that is awaited, for a while.
        veils: What masks the keys in what is logged.
    """

    on_submit_failed: Tell | None
    on_begin: Tell | None
    on_event: Tell | None
    on_end: Tell | None
    on_left: Tell | None
    on_saved: Tell | None
    on_request: Tell | None
    on_transfer: Tell | None
    on_connection: Tell | None
    on_poll: Tell | None

    def __init__(self, objects: Iterable[object] = ()) -> None:
        """Find the methods.

        Raises:
            ValueError: An object has none of them, or one that would have to be awaited.
        """
        found = list(objects)
        for one in found:
            _demand_hook(one)
        self.veils: list[Veil] = []
        self.befores: tuple[Callable[[Any, Any], Any], ...] = tuple(_methods(found, "before_submit"))
        self.closers: tuple[Callable[[], Coroutine[Any, Any, None]], ...]
        self.closers = tuple(_methods(found, "before_close"))
        for name in _TOLD:
            calls = tuple(_methods(found, name))
            if name == "on_request":
                calls = tuple(map(_without_server, calls))
            setattr(self, name, _Tell(calls, self) if calls else None)

    @classmethod
    def of(cls, hooks: Hooks | Iterable[object]) -> Hooks:
        """Return hooks made of a user's objects, or those that a pool lends.

        Raises:
            ValueError: An object is no hook.
        """
        return hooks if isinstance(hooks, Hooks) else cls(hooks)

    def lent(self) -> Hooks:
        """Return the same without the closing hooks, for an owner that does not close them."""
        made = Hooks()
        made.__dict__.update(self.__dict__)
        made.closers = ()
        return made

    @property
    def hear_jobs(self) -> bool:
        """True when a hook has a method for single jobs."""
        return any((self.on_begin, self.on_event, self.on_end, self.on_left))

    async def close(self, seconds: float | None = None) -> None:
        """Await the hooks that have something left to do, for a limited time; never raises for how it went.

        Args:
            seconds: How long it may take, if less than usual.
        """
        if not self.closers:
            return
        limit = _CLOSING_S if seconds is None else min(seconds, _CLOSING_S)
        closing = [asyncio.create_task(_closed(call, self), name="comfy_async hook") for call in self.closers]
        for task in closing:
            task.add_done_callback(look_at)
        _, late = await asyncio.wait(closing, timeout=limit)
        for task in late:
            task.cancel()
        if late:
            _log.warning("%d hooks were not done after %g s, when the session was closed", len(late), limit)
            await asyncio.wait(late, timeout=1.0)

    def failed(self, call: Callable[..., Any], error: BaseException) -> None:
        """Log what a hook has raised."""
        with contextlib.suppress(Exception):
            # An error that cannot be shown, or that forbids to be changed, is still no reason to fail.
            for veil in self.veils:
                veil.error(error)
        _log.error("the hook %s failed: %s", _said(call), type(error).__name__, exc_info=error)


_TOLD: Final = tuple(Hooks.__annotations__)
_NAMES: Final = ("before_submit", *_TOLD, "before_close")


class _Tell:
    """Calls one method of every hook that has it."""

    __slots__ = ("_calls", "_hooks", "_mentioned")

    def __init__(self, calls: tuple[Callable[..., Any], ...], hooks: Hooks) -> None:
        """Call these."""
        self._calls = calls
        self._hooks = hooks
        self._mentioned: set[tuple[int, object]] = set()

    def __call__(self, *facts: Any) -> None:
        """Call each, whatever the others do."""
        for call in self._calls:
            began = time.perf_counter()
            try:
                call(*facts)
            except (Exception, asyncio.CancelledError) as error:
                # Nothing is awaited here: it is the cancellation of a task that the hook has looked at.
                if self._is_new(call, type(error)):
                    self._hooks.failed(call, error)
            took = time.perf_counter() - began
            if took >= _SLOW_S and self._is_new(call, "slow"):
                _log.warning("the hook %s blocked the event loop for %.2f s", _said(call), took)

    def _is_new(self, call: Callable[..., Any], kind: object) -> bool:
        """Say whether something has not been mentioned yet."""
        key = (self._calls.index(call), kind)
        is_new = key not in self._mentioned
        self._mentioned.add(key)
        return is_new


async def _closed(call: Callable[[], Coroutine[Any, Any, None]], hooks: Hooks) -> None:
    """Await `before_close` of one hook."""
    try:
        await call()
    except Exception as error:
        hooks.failed(call, error)


def _demand_hook(one: object) -> None:
    """Refuse an object that could never be called as a hook.

    Raises:
        ValueError: It has none of the methods, or one that would have to be awaited.
    """
    known = [name for name in _NAMES if callable(getattr(one, name, None))]
    what = "a class: make an object of it" if isinstance(one, type) else f"{type(one).__name__} is no hook"
    if not known or isinstance(one, type):
        names = [name for name in dir(one) if not name.startswith("_")]
        near = [name for name in names if difflib.get_close_matches(name, _NAMES, n=1)]
        hint = f"; is {near[0]!r} misspelt?" if near and not known else ""
        raise ValueError(f"{what}: a hook has any of the methods {', '.join(_NAMES)}{hint}")
    for name in known:
        is_awaited = name == "before_close"
        if inspect.iscoroutinefunction(getattr(one, name)) != is_awaited:
            needs = "awaited: make it `async def`" if is_awaited else "never awaited: make it `def`"
            raise ValueError(f"{type(one).__name__}.{name} is {needs}")


def _methods(objects: Iterable[object], name: str) -> list[Callable[..., Any]]:
    """Return one method of every object that has it."""
    found = (getattr(one, name, None) for one in objects)
    return [call for call in found if callable(call)]


def _without_server(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return an `on_request` that can be called with the server, whether it takes that or not."""
    try:
        inspect.signature(call).bind(*range(5))
    except TypeError:
        return functools.wraps(call)(lambda *facts: call(*facts[:4]))
    except ValueError:
        pass
    return call


def _said(call: Callable[..., Any]) -> str:
    """Return the name of a hook's method for messages."""
    return getattr(call, "__qualname__", type(call).__name__)


NO_HOOKS: Final = Hooks()
"""No hooks at all."""
