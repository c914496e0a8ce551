"""The events of one job for many readers: read once, written once, kept within bounds for each."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .._client.words import plain_progress, plain_title
from .._job.job import Job
from ..errors import SessionClosedError
from ..events import (
    Disconnected,
    Event,
    NodeBlocked,
    NodeFinished,
    NodesCached,
    NodeStarted,
    PollingStarted,
    Preview,
    Progress,
    ProgressState,
    ProgressText,
    Queued,
    QueuePosition,
    Reconnected,
    Started,
)

__all__ = ["Hub", "Reader", "packed", "progress_fields"]

_log = logging.getLogger("comfy_async")

_PROGRESS: Final = "progress"
_PREVIEW: Final = "preview"
_POSITION: Final = "position"
_TEXT: Final = "text"
_NODE_NAMES: Final = {
    NodeStarted: "node_started",
    NodeFinished: "node_finished",
    NodeBlocked: "node_blocked",
}


def packed(name: str, data: Mapping[str, Any], *, id: str | None = None) -> bytes:
    """Return one server-sent event; JSON has no line ends that would end it early."""
    head = "" if id is None else f"id: {id}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n".encode()


def progress_fields(job: Job) -> dict[str, Any]:
    """Return how far a job is."""
    progress = plain_progress(job.progress)
    return {
        "fraction": progress.fraction,
        "text": str(progress),
        "node": progress.node,
        "title": progress.title,
        "step": progress.step,
        "steps": progress.steps,
        "done": progress.done,
        "total": progress.total,
        "eta": progress.eta,
    }


class Reader:
    """What one reader has yet to be sent: every milestone in order, of the rest the newest of each kind.

    Attributes:
        over: Nothing comes after what is unread.
        behind: It was too slow: some milestones are not among what is unread.
    """

    def __init__(self, hub: Hub, *, most: int) -> None:
        """Start with nothing; beyond `most` milestones the reader is disconnected."""
        self._hub = hub
        self._most = most
        self._unread: OrderedDict[object, bytes | None] = OrderedDict()
        self._firm = 0
        self._news = asyncio.Event()
        self.over = False
        self.behind = False

    def fill(self, messages: Iterable[bytes]) -> None:
        """Begin with what is past, before everything that came meanwhile; that may have been the end."""
        past: OrderedDict[object, bytes | None] = OrderedDict((object(), message) for message in messages)
        self._unread = past | self._unread
        self._news.set()

    def put(self, message: bytes) -> None:
        """Add what must not be missed."""
        if self.over:
            return
        self._firm += 1
        if self._firm > self._most:
            # It comes again by itself, and says where it was.
            self._unread.clear()
            self.behind = True
            self.close()
            return
        self._unread[object()] = message
        self._news.set()

    def touch(self, kind: str) -> None:
        """Note that there is something newer of a kind; it is written when it is taken."""
        if not self.over:
            self._unread.pop(kind, None)
            self._unread[kind] = None
            self._news.set()

    def close(self) -> None:
        """End behind what is unread."""
        self.over = True
        self._news.set()

    async def wait(self) -> None:
        """Wait until there is something to take, or the end."""
        await self._news.wait()

    def take(self) -> bytes:
        """Return all that is unread, b"" when there is nothing."""
        unread, self._unread = self._unread, OrderedDict()
        self._firm = 0
        if not self.over:
            self._news.clear()
        return b"".join(
            self._hub.newest(str(kind)) if message is None else message for kind, message in unread.items()
        )


class Hub:
    """Reads the events of a job once, as long as there are readers, and gives them to all.

    Milestones are numbered in the order in which the job itself keeps them, so that a reader who comes
    back with the last number that it saw gets those that it missed, whether this hub has run meanwhile
    or another one.
    """

    def __init__(self, job: Job, *, epoch: str) -> None:
        """Prepare; nothing is read before `start`. `epoch` identifies the job's log in this process."""
        self._job = job
        self._epoch = epoch
        self._log: list[bytes] = []
        self._readers: set[Reader] = set()
        self._coming = 0
        self._over = False
        self._preview: Preview | None = None
        self._texts: dict[str, str] = {}
        self._written: dict[str, bytes] = {}
        self._caught_up = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @staticmethod
    def new_epoch() -> str:
        """Return an id that no other log has."""
        return secrets.token_hex(4)

    @property
    def readers(self) -> int:
        """How many there are."""
        return len(self._readers) + self._coming

    @property
    def last_id(self) -> str:
        """The id of the last milestone."""
        return f"{self._epoch}-{len(self._log)}"

    async def join(self, *, after: str, most: int) -> Reader:
        """Add a reader, who gets everything from now on.

        Args:
            after: The id of the last milestone that it has seen, "0" for all from the beginning, ""
                or one of another log for none of those that are past.
            most: How many milestones it may leave unread.
        """
        reader = Reader(self, most=most)
        self._coming += 1
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="comfy_async web events")
        try:
            await self._caught_up.wait()
        except BaseException:
            self._coming -= 1
            self._rest()
            raise
        # In one step: what is in the log by now is past, and all else is still to come.
        self._coming -= 1
        self._readers.add(reader)
        reader.fill(self._missed(after))
        if self._over:
            reader.close()
        return reader

    def leave(self, reader: Reader) -> None:
        """Forget a reader; with the last one, stop reading."""
        reader.close()
        self._readers.discard(reader)
        self._rest()

    def _rest(self) -> None:
        """Stop reading when there are no readers."""
        if not self.readers and self._reading is not None:
            self._reading.cancel()

    def newest(self, kind: str) -> bytes:
        """Return the newest of a kind, written once for all readers."""
        if kind not in self._written:
            self._written[kind] = self._write(kind)
        return self._written[kind]

    def close(self) -> None:
        """Disconnect every reader."""
        self._over = True
        for reader in self._readers:
            reader.close()

    def _missed(self, after: str) -> list[bytes]:
        """Return the milestones after one that a reader has seen."""
        if after == "0":
            return self._log
        epoch, _, number = after.partition("-")
        return self._log[int(number) :] if epoch == self._epoch and number.isdecimal() else []

    async def _read(self) -> None:
        """Read the past at once, then what happens, until the job ends."""
        stream = self._job.events()
        try:
            while stream.unread:
                self._take(await anext(stream))
            self._caught_up.set()
            async for event in stream:
                self._take(event)
        except StopAsyncIteration:
            pass
        except SessionClosedError:
            _log.debug("web: readers of job %s leave with the session", self._job.prompt_id)
        finally:
            self.close()
            self._caught_up.set()
            await stream.aclose()

    def _take(self, event: Event) -> None:
        """Process one event, and give it to the readers."""
        match event:
            case Progress() | ProgressState():
                self._renew(_PROGRESS)
            case Preview():
                self._preview = event
                self._renew(_PREVIEW)
            case QueuePosition():
                self._renew(_POSITION)
            case ProgressText():
                self._texts = {
                    "node": event.node or "",
                    "title": plain_title(event.title),
                    "text": event.text,
                }
                self._renew(_TEXT)
            case _:
                named = _milestone(event)
                if named is not None:
                    self._keep(*named)

    def _renew(self, kind: str) -> None:
        """Note that what was written of a kind is old."""
        self._written.pop(kind, None)
        for reader in self._readers:
            reader.touch(kind)

    def _keep(self, name: str, data: Mapping[str, Any]) -> None:
        """Number a milestone, and give it to every reader."""
        # A node that starts or ends changes how far the job is.
        self._renew(_PROGRESS)
        message = packed(name, data, id=f"{self._epoch}-{len(self._log) + 1}")
        self._log.append(message)
        for reader in self._readers:
            reader.put(message)

    def _write(self, kind: str) -> bytes:
        """Write the newest of a kind."""
        if kind == _PROGRESS:
            return packed(_PROGRESS, progress_fields(self._job))
        if kind == _POSITION:
            return packed(_POSITION, {"position": self._job.queue_position})
        if kind == _TEXT:
            return packed(_TEXT, self._texts)
        preview = self._preview
        assert preview is not None
        image = base64.b64encode(preview.image).decode()
        return packed(_PREVIEW, {"title": plain_title(preview.title), "type": preview.mime, "image": image})


def _milestone(event: Event) -> tuple[str, Mapping[str, Any]] | None:
    """Return what is sent of a milestone, None for what is not about the job or is its end.

    The end is sent with the job's whole state.
    """
    match event:
        case Queued():
            return "queued", {}
        case Started():
            return "started", {}
        case NodesCached(nodes=nodes):
            return "cached", {"nodes": list(nodes)}
        case NodeStarted() | NodeFinished() | NodeBlocked():
            return _NODE_NAMES[type(event)], {"node": event.node, "title": plain_title(event.title)}
        case Disconnected():
            return "connection", {"state": "lost"}
        case Reconnected():
            return "connection", {"state": "back"}
        case PollingStarted():
            return "connection", {"state": "polling"}
    return None
