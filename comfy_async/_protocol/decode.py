"""One frame in, one event out. Nothing awaits, and nothing is raised for what a server sends.

The frames that come by the thousand (`progress`, `progress_state`) are read by slicing: their
type and prompt_id stand at fixed places in what Python's `json.dumps` writes (server.py sends
`{"type": ..., "data": ...}`), and the rest is parsed when somebody reads the event. A frame that
does not look so is parsed whole, so other servers and gateways work as well, only slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from .._base.json import parse_json
from ..events import (
    AgentStatus,
    AssetScan,
    AssetTransfer,
    BaseEvent,
    Cancelled,
    Completed,
    Failed,
    FeatureFlags,
    LogEntries,
    MalformedFrame,
    NodeBlocked,
    NodeFinished,
    NodesCached,
    NodeStarted,
    Preview,
    Progress,
    ProgressState,
    ProgressText,
    Started,
    StatusChanged,
    UnknownEvent,
)

__all__ = ["ExecutingNone", "decode_binary", "decode_text"]

# Whoever reads an event that came by the socket gets the parser that the frame was decided by.
BaseEvent.parser = staticmethod(parse_json)

_PROGRESS: Final = b'{"type": "progress", "data": {'
_VALUE_FIRST: Final = b'{"type": "progress", "data": {"value": '
_PROGRESS_STATE: Final = b'{"type": "progress_state", "data": {"prompt_id": "'
_PROMPT_ID: Final = b'"prompt_id": "'
_NODE: Final = b'"node": "'

_TYPE_1: Final = (1).to_bytes(4, "big")
_TYPE_3: Final = (3).to_bytes(4, "big")
_TYPE_4: Final = (4).to_bytes(4, "big")

# What followed the value in the latest progress frames, and the prompt_id and node in it.
_tails: dict[bytes, tuple[str, bytes]] = {}
_MAX_TAILS: Final = 1024
_MAX_TAIL_BYTES: Final = 512

_MIME: Final = {1: "image/jpeg", 2: "image/png"}


class ExecutingNone(BaseEvent):
    """`executing` with node null: the run has ended and its history is written. Internal."""

    __slots__ = ()
    type = "executing"


_CLASSES: Final[Mapping[str, Callable[..., BaseEvent]]] = {
    "execution_start": Started,
    "execution_cached": NodesCached,
    "progress": Progress,
    "progress_state": ProgressState,
    "executed": NodeFinished,
    "execution_success": Completed,
    "execution_interrupted": Cancelled,
    "status": StatusChanged,
    "logs": LogEntries,
    "feature_flags": FeatureFlags,
    "agent_status": AgentStatus,
}

# Classes that stand for several words.
_TRANSFERS: Final = frozenset({"asset_download", "asset_export"})
_SCANS: Final = "assets.seed."


def decode_text(raw: bytes, received_at: float) -> BaseEvent:
    """Return the event of a text frame; `MalformedFrame` when it is no message.

    Args:
        raw: The frame's bytes.
        received_at: Unix seconds.
    """
    event: BaseEvent | None = None
    if raw.startswith(_PROGRESS_STATE) and raw.endswith(b"}}}"):
        event = _sliced_state(raw, received_at)
    elif raw.startswith(_PROGRESS) and raw.endswith(b"}}"):
        event = _sliced_progress(raw, received_at)
    return _parsed(raw, received_at) if event is None else event


def _sliced_state(raw: bytes, received_at: float) -> ProgressState | None:
    """Read the prompt_id of a `progress_state` frame by its place; None when it is odd."""
    start = len(_PROGRESS_STATE)
    end = raw.find(b'"', start, start + 200)
    prompt_id = raw[start:end]
    if end < 0 or not raw.startswith(b'", "nodes": {', end) or not prompt_id.isascii() or b"\\" in prompt_id:
        return None
    return ProgressState(raw, None, prompt_id.decode("ascii"), received_at=received_at)


def _sliced_progress(raw: bytes, received_at: float) -> Progress | None:
    """Read prompt_id and node of a `progress` frame by their places; None when they are odd.

    From one step of a node to the next only the value changes, which ComfyUI writes first:
    what stands behind it is looked up among the latest that were read.
    """
    tail = raw[raw.find(b",", len(_VALUE_FIRST)) :] if raw.startswith(_VALUE_FIRST) else b""
    known = _tails.get(tail)
    if known is None:
        known = _names(raw)
        if known is None:
            return None
        if 0 < len(tail) <= _MAX_TAIL_BYTES:
            if len(_tails) >= _MAX_TAILS:
                _tails.clear()
            _tails[tail] = known
    return Progress(raw, None, known[0], received_at=received_at, node_bytes=known[1])


def _names(raw: bytes) -> tuple[str, bytes] | None:
    """Return prompt_id and node of a `progress` frame; None when it takes a real parser."""
    start = raw.find(_PROMPT_ID)
    node_start = raw.find(_NODE)
    # Escapes, other alphabets and objects within the object need a real parser.
    if start < 0 or node_start < 0 or b"\\" in raw or not raw.isascii() or raw.find(b"{", len(_PROGRESS)) > 0:
        return None
    start += len(_PROMPT_ID)
    end = raw.find(b'"', start)
    node_start += len(_NODE)
    node_end = raw.find(b'"', node_start)
    if end < 0 or node_end < 0:
        return None
    return raw[start:end].decode("ascii"), raw[node_start:node_end]


def _parsed(raw: bytes, received_at: float) -> BaseEvent:
    """Parse the whole frame and choose the event's class by its type."""
    try:
        message = parse_json(raw)
    except ValueError as error:
        return _malformed(raw, f"not JSON: {error}", received_at)
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return _malformed(raw, 'not an object with a "type"', received_at)
    kind = message["type"]
    data = message.get("data")
    if not isinstance(data, dict):
        if kind in _CLASSES or kind in {"executing", "execution_error"}:
            return _malformed(raw, f'"{kind}" without a data object', received_at)
        data = {} if data is None else {"value": data}
    prompt_id = data.get("prompt_id")
    if not isinstance(prompt_id, str):
        prompt_id = None
    cls = _CLASSES.get(kind)
    if cls is None:
        if kind == "executing":
            cls = ExecutingNone if data.get("node") is None else NodeStarted
        elif kind == "execution_error":
            # Sent for each blocked branch while the run goes on (execution.py, ExecutionBlocked).
            cls = NodeBlocked if data.get("exception_type") == "ExecutionBlocked" else Failed
        else:
            return _named(kind)(raw, data, prompt_id, received_at=received_at, type=kind)
    return cls(raw, data, prompt_id, received_at=received_at)


