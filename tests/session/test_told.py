"""Hooks on a session: who is told what of jobs, requests and files, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hook_tools import Book
from session_tools import collect, eventually, fast, graph, library_tasks, lives, picture, steps

from comfy_async import (
    ComfySession,
    Completed,
    ConnectError,
    Job,
    JobCancelledError,
    PartialPromptError,
    Preview,
    Progress,
    PromptRejectedError,
    SessionClosedError,
    Workflow,
    WorkflowFormatError,
)
from comfy_async._base.secrets import Secret
from comfy_async._job.job import core_of
from comfy_async.events import BaseEvent
from comfy_async.testing import FakeComfy

TEXT_TO_IMAGE = Path(__file__).parents[2] / "examples/workflows/sd15_text2image_api.json"


async def test_a_job_from_its_first_event_to_its_end(fake: FakeComfy) -> None:
    """One beginning, every event in order with the same job, one end, at which its fate can be read."""
    book = Book()
    async with fake.session(hooks=[book]) as comfy:
        job = await comfy.submit(picture(), extra_data={"order": 7})
        mine = await collect(job)
    assert book.lives == ["begin", "end"]
    assert book.of("on_begin") == [(job, {"order": 7})]
    assert lives(book.events) == lives(mine)
    assert all(told is job for told, _ in book.of("on_event"))
    assert book.of("on_end") == [(job, "completed", None)]
    assert [call[0] for call in book.calls if call[0] in ("on_begin", "on_event", "on_end")][0] == "on_begin"
    assert book.calls.index(("on_end", job, "completed", None)) > book.calls.index(
        ("on_event", job, mine[-1])
    )


async def test_without_anybody_holding_the_job(fake: FakeComfy) -> None:
    """`run` hands out no job: hooks get one, and the same each time."""
    book = Book()
    async with fake.session(hooks=[book]) as comfy:
        result = await comfy.run(picture())
    jobs = {id(call[0]) for name in ("on_begin", "on_event", "on_end") for call in book.of(name)}
    assert len(jobs) == 1
    assert book.of("on_end")[0][0].prompt_id == result.prompt_id


async def test_hooks_see_what_mailboxes_drop(fake: FakeComfy) -> None:
    """A consumer with room for little misses progress; hooks see all of it, unread."""
    book = Book()
    flow = steps(fake, 50)
    async with fast(fake, hooks=[book], mailbox_events=4) as comfy:
        job = await comfy.submit(flow)
        await job
        seen = [event async for event in job]
    kept, told = ([one for one in found if isinstance(one, Progress)] for found in (seen, book.events))
    assert len(told) == 50 > len(kept)
    # Nobody has asked one of these for anything, so none was parsed.
    assert sum(event._data is not None for event in told) < 5


async def test_hooks_see_previews(fake: FakeComfy) -> None:
    """Pictures of work in progress too, though nobody reads the job."""
    book = Book()
    async with fake.session(hooks=[book]) as comfy:
        await comfy.run(TEXT_TO_IMAGE, previews="auto")
    assert any(isinstance(event, Preview) for event in book.events)


class Changes:
    """Puts another color in, and takes notes."""

    def __init__(self) -> None:
        """Start empty."""
        self.seen: list[tuple[Workflow, dict[str, Any]]] = []

    def before_submit(self, workflow: Workflow, options: dict[str, Any]) -> Workflow:
        """Change workflow and options."""
        self.seen.append((workflow, dict(options)))
        options["extra_data"] = {**(options.get("extra_data") or {}), "by": "hook"}
        return workflow.with_inputs({"1.color": 255})


@pytest.mark.parametrize("way", ["submit", "run", "stream", "map"])
async def test_before_submit_changes_what_is_sent(fake: FakeComfy, way: str) -> None:
    """However it is submitted: once each, the workflow loaded, with the options that came along."""
    changes = Changes()
    async with fake.session(hooks=[changes]) as comfy:
        if way == "submit":
            job = await comfy.submit(picture(), extra_data={"mine": 1})
            await job
        elif way == "run":
            await comfy.run(picture(), extra_data={"mine": 1})
        elif way == "stream":
            async with comfy.stream(picture(), extra_data={"mine": 1}) as job:
                await job
        else:
            async with comfy.map([picture()], extra_data={"mine": 1}) as finished:
                assert [one.status async for one in finished] == ["completed"]
        (record,) = fake.books.accepted
        entry = await comfy.history.get(record.prompt_id)
    assert entry.prompt["1"]["inputs"]["color"] == 255
    assert (record.extra_data["mine"], record.extra_data["by"]) == (1, "hook")
    ((workflow, options),) = changes.seen
    assert isinstance(workflow, Workflow)
    assert workflow.get("1", "color") == 0
    assert options["extra_data"] == {"mine": 1}


class Refuses:
    """Lets nothing through."""

    def __init__(self, error: Exception) -> None:
        """Raise this."""
        self.error = error

    def before_submit(self, workflow: Workflow, options: dict[str, Any]) -> None:
        """Refuse."""
        raise self.error


async def test_what_before_submit_raises_stops_the_submission(fake: FakeComfy) -> None:
    """It says what is to be sent: when it cannot, nothing is, and who submits hears why."""
    book = Book()
    async with fake.session(hooks=[Refuses(PermissionError("not you")), book]) as comfy:
        with pytest.raises(PermissionError, match="not you"):
            await comfy.submit(picture())
    assert fake.books.count("POST", "/prompt") == 0
    assert book.lives == ["submit_failed"]
    assert book.of("on_submit_failed")[0][0] == picture()


async def test_a_refusal_in_a_map(fake: FakeComfy) -> None:
    """One of ours becomes that job's own end; any other ends the map, as an unreadable file does."""
    async with fake.session(hooks=[Refuses(WorkflowFormatError("not this one"))]) as comfy:
        async with comfy.map([picture(), picture(1)]) as finished:
            errors = [job.error async for job in finished]
        assert [type(error) for error in errors] == [WorkflowFormatError] * 2
    async with fake.session(hooks=[Refuses(PermissionError("not you"))]) as comfy:
        async with comfy.map([picture()]) as finished:
            with pytest.raises(PermissionError):
                await anext(finished)


