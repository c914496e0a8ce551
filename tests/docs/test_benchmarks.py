"""The benchmarks still run, and count right; how fast anything is depends on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).parents[1] / "benchmarks" / "run.py"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run the command on a thousandth of its work, once."""
    out = tmp_path_factory.mktemp("benchmarks") / "out.json"
    command = [sys.executable, str(RUN), "--only", "a,d,scale", "--scale", "0.002", "--json", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    found: list[dict[str, Any]] = json.loads(out.read_text())["rows"]
    return found


def test_no_frame_is_lost_or_told_twice(rows: list[dict[str, Any]]) -> None:
    """What consumers saw and what gave way are what was sent, for each kind and mailbox."""
    counted = [row["notes"] for row in rows if row["figure"] == "a"]
    assert len(counted) >= 10
    for notes in counted:
        assert notes["seen"] + notes["dropped"] == notes["sent"] > 20


def test_every_job_is_right(rows: list[dict[str, Any]]) -> None:
    """All jobs of the batch gave their picture, by one request each and one socket."""
    notes = next(row["notes"] for row in rows if row["name"].startswith("comfy_async:"))
    done, total = notes["right"].split(" of ")
    assert done == total
    assert notes["sockets"] == 1


def test_scale_loses_nothing(rows: list[dict[str, Any]]) -> None:
    """Each size of the scale was run to the end, which the command itself asserts."""
    assert [row for row in rows if row["figure"] == "scale"]


def test_the_pages_show_what_was_measured() -> None:
    """The figures of the speed guide are those of the run that is kept."""
    code = "import page; print([p.name for p, text in page.pages().items() if p.read_text() != text])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=RUN.parent, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
