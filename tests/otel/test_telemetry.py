"""Traces of jobs: the tree of each kind, its parents across tasks and processes, and what is not in it."""

from __future__ import annotations

import asyncio
import json
import pickle
import uuid
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode
from pool_tools import fakes, pool_of
from session_tools import eventually, fast, graph, picture
from span_tools import Traces

from comfy_async import (
    ComfyError,
    ComfySession,
    JobFailedError,
    JobLostError,
    PromptRejectedError,
    Workflow,
)
from comfy_async._client.session import engine_of
from comfy_async._job.core import JobCore
from comfy_async._job.hooks import introduce
from comfy_async._protocol.plan import Plan
from comfy_async._protocol.reducer import JobState
from comfy_async._session.options import SubmitOptions
from comfy_async.events import Completed, NodeFinished, NodeStarted, ProgressState, Queued, Started
from comfy_async.otel import Telemetry
from comfy_async.otel import _names as names
from comfy_async.testing import FakeComfy

PROMPT = "a secret unicorn in the rain"
KEY = "sk-partner-0123456789abcdef"


@pytest.fixture
def traces() -> Traces:
    """A telemetry in memory."""
    return Traces()


def attributes(span: Any) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})


async def test_a_job_from_submit_to_download(fake: FakeComfy, traces: Traces, tmp_path: Path) -> None:
    """One trace below the caller's span: upload, queue, nodes in order, download."""
    flow = with_upload(tmp_path)
    async with fake.session(hooks=[traces.telemetry]) as comfy:
        with traces.tracer().start_as_current_span("request"):
            result = await comfy.run(flow)
            await result.save(tmp_path / "out")
    assert traces.tree() == [
        "request",
        "  comfyui.job",
        "    comfyui.upload",
        "    comfyui.queue",
        "    comfyui.node LoadImage",
        "    comfyui.node SaveImage",
        "    comfyui.download",
    ]
    (job,) = traces.named("comfyui.job")
    assert job.kind is SpanKind.CLIENT
    assert attributes(job) == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "comfyui",
        "server.address": "127.0.0.1",
        "server.port": fake.port,
        "comfyui.prompt.id": result.prompt_id,
        "comfyui.job.status": "completed",
        "comfyui.job.cached_nodes": 0,
    }
    (node,) = traces.named("comfyui.node SaveImage")
    assert attributes(node) == {
        "comfyui.node.id": "2",
        "comfyui.node.class": "SaveImage",
        "comfyui.node.title": "Keep it",
    }
    (upload,), (download,) = traces.named("comfyui.upload"), traces.named("comfyui.download")
    assert attributes(upload)["network.io.direction"] == "transmit"
    assert attributes(download)["network.io.direction"] == "receive"
    assert attributes(download)["comfyui.file.size"] == (tmp_path / "out/pic_00001_.png").stat().st_size
    assert all(span.status.status_code is StatusCode.UNSET for span in traces.spans)


def with_upload(folder: Path) -> Workflow:
    """Return a workflow that has a picture uploaded."""
    path = folder / "face.png"
    PIL.Image.new("RGB", (8, 8), "red").save(path)
    return Workflow.load(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
            "2": {
                "class_type": "SaveImage",
                "inputs": {"images": ["1", 0], "filename_prefix": "pic"},
                "_meta": {"title": "Keep it"},
            },
        }
    ).with_inputs({"1.image": path})


async def test_spans_lie_within_each_other(server: FakeComfy, traces: Traces) -> None:
    """Children begin after and end before their job; the nodes follow the queue."""
    async with server.session(hooks=[traces.telemetry]) as comfy:
        await comfy.run(graph())
    (job,) = traces.named("comfyui.job")
    (queue,) = traces.named("comfyui.queue")
    nodes = [span for span in traces.spans if span.name.startswith("comfyui.node")]
    times = [(span.start_time or 0, span.end_time or 0) for span in (queue, *nodes)]
    assert (job.start_time or 0) <= times[0][0]
    assert all(begun <= over for begun, over in times)
    assert all(begun >= times[0][1] for begun, _ in times[1:])
    assert max(over for _, over in times) <= (job.end_time or 0)


