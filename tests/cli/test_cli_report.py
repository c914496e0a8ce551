"""What is said while a job runs: live, plain, or as JSON; and the signals in this process."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from comfy_async import JobProgress, ProgressState
from comfy_async.cli._interrupt import Interrupts, run_loop
from comfy_async.cli._report import QuietReport, Report
from comfy_async.cli._report_live import LiveReport
from comfy_async.testing import FakeComfy


class Drawn:
    """What a live report drew."""

    def __init__(self, *, dumb: bool = False) -> None:
        self.out = io.StringIO()
        env = {"TERM": "dumb" if dumb else "xterm"}
        self.console = Console(file=self.out, force_terminal=True, width=100, color_system=None, _environ=env)

    @property
    def text(self) -> str:
        """Everything so far."""
        return self.out.getvalue()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Every report of this test is a live one."""
    made = Drawn()
    monkeypatch.setattr("comfy_async.cli._base.report_for", lambda **_: LiveReport(made.console))
    return made


async def test_live_run(cli: Any, drawn: Drawn, sd15: Path, fake: FakeComfy) -> None:
    """The bar, the running node, and a summary that stays."""
    fake.pace.step_seconds = 0.02
    done = await cli("run", sd15)

    assert done.code == 0
    assert "step" in drawn.text
    assert "KSampler [3]" in drawn.text
    assert "done in" in drawn.text.rstrip().splitlines()[-1]


def test_live_lines_need_no_replay(drawn: Drawn) -> None:
    """Where the progress of now is drawn, nobody works out that of then, at thousands of events."""
    report: Any = LiveReport(drawn.console)
    job = SimpleNamespace(prompt_id="p", status="running", progress=JobProgress(), queue_position=None)
    report.event(ProgressState(), job, None)
    assert drawn.text == ""


async def test_live_failure_and_cached(cli: Any, drawn: Drawn, sd15: Path, small: Path) -> None:
    """Errors stand with their place; a cached run says that it was."""
    bad = await cli("run", sd15, "--set", "3.sampler_name=eulr")
    await cli("run", small)
    await cli("run", small)

    assert bad.code == 1
    assert "error: " in drawn.text
    assert "input 'sampler_name'" in drawn.text
    assert "cached" in drawn.text.rstrip().splitlines()[-1]


async def test_live_watch_batch_and_cancelled(
    cli: Any, drawn: Drawn, sd15: Path, small: Path, fake: FakeComfy
) -> None:
    """Watched and varied jobs draw as well; one that others cancel is no error, and no interruption here."""
    with fake.gate("KSampler", step=2) as gate:
        ref = (await cli("submit", sd15)).out
        prompt_id = await gate.reached()
        watching = asyncio.create_task(cli("watch", ref))
        await fake.wait_for(lambda books: books.sockets_now == 1)
        async with fake.session() as comfy:
            await comfy.jobs.cancel(prompt_id)
    done = await watching
    varied = await cli("batch", small, "--vary", "1.width=8..10")

    assert done.code == 1
    assert "was cancelled" in drawn.text
    assert "error" not in drawn.text
    assert varied.code == 0
    assert varied.out.count(".png") == 3


async def test_live_tells_of_the_connection(cli: Any, drawn: Drawn, sd15: Path, fake: FakeComfy) -> None:
    """A lost socket is said in a line; the job goes on, and completes."""
    with fake.gate("KSampler", step=2) as gate:
        running = asyncio.create_task(cli("run", sd15))
        await gate.reached()
        fake.faults.drop_sockets()
        await fake.wait_for(lambda books: books.sockets_opened >= 2)
    done = await running

    assert done.code == 0
    assert "connection lost" in drawn.text
    assert "connected again" in drawn.text


