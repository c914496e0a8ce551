"""Servers that die, return, forget, hang, refuse and run out of memory: what becomes of a pool's jobs."""

from __future__ import annotations

import asyncio
import collections
import errno
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pool_tools import fakes, fast, pool_of, state, successes, teach
from session_tools import collect, eventually, graph, library_tasks, lines_of, lives, picture, turns

from comfy_async import (
    ComfyPool,
    ComfySession,
    Completed,
    ConnectError,
    Disconnected,
    Failed,
    Job,
    JobLostError,
    Lost,
    OutOfMemoryError,
    Queued,
    RateLimitError,
    Reconnected,
    ResponseError,
    SubmitUnknownError,
    Workflow,
)
from comfy_async._batch.journal import Journal
from comfy_async._client.pool import pool_engine_of
from comfy_async._job.job import core_of, handle
from comfy_async._pool.job import Order, PoolJob
from comfy_async._session.engine import Engine
from comfy_async.events import BaseEvent
from comfy_async.testing import FakeComfy


def at(job: Job, servers: Iterable[FakeComfy]) -> tuple[FakeComfy, FakeComfy]:
    """Return the server that has a job, and another one."""
    here = next(fake for fake in servers if fake.url == job.ref["server"])
    return here, next(fake for fake in servers if fake is not here)


@asynccontextmanager
async def one_running(
    pool: ComfyPool, servers: list[FakeComfy]
) -> AsyncIterator[tuple[Job, FakeComfy, FakeComfy]]:
    """Yield a job that runs, its server, and another."""
    gates = [fake.gate("Steps", step=1) for fake in servers]
    job = await pool.submit(graph(1))
    here, there = at(job, servers)
    await gates[servers.index(here)].reached()
    gates[servers.index(there)].open()
    try:
        yield job, here, there
    finally:
        for gate in gates:
            gate.open()


def ends(events: list[BaseEvent]) -> list[str]:
    """Return the terminal events."""
    return [type(event).__name__ for event in events if event.terminal]


async def test_a_job_that_its_server_lost_runs_elsewhere() -> None:
    """One handle and one stream with one end, whoever came early or late; the ref leads to the new place."""
    async with fakes() as servers, pool_of(servers) as pool:
        async with one_running(pool, servers) as (job, here, there):
            early = asyncio.create_task(collect(job))
            old = job.ref
            await here.faults.go_down()
            await there.wait_for(lambda books: books.ended == 1)
            result = await job
        await here.faults.come_up()
        assert result.texts == ("shown",)
        assert job.ref["server"] == there.url != old["server"]
        assert job.ref["prompt_id"] == job.prompt_id != old["prompt_id"]
        for events in (await early, await collect(job)):
            assert ends(events) == ["Completed"]
            assert events[-1].prompt_id == job.prompt_id
            kinds = [type(event) for event in events]
            assert kinds.count(Queued) == 2
            gone = max(i for i, kind in enumerate(kinds) if kind is Disconnected)
            assert kinds[gone + 1 : gone + 3] == [Reconnected, Queued]
            assert "will run again" in events[gone].data["reason"]
            assert there.url in events[gone + 1].data["reason"]
        assert successes(*servers) == 1
        assert job.progress.fraction == 1.0
        before, n = here.books.started, 10
        while here.books.started == before:
            n += 1
            await pool.run(graph(n))
        assert state(pool, here).state == "up"


async def test_a_restart_loses_the_job_for_good() -> None:
    """Both queues are asked first; then it runs again, on the same server if that is the only one."""
    async with fakes(1) as servers, pool_of(servers) as pool:
        (a,) = servers
        gate = a.gate("Steps", step=1)
        job = await pool.submit(graph(1))
        await gate.reached()
        await a.faults.restart(history=False)
        gate.open()
        assert (await job).texts == ("shown",)
        assert [record.end for record in a.books.accepted] == ["lost", "success"]


async def test_a_job_is_run_no_more_often_than_allowed() -> None:
    """Then it is lost, and says so."""
    async with fakes(1) as servers, pool_of(servers, attempts=2) as pool:
        (a,) = servers
        a.hold()
        job = await pool.submit(graph(1))
        for count in (1, 2):
            await eventually(lambda: len(a.books.accepted) == count)  # noqa: B023
            a.faults.lose_queue()
        with pytest.raises(JobLostError) as caught:
            await job
        assert caught.value.retryable
        assert caught.value.server == a.url
        events = await collect(job)
        assert ends(events) == ["Lost"]
        assert len(a.books.accepted) == 2