async def test_a_cached_job(fake: FakeComfy, traces: Traces) -> None:
    """What the server had already did not run: no span of a node, but their number."""
    async with fake.session(hooks=[traces.telemetry]) as comfy:
        await comfy.run(picture())
        await comfy.run(picture())
    assert traces.tree() == [
        "comfyui.job",
        "  comfyui.queue",
        "  comfyui.node EmptyImage",
        "  comfyui.node SaveImage",
        "comfyui.job",
        "  comfyui.queue",
    ]
    assert [attributes(job)["comfyui.job.cached_nodes"] for job in traces.named("comfyui.job")] == [0, 2]


async def test_a_failed_job(server: FakeComfy, traces: Traces) -> None:
    """Job and node say so, by the names of the errors: not by their words, which may hold prompts."""
    async with server.session(hooks=[traces.telemetry]) as comfy:
        with pytest.raises(JobFailedError):
            await comfy.run(graph(last="Break"))
    (job,), (node,) = traces.named("comfyui.job"), traces.named("comfyui.node Break")
    for span in (job, node):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == attributes(span)["error.type"] == "JobFailedError"
    assert attributes(job)["comfyui.error.type"] == "RuntimeError"
    assert attributes(job)["comfyui.job.status"] == "failed"
    (other,) = traces.named("comfyui.node Steps")
    assert other.status.status_code is StatusCode.UNSET


async def test_a_cancelled_job(server: FakeComfy, traces: Traces) -> None:
    """Somebody wanted it so: no error. One that waited has no nodes."""
    server.hold()
    async with fast(server, hooks=[traces.telemetry]) as comfy:
        job = await comfy.submit(graph())
        await job.cancel()
    assert traces.tree() == ["comfyui.job", "  comfyui.queue"]
    (span,) = traces.named("comfyui.job")
    assert attributes(span)["comfyui.job.status"] == "cancelled"
    assert span.status.status_code is StatusCode.UNSET


async def test_a_job_that_is_cancelled_while_it_runs(server: FakeComfy, traces: Traces) -> None:
    """The node that ran ends with it."""
    gate = server.gate("Steps", step=2)
    async with fast(server, hooks=[traces.telemetry]) as comfy:
        job = await comfy.submit(graph())
        await gate.reached()
        cancelling = asyncio.ensure_future(job.cancel())
        await server.wait_for(lambda books: books.accepted[0].interrupts)
        gate.open()
        assert await cancelling == "cancelled"
    assert traces.tree() == ["comfyui.job", "  comfyui.queue", "  comfyui.node Steps"]


async def test_a_lost_job(server: FakeComfy, traces: Traces) -> None:
    """An error: the server has forgotten it."""
    server.hold()
    async with fast(server, hooks=[traces.telemetry]) as comfy:
        job = await comfy.submit(graph())
        server.faults.lose_queue()
        with pytest.raises(JobLostError):
            await job
    (span,) = traces.named("comfyui.job")
    assert attributes(span)["comfyui.job.status"] == "lost"
    assert attributes(span)["error.type"] == "JobLostError"
    assert span.status.status_code is StatusCode.ERROR


async def test_a_refused_submission(server: FakeComfy, traces: Traces) -> None:
    """A span of its own, ended with the error, and nothing below it."""
    bad = graph()
    bad["2"]["class_type"] = "NoSuchNode"
    async with server.session(hooks=[traces.telemetry]) as comfy:
        with pytest.raises(PromptRejectedError):
            await comfy.submit(bad)
        await comfy.run(graph())
    assert traces.tree() == [
        "comfyui.job",
        "comfyui.job",
        "  comfyui.queue",
        "  comfyui.node Steps",
        "  comfyui.node Show",
    ]
    refused, ran = traces.named("comfyui.job")
    assert attributes(refused)["error.type"] == "PromptRejectedError"
    assert "error.type" not in attributes(ran)


async def test_a_session_that_is_closed_first(server: FakeComfy, traces: Traces) -> None:
    """The spans end, and say that the job did not."""
    server.hold()
    async with server.session(hooks=[traces.telemetry]) as comfy:
        await comfy.submit(graph())
    (span,) = traces.named("comfyui.job")
    assert attributes(span)["comfyui.job.status"] == "pending"
    assert [event.name for event in span.events] == ["comfyui.job.left"]
    assert len(traces.named("comfyui.queue")) == 1


