"""The events of a running job: light classes over the frame's bytes, decoded when they are read.

Every event has `type` (the message type on the wire), `prompt_id` (None when it is not about one job),
`raw` (the frame as it came, None for what the library itself reports) and `received_at`
(Unix seconds). Node events add `node`, `title` and `class_type`.

Example:
    >>> async for event in job:
    ...     match event:
    ...         case Progress(node=node, value=value, max=maximum):
    ...             print(node, value, maximum)
    ...         case NodeFinished(title=title, output=output):
    ...             print(title, output)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from .types import NodeInfo

__all__ = [
    "AgentStatus",
    "AssetScan",
    "AssetTransfer",
    "Cancelled",
    "Completed",
    "Disconnected",
    "Event",
    "Failed",
    "FeatureFlags",
    "LogEntries",
    "Lost",
    "MalformedFrame",
    "NodeBlocked",
    "NodeFinished",
    "NodeStarted",
    "NodesCached",
    "PollingStarted",
    "Preview",
    "Progress",
    "ProgressState",
    "ProgressText",
    "QueuePosition",
    "Queued",
    "Reconnected",
    "Started",
    "StatusChanged",
    "UnknownEvent",
]

_NO_NODES: Mapping[str, NodeInfo] = {}
_LIMIT = 1e15


class BaseEvent:
    """What all events share. Slots and a lazy `data`: a frame that is not read is never parsed."""

    __slots__ = ("_data", "prompt_id", "raw", "received_at")

    type: str
    """The message type on the wire."""

    lossy: ClassVar[bool] = False
    """True when a newer event of this kind and node may take its place in a full mailbox."""

    terminal: ClassVar[bool] = False
    """True for the last event of a job."""

    parser: ClassVar[Callable[[bytes], Any]] = staticmethod(json.loads)
    """What reads a frame; `_protocol.decode` puts a faster one in its place. Raises ValueError."""

    prompt_id: str | None
    raw: bytes | None
    received_at: float

    def __init__(
        self,
        raw: bytes | None = None,
        data: Mapping[str, Any] | None = None,
        prompt_id: str | None = None,
        *,
        received_at: float = 0.0,
    ) -> None:
        """Keep the frame; `data=None` means that it is parsed from `raw` when somebody reads it."""
        self.raw = raw
        self._data = data
        self.prompt_id = prompt_id
        self.received_at = received_at

    @property
    def data(self) -> Mapping[str, Any]:
        """The message's `data` object as ComfyUI sent it, {} when there is none."""
        data = self._data
        if data is None:
            data = self._data = self._parse()
        return data

    @property
    def key(self) -> object:
        """What an event must share with a newer one to be replaced by it."""
        return self.type

    def _parse(self) -> Mapping[str, Any]:
        """Read `data` out of the frame; a frame that cannot be parsed reads as empty."""
        if self.raw is None:
            return {}
        try:
            message = type(self).parser(self.raw)
        except (ValueError, RecursionError):
            return {}
        data = message.get("data") if isinstance(message, dict) else None
        return data if isinstance(data, dict) else {}

    def _summary(self) -> str:
        """Return what the repr says beyond the class and the job; never inputs, which may hold keys."""
        return ""

    def __repr__(self) -> str:
        """Return the class, the job's short id and the fields that matter."""
        parts = [type(self).__name__]
        if self.prompt_id:
            parts.append(self.prompt_id[:8])
        summary = self._summary()
        if summary:
            parts.append(summary)
        return f"<{' '.join(parts)}>"


