"""How far a batch is."""

from __future__ import annotations

import dataclasses

from ..types import duration_text

__all__ = ["BatchProgress"]


@dataclasses.dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is: a frozen snapshot that prints as one line.

    Attributes:
        done: Jobs that completed.
        failed: Jobs that failed, were refused, cancelled or lost.
        running: Jobs on the server, waiting ones too.
        total: Workflows in all, None while the iterable's length is unknown.
        fraction: 0.0 to 1.0 with the shares of running jobs, None without a total.
        eta: Seconds to go by the jobs that this batch began itself, None while nothing is known.
        paused: Nothing further is submitted until somebody resumes it.

    Example:
        >>> print(BatchProgress(done=12, failed=1, running=4, total=100, fraction=0.15, eta=340.0))
        13/100 (1 failed, 4 running), 5 min 40 s to go
    """

    done: int
    failed: int
    running: int
    total: int | None
    fraction: float | None
    eta: float | None
    paused: bool = False

    def __str__(self) -> str:
        """Return a line to print."""
        total = "" if self.total is None else f"/{self.total}"
        counts = [(self.failed, "failed"), (self.running, "running")]
        words = ", ".join(f"{count} {word}" for count, word in counts if count)
        shown = f" ({words})" if words else ""
        eta = f", {duration_text(self.eta)} to go" if self.eta else ""
        paused = ", paused" if self.paused else ""
        return f"{self.done + self.failed}{total}{shown}{eta}{paused}"
