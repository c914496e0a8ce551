"""A pool's verbs, and which server it chooses."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
from pathlib import Path
from typing import Any

import pytest
from pool_tools import fakes, fast, model_graph, pool_of, runs, state, teach, teach_models
from session_tools import HeldAnswers, eventually, graph, library_tasks, picture, turns

from comfy_async import (
    AuthError,
    ComfyPool,
    ComfySession,
    Completed,
    ConnectError,
    ConversionError,
    JobFailedError,
    JobLostError,
    PartialPromptError,
    PoolServer,
    PromptRejectedError,
    SessionClosedError,
    Workflow,
    WorkflowFormatError,
    WrongLoopError,
)
from comfy_async._client.pool import pool_engine_of
from comfy_async._client.session import engine_of
from comfy_async._pool.files import own_files
from comfy_async.testing import FakeComfy

# The verbs.


async def test_the_verbs_of_a_session() -> None:
    """Run, submit, stream and map give what a session's do."""
    async with fakes() as (a, b), pool_of([a, b]) as pool:
        assert (await pool.run(graph(1))).texts == ("shown",)
        job = await pool.submit(graph(2))
        events = [event async for event in job]
        assert [type(event) for event in events][-1] is Completed
        assert (await job).texts == ("shown",)
        assert job.ref["server"] in (a.url, b.url)
        assert job.ref["prompt_id"] == job.prompt_id
        async with pool.stream(graph(3)) as streamed:
            assert [event async for event in streamed][-1].terminal
        async with pool.map([graph(n) for n in range(4, 12)], ordered=True) as finished:
            assert [job.index async for job in finished] == list(range(8))
        assert await pool.check(graph(1)) == []
        assert (await pool.check(graph(1, "Nothing")))[0].type == "missing_node_type"
    assert not library_tasks()


@pytest.mark.parametrize(
    "verb", ["run", "submit", "stream", "map", "attach", "events", "check", "connect", "aclose"]
)
def test_the_signatures_are_a_sessions(verb: str) -> None:
    """Whoever can use a session can use a pool."""
    ours, theirs = (inspect.signature(getattr(cls, verb)).parameters for cls in (ComfyPool, ComfySession))
    assert list(ours) == list(theirs)
    assert [p.kind for p in ours.values()] == [p.kind for p in theirs.values()]
    assert {n: p.default for n, p in ours.items() if n != "limit"} == {
        n: p.default for n, p in theirs.items() if n != "limit"
    }