class NodeEvent(BaseEvent):
    """An event about one node; titles and classes come from the submitted workflow."""

    __slots__ = ("plan_nodes",)

    plan_nodes: Mapping[str, NodeInfo]
    """The nodes of the submitted workflow, which tell `title` and `class_type`."""

    def __init__(
        self,
        raw: bytes | None = None,
        data: Mapping[str, Any] | None = None,
        prompt_id: str | None = None,
        *,
        received_at: float = 0.0,
    ) -> None:
        """Start without a workflow; the job that the event belongs to gives it one."""
        super().__init__(raw, data, prompt_id, received_at=received_at)
        self.plan_nodes = _NO_NODES

    def __getstate__(self) -> object:
        """Pickle with the title and class of this node, not with those of the whole workflow."""
        state = super().__getstate__()
        if isinstance(state, tuple):
            info = self._info()
            state[1]["plan_nodes"] = {} if info is None else {info.id: info}
        return state

    @property
    def node(self) -> str | None:
        """The node's id as ComfyUI executes it, or None when the server did not say."""
        return _text_or_none(self.data.get("node"))

    @property
    def display_node(self) -> str | None:
        """The id of the node that the user sees: it differs in expanded subgraphs."""
        return _text_or_none(self.data.get("display_node")) or self.node

    @property
    def title(self) -> str:
        """The node's title in the editor, else its class, else its id."""
        info = self._info()
        return (info.title or info.class_type or info.id) if info else (self.node or "")

    @property
    def class_type(self) -> str:
        """The node's class, "" when it is not in the submitted workflow."""
        info = self._info()
        return info.class_type if info else ""

    def _info(self) -> NodeInfo | None:
        """Find the node in the workflow; `12.0.0.1` is made by node 12 while it runs."""
        nodes = self.plan_nodes
        for name in (self.node, self.display_node):
            if name is not None:
                found = nodes.get(name) or nodes.get(name.partition(".")[0])
                if found is not None:
                    return found
        return None

    def _summary(self) -> str:
        """Return the node's title and id."""
        return f"node={self.node!r}"


class Queued(BaseEvent):
    """The server accepted the prompt (the answer of POST /prompt).

    `number` is its place: lower runs first, and `front=True` gives it a minus sign (server.py).

    Example:
        >>> [event.number async for event in job if isinstance(event, Queued)]
        [1]
    """

    __slots__ = ()
    type = "queued"

    @property
    def number(self) -> float:
        """The place in the server's queue: lower runs first."""
        return _number(self.data.get("number"))

    @property
    def node_errors(self) -> Mapping[str, Any]:
        """Why some outputs will not run; {} when all will."""
        errors = self.data.get("node_errors")
        return errors if isinstance(errors, dict) else {}


class Started(BaseEvent):
    """The server began to run the job (`execution_start`).

    `timestamp` is the server's clock (execution.py), `received_at` this machine's.

    Example:
        >>> from datetime import datetime
        >>> async for event in job:
        ...     if isinstance(event, Started) and event.timestamp:
        ...         print(datetime.fromtimestamp(event.timestamp / 1000))
        20...
    """

    __slots__ = ()
    type = "execution_start"

    @property
    def timestamp(self) -> int | None:
        """The server's clock in milliseconds, None when found by polling."""
        timestamp = self.data.get("timestamp")
        return timestamp if isinstance(timestamp, int) else None


class NodesCached(BaseEvent):
    """These nodes need not run: the server kept their results (`execution_cached`).

    Every run sends it, with no nodes when nothing is cached. A run that is cached as a whole starts
    no node at all, and sends its outputs again (execution.py).

    Example:
        >>> result = await comfy.run(flow)
        >>> job = await comfy.submit(flow.with_inputs({"9.filename_prefix": "again"}))
        >>> [event.nodes async for event in job if isinstance(event, NodesCached)]
        [('3', '4', '5', '6', '7', '8', '10')]
    """

    __slots__ = ()
    type = "execution_cached"

    @property
    def nodes(self) -> tuple[str, ...]:
        """The ids of the cached nodes."""
        nodes = self.data.get("nodes")
        return tuple(map(str, nodes)) if isinstance(nodes, (list, tuple)) else ()

    def _summary(self) -> str:
        return f"nodes={list(self.nodes)!r}"


