"""What a job of a fleet has in the place of a session, its files and its reducer: they are with a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import anyio
import ray

from .._base.clock import Clock
from .._base.paths import part_of
from .._base.secrets import Veil
from .._base.settings import Settings
from .._job.core import JobCore
from .._job.mailbox import Watchers
from .._job.output import OutputFile
from .._protocol.meter import Timings
from .._protocol.reducer import JobState
from ..errors import ComfyError, SessionClosedError
from ..types import JobStatus
from ._member import DEATHS, Member
from ._messages import Ended

__all__ = ["Keeper", "RemoteFiles", "RemoteOwner", "RemoteState"]


class Keeper(Protocol):
    """What a job needs of its fleet."""

    settings: Settings
    clock: Clock
    closed: bool
    timings: Timings

    @property
    def veil(self) -> Veil:
        """Masks the keys in what is shown."""
        ...

    def check_loop(self) -> None:
        """Raise in another event loop, and when the fleet is closed."""
        ...

    def closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after the end."""
        ...

    def job_ended(self, job: JobCore) -> None:
        """The job has had its end."""
        ...

    async def cancel(self, job: JobCore) -> JobStatus:
        """Stop the job wherever it is."""
        ...

    async def abandon(self, job: JobCore) -> None:
        """Cancel a job that is not waited for any more."""
        ...


class RemoteState(JobState):
    """The state of a job that a worker watches; only the worker knows about gaps in its stream."""

    __slots__ = ("_missing_there",)

    _missing_there: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Nodes whose images only the socket carries and that may have been lost."""
        return getattr(self, "_missing_there", ())

    def take_end(self, end: Ended) -> None:
        """Take over what the worker knows in the end, before the last event is sent."""
        self.outputs.update(end.outputs)
        self._missing_there = end.missing
        if end.cached is not None:
            self.cached = end.cached


class RemoteOwner:
    """Owns a job that runs on a worker's server, or that waits for one."""

    def __init__(self, keeper: Keeper, member: Member | None = None) -> None:
        """Stand for a worker, or for none yet."""
        self._keeper = keeper
        self._member = member
        self.client_id = "" if member is None else member.client_id
        self.settings = keeper.settings
        self.clock = keeper.clock
        self.veil = keeper.veil
        # Nobody watches a whole fleet.
        self.watchers = Watchers()
        self.files = RemoteFiles(keeper, member)

    @property
    def base_url(self) -> str:
        """Where the job's server is; what a worker has started itself ends with it, and says so."""
        member = self._member
        if member is None:
            return "ray:"
        return f"ray:{member.client_id}" if member.owned else member.url

    @property
    def closed(self) -> bool:
        """True when the fleet is."""
        return self._keeper.closed

    def check_loop(self) -> None:
        """Raise in another event loop, and when the fleet is closed."""
        self._keeper.check_loop()

    def job_ended(self, job: JobCore) -> None:
        """The job has ended."""
        self._keeper.job_ended(job)

    def wanted(self, job: JobCore) -> None:
        """Do nothing: where it runs, it is followed."""

    def ask_for_place(self, job: JobCore) -> bool:
        """A worker is not asked for it."""
        return False

    async def cancel(self, job: JobCore) -> JobStatus:
        """Cancel the job wherever it is."""
        return await self._keeper.cancel(job)

    async def abandon(self, job: JobCore) -> None:
        """Cancel a job that is not waited for any more."""
        await self._keeper.abandon(job)


class RemoteFiles:
    """The files of one job, read by its worker.

    Attributes:
        kept: Those that came along with the result: bytes, Ray's reference to them, or an error.
    """

    def __init__(self, keeper: Keeper, member: Member | None) -> None:
        """Read from this worker's server."""
        self._keeper = keeper
        self._member = member
        self.kept: dict[tuple[str, str, str], Any] = {}

    def url(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> str:
        """Return a file's address as the worker sees it."""
        query = urlencode({"filename": filename, "subfolder": subfolder, "type": type})
        return f"{self._member.url if self._member is not None else ''}/view?{query}"

    async def read(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> bytes:
        """Return a file's bytes: those that came with the result, else from its server.

        Raises:
            ComfyError: The server has no such file any more, or the request failed.
        """
        kept = self.kept.get((filename, subfolder, type))
        if isinstance(kept, ray.ObjectRef):
            try:
                kept = await kept
            except DEATHS:
                kept = None
        if isinstance(kept, Exception):
            raise kept
        if kept is not None:
            return bytes(kept)
        data: bytes = await self._there().call("read", filename, subfolder, type, asset)
        return data

    async def open(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> AsyncIterator[bytes]:
        """Yield a file's bytes.

        Raises:
            ComfyError: As `read`.
        """
        if (filename, subfolder, type) in self.kept:
            yield await self.read(filename, subfolder=subfolder, type=type)
            return
        async for chunk in self._there().chunks(filename, subfolder, type, asset):
            yield chunk

    async def save(
        self,
        filename: str,
        path: Path,
        *,
        subfolder: str = "",
        type: str = "output",
        asset: str | None = None,
    ) -> Path:
        """Write a file to the driver's disk, through a temporary name.

        Raises:
            ComfyError: As `read`.
            OSError: The disk would not take it.
        """
        await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
        part = part_of(path)
        try:
            async with await anyio.open_file(part, "wb") as file:
                async for chunk in self.open(filename, subfolder=subfolder, type=type, asset=asset):
                    await file.write(chunk)
            await anyio.Path(part).replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    async def keep(self, files: Iterable[OutputFile], *, as_bytes: bool) -> None:
        """Have files read into Ray's object store, or on into the driver's memory."""
        keys = [(file.filename, file.subfolder, file.type) for file in files]
        for key in keys:
            # The worker puts them there, the references are the driver's own.
            self.kept[key] = self._there().worker.read.remote(*key)
        for filename, subfolder, type in keys if as_bytes else ():
            try:
                kept: Any = await self.read(filename, subfolder=subfolder, type=type)
            except ComfyError as error:
                kept = error
            self.kept[filename, subfolder, type] = kept

    def object(self, file: OutputFile) -> Any:
        """Return Ray's reference to the bytes of one of these files."""
        key = (file.filename, file.subfolder, file.type)
        if key not in self.kept:
            return self._there().worker.read.remote(*key)
        kept = self.kept[key]
        return kept if isinstance(kept, ray.ObjectRef) else ray.put(kept)

    def _there(self) -> Member:
        """Return the worker.

        Raises:
            SessionClosedError: The fleet is closed, or the worker was of an earlier fleet.
        """
        if self._keeper.closed:
            raise self._keeper.closed_error(None)
        if self._member is None:
            raise SessionClosedError("the worker that had the file is gone, and its ComfyUI with it")
        return self._member
