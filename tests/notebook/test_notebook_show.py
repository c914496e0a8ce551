"""What `show()` does with a job, a pool's job and a batch, drawn into a list instead of a notebook."""

from __future__ import annotations

import asyncio

import pytest
from session_tools import eventually, picture, steps

from comfy_async import ComfyPool, ComfySession, JobError, Workflow
from comfy_async._notebook import _JobShow
from comfy_async._notebook_batch import _Grid
from comfy_async._notebook_screen import Screen
from comfy_async.testing import FakeComfy


class Frames(Screen):
    """A screen that keeps what is drawn."""

    def __init__(self) -> None:
        """Look like a notebook."""
        super().__init__()
        self.frames: list[str] = []

    def _send(self, bundle: dict[str, str]) -> None:
        self.frames.append(bundle["text/html"])


async def test_texts_and_the_connection_are_told(fake: FakeComfy) -> None:
    """What a partner node says, and that the socket is down, stand on the card while it holds."""
    async with fake.session(partner_api_key="s3cret-key") as comfy:
        graph = steps(fake, 2, text="Price: $0.06 for s3cret-key")
        gate = fake.gate("Steps", step=1)
        screen = Frames()
        show = _JobShow(await comfy.submit(graph), screen, previews=True)
        following = asyncio.create_task(show.follow())
        await gate.reached()
        await eventually(lambda: show._said)
        show.draw()
        assert "Price: $0.06 for •••" in screen.frames[-1]
        fake.faults.refuse_upgrades()
        fake.faults.drop_sockets()
        await eventually(lambda: show._away)
        show.draw()
        assert "by polling" in screen.frames[-1]
        fake.faults.clear()
        gate.open()
        await following
        await show.finish()
        show.draw()
        assert "completed" in screen.frames[-1]
        assert "shown" in screen.frames[-1]
        assert "by polling" not in screen.frames[-1]
        show.draw()
        assert len(screen.frames) == len(set(screen.frames))


@pytest.mark.parametrize(("word", "end"), [("cancel", "interrupted"), ("leave", "success")])
async def test_a_cancelled_show(
    fake: FakeComfy, comfy: ComfySession, capsys: pytest.CaptureFixture[str], word: str, end: str
) -> None:
    """Ceasing to show cancels the job, or leaves it, as asked; either way the cancellation goes on."""
    gate = fake.gate("Steps", step=1)
    job = await comfy.submit(steps(fake))
    showing = asyncio.create_task(job.show(on_interrupt=word))  # type: ignore[arg-type]
    await gate.reached()
    await asyncio.sleep(0)
    showing.cancel()
    if word == "cancel":
        await fake.wait_for(lambda books: books.accepted[0].interrupts)
    else:
        with pytest.raises(asyncio.CancelledError):
            await showing
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await showing
    await fake.ended(job.prompt_id)
    assert fake.books.ends(job.prompt_id) == [end]
    assert capsys.readouterr().out


async def test_a_job_and_a_batch_of_a_pool(capsys: pytest.CaptureFixture[str]) -> None:
    """They are shown like those of one session, before they have a server too."""
    async with FakeComfy() as one, FakeComfy() as two, ComfyPool([one.url, two.url]) as pool:
        job = await pool.submit(picture())
        await job.show()
        assert "completed" in job._repr_html_()
        async with pool.map([picture(color) for color in range(1, 7)]) as batch:
            jobs = await batch.show()
        assert [(shown.index, shown.status) for shown in jobs] == [(n, "completed") for n in range(6)]
    assert "6 done, 0 failed" in capsys.readouterr().out


async def test_a_grid(fake: FakeComfy, comfy: ComfySession) -> None:
    """Pictures, texts and failures have their tiles; a batch of unknown length grows."""
    fails = Workflow.load({"1": {"class_type": "Nope", "inputs": {}}})
    screen = Frames()
    async with comfy.map(flow for flow in (picture(), steps(fake), fails)) as batch:
        grid = _Grid(batch, screen)
        grid.draw()
        async for job in batch:
            grid.take(job)
        await grid.filled()
        grid.draw()
    assert "<img" in screen.frames[-1]
    assert ">shown<" in screen.frames[-1]
    assert "ca-bad" in screen.frames[-1]
    assert ">#2<" in screen.frames[-1]
    assert [job.index for job in grid.jobs] == [0, 1, 2]


async def test_a_large_batch_shows_its_beginning(comfy: ComfySession) -> None:
    """Beyond some hundred tiles the rest is counted; every job is returned."""
    async with comfy.map([picture(color % 3) for color in range(130)], limit=8) as batch:
        grid = _Grid(batch, Frames())
        async for job in batch:
            grid.take(job)
        await grid.filled()
        grid.draw()
        assert "and 10 more" in grid._screen.frames[-1]  # type: ignore[attr-defined]
    assert len(grid.jobs) == 130


async def test_a_batch_that_stops(fake: FakeComfy, comfy: ComfySession) -> None:
    """With on_error="stop" the first failure is raised, and what is left is not read any more."""
    graph = steps(fake, 1, error=("ValueError", "no"))
    async with comfy.map([graph, picture()], on_error="stop", limit=1) as batch:
        with pytest.raises(JobError):
            await batch.show(every=0.01)