async def test_leaving_a_stream_cancels_on_the_right_server() -> None:
    """And a cancelled `run` leaves nothing behind either."""
    async with fakes(step_seconds=0.01) as (a, b), pool_of([a, b]) as pool:
        for fake in (a, b):
            teach(fake, steps=3000)
        async with pool.stream(graph(1)):
            pass
        running = asyncio.create_task(pool.run(graph(2)))
        await eventually(lambda: len(a.books.accepted) + len(b.books.accepted) == 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await a.idle()
        await b.idle()
        assert runs(a, b)["success"] == 0


async def test_a_failed_job_is_not_run_again() -> None:
    """A node that raises would raise elsewhere too."""
    async with fakes() as (a, b), pool_of([a, b]) as pool:
        with pytest.raises(JobFailedError, match="broken"):
            await pool.run(graph(1, "Break"))
        assert len(a.books.accepted) + len(b.books.accepted) == 1


@pytest.mark.parametrize("dialect", ["comfyui", "api-v2"])
async def test_attach_finds_a_waiting_job_on_its_server(dialect: Any) -> None:
    """By its id alone, whichever of them has it."""
    key = "k3y-of-v2" if dialect == "api-v2" else None
    async with fakes(dialect=dialect, api_key=key) as servers, pool_of(servers, api_key=key) as pool:
        for fake in servers:
            fake.hold()
        jobs = [await pool.submit(graph(1)) for _ in servers]
        async with pool_of(servers, api_key=key) as other:
            found = [await other.attach(job.prompt_id) for job in jobs]
            for fake in servers:
                fake.release()
            assert [(await job).prompt_id for job in found] == [job.prompt_id for job in jobs]


async def test_attach_by_ref_and_by_id() -> None:
    """A ref leads to its server, an id is looked for on all; what nobody knows ends as lost."""
    async with fakes() as (a, b), pool_of([a, b]) as pool:
        jobs = [await pool.submit(graph(n)) for n in range(2)]
        for job in jobs:
            await job
        assert {job.ref["server"] for job in jobs} == {a.url, b.url}
        async with pool_of([a, b]) as other:
            for job in jobs:
                assert (await (await other.attach(job.ref))).texts == ("shown",)
                assert (await (await other.attach(job.prompt_id))).texts == ("shown",)
            with pytest.raises(JobLostError):
                await (await other.attach("no-such-job"))
            with pytest.raises(ValueError, match="attach takes"):
                await other.attach({})
            await b.faults.go_down()
            with pytest.raises(ConnectError):
                await other.attach("no-such-job")
            await b.faults.come_up()


async def test_events_of_all_servers() -> None:
    """One stream for every server, those that come later too."""
    async with fakes() as (a, b), pool_of([a]) as pool:
        stream = pool.events()
        pool.add(b.url)
        jobs = [await pool.submit(graph(n)) for n in range(4)]
        for job in jobs:
            await job
        ended = set()
        async for event in stream:
            if isinstance(event, Completed):
                ended.add(event.prompt_id)
            if len(ended) == len(jobs):
                break
        assert ended == {job.prompt_id for job in jobs}
        assert {job.ref["server"] for job in jobs} == {a.url, b.url}


async def test_closing() -> None:
    """Open jobs, those who wait, and later calls get SessionClosedError; the jobs go on."""
    async with fakes() as (a, b):
        gates = [fake.gate("Steps", step=1) for fake in (a, b)]
        pool = await pool_of([a, b], limit=1).connect()
        jobs = [await pool.submit(graph(n)) for n in range(2)]
        waiting = asyncio.create_task(pool.submit(graph(9)))
        await turns()
        await pool.aclose()
        await pool.aclose()
        for job in jobs:
            with pytest.raises(SessionClosedError):
                await job
        with pytest.raises(SessionClosedError):
            await waiting
        with pytest.raises(SessionClosedError):
            await pool.submit(graph(3))
        with pytest.raises(SessionClosedError):
            pool.add("http://127.0.0.1:9")
        for gate in gates:
            gate.open()
        await a.idle()
        await b.idle()
        assert runs(a, b) == {"success": 2}
        assert not library_tasks()


async def test_closing_with_cancel() -> None:
    """`cancel_jobs` stops what is open, and nothing is run again because of it."""
    async with fakes(step_seconds=0.01) as (a, b):
        for fake in (a, b):
            teach(fake, steps=3000)
        pool = await pool_of([a, b]).connect()
        jobs = [await pool.submit(graph(n)) for n in range(4)]
        await pool.aclose(cancel_jobs=True)
        assert {job.status for job in jobs} == {"cancelled"}
        assert runs(a, b)["success"] == 0
        assert len(a.books.accepted) + len(b.books.accepted) == 4


def test_another_loop() -> None:
    """A pool belongs to the loop that it was used in first."""
    pool = ComfyPool(["http://127.0.0.1:9"], connect="lazy")
    asyncio.run(_connect(pool))
    with pytest.raises(WrongLoopError):
        asyncio.run(_connect(pool))


async def _connect(pool: ComfyPool) -> None:
    await pool.connect()


@pytest.mark.parametrize(
    ("servers", "options", "word"),
    [
        (["http://a", "http://a/"], {}, "already"),
        ({"http://a": 0.0}, {}, "weight"),
        (["http://a"], {"limit": 0}, "limit"),
        (["http://a"], {"attempts": 0}, "attempts"),
        (["ftp://a"], {}, "http"),
    ],
)
def test_senseless_pools(servers: object, options: dict[str, int], word: str) -> None:
    """A clear error before anything is sent."""
    with pytest.raises(ValueError, match=word):
        ComfyPool(servers, **options)  # type: ignore[arg-type]


async def test_nobody_answers() -> None:
    """Entering raises what a session would; a lazy pool raises at its first use; an empty one says so."""
    async with FakeComfy() as fake:
        url = fake.url
    with pytest.raises(ConnectError, match="no server answers"):
        await ComfyPool([url]).connect()
    async with fakes() as (a, b):
        await a.faults.go_down()
        await b.faults.go_down()
        with pytest.raises(ConnectError, match=f"{a.url}.*{b.url}"):
            async with pool_of([a, b]):
                pass
        async with pool_of([a, b], connect="lazy") as pool:
            with pytest.raises(ConnectError, match="no server of the pool"):
                await pool.submit(graph(1))
            await b.faults.come_up()
            assert (await pool.run(graph(1))).texts == ("shown",)
        await a.faults.come_up()
    async with ComfyPool([]) as empty:
        with pytest.raises(ConnectError, match="has no server"):
            await empty.run(graph(1))
        with pytest.raises(ConnectError, match="has no server"):
            await empty.check(graph(1))


async def test_what_is_no_workflow() -> None:
    """The caller is told; in a batch, whoever awaits that job."""
    async with fakes(1) as (a,), pool_of([a]) as pool:
        with pytest.raises(WorkflowFormatError):
            await pool.submit({"nodes": "none"})
        async with pool.map([{"nodes": "none"}, graph(1)]) as finished:
            jobs = [job async for job in finished]
        assert sorted(job.status for job in jobs) == ["completed", "failed"]
        with pytest.raises(WorkflowFormatError):
            await next(job for job in jobs if job.status == "failed")
        assert all(job._repr_html_() for job in jobs)


# Who gets it.


async def test_the_least_loaded_first_by_weight() -> None:
    """Own jobs count, the queue of others counts, and a weight of 3 takes three times as many."""
    async with fakes(3) as (a, b, c):
        for fake in (a, b, c):
            fake.hold()
        async with a.session() as somebody:
            for n in range(4):
                await somebody.submit(graph(100 + n))
            weights = {a.url: 1.0, b.url: 1.0, c.url: 3.0}
            async with ComfyPool(weights, limit=None, settings=fast()) as pool:
                jobs = [await pool.submit(graph(n)) for n in range(8)]
                assert len(a.books.accepted) == 4, "the busy one gets none"
                assert (len(b.books.accepted), len(c.books.accepted)) == (2, 6)
                assert state(pool, a).queue == 4
                assert [state(pool, fake).jobs for fake in (a, b, c)] == [0, 2, 6]
                for fake in (a, b, c):
                    fake.release()
                for job in jobs:
                    await job


async def test_a_limit_holds_everybody_back() -> None:
    """No server gets more than its limit, and whoever waits goes to the one that is free first."""
    async with fakes() as (a, b), pool_of([a, b], limit=1) as pool:
        gate = a.gate("Steps", step=1)
        async with pool.map([graph(n) for n in range(9)]) as finished:
            await gate.reached()
            await b.wait_for(lambda books: books.ended == 8)
            gate.open()
            assert len([job async for job in finished]) == 9
        assert (a.books.started, b.books.started) == (1, 8)


async def test_batches_take_turns() -> None:
    """A batch of many does not starve one of few that comes later."""
    async with fakes(1) as (a,), pool_of([a], limit=1) as pool:
        order: list[str] = []

        async def batch(name: str, count: int, first: int) -> None:
            async with pool.map([graph(first + n) for n in range(count)]) as finished:
                order.extend([name async for _ in finished])

        gate = a.gate("Steps", step=1)
        long = asyncio.create_task(batch("long", 30, 0))
        await gate.reached()
        short = asyncio.create_task(batch("short", 5, 100))
        await turns()
        gate.open()
        await short
        assert order.count("long") <= 8
        await long
        assert order.count("long") == 30


async def test_who_stops_waiting_gives_the_place_back() -> None:
    """A cancelled submit costs no place, not even when it was just given one."""
    async with fakes(1) as (a,), pool_of([a], limit=1) as pool:
        gate = a.gate("Steps", step=1)
        job = await pool.submit(graph(0))
        await gate.reached()
        waiting = [asyncio.create_task(pool.submit(graph(n))) for n in range(1, 4)]
        await turns()
        waiting[0].cancel()
        gate.open()
        await job
        waiting[1].cancel()
        await asyncio.wait(waiting)
        last = await waiting[2]
        await last
        await eventually(lambda: state(pool, a).jobs == 0)
        assert (await pool.run(graph(9))).texts == ("shown",)


async def test_models_stay_where_they_are() -> None:
    """Among equals the server that has the model; but never at the price of a longer queue."""
    async with fakes() as (a, b):
        for fake in (a, b):
            teach_models(fake, "x.safetensors", "y.safetensors")
        async with pool_of([a, b]) as pool:
            homes: dict[str, set[str]] = {"x.safetensors": set(), "y.safetensors": set()}
            for n in range(12):
                model = ("x.safetensors", "x.safetensors", "y.safetensors")[n % 3]
                job = await pool.submit(model_graph(model, n))
                await job
                await a.idle()
                await b.idle()
                homes[model].add(job.ref["server"])
            assert [len(urls) for urls in homes.values()] == [1, 1]
            assert state(pool, a).models
            for fake in (a, b):
                fake.hold()
            both = [await pool.submit(model_graph("x.safetensors", 50 + n)) for n in range(2)]
            assert {job.ref["server"] for job in both} == {a.url, b.url}
            for fake in (a, b):
                fake.release()
            for job in both:
                await job


async def test_a_server_without_a_node_or_model_is_passed_over() -> None:
    """For that workflow only; and the next one that needs it does not even ask there."""
    async with fakes() as (a, b):
        teach_models(a, "x.safetensors")
        teach_models(b, "x.safetensors", "rare.safetensors")
        b.script("Rare", inputs={"value": "VALUE"}, is_output=True, output={"text": ["rare"]})
        async with ComfyPool({a.url: 5.0, b.url: 1.0}, settings=fast()) as pool:
            for n in range(6):
                assert (await pool.run(graph(n, "Rare"))).texts == ("rare",)
                await pool.run(graph(20 + n))
            rare = [model_graph("rare.safetensors", n) for n in range(5)]
            for workflow in rare:
                job = await pool.submit({"3": workflow["3"]})
                await job
                assert job.ref["server"] == b.url
            refused = [path for _, path, status in a.books.log if path.endswith("/prompt") and status == 400]
            assert len(refused) == 2, "one refusal for the node, one for the model"
            assert state(pool, a).lacks == ("Loader.ckpt_name=rare.safetensors", "Rare")
            assert a.books.started > 0


async def test_what_nobody_has_is_refused_in_the_words_of_the_nearest() -> None:
    """Each server is asked once, then one; the error is the server's own."""
    async with fakes(3) as servers, pool_of(servers) as pool:
        with pytest.raises(PromptRejectedError) as caught:
            await pool.run(graph(1, "Nothing"))
        assert caught.value.problems[0].class_type == "Nothing"
        assert [fake.books.count("POST", "/prompt") for fake in servers] == [1, 1, 1]
        with pytest.raises(PromptRejectedError):
            await pool.run(graph(1, "Nothing"))
        assert sum(fake.books.count("POST", "/prompt") for fake in servers) == 4
        servers[0].script("Nothing", inputs={"value": "VALUE"}, is_output=True, output={"text": ["now"]})
        servers[1].script("Nothing", inputs={"value": "VALUE"}, is_output=True, output={"text": ["now"]})
        servers[2].script("Nothing", inputs={"value": "VALUE"}, is_output=True, output={"text": ["now"]})
        assert (await pool.run(graph(1, "Nothing"))).texts == ("now",)


async def test_a_refused_workflow_is_sent_nowhere_else() -> None:
    """What is wrong with the workflow itself is wrong everywhere."""
    async with fakes() as (a, b), pool_of([a, b]) as pool:
        bad = graph(1)
        del bad["2"]["inputs"]["value"]
        with pytest.raises(PromptRejectedError):
            await pool.run(bad)
        assert a.books.count("POST", "/prompt") + b.books.count("POST", "/prompt") == 1


async def test_a_partly_refused_workflow_goes_where_all_of_it_runs() -> None:
    """The part that one server would run is taken back; nowhere whole: PartialPromptError; or kept."""
    async with fakes() as (a, b):
        teach_models(a, "x.safetensors")
        teach_models(b, "x.safetensors", "rare.safetensors")
        async with pool_of([a, b]) as pool:
            a.hold()
            for n in range(4):
                job = await pool.submit(model_graph("rare.safetensors", n))
                await job
                assert job.ref["server"] == b.url
                assert [event async for event in job][-1].terminal
            a.release()
            await a.idle()
            assert [record.end for record in a.books.accepted] == ["deleted"]
            with pytest.raises(PartialPromptError) as caught:
                await pool.run(model_graph("none.safetensors", 9))
            assert caught.value.problems[0].received == "none.safetensors"
            kept = await pool.submit(model_graph("none.safetensors", 10), on_partial="keep")
            assert (await kept).texts == ("shown",)
            assert kept.node_errors


async def test_a_part_that_is_done_before_the_refusal_is_heard() -> None:
    """The job is not told to have ended by it."""
    answers = HeldAnswers("POST", "/prompt")
    async with fakes() as (a, b):
        teach_models(a, "x.safetensors")
        teach_models(b, "rare.safetensors")
        settings = fast(http_transport=answers)
        async with ComfyPool({a.url: 9.0, b.url: 1.0}, settings=settings) as pool:
            submitting = asyncio.create_task(pool.submit(model_graph("rare.safetensors")))
            await answers.held.wait()
            await a.idle()
            await pool.settings.clock.sleep(2.0)
            answers.release.set()
            job = await submitting
            assert set((await job).texts) == {"shown", "rare.safetensors"}
            assert job.ref["server"] == b.url
            assert [event.terminal async for event in job].count(True) == 1


async def test_a_server_that_comes_back_may_have_learnt() -> None:
    """What it lacked is forgotten when it returns: people restart servers to install things."""
    async with fakes() as (a, b):
        b.script("Rare", inputs={"value": "VALUE"}, is_output=True, output={"text": ["rare"]})
        async with ComfyPool({a.url: 9.0, b.url: 1.0}, settings=fast(), away_seconds=4.0) as pool:
            await pool.run(graph(1, "Rare"))
            assert state(pool, a).lacks == ("Rare",)
            await a.faults.go_down()
            n = 1
            while state(pool, a).state == "up":
                n += 1
                await pool.run(graph(n))
            await a.faults.come_up()
            while state(pool, a).state != "up":
                n += 1
                await pool.run(graph(n))
            assert state(pool, a).lacks == ()


async def test_the_check_looks_elsewhere_too() -> None:
    """`check=True` finds a missing model in the catalog, and the next server is tried."""
    async with fakes() as (a, b):
        teach_models(a, "x.safetensors")
        teach_models(b, "rare.safetensors")
        async with pool_of([a, b]) as pool:
            for n in range(2):
                result = await pool.run(model_graph("rare.safetensors", n), check=True)
                assert result.texts
            assert a.books.count("POST", "/prompt") == 0
            assert a.books.count("GET", "/object_info") == 1


async def test_files_are_sent_to_whichever_server_runs_it(tmp_path: Path) -> None:
    """Paths and bytes, open files that can be read once, and handles of files that are elsewhere."""
    from PIL import Image

    face = tmp_path / "face.png"
    Image.new("RGB", (8, 8), "red").save(face)

    def flow(value: object) -> object:
        graph_ = picture()
        graph_["1"] = {"class_type": "LoadImage", "inputs": {"image": "x.png"}}
        return Workflow.load(graph_).with_inputs({("1", "image"): value})

    async with fakes() as (a, b), pool_of([a, b]) as pool:
        async with a.session() as somebody:
            handle = await somebody.files.upload(face)
            with face.open("rb") as file:
                read_once = await somebody.files.upload(file, name="once.png")
        for value in (face, face.read_bytes(), handle, read_once):
            jobs = [await pool.submit(flow(value)) for _ in range(2)]  # type: ignore[arg-type]
            for job in jobs:
                await job
        with face.open("rb") as file:
            open_job = await pool.submit(flow(file))  # type: ignore[arg-type]
        await open_job
        with pytest.raises(ValueError, match="binary"):
            await pool.submit(flow(io.StringIO("text")))  # type: ignore[arg-type]
        assert {job.ref["server"] for job in jobs} == {a.url, b.url}
        assert {upload.name for upload in b.books.uploads} >= {handle.name, "once.png"}


async def test_an_open_file_can_be_sent_twice(tmp_path: Path) -> None:
    """It is read before it is sent anywhere, since the first server may not take the job."""
    from PIL import Image

    face = tmp_path / "face.png"
    Image.new("RGB", (8, 8), "blue").save(face)
    flow = picture()
    flow["1"] = {"class_type": "LoadImage", "inputs": {"image": "x.png"}}
    async with fakes() as (a, b):
        a.faults.fail("POST", "/prompt", 500)
        async with ComfyPool({a.url: 9.0, b.url: 1.0}, settings=fast()) as pool:
            with face.open("rb") as file:
                job = await pool.submit(Workflow.load(flow).with_inputs({("1", "image"): file}))
            await job
        assert [upload.size for upload in a.books.uploads] == [face.stat().st_size]
        assert [upload.size for upload in b.books.uploads] == [face.stat().st_size]


async def test_files_that_cannot_be_sent_again() -> None:
    """Of a server that is not in the pool, or does not answer: the name alone has to do."""
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    async with fakes(3) as (a, b, c), pool_of([a, c]) as pool:
        handles = []
        for fake in (b, c):
            async with fake.session() as somebody:
                buffer.seek(0)
                handles.append(await somebody.files.upload(buffer, name="once.png"))
        flow = picture()
        flow["1"] = {"class_type": "LoadImage", "inputs": {"image": "x.png"}}
        flow["3"] = {"class_type": "LoadImage", "inputs": {"image": "x.png"}}
        flow["4"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "q"}}
        both = {("1", "image"): handles[0], ("3", "image"): handles[0]}
        job = await pool.submit(Workflow.load(flow).with_inputs(both))
        await job
        assert job.ref["server"] == c.url, "only there is a file of that name"
        await pool.drain(a.url)
        pool.add(a.url, weight=100.0)
        c.faults.fail("GET", "/view", 500)
        here = {("1", "image"): handles[1], ("3", "image"): handles[1]}
        job = await pool.submit(Workflow.load(flow).with_inputs(here))
        await job
        assert job.ref["server"] == c.url
        c.faults.clear()
        job = await pool.submit(Workflow.load(flow).with_inputs({**here, ("4", "filename_prefix"): "r"}))
        await job
        assert job.ref["server"] == a.url
        assert [upload.name for upload in a.books.uploads] == ["once.png"]


