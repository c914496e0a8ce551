"""The hook that makes spans and numbers of what happens."""

from __future__ import annotations

import collections
import contextvars
import dataclasses
import functools
import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .._base.secrets import HIDDEN, is_secret_name
from .._job.job import Job
from ..errors import PromptRejectedError
from ..events import BaseEvent, NodeFinished, Reconnected
from ..workflow import Workflow
from . import _names as names
from ._instruments import Instruments
from ._job_spans import JobSpans

__all__ = ["Telemetry"]

_log = logging.getLogger("comfy_async")

_NAME: Final = "comfy_async"
_REMEMBERED: Final = 4096
_PROPAGATOR: Final = TraceContextTextMapPropagator()


@dataclasses.dataclass(slots=True)
class _Submission:
    """What is being submitted in this task: its span, until it is a job's."""

    span: Span
    began: int
    over: bool = False


_NONE: Final[Mapping[int, _Submission]] = {}
# What is being submitted in a task, by the `id` of the Telemetry that watches it.
_SUBMITTING: Final = contextvars.ContextVar[Mapping[int, _Submission]](
    "comfy_async_submission", default=_NONE
)


class Telemetry:
    """A hook that reports jobs to OpenTelemetry: `ComfySession(url, hooks=[Telemetry()])`.

    Each job is a span from its submission to its end, a child of the span that was current there.
    Below it are its uploads, its wait in the queue, each node that ran, and its downloads. The
    trace context goes along with the prompt, so a process that picks the job up elsewhere, or follows it in
    a worker of a fleet, goes on in the same trace. Beside that stand counters and histograms. Neither
    has prompts, error messages, file names or keys in it.

    Args:
        tracer_provider: Where spans go; the global one unless given.
        meter_provider: Where numbers go; the global one unless given.
        propagate: False does not send the trace context.
        labels: The names of labels that become attributes, `comfyui.job.label.user`.
        content: Also record the workflow and the texts of errors, with prompts in them; keys stay masked.

    Example:
        >>> from comfy_async.otel import Telemetry
        >>> async with ComfySession("http://127.0.0.1:8188", hooks=[Telemetry()]) as comfy:
        ...     result = await comfy.run("portrait.json")
    """

    def __init__(
        self,
        *,
        # Where it goes.
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        # What is told.
        propagate: bool = True,
        labels: Iterable[str] = (),
        content: bool = False,
    ) -> None:
        """Make tracer and instruments."""
        self._providers = (tracer_provider, meter_provider)
        self._propagate = propagate
        self._labels = tuple(labels)
        self._content = content
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        self._instruments = Instruments(metrics.get_meter(_NAME, meter_provider=meter_provider))
        self._jobs: dict[Job, JobSpans] = {}
        self._files: collections.OrderedDict[tuple[str, str], SpanContext] = collections.OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle its arguments alone: jobs stay in this process."""
        tracers, meters = self._providers
        make = functools.partial(
            Telemetry,
            tracer_provider=tracers,
            meter_provider=meters,
            propagate=self._propagate,
            labels=self._labels,
            content=self._content,
        )
        return make, ()

    # Jobs.

    def before_submit(self, workflow: Workflow, options: dict[str, Any]) -> None:
        """Begin the span of what will be a job, and send its context along; never raises."""
        try:
            submission = self._begun(context.get_current())
            _SUBMITTING.set({**_SUBMITTING.get(), id(self): submission})
            if self._propagate:
                carrier: dict[str, str] = {}
                _PROPAGATOR.inject(carrier, trace.set_span_in_context(submission.span, Context()))
                if carrier:
                    options["extra_data"] = {**(options.get("extra_data") or {}), names.TRACE: carrier}
        except Exception:
            # Whoever watches must not stop what is watched.
            _log.exception("a span could not be begun")

    def on_submit_failed(self, workflow: object, error: BaseException) -> None:
        """End the span of what never became a job."""
        submission = self._submission()
        if submission is None:
            return
        submission.over = True
        name = type(error).__name__
        server = names.server_of(getattr(error, "server", None) or "")
        refused = "rejected" if isinstance(error, PromptRejectedError) else "unsubmitted"
        self._instruments.jobs.add(1, {**server, names.STATUS: refused, names.ERROR_TYPE: name})
        submission.span.set_attribute(names.ERROR_TYPE, name)
        submission.span.set_status(Status(StatusCode.ERROR, str(error) if self._content else name))
        submission.span.end()

    def on_begin(self, job: Job, extra_data: Mapping[str, Any]) -> None:
        """Hand the span of a submission to its job, or begin one for a job of somebody else's trace."""
        submission = self._submission()
        from_afar = _remote(extra_data)
        if submission is None:
            parent = context.get_current()
            if from_afar is not None:
                parent = trace.set_span_in_context(trace.NonRecordingSpan(from_afar), parent)
            submission = self._begun(parent)
        elif from_afar is not None and from_afar.span_id != submission.span.get_span_context().span_id:
            # A batch that goes on: the job is of an earlier one.
            submission.span.add_link(from_afar)
        submission.over = True
        self._describe(submission.span, job)
        self._jobs[job] = JobSpans(
            submission.span, submission.began, tracer=self._tracer, instruments=self._instruments
        )

    def on_event(self, job: Job, event: BaseEvent) -> None:
        """Process an event of a job."""
        spans = self._jobs.get(job)
        if spans is not None:
            spans.take(job, event)
            if type(event) is NodeFinished and event.output is not None and spans.span.is_recording():
                self._learn_files(job, event.output, spans.span.get_span_context())

    def on_end(self, job: Job) -> None:
        """End the spans of a job."""
        spans = self._jobs.pop(job, None)
        if spans is not None:
            if self._content and job.error is not None:
                spans.span.add_event("exception", {"exception.message": str(job.error)})
            spans.end(job)

    def on_left(self, job: Job) -> None:
        """End the spans of a job that goes on without being followed."""
        spans = self._jobs.pop(job, None)
        if spans is not None:
            spans.leave(job)

    def _submission(self) -> _Submission | None:
        """Return what is being submitted in this task and is no job yet."""
        found = _SUBMITTING.get().get(id(self))
        return None if found is None or found.over else found

    def _begun(self, parent: Context) -> _Submission:
        """Begin the span of a job."""
        began = time.time_ns()
        span = self._tracer.start_span(
            "comfyui.job", context=parent, kind=SpanKind.CLIENT, attributes=names.JOB, start_time=began
        )
        return _Submission(span, began)

    def _describe(self, span: Span, job: Job) -> None:
        """Set the attributes that are known of a job from its beginning."""
        if not span.is_recording():
            return
        if job.index is not None:
            span.set_attribute(names.INDEX, job.index)
        if self._labels:
            known: Mapping[str, str] = getattr(job, "labels", {})
            wanted = {names.LABEL + name: known[name] for name in self._labels if name in known}
            span.set_attributes(wanted)
        if self._content and job.workflow is not None:
            graph = _without_keys(job.workflow.to_api())
            span.set_attribute(names.CONTENT, json.dumps(graph, ensure_ascii=False, default=str))

    # Files, requests and connections.

    def on_transfer(self, server: str, direction: str, file: str, size: int, seconds: float) -> None:
        """Record a file: below the job that it is for, or that made it."""
        sending = direction == "upload"
        facts = {names.DIRECTION: "transmit" if sending else "receive"}
        self._instruments.transferred.add(size, {**facts, **names.server_of(server)})
        now = time.time_ns()
        span = self._tracer.start_span(
            f"comfyui.{direction}",
            context=self._place_of(server, file, sending=sending),
            kind=SpanKind.CLIENT,
            attributes={**facts, **names.server_of(server), names.FILE_SIZE: size},
            start_time=now - int(seconds * 1e9),
        )
        span.end(now)

    def _place_of(self, server: str, file: str, *, sending: bool) -> Context:
        """Return where in a trace a transfer belongs."""
        current = context.get_current()
        if sending:
            submission = self._submission()
            return current if submission is None else trace.set_span_in_context(submission.span, current)
        made_by = self._files.get((server, file))
        if made_by is None:
            return current
        return trace.set_span_in_context(trace.NonRecordingSpan(made_by), current)

    def _learn_files(self, job: Job, output: Mapping[str, Any], span: SpanContext) -> None:
        """Remember which job has made the files that a node shows."""
        server = job.ref["server"]
        for found in output.values():
            for one in found if isinstance(found, list) else ():
                if isinstance(one, dict) and one.get("filename"):
                    folder, kind = one.get("subfolder"), one.get("type") or "output"
                    name = f"{folder}/{one['filename']}" if folder else one["filename"]
                    self._files[server, name if kind == "input" else f"{name} [{kind}]"] = span
        while len(self._files) > _REMEMBERED:
            self._files.popitem(last=False)

    def on_request(
        self, method: str, path: str, status: int | None, seconds: float, server: str = ""
    ) -> None:
        """Measure a request, by its route."""
        route = names.template_of(method, path)
        facts: dict[str, Any] = {names.METHOD: names.method_of(method), names.ROUTE: route}
        facts.update(names.server_of(server))
        if status is not None:
            facts[names.STATUS_CODE] = status
        if status is None or status >= 400:
            facts[names.ERROR_TYPE] = "no_answer" if status is None else str(status)
        self._instruments.requests.record(seconds, facts)

    def on_connection(self, server: str, event: BaseEvent) -> None:
        """Count the sockets that are back."""
        if isinstance(event, Reconnected):
            self._instruments.reconnects.add(1, names.server_of(server))

    def on_poll(self, server: str) -> None:
        """Count a poll of the server."""
        self._instruments.polls.add(1, names.server_of(server))

    def __repr__(self) -> str:
        """Return how many jobs are open."""
        return f"<Telemetry {len(self._jobs)} open jobs>"


def _remote(extra_data: Mapping[str, Any]) -> SpanContext | None:
    """Return the span that a job was submitted under, as what came along with it says."""
    carrier = extra_data.get(names.TRACE)
    if not isinstance(carrier, Mapping):
        return None
    texts = {name: value for name, value in carrier.items() if isinstance(value, str)}
    found = trace.get_current_span(_PROPAGATOR.extract(texts, Context())).get_span_context()
    return found if found.is_valid else None


def _without_keys(graph: Mapping[str, Any]) -> dict[str, Any]:
    """Return a graph without the values of inputs that are keys by their name."""
    made = {}
    for name, node in graph.items():
        inputs = {
            key: HIDDEN if is_secret_name(key) and isinstance(value, str) else value
            for key, value in node.get("inputs", {}).items()
        }
        made[name] = {**node, "inputs": inputs}
    return made
