"""Hooks on a fleet: in the driver, of all its jobs; in a worker, of what it runs."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hook_tools import Book
from session_tools import lives, picture, two_outputs

from comfy_async import PromptRejectedError, Workflow
from comfy_async._session.options import SubmitOptions
from comfy_async.ray import ComfyFleet, ComfyWorker
from comfy_async.testing import FakeComfy

pytestmark = pytest.mark.usefixtures("cluster")


class Colors:
    """Puts another color in."""

    def before_submit(self, workflow: Workflow, options: dict[str, Any]) -> Workflow:
        """Change workflow and options."""
        options["extra_data"] = {"by": "hook"}
        return workflow.with_inputs({"1.color": 255})


async def test_the_driver_is_told(team: Callable[..., Any], crew: list[Any]) -> None:
    """Of submitted, mapped and refused jobs, as a session tells it."""
    book = Book()
    async with team(hooks=[Colors(), book]) as (fleet, fake):
        assert isinstance(fleet, ComfyFleet)
        job = await fleet.submit(picture())
        await job
        told = [event async for event in job]
        assert book.lives == ["begin", "end"]
        assert book.of("on_begin") == [(job, {"by": "hook"})]
        assert lives(book.events) == lives(told)
        bad = picture()
        bad["2"]["class_type"] = "NoSuchNode"
        with pytest.raises(PromptRejectedError):
            await fleet.submit(bad)
        assert book.lives == ["begin", "end", "submit_failed"]
        async with fleet.map([bad, two_outputs()], ordered=True) as batch:
            jobs = [one async for one in batch]
        assert fake.books.accepted[0].extra_data["by"] == "hook"
    assert sorted((one.index, status, error) for one, status, error in book.of("on_end")[1:]) == [
        (0, "failed", jobs[0].error),
        (1, "completed", None),
    ]


async def test_a_driver_that_leaves(team: Callable[..., Any], tmp_path: Path) -> None:
    """A fleet that is closed says which jobs it no longer follows."""
    book = Book()
    async with team(hooks=[book]) as (fleet, fake):
        fake.hold()
        await fleet.submit(picture())
    assert book.lives == ["begin", "left"]


async def test_a_worker_has_hooks_of_its_own(fake: FakeComfy) -> None:
    """It is told what came along with the job: so a trace goes on in its process."""
    book = Book()
    worker = ComfyWorker(fake.url, session={"hooks": [book]})
    options = SubmitOptions(extra_data={"traceparent": "00-1-2-01"})
    async for _ in worker.post(str(uuid.uuid4()), Workflow.load(picture(1)), options):
        pass
    await worker.stop()
    assert book.lives == ["begin", "end"]
    assert book.of("on_begin")[0][1] == {"traceparent": "00-1-2-01"}