async def test_draining_waits_for_attached_jobs_too() -> None:
    """And watchers lose nothing but that server."""
    async with fakes() as (a, b), pool_of([a, b]) as pool:
        stream = pool.events()
        gate = a.gate("Steps", step=1)
        async with a.session() as somebody:
            job = await pool.attach((await somebody.submit(graph(1))).ref)
            await gate.reached()
            draining = asyncio.create_task(pool.drain(a.url))
            await turns()
            assert not draining.done()
            gate.open()
            await draining
            assert (await job).texts == ("shown",)
        async with pool.stream(graph(2)) as streamed:
            async for event in stream:
                if event.prompt_id == streamed.prompt_id and isinstance(event, Completed):
                    break
        await stream.aclose()
        assert not pool_engine_of(pool).servers._watchers.boxes


async def test_the_check_says_what_a_server_said() -> None:
    """When none can be asked."""
    async with fakes() as (a, b), pool_of([a, b]) as pool:
        for fake in (a, b):
            fake.faults.fail("GET", "/object_info", 401)
        with pytest.raises(AuthError):
            await pool.check(graph(1))


async def test_a_file_that_only_one_server_has() -> None:
    """A picture that somebody put there by hand is found there."""
    async with fakes() as (a, b), pool_of([a, b]) as pool:
        async with b.session() as somebody:
            from PIL import Image

            handle = await somebody.files.upload(Image.new("RGB", (8, 8)), name="byhand.png")
        flow = picture()
        flow["1"] = {"class_type": "LoadImage", "inputs": {"image": str(handle)}}
        for n in range(3):
            flow["2"]["inputs"]["filename_prefix"] = f"p{n}"
            job = await pool.submit(flow)
            await job
            assert job.ref["server"] == b.url


