"""JSON in one go and piece by piece is the same JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfy_async._base.json import parse_json, parse_large_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@settings(deadline=None)
@given(VALUES, st.sampled_from([None, 1]))
def test_the_same_in_pieces(value: Any, indent: int | None) -> None:
    """Whatever the value, and however it is written."""
    text = json.dumps(value, indent=indent).encode()
    assert parse_large_json(text) == parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "text", [b'{"a": "\\ud800"}', b' [1, [2, {"b": []}], {}] ', b'{"a": NaN}'[:0] + b"{}", b"[]"]
)
def test_odd_but_right(text: bytes) -> None:
    """Lone surrogates, white space and nothing."""
    assert parse_large_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"{", b"[", b"[1", b"[1,", b"[1,]", b"[1 2]", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{1:2}"]
    + [b"[]x", b'{"a":1}}', b"\xff", b"[" * 100_000, b'[[{"a":', b"nul"],
)
def test_what_is_no_json(text: bytes) -> None:
    """Each kind of damage is a ValueError, and the collector runs again afterwards."""
    with pytest.raises(ValueError):  # noqa: PT011
        parse_large_json(text)
    assert gc.isenabled()


def test_the_collector_is_left_as_it_was() -> None:
    """Off where somebody has switched it off; on again when the last of several is done."""
    gc.disable()
    try:
        parse_large_json(b"[]")
        assert not gc.isenabled()
    finally:
        gc.enable()
    text = json.dumps([{"a": n} for n in range(20_000)]).encode()
    threads = [threading.Thread(target=parse_large_json, args=(text,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.isenabled()


async def test_the_loop_has_its_turns() -> None:
    """While a long queue is parsed in a thread the loop turns far more often than in one go."""
    row = [1, "id", {str(n): {"inputs": {"seed": n, "model": ["4", 0]}} for n in range(300)}, {}, ["9"]]
    text = json.dumps({"queue_pending": [row] * 300}).encode()

    async def turns(parse: Any) -> int:
        task, count = asyncio.create_task(asyncio.to_thread(parse, text)), 0
        while not task.done():
            await asyncio.sleep(0)
            count += 1
        return count

    assert await turns(parse_large_json) > 5
