"""The jobs of a site: who may have one more, which are remembered, which end with their readers."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from .._base.tasks import look_at
from .._client.client import Client
from .._job.job import Job
from ..errors import ComfyError, SessionClosedError
from ..workflow import Workflow
from .answers import RefusedError
from .ending import is_server_ending
from .hub import Hub, Reader
from .limits import Limits
from .mark import found_again, is_job_id, marked

__all__ = ["Desk", "Entry", "Place"]

_log = logging.getLogger("comfy_async")

_LOOK_S: Final = 0.25


@dataclasses.dataclass(slots=True, eq=False)
class Entry:
    """One job of the site.

    Attributes:
        id: By which callers name it, its `prompt_id` when it was submitted.
        job: The job.
        app: The name of its app.
        caller: Whose it is.
        epoch: Identifies the log of its events: another process has another one.
        hub: What reads its events, None without readers.
        bound: It is cancelled when its readers have left.
        leaving: What cancels it a little later, None with readers, and when it is not bound.
        ended_at: When its end was first seen.
    """

    id: str
    job: Job
    app: str
    caller: str
    epoch: str = dataclasses.field(default_factory=Hub.new_epoch)
    hub: Hub | None = None
    bound: bool = False
    leaving: asyncio.TimerHandle | None = None
    ended_at: float | None = None

    @property
    def last_id(self) -> str | None:
        """The id of the last milestone, None while nobody reads."""
        return None if self.hub is None else self.hub.last_id


class Place:
    """A place for a job that is on its way in; freed once, at the latest when there is a job."""

    def __init__(self, caller: str, coming: Counter[str]) -> None:
        """Take it."""
        self.caller = caller
        self._coming = coming
        self._held = True
        coming[caller] += 1

    def free(self) -> None:
        """Give it up."""
        if self._held:
            self._held = False
            self._coming[self.caller] -= 1
            if not self._coming[self.caller]:
                del self._coming[self.caller]


class Desk:
    """Accepts jobs within the limits, and remembers them, or finds them again."""

    def __init__(self, comfy: Client, limits: Limits, *, options: dict[str, Any]) -> None:
        """Use the caller's session or pool; `options` is what `submit` gets for every job."""
        self.comfy = comfy
        self.limits = limits
        self._options = options
        self._entries: dict[str, Entry] = {}
        self._coming: Counter[str] = Counter()
        self._looking: dict[str, asyncio.Task[Entry | None]] = {}
        self._lookups = asyncio.Semaphore(limits.lookups)
        self._readers = 0
        self._watching: asyncio.Task[None] | None = None
        self._cancelling: set[asyncio.Task[None]] = set()

    @property
    def ids(self) -> tuple[str, ...]:
        """The jobs that it remembers."""
        return tuple(self._entries)

    # Jobs come in.

    @contextmanager
    def place_for(self, caller: str) -> Iterator[Place]:
        """Hold a place for one job more while the block lasts; of a large one from before its body is read.

        Raises:
            RefusedError: There is none.
        """
        self._sweep()
        self._check_open(caller)
        place = Place(caller, self._coming)
        try:
            yield place
        finally:
            place.free()

    def _check_open(self, caller: str) -> None:
        """Check whether the caller may have one job more.

        Raises:
            RefusedError: It may not, or nobody may.
        """
        limits = self.limits
        open_now = [entry for entry in self._entries.values() if not entry.job.done]
        if len(open_now) + self._coming.total() >= limits.open_jobs:
            raise RefusedError(
                429,
                "queue_full",
                f"{limits.open_jobs} jobs wait or run already",
                retry_after=limits.retry_seconds,
            )
        own = sum(entry.caller == caller for entry in open_now) + self._coming[caller]
        if own >= limits.open_jobs_per_client:
            raise RefusedError(
                429,
                "too_many_jobs",
                f"you have {own} jobs that wait or run already",
                hint="Wait for one of them, or cancel it.",
                retry_after=limits.retry_seconds,
            )

    async def submit(self, workflow: Workflow, place: Place, *, app: str, bound: bool) -> Entry:
        """Put a workflow into the ComfyUI's queue, in a place that is held.

        Raises:
            ComfyError: As `ComfySession.submit`.
            OSError: A file cannot be read.
        """
        marks = marked(app, place.caller)
        job = await self.comfy.submit(workflow, keep_frames=False, **{**self._options, **marks})
        entry = self._entries[job.prompt_id] = Entry(job.prompt_id, job, app, place.caller)
        place.free()
        if bound:
            self._bind(entry)
        return entry

    async def find(self, id: str) -> Entry:
        """Return a job by its id; one that this process does not know is looked up on the ComfyUI.

        Raises:
            RefusedError: There is none.
            ComfyError: The request to the ComfyUI failed.
        """
        entry = self._entries.get(id)
        if entry is None and is_job_id(id):
            entry = await self._look_for(id)
        if entry is None:
            raise RefusedError(404, "no_job", "there is no such job", hint="It may have been long ago.")
        return entry

    async def _look_for(self, id: str) -> Entry | None:
        """Look up a job, once for all that ask for it now."""
        looking = self._looking.get(id)
        if looking is None:
            looking = self._looking[id] = asyncio.create_task(self._found(id), name="comfy_async web lookup")
            looking.add_done_callback(look_at)
            looking.add_done_callback(lambda _: self._looking.pop(id, None))
        # Whoever asked first may leave; the others want to know all the same.
        return await asyncio.shield(looking)

    async def _found(self, id: str) -> Entry | None:
        """Ask the ComfyUI."""
        async with self._lookups:
            found = await found_again(self.comfy, id)
        if found is None:
            return None
        job, app, caller = found
        self._sweep()
        return self._entries.setdefault(id, Entry(id, job, app, caller))

    # Readers come and go.

    async def join(self, entry: Entry, *, after: str, bound: bool | None) -> Reader:
        """Add a reader of a job's events, who has seen those up to `after`; see `Hub.join`."""
        hub = entry.hub
        if hub is None:
            hub = entry.hub = Hub(entry.job, epoch=entry.epoch)
        if bound is not None:
            entry.bound = bound
        if entry.leaving is not None:
            entry.leaving.cancel()
            entry.leaving = None
        self._readers += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="comfy_async web end")
        try:
            return await hub.join(after=after, most=self.limits.unread_events)
        except BaseException:
            self._left(entry)
            raise

    def check_room(self, entry: Entry) -> None:
        """Check whether there is room for one reader more.

        Raises:
            RefusedError: There is none.
        """
        here = 0 if entry.hub is None else entry.hub.readers
        if self._readers >= self.limits.readers or here >= self.limits.readers_per_job:
            retry = self.limits.retry_seconds
            raise RefusedError(429, "too_many_readers", "too many read this already", retry_after=retry)

    def leave(self, entry: Entry, reader: Reader) -> None:
        """Forget a reader."""
        if entry.hub is not None:
            entry.hub.leave(reader)
        self._left(entry)

    def _left(self, entry: Entry) -> None:
        """Count a reader out; with the last one the hub goes, and a job that is bound begins to end."""
        self._readers -= 1
        if not self._readers and self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if entry.hub is not None and not entry.hub.readers:
            entry.hub = None
        if entry.hub is None and entry.bound:
            self._bind(entry)

    def _bind(self, entry: Entry) -> None:
        """Cancel a job unless a reader comes soon."""
        entry.bound = True
        if not entry.job.done:
            loop = asyncio.get_running_loop()
            entry.leaving = loop.call_later(self.limits.leave_seconds, self._let_go, entry)

    def _let_go(self, entry: Entry) -> None:
        """Cancel a job without readers."""
        entry.leaving = None
        if entry.hub is None and not entry.job.done:
            stopping = asyncio.create_task(_stop(entry.job), name="comfy_async web left job")
            self._cancelling.add(stopping)
            stopping.add_done_callback(self._cancelling.discard)

    # Jobs go.

    def _sweep(self) -> None:
        """Drop jobs that ended long ago, or are too many; they are found again when requested."""
        now = asyncio.get_running_loop().time()
        ended: list[Entry] = []
        for entry in self._entries.values():
            if entry.job.done and entry.hub is None:
                entry.ended_at = now if entry.ended_at is None else entry.ended_at
                ended.append(entry)
        ended.sort(key=lambda entry: entry.ended_at or 0.0)
        too_many = len(ended) - self.limits.kept_jobs
        for number, entry in enumerate(ended):
            if number < too_many or now - (entry.ended_at or now) > self.limits.kept_seconds:
                del self._entries[entry.id]

    async def _watch(self) -> None:
        """End the streams of all readers when the server is told to end: it would wait for them."""
        while True:
            if is_server_ending():
                self.send_away()
            await asyncio.sleep(_LOOK_S)

    def send_away(self) -> None:
        """End the streams of all readers; they reconnect, to this process or the next."""
        for entry in self._entries.values():
            if entry.hub is not None:
                entry.hub.close()

    async def aclose(self) -> None:
        """Cancel what was bound to readers, and drop everything; other jobs go on."""
        self.send_away()
        for entry in list(self._entries.values()):
            if entry.leaving is not None:
                entry.leaving.cancel()
            if entry.bound and not entry.job.done:
                entry.hub = None
                self._let_go(entry)
        if self._cancelling:
            await asyncio.wait(list(self._cancelling))
        self._entries.clear()


async def _stop(job: Job) -> None:
    """Cancel a job that is not waited for any more."""
    try:
        await job.cancel()
    except SessionClosedError:
        pass
    except ComfyError as error:
        _log.warning("web: job %s may still run: %s", job.prompt_id, error)
