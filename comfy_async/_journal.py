"""A batch's results file: JSON lines from which an interrupted batch goes on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ._protocol.snapshot import HistoryEntry
from .errors import JobError, PromptRejectedError, WorkflowError
from .events import Failed

if TYPE_CHECKING:
    from ._job import Job
    from .workflow import Workflow

__all__ = ["Journal", "Record", "workflow_key"]

Record = dict[str, Any]

_FINAL = frozenset({"completed", "failed"})


def workflow_key(workflow: Workflow) -> str:
    """Return what tells one workflow from another: a hash of what would be sent."""
    return hashlib.sha256(workflow.encode()).hexdigest()[:32]


class Journal:
    """Two lines for each job: before it is posted, with its id, and when it has ended.

    The first is written before the prompt is sent. A process that is killed between the two
    therefore leaves no job that nobody knows of.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read what an earlier batch left; the folder is made.

        Raises:
            OSError: The file cannot be read or written.
            ValueError: It is something else than a results file.
        """
        self.path = Path(path)
        self._last: dict[tuple[int, str], Record] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._read()
        self._file: IO[str] | None = self.path.open("a", encoding="utf-8")

    def find(self, index: int, key: str) -> Record | None:
        """Return the last line about a workflow at its place, None when there is none."""
        return self._last.get((index, key))

    def posting(self, job: Job, key: str) -> None:
        """Note a job that is about to be posted, or that was found again."""
        self._write({"index": job.index, "key": key, "status": "submitted", "ref": job.ref})

    def ended(self, job: Job, key: str) -> None:
        """Note how a job ended, with its outputs, so that it need not run again."""
        state = job._state
        record: Record = {
            "index": job.index,
            "key": key,
            "status": job.status if _is_verdict(job._error) else "unsent",
            "ref": job.ref,
            "outputs": state.outputs,
            "cached_nodes": list(state.cached or ()),
            "missing": list(state.missing),
        }
        if isinstance(state.terminal, Failed):
            # `current_inputs` may hold keys and whole pictures: it stays out of files.
            hidden = {"current_inputs", "current_outputs"}
            record["error"] = {k: v for k, v in state.terminal.data.items() if k not in hidden}
        elif job._error is not None:
            record["error"] = {
                "exception_type": type(job._error).__name__,
                "exception_message": str(job._error),
            }
        self._write(record)

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _read(self) -> None:
        """Read the lines; a last line that was cut off by a crash is dropped."""
        lines = self.path.read_text("utf-8").split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                self._last[int(record["index"]), str(record["key"])] = record
            except (ValueError, KeyError, TypeError):
                if number < len(lines):
                    raise ValueError(f"{self.path}, line {number}: this is no results file") from None
                self._cut(line)

    def _cut(self, line: str) -> None:
        """Remove half a line at the end, so that the next one stands alone."""
        size = self.path.stat().st_size
        with self.path.open("r+b") as file:
            file.truncate(size - len(line.encode("utf-8", "surrogatepass")))

    def _write(self, record: Record) -> None:
        """Append a line and hand it to the operating system, which keeps it when we die."""
        if self._file is None:
            return
        self._file.write(json.dumps(record, separators=(",", ":")) + "\n")
        self._file.flush()
        self._last[int(record["index"]), str(record["key"])] = record


def _is_verdict(error: Exception | None) -> bool:
    """Say whether an end would be the same again; a server that could not be reached is no verdict."""
    return error is None or isinstance(error, (JobError, PromptRejectedError, WorkflowError))


def is_final(record: Record) -> bool:
    """Say whether a job need not run again."""
    return record.get("status") in _FINAL


def as_history(record: Record, graph: dict[str, Any]) -> HistoryEntry:
    """Return a finished job's line as what the server's history would have said."""
    succeeded = record["status"] == "completed"
    messages: list[tuple[str, dict[str, Any]]] = [
        ("execution_cached", {"nodes": record.get("cached_nodes") or []})
    ]
    if not succeeded:
        messages.append(("execution_error", dict(record.get("error") or {})))
    outputs = record.get("outputs")
    return HistoryEntry(
        prompt_id=str(record["ref"]["prompt_id"]),
        succeeded=succeeded,
        messages=tuple(messages),
        outputs=outputs if isinstance(outputs, dict) else {},
        prompt=graph,
        extra_data={},
        display_nodes={},
    )