# Servers come and go.


async def test_add_and_drain() -> None:
    """A new server takes what waits; a drained one ends what it has, and its files can still be read."""
    async with fakes() as (a, b), pool_of([a], limit=1) as pool:
        gate = a.gate("Steps", step=1)
        job = await pool.submit(
            picture() | {"9": graph(1)["1"], "8": {**graph(1)["2"], "inputs": {"value": ["9", 0]}}}
        )
        waiting = asyncio.create_task(pool.submit(graph(2)))
        await gate.reached()
        pool.add(b.url, weight=2.0, limit=5)
        elsewhere = await waiting
        assert elsewhere.ref["server"] == b.url
        assert state(pool, b).limit == 5
        draining = asyncio.create_task(pool.drain(a.url + "/"))
        await turns()
        assert state(pool, a).state == "draining"
        for n in range(3, 6):
            assert (await pool.submit(graph(n))).ref["server"] == b.url
        assert not draining.done()
        gate.open()
        await draining
        assert [server.url for server in pool.servers] == [b.url]
        assert await (await job).images[0].read()
        await eventually(lambda: a.books.sockets_now == 0)
        with pytest.raises(ValueError, match="not in the pool"):
            await pool.drain(a.url)
        pool.add(a.url)
        with pytest.raises(ValueError, match="already"):
            pool.add(a.url)
        assert (await pool.run(graph(7))).texts == ("shown",)


