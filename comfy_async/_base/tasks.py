"""Several things at once, without the groups of errors that task groups raise."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar, cast

__all__ = ["closed_when_left", "each", "in_thread", "look_at", "to_the_end", "together"]

_T = TypeVar("_T")
_P = ParamSpec("_P")


@contextlib.asynccontextmanager
async def closed_when_left(items: AsyncIterator[_T]) -> AsyncIterator[AsyncIterator[_T]]:
    """Close an async generator however it is left: else its connection stays open until it is collected."""
    try:
        yield items
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def together(work: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Return the results in order; the first error ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await to_the_end(tasks)


async def each(work: Sequence[Coroutine[Any, Any, _T]]) -> list[_T | Exception]:
    """Return the results in order, an error in the place of a result; one alone takes no task.

    Raises:
        BaseException: What is no `Exception`.
    """
    if len(work) == 1:
        try:
            return [await work[0]]
        except Exception as error:
            return [error]
    answers = await asyncio.gather(*work, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, Exception):
            raise answer
    return cast("list[_T | Exception]", answers)


async def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run in a thread and wait for its end, however often the caller is cancelled.

    A thread cannot be stopped: whoever tidies up after it, closes its file or removes what it
    writes, has to know that it has ended. Only for work that ends by itself, and soon.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    await to_the_end([running])
    return running.result()


async def to_the_end(running: Collection[asyncio.Future[Any]]) -> None:
    """Wait until all of these have ended, however often the caller is cancelled; raise that afterwards.

    Raises:
        CancelledError: The caller was cancelled meanwhile.
    """
    cancelled: asyncio.CancelledError | None = None
    while waiting := [one for one in running if not one.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        for one in running:
            if not one.cancelled():
                # Nobody will ask for it any more.
                one.exception()
        raise cancelled


def look_at(task: asyncio.Task[Any]) -> None:
    """Mark the failure of a task as retrieved, so that asyncio logs nothing when no one waits for it."""
    if not task.cancelled():
        task.exception()
