"""A batch's results file: JSON lines from which an interrupted batch goes on."""

from __future__ import annotations

import collections
import hashlib
import json
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Literal

from .._base.filelock import FileLock
from .._job.core import JobCore
from .._protocol.snapshot import HistoryEntry
from ..errors import JobError, PromptRejectedError, WorkflowError
from ..events import Failed
from ..types import FileUrl
from ..workflow import Workflow
from .results import Results

__all__ = ["Journal", "Record", "as_history", "is_final", "read_record", "workflow_key"]

Record = dict[str, Any]

_log = logging.getLogger("comfy_async")

_FINAL = frozenset({"completed", "failed"})
_NAMED = 10
# What a line about a job may hold.
_MAY_HAVE: Final[Mapping[str, type]] = {
    "status": str,
    "outputs": dict,
    "error": dict,
    "cached_nodes": list,
    "missing": list,
}


def workflow_key(workflow: Workflow) -> str:
    """Return the hash of what would be sent, by which workflows are compared."""
    return hashlib.sha256(workflow.encode()).hexdigest()[:32]


class Journal:
    """Two lines for each job: before it is posted, with its id, and when it has ended.

    The first is written before the prompt is sent. A process that is killed between the two
    therefore leaves no unknown job. The command adds where it saved a job's files,
    by which values the job is another one, and the random seed that it chose for all.

    Attributes:
        path: The file.
        seed: The random seed that the command chose, None when it chose none.
        total: How many workflows there are in all, None when unknown.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, patience: int = 1, damaged: Literal["raise", "rerun"] = "raise"
    ) -> None:
        """Read what an earlier batch left; the folder is made, and the file is locked meanwhile.

        Args:
            path: The file.
            patience: How many workflows in a row may be new ones before a warning.
            damaged: "rerun" treats a line that cannot be read as one of an unfinished job.

        Raises:
            BlockingIOError: Another batch uses the file; says which process.
            OSError: The file cannot be read or written.
            ValueError: It is something else than a results file, or a line is damaged.
        """
        self.path = Path(path)
        self.seed: int | None = None
        self.total: int | None = None
        self.demands_files = False
        self._last: dict[tuple[int, str], Record] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path)
        try:
            if self.path.exists():
                self._read(damaged)
            self._file: IO[str] | None = self.path.open("a", encoding="utf-8")
        except BaseException:
            self._lock.release()
            raise
        self._patience = patience
        self._earlier = frozenset(self._last)
        self._asked: set[tuple[int, str]] = set()
        self._keys: dict[int, str] = {}
        self._quiet = not self._earlier

    def find(self, index: int, key: str) -> Record | None:
        """Return the last line about a workflow at its place, None when there is none."""
        self._asked.add((index, key))
        self._keys[index] = key
        if not self._quiet and len(self._asked) >= self._patience:
            self._warn_of_strangers()
        return self._last.get((index, key))

    @property
    def servers(self) -> dict[str, int]:
        """On which servers the jobs were that need not run again, or may still run, and how many on each."""
        found = collections.Counter(
            str(record["ref"]["server"])
            for record in self._last.values()
            if (is_final(record) or record.get("status") == "submitted")
            and isinstance(record.get("ref"), Mapping)
            and record["ref"].get("server")
        )
        return dict(found)

    def settle(self, elsewhere: Callable[[Collection[str]], Collection[str]], how: Results) -> None:
        """Raise for jobs that were on other servers, or drop them, which runs them again; failed ones too.

        Args:
            elsewhere: Returns which servers are others.
            how: What becomes of such jobs, and of others.

        Raises:
            ValueError: There are jobs of other servers, and they are neither kept nor run again.
        """
        self.demands_files = how.missing == "rerun"
        if how.failed == "rerun":
            kept = {place: record for place, record in self._last.items() if record.get("status") != "failed"}
            self._last = kept
        known = self.servers
        servers = [] if how.elsewhere == "keep" else elsewhere(known)
        if servers and how.elsewhere == "raise":
            told = ", ".join(f"{known[server]} of {server}" for server in servers)
            raise ValueError(
                f"{self.path} holds jobs of another server ({told}): their files are there. "
                'results_elsewhere="rerun" runs them here, "keep" says that this is the same server under '
                "another address; or take another results file"
            )
        self._last = {
            place: record
            for place, record in self._last.items()
            if (record.get("ref") or {}).get("server") not in servers
        }

    def posting(self, job: JobCore, key: str) -> None:
        """Note a job that is about to be posted, or that was found again."""
        self._write({"index": job.index, "key": key, "status": "submitted", "ref": job.ref})

    def ended(self, job: JobCore, key: str) -> None:
        """Note how a job ended, with its outputs, so that it need not run again."""
        state = job.state
        record: Record = {
            "index": job.index,
            "key": key,
            "status": job.status if _is_verdict(job.error) else "unsent",
            "ref": job.ref,
            "outputs": state.outputs,
            "cached_nodes": list(state.cached or ()),
            "missing": list(state.missing),
        }
        if isinstance(state.terminal, Failed):
            # `current_inputs` may hold keys and whole pictures: it stays out of files.
            hidden = {"current_inputs", "current_outputs"}
            record["error"] = {k: v for k, v in state.terminal.data.items() if k not in hidden}
        elif job.error is not None:
            record["error"] = {
                "exception_type": type(job.error).__name__,
                "exception_message": str(job.error),
            }
        self._write(record)

    def saved(self, index: int, files: Sequence[Path | FileUrl]) -> None:
        """Note where the files of a job that has ended were saved, in the order of its result."""
        paths = [os.path.abspath(file) if isinstance(file, Path) else str(file) for file in files]
        self._write({"index": index, "key": self._keys.get(index, ""), "saved": paths})

    def varied(self, index: int, values: Mapping[str, str]) -> None:
        """Note by which values a job is another one than the rest, for whoever reads the file."""
        place = index, self._keys.get(index, "")
        if place in self._last and self._last[place].get("values") != values:
            self._write({"index": index, "key": place[1], "values": dict(values)})

    def saved_files(self, index: int) -> list[str]:
        """Return where the files of a job were saved, [] when that was not noted."""
        record = self._last.get((index, self._keys.get(index, ""))) or {}
        return [str(place) for place in record.get("saved") or ()]

    def begin(self, seed: int) -> None:
        """Note the seed that all random seeds follow from."""
        if seed != self.seed:
            self._write({"seed": seed})

    def counted(self, total: int | None) -> None:
        """Note how many workflows there are in all, where that is known."""
        if total is not None and total != self.total:
            # Whoever reads such files goes by the status of each line.
            self._write({"status": "counted", "total": total})

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        self._lock.release()
        if file is not None:
            file.close()
            if not self._quiet:
                self._warn_of_strangers()

    def _warn_of_strangers(self) -> None:
        """Log, once, that none of the workflows is in the file but others are at their places."""
        if not self._asked:
            return
        self._quiet = True
        places = {index for index, _ in self._earlier}
        if self._asked & self._earlier or not any(index in places for index, _ in self._asked):
            return
        open_ones = [
            str((self._last[place].get("ref") or {}).get("prompt_id"))
            for place in sorted(self._earlier)
            if self._last[place].get("status") == "submitted"
        ]
        left = ""
        if open_ones:
            more = f" and {len(open_ones) - _NAMED} more" if len(open_ones) > _NAMED else ""
            named = f"{', '.join(open_ones[:_NAMED])}{more}"
            left = f" Of the earlier ones these may still run, and are not followed: {named}."
        _log.warning(
            "%s has results of other workflows: none of the first %d is among the %d in it, and each runs as "
            "a new job. A job is recognized by its place and its content: draw seeds with "
            "randomized(n), since one drawn anew makes another job, or take another file.%s",
            self.path,
            len(self._asked),
            len(self._earlier),
            left,
        )

    def _read(self, damaged: Literal["raise", "rerun"]) -> None:
        """Read the lines; a last one that was cut off by a crash is dropped.

        Raises:
            ValueError: A line cannot be read.
        """
        lines = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                self._take(read_record(line))
            except ValueError as error:
                unreadable = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
                if unreadable and number == len(lines):
                    self._end_file(cut=len(line))
                    return
                error = ValueError("this is no results file") if unreadable else error
                if damaged == "raise":
                    raise ValueError(f"{self.path}, line {number}: {error}") from None
                _log.warning("%s, line %d: %s; that job runs again", self.path, number, error)
        if lines[-1]:
            # An editor took the last newline away: the next line must not be written onto this one.
            self._end_file(newline=True)

    def _end_file(self, *, cut: int = 0, newline: bool = False) -> None:
        """Remove half a line at the end, or end a whole one, so that the next one stands alone."""
        with self.path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.truncate(end - cut)
            if newline:
                file.write(b"\n")

    def _write(self, record: Record) -> None:
        """Append a line and hand it to the operating system, which keeps it when we die."""
        if self._file is None:
            return
        self._file.write(json.dumps(record, separators=(",", ":")) + "\n")
        self._file.flush()
        self._take(record)

    def _take(self, record: Record) -> None:
        """Learn from a line."""
        if "seed" in record:
            self.seed = int(record["seed"])
            return
        if "total" in record:
            self.total = int(record["total"])
            return
        place = int(record["index"]), str(record["key"])
        # A line without a status adds to what is known, any other begins anew.
        known = {} if "status" in record else self._last.get(place, {})
        self._last[place] = {**known, **record}


def read_record(line: bytes) -> Record:
    """Read a line, and demand the shape of one.

    Raises:
        ValueError: It has another one.
    """
    record = json.loads(line.decode("utf-8-sig"))
    if not isinstance(record, dict):
        raise ValueError("this is no results file")
    if "seed" in record:
        shapes: dict[str, Any] = {"seed": int}
    elif "total" in record:
        shapes = {"total": int}
    else:
        shapes = {"index": int, "key": str}
        known = _MAY_HAVE if "status" in record else {}
        shapes |= {name: shape for name, shape in known.items() if record.get(name) is not None}
        if "status" in record or "ref" in record:
            shapes["ref"] = dict
    for name, shape in shapes.items():
        if not isinstance(record.get(name), shape) or isinstance(record.get(name), bool):
            raise ValueError(f"this is no results file: {name!r} is {record.get(name)!r:.40}")
    if "ref" in record and not isinstance(record["ref"].get("prompt_id"), str):
        raise ValueError("this is no results file: its 'ref' names no job")
    return record


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