async def test_draining_the_last_one_sends_those_who_wait_home() -> None:
    """They would wait for ever."""
    async with fakes(1) as (a,), pool_of([a], limit=1) as pool:
        gate = a.gate("Steps", step=1)
        job = await pool.submit(graph(1))
        await gate.reached()
        waiting = asyncio.create_task(pool.submit(graph(2)))
        await turns()
        draining = asyncio.create_task(pool.drain(a.url))
        with pytest.raises(ConnectError, match="no server"):
            await waiting
        gate.open()
        await job
        await draining
        assert pool.servers == ()


async def test_a_session_of_ones_own() -> None:
    """For a server with credentials of its own; the pool closes it."""
    async with fakes() as (a, b):
        mine = ComfySession(a.url, client_id="mine", settings=fast())
        async with ComfyPool([mine, b.url], settings=fast(), previews="none") as pool:
            jobs = [await pool.submit(graph(n)) for n in range(2)]
            for job in jobs:
                await job
        assert [record.client_id for record in a.books.accepted] == ["mine"]
        with pytest.raises(SessionClosedError):
            await mine.queue.snapshot()


# What can be read.


async def test_every_decision_can_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """In `servers`, in the repr, and in the debug log."""
    caplog.set_level(logging.DEBUG, "comfy_async")
    async with fakes() as (a, b), pool_of([a, b]) as pool:
        assert repr(pool) == "<ComfyPool 2 servers, 2 healthy>"
        assert all(isinstance(server, PoolServer) and server.state == "up" for server in pool.servers)
        job = await pool.submit(graph(1))
        await job
        assert f"pool: job {job.prompt_id} is on {job.ref['server']}" in caplog.text
        assert "its load is" in caplog.text


