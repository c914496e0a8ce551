"""A telemetry that keeps its spans and numbers in memory, and ways to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from comfy_async.otel import Telemetry


class Traces:
    """What was exported."""

    def __init__(self, **options: Any) -> None:
        """Set up providers of its own: the global ones are left as they are."""
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider(metric_readers=[self._reader])
        self.telemetry = Telemetry(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """Every span that has ended, in the order of the ends."""
        return self._exporter.get_finished_spans()

    def tracer(self) -> Any:
        """Return a tracer of the program around."""
        return self.tracers.get_tracer("app")

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name."""
        return [span for span in self.spans if span.name == name]

    def tree(self) -> list[str]:
        """Return the spans as an indented tree, in the order of their beginnings."""
        lines: list[str] = []
        known = {span.context.span_id for span in self.spans if span.context}

        def write(parent: int | None, depth: int) -> None:
            children = [
                span
                for span in self.spans
                if (span.parent.span_id if span.parent and span.parent.span_id in known else None) == parent
            ]
            for span in sorted(children, key=lambda span: span.start_time or 0):
                lines.append("  " * depth + span.name)
                assert span.context
                write(span.context.span_id, depth + 1)

        write(None, 0)
        return lines

    def numbers(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """Return every metric with its points: attributes, and the value or the count of a histogram."""
        data = self._reader.get_metrics_data()
        found: dict[str, list[tuple[dict[str, Any], float]]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points: Any = metric.data.data_points
                    found[metric.name] = [
                        (dict(point.attributes), getattr(point, "value", getattr(point, "count", 0)))
                        for point in points
                    ]
        return found