class NodeStarted(NodeEvent):
    """A node begins to run (`executing`).

    A node that another one makes while it runs has an id such as `12.0.0.1`, one of a flattened
    subgraph `12:3`; `display_node` is the one that people see (execution.py).

    Example:
        >>> [event.title async for event in job if isinstance(event, NodeStarted)]
        ['Load VAE', 'Empty Latent Image', ...'KSampler', 'VAE Decode', 'Save Image']
    """

    __slots__ = ()
    type = "executing"


class Progress(NodeEvent):
    """The running node made a step (`progress`).

    Each node counts from the beginning; both numbers may be fractions (main.py, `hijack_progress`).

    Example:
        >>> async for event in job:
        ...     if isinstance(event, Progress):
        ...         print(f"{event.title} {event.value:g}/{event.max:g}")
        KSampler 1/20
        ...
        KSampler 20/20
    """

    __slots__ = ("_node_bytes",)
    type = "progress"
    lossy = True
    __match_args__ = ("node", "value", "max")

    def __init__(
        self,
        raw: bytes | None = None,
        data: Mapping[str, Any] | None = None,
        prompt_id: str | None = None,
        *,
        received_at: float = 0.0,
        node_bytes: bytes | None = None,
    ) -> None:
        """Keep the node as bytes too, so that two frames compare without being parsed."""
        self.raw = raw
        self._data = data
        self.prompt_id = prompt_id
        self.received_at = received_at
        self.plan_nodes = _NO_NODES
        self._node_bytes = node_bytes

    @property
    def key(self) -> object:
        """The kind and the node."""
        return self._node_bytes if self._node_bytes is not None else ("progress", self.node)

    @property
    def value(self) -> float:
        """Steps done."""
        return _number(self.data.get("value"))

    @property
    def max(self) -> float:
        """Steps in all, 0 when unknown."""
        return _number(self.data.get("max"))

    def _summary(self) -> str:
        return f"node={self.node!r} {self.value:g}/{self.max:g}"


class ProgressState(BaseEvent):
    """The state of every node that runs or has run (`progress_state`).

    Since ComfyUI 0.3.45 (comfy_execution/progress.py); nodes that still wait are left out.

    Example:
        >>> async for event in job:
        ...     if isinstance(event, ProgressState):
        ...         print({node: state["state"] for node, state in event.nodes.items()})
        {'10': 'running'}
        ...
    """

    __slots__ = ()
    type = "progress_state"
    lossy = True

    @property
    def nodes(self) -> Mapping[str, Mapping[str, Any]]:
        """By node id: `value`, `max`, `state` ("running", "finished", "error") and the ids."""
        nodes = self.data.get("nodes")
        return nodes if isinstance(nodes, dict) else {}

    def _summary(self) -> str:
        return f"{len(self.nodes)} nodes"