async def test_a_silent_server_that_returns_keeps_its_job() -> None:
    """Away for a moment is not lost: nothing runs twice."""
    async with fakes() as servers, pool_of(servers, away_seconds=120.0) as pool:
        async with one_running(pool, servers) as (job, here, there):
            rules = [here.faults.fail("*", "*", 503), here.faults.refuse_upgrades(503)]
            here.faults.drop_sockets("reset")
            await eventually(lambda: state(pool, here).state == "down")
            assert (await pool.run(graph(2))).texts == ("shown",)
            assert there.books.started == 1
            for rule in rules:
                rule.cancel()
        assert (await job).texts == ("shown",)
        assert here.books.started == 1
        assert there.books.started == 1


async def test_a_server_that_returns_late_is_asked_first() -> None:
    """Given up after `away_seconds`, with nobody else to run it: found again where it still runs."""
    async with fakes(1) as servers, pool_of(servers, away_seconds=15.0) as pool:
        (a,) = servers
        gate = a.gate("Steps", step=1)
        job = await pool.submit(graph(1))
        await gate.reached()
        events = job.events()
        rules = [a.faults.fail("*", "*", 503), a.faults.refuse_upgrades(503)]
        a.faults.drop_sockets("reset")
        async for event in events:
            if isinstance(event, Disconnected) and "will run again" in event.data["reason"]:
                break
        for rule in rules:
            rule.cancel()
        gate.open()
        assert (await job).texts == ("shown",)
        assert a.books.started == 1
        assert ends(await collect(job)) == ["Completed"]


async def test_where_it_may_be_running_comes_before_where_there_is_room() -> None:
    """Even over the limit: it takes no second place there."""
    async with fakes() as (a, b):
        gate = a.gate("Steps", step=1)
        async with ComfyPool({a.url: 0.01, b.url: 9.0}, settings=fast(), limit=1) as pool:
            async with a.session() as somebody:
                running = await somebody.submit(graph(1))
                await gate.reached()
                engine = pool_engine_of(pool)
                order = Order(
                    workflow=Workflow.load(graph(1)),
                    options={"previews": "none"},
                    check=False,
                    group=1,
                    patient=True,
                )
                order.ghosts[engine.places.members[0]] = running.prompt_id
                job = PoolJob(engine, order)
                await engine.carrier.bring(job)
                assert job.ref["server"] == a.url
                assert state(pool, b).jobs == 0
                gate.open()
                assert (await handle(job)).prompt_id == running.prompt_id
        assert b.books.accepted == []


async def test_the_old_attempt_is_stopped_when_its_server_returns_too_late() -> None:
    """It runs elsewhere by then."""
    async with fakes() as servers, pool_of(servers, away_seconds=2.0) as pool:
        async with one_running(pool, servers) as (job, here, there):
            old = job.prompt_id
            rules = [here.faults.fail("*", "*", 503), here.faults.refuse_upgrades(503)]
            here.faults.drop_sockets("reset")
            assert (await job).texts == ("shown",)
            assert job.ref["server"] == there.url
            for rule in rules:
                rule.cancel()

            n = 10
            while not here.books.of(old)[0].interrupts:
                n += 1
                await pool.run(graph(n))
        await here.idle()
        assert here.books.ends(old) == ["interrupted"]


async def test_every_absence_is_counted_anew() -> None:
    """A server that was given up once is not given up at its next missed answer."""
    async with fakes(1) as servers, pool_of(servers, away_seconds=10.0, attempts=1) as pool:
        (a,) = servers
        a.hold()
        job = await pool.submit(graph(1))
        await a.faults.go_down()
        with pytest.raises(JobLostError):
            await job
        await pool.settings.clock.sleep(20.0)
        await a.faults.come_up()
        job = await pool.submit(graph(2))
        a.faults.fail("*", "*", "reset", count=1)
        a.faults.drop_sockets("reset")
        await pool.settings.clock.sleep(3.0)
        a.release()
        assert (await job).texts == ("shown",)


