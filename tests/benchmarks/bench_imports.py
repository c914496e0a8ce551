"""Figure e: the time to import comfy_async against what it cannot do without."""

from __future__ import annotations

import subprocess
import sys

from bench_tools import Row, compiled, ratio_row

_CODE = "import time; begin = time.perf_counter(); {}; print(time.perf_counter() - begin)"
_NEEDED = "import httpx, websockets, pydantic"
_OURS = ("import comfy_async", "from comfy_async import ComfySession, Workflow")


def figure_e(scale: float = 1.0) -> list[Row]:
    """Import both in fresh processes, in turn; all are compiled beforehand, as by an installation."""
    rounds = 15 if scale >= 1 else 1
    ratios: dict[str, list[float]] = {name: [] for name in _OURS}
    bases = []
    for name in (_NEEDED, *_OURS):
        _seconds(name)
    for _ in range(rounds):
        bases.append(_seconds(_NEEDED))
        for name, found in ratios.items():
            found.append(_seconds(name) / bases[-1])
    bases.sort()
    return [
        ratio_row("e", name, found, target="<= 1.15", base_ms=1000 * bases[len(bases) // 2])
        for name, found in ratios.items()
    ]


def _seconds(code: str) -> float:
    command = [sys.executable, "-c", _CODE.format(code)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=compiled())
    return float(done.stdout)