class Preview(NodeEvent):
    """A picture of work in progress, or an image of SaveImageWebsocket (binary types 1 and 4).

    None comes unless `previews` asks for it. Type 4, since ComfyUI 0.3.45, names its job and node;
    type 1 names neither, and counts for what runs (protocol.py, server.py).

    Example:
        >>> from pathlib import Path
        >>> job = await comfy.submit(flow, previews="latent2rgb")
        >>> async for event in job:
        ...     if isinstance(event, Preview):
        ...         print(event.title, event.mime, Path("preview.jpg").write_bytes(event.image))
        KSampler image/jpeg ...
    """

    __slots__ = ("_offset", "delivered")
    type = "preview"
    lossy = True
    __match_args__ = ("image",)

    def __init__(
        self,
        raw: bytes | None = None,
        data: Mapping[str, Any] | None = None,
        prompt_id: str | None = None,
        *,
        received_at: float = 0.0,
        offset: int = 0,
    ) -> None:
        """Keep where the picture begins in the frame."""
        super().__init__(raw, data, prompt_id, received_at=received_at)
        self._offset = offset
        self.delivered = False

    delivered: bool
    """True when the frame is an output of the workflow (SaveImageWebsocket), not a preview."""

    def belong_to(self, node: str | None) -> None:
        """Count as a picture of this node: a frame of type 1 names none."""
        self._data = {**self.data, "node_id": node}

    @property
    def key(self) -> object:
        """The kind and the node."""
        return ("preview", self.node)

    @property
    def mime(self) -> str:
        """The picture's MIME type: image/jpeg or image/png."""
        return str(self.data.get("image_type") or "image/jpeg")

    @property
    def image(self) -> bytes:
        """The encoded picture."""
        return b"" if self.raw is None else self.raw[self._offset :]

    @property
    def node(self) -> str | None:
        """The node's id; for type 1 frames the node that was running."""
        return _text_or_none(self.data.get("node_id"))

    @property
    def display_node(self) -> str | None:
        """The id of the node that the user sees."""
        return _text_or_none(self.data.get("display_node_id")) or self.node

    def _summary(self) -> str:
        size = 0 if self.raw is None else len(self.raw) - self._offset
        return f"node={self.node!r} {self.mime} {size} bytes"


class ProgressText(NodeEvent):
    """A line of text from the running node: status and price of partner nodes (binary type 3).

    Only nodes that have something to say send it (server.py, `send_progress_text`).

    Example:
        >>> fake.script("VideoService", text="Price: 12 credits", is_output=True)
        >>> job = await comfy.submit({"1": {"class_type": "VideoService", "inputs": {}}})
        >>> [event.text async for event in job if isinstance(event, ProgressText)]
        ['Price: 12 credits']
    """

    __slots__ = ()
    type = "progress_text"
    lossy = True
    __match_args__ = ("text",)

    @property
    def key(self) -> object:
        """The kind and the node."""
        return ("text", self.node)

    @property
    def text(self) -> str:
        """The text."""
        return str(self.data.get("text", ""))

    def _summary(self) -> str:
        return f"node={self.node!r} {self.text[:60]!r}"


class NodeFinished(NodeEvent):
    """A node is done; once for each node that ran, or that sent its cached output again.

    `raw` is the `executed` frame, and None when the end was seen in `progress_state` or in
    the next node's start: those nodes show nothing.

    Example:
        >>> async for event in job:
        ...     if isinstance(event, NodeFinished) and event.output:
        ...         print(event.title, event.output["images"][0]["filename"])
        Save Image ComfyUI_00002_.png
    """

    __slots__ = ()
    type = "executed"

    @property
    def output(self) -> Mapping[str, Any] | None:
        """What the node shows: lists under keys such as `images` or `text`; None for most nodes."""
        output = self.data.get("output")
        return output if isinstance(output, dict) else None

    def _summary(self) -> str:
        keys = f" output={sorted(self.output)!r}" if self.output else ""
        return f"node={self.node!r}{keys}"


class Completed(BaseEvent):
    """The job is done (`execution_success`, or found in the history).

    The server writes its history a moment later (main.py); `await job` waits for it where it needs it.

    Example:
        >>> async for event in job:
        ...     if isinstance(event, Completed):
        ...         print(job.progress.fraction)
        1.0
    """

    __slots__ = ()
    type = "execution_success"
    terminal = True


class _NodeFailure(NodeEvent):
    """What `execution_error` carries."""

    __slots__ = ()

    @property
    def node(self) -> str | None:
        """The node's id."""
        return _text_or_none(self.data.get("node_id"))

    @property
    def class_type(self) -> str:
        """The node's class."""
        return str(self.data.get("node_type") or "") or super().class_type

    @property
    def exception_type(self) -> str:
        """The server-side exception's name."""
        return str(self.data.get("exception_type") or "")

    @property
    def exception_message(self) -> str:
        """The server-side exception's text."""
        return str(self.data.get("exception_message") or "").strip()

    @property
    def traceback(self) -> str:
        """The server's traceback, one string with line ends."""
        lines = self.data.get("traceback")
        return "".join(map(str, lines)) if isinstance(lines, (list, tuple)) else str(lines or "")

    def _summary(self) -> str:
        return f"node={self.node!r} {self.exception_type}: {self.exception_message[:80]}"


