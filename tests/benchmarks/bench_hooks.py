"""Figure hooks: what hooks cost where there are none, and what a trace costs where there is one."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench_tools import Row
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from comfy_async import Completed, Job, NodeFinished, NodesCached, NodeStarted, Progress, Queued, Started
from comfy_async._base.hooks import NO_HOOKS, Hooks
from comfy_async._client.session import ComfySession, engine_of
from comfy_async._job.core import JobCore
from comfy_async._job.hooks import introduce
from comfy_async._protocol.decode import decode_text
from comfy_async._protocol.plan import Plan
from comfy_async._protocol.reducer import JobState
from comfy_async._session.offered import offered
from comfy_async.events import BaseEvent
from comfy_async.otel import Telemetry
from comfy_async.workflow import Workflow

_CLASSES = ("CheckpointLoaderSimple", "CLIPTextEncode", "CLIPTextEncode", "EmptyLatentImage", "KSampler")
_FLOW = Workflow.load(
    {
        str(number): {"class_type": kind, "inputs": {}}
        for number, kind in enumerate((*_CLASSES, "VAEDecode", "SaveImage"), 1)
    }
)
_STEPS = 20
# The job, its queue, and its nodes.
_SPANS = 9


class Before(JobCore):
    """A job as it was before there were hooks: what it tells goes to its consumers, and nowhere else."""

    def _pass_on(self, event: BaseEvent) -> None:
        """Give an event to every consumer, without a look at hooks."""
        if type(event) is Progress:
            self._last_progress = event
        for box in self._boxes:
            box.put(event)
        if self._unseen is not None and event.lossy:
            self._unseen += 1
        for box in self.owner.watchers.boxes:
            box.put(event)


class Counts:
    """The least that a hook can do."""

    def __init__(self) -> None:
        """Start at zero."""
        self.count = 0

    def on_event(self, job: Job, event: BaseEvent) -> None:
        """Count."""
        self.count += 1


class Nowhere(SpanExporter):
    """Throws spans away: what a collector costs is not ours."""

    def export(self, spans: Any) -> SpanExportResult:
        """Take them."""
        return SpanExportResult.SUCCESS


def figure_hooks(scale: float = 1.0) -> Iterator[Row]:
    """A job's events without hooks against a job that knows none, and its life with and without a trace."""
    rounds = 15 if scale >= 1 else 1
    yield _events(max(200, int(20_000 * scale)), rounds)
    yield from _lives(max(10, int(400 * scale)), rounds)


def _events(count: int, rounds: int) -> Row:
    """Steps of a node: the bulk of what a job hears."""
    engine = engine_of(ComfySession("http://127.0.0.1:1"))
    raw = b'{"type": "progress", "data": {"value": %d, "max": 100, "prompt_id": "1", "node": "5"}}'
    frames = [raw % number for number in range(count)]

    def run(kind: type[JobCore], hooks: Hooks) -> float:
        job = kind(engine, JobState("1", Plan(_FLOW.to_api())), keep_frames=False)
        introduce(job, hooks)

        def feed() -> None:
            for frame in frames:
                job.take(decode_text(frame, 1.0))

        return _seconds(feed)

    counts = Counts()
    some = Hooks([counts])
    runs = [(run(Before, NO_HOOKS), run(JobCore, NO_HOOKS), run(JobCore, some)) for _ in range(rounds)]
    assert counts.count >= count * rounds
    ratios = [now / before for before, now, _ in runs]
    # The least of each is what it costs; everything above it is what else the machine does.
    before, now, hooked = (min(one) for one in zip(*runs, strict=True))
    notes = {"hook_ns": (hooked - now) / count * 1e9}
    name = "events without hooks / before there were any"
    return Row("hooks", name, now / before, "x", "<= 1.05", (min(ratios), max(ratios)), notes)


def _lives(count: int, rounds: int) -> Iterator[Row]:
    """Seven nodes and twenty steps, submitted and ended: with the API alone, unsampled, and in full."""
    engine = engine_of(ComfySession("http://127.0.0.1:1"))
    tracers, unsampled = TracerProvider(), TracerProvider(sampler=ALWAYS_OFF)
    tracers.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=1 << 20))
    kinds = {
        "API alone": Hooks([Telemetry()]),
        "SDK, not sampled": Hooks([_telemetry(unsampled)]),
        "SDK, every span": Hooks([_telemetry(tracers)]),
    }
    maker = tracers.get_tracer("bare")

    def run(hooks: Hooks) -> float:
        def live() -> None:
            for number in range(count):
                _life(engine, hooks, str(number))

        return _seconds(live) / count * 1e3

    def spans() -> float:
        return _seconds(lambda: [maker.start_span("x").end() for _ in range(count * _SPANS)]) / count * 1e3

    for name, hooks in kinds.items():
        # The least is what it costs; everything above it is what else the machine does.
        added = min(run(hooks) - run(NO_HOOKS) for _ in range(rounds))
        if name != "SDK, every span":
            yield Row("hooks", f"a job's telemetry, {name}", added, "ms", "<= 0.2")
            continue
        # Whoever makes that many spans pays for them: what the SDK takes for its own is not ours.
        bare = min(spans() for _ in range(rounds))
        notes = {"spans": _SPANS, "bare_spans_ms": bare, "with_them_ms": added}
        yield Row(
            "hooks", f"a job's telemetry, {name}, beyond bare ones", added - bare, "ms", "<= 0.2", notes=notes
        )
    tracers.shutdown()


def _telemetry(tracers: TracerProvider) -> Telemetry:
    """Return one with numbers too."""
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    return Telemetry(tracer_provider=tracers, meter_provider=meters)


def _life(engine: Any, hooks: Hooks, prompt_id: str) -> None:
    """Play a whole job, as a socket brings it."""
    options: dict[str, Any] = {}
    offered(hooks, _FLOW, options)
    job = JobCore(engine, JobState(prompt_id, Plan(_FLOW.to_api())), keep_frames=False)
    introduce(job, hooks, options.get("extra_data"))

    def take(kind: type[BaseEvent], **data: Any) -> None:
        job.take(kind(b"{}", data, prompt_id, received_at=1.0))

    take(Queued)
    take(Started)
    take(NodesCached, nodes=[])
    for node in _FLOW.nodes:
        take(NodeStarted, node=node)
        if node == "5":
            for step in range(_STEPS):
                take(Progress, node=node, value=step, max=_STEPS)
        take(NodeFinished, node=node)
    take(Completed)
    assert job.done


def _seconds(work: Callable[[], object]) -> float:
    """Return the processor time of this thread: what an exporter's thread does is its own."""
    gc.collect()
    gc.disable()
    begun = time.thread_time()
    work()
    taken = time.thread_time() - begun
    gc.enable()
    return taken
