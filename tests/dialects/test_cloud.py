"""Comfy Cloud's dialect: the same verbs, other words underneath."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from session_tools import picture, steps

from comfy_async import (
    AuthError,
    Cancelled,
    ComfySession,
    Completed,
    ConnectError,
    Failed,
    InsufficientCreditsError,
    JobFailedError,
    JobLostError,
    NodeFinished,
    PartialPromptError,
    PromptRejectedError,
    RateLimitError,
    Started,
    SubmitUnknownError,
    UploadTooLargeError,
)
from comfy_async._client.session import engine_of
from comfy_async._dialects.dialect import UnreadableError
from comfy_async._protocol.snapshot import history_events
from comfy_async.testing import FakeComfy


@pytest.fixture
async def fake() -> AsyncIterator[FakeComfy]:
    """A stand-in for the cloud."""
    async with FakeComfy(mode="cloud") as server:
        yield server


async def enter(session: ComfySession) -> None:
    """Open a session and close it."""
    async with session:
        pass


async def kinds(job: Any) -> list[type]:
    """The events of a job, by class."""
    return [type(event) async for event in job]


def test_base_url_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cloud's address makes a session speak API v2; the key comes from the environment."""
    monkeypatch.setenv("COMFY_CLOUD_API_KEY", " comfyui-k3y ")
    v1 = ComfySession.cloud(dialect="cloud-v1")
    for session in (ComfySession("https://cloud.comfy.org"), ComfySession.cloud(), v1):
        assert session.server.cloud
        assert session.base_url == "https://cloud.comfy.org"
        is_v1 = session is v1
        assert session.server.dialect == ("cloud-v1" if is_v1 else "api-v2")
        expected = {"X-API-Key": "comfyui-k3y"} if is_v1 else {"Authorization": "Bearer comfyui-k3y"}
        assert engine_of(session).http.auth.headers == expected
        assert "k3y" not in repr(session)
    assert not ComfySession("http://127.0.0.1:1").server.cloud
    assert engine_of(ComfySession("http://127.0.0.1:1")).http.auth.is_empty