class Failed(_NodeFailure):
    """A node raised, and the job ended (`execution_error`).

    `exception_type`, `exception_message` and `traceback` are the server's own; the inputs that it
    sends along are in `data` and in no repr, since they may hold keys.

    Example:
        >>> fake.script("DrawText", error=ValueError("no such font"))
        >>> job = await comfy.submit({"1": {"class_type": "DrawText", "inputs": {}}})
        >>> async for event in job:
        ...     if isinstance(event, Failed):
        ...         print(event.node, event.class_type, event.exception_type, event.exception_message)
        1 DrawText ValueError no such font
    """

    __slots__ = ()
    type = "execution_error"
    terminal = True


class NodeBlocked(_NodeFailure):
    """A node refused to go on, and the job goes on without its branch (ExecutionBlocked).

    On the wire an `execution_error` of the type ExecutionBlocked, which is no end, and which the
    history does not keep (execution.py).

    Example:
        >>> fake.script("OnlyFaces", outputs=["IMAGE"], error="blocked")
        >>> graph = {"1": {"class_type": "OnlyFaces", "inputs": {}},
        ...     "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
        >>> job = await comfy.submit(graph)
        >>> [type(event).__name__ async for event in job if isinstance(event, (NodeBlocked, Completed))]
        ['NodeBlocked', 'Completed']
    """

    __slots__ = ()
    type = "execution_error"


class Cancelled(NodeEvent):
    """The job was interrupted while it ran, or removed while it waited.

    The server says nothing of a job that was removed from the queue: polling finds it, and `raw` is
    None then.

    Example:
        >>> fake.hold()
        >>> job = await comfy.submit(flow)
        >>> await job.cancel()
        'cancelled'
        >>> [event.node async for event in job if isinstance(event, Cancelled)]
        [None]
    """

    __slots__ = ()
    type = "execution_interrupted"
    terminal = True

    @property
    def node(self) -> str | None:
        """The node that was running, None when the job was pending."""
        return _text_or_none(self.data.get("node_id"))


class Lost(BaseEvent):
    """The server does not know the job any more, or has been silent for too long; found by polling.

    Example:
        >>> fake.hold()
        >>> job = await comfy.submit(flow)
        >>> await fake.faults.restart(history=False)
        >>> [event async for event in job][-1]
        <Lost ...>
    """

    __slots__ = ()
    type = "lost"
    terminal = True


