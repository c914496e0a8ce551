"""Events cross processes whole, and light."""

from __future__ import annotations

import copy
import pickle

import pytest

from comfy_async.events import (
    BaseEvent,
    Completed,
    NodeFinished,
    Preview,
    Progress,
    UnknownEvent,
)
from comfy_async.types import NodeInfo

NODES = {str(number): NodeInfo(str(number), f"Title {number}", "Class") for number in range(300)}
FRAME = b'{"type": "progress", "data": {"node": "7", "value": 3, "max": 20}}'


@pytest.mark.parametrize(
    "event",
    [
        Progress(FRAME, None, "job", received_at=12.5, node_bytes=b"7"),
        NodeFinished(None, {"node": "7.0.0.1", "output": {"text": ["x"]}}, "job", received_at=12.5),
        Preview(b"12345678JPEG", {"node_id": "7"}, "job", received_at=12.5, offset=8),
        Completed(None, {}, "job", received_at=12.5),
        UnknownEvent(b"{}", None, "job", received_at=12.5, type="custom"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_travels(event: BaseEvent) -> None:
    """Class, frame, data, job, time and the node's title; not the names of 299 other nodes."""
    if hasattr(event, "_nodes"):
        event._nodes = NODES
    packed = pickle.dumps(event)
    assert len(packed) < 600
    for twin in (pickle.loads(packed), copy.copy(event)):
        assert type(twin) is type(event)
        for name in ("raw", "data", "prompt_id", "received_at", "type", "key", "title", "node", "image"):
            assert getattr(twin, name, None) == getattr(event, name, None), name
        assert repr(twin) == repr(event)