async def test_for_ever_means_for_ever() -> None:
    """`away_seconds=None` waits for the server that has the job."""
    async with fakes() as servers, pool_of(servers, away_seconds=None) as pool:
        async with one_running(pool, servers) as (job, here, there):
            await here.faults.go_down()
            await pool.settings.clock.sleep(30.0)
            assert not job.done
            assert there.books.started == 0
            await here.faults.come_up()
        assert (await job).texts == ("shown",)


async def test_nobody_else_takes_it() -> None:
    """The job ends as lost, with the reason why no other server took it."""
    async with fakes() as servers, pool_of(servers, away_seconds=2.0) as pool:
        async with one_running(pool, servers) as (job, here, there):
            there.script("Show", inputs={"other": "VALUE"}, is_output=True)
            await here.faults.go_down()
            with pytest.raises(JobLostError, match="no other server took it") as caught:
                await job
            assert not caught.value.retryable, "the silent server may run it still"
            await here.faults.come_up()
        events = await collect(job)
        assert ends(events) == ["Lost"]
        assert job.ref["server"] == here.url


async def test_a_history_that_cannot_be_read_is_no_reason_to_run_again() -> None:
    """The job has ended there, one way or the other."""
    async with fakes() as servers, pool_of(servers, transport="poll") as pool:
        async with one_running(pool, servers) as (job, here, there):
            here.faults.fail("GET", "/history/*", 200, json={job.prompt_id: "what?"})
        with pytest.raises(JobLostError, match="cannot be read"):
            await job
        assert there.books.started == 0
        assert here.books.started == 1


# Cancelling.


async def test_a_cancelled_job_is_not_run_again() -> None:
    """Whether its server goes away while it is being cancelled, or it waits for another one."""
    async with fakes() as servers, pool_of(servers, away_seconds=2.0) as pool:
        for fake in servers:
            fake.hold()
        job = await pool.submit(graph(1))
        here, there = at(job, servers)
        here.faults.lose_queue()
        assert await job.cancel() in {"lost", "cancelled"}
        assert len(there.books.accepted) == 0


async def test_a_job_that_is_lost_while_it_is_cancelled_stays_lost() -> None:
    """Nobody wants it any more."""
    async with fakes() as servers, pool_of(servers) as pool:
        async with one_running(pool, servers) as (job, here, there):
            cancelling = asyncio.create_task(job.cancel())
            await here.wait_for(lambda books: any(record.interrupts for record in books.accepted))
            await here.faults.restart(history=False)
            assert await cancelling in {"lost", "cancelled"}
        assert len(there.books.accepted) == 0
        assert len(here.books.accepted) == 1


async def test_cancelling_between_two_servers() -> None:
    """Nobody has to be asked: it ends at once."""
    async with fakes(1) as servers, pool_of(servers, away_seconds=2.0) as pool:
        (a,) = servers
        a.hold()
        job = await pool.submit(graph(1))
        await a.faults.go_down()
        await eventually(lambda: job.status == "submitting")
        assert job.progress.fraction == 0.0
        assert "submitting" in job._repr_html_()
        assert "submitting" in repr(job)
        assert await job.cancel() == "cancelled"
        assert ends(await collect(job)) == ["Cancelled"]
        await a.faults.come_up()
        assert len(a.books.accepted) == 1
        assert state(pool, a).jobs == 0


async def test_closing_between_two_servers() -> None:
    """Whoever waits is told."""
    async with fakes(1) as servers:
        (a,) = servers
        async with pool_of(servers, away_seconds=2.0) as pool:
            a.hold()
            job = await pool.submit(graph(1))
            waiter = asyncio.create_task(job.result())
            await a.faults.go_down()
            await eventually(lambda: job.status == "submitting")
        with pytest.raises(Exception, match="closed"):
            await waiter
        await a.faults.come_up()
    assert not library_tasks()


# Submitting.


async def test_a_dead_server_costs_a_submit_nothing() -> None:
    """The others take it, and the dead one is left alone until a probe is answered."""
    async with fakes(3) as servers, pool_of(servers) as pool:
        a = servers[0]
        await a.faults.go_down()
        results = await asyncio.gather(*(pool.run(graph(n)) for n in range(12)))
        assert all(result.texts == ("shown",) for result in results)
        snapshot = state(pool, a)
        assert snapshot.state in {"down", "probing"}
        assert "no server answers" in snapshot.reason
        assert "no server answers" in snapshot.last_error
        await a.faults.come_up()

        n = 100
        while a.books.started == 0:
            n += 1
            await pool.run(graph(n))
        assert state(pool, a).state == "up"
        assert state(pool, a).reason == ""


