"""Commands on servers of years ago, and behind proxies that cannot be used."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cli_tools import Cli

from comfy_async.testing import FakeComfy


@pytest.fixture(params=["0.3.10", "0.3.44", "0.5.1", "0.6.0", "0.8.0"])
async def old(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cli]:
    """The command line, pointed at an old server."""
    monkeypatch.chdir(tmp_path)
    async with FakeComfy(version=request.param) as fake:
        yield Cli(fake)


async def test_doctor_finds_an_old_server_well(old: Cli) -> None:
    """What it never had is a warning: it works all the same."""
    done = await old("doctor", "--json")

    assert done.code == 0, done.err
    states = {line["name"]: line["state"] for line in done.of("check")}
    assert "failed" not in states.values()
    (version,) = [line["text"] for line in done.of("check") if line["name"] == "version"]
    announces = "feature flags" not in version.partition("without")[2]
    assert states["flags"] == ("ok" if announces else "warning")


async def test_history_and_cancel(old: Cli, small: Path) -> None:
    """Both know the jobs of a server without a jobs API, or with an early one."""
    ended = json.loads((await old("submit", small)).out)["prompt_id"]
    await old.fake.idle()
    old.fake.hold()
    waiting = json.loads((await old("submit", small, "--set", "1.color=1")).out)["prompt_id"]
    cancelled = await old("cancel", waiting)
    unknown = await old("cancel", "9e721e8c-948f-48d8-a684-409836d205e3")
    old.fake.release()
    listed = await old("history", "--json")
    one = await old("history", ended)

    assert (cancelled.code, cancelled.out) == (0, f"{waiting}  cancelled\n")
    assert unknown.code == 1
    assert "does not know job" in unknown.err
    assert {"prompt_id": ended, "status": "completed"}.items() <= listed.objects[-1].items()
    assert (listed.code, one.code) == (0, 0)
    assert "small_00001_.png" in one.out


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("socks://127.0.0.1:9", "ALL_PROXY names a proxy of kind 'socks'"),
        ("http://[bad", "ALL_PROXY names a proxy whose host or port cannot be read"),
        ("127.0.0.1:9", "by way of the proxy http://127.0.0.1:9 (ALL_PROXY)"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_named(cli: Any, proxy: str, told: str) -> None:
    """By the doctor as a finding, by other commands as an error; neither ends in a traceback."""
    cli.env |= {"ALL_PROXY": proxy, "NO_PROXY": "", "no_proxy": "", "http_proxy": "", "HTTP_PROXY": ""}
    away = ("--server", "http://192.0.2.1:8188")
    looked = await cli("doctor", *away, "--json")
    listed = await cli("queue", *away)

    assert (looked.code, listed.code) == (1, 1)
    (failed,) = [line for line in looked.of("check") if line["state"] == "failed"]
    assert told in failed["text"]
    assert "NO_PROXY='*'" in failed["advice"]
    assert listed.err.startswith("error: ")
    assert told in listed.err
    assert "ComfySession" not in looked.out + listed.err
