"""The judge: what people were told is held against what the servers know."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from comfy_async import Cancelled, Completed, Failed, Job, Lost, NodeFinished, NodeStarted, Queued, Started
from comfy_async.testing import FakeComfy, RunRecord

AWAY_S = 30.0
"""`away_seconds` of a pool."""

TERMINAL = (Completed, Failed, Cancelled, Lost)


@dataclasses.dataclass
class Outcome:
    """What one job was told to have become.

    Attributes:
        number: Of the workflow: the servers' records are found by it.
        kind: What its user did.
        status: The job's, or "error ..." when there was no job, or "" for one that nobody awaited.
        wanted: Whether its user wanted it to be cancelled.
        told_at: When its end was told.
        left_at: When its user stopped waiting, and no longer wanted it.
        resumed: Whether it belongs to a batch that was cancelled once and begun again.
        pooled: Whether it may run again on another server, under the same handle.
        broke_at: When a batch could no longer note anything.
        unknown: The id of a job of which nobody knows whether it arrived.
        problems: What is already known to be wrong.
    """

    number: int
    kind: str
    status: str = ""
    wanted: bool = False
    told_at: float | None = None
    left_at: float | None = None
    resumed: bool = False
    broke_at: float | None = None
    pooled: bool = False
    error: str = ""
    unknown: str | None = None
    problems: list[str] = dataclasses.field(default_factory=list)


class _Pace(collections.deque[tuple[str, str, int]]):
    """The log of a server's requests, which counts how many there were in a second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(maxlen=1000)
        self.most: collections.Counter[tuple[str, str]] = collections.Counter()
        self._clock = clock
        self._latest: dict[tuple[str, str], collections.deque[float]] = {}

    def append(self, row: tuple[str, str, int]) -> None:
        """Note a request."""
        super().append(row)
        method, path, _ = row
        route = method, path.partition("?")[0]
        now = self._clock()
        latest = self._latest.setdefault(route, collections.deque())
        latest.append(now)
        while now - latest[0] > 1.0:
            latest.popleft()
        self.most[route] = max(self.most[route], len(latest))


class Ledger:
    """What any server of the world ever got: every prompt by the number of its workflow, and how fast."""

    def __init__(self) -> None:
        self.records: dict[int, list[RunRecord]] = {}
        self._paces: list[_Pace] = []

    def watch(self, fake: FakeComfy, clock: Callable[[], float]) -> None:
        """Note what a server queues, under whatever id, and how often it is asked."""
        fake.books.log = pace = _Pace(clock)
        self._paces.append(pace)
        queue = fake.core.queue
        put = queue.put

        def noted(item: Any) -> None:
            number = int(item.prompt["1"]["_meta"]["title"])
            self.records.setdefault(number, []).append(item.record)
            put(item)

        queue.put = noted  # type: ignore[method-assign]

    def rushed(self, limit: int) -> list[str]:
        """Return what a server was requested more often than that within a second."""
        return [
            f"{' '.join(route)} {most} times in a second"
            for pace in self._paces
            for route, most in pace.most.items()
            if most > limit
        ]

    def of(self, number: int) -> list[RunRecord]:
        """Return the records of a workflow."""
        return self.records.get(number, [])


class Watcher:
    """A hook, which holds its calls against the promises: one beginning, one end, nothing after it."""

    def __init__(self) -> None:
        self._lives: dict[int, tuple[Job, list[str]]] = {}

    def on_begin(self, job: Job, _extra: object) -> None:
        """A job is followed."""
        self._note(job, "begin")

    def on_event(self, job: Job, event: object) -> None:
        """Something happened to it."""
        self._note(job, "terminal" if isinstance(event, TERMINAL) else "event")

    def on_end(self, job: Job) -> None:
        """It has ended."""
        self._note(job, "end" if job.done else "end of a job that goes on")

    def on_left(self, job: Job) -> None:
        """Nobody follows it any more."""
        self._note(job, "left")

    def _note(self, job: Job, word: str) -> None:
        life = self._lives.setdefault(id(job), (job, []))[1]
        if word != "event" or life[-1:] != ["event"]:
            life.append(word)

    @property
    def problems(self) -> list[str]:
        """What was not as promised, once the session is closed."""
        return [f"hooks of {job!r}: {life}" for job, life in self._lives.values() if not _is_life(life)]


def _is_life(life: list[str]) -> bool:
    """Say whether a hook was called in an order that there may be; a run of events counts as one."""
    middle = [word for word in life[1:-1] if word != "event"]
    if life[:1] != ["begin"]:
        return False
    return (life[-1] == "end" and middle == ["terminal"]) or (life[-1] == "left" and middle == [])