async def test_a_batch_waits_for_a_server() -> None:
    """With all of them away it waits, and ends with the error only after `away_seconds`."""
    async with fakes() as servers:
        async with pool_of(servers, away_seconds=60.0) as pool:
            for fake in servers:
                await fake.faults.go_down()
            async with pool.map([graph(n) for n in range(4)]) as finished:
                await pool.settings.clock.sleep(10.0)
                assert finished.progress.failed == 0
                for fake in servers:
                    await fake.faults.come_up()
                assert [job.status async for job in finished] == ["completed"] * 4
        async with pool_of(servers, away_seconds=2.0) as pool:
            for fake in servers:
                await fake.faults.go_down()
            async with pool.map([graph(9)]) as finished:
                jobs = [job async for job in finished]
            with pytest.raises(ConnectError):
                await jobs[0]
            for fake in servers:
                await fake.faults.come_up()


async def test_those_who_wait_do_not_storm_a_dead_server() -> None:
    """Probes come at growing intervals, however many wait."""
    async with fakes(1) as servers, pool_of(servers, away_seconds=None) as pool:
        (a,) = servers
        a.faults.fail("*", "*", 503)
        async with pool.map([graph(n) for n in range(20)], limit=20):
            before = sum(a.books.requests.values())
            await pool.settings.clock.sleep(60.0)
            asked = sum(a.books.requests.values()) - before
            a.faults.clear()
        # Each probe is retried inside the session's HTTP client.
        assert asked < 150


async def test_a_prompt_whose_answer_is_lost_runs_once() -> None:
    """It is looked up before anything else; the server dying there and then counts as any other death."""
    async with fakes() as servers, pool_of(servers) as pool:
        for fake in servers:
            fake.faults.fail("POST", "/prompt", "reset", count=1, after_effect=True)
        for n in range(4):
            assert (await pool.run(graph(n))).texts == ("shown",)
        assert successes(*servers) == 4
        assert sum(len(fake.books.accepted) for fake in servers) == 4


async def test_an_unknown_outcome_is_followed_up() -> None:
    """The server that may have the prompt is asked until it answers; only then is it run elsewhere."""
    settings = fast(submit_seconds=3.0)
    async with fakes() as servers, pool_of(servers, settings=settings, away_seconds=200.0) as pool:
        for fake in servers:
            fake.faults.fail("POST", "/prompt", "reset", after_effect=True)
            fake.faults.fail("GET", "/queue", 503)
            fake.faults.fail("GET", "/api/jobs*", 503)
            fake.faults.fail("GET", "/history/*", 503)
            fake.faults.stall()
            fake.faults.refuse_upgrades(503)
            fake.faults.drop_sockets("reset")
        job = await pool.submit(graph(1))
        assert job.status == "pending"
        for fake in servers:
            fake.faults.clear()
        assert (await job).texts == ("shown",)
        assert sum(len(fake.books.accepted) for fake in servers) == 1
        assert successes(*servers) == 1


async def test_an_unknown_outcome_on_an_old_server_is_told() -> None:
    """It chose an id of its own: nobody could find the job again."""
    settings = fast(submit_seconds=3.0)
    async with fakes(1, mode="old") as servers, pool_of(servers, settings=settings) as pool:
        (a,) = servers
        a.faults.fail("POST", "/prompt", "reset", after_effect=True)
        a.faults.fail("GET", "/queue", 503)
        with pytest.raises(SubmitUnknownError):
            await pool.submit(graph(1))
        assert len(a.books.accepted) == 1
        a.faults.clear()
        assert (await pool.run(graph(2))).texts == ("shown",)


async def test_a_server_that_only_fails_is_given_up() -> None:
    """Errors without end are told in bounded time; one server among others is just left out."""
    async with fakes() as servers, pool_of(servers) as pool:
        a, b = servers
        a.faults.fail("POST", "/prompt", 500)
        for n in range(8):
            assert (await pool.run(graph(n))).texts == ("shown",)
        b.faults.fail("POST", "/prompt", 500)
        with pytest.raises(ResponseError):
            await pool.run(graph(20))
        assert len(a.books.accepted) == 0
        assert a.books.count("POST", "/prompt") < 40