def test_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the session says so before anything is sent."""
    monkeypatch.delenv("COMFY_CLOUD_API_KEY", raising=False)
    monkeypatch.delenv("COMFY_API_KEY", raising=False)
    with pytest.raises(ValueError, match="COMFY_CLOUD_API_KEY"):
        ComfySession.cloud()


async def test_wrong_key_is_told_at_connect(fake: FakeComfy) -> None:
    """A wrong key fails when the session is entered, not at the first job."""
    with pytest.raises(AuthError, match="401"):
        async with ComfySession.cloud("comfyui-wrong", base_url=fake.url):
            pass


async def test_run_and_download(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """A run works as everywhere, and its files are fetched without the key from where they are."""
    job = await comfy.submit(picture())
    seen = await kinds(job)
    assert Started in seen
    assert seen[-1] is Completed
    result = await job
    (path,) = await result.save(tmp_path)
    assert path.stat().st_size > 0
    assert fake.storage is not None
    assert fake.storage.requests
    assert fake.storage.leaks == []


async def test_server_chooses_the_id(fake: FakeComfy, comfy: ComfySession) -> None:
    """The job goes by the id that the cloud gave it, and nothing that came early is missed."""
    jobs = await asyncio.gather(*(comfy.submit(picture(n)) for n in range(5)))
    assert {job.prompt_id for job in jobs} == {record.prompt_id for record in fake.books.accepted}
    for job in jobs:
        assert len((await job).images) == 1
        assert (await kinds(job)).count(NodeFinished) >= 1


async def test_other_jobs_of_the_account(fake: FakeComfy, comfy: ComfySession) -> None:
    """Every socket of the account hears everything; each job takes only its own."""
    async with fake.session() as other:
        mine, theirs = await asyncio.gather(comfy.submit(picture(1)), other.submit(picture(2)))
        for job in (mine, theirs):
            async for event in job:
                assert event.prompt_id == job.prompt_id
    assert (await mine).prompt_id != (await theirs).prompt_id


@pytest.mark.parametrize("transport", ["auto", "poll"])
async def test_by_polling(fake: FakeComfy, transport: Any) -> None:
    """Without a socket, or when it drops, the end is found in the list of jobs."""
    async with fake.session(transport=transport) as comfy:
        with fake.gate("Steps") as gate:
            job = await comfy.submit(steps(fake))
            await gate.reached()
            if transport == "auto":
                fake.faults.refuse_upgrades(403)
                fake.faults.drop_sockets("reset")
        await job
        assert job.status == "completed"


async def test_failure_by_polling(fake: FakeComfy) -> None:
    """A failed job tells node and message although no event came."""
    fake.script("Bad", is_output=True, error=("ValueError", "seven is too many"))
    async with fake.session(transport="poll") as comfy:
        job = await comfy.submit({"7": {"class_type": "Bad", "inputs": {}}})
        with pytest.raises(JobFailedError, match="seven is too many") as caught:
            await job
        assert (caught.value.node, caught.value.exception_type) == ("7", "ValueError")


@pytest.mark.parametrize("running", [True, False])
async def test_cancel(fake: FakeComfy, comfy: ComfySession, running: bool) -> None:
    """Waiting and running jobs are cancelled, and their true end is waited for."""
    if not running:
        fake.hold()
    gate = fake.gate("Steps")
    job = await comfy.submit(steps(fake))
    if running:
        await gate.reached()
    cancelled = asyncio.create_task(job.cancel())
    await fake.wait_for(lambda books: any("cancel" in path for _, path in books.requests))
    gate.open()
    assert await cancelled == "cancelled"
    fake.release()


async def test_many_are_cancelled_at_once(fake: FakeComfy, comfy: ComfySession) -> None:
    """Many go in one request; an unknown id among them spoils it, and then each is asked for."""
    fake.hold()
    jobs = [await comfy.submit(picture(seed)) for seed in range(4)]
    ids = [job.prompt_id for job in jobs]
    unknown = "00000000-0000-4000-8000-000000000000"
    cancel = comfy.jobs.cancel
    assert await cancel(*ids[:2])
    assert await cancel(unknown, *ids[2:])
    assert not await cancel(unknown, unknown)
    assert not await cancel()
    sent = [path for method, path in fake.books.requests.elements() if path.endswith("cancel")]
    assert len(sent) == 1 + (1 + 3) + (1 + 2)
    for job in jobs:
        await kinds(job)
        assert job.status == "cancelled"


async def test_attach(fake: FakeComfy, comfy: ComfySession) -> None:
    """A job of another session is picked up, open or finished; an unknown one is lost."""
    with fake.gate("Steps") as gate:
        job = await comfy.submit(steps(fake))
        await gate.reached()
        async with fake.session() as other:
            followed = await other.attach(job.ref)
            gate.open()
            await followed
            assert (await (await other.attach(job.prompt_id))).outputs == (await job).outputs
            with pytest.raises(JobLostError):
                await (await other.attach("00000000-0000-4000-8000-000000000000"))


async def test_many_waiting_jobs_are_listed_by_cursor(fake: FakeComfy, comfy: ComfySession) -> None:
    """The list of jobs is read to its last page."""
    from comfy_async._dialects import cloud_v1 as _api_cloud

    fake.hold()
    jobs = [await comfy.submit(picture(n)) for n in range(7)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_api_cloud, "_PAGE", 3)
        snapshot = await engine_of(comfy).api.snapshot()
    assert set(snapshot.entries) == {job.prompt_id for job in jobs}
    fake.release()


async def test_list_without_a_cursor_proves_nothing(fake: FakeComfy, comfy: ComfySession) -> None:
    """A list that goes on but does not say where is refused rather than taken for whole."""
    body = {"jobs": [], "pagination": {"has_more": True}}
    fake.faults.fail("GET", "/api/jobs", 200, json=body, count=1)
    with pytest.raises(UnreadableError, match="not whole"):
        await engine_of(comfy).api.snapshot()


# What the cloud refuses.


def body(kind: str, **more: Any) -> dict[str, Any]:
    """An error in the words of POST /api/prompt."""
    return {"error": {"type": kind, "message": f"because of {kind}", **more}, "node_errors": {}}


@pytest.mark.parametrize(
    ("status", "answer", "error", "retryable"),
    [
        (402, body("INSUFFICIENT_CREDITS"), InsufficientCreditsError, False),
        (403, body("PARTNER_NODE_DISABLED", class_types=["X"], providers=["y"]), AuthError, False),
        (413, body("WORKFLOW_TOO_LARGE"), UploadTooLargeError, False),
        (429, body("PAYMENT_REQUIRED"), InsufficientCreditsError, False),
        (429, body("FREE_TIER_EXHAUSTED"), InsufficientCreditsError, False),
        (429, body("QUEUE_LIMIT"), RateLimitError, True),
        (400, body("prompt_no_outputs"), PromptRejectedError, False),
        (400, {"code": "INVALID_REQUEST", "message": "because of nothing"}, PromptRejectedError, False),
    ],
)
async def test_refusals(
    fake: FakeComfy,
    comfy: ComfySession,
    status: int,
    answer: dict[str, Any],
    error: type[Exception],
    retryable: bool,
) -> None:
    """Each refusal is its own error with the cloud's words, and the prompt is posted once."""
    fake.faults.fail("POST", "/prompt", status, json=answer)
    with pytest.raises(error, match="because of") as caught:
        await comfy.submit(picture())
    assert caught.value.retryable is retryable  # type: ignore[attr-defined]
    assert fake.books.count("POST", "/prompt") == 1


