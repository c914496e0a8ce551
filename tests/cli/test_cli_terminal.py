"""The live display, in a real pseudo-terminal."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")

pictured = pytest.mark.skipif(
    importlib.util.find_spec("textual_image") is None, reason="the extra `pictures` is not installed"
)
COLOURS = re.compile(rb"\x1b\[[0-9;]*3[0-9][0-9;]*m")
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"


LAUNCH = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "comfy_async.cli", *sys.argv[1:]])
"""


class Terminal:
    """A `comfy-async` in a terminal of its own, and all that it drew there."""

    def __init__(self) -> None:
        self.drawn = b""
        self.news = asyncio.Event()
        self.closed = False
        self.process: asyncio.subprocess.Process
        self._master, self._slave = os.openpty()
        # Rows, columns, and the same in pixels.
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 1000, 600))
        asyncio.get_running_loop().add_reader(self._master, self._read)

    async def start(self, env: dict[str, str], *args: object) -> None:
        """Start the command as the leader of the terminal, so that Ctrl-C reaches it."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", LAUNCH, *map(str, args)),
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            env=env,
        )
        os.close(self._slave)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:
            data = b""
        self.drawn += data
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            self.closed = True
        self.news.set()

    async def until(self, found: Callable[[bytes], object]) -> None:
        """Wait until what was drawn has something in it."""
        while not found(self.drawn):
            assert not self.closed, self.drawn.decode(errors="replace")
            self.news.clear()
            await self.news.wait()

    def type(self, text: bytes) -> None:
        """Press keys."""
        os.write(self._master, text)

    async def exit_code(self) -> int:
        """Wait for the end."""
        while not self.closed:
            self.news.clear()
            await self.news.wait()
        return await self.process.wait()

    async def kill(self) -> None:
        """End what a failed test left."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        if not self.closed:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)


@pytest.fixture
async def terminal(cli: Any) -> Any:
    """Starts commands in a terminal."""
    made: list[Terminal] = []

    async def start(*args: object, **env: str) -> Terminal:
        plain = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR"}}
        base = {**plain, "COMFY_LOCAL_URL": cli.env["COMFY_LOCAL_URL"], "TERM": "xterm-256color"}
        made.append(Terminal())
        await made[-1].start({**base, "COLUMNS": "100", **env}, *args)
        return made[-1]

    yield start
    for item in made:
        await item.kill()


