"""What is counted and measured."""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import Meter

__all__ = ["Instruments"]

_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)
_QUICK_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Instruments:
    """The counters and histograms; each says what it holds.

    Attributes:
        jobs: Jobs by how they ended.
        job: Seconds from the submission to the end.
        queue: Seconds in the server's queue.
        run: Seconds that the server worked.
        transferred: Bytes of files up and down.
        reconnects: How often a socket was opened again with success.
        polls: How often a server was polled for open jobs.
        requests: Seconds to the beginning of an HTTP answer.
    """

    def __init__(self, meter: Meter) -> None:
        """Make them."""
        self.jobs = meter.create_counter(
            "comfyui.client.jobs", unit="{job}", description="Jobs by how they ended."
        )
        self.job = meter.create_histogram(
            "comfyui.client.job.duration",
            unit="s",
            description="Time from the submission of a job to its end.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.queue = meter.create_histogram(
            "comfyui.client.queue.duration",
            unit="s",
            description="Time that a job waited in the server's queue.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.run = meter.create_histogram(
            "comfyui.client.run.duration",
            unit="s",
            description="Time that the server worked at a job.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.transferred = meter.create_counter(
            "comfyui.client.io", unit="By", description="Bytes of files, up and down."
        )
        self.reconnects = meter.create_counter(
            "comfyui.client.reconnects",
            unit="{reconnect}",
            description="How often the socket was opened again with success.",
        )
        self.polls = meter.create_counter(
            "comfyui.client.polls", unit="{poll}", description="Polls of a server while jobs were open."
        )
        self.requests = meter.create_histogram(
            "comfyui.client.request.duration",
            unit="s",
            description="Time from an HTTP request to the beginning of its answer.",
            explicit_bucket_boundaries_advisory=_QUICK_SECONDS,
        )
