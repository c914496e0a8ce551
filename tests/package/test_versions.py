"""The command for versions, but for its network: what it would install, and where."""

from __future__ import annotations

import sys
import tomllib

from package_tools import ROOT
from packaging.requirements import Requirement
from versions import QUICK, Row, pythons, requirements, table

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_every_bound_is_tried() -> None:
    """Those of all extras too, with our own spelled out, and each of them names a lowest version."""
    wanted = requirements()
    own = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    expected = {*PROJECT["dependencies"], *own}
    assert set(wanted) == {line for line in expected if not line.startswith("comfy-async[")}
    assert not [line for line in wanted if not Requirement(line).specifier]


def test_it_finds_pythons() -> None:
    """At least the one that runs this."""
    assert f"3.{sys.version_info.minor}" in pythons()


def test_the_quick_part_is_there() -> None:
    """A file that was renamed would be missed by nobody else."""
    assert [name for name in QUICK if not (ROOT / name).exists()] == []


def test_the_table_tells_of_what_is_left_out() -> None:
    """A column for each environment; a package that was not installed is called none."""
    row = Row(
        "3.19", "lowest", versions={"httpx": "0.28.1"}, outcome="3 passed, 1 s", notes=["no ray for it"]
    )
    lines = table([row]).splitlines()
    assert lines[0] == "|  | asked for | 3.19 lowest |"
    assert lines[2] == "| tests |  | 3 passed, 1 s; no ray for it |"
    assert "| httpx | <1,>=0.28.1 | 0.28.1 |" in lines
    assert [line for line in lines if line.startswith("| ray ") and line.endswith("| none |")]