async def test_a_server_that_wants_a_pause_gets_it() -> None:
    """429 with Retry-After: the other one works meanwhile."""
    async with fakes() as servers, pool_of(servers) as pool:
        a, b = servers
        rule = a.faults.fail("POST", "/prompt", 429, headers={"Retry-After": "600"}, json={})
        for n in range(6):
            assert (await pool.run(graph(n))).texts == ("shown",)
        assert rule.hits == 1
        assert b.books.started == 6
        assert state(pool, a).state == "down"
        b.faults.fail("POST", "/prompt", 429, headers={"Retry-After": "600"}, json={})
        with pytest.raises((RateLimitError, ConnectError)):
            await pool.run(graph(7))


async def test_a_server_with_other_credentials_is_left_out() -> None:
    """401 is no fault of the workflow."""
    async with fakes() as servers, pool_of(servers) as pool:
        a, b = servers
        a.faults.fail("*", "*", 401)
        for n in range(4):
            assert (await pool.run(graph(n))).texts == ("shown",)
        assert b.books.started == 4
        assert state(pool, a).state == "down"


async def test_a_server_that_hangs_is_not_waited_for() -> None:
    """It does not tell its queue: the other one is chosen after a moment."""
    async with fakes() as servers, pool_of(servers, transport="poll") as pool:
        a, b = servers
        a.faults.fail("GET", "/prompt", "hang")
        await pool.settings.clock.sleep(3.0)
        for n in range(4):
            assert (await pool.run(graph(n))).texts == ("shown",)
        assert (a.books.started, b.books.started) == (0, 4)
        a.faults.clear()


# Memory.


def oom(fake: FakeComfy) -> None:
    """Let a server run out of memory."""
    fake.script("Hungry", inputs={"value": "VALUE"}, is_output=True, error="oom")


async def test_out_of_memory_is_tried_elsewhere_if_asked() -> None:
    """Not unless asked; not on a server that has had it; and when all have, it is the end."""
    async with fakes() as servers:
        a, b = servers
        oom(a)
        async with pool_of(servers) as pool:
            jobs = [await pool.submit(graph(n, "Hungry")) for n in range(2)]
            outcomes = await asyncio.gather(*(job.result() for job in jobs), return_exceptions=True)
            assert sorted(type(outcome).__name__ for outcome in outcomes) == ["JobResult", "OutOfMemoryError"]
        async with pool_of(servers, retry_out_of_memory=True) as pool:
            for n in range(10, 14):
                job = await pool.submit(graph(n, "Hungry"))
                assert (await job).texts == ("fed",)
                assert ends(await collect(job)) == ["Completed"]
            assert state(pool, a).state == "up"
            oom(b)
            job = await pool.submit(graph(20, "Hungry"))
            with pytest.raises(OutOfMemoryError):
                await job
            assert ends(await collect(job)) == ["Failed"]
            assert lives(await collect(job)).count("Queued") == 2


async def test_out_of_memory_on_the_only_server() -> None:
    """It fails as it does with a session."""
    async with fakes(1) as servers, pool_of(servers, retry_out_of_memory=True) as pool:
        oom(servers[0])
        job = await pool.submit(graph(1, "Hungry"))
        with pytest.raises(OutOfMemoryError):
            await job
        assert isinstance((await collect(job))[-1], Failed)
        assert len(servers[0].books.accepted) == 1


# Batches and their results file.


async def test_a_batch_survives_the_death_of_servers() -> None:
    """Every workflow ends well, exactly once but for those that were lost."""
    async with fakes(3, step_seconds=0.002) as servers, pool_of(servers, away_seconds=2.0) as pool:
        async with pool.map([graph(n) for n in range(60)]) as finished:
            seen = []
            async for job in finished:
                seen.append(job)
                if len(seen) == 10:
                    await servers[0].faults.go_down(history=False)
                if len(seen) == 25:
                    await servers[1].faults.restart(history=False)
                if len(seen) == 40:
                    await servers[0].faults.come_up()
            assert sorted(job.index or 0 for job in seen) == list(range(60))
            assert {job.status for job in seen} == {"completed"}
        fates = collections.Counter(record.end for fake in servers for record in fake.books.accepted)
        assert set(fates) <= {"success", "lost"}
        told = sum(record.told == "success" for fake in servers for record in fake.books.accepted)
        # A server that dies between the end's message and its history has told of a success.
        assert fates["success"] <= 60 <= told


