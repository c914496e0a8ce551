"""The command line with a server of Comfy API v2."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from session_tools import picture

from comfy_async.testing import FakeComfy


@pytest.fixture
async def fake() -> AsyncIterator[FakeComfy]:
    """A deployment."""
    async with FakeComfy(dialect="api-v2", api_key="comfyui-k3y") as server:
        yield server


def way(fake: FakeComfy, *more: str) -> tuple[str, ...]:
    """The options that lead there."""
    return ("--server", fake.url, "--api-key", fake.api_key, *more)


@pytest.mark.parametrize("dialect", [(), ("--dialect", "api-v2"), ("--cloud",)])
async def test_a_run(cli: Any, fake: FakeComfy, tmp_path: Path, dialect: tuple[str, ...]) -> None:
    """What answers tells the dialect, or an option does; --cloud means it."""
    flow = tmp_path / "flow.json"
    flow.write_text(json.dumps(picture()), "utf-8")
    done = await cli("run", str(flow), "--out", str(tmp_path / "out"), *way(fake, *dialect))
    assert (done.code, len(list((tmp_path / "out").iterdir()))) == (0, 1)
    assert "k3y" not in done.out + done.err


async def test_doctor(cli: Any, fake: FakeComfy) -> None:
    """It says which dialect was found, and what bounds its use."""
    done = await cli("doctor", "--json", *way(fake))
    found = {item["name"]: item for item in done.objects if item["event"] == "check"}
    assert "api-v2" in found["reached"]["text"]
    assert "16 jobs" in found["limits"]["text"]
    assert found["job"]["state"] == "ok"
    assert "failed" not in {item["state"] for item in found.values()}
    assert done.code == 0


async def test_what_there_is_not(cli: Any, fake: FakeComfy) -> None:
    """The queue of everybody is not shown; that is an error, and no empty queue."""
    done = await cli("queue", *way(fake))
    assert done.code == 1
    assert "API v2" in done.err


async def test_a_dialect_that_there_is_not(cli: Any, fake: FakeComfy) -> None:
    """It is a mistake of usage, which names those that there are."""
    done = await cli("queue", *way(fake, "--dialect", "esperanto"))
    assert done.code == 2
    assert "api-v2" in done.err
