"""A fleet means what a session means: run, submit, stream, map and cancel, across processes."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
import ray
from ray_tools import painted
from session_tools import lives, picture, seeded, steps, two_outputs

from comfy_async import (
    Completed,
    ConnectError,
    Disconnected,
    JobCancelledError,
    JobFailedError,
    NodeFinished,
    PartialPromptError,
    PollingStarted,
    Preview,
    Progress,
    PromptRejectedError,
    Queued,
    Reconnected,
    SessionClosedError,
    Workflow,
    WorkflowError,
)
from comfy_async.ray import ComfyCommand, ComfyFleet

pytestmark = pytest.mark.usefixtures("cluster")


async def test_run_and_read(fakes: Any) -> None:
    """A result is read by the worker, and its files arrive whole."""
    (fake,) = await fakes(1)
    async with ComfyFleet(fake.url) as fleet:
        assert fleet.servers == [fake.url]
        result = await fleet.run(picture(7))
        data = await result.images[0].read()
        assert data.startswith(b"\x89PNG")
        assert b"".join([chunk async for chunk in result.images[0].stream()]) == data
        assert result.images[0].url == f"{fake.url}/view?filename=pic_00001_.png&subfolder=&type=output"
    assert [record.end for record in fake.books.accepted] == ["success"]


async def test_an_app_of_a_fleet(fakes: Any) -> None:
    """Its inputs are what the workers' servers take; results come by the names of outputs."""
    (fake,) = await fakes(1)
    async with ComfyFleet(fake.url) as fleet:
        app = await fleet.app(
            {
                "1": {
                    "class_type": "EmptyImage",
                    "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
                },
                "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
            },
            inputs={"size": ["1.width", "1.height"]},
            outputs={"picture": "2"},
        )
        result = await app(size=24)
        assert (await result["picture"].image()).size == (24, 24)
        assert (await result["picture"].read()).startswith(b"\x89PNG")
        assert len(await fleet.node_catalog(again=["KSampler"])) == len(app.catalog)


async def test_save_to_the_drivers_disk(team: Any, tmp_path: Any) -> None:
    """Saving is as with a session."""
    async with team() as (fleet, fake):
        paths = await (await fleet.run(picture(1))).save(tmp_path / "out")
    assert [path.name for path in paths] == ["pic_00001_.png"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in paths[0].parent.iterdir()] == ["pic_00001_.png"]


async def test_events_come_live_and_named(team: Any) -> None:
    """The driver sees a step while the server waits for leave to make the next one."""
    async with team() as (fleet, fake):
        graph = steps(fake, 4)
        gate = fake.gate("Steps", step=3)
        job = await fleet.submit(graph)
        seen: list[Any] = []
        async for event in job:
            seen.append(event)
            if isinstance(event, Progress) and event.value == 2:
                assert job.status == "running"
                assert job.progress.steps == 4
                assert event.title == "Many steps"
                gate.open()
        assert lives(seen)[:2] == ["Queued", "Started"]
        assert type(seen[-1]) is Completed
        assert [event.node for event in seen if isinstance(event, NodeFinished)] == ["1", "2"]
        assert (await job).texts == ("shown",)
        assert [type(event) for event in seen if isinstance(event, Queued)] == [Queued]


