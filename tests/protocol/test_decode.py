"""One frame in, one event out; nothing is raised for what a server sends."""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

import pytest
import wire_frames as wire
from hypothesis import given, settings
from hypothesis import strategies as st

from comfy_async import events as ev
from comfy_async._protocol.decode import ExecutingNone, _tails, decode_binary, decode_text
from comfy_async.events import BaseEvent


def fields(event: BaseEvent) -> dict[str, Any]:
    """Return everything that a user can read from an event."""
    found: dict[str, Any] = {"class": type(event).__name__}
    for cls in type(event).__mro__:
        for name, value in vars(cls).items():
            if isinstance(value, property) and name not in ("key",):
                found[name] = getattr(event, name)
    return found | {"prompt_id": event.prompt_id, "type": event.type}


@pytest.mark.parametrize("name", wire.RECORDINGS)
def test_every_recorded_frame_decodes(name: str) -> None:
    """No frame of a recording is unknown or malformed, and each keeps its bytes and its time."""
    for at, raw in wire.frames(name):
        event = wire.decode(raw, at)
        assert not isinstance(event, (ev.UnknownEvent, ev.MalformedFrame)), raw[:100]
        assert event.raw is raw
        assert event.received_at == at
        if raw[:1] == b"{":
            message = json.loads(raw)
            assert event.type == message["type"]
            assert event.prompt_id == message["data"].get("prompt_id")
            assert event.data == message["data"]


@pytest.mark.parametrize("name", wire.RECORDINGS)
def test_slicing_equals_parsing(name: str) -> None:
    """However the JSON is spaced or ordered, a frame reads the same."""
    for at, raw in wire.frames(name):
        if raw[:1] != b"{":
            continue
        message = json.loads(raw)
        expected = fields(decode_text(raw, at))
        reordered = {"data": dict(reversed(message["data"].items())), "type": message["type"]}
        for other in (
            json.dumps(message, separators=(",", ":")),
            json.dumps(message, indent=1),
            json.dumps(message, sort_keys=True),
            json.dumps(reordered),
            json.dumps(message, ensure_ascii=False),
        ):
            assert fields(decode_text(other.encode(), at)) == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(['a"b', 'x", "nodes": {', "\\", "é", "3", "12:3", '", "node": "9', "", "\ud800"])


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["progress", "progress_state"]),
    data=st.dictionaries(
        st.sampled_from(["prompt_id", "node", "nodes", "value", "max", "extra", "display_node"]),
        _NAMES | _JSON,
    ),
    compact=st.booleans(),
    ascii_only=st.booleans(),
)
def test_slicing_is_never_wrong(kind: str, data: Any, compact: bool, ascii_only: bool) -> None:
    """Whatever stands in a progress frame, prompt_id and node are those of the parsed JSON."""
    raw = json.dumps(
        {"type": kind, "data": data},
        separators=(",", ":") if compact else None,
        ensure_ascii=ascii_only,
    ).encode("utf-8", "surrogatepass")
    event = decode_text(raw, 0.0)
    wanted = data.get("prompt_id")
    assert event.prompt_id == (wanted if isinstance(wanted, str) else None)
    assert event.data == json.loads(raw)["data"]
    if isinstance(event, ev.Progress):
        node = data.get("node")
        assert event.node == (None if node is None else str(node))


def test_progress_frames_of_one_node_share_a_key() -> None:
    """Two steps of a node may give way to each other, those of two nodes not."""
    one, two, other = (decode_text(wire.step(*row), 0.0) for row in (("3", 1, 4), ("3", 2, 4), ("4", 2, 4)))
    assert one.key == two.key != other.key


def test_what_is_remembered_of_progress_frames_is_bounded() -> None:
    """Neither many jobs nor long frames fill the memory, and what was remembered is right."""
    for number in range(3000):
        raw = wire.text("progress", value=1, max=2, prompt_id=f"job {number}", node=str(number))
        for _ in range(2):
            event = decode_text(raw, 0.0)
            assert isinstance(event, ev.Progress)
            assert (event.prompt_id, event.key) == (f"job {number}", str(number).encode())
    long = wire.text("progress", value=1, max=2, prompt_id="p", node="3", more="x" * 100_000)
    assert decode_text(long, 0.0).prompt_id == "p"
    assert len(_tails) <= 1024
    assert max(map(len, _tails)) <= 512