async def test_an_idle_pool_costs_nothing() -> None:
    """No request and no task when nothing is to be done."""
    async with fakes() as (a, b), pool_of([a, b]) as pool:
        await pool.run(graph(1))
        await eventually(lambda: not [t for t in library_tasks() if "socket" not in t])
        before = sum(a.books.requests.values()) + sum(b.books.requests.values())
        await pool.settings.clock.sleep(60.0)
        assert sum(a.books.requests.values()) + sum(b.books.requests.values()) == before


async def test_an_editor_file_is_converted_by_a_server_that_can(tmp_path: Path) -> None:
    """A server whose catalog lacks a node cannot convert it; another one may."""
    editor = {
        "nodes": [
            {
                "id": 1,
                "type": "Rare",
                "inputs": [],
                "outputs": [],
                "widgets_values": ["hello"],
                "mode": 0,
                "pos": [0, 0],
                "size": [1, 1],
                "flags": {},
                "order": 0,
                "properties": {},
            }
        ],
        "links": [],
        "version": 0.4,
    }
    async with fakes() as (a, b):
        b.script("Rare", inputs={"text": "STRING"}, is_output=True, output={"text": ["rare"]})
        async with pool_of([a, b]) as pool:
            for _ in range(2):
                assert (await pool.run(editor)).texts == ("rare",)
            assert a.books.started == 0
        async with pool_of([a]) as pool:
            with pytest.raises((ConversionError, PromptRejectedError)):
                await pool.run(editor)


