"""The socket drops, is refused, goes deaf or stalls: no result is lost and nothing is told twice."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import pytest
from session_tools import fast, graph

from comfy_async import (
    Auth,
    ComfySession,
    Completed,
    Disconnected,
    Job,
    NodeFinished,
    NodeStarted,
    PollingStarted,
    Reconnected,
    Started,
)
from comfy_async._client.session import engine_of
from comfy_async.testing import Books, FakeComfy

GRAPH = graph()


async def until(job: Job, kind: type) -> None:
    """Read a job's events until one of a kind comes."""
    async for event in job.events():
        if isinstance(event, kind):
            return
    raise AssertionError(f"no {kind.__name__} came")


def reconnected(comfy: ComfySession, count: int) -> Callable[[Books], bool]:
    """Return what is true once the session has reconnected so often."""
    return lambda _: comfy.connection.reconnects >= count


def heard_more(comfy: ComfySession, frames: int) -> Callable[[Books], bool]:
    """Return what is true once the session has heard more frames than these."""
    return lambda _: engine_of(comfy).link.frames > frames


def lifecycle(events: list[Any]) -> list[tuple[str, str | None]]:
    """Return the milestones of a job with their nodes, the connection's own left out."""
    kinds = (Started, NodeStarted, NodeFinished, Completed)
    return [(type(e).__name__, getattr(e, "node", None)) for e in events if isinstance(e, kinds)]


WHOLE = [
    ("Started", None),
    ("NodeStarted", "1"),
    ("NodeFinished", "1"),
    ("NodeStarted", "2"),
    ("NodeFinished", "2"),
    ("Completed", None),
]


@pytest.mark.parametrize("how", ["close", "cut", "reset"])
async def test_a_drop_while_sampling_loses_nothing(server: FakeComfy, how: Any) -> None:
    """Disconnected, polling, Reconnected, and the stream goes on as if nothing had been."""
    gate = server.gate("Steps", step=5)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        server.faults.drop_sockets(how)
        await until(job, Reconnected)
        gate.open()
        result = await job
        events = [event async for event in job]
        assert result.texts == ("shown",)
        assert lifecycle(events) == WHOLE
        kinds = [type(event) for event in events]
        assert kinds.index(Disconnected) < kinds.index(PollingStarted) < kinds.index(Reconnected)
        assert comfy.connection.reconnects == 1
        assert comfy.connection.state == "hearing"
    assert {record.client_id for record in server.books.accepted} == {comfy.client_id}


async def test_ten_drops_in_one_job(server: FakeComfy) -> None:
    """However often the socket drops, each milestone is told once and the end comes once."""
    async with fast(server) as comfy:
        gates = [server.gate("Steps", step=step) for step in range(1, 11)]
        job = await comfy.submit(GRAPH)
        for gate in gates:
            await gate.reached()
            server.faults.drop_sockets("reset")
            gate.open()
        await job
        events = [event async for event in job]
    counts = collections.Counter(lifecycle(events))
    assert max(counts.values()) == 1
    assert lifecycle(events)[-1] == ("Completed", None)
    assert server.books.starts(job.prompt_id) == 1


async def test_a_job_that_ends_while_the_socket_is_down(server: FakeComfy) -> None:
    """What happened meanwhile is found by polling, outputs and all."""
    gate = server.gate("Show")
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        rule = server.faults.refuse_upgrades(503)
        server.faults.drop_sockets("reset")
        gate.open()
        result = await job
        rule.cancel()
        assert result.texts == ("shown",)
        events = [event async for event in job]
        assert isinstance(events[-1], Completed)
        assert events[-1].raw is None
        assert not any(isinstance(event, Reconnected) for event in events)


async def test_a_half_open_socket(server: FakeComfy) -> None:
    """The network vanishes without a word: HTTP shows that the job moved, and the socket is redialled."""
    gate = server.gate("Steps", step=2)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        assert server.faults.drop_sockets("half_open") == 1
        gate.open()
        assert (await job).texts == ("shown",)
    server.faults.end_half_open()


async def test_a_deaf_socket_is_noticed_and_redialled(server: FakeComfy) -> None:
    """The server forgets the socket (its own `finally` race): open, answers pings, hears nothing."""
    gate = server.gate("Steps", step=2)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        other = await comfy.submit(graph(2))
        await gate.reached()
        held = server.gate("Steps", step=2, prompt_id=other.prompt_id)
        server.faults.deafen(comfy.client_id)
        gate.open()
        assert (await job).texts == ("shown",)
        await until(other, Reconnected)
        held.open()
        assert (await other).texts == ("shown",)
        assert comfy.connection.reconnects == 1
        reasons = [event.reason async for event in other if isinstance(event, Disconnected)]
        assert "silent" in reasons[0]


async def test_deafness_that_begins_after_a_reconnect(server: FakeComfy) -> None:
    """The old handler ends late and takes the new socket with it: noticed again."""
    gate = server.gate("Steps", step=2)
    later = server.gate("Steps", step=8)
    server.faults.late_cleanup(0.2)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        server.faults.drop_sockets("reset")
        await until(job, Reconnected)
        gate.open()
        await later.reached()
        await server.wait_for(lambda books: comfy.client_id not in server.core.hub.registered)
        server.faults.late_cleanup(0.0)
        later.open()
        assert (await job).texts == ("shown",)


async def test_a_stalled_server_is_told_from_a_deaf_socket(server: FakeComfy) -> None:
    """Nothing comes on a fresh socket either: polling goes on, and no storm of redials."""
    gate = server.gate("Steps", step=2)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        second = await comfy.submit(graph(2))
        await gate.reached()
        server.faults.stall()
        gate.open()
        assert (await job).texts == ("shown",)
        assert (await second).texts == ("shown",)
        assert server.books.sockets_opened <= 3
        server.faults.unstall()
        assert (await comfy.run(GRAPH)).texts == ("shown",)