def test_a_value_that_is_no_number() -> None:
    """What stands before the first comma may be anything, also when the rest is known."""
    usual = decode_text(wire.step("3", 1, 4), 0.0)
    for value in ('"é"', '"a\\"b"', "null", "[]", '{"node": "9"}', "1e3"):
        raw = wire.step("3", 1, 4).replace(b'"value": 1', f'"value": {value}'.encode())
        event = decode_text(raw, 0.0)
        assert isinstance(event, ev.Progress)
        assert (event.prompt_id, event.node) == (usual.prompt_id, "3")
        assert event.data["value"] == json.loads(value)


def test_executing_null_is_internal() -> None:
    """The end marker is no node's start."""
    assert type(decode_text(wire.of_job("executing", node=None), 0.0)) is ExecutingNone
    assert type(decode_text(wire.text("executing", node="3"), 0.0)) is ev.NodeStarted


def test_a_blocked_node_is_no_end() -> None:
    """ExecutionBlocked is the one execution_error after which the run goes on."""
    blocked = decode_text(wire.of_job("execution_error", exception_type="ExecutionBlocked"), 0.0)
    failed = decode_text(wire.of_job("execution_error", exception_type="ValueError"), 0.0)
    assert (type(blocked), blocked.terminal) == (ev.NodeBlocked, False)
    assert (type(failed), failed.terminal) == (ev.Failed, True)


def test_preview_with_metadata() -> None:
    """Type 4 has job, node, MIME type and picture."""
    event = wire.decode(wire.preview("12.0.0.1", b"PNG", mime="image/png", display_node_id="12"))
    assert isinstance(event, ev.Preview)
    assert (event.prompt_id, event.node, event.display_node) == (wire.PROMPT_ID, "12.0.0.1", "12")
    assert (event.mime, event.image, event.delivered) == ("image/png", b"PNG", False)


@pytest.mark.parametrize(("form", "mime"), [(1, "image/jpeg"), (2, "image/png"), (9, "image/jpeg")])
def test_bare_preview(form: int, mime: str) -> None:
    """Type 1 has a MIME type and a picture, and nothing else."""
    event = wire.decode(wire.bare_preview(b"bytes", form=form))
    assert isinstance(event, ev.Preview)
    assert (event.mime, event.image, event.node, event.prompt_id) == (mime, b"bytes", None, None)


def test_text_of_a_node() -> None:
    """Type 3 has node and text; broken UTF-8 in it is replaced."""
    event = wire.decode(wire.node_text("12:3", "Status: läuft"))
    assert isinstance(event, ev.ProgressText)
    assert (event.node, event.text, event.prompt_id) == ("12:3", "Status: läuft", None)
    broken = wire.decode(wire.node_text("1", "") + b"\xff!")
    assert isinstance(broken, ev.ProgressText)
    assert broken.text == "�!"


def test_text_with_a_prompt_id() -> None:
    """The announced variant of type 3 names the job first."""
    raw = wire.node_text("3", "half", prompt_id=wire.PROMPT_ID)
    event = decode_binary(raw, 0.0, text_has_prompt_id=True)
    assert isinstance(event, ev.ProgressText)
    assert (event.node, event.text, event.prompt_id) == ("3", "half", wire.PROMPT_ID)


def test_an_empty_picture_and_an_empty_text() -> None:
    """Frames that hold nothing are no reason to complain."""
    image, words = wire.decode(wire.preview("3", b"")), wire.decode(wire.node_text("", ""))
    assert isinstance(image, ev.Preview)
    assert isinstance(words, ev.ProgressText)
    assert (image.image, words.text) == (b"", "")


def test_unknown_types_come_as_they_are() -> None:
    """A custom node's message keeps its word, its data and its job."""
    event = decode_text(wire.of_job("crystools.monitor", cpu=3), 7.0)
    assert isinstance(event, ev.UnknownEvent)
    assert (event.type, event.data["cpu"], event.prompt_id) == ("crystools.monitor", 3, wire.PROMPT_ID)
    binary = wire.decode(struct.pack(">I", 77) + b"payload")
    assert isinstance(binary, ev.UnknownEvent)
    assert (binary.type, binary.raw) == ("binary 77", struct.pack(">I", 77) + b"payload")


