"""Figure e: the time to import comfy_async against what it cannot do without."""

from __future__ import annotations

import statistics
import subprocess
import sys

from bench_tools import Row, compiled, ratio_row

_CODE = "import time; begin = time.perf_counter(); {}; print(time.perf_counter() - begin)"
_LIBRARIES = "import httpx, websockets, pydantic"
# websockets and pydantic load nothing until a name is asked for, and neither do we: so what a
# program with a session needs stands beside what a program with these libraries needs.
_NAMES = (
    "import asyncio; from httpx import AsyncClient; from websockets.asyncio.client import connect;"
    " from pydantic import BaseModel"
)
_BARE = "import comfy_async"
_USED = "from comfy_async import ComfySession, Workflow"
_PAIRS = {
    f"{_BARE} / {_LIBRARIES}": (_BARE, _LIBRARIES),
    f"{_USED} / {_LIBRARIES}": (_USED, _LIBRARIES),
    f"{_USED} / the names that take their place": (_USED, _NAMES),
}


def figure_e(scale: float = 1.0) -> list[Row]:
    """Import both in fresh processes, in turn; all are compiled beforehand, as by an installation."""
    rounds = 15 if scale >= 1 else 1
    codes = (_BARE, _USED, _LIBRARIES, _NAMES)
    for code in codes:
        _seconds(code)
    runs = [{code: _seconds(code) for code in codes} for _ in range(rounds)]
    rows = []
    for name, (ours, theirs) in _PAIRS.items():
        base = statistics.median(run[theirs] for run in runs)
        ratios = [run[ours] / run[theirs] for run in runs]
        rows.append(ratio_row("e", name, ratios, target="<= 1.15", base_ms=1000 * base))
    return rows


def _seconds(code: str) -> float:
    command = [sys.executable, "-c", _CODE.format(code)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=compiled())
    return float(done.stdout)