async def test_a_job_that_goes_on_elsewhere(traces: Traces) -> None:
    """One span over both servers: the first one's parts have ended, and it says what happened between."""
    async with fakes() as servers, pool_of(servers, hooks=[traces.telemetry]) as pool:
        gates = [fake.gate("Steps", step=1) for fake in servers]
        with traces.tracer().start_as_current_span("request"):
            job = await pool.submit(graph(1))
        here = next(fake for fake in servers if fake.url == job.ref["server"])
        there = next(fake for fake in servers if fake is not here)
        await gates[servers.index(here)].reached()
        gates[servers.index(there)].open()
        await here.faults.go_down()
        await job
        await here.faults.come_up()
        gates[servers.index(here)].open()
    assert traces.tree() == [
        "request",
        "  comfyui.job",
        "    comfyui.queue",
        "    comfyui.node Steps",
        "    comfyui.queue",
        "    comfyui.node Steps",
        "    comfyui.node Show",
    ]
    (span,) = traces.named("comfyui.job")
    assert attributes(span)["server.port"] == there.port
    told = [event.name for event in span.events]
    assert "comfyui.disconnected" in told
    assert "comfyui.reconnected" in told


async def test_a_map(server: FakeComfy, traces: Traces) -> None:
    """Each job by itself below the span around the block, the refused one too, with its place."""
    bad = graph()
    bad["2"]["class_type"] = "NoSuchNode"
    async with server.session(hooks=[traces.telemetry]) as comfy:
        with traces.tracer().start_as_current_span("batch"):
            async with comfy.map([graph(1), bad, graph(3)], limit=2) as finished:
                assert len([job async for job in finished]) == 3
    (batch,) = traces.named("batch")
    jobs = traces.named("comfyui.job")
    assert all(job.parent and batch.context and job.parent.span_id == batch.context.span_id for job in jobs)
    found = {attributes(job)["comfyui.job.index"]: attributes(job)["comfyui.job.status"] for job in jobs}
    assert found == {0: "completed", 1: "failed", 2: "completed"}
    assert attributes(next(j for j in jobs if attributes(j)["comfyui.job.index"] == 1))["error.type"] == (
        "PromptRejectedError"
    )


async def test_nodes_that_run_at_once(fake: FakeComfy, traces: Traces) -> None:
    """A span for each, which overlap, as newer servers tell it: by `progress_state`."""
    flow = {str(number): {"class_type": "Api", "inputs": {}} for number in (1, 2)}
    async with fake.session(hooks=[traces.telemetry]) as comfy:
        engine = engine_of(comfy)
        job = JobCore(engine, JobState("1", Plan(flow)))
        introduce(job, engine.hooks)
        states = {"1": {"state": "running"}, "2": {"state": "running"}}
        for kind, data in (
            (Queued, {}),
            (Started, {}),
            (ProgressState, {"nodes": states}),
            (NodeStarted, {"node": "1"}),
            (NodeStarted, {"node": "2"}),
            (NodeFinished, {"node": "1", "output": {}}),
            (NodeFinished, {"node": "2", "output": {}}),
            (Completed, {}),
        ):
            job.take(kind(None, data, "1", received_at=1.0))
    one, two = traces.named("comfyui.node Api")
    assert (two.start_time or 0) <= (one.end_time or 0) <= (two.end_time or 0)


async def test_another_process_goes_on_in_the_same_trace(server: FakeComfy, traces: Traces) -> None:
    """The trace context lies with the prompt on the server: whoever attaches finds it."""
    elsewhere = Traces()
    server.hold()
    async with server.session(hooks=[traces.telemetry]) as comfy:
        job = await comfy.submit(graph(), extra_data={"mine": 1})
        async with server.session(hooks=[elsewhere.telemetry]) as other:
            attached = await other.attach(job.prompt_id)
            server.release()
            await attached
        await job
    (mine,), (theirs,) = traces.named("comfyui.job"), elsewhere.named("comfyui.job")
    assert mine.context
    assert theirs.context
    assert theirs.parent
    assert theirs.context.trace_id == mine.context.trace_id
    assert theirs.parent.span_id == mine.context.span_id
    carrier = server.books.accepted[0].extra_data["comfy_async_trace"]
    assert carrier["traceparent"].split("-")[1] == f"{mine.context.trace_id:032x}"
    assert server.books.accepted[0].extra_data["mine"] == 1


