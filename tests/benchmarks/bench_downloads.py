"""Figure f: downloads and uploads of a large file against bare httpx, by `bench_files.py`."""

from __future__ import annotations

import json
import subprocess
import sys

from bench_tools import HERE, Row, ratio_row


def figure_f(scale: float = 1.0) -> list[Row]:
    """Move a file both ways, in turns with bare httpx."""
    size, rounds = ("256", "8") if scale >= 1 else ("2", "2")
    command = [sys.executable, str(HERE / "bench_files.py"), "--size", size, "--rounds", rounds]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    notes = {"mib": found["size_mib"], "memory_grown_mib": found["memory_grown_mib"]}
    return [
        ratio_row(
            "f",
            f"{way} / bare httpx",
            found[way]["ratios"],
            target=">= 0.9",
            **notes,
            mb_per_s=found[way]["mb_per_s"],
        )
        for way in ("download", "upload")
    ]
