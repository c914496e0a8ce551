"""The queue between the reader, who never waits, and a consumer, who may."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import tracemalloc

import pytest
import wire_frames as wire

from comfy_async import SessionClosedError
from comfy_async import events as ev
from comfy_async._job.mailbox import EventStream, Mailbox, is_lossy
from comfy_async.events import BaseEvent


def box(*, max_events: int = 1000, max_bytes: int = 1 << 20) -> Mailbox:
    """Return an open mailbox."""
    return Mailbox(max_events=max_events, max_bytes=max_bytes)


def step(node: str, value: float) -> BaseEvent:
    """Return a step."""
    return wire.decode(wire.step(node, value, 100))


def milestone(node: str = "9") -> BaseEvent:
    """Return a lifecycle event."""
    return wire.decode(wire.started(node))


def image(node: str, size: int = 100, *, delivered: bool = False) -> ev.Preview:
    """Return a preview, or an image that is an output."""
    event = wire.decode(wire.preview(node, bytes(size)))
    assert isinstance(event, ev.Preview)
    event.delivered = delivered
    return event


async def drained(mailbox: Mailbox) -> list[BaseEvent]:
    """Return everything unread."""
    mailbox.close()
    found = []
    while (event := await mailbox.get()) is not None:
        found.append(event)
    return found


async def test_order_is_kept() -> None:
    """Below the bound everything comes, in order."""
    mailbox = box()
    events = [step("3", 1), milestone(), image("3"), step("3", 2), step("4", 1), milestone("4")]
    for event in events:
        mailbox.put(event)
    assert len(mailbox) == 6
    assert await drained(mailbox) == events
    assert mailbox.dropped == 0


async def test_beyond_the_bound_the_newest_stays() -> None:
    """An event gives way to a newer one of its kind and node."""
    mailbox = box(max_events=2)
    first, other, second, third = step("3", 1), step("4", 1), step("3", 2), step("3", 3)
    for event in (first, other, second, third):
        mailbox.put(event)
    assert await drained(mailbox) == [other, third]
    assert mailbox.dropped == 2


async def test_kinds_and_nodes_do_not_mix() -> None:
    """A step gives no way to a preview, a preview of one node none to that of another."""
    mailbox = box(max_events=1)
    events = [
        step("3", 1),
        image("3"),
        image("4"),
        wire.decode(wire.node_text("3", "x")),
        wire.decode(wire.states(n3="running")),
        wire.decode(wire.text("odd")),
        wire.decode(wire.text("odder")),
    ]
    for event in events:
        mailbox.put(event)
    assert await drained(mailbox) == events
    assert mailbox.dropped == 0


async def test_nothing_gives_way_across_a_milestone() -> None:
    """The last step before a lifecycle event stays, and so does the order around it."""
    mailbox = box(max_events=1)
    before = [step("3", 1), step("3", 2)]
    between = milestone()
    after = [step("3", 3), step("3", 4)]
    for event in (*before, between, *after):
        mailbox.put(event)
    assert await drained(mailbox) == [before[1], between, after[1]]


async def test_lifecycle_events_and_outputs_are_never_dropped() -> None:
    """However full the mailbox is."""
    mailbox = box(max_events=1, max_bytes=1)
    kept: list[BaseEvent] = []
    for number in range(300):
        for event in (milestone(str(number)), image("4", delivered=True)):
            kept.append(event)
            mailbox.put(event)
        mailbox.put(step("3", number))
    found = [event for event in await drained(mailbox) if not is_lossy(event)]
    assert found == kept


@pytest.mark.parametrize("seed", range(10))
async def test_counts_and_order_under_any_traffic(seed: int) -> None:
    """seen + dropped == put; what is seen is in order; the newest of each kind is seen."""
    draw = random.Random(seed)
    mailbox = box(max_events=draw.randint(1, 30), max_bytes=draw.choice([500, 10**9]))
    put: list[BaseEvent] = []
    seen: list[BaseEvent] = []
    for _ in range(2000):
        if draw.random() < 0.25 and len(mailbox):
            event = await mailbox.get()
            assert event is not None
            seen.append(event)
            continue
        node = draw.choice("345")
        made = draw.choices([step(node, 1), image(node), milestone(node)], [8, 3, 1])[0]
        put.append(made)
        mailbox.put(made)
    seen += await drained(mailbox)
    assert len(seen) + mailbox.dropped == len(put)
    places = {id(event): place for place, event in enumerate(put)}
    order = [places[id(event)] for event in seen]
    assert order == sorted(order)
    assert [e for e in seen if not is_lossy(e)] == [e for e in put if not is_lossy(e)]
    assert seen[-1] is put[-1]


async def test_the_bound_in_bytes() -> None:
    """Large previews give way although they are few."""
    mailbox = box(max_events=1000, max_bytes=10_000)
    for _ in range(100):
        mailbox.put(image("3", 5_000))
    assert len(mailbox) <= 3
    assert len(mailbox) + mailbox.dropped == 100


async def test_bytes_are_freed_by_reading() -> None:
    """A mailbox that is read again keeps everything again."""
    mailbox = box(max_bytes=10_000)
    for _ in range(50):
        mailbox.put(image("3", 5_000))
    while len(mailbox):
        await mailbox.get()
    dropped = mailbox.dropped
    mailbox.put(image("3", 4_000))
    mailbox.put(image("3", 4_000))
    assert mailbox.dropped == dropped
    assert len(mailbox) == 2


async def test_log_lines_have_a_bound() -> None:
    """A reader that stalls while the server logs and works: everything that is no milestone is bounded."""
    mailbox = box(max_events=100)
    line = wire.decode(wire.text("logs", entries=[{"t": "now", "m": "got prompt"}]))
    for number in range(5_000):
        mailbox.put(line)
        mailbox.put(step("3", number))
    mailbox.put(milestone())
    stream = EventStream(mailbox, lambda _: None)
    assert len(mailbox) <= 103
    assert len(mailbox) + stream.dropped == 10_001


async def test_a_consumer_that_never_starts_costs_bounded_memory() -> None:
    """A hundred thousand steps and previews that nobody reads."""
    mailbox = box(max_events=1000, max_bytes=1 << 20)
    for number in range(100_000):
        mailbox.put(ev.Progress(wire.STEP, None, "job", node_bytes=b"3"))
        if number % 10 == 0:
            mailbox.put(image("3"))
    assert len(mailbox) <= 1001
    assert len(mailbox) + mailbox.dropped == 110_000
    assert len(mailbox._latest) == 2


async def test_memory_does_not_grow() -> None:
    """Ten thousand more unread steps take no more than the first ten thousand."""
    mailbox = box(max_events=1000, max_bytes=1 << 20)
    used = []
    tracemalloc.start()
    try:
        for _ in range(2):
            for number in range(10_000):
                mailbox.put(wire.decode(wire.step("3", number % 100, 100)))
            gc.collect()
            used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert used[1] < used[0] + 50_000


async def test_what_gave_way_was_never_parsed() -> None:
    """Conflation compares bytes."""
    mailbox = box(max_events=1)
    events = [step("3", number) for number in range(5)]
    for event in events:
        mailbox.put(event)
    assert all(event._data is None for event in events)


async def test_a_waiting_consumer_is_woken() -> None:
    """By an event, and by the end."""
    mailbox = box()
    waiting = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    event = milestone()
    mailbox.put(event)
    assert await waiting is event
    waiting = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.close()
    assert await waiting is None
    assert await mailbox.get() is None


async def test_close_keeps_what_is_unread() -> None:
    """What came before the end is still read; what comes after is not taken."""
    mailbox = box()
    event = milestone()
    mailbox.put(event)
    mailbox.close()
    mailbox.put(milestone())
    assert await mailbox.get() is event
    assert await mailbox.get() is None


async def test_close_with_an_error() -> None:
    """The error comes behind what is unread, each time anew; the first close stands."""
    mailbox = box()
    mailbox.put(milestone())
    mailbox.close(SessionClosedError("closed"))
    mailbox.close()
    assert await mailbox.get() is not None
    raised = []
    for _ in range(2):
        with pytest.raises(SessionClosedError, match="closed") as caught:
            await mailbox.get()
        raised.append(caught.value)
    assert raised[0] is not raised[1]


async def test_a_cancelled_reader_loses_nothing() -> None:
    """Who waits and is cancelled takes no event along, and does not stop another reader."""
    mailbox = box()
    first, second = (asyncio.create_task(mailbox.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    event = milestone()
    mailbox.put(event)
    assert await second is event
    cancelled = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(event)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert cancelled.cancelled()
    assert len(mailbox) == 1
    assert await mailbox.get() is event


async def test_two_readers_share() -> None:
    """Each event goes to one of them, and both end."""
    mailbox = box()

    async def read() -> list[BaseEvent]:
        found = []
        while (event := await mailbox.get()) is not None:
            found.append(event)
            await asyncio.sleep(0)
        return found

    readers = [asyncio.create_task(read()) for _ in range(2)]
    events = [milestone(str(number)) for number in range(20)]
    for event in events:
        mailbox.put(event)
        await asyncio.sleep(0)
    mailbox.close()
    found = [event for reader in readers for event in await reader]
    assert sorted(map(id, found)) == sorted(map(id, events))


class TestStream:
    """The iterator over a mailbox."""

    async def test_iterates_to_the_end(self) -> None:
        """And lets go of the mailbox once."""
        mailbox, gone = box(), list[Mailbox]()
        stream = EventStream(mailbox, gone.append)
        mailbox.put(milestone())
        mailbox.close()
        assert [event.type async for event in stream] == ["executing"]
        assert gone == [mailbox]
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        await stream.aclose()
        assert gone == [mailbox]

    async def test_break_lets_go(self) -> None:
        """A loop that is left drops its mailbox, without a word to anybody."""
        mailbox, gone = box(), list[Mailbox]()
        mailbox.put(milestone())
        async for _ in EventStream(mailbox, gone.append):
            break
        gc.collect()
        assert gone == [mailbox]

    async def test_closing_ends_the_reader(self) -> None:
        """Who waits for the next event when the stream is closed gets its end, and nothing more."""
        mailbox, gone = box(), list[Mailbox]()
        stream = EventStream(mailbox, gone.append)
        waiting = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        await stream.aclose()
        assert await waiting is None
        mailbox.put(milestone())
        assert await anext(stream, None) is None
        assert gone == [mailbox]

    async def test_closing_forgets_what_is_unread(self) -> None:
        """A stream that is closed gives nothing any more, not even an error."""
        mailbox = box()
        stream = EventStream(mailbox, lambda _: None)
        mailbox.put(milestone())
        mailbox.close(SessionClosedError("x"))
        await stream.aclose()
        assert await anext(stream, None) is None
        assert len(mailbox) == 0


async def test_a_busy_consumer_gives_way_to_the_reader() -> None:
    """A consumer that computes without awaiting still lets the reader put what has come meanwhile."""
    mailbox = box()
    for value in range(5):
        mailbox.put(step("3", value))
    turns: list[int] = []
    seen = 0

    async def reader() -> None:
        while True:
            turns.append(seen)
            await asyncio.sleep(0)

    reading = asyncio.create_task(reader())
    async for _ in EventStream(mailbox, lambda _box: None):
        seen += 1
        # As long as a consumer's turn, whatever the machine.
        time.sleep(0.003)  # noqa: ASYNC251
        if seen == 5:
            break
    reading.cancel()
    assert {1, 2, 3, 4} <= set(turns)


async def test_a_quick_consumer_is_not_interrupted() -> None:
    """What is unread is handed out many at a time: a pause for each would cost more than the event."""
    mailbox = box()
    for value in range(500):
        mailbox.put(step("3", value))
    pauses = 0

    async def count() -> None:
        nonlocal pauses
        while True:
            pauses += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert len(await drained(mailbox)) == 500
    counting.cancel()
    assert pauses < 250
