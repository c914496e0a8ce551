"""The jobs of API v2: what they are, as queue, history and their own frames have it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Literal, Protocol, TypeAlias

from ._books import Books, RunRecord
from ._folders import Folders
from ._queue import JobQueue, QueueItem
from ._storage import Storage
from ._v2_live import LiveJob
from ._v2_manners import ApiV2
from ._v2_shelf import Shelf, V2Asset
from ._v2_stream import Stream
from ._v2_words import Words

__all__ = ["TERMINAL", "Board", "JobStatus"]

JobStatus: TypeAlias = Literal["queued", "running", "succeeded", "canceling", "canceled", "failed", "expired"]
TERMINAL: frozenset[JobStatus] = frozenset({"succeeded", "canceled", "failed", "expired"})

_MAX_KEYS = 10_000


class Parts(Protocol):
    """What the board needs of the server."""

    books: Books
    queue: JobQueue
    folders: Folders


class Board:
    """All jobs that API v2 was given, their streams, and the keys that were used.

    Attributes:
        manners: How it behaves.
        jobs: The jobs by id, the oldest first.
        keys: The Idempotency-Keys that are claimed.
        shelf: The assets.
        streams: The open streams.
        swallowed: How many of the next jobs are lost with their answer, and its status.
        false_expiries: How often a job whose end was not sent is reported as expired.
        silent_ends: How many of the next streams end without a terminal status.
        cuts: After how many events the next streams are cut, how, and of which job.
        stalls: Which streams are silent, and whether they send comments.
        storage: The other origin of the files, None where there is none.
        words: How assets are written.
    """

    def __init__(self, parts: Parts, manners: ApiV2, storage: Storage | None) -> None:
        """Make an empty board."""
        self.manners = manners
        self.jobs: dict[str, LiveJob] = {}
        self.keys: dict[str, None] = {}
        self.shelf = Shelf(parts.folders)
        self.streams: list[Stream] = []
        self.swallowed: list[int] = []
        self.false_expiries = 0
        self.silent_ends = 0
        self.cuts: list[tuple[int, str, str | None]] = []
        self.stalls: list[tuple[str | None, bool]] = []
        self.storage = storage
        self.words = Words(manners, storage)
        self._parts = parts
        self._ranked: tuple[list[QueueItem], dict[str, int]] | None = None

    # Jobs

    def add(self, job: LiveJob) -> None:
        """Add a job, and receive its frames."""
        job.tell = lambda event, data: self._tell(job.id, event, data)
        job.output = lambda: self._outputs_came(job)
        job.closing = lambda: self._closing(job)
        self.jobs[job.id] = job

    def find(self, job_id: str) -> LiveJob | None:
        """Return a job; one that came by another route is known while queue and history have it."""
        job = self.jobs.get(job_id)
        if job is None:
            item = self._queued(job_id)
            entry = self._parts.queue.history.get(job_id)
            prompt = item.prompt if item is not None else entry["prompt"][2] if entry is not None else None
            if prompt is None:
                return None
            record = self._record(job_id)
            created = time.time() if record is None else _wall(record.queued_at)
            return LiveJob(job_id, prompt, self.manners, created)
        if time.time() >= job.created_at + self.manners.retention_seconds:
            return None
        return job

    def claim(self, key: str) -> bool:
        """Claim a key; False when it is taken."""
        if key in self.keys:
            return False
        self.keys[key] = None
        if len(self.keys) > _MAX_KEYS:
            del self.keys[next(iter(self.keys))]
        return True

    def status(self, job: LiveJob) -> JobStatus:
        """Return how a job stands."""
        if job.expired:
            return "expired"
        proxy = self.manners.style == "proxy"
        entry = self._parts.queue.history.get(job.id)
        if entry is not None:
            if entry["status"]["status_str"] == "success":
                return "succeeded"
            events = [event for event, _ in entry["status"]["messages"]]
            return "canceled" if "execution_interrupted" in events else "failed"
        if self._parts.queue.is_running(job.id):
            return "canceling" if job.canceling and not proxy else "running"
        if job.id in self._places():
            return "queued"
        record = self._record(job.id)
        if record is not None and record.end == "deleted" and not proxy:
            return "canceled"
        return "expired"

    def _seen(self, job: LiveJob) -> JobStatus:
        """Return how a job stands for a request now: before its end was sent it may be called expired."""
        status = self.status(job)
        if self.false_expiries > 0 and not job.end_was_told:
            self.false_expiries -= 1
            return "expired"
        job.end_was_told |= status in TERMINAL
        return status

    def position(self, job_id: str) -> int | None:
        """Return the place of a waiting job, 1 for the next one."""
        return self._places().get(job_id)

    def _places(self) -> dict[str, int]:
        """Return the places of all that wait; the proxy counts along ComfyUI's heap, which is in no order.

        Ranked once for each change of the queue: hundreds of streams may ask.
        """
        pending = self._parts.queue.pending
        if self._ranked is None or self._ranked[0] is not pending or len(self._ranked[1]) != len(pending):
            waiting = pending if self.manners.style == "proxy" else sorted(pending)
            self._ranked = pending, {item.prompt_id: place for place, item in enumerate(waiting, 1)}
        return self._ranked[1]

    def changed_at(self, job: LiveJob) -> float:
        """Return when a job last came to another status."""
        record = self._record(job.id)
        changed = record and (record.ended_at or record.started_at)
        return _wall(changed) if changed else job.created_at

    def outputs(self, job: LiveJob) -> list[V2Asset]:
        """Return what a job has brought so far; the proxy knows of nothing before the history does."""
        entry = self._parts.queue.history.get(job.id)
        proxy = self.manners.style == "proxy"
        shown = entry["outputs"] if entry is not None else {} if proxy else job.shown
        return self.shelf.outputs(job.id, shown, style=self.manners.style)

    def told(
        self, job: LiveJob, base: str, *, origin: str, status: JobStatus | None = None
    ) -> dict[str, Any]:
        """Return a job as it is answered.

        Args:
            job: Which.
            base: Scheme, host and prefix, for links to files.
            origin: The same, or only the prefix, for the job's own links.
            status: How it stands, where that is known; else it is looked at.
        """
        status = status or self._seen(job)
        ended = status in TERMINAL
        proxy = self.manners.style == "proxy"
        record = self._record(job.id)
        began = _wall(record.started_at) if record is not None and record.started else None
        finished = _wall(record.ended_at) if record is not None and record.ended_at and ended else None
        path = f"{origin}/api/v2/jobs/{job.id}"
        answer: dict[str, Any] = {
            "id": job.id,
            "status": status,
            "created_at": self.words.time(job.created_at),
            "started_at": None if proxy or began is None else self.words.time(began),
            "completed_at": None if proxy or finished is None else self.words.time(finished),
            "expires_at": self.words.time(job.created_at + self.manners.retention_seconds),
            "queue_position": self.position(job.id) if status == "queued" else None,
            "progress": self._progress(job, status),
            "outputs": [self.words.output(asset, base) for asset in self.outputs(job)],
            "error": self._error(job.id) if status == "failed" else None,
            "urls": {"self": path, "events": f"{path}/events", "cancel": f"{path}/cancel"},
        }
        if proxy:
            answer["outputs_reused"] = bool(record is not None and record.cached and ended)
            extra = {"metadata": job.metadata, "priority": job.priority}
            return answer | {key: value for key, value in extra.items() if value is not None}
        if job.metadata is not None:
            answer["metadata"] = job.metadata
        return answer | {"metrics": _metrics(record)}

    def _progress(self, job: LiveJob, status: JobStatus) -> dict[str, Any] | None:
        if self.manners.style == "cloud":
            return job.progress
        return {"value": 0.0, "nodes_done": 0, "nodes_total": 0} if status == "running" else None

    def _error(self, job_id: str) -> dict[str, Any]:
        """Return why a job failed."""
        events = dict(self._parts.queue.history[job_id]["status"]["messages"])
        told = events.get("execution_error", {})
        trace = "".join(told.get("traceback", ())) or None
        return {
            "code": "node_execution_error",
            "message": told.get("exception_message", "execution failed"),
            "node_id": told.get("node_id"),
            "class_type": told.get("node_type"),
            "traceback": None if self.manners.style == "proxy" else trace,
        }

    # Streams

    def open(self, stream: Stream) -> None:
        """Begin a stream with where its job stands."""
        if self.manners.deafening:
            self._deafen(stream.job.id)
        self.streams.append(stream)
        self._doom(stream)
        job, status = stream.job, self._seen(stream.job)
        self._tell_status(stream, status)
        if status in TERMINAL:
            self._end(stream)
            return
        progress = self._progress(job, status)
        if progress is not None:
            stream.tell("progress", progress)
        if self.manners.style == "cloud" and job.preview is not None:
            stream.tell("preview", job.preview)
        stream.outputs |= {asset.id for asset in self.outputs(job)}

    def _doom(self, stream: Stream) -> None:
        """Give a new stream the faults that wait for it."""
        for cut in self.cuts:
            after, how, job_id = cut
            if job_id in (None, stream.job.id):
                self.cuts.remove(cut)
                stream.cut_after, stream.cut_how = after, how
                break
        for job_id, breathing in self.stalls:
            if job_id in (None, stream.job.id):
                stream.stall(breathing=breathing)

    def close(self, stream: Stream) -> None:
        """Forget a stream."""
        if stream in self.streams:
            self.streams.remove(stream)
            if self.manners.deafening:
                self._deafen(stream.job.id)

    def _deafen(self, job_id: str) -> None:
        """Let the streams of a job receive nothing but at their keepalives."""
        for stream in self.streams:
            if stream.job.id == job_id:
                stream.deaf = True

    def refresh(self) -> None:
        """Send the streams what has changed in the queue."""
        self._ranked = None
        for stream in list(self.streams):
            if not stream.deaf and self._hears(stream):
                self.reconcile(stream)

    def _hears(self, stream: Stream) -> bool:
        """Whether the end of a job is sent at once: the proxy gets events of runs, not of dequeued jobs."""
        return self.manners.style == "cloud" or stream.job.id in self._parts.queue.history

    def reconcile(self, stream: Stream) -> None:
        """Send a stream where its job stands, if that has changed."""
        if stream.ended:
            return
        status = self.status(stream.job)
        if self._is_unsettled(stream.job, status):
            asyncio.get_running_loop().call_soon(self.reconcile, stream)
            return
        if status in TERMINAL:
            if self.silent_ends > 0:
                self.silent_ends -= 1
                stream.end()
                return
            if self.manners.style == "cloud":
                self._tell_outputs(stream)
            self._tell_status(stream, status)
            self._end(stream)
        elif self.manners.style == "cloud" and (status, self.position(stream.job.id)) != stream.told:
            self._tell_status(stream, status)

    def _is_unsettled(self, job: LiveJob, status: JobStatus) -> bool:
        """Whether a job has just left the queue, and how it ended is not recorded yet."""
        record = self._record(job.id)
        return status == "expired" and not job.expired and record is not None and record.end is None

    def die(self) -> None:
        """Cut every stream."""
        for stream in self.streams:
            stream.cut("cut")

    def _end(self, stream: Stream) -> None:
        """End a stream; the proxy sends the outputs after the last status."""
        if self.manners.style == "proxy":
            self._tell_outputs(stream)
        stream.end()

    def _tell_status(self, stream: Stream, status: JobStatus) -> None:
        position = self.position(stream.job.id) if status == "queued" else None
        stream.told = (status, position)
        data: dict[str, Any] = {"status": status}
        if position is not None:
            data["queue_position"] = position
        stream.tell("status", data)

    def _tell_outputs(self, stream: Stream) -> None:
        for asset in self.outputs(stream.job):
            if asset.id not in stream.outputs:
                stream.outputs.add(asset.id)
                stream.tell("output", self.words.output(asset, stream.base))

    def _tell(self, job_id: str, event: str, data: dict[str, Any]) -> None:
        for stream in self._of(job_id):
            if stream.is_due(event):
                stream.tell(event, data)

    def _outputs_came(self, job: LiveJob) -> None:
        for stream in self._of(job.id):
            self._tell_outputs(stream)

    def _closing(self, job: LiveJob) -> None:
        """End the streams of a job before its end is written, where they do that."""
        if self.manners.early_ends:
            for stream in self._of(job.id):
                self._tell_status(stream, self.status(job))
                self._end(stream)

    def _of(self, job_id: str) -> Iterator[Stream]:
        found = list(self.streams)
        return (stream for stream in found if stream.job.id == job_id and not stream.ended | stream.deaf)

    # The server

    def _record(self, job_id: str) -> RunRecord | None:
        found = self._parts.books.of(job_id)
        return found[-1] if found else None

    def _queued(self, job_id: str) -> QueueItem | None:
        queue = self._parts.queue
        return next((item for item in queue.running + queue.pending if item.prompt_id == job_id), None)


def _wall(monotonic: float) -> float:
    """Return the wall's time of a monotonic one."""
    return time.time() - time.monotonic() + monotonic


def _metrics(record: RunRecord | None) -> dict[str, int | None]:
    """Return how long a job waited and ran, in milliseconds."""
    waited = ran = None
    if record is not None and record.started:
        waited = round(1000 * (record.started_at - record.queued_at))
        ran = round(1000 * (record.ended_at - record.started_at)) if record.ended_at else None
    return {"queue_ms": waited, "execution_ms": ran}