class Nonsense:
    """Returns what is no workflow."""

    def before_submit(self, workflow: Workflow, options: dict[str, Any]) -> Any:
        """Return a number."""
        return 7


async def test_before_submit_returns_a_workflow_or_nothing(comfy: ComfySession, fake: FakeComfy) -> None:
    """Anything else is said to be none, before anything is sent."""
    async with fake.session(hooks=[Nonsense()]) as session:
        with pytest.raises((WorkflowFormatError, TypeError)):
            await session.submit(picture())


async def test_a_refused_workflow_is_no_job(fake: FakeComfy) -> None:
    """The server has never had it: no beginning, no end, but the failure."""
    book = Book()
    bad = picture()
    bad["2"]["class_type"] = "NoSuchNode"
    async with fake.session(hooks=[book]) as comfy:
        with pytest.raises(PromptRejectedError):
            await comfy.submit(bad)
    assert book.lives == ["submit_failed"]
    assert isinstance(book.of("on_submit_failed")[0][1], PromptRejectedError)


async def test_a_refused_workflow_of_a_map_is_a_job_that_failed(fake: FakeComfy) -> None:
    """There somebody gets a job, and so do hooks: with the true error at its end."""
    book = Book()
    bad = picture()
    bad["2"]["class_type"] = "NoSuchNode"
    async with fake.session(hooks=[book]) as comfy, comfy.map([bad, picture()], limit=1) as finished:
        jobs = [job async for job in finished]
    assert book.lives == ["begin", "end", "begin", "end"]
    ends = book.of("on_end")
    assert [(status, type(error)) for _, status, error in ends] == [
        ("failed", PromptRejectedError),
        ("completed", type(None)),
    ]
    assert [job for job, _, _ in ends] == jobs
    assert [job.index for job in jobs] == [0, 1]


async def test_nobody_answers(free_port: int) -> None:
    """A submission that never left is told as what it is."""
    book = Book()
    async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy", hooks=[book]) as comfy:
        with pytest.raises(ConnectError):
            await comfy.submit(picture())
    assert book.lives == ["submit_failed"]
    assert {status for _, _, status, _ in book.of("on_request")} == {None}


async def test_a_part_that_is_refused(fake: FakeComfy) -> None:
    """The job was in the queue and was cancelled: it had a life, and the submission failed."""
    book = Book()
    flow = picture()
    flow["3"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}
    fake.hold()
    async with fake.session(hooks=[book]) as comfy:
        with pytest.raises(PartialPromptError):
            await comfy.submit(flow)
    assert book.lives == ["begin", "end", "submit_failed"]
    assert book.of("on_end")[0][1] == "cancelled"