@pytest.mark.parametrize("data", [[1, 2], "text", 5, None])
def test_unknown_types_may_hold_anything(data: Any) -> None:
    """Data that is no object is kept under `value`; none is an empty object."""
    event = decode_text(json.dumps({"type": "odd", "data": data}).encode(), 0.0)
    assert isinstance(event, ev.UnknownEvent)
    assert event.data == ({} if data is None else {"value": data})


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "no json": b"hello",
    "truncated": b'{"type": "executing", "data": {"no',
    "truncated progress": wire.step("3", 1, 2)[:-4],
    "invalid utf-8": b'{"type": "status", "data": "\xff\xfe"}',
    "a list": b"[1, 2]",
    "null": b"null",
    "no type": b"{}",
    "type is a number": b'{"type": 5, "data": {}}',
    "known type, no data": b'{"type": "executing"}',
    "known type, data is a list": b'{"type": "execution_error", "data": []}',
    "known type, data is a text": b'{"type": "progress_state", "data": "x"}',
    "deep": b"[" * 100_000,
    "deep in data": b'{"type": "x", "data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "two bytes": b"\0\0",
    "type 1 without a format": struct.pack(">I", 1),
    "type 3 without a length": struct.pack(">I", 3) + b"\0",
    "type 3 longer than it is": struct.pack(">II", 3, 200) + b"12",
    "type 4 without a length": struct.pack(">I", 4),
    "type 4 longer than it is": struct.pack(">II", 4, 5000) + b"{}",
    "type 4 with no json": struct.pack(">II", 4, 4) + b"{ab,",
    "type 4 with no object": struct.pack(">II", 4, 2) + b"[]",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_frames(name: str) -> None:
    """A frame that cannot be read says why, and keeps its bytes."""
    event = wire.decode(MALFORMED[name], 3.0)
    assert isinstance(event, ev.MalformedFrame)
    assert event.reason
    assert event.raw is MALFORMED[name]
    assert event.received_at == 3.0
    assert event.reason in repr(event) or repr(event.reason) in repr(event)


def test_text_variant_with_too_little() -> None:
    """The variant of type 3 that ends after the prompt_id is malformed."""
    event = decode_binary(wire.node_text("3", ""), 0.0, text_has_prompt_id=True)
    assert isinstance(event, ev.MalformedFrame)


def test_odd_but_readable() -> None:
    """Lone surrogates, NaN, huge numbers and deep values are read; numbers out of reach are 0."""
    raw = b'{"type": "executed", "data": {"node": "3", "output": {"text": ["\\ud800"]}, "prompt_id": "p"}}'
    event = decode_text(raw, 0.0)
    assert isinstance(event, ev.NodeFinished)
    assert event.output == {"text": ["\ud800"]}
    for value in ("NaN", "Infinity", "-1e999", "9" * 400, '"many"', "null", "{}"):
        frame = f'{{"type": "progress", "data": {{"value": {value}, "max": {value}, "prompt_id": "p"}}}}'
        step = decode_text(frame.encode(), 0.0)
        assert isinstance(step, ev.Progress)
        assert (step.value, step.max) == (0, 0)


def test_a_number_beyond_what_python_reads() -> None:
    """An integer of ten thousand digits is malformed or read, and raises nothing."""
    limit = sys.get_int_max_str_digits()
    event = decode_text(b'{"type": "status", "data": {"x": ' + b"9" * (limit + 1) + b"}}", 0.0)
    assert isinstance(event, (ev.MalformedFrame, ev.StatusChanged))


def test_a_frame_that_lies_reads_as_empty() -> None:
    """What looks like progress and is no JSON raises nothing when it is read."""
    event = decode_text(b'{"type": "progress", "data": {,, "prompt_id": "p", "node": "3"}}', 0.0)
    assert event.data == {}
    assert isinstance(event, ev.Progress)
    assert event.value == 0


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes(raw: bytes) -> None:
    """No bytes whatsoever raise, as text or as binary, with or without the variant."""
    for event in (
        decode_text(raw, 0.0),
        decode_binary(raw, 0.0),
        decode_binary(raw, 0.0, text_has_prompt_id=True),
    ):
        fields(event)
        repr(event)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(
        "execution_start execution_cached executing progress progress_state executed execution_success "
        "execution_error execution_interrupted status logs feature_flags other".split()
    ),
    data=st.dictionaries(
        st.sampled_from(
            "prompt_id node nodes value max output status entries timestamp node_id traceback "
            "exception_type exception_message display_node node_type".split()
        ),
        _JSON,
    ),
)
def test_any_data(kind: str, data: Any) -> None:
    """Fields of any shape raise nothing when they are read."""
    event = decode_text(json.dumps({"type": kind, "data": data}).encode(), 0.0)
    fields(event)
    repr(event)