async def test_images_of_the_socket_arrive(team: Any) -> None:
    """What only the socket carries travels with the events."""
    async with team() as (fleet, fake):
        graph = picture(5)
        graph["2"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
        job = await fleet.submit(graph)
        events = [event async for event in job]
        result = await job
        assert [event.delivered for event in events if isinstance(event, Preview)] == [True]
        assert (await result.images[0].read()).startswith(b"\x89PNG")
        assert result.missing == ()


async def test_map_takes_the_least_loaded(team: Any) -> None:
    """All workflows end once; a server that is held up gets no more than its limit."""
    async with team(2, limit=2) as (fleet, slow, quick):
        slow.hold()
        ends = []
        async with fleet.map([picture(color) for color in range(12)]) as finished:
            async for job in finished:
                ends.append((job.index, job.status))
                if len(ends) == 10:
                    await slow.wait_for(lambda books: len(books.accepted) == 2)
                    slow.release()
    assert sorted(ends) == [(index, "completed") for index in range(12)]
    assert len(slow.books.accepted) == 2
    assert len(quick.books.accepted) == 10


async def test_submit_waits_for_a_place(team: Any) -> None:
    """At the limit nothing more is posted until a job has ended."""
    async with team(limit=1) as (fleet, fake):
        fake.hold()
        first = await fleet.submit(picture(1))
        waiting = asyncio.create_task(fleet.submit(picture(2)))
        await asyncio.sleep(0)
        assert len(fake.books.accepted) == 1
        fake.release()
        await first
        await (await waiting)
    assert len(fake.books.accepted) == 2


async def test_a_server_that_lacks_a_node_is_skipped(team: Any) -> None:
    """It is asked once, and not again for that node."""
    async with team(2, limit=None) as (fleet, poor, rich):
        graph = steps(rich, 1)
        for seed in range(4):
            assert (await fleet.run(seeded(graph, seed))).texts == ("shown",)
    assert len(rich.books.runs) == 4
    assert poor.books.count("POST", "/prompt") <= 1
    assert poor.books.accepted == []


async def test_a_server_that_lacks_a_model_is_skipped(team: Any) -> None:
    """For what needs it; other workflows go there."""
    async with team(2, server={"models": {"checkpoints": ["common.safetensors"]}}, limit=None) as (
        fleet,
        poor,
        rich,
    ):
        rich.folders.models["checkpoints"] = ["common.safetensors", "rare.safetensors"]
        for seed in range(4):
            assert (await fleet.run(painted("rare.safetensors", seed))).images
        assert len(rich.books.runs) == 4
        assert poor.books.count("POST", "/prompt") <= 1
        await asyncio.gather(*(fleet.run(painted("common.safetensors", seed)) for seed in range(9, 13)))
    assert poor.books.accepted


async def test_what_nobody_can_run_is_refused(team: Any) -> None:
    """With the server's own problems; likewise what is wrong everywhere is asked only once."""
    async with team(2) as (fleet, first, second):
        with pytest.raises(PromptRejectedError) as caught:
            await fleet.submit({"1": {"class_type": "Nowhere", "inputs": {}}})
        assert caught.value.problems
        wrong = picture(1)
        wrong["1"]["inputs"]["width"] = -5
        before = first.books.count("POST", "/prompt") + second.books.count("POST", "/prompt")
        with pytest.raises(PromptRejectedError):
            await fleet.run(wrong)
        assert first.books.count("POST", "/prompt") + second.books.count("POST", "/prompt") == before + 1


async def test_failures_are_raised_with_their_fields(team: Any) -> None:
    """A node's error crosses the processes; in a map it belongs to its job."""
    async with team() as (fleet, fake):
        graph = steps(fake, 2, error=("ValueError", "bad luck"))
        with pytest.raises(JobFailedError, match="bad luck"):
            await fleet.run(graph)
        wrong = {"1": {"class_type": "Nowhere", "inputs": {}}}
        async with fleet.map([picture(1), wrong, "{"], ordered=True) as finished:
            ends = [job.status async for job in finished]
        assert ends == ["completed", "failed", "failed"]


async def test_cancel_running_and_pending(team: Any) -> None:
    """Only the job that is meant; the end is the true one."""
    async with team(limit=None) as (fleet, fake):
        graph = steps(fake, 5)
        gate = fake.gate("Steps", step=2)
        running = await fleet.submit(seeded(graph, 1))
        await fake.running(running.prompt_id)
        pending = await fleet.submit(seeded(graph, 2))
        third = await fleet.submit(seeded(graph, 3))
        assert await fleet.cancel(pending) == "cancelled"
        cancelling = asyncio.create_task(running.cancel())
        await fake.wait_for(lambda books: books.accepted[0].interrupts)
        gate.open()
        assert await cancelling == "cancelled"
        with pytest.raises(JobCancelledError):
            await running
        assert (await third).texts == ("shown",)
    assert fake.books.ends(pending.prompt_id) == ["deleted"]
    assert fake.books.ends(running.prompt_id) == ["interrupted"]


async def test_a_stream_that_is_left_is_cancelled(team: Any) -> None:
    """Leaving the block early stops the job on its server."""
    async with team() as (fleet, fake):
        graph = steps(fake, 500)
        fake.pace.step_seconds = 0.02
        async with fleet.stream(graph) as job:
            async for event in job:
                if isinstance(event, Progress):
                    break
        assert job.status == "cancelled"
    assert fake.books.ends(job.prompt_id) == ["interrupted"]


async def test_a_submit_that_is_cancelled_leaves_nothing(team: Any) -> None:
    """Waiting for a place, it never reaches a server."""
    async with team(limit=1) as (fleet, fake):
        fake.hold()
        first = await fleet.submit(picture(1))
        waiting = asyncio.create_task(fleet.submit(picture(2)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        fake.release()
        await first
    assert len(fake.books.accepted) == 1


@pytest.mark.parametrize("files", ["bytes", "objects"])
async def test_files_that_come_along(team: Any, files: Any) -> None:
    """With the result, as bytes or in Ray's object store: the server need not live any longer."""
    async with team(files=files) as (fleet, fake):
        result = await fleet.run(picture(9, size=300))
        reference = fleet.object(result.images[0])
        assert isinstance(reference, ray.ObjectRef)
        data = await reference
        await fake.faults.go_down()
        assert data.startswith(b"\x89PNG")
        assert await result.images[0].read() == data


async def test_uploads_go_where_the_job_goes(team: Any, tmp_path: Any) -> None:
    """Pictures among the inputs are sent to the server that runs it, those of the driver's disk too."""
    async with team() as (fleet, fake):
        data = await (await fleet.run(picture(3))).images[0].read()
        graph = picture(3)
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": ""}}
        flow = Workflow.load(graph).with_inputs({"1.image": data})
        assert (await fleet.run(flow)).images
        path = tmp_path / "mine.png"
        path.write_bytes(await (await fleet.run(picture(4))).images[0].read())
        async with fleet.map(
            [flow.with_inputs({"1.image": path})], results=tmp_path / "run.jsonl"
        ) as finished:
            assert [(await job).images[0].kind async for job in finished] == ["image"]
    assert fake.books.uploads[-1].name.startswith("mine-")


async def test_an_open_file_is_read_once(team: Any, tmp_path: Any) -> None:
    """A server that lacks a node does not use it up for the one that has it; as text it is refused."""
    async with team(2, limit=None) as (fleet, poor, rich):
        rich.script("Look", inputs={"image": "IMAGE"}, is_output=True, output={"text": ["seen"]})
        path = tmp_path / "mine.png"
        path.write_bytes(await (await fleet.run(picture(4))).images[0].read())
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": ""}},
            "2": {"class_type": "Look", "inputs": {"image": ["1", 0]}},
        }
        for _ in range(2):
            with path.open("rb") as file:
                flow = Workflow.load(graph).with_inputs({"1.image": file})
                assert (await fleet.run(flow)).texts == ("seen",)
        with path.open("r", errors="replace") as file, pytest.raises(ValueError, match="binary"):
            await fleet.run(Workflow.load(graph).with_inputs({"1.image": file}))
    sent = {upload.size for fake in (poor, rich) for upload in fake.books.uploads}
    assert sent == {path.stat().st_size}


async def test_an_editor_file(team: Any, tmp_path: Any) -> None:
    """It is converted by a worker's server, in a map too; the job says what was submitted."""
    flow = Workflow.load("examples/workflows/sd15_text2image_ui.json")
    async with team() as (fleet, fake):
        job = await fleet.submit(flow)
        assert (await job).images
        assert job.workflow is not None
        assert job.workflow.format == "api"
        async with fleet.map([flow], results=tmp_path / "run.jsonl") as finished:
            assert [job.status async for job in finished] == ["completed"]


async def test_a_link_that_would_stop_the_server_is_not_sent(team: Any) -> None:
    """As by a session: the worker looks at links that lead nowhere before it posts."""
    graph = picture(1)
    graph["2"]["inputs"]["extra"] = ["gone", 0]
    async with team() as (fleet, fake):
        with pytest.raises(WorkflowError, match="nothing was sent"):
            await fleet.submit(graph)
    assert fake.books.count("POST", "/prompt") == 0


async def test_attach_by_ref(team: Any) -> None:
    """A job is picked up by its ref, also one that another fleet has submitted."""
    async with team() as (fleet, fake):
        job = await fleet.submit(picture(2))
        await job
        ref = job.ref
        with pytest.raises(ValueError, match="ref"):
            await fleet.attach({"prompt_id": "x"})
        with pytest.raises(ConnectError, match="gone"):
            await fleet.attach({**ref, "server": "ray:somebody"})
        async with ComfyFleet(workers=fleet.workers) as other:
            again = await other.attach(ref)
            assert (await again).prompt_id == job.prompt_id
            assert await other.cancel(ref) == "completed"
    assert len(fake.books.accepted) == 1


async def test_a_fleet_in_another_process(team: Any) -> None:
    """A pickled fleet is one over the same workers, and does not end them."""
    async with team() as (fleet, fake):
        twin = pickle.loads(pickle.dumps(fleet))
        async with twin:
            assert twin.servers == [fake.url]
            await twin.run(picture(1))
        await fleet.run(picture(2))
        assert twin.workers == fleet.workers
    assert len(fake.books.runs) == 2


async def test_nobody_answers(fakes: Any) -> None:
    """Opening says so; a server that goes later is not waited for by `submit`."""
    (fake,) = await fakes(1)
    with pytest.raises(ConnectError):
        await ComfyFleet("http://127.0.0.1:9").__aenter__()
    async with ComfyFleet(["http://127.0.0.1:9", fake.url]) as fleet:
        await fleet.run(picture(1))
        await fake.faults.go_down()
        with pytest.raises(ConnectError):
            await fleet.submit(picture(2))
        await fake.faults.come_up()


async def test_submits_get_their_turns(team: Any) -> None:
    """Many that wait are served in their order; one that is called off does not hold up the rest."""
    async with team(limit=1) as (fleet, fake):
        fake.hold()
        waiting = [asyncio.create_task(fleet.submit(picture(color))) for color in range(12)]
        await fake.wait_for(lambda books: books.accepted)
        waiting[5].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[5]
        fake.release()
        jobs = [await task for number, task in enumerate(waiting) if number != 5]
        await asyncio.gather(*jobs)
    assert [record.prompt_id for record in fake.books.accepted] == [job.prompt_id for job in jobs]


async def test_a_check_before_the_queue(team: Any) -> None:
    """The worker checks against its server's nodes: nothing is posted."""
    async with team() as (fleet, fake):
        with pytest.raises(PromptRejectedError) as caught:
            await fleet.submit({"1": {"class_type": "SaveImagee", "inputs": {}}}, check=True)
        assert caught.value.problems[0].nearest[0] == "SaveImage"
    assert fake.books.count("POST", "/prompt") == 0


async def test_a_part_of_a_workflow_runs(team: Any) -> None:
    """What the server refused of it comes along, as with a session."""
    graph = two_outputs()
    graph["3"]["inputs"]["images"] = ["77", 0]
    async with team() as (fleet, _):
        with pytest.raises(PartialPromptError):
            await fleet.submit(graph)
        job = await fleet.submit(graph, on_partial="keep")
        assert [problem.node for problem in job.node_errors] == ["3"]
        assert len((await job).images) == 1


async def test_a_socket_that_drops(team: Any) -> None:
    """The job's consumers are told, as with a session; nothing is told twice."""
    async with team() as (fleet, fake):
        graph = steps(fake, 4)
        gate = fake.gate("Steps", step=2)
        job = await fleet.submit(graph)
        seen: list[Any] = []
        async for event in job:
            seen.append(event)
            if isinstance(event, Progress) and event.value == 1:
                fake.faults.drop_sockets()
            if isinstance(event, Reconnected):
                gate.open()
        assert (await job).texts == ("shown",)
    assert {Disconnected, PollingStarted, Reconnected} <= {type(event) for event in seen}
    assert lives(seen)[-3:] == ["NodeStarted 2", "NodeFinished 2", "Completed"]


async def test_an_object_feeds_another_task(team: Any) -> None:
    """A file's bytes go to a task of Ray by reference, whichever way the fleet keeps files."""

    @ray.remote(num_cpus=0)
    def head(data: bytes) -> bytes:
        return data[:4]

    async with team() as (fleet, _):
        image = (await fleet.run(picture(1))).images[0]
        assert await head.remote(fleet.object(image)) == b"\x89PNG"


async def test_in_a_notebook(team: Any) -> None:
    """Opened and closed without a block; a job shows itself, and no key is in what is shown."""
    secret = {"api_key": "s3cret-key", "partner_api_key": "an0ther-key"}
    async with team() as (fleet, fake):
        mine = ComfyFleet(workers=fleet.workers, session=secret)
        assert await mine.connect() is await mine.connect()
        graph = steps(fake, 1, error=("ValueError", "it said s3cret-key and an0ther-key"))
        job = await mine.submit(graph)
        with pytest.raises(JobFailedError):
            await job
        shown = job._repr_html_()
        assert "it said" in shown
        assert "s3cret-key" not in shown
        assert "an0ther-key" not in shown
        await mine.aclose()
        await mine.aclose()
        with pytest.raises(SessionClosedError):
            await mine.connect()
        assert await fleet.run(picture(1))


async def test_a_worker_that_cannot_be_made(cluster: str) -> None:
    """What its constructor or its session raises is told at once, instead of trying for ever."""
    with pytest.raises(TypeError, match="nonsense"):
        await ComfyFleet("http://127.0.0.1:9", session={"nonsense": 1}).connect()
    nowhere = ComfyCommand(argv=["x"], host="no such host")
    with pytest.raises(ConnectError, match="given it up"):
        await ComfyFleet(nowhere, size=1, actor={"num_gpus": 0}).connect()


async def test_arguments_and_states() -> None:
    """What makes no sense is said at once."""
    with pytest.raises(ValueError, match="servers or workers"):
        ComfyFleet()
    with pytest.raises(ValueError, match="limit"):
        ComfyFleet("http://127.0.0.1:9", limit=0)
    with pytest.raises(ValueError, match="files"):
        ComfyFleet("http://127.0.0.1:9", files="nowhere")  # type: ignore[arg-type]
    fleet = ComfyFleet("http://127.0.0.1:9")
    assert repr(fleet) == "<ComfyFleet 0/0 workers, 0 jobs>"
    with pytest.raises(SessionClosedError):
        await fleet.submit(picture(1))
    with pytest.raises(ValueError, match="ComfyCommand"):
        await fleet.grow()