class StatusChanged(BaseEvent):
    """The server's queue changed (`status`).

    It goes to every client whenever the queue changes (server.py, `queue_updated`), so it also
    proves that the socket receives messages.

    Example:
        >>> events = comfy.events()
        >>> job = await comfy.submit(flow)
        >>> async for event in events:
        ...     if isinstance(event, StatusChanged) and event.queue_remaining == 0:
        ...         break  # the server is idle
    """

    __slots__ = ()
    type = "status"
    lossy = True

    @property
    def queue_remaining(self) -> int | None:
        """Running and waiting jobs of everybody, None when the server did not say."""
        try:
            return int(self.data["status"]["exec_info"]["queue_remaining"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    def _summary(self) -> str:
        return f"queue_remaining={self.queue_remaining}"


class LogEntries(BaseEvent):
    """Lines of the server's log (`logs`, after a subscription).

    `await comfy.system.subscribe_logs()` asks for them (PATCH /internal/logs/subscribe).

    Example:
        >>> await comfy.system.subscribe_logs()
        >>> events = comfy.events()
        >>> job = await comfy.submit(flow)
        >>> async for event in events:
        ...     if isinstance(event, LogEntries):
        ...         print(event.entries[0]["m"])
        ...         break
        [INFO] got prompt
    """

    __slots__ = ()
    type = "logs"
    lossy = True

    @property
    def entries(self) -> tuple[Mapping[str, Any], ...]:
        """The lines: `t` (ISO time) and `m` (text with terminal colours)."""
        entries = self.data.get("entries")
        return tuple(e for e in entries if isinstance(e, dict)) if isinstance(entries, list) else ()


class FeatureFlags(BaseEvent):
    """What the server says it can do (`feature_flags`).

    The answer to the session's own, which it sends first on every connection, since ComfyUI 0.3.45
    (server.py; comfy_api/feature_flags.py).

    Example:
        >>> async with ComfySession("http://127.0.0.1:8188") as comfy:
        ...     events = comfy.events()
        ...     job = await comfy.submit(flow)
        ...     async for event in events:
        ...         if isinstance(event, FeatureFlags):
        ...             print(event.flags["max_upload_size"])
        ...             break
        104857600
    """

    __slots__ = ()
    type = "feature_flags"

    @property
    def flags(self) -> Mapping[str, Any]:
        """The flags, for example `max_upload_size` in bytes."""
        return self.data


class AgentStatus(BaseEvent):
    """Whether the server's agent is there (`agent_status`): a helper of the editor, which runs no prompts.

    In releases after 0.33.0; sent to every client when it connects, and when that changes.

    Example:
        >>> events = comfy.events()
        >>> fake.faults.send_raw(None, b'{"type": "agent_status", "data": {"state": "ready"}}')
        >>> async for event in events:
        ...     if isinstance(event, AgentStatus):
        ...         print(event.state)
        ...         break
        ready
    """

    __slots__ = ()
    type = "agent_status"
    lossy = True

    @property
    def state(self) -> str:
        """The state: "starting", "ready" or "failed"."""
        return _word(self.data.get("state"))

    @property
    def reason(self) -> str:
        """Why it failed, "" when the server does not say."""
        return _word(self.data.get("reason"))

    def _summary(self) -> str:
        return f"{self.state!r}{f' {self.reason[:80]!r}' if self.reason else ''}"


class _NamedEvent(BaseEvent):
    """An event whose type on the wire is not that of its class."""

    __slots__ = ("type",)
    lossy = True

    def __init__(
        self,
        raw: bytes | None = None,
        data: Mapping[str, Any] | None = None,
        prompt_id: str | None = None,
        *,
        received_at: float = 0.0,
        type: str = "",
    ) -> None:
        """Keep the type on the wire."""
        super().__init__(raw, data, prompt_id, received_at=received_at)
        self.type = type


class AssetScan(_NamedEvent):
    """The server scans its folders for assets (`assets.seed.*`).

    Where assets are switched on (`--enable-assets`; after 0.33.0 they are, unless they are switched off):
    when it starts, and when somebody asks (app/assets/seeder.py).

    Example:
        >>> events = comfy.events()
        >>> fake.faults.send_raw(None, b'{"type": "assets.seed.completed", "data": {"created": 3}}')
        >>> async for event in events:
        ...     if isinstance(event, AssetScan):
        ...         print(event.stage, event.created)
        ...         break
        completed 3
    """

    __slots__ = ()

    @property
    def key(self) -> object:
        """The kind and the stage."""
        return ("scan", self.type)

    @property
    def stage(self) -> str:
        """The end of the type: "started", "progress", "completed", "cancelled", "error" or another."""
        return self.type.removeprefix("assets.seed.")

    @property
    def scanned(self) -> int | None:
        """Files scanned so far, None when it does not say."""
        return _count(self.data.get("scanned"))

    @property
    def total(self) -> int | None:
        """Files to scan, None when it does not say."""
        return _count(self.data.get("total"))

    @property
    def created(self) -> int | None:
        """Files that were new, None when it does not say."""
        return _count(self.data.get("created"))

    @property
    def message(self) -> str:
        """What went wrong, "" when nothing did."""
        return _word(self.data.get("message"))

    def _summary(self) -> str:
        return self.stage


class AssetTransfer(_NamedEvent):
    """The server fetches a model, or packs assets together (`asset_download`, `asset_export`).

    Servers that know such tasks send it; `task` is the id that they answered with.

    Example:
        >>> events = comfy.events()
        >>> fake.faults.send_raw(None, b'''{"type": "asset_download", "data": {"task_id": "t1",
        ...     "asset_name": "flux.safetensors", "status": "running",
        ...     "bytes_downloaded": 250, "bytes_total": 1000}}''')
        >>> async for event in events:
        ...     if isinstance(event, AssetTransfer):
        ...         print(f"{event.name}: {event.status}, {event.fraction:.0%}")
        ...         break
        flux.safetensors: running, 25%
    """

    __slots__ = ()

    @property
    def key(self) -> object:
        """The kind and the task."""
        return (self.type, self.task)

    @property
    def task(self) -> str:
        """The task's id."""
        return _word(self.data.get("task_id"))

    @property
    def name(self) -> str:
        """The name of the asset or of the export, "" while there is none."""
        return _word(self.data.get("asset_name")) or _word(self.data.get("export_name"))

    @property
    def status(self) -> str:
        """The state: "created", "running", "completed" or "failed"."""
        return _word(self.data.get("status"))

    @property
    def bytes_done(self) -> int | None:
        """Bytes so far, None when it does not say."""
        done = _count(self.data.get("bytes_downloaded"))
        return _count(self.data.get("bytes_processed")) if done is None else done

    @property
    def bytes_total(self) -> int | None:
        """Bytes in all, None when it does not say."""
        return _count(self.data.get("bytes_total"))

    @property
    def fraction(self) -> float:
        """0.0 to 1.0 by the bytes; 1.0 when completed."""
        if self.status == "completed":
            return 1.0
        done, total = self.bytes_done, self.bytes_total
        return min(1.0, done / total) if done and total else 0.0

    @property
    def error(self) -> str:
        """Why it failed, "" when it did not."""
        return _word(self.data.get("error"))

    def _summary(self) -> str:
        return f"{self.type} {self.task!r} {self.status}"


class _ConnectionEvent(BaseEvent):
    """Something that happened to the session's own connection; `raw` is None."""

    __slots__ = ()

    @property
    def reason(self) -> str:
        """Why, in a few words."""
        return str(self.data.get("reason", ""))

    def _summary(self) -> str:
        return repr(self.reason) if self.reason else ""


class Disconnected(_ConnectionEvent):
    """The socket is gone or silent; the session polls and reconnects by itself.

    Example:
        >>> fake.hold()
        >>> job = await comfy.submit(flow)
        >>> fake.faults.drop_sockets("reset")
        1
        >>> fake.release()
        >>> [event.type async for event in job if isinstance(event, (Disconnected, Completed))]
        ['disconnected', 'execution_success']
    """

    __slots__ = ()
    type = "disconnected"


class Reconnected(_ConnectionEvent):
    """The socket receives messages again.

    Example:
        >>> fake.hold()
        >>> job = await comfy.submit(flow)
        >>> fake.faults.drop_sockets()
        1
        >>> async for event in job:
        ...     if isinstance(event, Reconnected):
        ...         fake.release()
        >>> job.status
        'completed'
    """

    __slots__ = ()
    type = "reconnected"


class PollingStarted(_ConnectionEvent):
    """The news comes by polling from now on, until `Reconnected`.

    Example:
        >>> async with ComfySession("http://127.0.0.1:8188", transport="poll") as comfy:
        ...     job = await comfy.submit(flow)
        ...     [event.reason async for event in job if isinstance(event, PollingStarted)]
        ['no socket']
    """

    __slots__ = ()
    type = "polling_started"


class UnknownEvent(_NamedEvent):
    """A message of a type that this version does not know: custom nodes send their own.

    One that names its `prompt_id` comes to the job, too. Most custom nodes name none, and theirs
    come to `comfy.events()` alone: nothing says to which of several jobs they belong.

    Example:
        >>> fake.script("Judge", messages=[("my_pack.score", {"score": 0.9})], is_output=True)
        >>> events = comfy.events()
        >>> job = await comfy.submit({"1": {"class_type": "Judge", "inputs": {}}})
        >>> async for event in events:
        ...     if isinstance(event, UnknownEvent) and event.type == "my_pack.score":
        ...         print(event.data["score"])
        ...         break
        0.9
    """

    __slots__ = ()

    @property
    def key(self) -> object:
        """The kind; every unknown type is one of its own."""
        return ("unknown", self.type)

    def _summary(self) -> str:
        return repr(self.type)


class MalformedFrame(BaseEvent):
    """A frame that could not be read; it ends nothing. Only `comfy.events()` shows it.

    Example:
        >>> events = comfy.events()
        >>> fake.faults.send_raw(None, bytes(2))
        >>> async for event in events:
        ...     if isinstance(event, MalformedFrame):
        ...         print(event)
        ...         break
        <MalformedFrame 'a binary frame of less than four bytes' 2 bytes>
    """

    __slots__ = ()
    type = "malformed"
    lossy = True

    @property
    def reason(self) -> str:
        """What is wrong with it."""
        return str(self.data.get("reason", ""))

    def _summary(self) -> str:
        return f"{self.reason!r} {len(self.raw or b'')} bytes"


class QueuePosition(BaseEvent):
    """How many jobs come before this one; sent while it waits, when that has changed.

    The server sends no places: while somebody reads the events of a waiting job, the
    queue is read after it has changed.

    Example:
        >>> async for event in await comfy.submit(flow):
        ...     if isinstance(event, QueuePosition):
        ...         print(event.position)
    """

    __slots__ = ()
    type = "queue_position"
    lossy = True
    __match_args__ = ("position",)

    @property
    def position(self) -> int:
        """How many jobs come first: 0 for the next one."""
        return int(self.data.get("position", 0))

    def _summary(self) -> str:
        return f"{self.position} first"


Event: TypeAlias = (
    Queued
    | Started
    | NodesCached
    | NodeStarted
    | Progress
    | ProgressState
    | Preview
    | ProgressText
    | NodeFinished
    | NodeBlocked
    | Completed
    | Failed
    | Cancelled
    | Lost
    | StatusChanged
    | LogEntries
    | FeatureFlags
    | AgentStatus
    | AssetScan
    | AssetTransfer
    | Disconnected
    | Reconnected
    | PollingStarted
    | QueuePosition
    | UnknownEvent
    | MalformedFrame
)
"""Every event there is; `match` and type checkers see the union as closed.

Example:
    >>> def line(event: Event) -> str:
    ...     match event:
    ...         case Progress(node=node, value=value, max=steps):
    ...             return f"{node}: {value:g} of {steps:g}"
    ...         case _:
    ...             return event.type
    >>> async for event in job:
    ...     print(line(event))
    queued
    ...
    3: 20 of 20
    ...
    execution_success
"""


def _text_or_none(value: object) -> str | None:
    """Return a node id as text; ids are strings on the wire, numbers from careless nodes."""
    return None if value is None else str(value)


def _word(value: object) -> str:
    """Return a text of the wire, "" for anything else."""
    return value if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    """Return a number of things, None for anything else."""
    return int(value) if isinstance(value, (int, float)) and 0 <= value < _LIMIT else None


def _number(value: object) -> float:
    """Return a number of the wire, 0 for anything else: NaN and the like would break all arithmetic."""
    return value if isinstance(value, (int, float)) and -_LIMIT < value < _LIMIT else 0
