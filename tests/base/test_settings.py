"""Settings refuse what cannot be meant, when they are made."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any

import pytest

from comfy_async import ComfyPool, Settings

DURATIONS = [f.name for f in dataclasses.fields(Settings) if f.type in ("float", "float | None")]
COUNTS = [f.name for f in dataclasses.fields(Settings) if f.type in ("int", "int | None")]


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", [-1, -0.5, math.nan, "30", True])
def test_durations(name: str, value: object) -> None:
    """None is negative, and each is a number; the error names the setting and what it got."""
    given: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=rf"Settings\.{name} is a number of seconds.*not {value!r}"):
        Settings(**given)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.5, "4", True])
def test_counts(name: str, value: object) -> None:
    """Nothing at once would be nothing ever."""
    given: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=rf"Settings\.{name} is a whole number.*not {value!r}"):
        Settings(**given)


def test_every_number_is_checked() -> None:
    """All fields but three are durations or counts."""
    others = {field.name for field in dataclasses.fields(Settings)} - {*DURATIONS, *COUNTS}
    assert others == {"proxy", "clock", "http_transport"}


@pytest.mark.parametrize("proxy", ["foo", "", "gopher://h:1", "http://", "anna:s3cret-word@proxy"])
def test_proxies(proxy: str) -> None:
    """A proxy has a scheme, or a port; what may hold a password is not repeated."""
    with pytest.raises(ValueError, match=r"Settings\.proxy is a URL such as http://proxy:3128") as caught:
        Settings(proxy=proxy)
    assert "s3cret" not in str(caught.value)


def test_what_may_be_meant() -> None:
    """For ever, not at all, and without limit."""
    made = Settings(
        away_seconds=None, submit_seconds=0, hearing_seconds=0, max_frame=None, quiet_seconds=math.inf
    )
    assert pickle.loads(pickle.dumps(made)).max_frame is None
    for proxy in ("http://proxy:3128", "proxy:3128", "socks5h://u:p@10.0.0.1:1080", "HTTPS://proxy"):
        Settings(proxy=proxy)


def test_of_a_pool() -> None:
    """Its own number replaces that of the settings, and is checked like it."""
    with pytest.raises(ValueError, match="away_seconds"):
        ComfyPool(["http://127.0.0.1:8188"], away_seconds=-1)
