"""Numbers for Prometheus from a hook of one's own: jobs by how they ended, waits, times, requests.

Needs `pip install 'comfy-async[testing]' prometheus-client`, and a ComfyUI (`--server URL`) or a stand-in.

    python examples/metrics_prometheus.py --server http://127.0.0.1:8188 --port 9100

With `--port` Prometheus reads them at http://127.0.0.1:9100/metrics while the jobs run; without it they are
printed in the end. `comfy_async.otel.Telemetry` has these and more for OpenTelemetry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from example_needs import needs
from example_server import PORTRAIT, open_session, parser

from comfy_async import Job, Queued, Started, Workflow
from comfy_async.events import BaseEvent

with needs(__doc__):
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        generate_latest,
        start_http_server,
    )

_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300)


class Metrics:
    """A hook: the session calls what it has, on the event loop, and awaits nothing."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the metrics."""
        self._open = Gauge("comfyui_jobs_open", "Jobs that are followed.", registry=registry)
        self._ended = Counter("comfyui_jobs", "Jobs by how they ended.", ["status"], registry=registry)
        self._waited = Histogram(
            "comfyui_queue_seconds", "Waits in the queue.", buckets=_SECONDS, registry=registry
        )
        self._ran = Histogram("comfyui_run_seconds", "Runs.", buckets=_SECONDS, registry=registry)
        self._requests = Counter(
            "comfyui_requests", "HTTP requests.", ["method", "status"], registry=registry
        )
        self._queued: dict[Job, float] = {}
        self._started: dict[Job, float] = {}

    def on_begin(self, job: Job, extra_data: Mapping[str, Any]) -> None:
        """Count a job that begins."""
        self._open.inc()

    def on_event(self, job: Job, event: BaseEvent) -> None:
        """Take the time of what matters; steps and previews come by here too."""
        if isinstance(event, Queued):
            self._queued[job] = time.monotonic()
        elif isinstance(event, Started) and job in self._queued:
            self._started[job] = time.monotonic()
            self._waited.observe(self._started[job] - self._queued.pop(job))

    def on_end(self, job: Job) -> None:
        """Count a job that has ended."""
        self._open.dec()
        self._ended.labels(job.status).inc()
        if job in self._started:
            self._ran.observe(time.monotonic() - self._started[job])
        self._forget(job)

    def on_left(self, job: Job) -> None:
        """The session was closed before the job had ended."""
        self._open.dec()
        self._forget(job)

    def on_request(self, method: str, path: str, status: int | None, seconds: float) -> None:
        """Count a request; without an answer there is no status."""
        self._requests.labels(method, status or "none").inc()

    def _forget(self, job: Job) -> None:
        """Let go of a job: one that was stopped while it waited never ran."""
        self._queued.pop(job, None)
        self._started.pop(job, None)


async def main() -> None:
    """Run a few jobs, one of which is stopped, and show the numbers."""
    arguments = parser(__doc__)
    arguments.add_argument("--port", type=int, help="where Prometheus reads the numbers")
    arguments.add_argument("--jobs", type=int, default=4)
    options = arguments.parse_args()
    registry = CollectorRegistry()
    if options.port:
        start_http_server(options.port, registry=registry)
    async with open_session(options.server, hooks=[Metrics(registry)]) as comfy:
        portrait = Workflow.load(PORTRAIT).with_inputs({"3.steps": 5})
        variants = [portrait.with_inputs({"3.seed": seed}) for seed in range(options.jobs)]
        async with comfy.map(variants) as finished:
            async for job in finished:
                await (await job).save(options.out)
        await (await comfy.submit(portrait.with_seed(99))).cancel()
    print(generate_latest(registry).decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