async def test_an_interrupted_batch_goes_on_with_another_pool(tmp_path: Path) -> None:
    """What finished is not run again, what runs is followed where it is, even on a server that left."""
    path = tmp_path / "results.jsonl"
    async with fakes() as servers:
        a, b = servers
        flows = [graph(n) for n in range(6)]
        first = await pool_of(servers, limit=1).connect()
        batch = first.map(flows, results=path)
        await batch.__aenter__()
        done = [await anext(batch) for _ in range(3)]
        for fake in servers:
            fake.hold()
        await eventually(lambda: a.core.queue.remaining + b.core.queue.remaining >= 1)
        await first.aclose()
        await batch.__aexit__(None, None, None)
        async with pool_of([a]) as second:
            async with second.map(flows, results=path, ordered=True) as finished:
                await turns()
                for fake in servers:
                    fake.release()
                jobs = [job async for job in finished]
            assert [job.status for job in jobs] == ["completed"] * 6
            assert {(await job).texts for job in jobs} == {("shown",)}
            assert [server.url for server in second.servers] == [a.url]
        assert len(done) == 3
        assert successes(a, b) == 6
        assert len(a.books.accepted) + len(b.books.accepted) == 6


async def test_what_was_on_a_server_that_is_gone_runs_elsewhere(tmp_path: Path) -> None:
    """Its server never comes back: after `away_seconds` it counts as lost."""
    path = tmp_path / "results.jsonl"
    async with fakes() as servers:
        a, b = servers
        for fake in servers:
            fake.hold()
        first = await pool_of(servers, limit=2).connect()
        batch = first.map([graph(n) for n in range(4)], results=path)
        await batch.__aenter__()
        await eventually(lambda: len(a.books.accepted) + len(b.books.accepted) == 4)
        await first.aclose()
        await batch.__aexit__(None, None, None)
        await a.faults.go_down()
        b.release()
        async with pool_of([b], away_seconds=2.0) as second:
            async with second.map([graph(n) for n in range(4)], results=path) as finished:
                assert [job.status async for job in finished] == ["completed"] * 4
        assert successes(b) == 4
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert {line["ref"]["server"] for line in lines if line["status"] == "completed"} == {b.url}
        await a.faults.come_up()


BATCH = """
import asyncio, sys
from comfy_async import ComfyPool

def graph(n):
    return {"1": {"class_type": "Steps", "inputs": {"seed": n}},
            "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}}}

async def main():
    async with ComfyPool(sys.argv[2:]) as pool:
        async with pool.map(map(graph, range(30)), results=sys.argv[1]) as finished:
            async for job in finished:
                print(job.index, job.status, (await job).texts[0], flush=True)

asyncio.run(main())
"""


async def test_a_killed_batch_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the middle, twice: in the end every workflow has run exactly once."""
    path = str(tmp_path / "results.jsonl")
    async with fakes() as servers:
        command = ["-c", BATCH, path, *(fake.url for fake in servers)]
        await lines_of(*command, killed_after=5)
        await lines_of(*command, killed_after=14)
        seen = await lines_of(*command)
        assert sorted(int(line.split()[0]) for line in seen) == list(range(30))
        assert {line.partition(" ")[2] for line in seen} == {"completed shown"}
        for fake in servers:
            await fake.idle()
        assert successes(*servers) == sum(len(fake.books.accepted) for fake in servers) == 30


async def test_refused_items_keep_their_place(tmp_path: Path) -> None:
    """A refusal is the job's own end, goes into the file, and is not sent again."""
    path = tmp_path / "results.jsonl"
    flows: list[Any] = [graph(0), graph(1, "Nothing"), {"broken": 1}, graph(3, "Break")]
    async with fakes() as servers:
        for _ in range(2):
            async with pool_of(servers) as pool, pool.map(flows, results=path, ordered=True) as finished:
                jobs = [job async for job in finished]
                assert [job.status for job in jobs] == ["completed", "failed", "failed", "failed"]
        assert sum(fake.books.started for fake in servers) == 2