async def test_a_submission_that_is_cancelled(server: FakeComfy) -> None:
    """What the server runs already is taken back: a job that was cancelled, and a submission that failed."""
    book = Book()
    gate = server.gate("Steps", step=1)
    server.faults.delay("POST", "/prompt", 60, after_effect=True, count=1)
    async with fast(server, hooks=[book]) as comfy:
        submitting = asyncio.ensure_future(comfy.submit(graph()))
        await gate.reached()
        await eventually(lambda: book.events)
        submitting.cancel()
        await server.wait_for(lambda books: books.accepted[0].interrupts)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await submitting
    assert book.lives == ["begin", "end", "submit_failed"]
    assert book.of("on_end")[0][1] == "cancelled"


@pytest.mark.parametrize("fate", ["failed", "cancelled", "lost"])
async def test_every_end_is_told_once(server: FakeComfy, fate: str) -> None:
    """With its status and error."""
    book = Book()
    if fate != "failed":
        server.hold()
    async with fast(server, hooks=[book]) as comfy:
        job = await comfy.submit(graph(last="Break" if fate == "failed" else "Show"))
        if fate == "cancelled":
            await job.cancel()
        elif fate == "lost":
            server.faults.lose_queue()
        await core_of(job).ended.wait()
    assert book.lives == ["begin", "end"]
    (_, status, error) = book.of("on_end")[0]
    assert (status, error) == (fate, job.error)


async def test_a_session_that_is_closed_first(server: FakeComfy) -> None:
    """The job goes on on the server: hooks hear that nobody follows it, and never of an end."""
    book = Book()
    server.hold()
    async with server.session(hooks=[book]) as comfy:
        job = await comfy.submit(graph())
    assert book.lives == ["begin", "left"]
    assert book.of("on_left") == [(job, "pending")]
    with pytest.raises(SessionClosedError):
        await job


async def test_an_attached_job(server: FakeComfy) -> None:
    """Told as one's own, with what was submitted along with it."""
    book = Book()
    server.hold()
    async with server.session() as other, server.session(hooks=[book]) as comfy:
        ref = (await other.submit(graph(), extra_data={"order": 7, "some_api_key": "sk-123"})).ref
        job = await comfy.attach(ref)
        server.release()
        await job
        assert await comfy.attach(ref) is not None
    ((told, extra),) = book.of("on_begin")[:1]
    assert told is job
    assert extra["order"] == 7
    assert isinstance(extra["some_api_key"], Secret)
    assert book.of("on_end")[0][1] == "completed"


async def test_a_batch_that_goes_on_tells_nothing_twice(fake: FakeComfy, tmp_path: Path) -> None:
    """What comes out of a results file has ended long ago: no hook hears of it again."""
    book, path = Book(), tmp_path / "results.jsonl"
    for _ in range(2):
        async with fake.session(hooks=[book]) as comfy, comfy.map([picture()], results=path) as finished:
            assert [job.status async for job in finished] == ["completed"]
    assert book.lives == ["begin", "end"]


async def test_a_batch_that_picks_up_a_job(server: FakeComfy, tmp_path: Path) -> None:
    """What an earlier batch left running is told, as a job of the map."""
    book, path = Book(), tmp_path / "results.jsonl"
    server.hold()
    first = server.session()
    async with first.map([graph()], results=path) as batch:
        await eventually(lambda: batch.jobs)
        await first.aclose()
    async with server.session(hooks=[book]) as comfy, comfy.map([graph()], results=path) as batch:
        await eventually(lambda: batch.jobs)
        server.release()
        jobs = [job async for job in batch]
    assert [(job.index, job.status) for job in jobs] == [(0, "completed")]
    assert book.lives == ["begin", "end"]


async def test_requests_are_told(fake: FakeComfy) -> None:
    """Method, route, status and seconds, of those that fail as well."""
    book = Book()
    async with fake.session(hooks=[book]) as comfy:
        await comfy.run(picture())
        with pytest.raises(Exception, match="has no output"):
            await comfy.files.read("nobody.png")
    told = book.of("on_request")
    assert ("POST", "/prompt", 200) in [call[:3] for call in told]
    assert ("GET", "/view", 404) in [call[:3] for call in told]
    assert all(seconds >= 0 for *_, seconds in told)


async def test_the_server_of_a_request(fake: FakeComfy) -> None:
    """Who takes a fifth argument gets the server; who takes four gets those; an error names the method."""
    servers: list[str] = []

    class Five:
        def on_request(self, method: str, path: str, status: int | None, seconds: float, server: str) -> None:
            servers.append(server)

    class Any5:
        def on_request(self, *facts: object) -> None:
            servers.append(str(facts[4]))

    book = Book()
    async with fake.session(hooks=[Five(), book, Any5()]) as comfy:
        await comfy.queue.snapshot()
    assert set(servers) == {fake.url}
    assert len(servers) == 2 * len(book.of("on_request"))


