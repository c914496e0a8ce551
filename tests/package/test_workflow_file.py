"""The workflow file for others: well formed, of this repository, and of the Pythons that it claims."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import pytest
from package_tools import ROOT

FILE = ROOT / ".github" / "workflows" / "ci.yml"
TEXT = FILE.read_text("utf-8") if FILE.exists() else ""

pytestmark = pytest.mark.skipif(not TEXT, reason="an sdist has no workflow file")


def test_it_is_what_the_schema_allows() -> None:
    """Held against the published schema of such files, without the network."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, str(FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_runs_is_there() -> None:
    """Each file of ours that a step names, ready to be run."""
    named = re.findall(r"(?:\.ci|tests)/[\w./]+", "\n".join(re.findall(r"run: (.*)", TEXT)))
    assert set(named) == {".ci/run", "tests/versions.py"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_its_pythons_are_those_of_the_package() -> None:
    """No Python is claimed that nobody tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    claimed = [line.rpartition(" :: ")[2] for line in project["classifiers"] if ":: 3." in line]
    assert [re.findall(r"3\.\d+", line) for line in re.findall(r"python: \[(.*)\]", TEXT)] == [claimed] * 2
