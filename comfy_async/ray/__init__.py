"""A fleet of ComfyUI servers on a Ray cluster: `pip install 'comfy-async[ray]'`.

Ray distributes, restarts and streams; this package adds jobs that can be picked up again instead
of being run again. A submit goes `ComfyFleet` -> `FleetEngine` -> `Places`, which gives it a worker, ->
`Carrier`, which calls the `ComfyWorker` in its own process and there the session's engine. What the
worker reports comes back as messages, and whatever dies, the `Carrier` takes it up again.

Example:
    >>> from comfy_async.ray import ComfyFleet
    >>> async with ComfyFleet(["http://10.0.0.7:8188", "http://10.0.0.8:8188"]) as fleet:
    ...     result = await fleet.run("portrait.json")
"""

from __future__ import annotations

try:
    import ray as _ray
except ModuleNotFoundError as error:
    if error.name != "ray":
        raise
    raise ImportError("Ray is missing: pip install 'comfy-async[ray]'", name="ray") from error

from ._command import ComfyCommand
from ._data import ComfyMapper
from ._fleet import ComfyFleet
from ._worker import ComfyWorker

__all__ = ["ComfyCommand", "ComfyFleet", "ComfyMapper", "ComfyWorker"]

for _class in (ComfyCommand, ComfyFleet, ComfyMapper, ComfyWorker):
    # Users know the package by its face, not by its rooms.
    _class.__module__ = __name__
del _class, _ray