async def test_live_on_a_dumb_terminal(
    cli: Any, sd15: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without cursor control there are lines."""
    dumb = Drawn(dumb=True)
    monkeypatch.setattr("comfy_async.cli._base.report_for", lambda **_: LiveReport(dumb.console))
    ref = (await cli("submit", small)).out
    watched = await cli("watch", ref)
    varied = await cli("batch", small, "--vary", "1.width=8..9")
    run = await cli("run", sd15, "--out", tmp_path)

    assert (watched.code, varied.code, run.code) == (0, 0, 0)
    assert "\x1b" not in dumb.text
    assert "KSampler [3]" in dumb.text


async def test_quiet_run(cli: Any, sd15: Path) -> None:
    """--quiet leaves results and errors."""
    good = await cli("run", sd15, "-q")
    bad = await cli("run", sd15, "-q", "--set", "3.sampler_name=eulr")

    assert good.err == ""
    assert good.out
    assert "error" in bad.err


async def test_steps_of_a_slow_node_are_told_now_and_then(
    cli: Any, sd15: Path, fake: FakeComfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain lines tell the progress, at most every other second."""
    import comfy_async.cli._report

    monkeypatch.setattr(comfy_async.cli._report, "_LINE_EVERY_S", 0.0)
    fake.pace.step_seconds = 0.02
    done = await cli("run", sd15)

    assert "KSampler 10/20" in done.err


async def test_json_has_previews_texts_and_blocked_nodes(
    cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path
) -> None:
    """What a node says and shows meanwhile: previews by their size, never by their bytes."""
    fake.script("Talker", text="10 %")
    fake.script("Blocker", outputs=["IMAGE"], error="blocked", delay=0.5)
    path = tmp_path / "talker.json"
    graph = {
        "1": {"class_type": "Blocker", "inputs": {}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": "hello"}},
        "4": {"class_type": "Talker", "inputs": {}},
    }
    path.write_text(json.dumps(graph))
    shown = await cli("run", sd15, "--previews", "latent2rgb", "--json")
    told = await cli("run", path, "--json")
    wrong = await cli("run", sd15, "--previews", "strange")

    node = {"event", "prompt_id", "node", "title", "class_type", "fraction"}
    preview = shown.of("preview")[0]
    assert preview.keys() == node | {"mime", "bytes"}
    assert preview["bytes"] > 0
    assert told.of("text")[0].keys() == node | {"text"}
    assert told.of("text")[0]["text"] == "10 %"
    assert told.of("node_blocked")[0].keys() == node | {"message"}
    assert told.objects[-1]["texts"] == ["hello"]
    assert wrong.code == 2


def test_json_has_what_custom_nodes_send() -> None:
    """Events of unknown types are passed on as they came; those of no interest are not."""
    from types import SimpleNamespace

    from comfy_async import JobProgress, StatusChanged, UnknownEvent
    from comfy_async.cli._json_events import JsonEvents

    job: Any = SimpleNamespace(prompt_id="p")
    then = JobProgress()
    event = UnknownEvent(None, {"a": 1}, "p", type="my.event")

    told = list(JsonEvents().lines(event, job, then))
    assert told == [{"event": "other", "prompt_id": "p", "type": "my.event", "data": {"a": 1}}]
    assert list(JsonEvents().lines(StatusChanged(), job, then)) == []


async def test_json_progress_is_bounded(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """At most ten objects of progress a second, however many steps there are."""
    fake.pace.step_seconds = 0.002
    done = await cli("run", sd15, "--set", "3.steps=200", "--json")

    seconds = done.objects[-1]["duration"]
    assert 1 <= len(done.of("progress")) <= 10 * seconds + 2


async def test_fault_of_our_own_is_not_hidden() -> None:
    """An error that is nobody's but this program's stays a traceback."""
    from comfy_async.cli._failure import describe

    assert describe(ZeroDivisionError()) is None


def test_kinds_of_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON when asked for, quiet when asked for, live on a terminal, lines otherwise."""
    from comfy_async.cli._base import report_for
    from comfy_async.cli._report_json import JsonReport

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert type(report_for(as_json=True)) is JsonReport
    assert type(report_for(as_json=False, quiet=True)) is QuietReport
    assert type(report_for(as_json=False)) is LiveReport
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert type(report_for(as_json=False)) is Report


def test_first_signal_cancels_the_work() -> None:
    """The work is cancelled once, hears why, and its code is the exit code."""
    heard: list[str] = []

    async def work(interrupts: Interrupts) -> int:
        interrupts.on_ask = lambda: heard.append("asked")
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 7 if interrupts.asked else 8
        return 9

    before = signal.getsignal(signal.SIGINT)
    assert run_loop(work) == 7
    assert heard == ["asked"]
    assert signal.getsignal(signal.SIGINT) is before


def test_work_that_lets_itself_be_cancelled_exits_with_130() -> None:
    """Nothing has to be done for the exit code."""

    async def work(interrupts: Interrupts) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        return 0

    assert run_loop(work) == 130


def test_second_signal_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Last words are said, each whatever the others do, and the process ends."""
    said: list[object] = []

    def leave(code: int) -> None:
        said.append(code)
        raise SystemExit(code)

    def fail() -> None:
        raise RuntimeError("no terminal")

    monkeypatch.setattr(os, "_exit", leave)
    interrupts = Interrupts()
    interrupts.last_words += [lambda: said.append("folder"), fail, lambda: said.append("cursor")]
    interrupts.on_signal(signal.SIGINT, None)
    with pytest.raises(SystemExit):
        interrupts.on_signal(signal.SIGINT, None)

    assert said == ["cursor", "folder", 130]


def test_signal_before_the_work() -> None:
    """One that comes while the loop is still made is not forgotten."""

    async def work() -> int:
        await asyncio.Event().wait()
        return 0

    interrupts = Interrupts()
    interrupts.asked = True
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupts.guard(work()))