async def check_events(job: Job, outcome: Outcome) -> None:
    """Hold a job's stream against its promises: one end, the last; nothing told twice, all in order."""
    if not job.done:
        outcome.problems.append(f"not ended: {job.status}")
        return
    events = [event async for event in job]
    ends = [event for event in events if isinstance(event, TERMINAL)]
    if len(ends) != 1 or events[-1] is not ends[0]:
        outcome.problems.append(f"ends: {ends!r}, last: {events[-1:]!r}")
    again = sum(isinstance(event, Queued) for event in events) > 1 and outcome.pooled
    for cls in () if again else (Queued, Started):
        count = sum(isinstance(event, cls) for event in events)
        if count > 1:
            outcome.problems.append(f"{cls.__name__} {count} times")
    for node_cls in () if again else (NodeStarted, NodeFinished):
        nodes = collections.Counter(e.node for e in events if isinstance(e, node_cls))
        outcome.problems += [f"{node_cls.__name__} {n} {c} times" for n, c in nodes.items() if c > 1]
    kinds = [type(event) for event in events]
    if Started in kinds and Queued in kinds and kinds.index(Started) < kinds.index(Queued):
        outcome.problems.append("Started before Queued")
    fraction = job.progress.fraction
    if (fraction == 1.0) != (job.status == "completed"):
        outcome.problems.append(f"progress {fraction} of a job that is {job.status}")


def _is_unnoted(row: RunRecord, outcome: Outcome) -> bool:
    """Say whether a batch that broke off could not note a job: the cloud tells its id after the post alone.

    Who dies before the answer never knows it; who has no room for it takes the job back, unless it is over.
    """
    assert outcome.broke_at is not None
    if outcome.kind == "map_crash":
        # Its last posts may be under way still.
        return True
    return row.queued_at <= outcome.broke_at and row.ended_at <= outcome.broke_at + 2.0


def judge(
    outcome: Outcome,
    records: Iterable[RunRecord],
    *,
    aims: bool = True,
    cloud: bool = False,
    silent: bool = True,
) -> list[str]:
    """Compare what one user was told with what the servers know.

    Args:
        outcome: What the user was told.
        records: Of the workflow, on all servers.
        aims: Whether an interrupt can be aimed: before 0.3.57 it hits whatever runs.
        cloud: Whether the server chooses ids, and knows a job by nothing else.
        silent: Whether a server may have been silent for `away_seconds` of a pool.
    """
    rows = list(records)
    problems = list(outcome.problems)
    forgotten = any(row.forgotten for row in rows)
    lost = any(row.end == "lost" for row in rows)
    # A record that the server itself lost may be run again; any other may not.
    kept = [row for row in rows if row.end != "lost"]
    if outcome.resumed:
        # What was cancelled when the first batch ended runs in the second.
        kept = [row for row in kept if row.end not in ("deleted", "interrupted")]
    elif not aims and outcome.kind == "map_crash":
        # Whom a stray interrupt hit runs again.
        kept = [row for row in kept if row.end != "interrupted"]
    if cloud and outcome.broke_at is not None:
        kept = [row for row in kept if not _is_unnoted(row, outcome)]
    if outcome.pooled and silent:
        # A server that is silent for `away_seconds` has lost its jobs: that is accepted by this number.
        last = max((row.queued_at for row in kept), default=0.0)
        kept = [row for row in kept if last - row.queued_at < AWAY_S]
    if len(kept) > 1 and not forgotten:
        problems.append(f"queued {len(rows)} times")
    truth: set[str] = {row.end for row in rows if row.end} | {row.told for row in rows if row.told}
    match outcome.status:
        case "completed":
            fine = "success" in truth
        case "failed":
            fine = "error" in truth
        case "cancelled":
            astray = not aims and "interrupted" in truth
            fine = (outcome.wanted or astray) and (
                not rows or forgotten or bool(truth & {"interrupted", "deleted", "lost"})
            )
        case "lost":
            # A pool whose post got no answer finds out that it never arrived.
            fine = lost or forgotten or (outcome.wanted and (not rows or "deleted" in truth))
        case "":
            # Nobody waited for it: whatever became of it on the server is right.
            fine = True
        case _:
            fine = outcome.status.startswith("error")
    if outcome.status == "completed" and outcome.wanted is False and truth & {"deleted"} and len(kept) == 1:
        fine = False
    if not outcome.wanted and truth & ({"interrupted", "deleted"} if aims else {"deleted"}):
        problems.append("cancelled, and nobody wanted that")
    if not fine:
        problems.append(f"told {outcome.status}{outcome.error and f' ({outcome.error})'}")
    if problems:
        problems.append(f"true: {[(row.end, row.told, row.forgotten) for row in rows]}")
    return problems
