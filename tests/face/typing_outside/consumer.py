"""A project that uses comfy_async, as its type checker sees it; it is checked, and never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import assert_never, assert_type

from comfy_async import (
    AgentStatus,
    AssetScan,
    AssetTransfer,
    Batch,
    Cancelled,
    ComfyError,
    ComfyPool,
    ComfySession,
    Completed,
    Disconnected,
    Event,
    Failed,
    FeatureFlags,
    Job,
    JobError,
    JobProgress,
    JobResult,
    LogEntries,
    Lost,
    MalformedFrame,
    NodeBlocked,
    NodeCatalog,
    NodeFinished,
    NodesCached,
    NodeStarted,
    OutputFile,
    PollingStarted,
    Preview,
    Problem,
    Progress,
    ProgressState,
    ProgressText,
    PromptRejectedError,
    Queued,
    QueuePosition,
    Reconnected,
    Settings,
    Started,
    StatusChanged,
    UnknownEvent,
    Workflow,
)
from comfy_async.testing import FakeComfy, Recorder, Replay


def told(event: Event) -> str:
    """Tell every event apart: the union is closed for a checker."""
    match event:
        case Progress(node=node, value=value, max=maximum):
            assert_type(node, str | None)
            assert_type(value, float)
            return f"{node} {value}/{maximum}"
        case Preview(image=image):
            assert_type(image, bytes)
            return event.mime
        case ProgressText(text=text):
            return text
        case NodeFinished(title=title, output=output):
            return f"{title} {output}"
        case NodeStarted() | NodeBlocked():
            return event.class_type
        case Queued(number=number):
            return str(number)
        case NodesCached(nodes=nodes):
            return ", ".join(nodes)
        case ProgressState(nodes=states):
            return ", ".join(states)
        case Failed(exception_message=message):
            return message
        case Started() | Completed() | Cancelled() | Lost():
            return event.type
        case AgentStatus(state=state, reason=reason):
            return f"{state}: {reason}"
        case AssetScan(stage=stage, scanned=scanned, total=total):
            return f"{stage} {scanned} of {total}"
        case AssetTransfer(name=name, fraction=fraction, error=error):
            return f"{name} {fraction:.0%} {error}"
        case StatusChanged() | LogEntries() | FeatureFlags():
            return event.type
        case QueuePosition(position):
            return f"{position} before it"
        case Disconnected() | Reconnected() | PollingStarted():
            return event.type
        case UnknownEvent() | MalformedFrame():
            return repr(event.raw)
        case _:
            assert_never(event)


async def draw(prompt: str, out: Path) -> list[Path]:
    """Use a session as the README does."""
    settings = Settings(request_seconds=60.0)
    async with ComfySession("http://127.0.0.1:8188", previews="none", settings=settings) as comfy:
        assert_type(comfy, ComfySession)
        flow = Workflow.load("portrait.json").with_inputs({"6.text": prompt, ("3", "seed"): 42})
        assert_type(flow, Workflow)
        job = await comfy.submit(flow)
        assert_type(job, Job)
        async for event in job:
            assert_type(job.progress, JobProgress)
            told(event)
        result = await job
        assert_type(result, JobResult)
        for file in result.images:
            assert_type(file, OutputFile)
            assert_type(await file.read(), bytes)
        return await result.save(out)


async def many(flows: list[Workflow]) -> AsyncIterator[JobResult]:
    """Run many, and keep what completes."""
    async with ComfySession() as comfy, comfy.map(flows, limit=8) as finished:
        assert_type(finished, Batch)
        async for job in finished:
            try:
                yield await job
            except JobError as error:
                assert_type(error.hint, str)


async def watched(flow: Workflow) -> None:
    """Look, stream, check, attach, and use a pool."""
    async with ComfySession(connect="lazy") as comfy:
        async with comfy.stream(flow) as job:
            async with asyncio.timeout(60):
                await job
        face = await comfy.files.upload("face.jpg")
        flow = flow.with_inputs({"Load Image.image": face})
        catalog = await comfy.nodes.catalog()
        assert_type(catalog, NodeCatalog)
        for problem in flow.check(catalog):
            assert_type(problem, Problem)
        try:
            job = await comfy.attach(job.ref)
        except PromptRejectedError as error:
            assert_type(error.problems, tuple[Problem, ...])
        except ComfyError as error:
            assert_type(error.retryable, bool)
        await job.show(on_interrupt="leave")
        async for event in comfy.events():
            told(event)
    async with ComfyPool(["http://a:8188", "http://b:8188"]) as pool:
        assert_type(await pool.run(flow), JobResult)


async def tested() -> None:
    """Use what the tests of an app use."""
    async with FakeComfy(step_seconds=0.1) as fake, fake.session() as comfy:
        fake.script("Ask", inputs={"text": "STRING"}, output={"text": ["answer"]})
        rule = fake.faults.fail("POST", "/prompt", 503, count=1)
        rule.cancel()
        assert_type(comfy, ComfySession)
        async with Recorder(fake.url, "run.jsonl") as recorder:
            assert_type(recorder.url, str)
        async with Replay("run.jsonl") as replay:
            assert_type(replay.url, str)