async def test_a_worker_goes_on_in_the_same_trace(fake: FakeComfy, traces: Traces) -> None:
    """What a fleet's driver sends along is the parent in the worker's process."""
    pytest.importorskip("ray")
    from comfy_async.ray import ComfyWorker

    driver: dict[str, Any] = {}
    traces.telemetry.before_submit(Workflow(), driver)
    elsewhere = Traces()
    worker = ComfyWorker(fake.url, session={"hooks": [elsewhere.telemetry]})
    options = SubmitOptions(extra_data=driver["extra_data"])
    async for _ in worker.post(str(uuid.uuid4()), Workflow.load(picture(1)), options):
        pass
    await worker.stop()
    traces.telemetry.on_submit_failed(None, RuntimeError())
    (mine,), (theirs,) = traces.named("comfyui.job"), elsewhere.named("comfyui.job")
    assert theirs.parent
    assert mine.context
    assert theirs.parent.span_id == mine.context.span_id


async def test_the_context_can_stay_at_home(server: FakeComfy) -> None:
    """`propagate=False` sends nothing along."""
    traces = Traces(propagate=False)
    async with server.session(hooks=[traces.telemetry]) as comfy:
        await comfy.run(graph())
    assert "comfy_async_trace" not in server.books.accepted[0].extra_data
    assert len(traces.named("comfyui.job")) == 1


async def test_a_batch_that_goes_on_links_to_the_first(
    server: FakeComfy, traces: Traces, tmp_path: Path
) -> None:
    """The job that is picked up is of an earlier trace: a link leads there."""
    path, later = tmp_path / "results.jsonl", Traces()
    server.hold()
    first = server.session(hooks=[traces.telemetry])
    async with first.map([graph()], results=path) as batch:
        await eventually(lambda: batch.jobs)
        await first.aclose()
    async with server.session(hooks=[later.telemetry]) as comfy, comfy.map([graph()], results=path) as batch:
        await eventually(lambda: batch.jobs)
        server.release()
        assert [job.status async for job in batch] == ["completed"]
    (old,), (new,) = traces.named("comfyui.job"), later.named("comfyui.job")
    assert old.context
    assert [link.context.span_id for link in new.links] == [old.context.span_id]


def every_text(traces: Traces) -> str:
    """Return all that was told, in one text."""
    told = [json.loads(span.to_json()) for span in traces.spans]
    return json.dumps(told) + json.dumps(traces.numbers(), default=str)


async def secretive(fake: FakeComfy, traces: Traces, folder: Path) -> None:
    """Run jobs that hold a prompt, a key, a file's name and an error that repeats the prompt."""
    flow = Workflow.load(picture()).with_inputs({"2.filename_prefix": "unicorn"})
    fake.script(
        "Tell", inputs={"text": "STRING", "api_key": "STRING"}, is_output=True, output={"text": [PROMPT]}
    )
    fake.script(
        "Fail", inputs={"text": "STRING"}, is_output=True, error=("ValueError", f"cannot read {PROMPT!r}")
    )
    async with fake.session(
        hooks=[traces.telemetry], partner_api_key=KEY, api_key="sk-gate-0123456789abcdef"
    ) as comfy:
        await (await comfy.run(flow)).save(folder)
        await comfy.files.upload(b"unicorn", name="unicorn.png")
        told = {"1": {"class_type": "Tell", "inputs": {"text": PROMPT, "api_key": KEY}}}
        await comfy.run(told, extra_data={"some_token": KEY})
        with pytest.raises(JobFailedError):
            await comfy.run({"1": {"class_type": "Fail", "inputs": {"text": PROMPT}}})
        with pytest.raises(PromptRejectedError):
            await comfy.run({"1": {"class_type": "Nobody", "inputs": {"text": PROMPT}}})


async def test_no_prompt_and_no_key_is_told(fake: FakeComfy, traces: Traces, tmp_path: Path) -> None:
    """Neither in attributes, nor in events, statuses or numbers; file names may hold prompts too."""
    await secretive(fake, traces, tmp_path)
    text = every_text(traces)
    assert "comfyui.node Tell" in text
    for secret in ("unicorn", KEY, "sk-gate"):
        assert secret not in text