async def test_a_batch_with_files_goes_on(tmp_path: Path) -> None:
    """Files have the same names on every server: what was done with them is found again."""
    from PIL import Image

    path = tmp_path / "results.jsonl"
    flows = []
    for n in range(4):
        Image.new("RGB", (8, 8), (n, 0, 0)).save(tmp_path / f"{n}.png")
        flow = picture(prefix=f"file{n}")
        flow["1"] = {"class_type": "LoadImage", "inputs": {"image": "x.png"}}
        flows.append(Workflow.load(flow).with_inputs({("1", "image"): tmp_path / f"{n}.png"}))
    async with fakes() as servers:
        for _ in range(2):
            async with pool_of(servers) as pool, pool.map(flows, results=path) as finished:
                assert [job.status async for job in finished] == ["completed"] * 4
        assert successes(*servers) == 4


async def test_what_a_batch_was_submitting_when_it_was_left_runs_later(tmp_path: Path) -> None:
    """Its last line says "submitted", the server says "cancelled": that was the leaving."""
    path = tmp_path / "results.jsonl"
    async with fakes(1) as servers, pool_of(servers) as pool:
        (a,) = servers
        job = await pool.submit(graph(0))
        await job
        gone = await pool.submit(graph(1))
        async with pool.map([graph(0), graph(1)], results=path) as finished:
            lines = [job async for job in finished]
        assert len(lines) == 2
        await gone
        a.script("Steps", inputs={"seed": "INT"}, outputs=["VALUE"], steps=100_000)
        a.pace.step_seconds = 0.01
        cancelled = await pool.submit(graph(2))
        await a.running(cancelled.prompt_id)
        assert await cancelled.cancel() == "cancelled"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        submitted = next(r for r in records if r["status"] == "submitted" and r["index"] == 1)
        submitted["ref"] = cancelled.ref
        strange = {**submitted, "index": 0, "key": "x", "ref": {"server": "ftp://x", "prompt_id": "y"}}
        path.write_text("".join(json.dumps(record) + "\n" for record in (submitted, strange)))
        teach(a)
        before = a.books.started
        async with pool.map([graph(0), graph(1)], results=path) as finished:
            assert [job.status async for job in finished] == ["completed"] * 2
        assert a.books.started == before + 2


@pytest.mark.parametrize("lines", [0, 1])
async def test_a_batch_whose_disk_fills_leaves_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    """Where the server chooses ids there is a line before the post and one after: without it nobody knows."""
    write, room = Journal._write, lines

    def limited(journal: Journal, record: dict[str, Any]) -> None:
        nonlocal room
        if record.get("status") == "submitted":
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            room -= 1
        write(journal, record)

    monkeypatch.setattr(Journal, "_write", limited)
    async with fakes(1, version="0.3.44", step_seconds=0.01) as (a,), pool_of([a]) as pool:
        teach(a, steps=1000)
        batch = pool.map([graph(0)], results=tmp_path / "results.jsonl")
        with pytest.raises(OSError, match="No space left"):
            async with batch as finished:
                await anext(finished)
        await a.idle()
        assert len(a.books.accepted) == lines
        assert [run.end for run in a.books.runs] == ["interrupted"] * lines
    assert not library_tasks()


async def test_a_session_still_attaches_to_a_pools_job() -> None:
    """A pool's ref is a session's."""
    async with fakes() as servers, pool_of(servers) as pool:
        job = await pool.submit(graph(1))
        await job
        async with ComfySession(job.ref["server"]) as comfy:
            assert isinstance([e async for e in await comfy.attach(job.ref)][-1], Completed)
        assert not [e async for e in job if isinstance(e, Lost)]


async def test_who_leaves_a_job_that_waits_for_a_place_calls_it_off() -> None:
    """Nobody has to be asked, and it runs nowhere when a server comes back."""
    async with fakes(1) as (a,), pool_of([a]) as pool:
        a.hold()
        async with pool.stream(graph(1)) as job:
            await a.faults.go_down(history=False)
            await eventually(lambda: not isinstance(core_of(job).owner, Engine))
        assert job.status == "cancelled"
        await a.faults.come_up()
        a.release()
        async with a.session() as somebody:
            assert (await somebody.run(graph(2))).texts == ("shown",)
        assert len(a.books.runs) == 1