def last_line(drawn: bytes) -> str:
    """Return the last line that stays, without its controls."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode())
    return text.replace("\r", "").rstrip("\n").rpartition("\n")[2]


async def test_draws_the_running_node_and_the_bar(
    terminal: Any, sd15: Path, fake: Any, tmp_path: Path
) -> None:
    """A bar over the whole job, the node with its step, and at the end only lines that stay."""
    with fake.gate("KSampler", step=11):
        shown = await terminal("run", sd15, "--out", tmp_path)
        await shown.until(lambda drawn: b"step 10/20" in drawn and b"node 6 of 8" in drawn)
        await shown.until(lambda drawn: b" %" in drawn and b"running" in drawn)
    code = await shown.exit_code()

    assert code == 0
    assert COLOURS.search(shown.drawn)
    assert shown.drawn.rindex(SHOW_CURSOR) > shown.drawn.rindex(HIDE_CURSOR)
    assert last_line(shown.drawn).startswith("done in")
    assert str(tmp_path / "ComfyUI_00001_.png") in shown.drawn.decode()


async def test_draws_a_batch(terminal: Any, sd15: Path, fake: Any, tmp_path: Path) -> None:
    """A line for the whole, one for each job that runs, and results that stay above them."""
    with fake.gate("KSampler", step=11):
        shown = await terminal("batch", sd15, "--seeds", 3, "--out", tmp_path)
        await shown.until(lambda drawn: b"0 of 3 done" in drawn and b"KSampler 10/20" in drawn)
    code = await shown.exit_code()

    assert code == 0
    assert last_line(shown.drawn) == "3 done, 0 failed"
    for place in range(3):
        assert str(tmp_path / f"{place:03d}") in shown.drawn.decode()


async def test_no_color(terminal: Any, sd15: Path) -> None:
    """NO_COLOR leaves the drawing and takes the colours."""
    shown = await terminal("run", sd15, NO_COLOR="1")

    assert await shown.exit_code() == 0
    assert not COLOURS.search(shown.drawn)


async def test_doctor_is_green_where_colours_are_wanted(terminal: Any) -> None:
    """Its states are told by colours too, unless NO_COLOR is set."""
    green = await terminal("doctor", "--fake")
    plain = await terminal("doctor", "--fake", NO_COLOR="1")

    assert await green.exit_code() == await plain.exit_code() == 0
    assert b"\x1b[32mok" in green.drawn
    assert b"ok       job" in plain.drawn
    assert b"\x1b[" not in plain.drawn


async def test_dumb_terminal_gets_plain_lines(terminal: Any, sd15: Path) -> None:
    """TERM=dumb: lines, nothing drawn over."""
    shown = await terminal("run", sd15, TERM="dumb")

    assert await shown.exit_code() == 0
    assert b"\x1b[" not in shown.drawn
    assert b"KSampler [3]" in shown.drawn


async def test_ctrl_c_cancels_and_gives_the_terminal_back(terminal: Any, sd15: Path, fake: Any) -> None:
    """The key itself, once: the job is cancelled on the server, the cursor shows again."""
    with fake.gate("KSampler", step=3) as gate:
        shown = await terminal("run", sd15)
        await gate.reached()
        await shown.until(lambda drawn: b"KSampler" in drawn)
        shown.type(b"\x03")
        await shown.until(lambda drawn: b"cancelling" in drawn)
        await fake.wait_for(lambda books: any(path.endswith("/cancel") for _, path in books.requests))
    code = await shown.exit_code()

    assert code == 130
    assert shown.drawn.rindex(SHOW_CURSOR) > shown.drawn.rindex(HIDE_CURSOR)
    assert "was cancelled" in last_line(shown.drawn)
    assert fake.books.accepted[0].end == "interrupted"


async def test_ctrl_c_twice_gives_the_terminal_back(terminal: Any, sd15: Path, fake: Any) -> None:
    """Twice: it is gone at once, and the cursor shows all the same."""
    with fake.gate("KSampler", step=3) as gate:
        shown = await terminal("run", sd15)
        await gate.reached()
        await shown.until(lambda drawn: b"KSampler" in drawn)
        shown.type(b"\x03")
        await shown.until(lambda drawn: b"cancelling" in drawn)
        shown.type(b"\x03")

        assert await shown.exit_code() == 130
        assert shown.drawn.rindex(SHOW_CURSOR) > shown.drawn.rindex(HIDE_CURSOR)
        # What comes next, a shell's prompt, begins on a line of its own.
        assert shown.drawn.endswith(b"\n")
        assert last_line(shown.drawn).startswith("job ")


def test_display_without_a_job() -> None:
    """Before there is a job the display says what is being done."""
    import io

    from rich.console import Console

    from comfy_async._display.console import Display

    out = io.StringIO()
    with Display(Console(file=out, force_terminal=True, width=80, color_system=None)) as display:
        display.note("connecting")

    assert "connecting" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (8.2, "0:08"), (125, "2:05"), (3780, "1:03:00"), (-1, "0:00")]
)
def test_clock_text(seconds: float, text: str) -> None:
    """Durations as a clock shows them."""
    from comfy_async._display.console import clock_text

    assert clock_text(seconds) == text


@pictured
@pytest.mark.parametrize(
    ("asked", "answer", "drawn"),
    [
        (b"\x1b[c", b"\x1b[?62;4c", b"\x1bP"),
        (b"\x1b_G", None, b"\x1b_G"),
        (b"\x1b[c", b"\x1b[?62c", "▀".encode()),
    ],
    ids=["sixel", "kitty", "neither"],
)
async def test_shows_pictures_as_the_terminal_can(
    terminal: Any, small: Path, asked: bytes, answer: bytes | None, drawn: bytes
) -> None:
    """--show asks the terminal what it can, and draws after everything else."""
    status = b"OK" if answer is None else b"ENOTSUP"

    def say_of_kitty() -> None:
        number = re.search(rb"\x1b_Gi=(\d+)", shown.drawn)
        assert number is not None
        shown.type(b"\x1b_Gi=" + number[1] + b";" + status + b"\x1b\\")

    shown = await terminal("run", small, "--show")
    await shown.until(lambda seen: b"\x1b[c" in seen)
    # textual-image 0.14 asks both at once, and reads to the second answer; before, one by one.
    at_once = b"\x1b_G" in shown.drawn
    if at_once:
        say_of_kitty()
    shown.type(answer or b"\x1b[?62c")
    if not at_once and answer != b"\x1b[?62;4c":
        await shown.until(lambda seen: b"\x1b_G" in seen)
        say_of_kitty()
    code = await shown.exit_code()

    assert code == 0
    assert drawn in shown.drawn[shown.drawn.index(asked) + len(asked) :]


@pictured
async def test_show_is_nothing_without_a_terminal(cli: Any, small: Path) -> None:
    """A pipe gets no pictures."""
    done = await cli("run", small, "--show")

    assert done.code == 0
    assert "\x1b" not in done.out


async def test_show_without_the_extra(cli: Any, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is asked for before the run, not after it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = await cli("run", small, "--show", "--json")

    assert done.code == 1
    assert done.objects[0]["error"]["code"] == "missing_extra"


async def test_asks_for_values(terminal: Any, sd15: Path, fake: Any) -> None:
    """--ask asks in words; an empty answer keeps what is there."""
    shown = await terminal("run", sd15, "--ask", "6.text", "--ask", "3.seed")
    await shown.until(lambda drawn: b"positive prompt [" in drawn)
    shown.type(b"a red fox\r")
    await shown.until(lambda drawn: b"KSampler seed [1234]: " in drawn)
    shown.type(b"\r")
    code = await shown.exit_code()
    async with fake.session() as comfy:
        record = await comfy.history.get(fake.books.runs[0].prompt_id)

    assert code == 0
    assert record.prompt["6"]["inputs"]["text"] == "a red fox"
    assert record.prompt["3"]["inputs"]["seed"] == 1234


async def test_ctrl_c_at_a_question(terminal: Any, sd15: Path, fake: Any) -> None:
    """Once is enough, and nothing was sent."""
    shown = await terminal("run", sd15, "--ask", "6.text")
    await shown.until(lambda drawn: b"positive prompt [" in drawn)
    shown.type(b"\x03")

    assert await shown.exit_code() == 130
    assert not fake.books.accepted


@pytest.mark.parametrize(("answer", "kept"), [(b"y\r", True), (b"\r", False)])
async def test_a_mistyped_port_is_asked_about(
    terminal: Any, sd15: Path, free_port: int, answer: bytes, kept: bool
) -> None:
    """Where somebody can answer nothing is kept that nobody wants; Enter means no."""
    shown = await terminal("run", sd15, "--server", f"http://127.0.0.1:{free_port}")
    await shown.until(lambda drawn: b"[y/N] " in drawn)
    before = os.listdir()
    shown.type(answer)
    code = await shown.exit_code()

    assert (code, before) == (1, [])
    assert os.listdir() == (["projects"] if kept else [])
    told = b"comfy-async submit projects/default" if kept else b"--keep FILE keeps the prepared prompt"
    assert told in shown.drawn


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_is_said_is_one_line(width: int) -> None:
    """Whatever is said beside the bar: the bar gives way to it."""
    import io

    from rich.console import Console

    from comfy_async._display.console import Display

    for text in ("running", "cancelling; Ctrl-C again leaves at once", "submitting, 1234 before it " * 3):
        shown = io.StringIO()
        console = Console(file=shown, width=width, force_terminal=True, color_system=None)
        display = Display(console)
        display._fraction, display._eta = 0.5, 3725.0
        display.note(text)
        console.print(display._overall())
        (line,) = shown.getvalue().splitlines()
        assert text[:8] in line
        assert len(line.rstrip()) <= width
        if len(text) < 40 <= width / 2:
            assert text in line
            assert "50 %" in line
            assert "━" in line


@pytest.mark.parametrize("width", [60, 80])
def test_a_long_title_leaves_room_for_the_rest(width: int) -> None:
    """It is cut; the node, the step, and the cells in which a terminal shows ^C stay."""
    import io

    from rich.console import Console

    from comfy_async._display.console import Display, _node_line
    from comfy_async.types import JobProgress

    progress = JobProgress(
        fraction=0.4, done=5, total=8, node="3", title="a long title " * 20, step=12, steps=30
    )
    shown = io.StringIO()
    display = Display(Console(file=shown, width=width, force_terminal=True, color_system=None))
    display._details = [_node_line(progress)]
    display._console.print(display._render())
    _, line = shown.getvalue().splitlines()

    assert line.rstrip().endswith("… [3]  step 12/30  node 6 of 8")
    assert len(line.rstrip()) == width - 4
