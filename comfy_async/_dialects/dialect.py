"""What a session needs of a server, whatever its dialect."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from .._base.secrets import Secret
from .._protocol.snapshot import HistoryEntry, QueueEntry, QueueSnapshot
from .._transport.http import Stream
from ..errors import NotComfyUIError
from .server import ServerInfo

__all__ = [
    "MARK",
    "Dialect",
    "DialectName",
    "Draft",
    "FilePlace",
    "Posted",
    "Speaker",
    "UnreadableError",
    "Upload",
]

DialectName: TypeAlias = Literal["comfyui", "cloud-v1", "api-v2"]

MARK = "comfy_async_id"
"""The key of `extra_data` by which a job is found whose id the server has chosen."""


class UnreadableError(NotComfyUIError):
    """An answer came, as JSON, but in a shape that says nothing. Internal."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A prompt, before it is put into a server's format.

    Attributes:
        graph: The workflow in API format, as JSON.
        prompt_id: The id that the job has here; servers that choose ids themselves give it another.
        client_id: Under which the session receives events.
        extra: What goes into `extra_data`; keys are held as secrets.
        previews: What was asked for, "default" for the server's own.
        number: The place in the queue, None for its end.
        front: Before all others.
        targets: The output nodes to run, None for all.
    """

    graph: bytes
    prompt_id: str
    client_id: str
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    previews: str = "default"
    number: float | None = None
    front: bool = False
    targets: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Posted:
    """A prompt that the server has accepted.

    Attributes:
        prompt_id: The job's id on the server.
        raw: The answer as it came.
        data: The same, read.
        node_errors: Why some outputs will not run, in ComfyUI's format.
    """

    prompt_id: str
    raw: bytes
    data: Mapping[str, Any]
    node_errors: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FilePlace:
    """Where a file lies on a server: its place there, and what is known of its asset.

    Attributes:
        filename: Its name.
        subfolder: The folder below that of its type.
        type: "output", "input" or "temp".
        preview: A smaller form, "webp;80" for example.
        channel: Only these channels of a picture.
        asset: The asset's id, None where there is none.
    """

    filename: str
    subfolder: str = ""
    type: str = "output"
    preview: str | None = None
    channel: str | None = None
    asset: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file to be sent.

    Attributes:
        filename: Its name on the server.
        subfolder: The folder for it.
        type: "input", "temp" or "output".
        size: In bytes.
        chunks: Yields the content, from the beginning at each call.
        content_hash: Says its content's hash where that can be known: `blake3:...`.
        overwrite: Replace what has the name.
        original: The picture that a mask is for, as ComfyUI wants it named; None for what is no mask.
    """

    filename: str
    subfolder: str
    type: str
    size: int
    chunks: Callable[[], AsyncIterator[bytes]]
    content_hash: Callable[[], str | None]
    overwrite: bool = False
    original: Mapping[str, str] | None = None


class Speaker(Protocol):
    """What knows the server's dialect: that may be found out late, by its answer.

    Attributes:
        api: Its dialect.
    """

    api: Dialect


