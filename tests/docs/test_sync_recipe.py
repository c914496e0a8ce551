"""The module of the guide for programs that are not asyncio, used by scripts in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from doc_tools import GUIDES, ROOT, SERVER, blocks, furnish

from comfy_async.testing import FakeComfy

BEGIN = """
import signal, sys, threading
from comfy_async import Workflow
from comfy_sync import close, comfy

flow = Workflow.load("examples/workflows/sd15_text2image_api.json")
"""


@asynccontextmanager
async def script(folder: Path, fake: FakeComfy, code: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a script beside the module of the guide."""
    (block,) = [block for block in blocks(GUIDES / "sync.md") if "class Comfy:" in block.code]
    furnish(folder)
    (folder / "comfy_sync.py").write_text(block.code.replace(SERVER, fake.url))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BEGIN + textwrap.dedent(code)),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ran(folder: Path, fake: FakeComfy, code: str) -> str:
    """Run a script to its end, and return what it wrote."""
    async with script(folder, fake, code) as process:
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()


async def test_after_its_end_there_is_another(tmp_path: Path, fake: FakeComfy) -> None:
    """`close` forgets the session, twice as well; who kept the old one is told."""
    said = await ran(
        tmp_path,
        fake,
        """
        close()
        old = comfy()
        print(len(old.wait(old.session.run(flow), 60).images))
        close(), close()
        old.close()
        print(len(comfy().wait(comfy().session.run(flow.randomized(1)), 60).images))
        try:
            old.wait(old.session.run(flow))
        except RuntimeError as error:
            print(error)
        """,
    )
    assert said.splitlines() == ["1", "1", "this session is closed: comfy() gives another one"]


async def test_no_session_is_made_to_be_closed(tmp_path: Path, fake: FakeComfy) -> None:
    """A worker that has done nothing has nothing to end."""
    assert await ran(tmp_path, fake, "close(); print(threading.active_count())") == "1\n"


async def test_a_time_limit_says_so(tmp_path: Path, fake: FakeComfy) -> None:
    """The error has words, and the job is cancelled."""
    fake.hold()
    said = await ran(
        tmp_path,
        fake,
        """
        try:
            comfy().wait(comfy().session.run(flow), 0.5)
        except TimeoutError as error:
            print(error)
        """,
    )
    assert said == "not done within 0.5 s, and cancelled\n"
    assert fake.core.queue.remaining == 0


VIEW = """
def view():
    print("began", flush=True)
    server = comfy()
    server.wait(server.session.run(flow))

signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=view, daemon=True).start()
{more}
"""


@pytest.mark.parametrize(
    ("more", "number"),
    [
        ("threading.Event().wait()", signal.SIGINT),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); threading.Event().wait()", signal.SIGTERM),
    ],
    ids=["ctrl-c", "sigterm"],
)
async def test_the_end_of_a_process_cancels_what_its_views_wait_for(
    tmp_path: Path, fake: FakeComfy, more: str, number: signal.Signals
) -> None:
    """As `flask run` does it: the main thread ends, a daemon thread waits in `run`."""
    gate = fake.gate("KSampler", step=2)
    async with script(tmp_path, fake, VIEW.format(more=more)) as process:
        await gate.reached()
        process.send_signal(number)
        await fake.wait_for(lambda books: bool(books.accepted[-1].interrupts))
        gate.open()
        await process.communicate()
    await fake.idle()
    assert fake.books.accepted[-1].end == "interrupted"