async def test_content_when_asked_for(fake: FakeComfy, tmp_path: Path) -> None:
    """Then prompts and the words of errors are told; keys never are."""
    traces = Traces(content=True)
    await secretive(fake, traces, tmp_path)
    text = every_text(traces)
    assert PROMPT in text
    assert "cannot read" in text
    assert KEY not in text
    assert "sk-gate" not in text


async def test_labels_that_are_asked_for() -> None:
    """Only those become attributes."""
    traces = Traces(labels=("user",))

    class Labelled:
        prompt_id, status, index, error, workflow = "1", "completed", None, None, None
        labels = {"user": "7", "mail": "me@example.org"}
        ref = {"server": "http://127.0.0.1:8188"}

    job: Any = Labelled()
    traces.telemetry.on_begin(job, {})
    traces.telemetry.on_end(job)
    (span,) = traces.named("comfyui.job")
    assert attributes(span)["comfyui.job.label.user"] == "7"
    assert "me@example.org" not in every_text(traces)


async def test_the_numbers(server: FakeComfy, traces: Traces, tmp_path: Path) -> None:
    """Jobs by end, times, bytes, reconnects, polls and requests, with the server that they are about."""
    async with fast(server, hooks=[traces.telemetry]) as comfy:
        result = await comfy.run(picture())
        paths = await result.save(tmp_path)
        with pytest.raises(JobFailedError):
            await comfy.run(graph(last="Break"))
        server.hold()
        job = await comfy.submit(graph(7))
        server.faults.drop_sockets()
        await eventually(lambda: "comfyui.client.reconnects" in traces.numbers())
        server.release()
        await job
        numbers = traces.numbers()
    where = {"server.address": "127.0.0.1", "server.port": server.port}
    assert numbers["comfyui.client.jobs"] == [
        ({**where, "comfyui.job.status": "completed"}, 2),
        ({**where, "comfyui.job.status": "failed", "error.type": "JobFailedError"}, 1),
    ]
    assert sum(count for _, count in numbers["comfyui.client.job.duration"]) == 3
    assert numbers["comfyui.client.queue.duration"] == [(where, 3)]
    assert numbers["comfyui.client.run.duration"] == [(where, 3)]
    assert numbers["comfyui.client.io"] == [
        ({**where, "network.io.direction": "receive"}, paths[0].stat().st_size)
    ]
    assert numbers["comfyui.client.reconnects"] == [(where, 1)]
    assert numbers["comfyui.client.polls"][0][1] >= 1
    routes = {
        (each["http.request.method"], each["url.template"])
        for each, _ in numbers["comfyui.client.request.duration"]
    }
    assert {("POST", "/prompt"), ("GET", "/view"), ("GET", "/system_stats")} <= routes
    assert not [route for _, route in routes if job.prompt_id in route]
    for each, _ in numbers["comfyui.client.request.duration"]:
        assert where.items() <= each.items()


async def test_routes_without_bound(fake: FakeComfy, traces: Traces) -> None:
    """Paths and methods that a program makes up are one value each; known ones keep their template."""
    async with fake.session(hooks=[traces.telemetry]) as comfy:
        for n in range(5):
            await comfy.request("GET", f"/my-pack-{n}/things/{n}", expect=(404,))
            await comfy.request("POST", f"/api/my-pack-{n}", expect=(404, 405))
        await comfy.request("GET", "/api/queue")
        points = traces.numbers()["comfyui.client.request.duration"]
    routes = {each["url.template"] for each, _ in points}
    assert routes == {"_OTHER", "/queue", "/system_stats"}
    assert names.method_of("BREW") == "_OTHER"


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/v2/jobs", "/api/v2/jobs"),
        ("/api/v2/jobs/job_12", "/api/v2/jobs/{id}"),
        ("/api/v2/jobs/job_12/events", "/api/v2/jobs/{id}/events"),
        ("/api/v2/assets/from-hash", "/api/v2/assets/from-hash"),
        ("/api/v2/assets/a_1", "/api/v2/assets/{id}"),
        ("/api/v2/jobs/job_12/made-up", "_OTHER"),
        ("/bucket/signed/a.png", "_OTHER"),
    ],
)
def test_routes_of_api_v2(path: str, template: str) -> None:
    """They have templates too, and links to other hosts have none."""
    assert names.template_of("GET", path) == template