class Dialect(Protocol):
    """The requests of a session in one server's dialect; answers come back as facts.

    Every method that sends a request raises `ComfyError` when the server fails.

    Attributes:
        name: The dialect's name.
        has_socket: One WebSocket brings the events of all jobs.
        has_streams: Each job has a stream of events of its own.
        chooses_ids: The server chooses the ids: a job whose answer is lost is not found by the client's id.
        is_idempotent: A prompt that is posted twice is never accepted twice, and may be posted again.
        takes_extra_data: `extra_data` is open: it is kept with the job, and comes back.
        labels_are_in: Where the labels of jobs are found.
        has_routes: ComfyUI's own routes are there, for what is no job.
        tells_single_classes: One node class can be requested.
        hides_partial: A prompt of which only some outputs will run is accepted without saying so.
        names_models: Models are listed by name.
        history_route: The route of finished jobs.
        orders: How the list of jobs can be sorted, by the library's names.
        jobs_at_once: How many jobs one poll may request, None when one request is for all.
        server: What it is and can do.
        probed: It has been asked what it is.
    """

    name: ClassVar[DialectName]
    has_socket: ClassVar[bool]
    has_streams: ClassVar[bool]
    chooses_ids: ClassVar[bool]
    is_idempotent: ClassVar[bool]
    takes_extra_data: ClassVar[bool]
    labels_are_in: ClassVar[Literal["queue and history", "each job", "its list"]]
    has_routes: ClassVar[bool]
    tells_single_classes: ClassVar[bool]
    hides_partial: ClassVar[bool]
    names_models: ClassVar[bool]
    history_route: ClassVar[str]
    orders: ClassVar[Mapping[str, str]]
    jobs_at_once: ClassVar[int | None]
    server: ServerInfo
    probed: bool

    @property
    def address(self) -> str:
        """The server's base URL, without credentials and without a trailing slash."""
        ...

    # What it is.

    async def probe(self) -> ServerInfo:
        """Find out what answers."""
        ...

    def learn(self, features: Mapping[str, Any]) -> None:
        """Keep what the server announced."""
        ...

    def prove(self, capability: str, has: bool) -> None:
        """Keep what an answer has shown."""
        ...

    # Jobs.

    def encode(self, draft: Draft) -> Secret[bytes]:
        """Return the body of the request for a prompt."""
        ...

    async def post(self, draft: Draft, body: Secret[bytes]) -> Posted | Mapping[str, Any]:
        """Send a prompt once; a refusal comes back in ComfyUI's format (`error`, `node_errors`)."""
        ...

    async def find_posted(self, draft: Draft, known: Collection[str]) -> str | None:
        """Return the id of a job whose post was not answered, None when it is not there.

        Args:
            draft: What was posted.
            known: The ids of jobs that it cannot be.
        """
        ...

    @property
    def finds_posted(self) -> bool:
        """True when a job whose post was not answered can be looked for."""
        ...

    async def find_keyed(self, key: str, mark: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return id and `extra_data` of the job that has a mark."""
        ...

    async def claim(self, name: str, text: str) -> bool:
        """Request a name that only one can have until the server restarts; return whether it was given."""
        ...

    async def claim_text(self, name: str) -> str | None:
        """Return what stands in a claim, None when nobody has made it."""
        ...

    def listed(self, labels: Mapping[str, str]) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the jobs that the server lists with these labels, in the format of ComfyUI's jobs API."""
        ...

    @property
    def lists_jobs(self) -> bool:
        """True when reading the queue costs a few bytes a job."""
        ...

    async def has_jobs(self) -> bool:
        """Say whether the server lists jobs."""
        ...

    async def snapshot(self, of: Collection[str] = (), *, whole: bool = False) -> QueueSnapshot:
        """Return what the server runs or will run; `of` names the jobs that matter."""
        ...

    async def find(self, prompt_id: str) -> QueueEntry | None:
        """Return one job that waits or runs."""
        ...

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """Return a finished job."""
        ...

    async def queue(self, *, retry: bool = False) -> Any:
        """Return the whole queue in ComfyUI's format."""
        ...

    async def queue_remaining(self) -> int:
        """Return the number of running and waiting jobs."""
        ...

    async def job_record(self, prompt_id: str) -> Mapping[str, Any] | None:
        """Return a job in the format of ComfyUI's jobs API, None where that or the history is to be read."""
        ...

    async def ping(self) -> int | None:
        """Prove that the server answers, and return the number of its open jobs where it says so."""
        ...

    async def workflow(self, prompt_id: str) -> Mapping[str, Any]:
        """Return the graph of a job in API format, {} where queue and history carry it already."""
        ...

    async def cancel(self, prompt_id: str) -> None:
        """Ask for the removal or end of exactly this job."""
        ...

    async def cancel_all(self, prompt_ids: Sequence[str]) -> bool:
        """Ask for the removal or end of these jobs; return whether any was accepted."""
        ...

    async def interrupt(self, prompt_id: str) -> None:
        """Ask for the end of this job if it runs."""
        ...

    async def has_dead_worker(self) -> bool:
        """Return whether the server's log says that nothing runs any more."""
        ...

    def stream(self, prompt_id: str, *, silent_seconds: float) -> AbstractAsyncContextManager[Stream]:
        """Open the stream of one job's events; one without a byte for so long breaks."""
        ...

    # The rest.

    async def object_info(self, class_type: str) -> Mapping[str, Any]:
        """Return the spec of one class, {} when the server has none."""
        ...

    def history_rows(self, body: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return the finished jobs in a page, each with its id."""
        ...

    # Files.

    async def upload(self, file: Upload) -> Mapping[str, Any]:
        """Send a file; answers `name`, `subfolder`, `type` and perhaps `asset`, as ComfyUI does."""
        ...

    async def has_file(self, place: FilePlace) -> bool | None:
        """Say whether the server has a file, None when it does not say."""
        ...

    def file_url(self, place: FilePlace) -> str:
        """Return a file's address, without credentials."""
        ...

    def open_file(
        self, place: FilePlace, *, headers: Mapping[str, str], expect: Sequence[int] = ()
    ) -> AbstractAsyncContextManager[Stream]:
        """Ask for a file's bytes."""
        ...
