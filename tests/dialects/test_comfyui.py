"""The requests of a run on every release: what is asked, what is never risked, what is learnt."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from session_tools import graph, teach

from comfy_async._dialects.comfyui import RunApi
from comfy_async._dialects.dialect import Draft, Posted, UnreadableError
from comfy_async._transport.address import Address
from comfy_async._transport.auth import Auth
from comfy_async._transport.http import HttpClient
from comfy_async.testing import FakeComfy

RELEASES = ["0.3.10", "0.3.44", "0.3.56", "0.5.1", "0.7.0", "0.25.0", "0.33.0", "0.45.2"]
UNTARGETED = ["0.3.10", "0.3.44", "0.3.56"]


@asynccontextmanager
async def speaking(**options: Any) -> AsyncIterator[tuple[FakeComfy, RunApi]]:
    """Run a server, and the dialect that speaks to it."""
    async with FakeComfy(**options) as fake:
        http = HttpClient(Address.parse(teach(fake).url), auth=Auth(), trust_env=False)
        try:
            api = RunApi(http)
            await api.probe()
            yield fake, api
        finally:
            await http.aclose()


async def post(api: RunApi, seed: int) -> str:
    """Queue a run and return the id that the server knows it by."""
    draft = Draft(graph=json.dumps(graph(seed)).encode(), prompt_id=str(uuid.uuid4()), client_id="me")
    posted = await api.post(draft, api.encode(draft))
    assert isinstance(posted, Posted)
    return posted.prompt_id


async def asked(fake: FakeComfy, call: Any) -> list[str]:
    """Return the requests that a call makes, without their queries."""
    before = len(fake.books.log)
    await call
    return [
        f"{method} {path.partition('?')[0].removeprefix('/api')}"
        for method, path, _ in list(fake.books.log)[before:]
    ]


class TestCancel:
    """Exactly one job is stopped, whatever the release."""

    @pytest.mark.parametrize("version", RELEASES)
    async def test_a_waiting_job(self, version: str) -> None:
        """It leaves the queue; the one that runs is not even asked to stop."""
        async with speaking(version=version) as (fake, api):
            with fake.gate("Steps"):
                runs = await post(api, 1)
                await fake.running(runs)
                waits = await post(api, 2)
                await api.cancel(waits)
                assert fake.books.ends(waits) == ["deleted"]
                assert fake.books.of(runs)[0].interrupts == 0
            await fake.ended(runs)
            assert fake.books.ends(runs) == ["success"]

    @pytest.mark.parametrize("version", RELEASES)
    async def test_the_running_job(self, version: str) -> None:
        """It is interrupted; the next one runs."""
        async with speaking(version=version) as (fake, api):
            gate = fake.gate("Steps")
            runs = await post(api, 1)
            await gate.reached()
            following = await post(api, 2)
            await api.cancel(runs)
            gate.open()
            await fake.ended(following)
            assert fake.books.ends(runs) == ["interrupted"]
            assert fake.books.ends(following) == ["success"]

    @pytest.mark.parametrize("version", RELEASES)
    async def test_one_that_has_ended(self, version: str) -> None:
        """Nobody is interrupted in its place."""
        async with speaking(version=version) as (fake, api):
            over = await post(api, 1)
            await fake.ended(over)
            with fake.gate("Steps"):
                runs = await post(api, 2)
                await fake.running(runs)
                await api.cancel(over)
                assert fake.books.of(runs)[0].interrupts == 0

    @pytest.mark.parametrize("version", UNTARGETED)
    async def test_one_that_ends_while_a_long_queue_is_read(self, version: str) -> None:
        """The next one runs when the answer comes: it is looked at once more, and not interrupted."""
        async with speaking(version=version) as (fake, api):
            gate = fake.gate("Steps")
            runs = await post(api, 1)
            await gate.reached()
            following = await post(api, 2)
            second = fake.gate("Steps", prompt_id=following)
            late = fake.faults.delay("GET", "/queue", 60, after_effect=True)
            cancelling = asyncio.create_task(api.cancel(runs))
            await fake.wait_for(lambda _: late.hits)
            gate.open()
            await second.reached()
            late.cancel()
            await cancelling
            assert fake.books.ends(runs) == ["success"]
            assert fake.books.of(following)[0].interrupts == 0
            second.open()
            await fake.ended(following)

    @pytest.mark.parametrize(("version", "others", "warned"), [("0.3.56", 1, True), ("0.3.56", 0, False)])
    async def test_what_cannot_be_ruled_out_is_said(
        self, version: str, others: int, warned: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An interrupt that names nobody could hit the next one, where there is one."""
        async with speaking(version=version) as (fake, api):
            gate = fake.gate("Steps")
            runs = await post(api, 1)
            await gate.reached()
            for number in range(others):
                await post(api, 2 + number)
            with caplog.at_level(logging.WARNING, "comfy_async"):
                await api.cancel(runs)
            assert any("stopped in its place" in record.message for record in caplog.records) is warned
            gate.open()

    async def test_a_waiting_job_costs_no_copy_of_the_queue(self) -> None:
        """On 0.33.0 the jobs API copies queue and history whole for a cancel: the queue is asked first."""
        async with speaking() as (fake, api):
            fake.hold()
            waits = await post(api, 1)
            assert await asked(fake, api.cancel(waits)) == ["POST /queue", "GET /jobs"]
            fake.release()

    async def test_many_at_once(self) -> None:
        """Those that wait leave the queue by one request, the one that runs is stopped, no other is known."""
        async with speaking() as (fake, api):
            gate = fake.gate("Steps")
            runs = await post(api, 1)
            await gate.reached()
            waiting = [await post(api, number) for number in (2, 3, 4)]
            took = asyncio.create_task(api.cancel_all([runs, *waiting, str(uuid.uuid4())]))
            assert await took is True
            gate.open()
            await fake.idle()
            assert [fake.books.ends(one) for one in (runs, *waiting)] == [["interrupted"]] + [["deleted"]] * 3
            assert fake.books.count("POST", "/queue") == 1
            assert await api.cancel_all([str(uuid.uuid4())]) is False