async def test_what_never_became_a_job(fake: FakeComfy, traces: Traces) -> None:
    """A refused prompt is counted, and one that could not be sent: else a broken client looks idle."""
    async with fake.session(hooks=[traces.telemetry]) as comfy:
        with pytest.raises(PromptRejectedError):
            await comfy.submit({"1": {"class_type": "Nope", "inputs": {}}})
        fake.faults.fail("POST", "/prompt", 503, headers={"Retry-After": "0"})
        with pytest.raises(ComfyError):
            await comfy.submit(picture())
        async with comfy.map([{"1": {"class_type": "Nope", "inputs": {}}}]) as finished:
            async for job in finished:
                assert job.status == "failed"
        counted = traces.numbers()["comfyui.client.jobs"]
    where = {"server.address": "127.0.0.1", "server.port": fake.port}
    by_status = {facts["comfyui.job.status"]: (facts, count) for facts, count in counted}
    assert by_status["rejected"] == (
        {**where, "comfyui.job.status": "rejected", "error.type": "PromptRejectedError"},
        1,
    )
    assert by_status["unsubmitted"][1] == 1
    assert by_status["failed"][1] == 1


class Dead(SpanExporter):
    """A collector that is down."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.asked = 0

    def export(self, spans: Any) -> SpanExportResult:
        """Fail."""
        self.asked += 1
        raise ConnectionError("the collector is down")


async def test_a_collector_that_is_down(server: FakeComfy) -> None:
    """Jobs do not notice: exporting is the SDK's own thread's affair."""
    tracers, dead = TracerProvider(), Dead()
    tracers.add_span_processor(BatchSpanProcessor(dead, schedule_delay_millis=1, max_export_batch_size=1))
    async with server.session(hooks=[Telemetry(tracer_provider=tracers)]) as comfy:
        results = [await comfy.run(graph(n)) for n in range(3)]
    assert [result.texts for result in results] == [("shown",)] * 3
    await asyncio.to_thread(tracers.force_flush)
    assert dead.asked
    await asyncio.to_thread(tracers.shutdown)


class Broken:
    """A tracer provider that is out of order."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        """Return a tracer that begins no span."""
        return self

    def start_span(self, *args: Any, **kwargs: Any) -> Any:
        """Fail."""
        raise RuntimeError("no spans today")


async def test_a_tracer_that_fails(server: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """The job goes its way; the log says what is wrong."""
    broken: Any = Broken()
    async with server.session(hooks=[Telemetry(tracer_provider=broken)]) as comfy:
        assert (await comfy.run(graph())).texts == ("shown",)
    assert "a span could not be begun" in caplog.text


async def test_without_an_sdk(server: FakeComfy) -> None:
    """The API alone makes no spans, sends nothing along, and nothing breaks."""
    async with server.session(hooks=[Telemetry()]) as comfy:
        assert (await comfy.run(graph())).texts == ("shown",)
    assert "comfy_async_trace" not in server.books.accepted[0].extra_data


async def test_two_of_them_do_not_mix(server: FakeComfy, traces: Traces) -> None:
    """Two backends, each with whole trees."""
    other = Traces()
    async with server.session(hooks=[traces.telemetry, other.telemetry]) as comfy:
        await comfy.run(graph())
    tree = ["comfyui.job", "  comfyui.queue", "  comfyui.node Steps", "  comfyui.node Show"]
    assert traces.tree() == other.tree() == tree


async def test_an_upload_by_itself(fake: FakeComfy, traces: Traces) -> None:
    """Outside of a submission it belongs to whoever uploads, also after a job of the same task."""
    async with fake.session(hooks=[traces.telemetry]) as comfy:
        await comfy.run(picture())
        with traces.tracer().start_as_current_span("mine"):
            await comfy.files.upload(b"something", name="a.png")
    assert traces.tree()[-2:] == ["mine", "  comfyui.upload"]


def test_it_travels() -> None:
    """To a worker of a fleet, as what it was made with."""
    twin = pickle.loads(pickle.dumps(Telemetry(labels=["user"], content=True, propagate=False)))
    assert (twin._labels, twin._content, twin._propagate) == (("user",), True, False)
    assert repr(twin) == "<Telemetry 0 open jobs>"


async def test_nothing_is_current_in_the_reader(comfy: ComfySession) -> None:
    """No span is left current where jobs are submitted."""
    await comfy.run(picture())
    assert not trace.get_current_span().get_span_context().is_valid
