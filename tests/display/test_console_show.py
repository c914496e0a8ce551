"""What `show()` does outside notebooks: a bar in a terminal, lines elsewhere, and how it ended in both."""

from __future__ import annotations

import asyncio
import io
import sys

import pytest
from session_tools import eventually, picture, steps, turns

from comfy_async import ComfySession, Workflow
from comfy_async._display.console_lines import result_lines
from comfy_async.testing import FakeComfy


class Tty(io.StringIO):
    """A terminal that keeps what is drawn."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Tty:
    """Make stdout a terminal that can move its cursor; not in a fixture, since pytest sets it after these."""
    made = Tty()
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return made


async def test_lines_of_a_job(
    fake: FakeComfy, comfy: ComfySession, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each node with how far it was then, what a node says, and in the end files and texts."""
    job = await comfy.submit(steps(fake, 2, text="half way"))
    await job.show()
    lines = capsys.readouterr().out.splitlines()

    assert lines[0] == "  0 %  Many steps [1]"
    assert "half way" in "\n".join(lines)
    assert lines[-2].startswith("completed in ")
    assert lines[-2].endswith(": 0 files")
    assert lines[-1] == "  shown"
    shown = await comfy.submit(picture())
    await shown.show()
    last = capsys.readouterr().out.splitlines()[-1]
    (file,) = (await shown).files
    assert last == f"  {file.filename}  {file.title}  {file.url}"


async def test_one_of_a_thing_is_one(comfy: ComfySession) -> None:
    """Counts agree with their nouns."""
    first, again = await comfy.run(picture()), await comfy.run(picture(prefix="other"))
    assert not first.cached_nodes
    assert len(again.cached_nodes) == 1
    assert result_lines(again)[0].endswith(": 1 file, 1 node from the cache")


async def test_steps_are_told_now_and_then(
    fake: FakeComfy,
    comfy: ComfySession,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slow node is not silent."""
    import comfy_async._display.console_show

    monkeypatch.setattr(comfy_async._display.console_show, "_LINE_EVERY_S", 0.0)
    job = await comfy.submit(steps(fake, 4))
    await job.show()

    assert "Many steps 2/4" in capsys.readouterr().out


async def test_a_bar_in_a_terminal(
    fake: FakeComfy, comfy: ComfySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node with its step while it runs, one line that stays, and the cursor comes back."""
    tty = terminal(monkeypatch)
    with fake.gate("Steps", step=3) as gate:
        job = await comfy.submit(steps(fake, 4))
        showing = asyncio.create_task(job.show(every=0.01))
        await gate.reached()
        await eventually(lambda: "step 2/4" in tty.getvalue())
    await showing

    drawn = tty.getvalue()
    assert "━" in drawn
    assert "completed in" in drawn[drawn.rindex("step ") :]
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


@pytest.mark.parametrize("missing", ["rich", "IPython"])
async def test_nothing_has_to_be_installed(
    fake: FakeComfy,
    comfy: ComfySession,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
) -> None:
    """Without rich there are lines in a terminal too, and a script needs no IPython."""
    tty = terminal(monkeypatch)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "comfy_async._display.console", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    job = await comfy.submit(picture())
    await job.show()
    await (await job).show()

    assert tty.getvalue().count("completed in") == 2
    assert ("\x1b[" not in tty.getvalue()) == (missing == "rich")


@pytest.mark.parametrize("live", [True, False])
async def test_a_failure_is_told_not_raised(
    fake: FakeComfy,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    live: bool,
) -> None:
    """Node, message and advice; no key, and nothing that would move the cursor."""
    async with fake.session(partner_api_key="s3cret-key") as comfy:
        tty = terminal(monkeypatch) if live else None
        graph = steps(fake, 1, error=("ValueError", "too hot for s3cret-key \x1b[2J"))
        job = await comfy.submit(graph)
        await job.show()
    drawn = tty.getvalue() if tty is not None else capsys.readouterr().out

    assert 'failed: node 1 "Many steps" (Steps) raised ValueError: too hot for •••' in drawn
    assert "\x1b[2J" not in drawn
    assert "s3cret" not in drawn


async def test_a_lost_connection_is_told(
    fake: FakeComfy, comfy: ComfySession, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is polled meanwhile, and both are said once."""
    with fake.gate("Steps", step=1) as gate:
        job = await comfy.submit(steps(fake))
        showing = asyncio.create_task(job.show())
        await gate.reached()
        fake.faults.drop_sockets()
        await fake.wait_for(lambda books: books.sockets_opened >= 2)
    await showing
    out = capsys.readouterr().out

    assert out.count("following it by polling: ") == 1
    assert "connected again" in out


async def test_a_show_that_is_left_says_so(
    fake: FakeComfy, comfy: ComfySession, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in a script: the job goes on when that was asked, else it is told as cancelled."""
    with fake.gate("Steps", step=1) as gate:
        job = await comfy.submit(steps(fake))
        showing = asyncio.create_task(job.show(on_interrupt="leave"))
        await gate.reached()
        await turns()
        showing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await showing
        assert "the job goes on" in capsys.readouterr().out
        showing = asyncio.create_task(job.show())
        await turns()
        showing.cancel()
        await fake.wait_for(lambda books: books.accepted[0].interrupts)
    with pytest.raises(asyncio.CancelledError):
        await showing

    assert "was cancelled" in capsys.readouterr().out


@pytest.mark.parametrize("live", [True, False])
async def test_a_batch(
    fake: FakeComfy,
    comfy: ComfySession,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    live: bool,
) -> None:
    """A line for each job that has ended, in that order; the jobs come back in the workflows'."""
    tty = terminal(monkeypatch) if live else None
    fails = Workflow.load({"1": {"class_type": "Nope", "inputs": {}}})
    async with comfy.map([picture(), steps(fake), fails]) as batch:
        jobs = await batch.show(every=0.01)
    drawn = tty.getvalue() if tty is not None else capsys.readouterr().out

    assert [job.index for job in jobs] == [0, 1, 2]
    assert "#0  " in drawn
    assert "#1  shown" in drawn
    assert "#2  failed: " in drawn
    assert "2 done, 1 failed; show() saves nothing, and returns the jobs" in drawn
    assert ("\x1b[" in drawn) == live


async def test_an_interrupted_batch_in_a_script(
    fake: FakeComfy, comfy: ComfySession, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line says how far it came, and what becomes of the rest."""
    gate = fake.gate("Steps", step=1)
    async with comfy.map([picture(), steps(fake)]) as batch:
        showing = asyncio.create_task(batch.show(every=0.01))
        await gate.reached()
        await eventually(lambda: batch.progress.done == 1)
        showing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await showing
        gate.open()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "1 done, 0 failed; interrupted: leaving the block cancels what is open"