async def test_two_sessions_under_one_client_id(server: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """They deafen each other: both finish by polling, and the cause is named."""
    gates = [server.gate("Steps", step=step) for step in range(1, 11)]
    async with fast(server, client_id="shared") as one, fast(server, client_id="shared") as two:
        first = await one.submit(GRAPH)
        second = await two.submit(graph(2))
        for gate in gates:
            gate.open()
        assert (await first).texts == ("shown",)
        assert (await second).texts == ("shown",)
    assert server.books.starts(first.prompt_id) == server.books.starts(second.prompt_id) == 1


async def test_a_server_that_accepts_and_closes_is_not_hammered(server: FakeComfy) -> None:
    """The pace of dialling slows down, since nothing was proven by the hand-shake."""
    server.faults.accept_and_close(1000)
    gate = server.gate("Steps", step=2)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        clock = comfy.settings.clock
        begin, opened = clock.monotonic(), server.books.sockets_opened
        await clock.sleep(30.0)
        dialled = server.books.sockets_opened - opened
        assert dialled <= (clock.monotonic() - begin) / 2
        gate.open()
        assert (await job).texts == ("shown",)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_stops_the_redialling(server: FakeComfy, status: int) -> None:
    """401 and 403 are no accident: the jobs go on by polling."""
    rule = server.faults.refuse_upgrades(status)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        assert (await job).texts == ("shown",)
        assert comfy.connection.state == "refused"
        assert (await comfy.run(GRAPH)).texts == ("shown",)
        events = [event async for event in job]
        assert any(isinstance(event, PollingStarted) for event in events)
    assert rule.hits == 1


async def test_other_refusals_leave_everything_working(server: FakeComfy) -> None:
    """A proxy that knows no WebSocket: everything comes by polling."""
    server.faults.refuse_upgrades(400)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        assert (await job).texts == ("shown",)
        assert ("Started", None) in lifecycle([event async for event in job])


async def test_frames_that_cannot_be_read_end_nothing(server: FakeComfy) -> None:
    """Truncated, wrong and huge frames are named on `comfy.events()`, and the run goes on."""
    gate = server.gate("Steps", step=2)
    async with fast(server) as comfy:
        watcher = comfy.events()
        job = await comfy.submit(GRAPH)
        await gate.reached()
        bad = server.faults.send_truncated() + server.faults.send_invalid_text()
        server.faults.send_wrong_shapes()
        server.faults.send_huge(3_000_000)
        gate.open()
        assert (await job).texts == ("shown",)
        await comfy.aclose()
        malformed = [event async for event in watcher if event.type == "malformed"]
        assert len(malformed) >= bad
    assert server.books.sockets_opened == 1


@pytest.mark.parametrize("code", [1009, 1011])
async def test_a_close_with_a_code_is_named(server: FakeComfy, code: int) -> None:
    """The reason of a close stands in Disconnected."""
    gate = server.gate("Steps", step=2)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        server.faults.drop_sockets("close", code=code)
        await until(job, Reconnected)
        gate.open()
        await job
        reasons = [event.reason async for event in job if isinstance(event, Disconnected)]
    assert str(code) in reasons[0]


async def test_the_third_deafening_is_named(server: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """A socket that is silenced again and again has a rival under its client_id: no more redials."""
    gate = server.gate("Steps", step=2)
    async with fast(server, client_id="shared") as comfy, fast(server) as stranger:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        strange = []
        for round_ in range(4):
            server.faults.deafen("shared")
            # The queue grows, and only the deaf one does not hear of it.
            seed = {"1": {"class_type": "Steps", "inputs": {"seed": 10 + round_}}}
            strange.append(await stranger.submit({**GRAPH, **seed}))
            if round_ < 3:
                await server.wait_for(reconnected(comfy, round_ + 1))
                # It hears again, so that this was no stall.
                before = engine_of(comfy).link.frames
                seed = {"1": {"class_type": "Steps", "inputs": {"seed": 20 + round_}}}
                strange.append(await stranger.submit({**GRAPH, **seed}))
                await server.wait_for(heard_more(comfy, before))
        await comfy.settings.clock.sleep(20.0)
        assert comfy.connection.state == "deaf"
        assert "client_id" in comfy.connection.reason
        assert any("client_id 'shared'" in record.getMessage() for record in caplog.records)
        gate.open()
        assert (await job).texts == ("shown",)


async def test_renewed_credentials_open_the_socket_again(server: FakeComfy) -> None:
    """A 401 at the socket asks for new credentials once, before it counts as a refusal."""
    asked = 0

    async def renew() -> str:
        nonlocal asked
        asked += 1
        return f"token-{asked}"

    server.faults.refuse_upgrades(401, count=1)
    async with fast(server, auth=Auth.renewing(renew)) as comfy:
        assert (await comfy.run(GRAPH)).texts == ("shown",)
        job = await comfy.submit(GRAPH)
        await job
        assert asked == 2
        assert comfy.connection.state == "hearing"


async def test_a_renewal_that_raises_ends_nothing(
    server: FakeComfy, caplog: pytest.LogCaptureFixture
) -> None:
    """The user's callback fails while the socket is dialled: logged, tried again, polled meanwhile."""
    fail = False

    async def renew() -> str:
        if fail:
            raise RuntimeError("mine")
        return "token"

    async with fast(server, auth=Auth.renewing(renew)) as comfy:
        server.faults.refuse_upgrades(401, count=1)
        fail = True
        assert (await comfy.run(GRAPH)).texts == ("shown",)
    assert any("could not be renewed" in record.getMessage() for record in caplog.records)
