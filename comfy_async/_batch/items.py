"""One item of a batch: run it, pick it up where an earlier batch left it, or take its old result."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .._base.backoff import Backoff
from .._base.cleanups import Work
from .._base.clock import Clock
from .._base.labels import LABELS, labels_of
from .._job.core import JobCore, Owner
from .._job.hooks import introduce, tell_of_saves
from .._protocol.plan import Plan
from .._protocol.reducer import JobState
from .._protocol.snapshot import history_events
from .._session.engine import Engine
from .._session.offered import offered, submitting
from .._session.options import SubmitOptions, submit_options
from .._session.submission import Submission, demands_saves
from .._transport.address import Address
from ..errors import ComfyError, ConnectError, JobError, JobLostError, RateLimitError
from ..events import Failed
from ..workflow import Workflow
from .gate import Gate
from .journal import Journal, Record, as_history, is_final, workflow_key
from .kept_files import KeptFiles

__all__ = ["Item", "SessionItems", "is_usable", "restored", "unreadable"]

_log = logging.getLogger("comfy_async")


@dataclasses.dataclass(slots=True, eq=False)
class Item:
    """One workflow of a batch on its way.

    Attributes:
        job: Its job.
        key: The hash of its workflow in the results file, "" without one.
        restored: It came out of the results file; nothing was asked.
        recalled: An earlier batch began it.
    """

    job: JobCore
    key: str = ""
    restored: bool = False
    recalled: bool = False

    @property
    def index(self) -> int:
        """Its place in the batch."""
        assert self.job.index is not None
        return self.job.index


class SessionItems:
    """Runs the items of one batch on a session."""

    def __init__(self, engine: Engine) -> None:
        """Run them on this one; what it is given is submitted at once, so nothing waits at the gate."""
        self.gate: Gate | None = None
        self._engine = engine
        self.clock: Clock = engine.clock

    async def run_item(self, item: Any, index: int, journal: Journal | None, **options: Any) -> Item:
        """Return a job for one workflow of a batch: under way, or already ended.

        Whatever error the submission raises becomes the job's own end, so that it raises where the job
        is awaited. It waits for a server that cannot be reached, since nothing was sent.
        """
        engine = self._engine
        given = {"previews": "none", **options}
        with submitting(engine.hooks, item):
            try:
                item = offered(engine.hooks, item, given)
            except ComfyError as error:
                return Item(_failed(engine, error, SubmitOptions(index=index)))
            check = given.pop("check", False)
            chosen = submit_options(engine, **{**given, "index": index, "keep_frames": False})
            return await self._until_queued(item, journal, options=chosen, check=check)

    async def _until_queued(
        self, item: Any, journal: Journal | None, *, options: SubmitOptions, check: bool
    ) -> Item:
        """Try until a server answers."""
        engine, settings = self._engine, self._engine.settings
        backoff = Backoff(first=settings.reconnect_first, cap=settings.reconnect_cap)
        since = self.clock.monotonic()
        while True:
            try:
                return await self._try(item, journal, options=options, check=check)
            except (ConnectError, RateLimitError) as error:
                limit = settings.away_seconds
                if limit is not None and self.clock.monotonic() - since >= limit:
                    return Item(_failed(engine, error, options))
                pause = backoff.next()
                if isinstance(error, RateLimitError) and error.retry_after is not None:
                    pause = max(pause, error.retry_after)
                _log.info("workflow %s of the batch waits %.1f s: %s", options.index, pause, error)
                await self.clock.sleep(pause)
            except ComfyError as error:
                return Item(_failed(engine, error, options))

    def elsewhere(self, servers: Collection[str]) -> list[str]:
        """Return those that this session is not with."""
        here = _place(self._engine.base_url)
        return [server for server in servers if _place(server) != here]

    def leave(self, job: JobCore) -> asyncio.Task[None] | None:
        """Begin to cancel a job that is not waited for any more."""
        return self._engine.leave(job)

    async def clean_up(self, work: Work[None], *, name: str) -> None:
        """Do something to its end, however often its caller is cancelled."""
        await self._engine.clean_up(work, name=name)

    async def _try(
        self, workflow: Any, journal: Journal | None, *, options: SubmitOptions, check: bool
    ) -> Item:
        """Make a job of one workflow, or find it by the results file."""
        engine = self._engine
        await engine.known_server()
        with unreadable():
            ready = await engine.prepared(workflow, check=check, whole=options.on_partial == "raise")
        if journal is None:
            return Item(await Submission(engine, ready, options).run())
        key = workflow_key(ready)
        assert options.index is not None
        record = journal.find(options.index, key)
        item = None if record is None else await self._from_record(record, ready, options)
        if item is not None and not await is_usable(item, journal):
            item = None
        if item is None:
            submission = Submission(engine, ready, options)
            # Before the post: a process that dies now leaves no job that nobody knows of.
            journal.posting(submission.job, key)
            item = Item(await submission.run())
            if not engine.server.can("client_prompt_id"):
                self._note_again(item.job, journal, key)
        item.key = key
        return item

    def _note_again(self, job: JobCore, journal: Journal, key: str) -> None:
        """Note the id that the server has chosen; a job that cannot be noted is taken back.

        Raises:
            OSError: The disk is full: the job could not be found again, and a later batch would run another.
        """
        try:
            journal.posting(job, key)
        except OSError:
            self.leave(job)
            raise

    async def _from_record(self, record: Record, workflow: Workflow, options: SubmitOptions) -> Item | None:
        """Return the job that an earlier batch noted, or None when it has to run again."""
        engine, ref, index = self._engine, record.get("ref"), options.index
        assert index is not None
        if not isinstance(ref, Mapping):
            return None
        if is_final(record):
            item = restored(engine, record, workflow, index, on_partial=options.on_partial)
            tell_of_saves(item.job, engine.hooks)
            return item
        if record.get("status") != "submitted":
            return None
        found = {**ref, "prompt_id": str(ref["prompt_id"]), "client_id": str(ref.get("client_id") or "")}
        job = await engine.attach(found)
        job.index, job.workflow = index, workflow
        job.demands_saves = demands_saves(engine, options.on_partial)
        if not job.done and not job.seen:
            # In neither queue nor history: polling finds out whether that is the truth.
            await job.ended.wait()
            if isinstance(job.error, JobLostError) and job.error.retryable:
                return None
        # An interrupted batch cancels what it was submitting, and had no time to note that.
        return None if job.status == "cancelled" else Item(job, recalled=True)


@contextlib.contextmanager
def unreadable() -> Iterator[None]:
    """Make a file or value that cannot be sent the failure of the workflow that has it: the others go on."""
    try:
        yield
    except OSError as error:
        raise ComfyError(f"a file of the workflow cannot be read: {error}") from error
    except ValueError as error:
        raise ComfyError(f"a value of the workflow cannot be sent: {error}") from error


async def is_usable(item: Item, journal: Journal) -> bool:
    """Return whether the files of a finished job of a results file are there, and its own, if that counts."""
    if not item.restored or not journal.demands_files or item.job.status != "completed":
        return True
    for file in item.job.result.files:
        if file.is_preview:
            # Those do not outlive the server in any case.
            continue
        try:
            async with contextlib.aclosing(file.stream()) as chunks:
                await anext(chunks, None)
        except JobError:
            return False
    return True


def restored(owner: Owner, record: Record, workflow: Workflow, index: int, *, on_partial: str) -> Item:
    """Return a finished job made from its line: nothing is asked before its files are read."""
    engine = owner if isinstance(owner, Engine) else None
    entry = as_history(record, workflow.to_api())
    job = JobCore(owner, JobState(entry.prompt_id, Plan(entry.prompt)), keep_frames=False, index=index)
    job.workflow = workflow
    job.reader = KeptFiles(
        owner.files,
        entry.prompt,
        prompt_id=entry.prompt_id,
        server=str(record["ref"].get("server") or owner.base_url),
        history=None if engine is None else engine.api.history,
    )
    job.demands_saves = engine is not None and demands_saves(engine, on_partial)
    job.client_id = str(record["ref"].get("client_id") or "")
    job.labels = labels_of({LABELS: record["ref"].get("labels")})
    for event in history_events(entry, owner.clock.unix()):
        job.take(event)
    return Item(job, key=str(record["key"]), restored=True, recalled=True)


def _place(url: str) -> tuple[str, str] | str:
    """Return where a URL leads: this machine has several names."""
    try:
        address = Address.parse(url)
    except ValueError:
        return url
    scheme, host, port = address.origin
    host = "localhost" if address.is_loopback else host
    return f"{scheme}://{host}:{port}", urlsplit(address.base).path


def _failed(engine: Engine, error: ComfyError, options: SubmitOptions) -> JobCore:
    """Return a job that never was on the server and ends with the error of its submission."""
    prompt_id = error.prompt_id or str(uuid.uuid4())
    job = JobCore(engine, JobState(prompt_id, Plan({})), keep_frames=False, index=options.index)
    introduce(job, engine.hooks, options.extra_data)
    job.labels = labels_of(options.extra_data)
    job.error = error
    data = {"exception_type": type(error).__name__, "exception_message": str(error)}
    job.take(Failed(None, data, prompt_id, received_at=engine.clock.unix()))
    return job
