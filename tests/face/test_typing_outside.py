"""The types as a project outside sees them: mypy and pyright take the use and refuse the misuse."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from check_tools import Mypy

PROJECT = Path(__file__).parent / "typing_outside"
MISTAKES = (PROJECT / "mistakes.txt").read_text()
"""Kept as text, since every checker that finds it complains."""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, where no configuration of ours holds."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copy(PROJECT / "consumer.py", folder)
    (folder / "mistakes.py").write_text(MISTAKES)
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    return folder


@pytest.fixture(scope="module")
def mypy(outside: Path, strict_mypy: Mypy) -> list[str]:
    """What mypy says of both files, in strict mode, against the installed package."""
    return strict_mypy(outside, "consumer.py", "mistakes.py")


@pytest.fixture(scope="module")
def pyright(outside: Path) -> list[tuple[str, int, str]]:
    """The errors of pyright in strict mode: file, line (from 1) and message."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=outside, capture_output=True, text=True, check=False)
    return [
        (Path(row["file"]).name, row["range"]["start"]["line"] + 1, row["message"])
        for row in json.loads(done.stdout)["generalDiagnostics"]
        if row["severity"] == "error"
    ]


def marked() -> dict[int, str]:
    """Return the lines that are mistakes, with the rule of mypy that says so."""
    return {
        number: line.partition("# expect: ")[2]
        for number, line in enumerate(MISTAKES.splitlines(), 1)
        if "# expect: " in line
    }


def test_mypy_takes_the_use(mypy: list[str]) -> None:
    """With a match statement over all events that needs no last case."""
    assert [line for line in mypy if line.startswith("consumer.py")] == []


def test_mypy_refuses_the_misuse(mypy: list[str]) -> None:
    """Every mistake is an error of its kind, and no other line is one."""
    said = [re.match(r"mistakes\.py:(\d+): error: .*\[(.+)\]$", line) for line in mypy]
    assert {int(found[1]): found[2] for found in said if found} == marked()


def test_pyright_agrees(pyright: list[tuple[str, int, str]]) -> None:
    """It finds nothing in the use, and each of the mistakes."""
    assert [message for name, _, message in pyright if name == "consumer.py"] == []
    assert set(marked()) <= {line for name, line, _ in pyright if name == "mistakes.py"}
