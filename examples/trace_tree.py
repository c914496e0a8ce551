"""The trace of one job as a tree: where the second went.

Needs `pip install 'comfy-async[testing,otel]' opentelemetry-sdk`, and a ComfyUI (`--server URL`) or a
stand-in.

    python examples/trace_tree.py --server http://127.0.0.1:8188

Spans usually go to a collector; here they are kept in memory and drawn. A service does the same with its
own provider: `trace.set_tracer_provider(...)` once, `hooks=[Telemetry()]` at each session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from example_needs import needs
from example_server import PORTRAIT, open_session, parser

from comfy_async import Workflow

with needs(__doc__):
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from comfy_async.otel import Telemetry

_WIDTH = 40


def drawn(spans: Sequence[ReadableSpan]) -> Iterator[str]:
    """Yield a line for each span: its place in the tree, when it began and ended, and how long it took."""
    first = min(span.start_time or 0 for span in spans)
    last = max(span.end_time or 0 for span in spans)
    scale = _WIDTH / max(1, last - first)

    def below(parent: int | None, depth: int) -> Iterator[str]:
        found = [span for span in spans if (span.parent.span_id if span.parent else None) == parent]
        for span in sorted(found, key=lambda span: span.start_time or 0):
            begun, over = (span.start_time or 0) - first, (span.end_time or 0) - first
            bar = " " * int(begun * scale) + "#" * max(1, round((over - begun) * scale))
            name = "  " * depth + span.name
            yield f"{name:40} |{bar[:_WIDTH]:{_WIDTH}}| {(over - begun) / 1e6:7.1f} ms"
            if span.context is not None:
                yield from below(span.context.span_id, depth + 1)

    yield from below(None, 0)


async def main() -> None:
    """Run one job within a span of our own, save its picture, and draw the trace."""
    options = parser(__doc__).parse_args()
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracer = provider.get_tracer("example")
    async with open_session(options.server, hooks=[Telemetry(tracer_provider=provider)]) as comfy:
        with tracer.start_as_current_span("POST /portraits"):
            result = await comfy.run(Workflow.load(PORTRAIT).randomized())
            await result.save(options.out)
    for line in drawn(spans.get_finished_spans()):
        print(line)


if __name__ == "__main__":
    asyncio.run(main())
