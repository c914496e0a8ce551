"""The files of jobs that only a results file knows: whether they are still those jobs'."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from .._base.tasks import closed_when_left, in_thread
from .._job.output import FileReader
from .._protocol.snapshot import HistoryEntry
from ..errors import JobError, NotFoundError, WorkflowFormatError
from ..workflow.media.carried import read_media

__all__ = ["KeptFiles"]

# Pictures carry their prompt before their pixels.
_HEAD: Final = 4 << 20


class KeptFiles:
    """Reads files as the session does, and takes none that another workflow has made.

    A server whose outputs were cleared counts its names from one again, so the name in a results file
    may be another job's by now. ComfyUI writes the prompt into what it saves: that shows it. Some nodes
    change the prompt as they run, so a file with another one is accepted while the history confirms it.
    """

    def __init__(
        self,
        files: FileReader,
        graph: Mapping[str, Any],
        *,
        prompt_id: str,
        server: str,
        history: Callable[[str], Awaitable[HistoryEntry | None]] | None,
    ) -> None:
        """Read files of the job that ran this graph; `history` asks the server for a job that has ended."""
        self._files = files
        self._made_by = _essence(graph)
        self._prompt_id = prompt_id
        self._server = server
        self._history = history
        self._vouched: bool | None = None

    def url(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> str:
        """Return the address of a file."""
        return self._files.url(filename, subfolder=subfolder, type=type, asset=asset)

    async def read(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> bytes:
        """Return a file's bytes.

        Raises:
            JobError: It is gone, or another job's.
        """
        try:
            data = await self._files.read(filename, subfolder=subfolder, type=type, asset=asset)
        except NotFoundError as error:
            raise self._gone(filename) from error
        await self._demand_mine(data, filename)
        return data

    async def open(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> AsyncIterator[bytes]:
        """Yield a file's bytes as they come, the first of them when they have been looked at.

        Raises:
            JobError: It is gone, or another job's.
        """
        head: bytearray | None = bytearray()
        opened = self._files.open(filename, subfolder=subfolder, type=type, asset=asset)
        try:
            async with closed_when_left(opened) as chunks:
                async for chunk in chunks:
                    if head is None:
                        yield chunk
                        continue
                    head += chunk
                    if len(head) >= _HEAD:
                        await self._demand_mine(bytes(head), filename)
                        first, head = bytes(head), None
                        yield first
        except NotFoundError as error:
            raise self._gone(filename) from error
        if head is not None:
            await self._demand_mine(bytes(head), filename)
            yield bytes(head)

    async def save(
        self,
        filename: str,
        path: Path,
        *,
        subfolder: str = "",
        type: str = "output",
        asset: str | None = None,
    ) -> Path:
        """Write a file to disk.

        Raises:
            JobError: It is gone, or another job's.
            OSError: The disk would not take it.
        """
        try:
            saved = await self._files.save(filename, path, subfolder=subfolder, type=type, asset=asset)
        except NotFoundError as error:
            raise self._gone(filename) from error
        try:
            await self._demand_mine(saved, filename)
        except BaseException:
            await in_thread(saved.unlink, missing_ok=True)
            raise
        return saved

    async def _demand_mine(self, source: bytes | Path, filename: str) -> None:
        """Raise when the file carries another prompt, and the server does not know the job any more."""
        if await in_thread(self._is_mine, source):
            return
        if self._vouched is None and self._history is not None:
            self._vouched = await self._history(self._prompt_id) is not None
        if not self._vouched:
            raise self._error(f"the file {filename!r} on {self._server} carries the prompt of another")

    def _is_mine(self, source: bytes | Path) -> bool:
        """Say whether a file carries this job's prompt, or none that could be compared."""
        try:
            carried = read_media(source).get("prompt")
        except WorkflowFormatError:
            return True
        return not isinstance(carried, Mapping) or _essence(carried) == self._made_by

    def _gone(self, filename: str) -> JobError:
        """Return the error for a file that the server does not have."""
        return self._error(f"the server {self._server} no longer has the file {filename!r}")

    def _error(self, what: str) -> JobError:
        """Return the error for a file that cannot be had."""
        return JobError(
            f"the results file says that job {self._prompt_id} is done, but {what}",
            hint='results_missing="rerun" runs such jobs again; or take another results file.',
            prompt_id=self._prompt_id,
            server=self._server,
        )


def _essence(graph: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides of a graph what it makes: classes and inputs. Servers add notes of their own."""
    return {
        str(node): (spec.get("class_type"), _plain(spec.get("inputs")))
        for node, spec in graph.items()
        if isinstance(spec, Mapping)
    }


def _plain(value: Any) -> Any:
    """Return a value as far as the server keeps it: it makes numbers of texts, and texts of numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    try:
        return str(float(value))
    except (TypeError, ValueError, OverflowError):
        return str(value)
