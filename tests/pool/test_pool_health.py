"""Whom a pool asks whether it is back, and for how long it waits for the answer."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from comfy_async._base.clock import Clock
from comfy_async._pool.health import Health


class PatientClock(Clock):
    """Never gives up waiting, unless it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.patient = True

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for as long as it takes, or not at all."""
        if self.patient:
            await event.wait()
        return event.is_set()


@dataclasses.dataclass(eq=False)
class Server:
    """A member of a pool whose answer a test holds back."""

    answers: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    looking: asyncio.Task[None] | None = None
    unanswered: bool = False
    asked: int = 0


class SlowHealth(Health):
    """Asks the servers of this test."""

    async def _look(self, member: Any) -> None:
        member.asked += 1
        await member.answers.wait()


def looking_after(clock: Clock) -> Health:
    """Return what asks, with no pool behind it."""
    places: Any = None
    return SlowHealth(places, clock)


async def test_whoever_asks_goes_on_with_the_last_answer() -> None:
    """Not at the end of the second that a slow server gets."""
    health = looking_after(PatientClock())
    servers: list[Any] = [Server(), Server()]
    asking = asyncio.create_task(health.ask_all(servers))
    while not all(server.asked for server in servers):  # noqa: ASYNC110
        await asyncio.sleep(0)
    servers[0].answers.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asking.done()
    servers[1].answers.set()
    await asking
    assert [server.unanswered for server in servers] == [False, False]
    await health.aclose()


async def test_a_slow_server_is_waited_for_once() -> None:
    """The next time only the others are; nobody is asked twice at once."""
    clock = PatientClock()
    health = looking_after(clock)
    slow, quick = Server(), Server()
    servers: list[Any] = [slow, quick]
    quick.answers.set()
    clock.patient = False
    await health.ask_all(servers)
    await asyncio.sleep(0)
    assert (slow.unanswered, slow.asked) == (True, 1)
    clock.patient = True
    await health.ask_all(servers)
    assert (slow.asked, quick.asked) == (1, 2)
    await health.aclose()
    assert slow.looking is not None
    assert slow.looking.cancelled()


async def test_all_are_waited_for_when_nobody_is_up() -> None:
    """However long it takes."""
    clock = PatientClock()
    clock.patient = False
    health = looking_after(clock)
    servers: list[Any] = [Server()]
    asking = asyncio.create_task(health.ask_all(servers, wait_for_all=True))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asking.done()
    servers[0].answers.set()
    await asking


async def test_nobody_is_asked_after_the_end() -> None:
    """A pool that is closed starts no task."""
    health = looking_after(PatientClock())
    await health.aclose()
    servers: list[Any] = [Server()]
    await health.ask_all(servers)
    assert servers[0].asked == 0