async def test_a_paused_batch_gives_its_turn_away() -> None:
    """What waits for a free server is not submitted when one is free; others are, and it goes on later."""
    async with fakes(1) as (a,), pool_of([a], limit=1) as pool:
        gate = a.gate("Steps", step=1)
        async with pool.map([graph(n) for n in range(3)], limit=3) as finished:
            await gate.reached()
            await finished.pause()
            gate.open()
            assert (await anext(finished)).status == "completed"
            await turns(100)
            assert len(a.books.accepted) == 1
            assert (await pool.run(graph(7))).texts == ("shown",)
            assert len(a.books.accepted) == 2
            await finished.resume()
            assert [job.status async for job in finished] == ["completed"] * 2
    assert len(a.books.accepted) == 4


async def test_a_paused_batch_that_waits_is_left() -> None:
    """At once, and nothing of it was sent."""
    async with fakes(1) as (a,), pool_of([a], limit=1) as pool:
        gate = a.gate("Steps", step=1)
        async with pool.map([graph(n) for n in range(2)], limit=2) as finished:
            await gate.reached()
            await finished.pause()
            gate.open()
            await anext(finished)
            await turns(100)
        assert len(a.books.accepted) == 1
        assert (await pool.run(graph(7))).texts == ("shown",)
    assert not library_tasks()


async def test_a_file_goes_where_it_is_not_and_only_there() -> None:
    """Once, however often a workflow uses it; one without a server stays as it is."""
    async with fakes() as (a, b), a.session() as here, b.session() as there:
        face = await here.files.upload(b"face", name="face.png")
        flow = Workflow.load(
            {
                "1": {"class_type": "LoadImage", "inputs": {"image": face}},
                "2": {"class_type": "LoadImage", "inputs": {"image": face}},
                "3": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
            }
        )
        others = {a.url: engine_of(here)}
        same = await own_files(flow, engine_of(here), others)
        assert (len(a.books.uploads), same.to_api()) == (1, flow.to_api())
        moved = await own_files(flow, engine_of(there), others)
        assert (len(a.books.uploads), len(b.books.uploads)) == (1, 1)
        assert moved.to_api() == flow.to_api()
        assert {handle.server for handle in moved.handles().values()} == {b.url}
