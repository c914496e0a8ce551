"""Traces and metrics by OpenTelemetry: `pip install 'comfy-async[otel]'`.

`Telemetry` is a hook. It uses OpenTelemetry's API alone: what becomes of its spans and numbers is
up to the SDK that the program sets up, and without one they cost next to nothing. `_telemetry` has the
hook, `_job_spans` makes the spans of one job, `_instruments` counts, `_names` has the names.

Example:
    >>> from comfy_async.otel import Telemetry
    >>> async with ComfySession("http://127.0.0.1:8188", hooks=[Telemetry()]) as comfy:
    ...     result = await comfy.run("portrait.json")
"""

from __future__ import annotations

try:
    import opentelemetry.trace as _trace
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "opentelemetry":
        raise
    raise ImportError("OpenTelemetry is missing: pip install 'comfy-async[otel]'", name=error.name) from error

from ._telemetry import Telemetry

__all__ = ["Telemetry"]

# Users know the package by its face, not by its rooms.
Telemetry.__module__ = __name__
del _trace
