"""FakeComfy as a proxy is held to recordings of comfy-api-proxy 0.1.6 in front of a real ComfyUI 0.33.0."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
from typing import Any

import pytest
from v2_fake import FakeStage, client
from v2_scenarios import SCENARIOS, Tape
from wire_recordings import recording

from comfy_async.testing import ApiV2, FakeComfy

_MASKED = frozenset(
    # ids, times and names of the day
    "id job_id created_at expires_at url_expires_at url self events cancel name hash "
    # sizes of files, and prose
    "sha256 message details missing_ids current_node".split()
)
_HASHED = ("assets", "bad_uploads", "failing")


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_repeated(name: str) -> None:
    """The same requests get the same answers, and the streams the same events up to what is throttled."""
    if name in _HASHED and importlib.util.find_spec("blake3") is None:
        pytest.skip("hashes take the package blake3")
    manners = ApiV2.proxy(throttle_seconds=0.5, keepalive_seconds=0.2)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        tape = Tape(http)
        async with FakeStage(fake) as stage:
            await SCENARIOS[name](tape, stage)
    recorded = recording(f"v2_{name}")
    assert answers(tape.lines) == answers(recorded)
    assert streams(tape.lines) == streams(recorded)


def answers(lines: list[dict[str, Any]]) -> list[Any]:
    """Return what was asked and answered, without what differs from day to day."""
    return [
        (line["http"]["method"], line["status"], line["headers"], masked(line["body"]))
        for line in lines
        if "http" in line
    ]


def streams(lines: list[dict[str, Any]]) -> list[list[Any]]:
    """Return the events of each stream; of progress in a row, which is throttled, the keys once.

    Outputs are told after the last status, or before it: that hangs on how soon the history is written.
    """
    found: dict[int, list[Any]] = {}
    for line in lines:
        if "stream" in line and "comment" not in line:
            found.setdefault(line["stream"], []).append(event(line))
    for events in found.values():
        events.sort(key=lambda told: 2 if told == "end" else int(told[0] == "output"))
    return [[key for key, _ in itertools.groupby(events)] for events in found.values()]


def event(line: dict[str, Any]) -> Any:
    """Return an event without what differs from day to day."""
    if line.get("event") == "progress":
        return ("progress", sorted(line["data"]) if "step" in line["data"] else line["data"])
    if "event" in line:
        return line["event"], json.dumps(masked(line["data"]))
    return "begin" if "status" in line else "end"


def masked(value: Any, key: str = "") -> Any:
    """Return a value with what differs from day to day replaced by its type."""
    if key in _MASKED and not isinstance(value, (dict, list)):
        return type(value).__name__
    if key == "bytes" and value > 16:
        return "some"
    if isinstance(value, str):
        return re.sub(r"_\d{5}_", "_NUMBER_", value)
    if isinstance(value, dict):
        return {name: masked(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, key) for inner in value]
    return value
