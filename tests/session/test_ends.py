"""What counts as the absence of a job, by answers that a server gives in unlucky moments."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from comfy_async import Cancelled, Settings
from comfy_async._protocol.snapshot import QueueSnapshot
from comfy_async._session.ends import Ends

ID = "job-1"


class Api:
    """Answers as it is told to, and has no history."""

    def __init__(self, *snapshots: QueueSnapshot) -> None:
        self.snapshots = list(snapshots)

    async def history(self, prompt_id: str) -> None:
        """Know of no end."""

    async def snapshot(self, of: list[str]) -> QueueSnapshot:
        """Give the next answer."""
        return self.snapshots.pop(0)


class WaitingJob:
    """A job that its user cancels, and that the server once had."""

    def __init__(self) -> None:
        self.prompt_id = ID
        self.cancel_wanted = True
        self.seen = True
        self.state = SimpleNamespace(started_at=None, queued_at=1.0, gap=False, wants_history=False)
        self.taken: list[Any] = []

    def take(self, event: Any) -> None:
        """Keep what it was told."""
        self.taken.append(event)


def looked_for(job: WaitingJob, *snapshots: QueueSnapshot) -> Ends:
    """Return what finds the ends of this job."""
    jobs: Any = SimpleNamespace(by_id={ID: job}, has=lambda one: True)
    speaker: Any = SimpleNamespace(api=Api(*snapshots))
    health: Any = SimpleNamespace(stalled=False)
    return Ends(jobs, speaker=speaker, client_id="me", health=health, settings=Settings())


@pytest.mark.parametrize("of", [None, frozenset({ID})])
async def test_a_waiting_job_that_is_gone_twice_was_cancelled(of: frozenset[str] | None) -> None:
    """No event tells of it (PROTOCOL 0.7)."""
    job: Any = WaitingJob()
    ends = looked_for(job, QueueSnapshot({}, of=of))
    await ends.find([job])
    assert [type(event) for event in job.taken] == [Cancelled]
    assert ends.half_known == []


async def test_a_second_request_that_failed_is_no_second_absence() -> None:
    """A poll of API v2 leaves out what it got no answer for: the job is looked for again."""
    job: Any = WaitingJob()
    ends = looked_for(job, QueueSnapshot({}, of=frozenset({"another"})))
    await ends.find([job])
    assert job.taken == []
    assert ends.half_known == [ID]
