"""What `show()` does with a job, a pool's job and a batch, drawn into a list instead of a notebook."""

from __future__ import annotations

import asyncio
import re

import pytest
from session_tools import eventually, picture, steps

from comfy_async import ComfyPool, ComfySession, JobError, Workflow
from comfy_async._display.notebook import _JobShow
from comfy_async._display.notebook_batch import _Grid
from comfy_async._display.screen import Screen
from comfy_async.testing import Books, FakeComfy


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


async def test_a_tile_tells_what_its_workflow_has_other_than_the_rest(comfy: ComfySession) -> None:
    """Below each picture stands its seed, and nothing that is the same everywhere, and no key."""
    base = Workflow.load(picture())
    key = next(iter(base.nodes))
    base = base.with_inputs({(key, "api_key"): "first"}, add=True)
    long = "a lighthouse " * 9
    flows = [
        base.with_inputs(
            {(key, "color"): color, (key, "api_key"): f"other{color}", (key, "note"): f"{long}{color}"},
            add=True,
        )
        for color in (111222, 333444)
    ]
    screen = Frames()
    async with comfy.map(flows) as batch:
        grid = _Grid(batch, screen)
        async for job in batch:
            grid.take(job)
        await grid.filled()
        grid.draw()
    shown = screen.frames[-1]
    assert f">{key}.color 111222, {key}.note a lighthouse a light…" in shown
    assert f">{key}.color 333444, " in shown
    assert f"{key}.width" not in shown
    assert "other111222" not in shown


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


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `batch.show()` draws, as in a notebook."""
    screen = Frames()
    monkeypatch.setattr("comfy_async._display.notebook_batch.in_notebook", lambda: True)
    monkeypatch.setattr("comfy_async._display.notebook_batch.Screen", lambda: screen)
    return screen.frames


def head(frame: str) -> str:
    """Return what the first line of a card says."""
    line = frame.partition('<div class="ca-head">')[2].partition("</div>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", line).split())


def both_cancelled(books: Books) -> bool:
    """Say whether the job at a gate was interrupted, and the one behind it taken out of the queue."""
    ends = [record.end for record in books.accepted]
    return "deleted" in ends and any(record.interrupts for record in books.accepted)


async def test_an_interrupted_batch(fake: FakeComfy, comfy: ComfySession, frames: list[str]) -> None:
    """It says so at once, and once the block was left what became of each job; never that it runs."""
    gate = fake.gate("Steps", step=1)
    async with comfy.map([picture(), steps(fake), steps(fake, 4), picture(3)], limit=2) as batch:
        showing = asyncio.create_task(batch.show(every=0.01))
        await gate.reached()
        await eventually(lambda: batch.progress.done == 1 and len(batch.jobs) == 2)
        showing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await showing
        assert "interrupted" in head(frames[-1])
        assert "1 of 4 done" in head(frames[-1])
        assert "to go" not in head(frames[-1])
        assert "leaving the block cancels what is open" in frames[-1]
        opening = asyncio.create_task(fake.wait_for(both_cancelled))
        opening.add_done_callback(lambda _: gate.open())
    assert head(frames[-1]) == "interrupted 1 of 4 done, 2 cancelled, 1 not run"
    assert "leaving the block" not in frames[-1]
    assert frames[-1].count(">cancelled<") == 2
    assert batch.progress.eta is None


async def test_a_batch_that_was_left_when_all_was_done(comfy: ComfySession, frames: list[str]) -> None:
    """A batch that nobody interrupted before its end is done, one of unknown length too."""
    async with comfy.map(flow for flow in [picture(), picture(2)]) as batch:
        await batch.show(every=0.01)
    assert head(frames[-1]) == "done 2"
    assert 'aria-valuenow="100"' in frames[-1]


async def test_what_a_shown_batch_gives(fake: FakeComfy, comfy: ComfySession, frames: list[str]) -> None:
    """In the end it says that nothing was saved, and what holds the jobs; not when all have failed."""
    async with comfy.map([picture()]) as batch:
        await batch.show(every=0.01)
    assert "<code>show()</code> saves nothing; it returns the jobs" in frames[-1]
    async with comfy.map([{"1": {"class_type": "Nope", "inputs": {}}}]) as batch:
        await batch.show(every=0.01)
    assert "saves nothing" not in frames[-1]


async def test_a_long_failure_keeps_its_pill(fake: FakeComfy, comfy: ComfySession, frames: list[str]) -> None:
    """The pill stands first, at the top; the message is clamped, and whole for who points at it."""
    message = "The size of tensor a must match the size of tensor b " * 4
    async with comfy.map([steps(fake, 1, error=("ValueError", message))]) as batch:
        await batch.show(every=0.01)
    tile = frames[-1].partition('<div class="ca-tile ca-bad">')[2]
    assert tile.startswith('<span class="ca-chip ca-failed">failed</span><div class="ca-clamp" title="')
    assert tile.partition('title="')[2].partition('"')[0].endswith(message.strip())
    style = frames[-1].partition("</style>")[0]
    assert ".ca-tile.ca-bad{justify-content:flex-start" in style
    assert "-webkit-line-clamp:" in style


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


async def test_a_batch_that_stops(fake: FakeComfy, comfy: ComfySession, frames: list[str]) -> None:
    """With on_error="stop" the first failure is raised, and what is left is not read any more."""
    graph = steps(fake, 1, error=("ValueError", "no"))
    async with comfy.map([graph, picture()], on_error="stop", limit=1) as batch:
        with pytest.raises(JobError):
            await batch.show(every=0.01)
    assert head(frames[-1]) == "stopped 0 of 2 done, 1 failed, 1 not run"
