"""What can go wrong with API v2, on request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from ._core import Core
from ._rules import Rule
from ._v2_board import Board
from ._v2_errors import REFUSALS, JobRefusal, envelope
from ._v2_stream import Stream

__all__ = ["StreamEnd", "V2Faults"]

StreamEnd: TypeAlias = Literal["end", "cut", "reset"]
"""In good order but before the job's end, by the end of the connection, or by a TCP reset."""


class V2Faults:
    """The faults of the jobs, streams and links of API v2, where it is served."""

    _core: Core

    # Jobs

    def refuse_jobs(
        self,
        reason: JobRefusal,
        *,
        count: int | None = None,
        retry_after: str | None = "1",
        method: str = "POST",
        path: str = "/api/v2/jobs",
    ) -> Rule:
        """Refuse jobs for a reason that has nothing to do with the graph; their keys stay free.

        Args:
            reason: A code of the description, or `upstream_unreachable`, which is the proxy's when
                ComfyUI is away; the 429s may be tried again.
            count: How many, all when None.
            retry_after: When a 429 may be tried again, in seconds or as an HTTP date; None says nothing.
            method: The method of what is refused, for other requests than jobs.
            path: The path of what is refused, a pattern as for `fail`.
        """
        status, message = REFUSALS[reason]
        headers = {"Retry-After": retry_after} if status == 429 and retry_after is not None else {}
        rule = Rule(
            method, path, failure=status, count=count, json=envelope(reason, message), headers=headers
        )
        return self._core.rules.add(rule)

    def swallow_jobs(self, count: int = 1, *, status: int = 500) -> None:
        """Answer the next jobs with a 500, or a proxy's 503, that leaves open whether they were made.

        They were not, and their keys stay claimed. For a job that was made all the same, use
        `fail("POST", "/api/v2/jobs", 500, after_effect=True)`.
        """
        self._board.swallowed = [status] * count

    def expire_job(self, job_id: str) -> None:
        """Let a job expire, whatever it is doing: it stops, and counts as expired for good.

        Raises:
            KeyError: API v2 was not given such a job.
        """
        job = self._board.jobs[job_id]
        job.expired = True
        dropped = self._core.queue.delete(job_id)
        if dropped is not None:
            self._core.books.end(dropped.record, "lost")
        elif self._core.queue.is_running(job_id):
            self._core.interrupt()
        self._board.refresh()
        self._core.books.touch()

    def forget_job(self, job_id: str) -> None:
        """Let a job be unknown from now on, as after its retention.

        Raises:
            KeyError: API v2 was not given such a job.
        """
        del self._board.jobs[job_id]
        if self._core.queue.history.pop(job_id, None) is not None:
            self._core.books.forget([job_id])

    def expire_falsely(self, count: int = 1) -> None:
        """Let so many requests for jobs, and streams that are opened, find them expired, though they are not.

        The proxy does so when a job ends between its look into the history and that into the queue: seen
        in 4 of 60 streams and in 4 of 160 polled jobs. The next look finds the truth.
        """
        self._board.false_expiries = count

    # Streams

    def cut_streams(
        self, how: StreamEnd = "cut", *, job_id: str | None = None, after: int | None = None, count: int = 1
    ) -> int:
        """End event streams before their time, and return how many.

        Args:
            how: "end" ends the answer in good order, "cut" the connection, "reset" resets it.
            job_id: Only those of one job.
            after: After so many events, of streams that are opened from now on.
            count: How many of those.
        """
        if after is not None:
            self._board.cuts += [(after, how, job_id)] * count
            return 0
        found = list(self._streams(job_id))
        for stream in found:
            if how == "end":
                stream.drop()
            else:
                stream.cut(how)
        return len(found)

    def stall_streams(self, *, job_id: str | None = None, keepalives: bool = True) -> int:
        """Keep event streams open and silent, new ones too, until `unstall_streams`; returns how many are.

        Args:
            job_id: Only those of one job.
            keepalives: Send comments all the same.
        """
        self._board.stalls.append((job_id, keepalives))
        found = list(self._streams(job_id))
        for stream in found:
            stream.stall(breathing=keepalives)
        return len(found)

    def unstall_streams(self) -> None:
        """Send what has gathered, and all that comes."""
        self._board.stalls.clear()
        for stream in self._board.streams:
            stream.unstall()

    def silence_ends(self, count: int = 1) -> None:
        """End the next streams whose job ends without an event for it."""
        self._board.silent_ends = count

    def send_to_streams(self, payload: bytes | str, *, job_id: str | None = None) -> int:
        """Send bytes into event streams as they are, a broken event say; returns into how many."""
        found = list(self._streams(job_id))
        for stream in found:
            stream.send_raw(payload.encode() if isinstance(payload, str) else payload)
        return len(found)

    def send_event(self, event: str, data: dict[str, Any], *, job_id: str | None = None) -> int:
        """Send an event of any name into event streams; returns into how many."""
        found = list(self._streams(job_id))
        for stream in found:
            stream.tell(event, data)
        return len(found)

    # Links

    def expire_links(self) -> int:
        """Let every signed URL that was ever given be out of date, and return how many there were."""
        storage = self._board.storage
        return 0 if storage is None else storage.expire()

    def mend_v2(self) -> None:
        """End the faults of API v2 that are no rules."""
        board = self._core.v2
        if board is None:
            return
        board.swallowed, board.cuts = [], []
        board.false_expiries = board.silent_ends = 0
        self.unstall_streams()

    @property
    def _board(self) -> Board:
        """The jobs of API v2.

        Raises:
            RuntimeError: It is not served.
        """
        if self._core.v2 is None:
            raise RuntimeError('this FakeComfy does not serve API v2: FakeComfy(dialect="api-v2")')
        return self._core.v2

    def _streams(self, job_id: str | None) -> Iterator[Stream]:
        return (stream for stream in list(self._board.streams) if job_id in (None, stream.job.id))