def _named(kind: str) -> type[AssetScan | AssetTransfer | UnknownEvent]:
    """Return the class for a type that has none of its own."""
    if kind.startswith(_SCANS):
        return AssetScan
    return AssetTransfer if kind in _TRANSFERS else UnknownEvent


def decode_binary(raw: bytes, received_at: float, *, text_has_prompt_id: bool = False) -> BaseEvent:
    """Return the event of a binary frame: a big-endian uint32 type, then the payload.

    Args:
        raw: The frame's bytes.
        received_at: Unix seconds.
        text_has_prompt_id: True when the server announced `supports_progress_text_metadata`:
            a prompt_id then stands before the node id of type 3.
    """
    kind = raw[:4]
    if kind == _TYPE_4:
        return _preview_with_metadata(raw, received_at)
    if kind == _TYPE_1:
        return _bare_preview(raw, received_at)
    if kind == _TYPE_3:
        return _text(raw, received_at, text_has_prompt_id)
    if len(raw) < 4:
        return _malformed(raw, "a binary frame of less than four bytes", received_at)
    number = int.from_bytes(kind, "big")
    return UnknownEvent(raw, {}, None, received_at=received_at, type=f"binary {number}")


def _preview_with_metadata(raw: bytes, received_at: float) -> BaseEvent:
    """Type 4: uint32 length of the JSON, the JSON, the picture."""
    offset = 8 + int.from_bytes(raw[4:8], "big")
    if len(raw) < 8 or offset > len(raw):
        return _malformed(raw, "a preview shorter than its header says", received_at)
    try:
        data = parse_json(raw[8:offset])
    except ValueError as error:
        return _malformed(raw, f"a preview whose header is no JSON: {error}", received_at)
    if not isinstance(data, dict):
        return _malformed(raw, "a preview whose header is no object", received_at)
    prompt_id = data.get("prompt_id")
    return Preview(
        raw,
        data,
        prompt_id if isinstance(prompt_id, str) else None,
        received_at=received_at,
        offset=offset,
    )


def _bare_preview(raw: bytes, received_at: float) -> BaseEvent:
    """Type 1: uint32 format (1 JPEG, 2 PNG), the picture; neither job nor node."""
    if len(raw) < 8:
        return _malformed(raw, "a preview without its format", received_at)
    mime = _MIME.get(int.from_bytes(raw[4:8], "big"), "image/jpeg")
    return Preview(raw, {"image_type": mime}, None, received_at=received_at, offset=8)


def _text(raw: bytes, received_at: float, has_prompt_id: bool) -> BaseEvent:
    """Type 3: uint32 length and node id, then the text; a prompt_id before them when announced."""
    offset = 4
    names: list[str] = []
    for _ in range(2 if has_prompt_id else 1):
        end = offset + 4 + int.from_bytes(raw[offset : offset + 4], "big")
        if len(raw) < offset + 4 or end > len(raw):
            return _malformed(raw, "a text frame shorter than its header says", received_at)
        names.append(raw[offset + 4 : end].decode("utf-8", "replace"))
        offset = end
    data = {"node": names[-1], "text": raw[offset:].decode("utf-8", "replace")}
    prompt_id = names[0] if has_prompt_id else None
    return ProgressText(raw, data, prompt_id, received_at=received_at)


def _malformed(raw: bytes, reason: str, received_at: float) -> MalformedFrame:
    """Return the frame with what is wrong about it."""
    return MalformedFrame(raw, {"reason": reason}, None, received_at=received_at)