class TestProof:
    """What a server answers counts for more than its version."""

    async def test_a_fork_without_the_jobs_api(self) -> None:
        """It is asked once; afterwards the queue is read, and what runs is stopped by its id."""
        async with speaking(without=["jobs", "jobs_cancel"]) as (fake, api):
            gate = fake.gate("Steps")
            runs = await post(api, 1)
            await gate.reached()
            assert (await api.snapshot()).entries[runs].running
            await api.cancel(runs)
            await api.snapshot()
            assert fake.books.count("GET", "/api/jobs") <= 1
            assert (api.server.can("jobs"), api.server.can("cancel_jobs")) == (False, False)
            gate.open()
            await fake.ended(runs)
            assert fake.books.ends(runs) == ["interrupted"]

    async def test_one_without_the_cancel_alone(self) -> None:
        """405 of a route that stands beside GET /api/jobs/{id}: the interrupt by id takes its place."""
        async with speaking(without=["jobs_cancel"]) as (fake, api):
            gate = fake.gate("Steps")
            runs = await post(api, 1)
            await gate.reached()
            assert await api.cancel_all([runs]) is True
            gate.open()
            await fake.ended(runs)
            assert fake.books.ends(runs) == ["interrupted"]
            assert not api.server.can("cancel_jobs")

    async def test_a_probe_keeps_what_is_proven(self) -> None:
        """Looking at the version again does not forget it."""
        async with speaking() as (_, api):
            api.prove("jobs", False)
            await api.probe()
            assert not api.server.can("jobs")


class TestFind:
    """One job of the queue, by the cheapest way there is."""

    @pytest.mark.parametrize("version", RELEASES)
    async def test_each_state(self, version: str) -> None:
        """It runs, it waits, or the queue has none of this id."""
        async with speaking(version=version) as (fake, api):
            with fake.gate("Steps"):
                runs = await post(api, 1)
                await fake.running(runs)
                waits = await post(api, 2)
                found = [await api.find(one) for one in (runs, waits, str(uuid.uuid4()))]
            assert [None if entry is None else entry.running for entry in found] == [True, False, None]
            await fake.idle()
            assert await api.find(runs) is None

    @pytest.mark.parametrize(
        ("version", "others", "known", "reads"),
        [("0.3.56", 20, True, 1), ("0.33.0", 20, False, 0), ("0.33.0", 0, True, 1), ("0.45.2", 0, True, 0)],
    )
    async def test_its_graph(self, version: str, others: int, known: bool, reads: int) -> None:
        """Old servers send it with the queue, new ones with the job, those between with a short queue."""
        async with speaking(version=version) as (fake, api):
            fake.hold()
            wanted = await post(api, 1)
            for number in range(others):
                await post(api, 2 + number)
            found = await api.find(wanted)
            assert found is not None
            assert (found.prompt is not None) is known
            assert fake.books.count("GET", "/queue") == reads
            fake.release()


async def test_a_long_queue_reads_as_a_short_one() -> None:
    """Megabytes of graphs are decoded in pieces, and are the same queue."""
    async with speaking(version="0.3.56") as (fake, api):
        fake.hold()
        ids = [await post(api, number) for number in range(3)]
        for item in fake.core.queue.pending:
            item.prompt = {**item.prompt, "9": {"class_type": "A", "inputs": {"text": 'x]}",{[' * 60_000}}}
        whole, short = await api.snapshot(whole=True), await api.snapshot()
        assert set(whole.entries) == set(short.entries) == set(ids)
        assert all(entry.prompt and "9" in entry.prompt for entry in whole.entries.values())
        fake.release()


async def test_a_dead_worker_is_found_in_the_log() -> None:
    """Its last words are there; a server that works, or shows no log, gives no verdict."""
    async with speaking() as (fake, api):
        await post(api, 1)
        await fake.idle()
        assert not await api.has_dead_worker()
        fake.core.log("Exception in thread Thread-1 (prompt_worker):\nTraceback (most recent call last):")
        assert await api.has_dead_worker()
        fake.faults.fail("GET", "/internal/*", 404)
        assert not await api.has_dead_worker()


@pytest.mark.parametrize("body", ["[]", '{"queue_running": 1}', '{"queue_running": []}', "{}"])
async def test_another_shape_proves_nothing(body: str) -> None:
    """No job is absent from what is no queue."""
    async with speaking(version="0.3.56") as (fake, api):
        fake.faults.fail("GET", "/queue", 200, json=json.loads(body))
        with pytest.raises(UnreadableError):
            await api.snapshot()
