"""What an old server cannot do is told with the version that can; what it can do another way is done."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from session_tools import graph, picture, served, teach

from comfy_async import ComfySession, NotFoundError, UnsupportedError

VERBS: dict[str, tuple[str, str, Callable[[ComfySession], Awaitable[Any]]]] = {
    "models.folders": ("0.2.2", "0.2.3", lambda comfy: comfy.models.folders()),
    "models.places": ("0.3.7", "0.3.8", lambda comfy: comfy.models.places()),
    "models.details": ("0.3.7", "0.3.8", lambda comfy: comfy.models.details("vae")),
    "system.logs": ("0.2.7", "0.3.0", lambda comfy: comfy.system.logs()),
    "system.subscribe_logs": ("0.2.7", "0.3.0", lambda comfy: comfy.system.subscribe_logs()),
    "system.workflow_templates": ("0.3.10", "0.3.11", lambda comfy: comfy.system.workflow_templates()),
    "system.translations": ("0.3.12", "0.3.13", lambda comfy: comfy.system.translations()),
    "system.files": ("0.3.14", "0.3.15", lambda comfy: comfy.system.files()),
    "userdata.tree": ("0.3.30", "0.3.31", lambda comfy: comfy.userdata.tree()),
    "system.features": ("0.3.44", "0.3.45", lambda comfy: comfy.system.features()),
    "nodes.blueprints": ("0.3.66", "0.3.67", lambda comfy: comfy.nodes.blueprints()),
    "nodes.replacements": ("0.13.0", "0.14.0", lambda comfy: comfy.nodes.replacements()),
}
"""By verb: the last release without its route, the first with it, and the call."""


@pytest.mark.parametrize("verb", VERBS)
async def test_what_it_takes(verb: str) -> None:
    """The last release without the route says which has it; that one answers."""
    last, first, call = VERBS[verb]
    async with served(version=last) as (_, comfy):
        with pytest.raises(UnsupportedError) as caught:
            await call(comfy)
        assert (caught.value.needs, caught.value.version) == (first, last)
        assert caught.value.hint == f"It takes ComfyUI {first} or later."
    async with served(version=first) as (_, comfy):
        await call(comfy)


async def test_what_is_missing_is_not_too_old() -> None:
    """A name that a new server does not know is a NotFoundError; a kind of models on an old one too."""
    async with served() as (_, comfy):
        with pytest.raises(NotFoundError):
            await comfy.jobs.get(str(uuid.uuid4()))
        with pytest.raises(NotFoundError, match="no kind of models 'nope'"):
            await comfy.models.details("nope")
    async with served(version="0.2.2") as (_, comfy):
        with pytest.raises(NotFoundError, match="no kind of models 'nope'"):
            await comfy.models.list("nope")


async def test_a_route_that_a_gateway_closes() -> None:
    """/internal of a new server that answers 404 is closed, whatever else it can do."""
    async with served() as (fake, comfy):
        fake.faults.fail("GET", "/internal/*", 404)
        with pytest.raises(UnsupportedError, match="does not serve /internal"):
            await comfy.system.files()
        fake.faults.fail("GET", "/node_replacements", 404)
        with pytest.raises(UnsupportedError, match="a fork, or a gateway"):
            await comfy.nodes.replacements()
        assert await comfy.nodes.known_replacements() is None


@pytest.mark.parametrize("version", ["0.3.10", "0.13.0"])
async def test_known_replacements(version: str) -> None:
    """None on a server that came before them, so that a check goes on without."""
    async with served(version=version) as (_, comfy):
        assert await comfy.nodes.known_replacements() is None
        assert not (await comfy.check(picture()))


class TestHistory:
    """Every finished job is on one page, whoever can page."""

    @pytest.mark.parametrize(
        "options", [{"version": "0.3.59"}, {"version": "0.33.0"}, {"without": ["history_offset"]}]
    )
    async def test_pages(self, options: dict[str, Any]) -> None:
        """A server that ignores the offset, by its release or as a fork, is asked for all of it."""
        async with served(**options) as (fake, comfy):
            ids = [(await comfy.run(picture(number))).prompt_id for number in range(5)]
            await fake.idle()
            pages = [[job.prompt_id for job in page] async for page in comfy.history.page(size=2)]
            assert pages == [ids[:2], ids[2:4], ids[4:]]
            rest = [[job.prompt_id for job in page] async for page in comfy.history.page(size=2, start=3)]
            assert rest == [ids[3:]]


class TestJobs:
    """Cancelled jobs are told apart from failed ones, also where the jobs API does not."""

    @pytest.mark.parametrize("version", ["0.5.1", "0.6.0", "0.8.0", "0.9.0"])
    async def test_the_status(self, version: str) -> None:
        """In a list, in a list of one kind, and alone."""
        async with served(version=version) as (fake, comfy):
            gate = teach(fake).gate("Steps", step=1)
            stopped = await comfy.submit(graph(1))
            await gate.reached()
            stopping = asyncio.create_task(stopped.cancel())
            await fake.wait_for(lambda books: books.of(stopped.prompt_id)[0].interrupts)
            gate.open()
            assert await stopping == "cancelled"
            broken = await comfy.submit(graph(2, "Break"))
            await fake.ended(broken.prompt_id)
            found = {job.id: job.status async for page in comfy.jobs.page() for job in page}
            assert found == {stopped.prompt_id: "cancelled", broken.prompt_id: "failed"}
            only = [job.id async for page in comfy.jobs.page(status="cancelled") for job in page]
            assert only == [stopped.prompt_id]
            assert (await comfy.jobs.get(stopped.prompt_id)).status == "cancelled"

    async def test_a_misspelt_status(self) -> None:
        """Where the list is put together here, a word that is none is told here."""
        async with served(version="0.8.0") as (_, comfy):
            with pytest.raises(ValueError, match="no such status: done"):
                await anext(comfy.jobs.page(status="done"))

    @pytest.mark.parametrize("options", [{"version": "0.25.0"}, {"without": ["jobs_cancel"]}])
    async def test_cancel(self, options: dict[str, Any]) -> None:
        """One that waits and one that runs, on a server without the route, by its release or as a fork."""
        async with served(**options) as (fake, comfy):
            gate = teach(fake).gate("Steps", step=1)
            running, waiting = await comfy.submit(graph(1)), await comfy.submit(graph(2))
            await gate.reached()
            assert await comfy.jobs.cancel(running.prompt_id, waiting.prompt_id) is True
            gate.open()
            await fake.idle()
            assert fake.books.ends(running.prompt_id) == ["interrupted"]
            assert fake.books.ends(waiting.prompt_id) == ["deleted"]
            assert await comfy.jobs.cancel(str(uuid.uuid4())) is False


class TestInterrupt:
    """Only the job that is named is stopped, and only when it runs."""

    @pytest.mark.parametrize("version", ["0.3.10", "0.3.56", "0.3.57", "0.33.0"])
    async def test_one(self, version: str) -> None:
        """One that waits goes on waiting; what runs is let be."""
        async with served(version=version) as (fake, comfy):
            gate = teach(fake).gate("Steps", step=1)
            running, waiting = await comfy.submit(graph(1)), await comfy.submit(graph(2))
            await gate.reached()
            await comfy.queue.interrupt(waiting.prompt_id)
            assert fake.books.of(running.prompt_id)[0].interrupts == 0
            assert [job.prompt_id for job in (await comfy.queue.snapshot()).pending] == [waiting.prompt_id]
            await comfy.queue.interrupt(running.prompt_id)
            gate.open()
            await fake.idle()
            assert fake.books.ends(running.prompt_id) == ["interrupted"]
            assert fake.books.ends(waiting.prompt_id) == ["success"]


async def test_a_long_queue() -> None:
    """It is read by rows, and is the queue all the same."""
    async with served() as (fake, comfy):
        fake.hold()
        job = await comfy.submit(picture())
        (item,) = fake.core.queue.pending
        item.extra_data["filling"] = "x" * 1_000_000
        (waiting,) = (await comfy.queue.snapshot()).pending
        assert (waiting.prompt_id, waiting.targets) == (job.prompt_id, ("2",))
        assert len(waiting.extra_data["filling"]) == 1_000_000
        fake.release()