async def test_files_are_told(fake: FakeComfy, tmp_path: Path) -> None:
    """Up and down, with their sizes: read, streamed and saved."""
    book = Book()
    async with fake.session(hooks=[book]) as comfy:
        face = await comfy.files.upload(b"some bytes", name="face.png")
        await comfy.files.upload(b"some bytes", name="face.png")
        result = await comfy.run(picture())
        (file,) = result.images
        size = len(await file.read())
        await file.save(tmp_path / "one.png")
        assert sum([len(chunk) async for chunk in file.stream()]) == size
    told = [call[:4] for call in book.of("on_transfer")]
    assert told[0] == (fake.url, "upload", face.name_for_input, 10)
    assert told[1:] == [(fake.url, "download", f"{file.filename} [{file.type}]", size)] * 3


async def test_the_connection_is_told_once_for_all_jobs(server: FakeComfy) -> None:
    """Down and up, with the server; looks at the server are told too."""
    book = Book()
    server.hold()
    async with fast(server, hooks=[book]) as comfy:
        jobs = [await comfy.submit(graph(seed)) for seed in range(3)]
        server.faults.drop_sockets()
        await eventually(lambda: len(book.of("on_connection")) == 2)
        server.release()
        for job in jobs:
            await job
    assert [(where, event.type) for where, event in book.of("on_connection")] == [
        (server.url, "disconnected"),
        (server.url, "reconnected"),
    ]
    assert book.of("on_poll")
    assert set(book.of("on_poll")) == {(server.url,)}


class Fails:
    """Raises wherever it is told something."""

    def __getattr__(self, name: str) -> Any:
        """Be a hook with every method that is told."""
        if not name.startswith("on_"):
            raise AttributeError(name)

        def broken(*facts: Any) -> None:
            raise RuntimeError(f"{name} is broken")

        return broken


async def test_a_broken_hook_changes_nothing(
    fake: FakeComfy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Results, events, downloads and the end are what they are without it; each method is named once."""
    async with fake.session(hooks=[Fails()]) as comfy:
        job = await comfy.submit(picture())
        events = await collect(job)
        await (await job).save(tmp_path)
    assert isinstance(events[-1], Completed)
    failures = [record for record in caplog.records if "the hook" in record.getMessage()]
    assert 3 <= len(failures) <= 9


class Stops:
    """Cancels a job at its first progress, as a budget would."""

    def __init__(self) -> None:
        """Have nothing to do yet."""
        self.tasks: list[asyncio.Task[Any]] = []

    def on_event(self, job: Job, event: BaseEvent) -> None:
        """Cancel, in a task of its own."""
        if isinstance(event, Progress) and not self.tasks:
            self.tasks.append(asyncio.create_task(job.cancel()))


async def test_a_hook_may_act_upon_the_job(server: FakeComfy) -> None:
    """What it begins is a task of its own; the reader never waits for it."""
    stops = Stops()
    gate = server.gate("Steps", step=2)
    async with fast(server, hooks=[stops]) as comfy:
        job = await comfy.submit(graph())
        await gate.reached()
        await server.wait_for(lambda books: books.accepted[0].interrupts)
        gate.open()
        with pytest.raises(JobCancelledError):
            await job
        assert await stops.tasks[0] == "cancelled"


class Leaves:
    """Needs a moment at the end."""

    def __init__(self) -> None:
        """Know of nothing."""
        self.done: list[str] = []

    def on_left(self, job: Job) -> None:
        """Note it."""
        self.done.append("left")

    async def before_close(self) -> None:
        """Do what is left, after everything was told."""
        await asyncio.sleep(0)
        self.done.append("closed")


async def test_closing_waits_for_a_hook(server: FakeComfy) -> None:
    """Once, after the last thing that it is told."""
    leaves = Leaves()
    server.hold()
    async with server.session(hooks=[leaves]) as comfy:
        await comfy.submit(graph())
    await comfy.aclose()
    assert leaves.done == ["left", "closed"]
    assert not library_tasks()


async def test_no_hook_no_trace(comfy: ComfySession) -> None:
    """A job without hooks has nothing of them: one look at an empty place for each event."""
    job = await comfy.submit(picture())
    assert not core_of(job).is_told
    await job
