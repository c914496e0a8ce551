"""What mypy says of programs outside of the package, in strict mode; a plugin of tests/conftest.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Mypy: TypeAlias = Callable[..., list[str]]
"""Takes a folder and names of files in it; returns what mypy prints, by line."""


@pytest.fixture(scope="session")
def strict_mypy(tmp_path_factory: pytest.TempPathFactory) -> Mypy:
    """What checks files against the installed package; what it reads of that, it reads once."""
    cache = tmp_path_factory.getbasetemp() / "mypy"

    def check(folder: Path, *names: str) -> list[str]:
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
        done = subprocess.run(
            [*command, f"--cache-dir={cache}", *names],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return done.stdout.splitlines()

    return check
