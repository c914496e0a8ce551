"""A ComfyUI to test against: `FakeComfy` implements its protocol over real sockets.

It needs aiohttp and Pillow: `pip install 'comfy-async[testing]'`. A request passes the rules of the faults
and reaches a route (`_routes_*`); a prompt is validated, waits in the queue, and is taken by the one worker,
whose run sends its events to the socket hub and records them in the books. Around it stand the faults, the
gates that hold a run, the recorder and its replay, and the pytest plugin.

Example:
    >>> from comfy_async.testing import FakeComfy
    >>> async with FakeComfy() as fake, fake.session() as comfy:
    ...     result = await comfy.run("portrait.json")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._auth import Gatekeeper
    from ._books import Books, RunEnd, RunRecord, Upload
    from ._chaos import Chaos, Faults
    from ._clock import FastClock
    from ._gates import Gate
    from ._rules import Rule
    from ._serve import serve
    from ._server import FakeComfy
    from ._v2_manners import ApiV2
    from .recorder import Recorder, Replay

__all__ = [
    "ApiV2",
    "Books",
    "Chaos",
    "FakeComfy",
    "FastClock",
    "Faults",
    "Gate",
    "Gatekeeper",
    "Recorder",
    "Replay",
    "Rule",
    "RunEnd",
    "RunRecord",
    "Upload",
    "serve",
]

_HOMES = {
    "ApiV2": "_v2_manners",
    "Books": "_books",
    "Chaos": "_chaos",
    "FakeComfy": "_server",
    "FastClock": "_clock",
    "Faults": "_chaos",
    "Gate": "_gates",
    "Gatekeeper": "_auth",
    "Recorder": "recorder",
    "Replay": "recorder",
    "Rule": "_rules",
    "RunEnd": "_books",
    "RunRecord": "_books",
    "Upload": "_books",
    "serve": "_serve",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first asked for, so that importing this package costs nothing.

    Raises:
        AttributeError: There is no such name.
        ImportError: aiohttp or Pillow is missing.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{_HOMES[name]}", __name__)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("aiohttp", "PIL"):
            raise
        raise ImportError(
            f"FakeComfy needs {error.name}: pip install 'comfy-async[testing]'", name=error.name
        ) from error
    value = globals()[name] = getattr(module, name)
    return value