@pytest.mark.parametrize("as_date", [True, False])
async def test_retry_after(fake: FakeComfy, comfy: ComfySession, as_date: bool) -> None:
    """The pause that the cloud asks for is told, as seconds or as a date."""
    moment = datetime.now(UTC) + timedelta(seconds=60)
    headers = {"Retry-After": format_datetime(moment, usegmt=True) if as_date else "60"}
    fake.faults.fail("POST", "/prompt", 429, json=body("QUEUE_LIMIT"), headers=headers)
    with pytest.raises(RateLimitError) as caught:
        await comfy.submit(picture())
    assert caught.value.retry_after == pytest.approx(60, abs=5)


async def test_partial_rejection(fake: FakeComfy, comfy: ComfySession) -> None:
    """A 200 with node_errors is a refusal here too, and nothing of it goes on running."""
    graph = {**picture(), "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}
    with pytest.raises(PartialPromptError):
        await comfy.submit(graph)
    await fake.idle()


async def test_error_in_a_200(fake: FakeComfy, comfy: ComfySession) -> None:
    """The documentation's examples look for `error` in a 200 too."""
    fake.faults.fail("POST", "/prompt", 200, json=body("prompt_no_outputs"))
    with pytest.raises(PromptRejectedError):
        await comfy.submit(picture())


async def test_unknown_outcome(fake: FakeComfy, comfy: ComfySession) -> None:
    """The cloud cannot be asked for an id that only it knows: nothing is posted twice."""
    fake.faults.fail("POST", "/prompt", "reset", after_effect=True)
    with pytest.raises(SubmitUnknownError):
        await comfy.submit(picture())
    assert len(fake.books.accepted) == 1


async def test_upload_into_the_cloud(fake: FakeComfy, comfy: ComfySession) -> None:
    """The cloud names files by their content; its name is the one that is used."""
    file = await comfy.files.upload(b"some bytes", name="mine.bin", subfolder="x")
    assert file.name != "mine.bin"
    assert await comfy.files.read(file.name, type="input") == b"some bytes"


async def test_history_of_the_cloud(fake: FakeComfy, comfy: ComfySession) -> None:
    """`history` reads the cloud's own route."""
    result = await comfy.run(picture())
    await fake.idle()
    assert (await comfy.history.get(result.prompt_id)).outputs == result.outputs
    assert [len(page) async for page in comfy.history.page()] == [1]


async def test_nobody_there() -> None:
    """A wrong address is a ConnectError as everywhere."""
    with pytest.raises(ConnectError):
        await enter(ComfySession.cloud("key", base_url="http://127.0.0.1:9"))


# The cloud's own account of a job, where it tells less than a local history.

TOLD = [["execution_error", {"exception_message": "m"}]]
ID = "9e721e8c-948f-48d8-a684-409836d205e3"


@pytest.mark.parametrize(
    ("status", "more", "end", "words"),
    [
        ("completed", {}, Completed, ""),
        ("cancelled", {}, Cancelled, ""),
        ("failed", {"execution_error": {"node_id": "3", "exception_message": "no"}}, Failed, "no"),
        ("failed", {"execution_error": "out of luck"}, Failed, "out of luck"),
        ("failed", {"execution_status": {"messages": TOLD}}, Failed, "m"),
        ("failed", {"execution_status": {"messages": "none"}, "workflow": "x", "outputs": 3}, Failed, ""),
    ],
)
async def test_ends_by_the_jobs_api(
    fake: FakeComfy, comfy: ComfySession, status: str, more: dict[str, Any], end: type, words: str
) -> None:
    """Whatever the cloud leaves out, a job that it calls ended has exactly one end."""
    told = {"id": ID, "status": status, "execution_start_time": 1, "execution_end_time": 2, **more}
    fake.faults.fail("GET", "/api/jobs/*", 200, json=told)
    entry = await engine_of(comfy).api.history(ID)
    assert entry is not None
    events = history_events(entry, 0.0)
    assert type(events[-1]) is end
    assert type(events[0]) is Started or "messages" in more.get("execution_status", {})
    if isinstance(events[-1], Failed):
        assert events[-1].exception_message == words


@pytest.mark.parametrize("told", [{"id": "another", "status": "failed"}, {"status": "failed"}, []])
async def test_another_job_proves_nothing(fake: FakeComfy, comfy: ComfySession, told: Any) -> None:
    """An answer about something else is no end, and no absence."""
    fake.faults.fail("GET", "/api/jobs/*", 200, json=told)
    with pytest.raises(UnreadableError):
        await engine_of(comfy).api.history(ID)


@pytest.mark.parametrize("status", ["pending", "in_progress", "something new"])
async def test_open_jobs_have_no_history(fake: FakeComfy, comfy: ComfySession, status: str) -> None:
    """A job that has not ended is in no history, whatever its state is called."""
    fake.faults.fail("GET", "/api/jobs/*", 200, json={"id": ID, "status": status})
    assert await engine_of(comfy).api.history(ID) is None
