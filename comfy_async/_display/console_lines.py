"""A job as plain lines for a terminal; nothing here needs rich."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .._job.job import core_of
from ..types import counted

if TYPE_CHECKING:
    from .._job.job import Job
    from .._job.result import JobResult
    from ..types import JobProgress

__all__ = ["ending_lines", "node_line", "result_lines", "without_controls"]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def without_controls(text: str, *, colours: bool = False) -> str:
    """Return a server's text without what would move the cursor or change the terminal."""

    def kept(match: re.Match[str]) -> str:
        return match[0] if colours and _COLOUR.fullmatch(match[0]) else ""

    return _CONTROL.sub(kept, text)


def node_line(then: JobProgress, title: str, node: str | None) -> str:
    """Return the line of a node that begins: ` 42 %  KSampler [3]`, ` 42 %  loading Flux [4]`."""
    activity = f"{then.activity} " if then.activity and then.node == node else ""
    return f"{int(then.fraction * 100):3d} %  {activity}{title} [{node}]"


def ending_lines(job: Job) -> list[str]:
    """Return how a job ended: what it made, or what went wrong and what to do."""
    if job.status == "cancelled":
        return [str(job.error)]
    if job.error is not None:
        return [f"{job.status}: {job.error}"]
    if (made := core_of(job).made) is not None:
        return result_lines(made)
    return [f"job {job.prompt_id}: {job.status}"]


def result_lines(result: JobResult) -> list[str]:
    """Return what a job made: how long it took, each file with its node and address, each text."""
    took = f" in {result.duration:.1f} s" if result.duration else ""
    cached = f", {counted(len(result.cached_nodes), 'node')} from the cache" if result.cached_nodes else ""
    lines = [f"completed{took}: {counted(len(result.files), 'file')}{cached}"]
    for file in result.files:
        place = f"  {file.url}" if file.url else ""
        lines.append(f"  {file.filename}  {file.title}{place}")
    lines += [f"  {text}" for text in result.texts]
    if result.missing:
        nodes = ", ".join(result.missing)
        lines.append(f"  images of {nodes} may be lost: only the socket carries them")
    return lines
