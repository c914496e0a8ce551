"""A real uvicorn in a process of its own: it ends at a signal although somebody reads events."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from web_tools import until

from comfy_async.testing import FakeComfy
from comfy_async.web import ending

ROOT = Path(__file__).parents[2]
FLOW = str(ROOT / "examples" / "workflows" / "sd15_text2image_api.json")
BACKEND = f"""
from contextlib import asynccontextmanager

from fastapi import FastAPI

from comfy_async import ComfySession
from comfy_async.web import routes

comfy = ComfySession(SERVER, connect="lazy")


@asynccontextmanager
async def lifespan(api):
    async with comfy:
        yield
        await site.aclose()


api = FastAPI(lifespan=lifespan)
site = routes({FLOW!r}, comfy, cancel_on_leave=True)
api.mount("/studio", site)
"""


@asynccontextmanager
async def uvicorn(
    folder: Path, fake: FakeComfy, port: int, *options: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader, str]]:
    """Run the backend as people do, and give the process, its log and its address."""
    (folder / "backend.py").write_text(BACKEND.replace("SERVER", repr(fake.url)))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "backend:api", "--port", str(port), *options),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        log = process.stderr
        assert log is not None
        while not (found := re.search(rb"running on (http://[\d.:]+)", line := await log.readline())):
            assert line, "it ended"
        yield process, log, found[1].decode()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGTERM, []), (signal.SIGINT, []), (signal.SIGTERM, ["--workers", "2"])],
    ids=["sigterm", "ctrl-c", "workers"],
)
async def test_readers_do_not_hold_it_up(
    tmp_path: Path, fake: FakeComfy, free_port: int, number: signal.Signals, options: list[str]
) -> None:
    """No time is set for its end: the streams end by themselves, and the jobs that were theirs with them."""
    fake.hold()
    async with (
        uvicorn(tmp_path, fake, free_port, *options) as (process, log, url),
        # With workers the parent says that it runs before they listen.
        httpx.AsyncClient(base_url=url, timeout=60, transport=httpx.AsyncHTTPTransport(retries=8)) as http,
    ):
        job = (await http.post("/studio/apps/sd15-text2image-api", json={"prompt": "a fox"})).json()
        async with http.stream("GET", job["links"]["events"]) as answer:
            lines = answer.aiter_lines()
            await until(lines, "event: state")
            process.send_signal(number)
            rest = "\n".join([line async for line in lines])
        assert "come again" in rest
        assert "event: end" not in rest
        said = (await log.read()).decode()
        await process.wait()
    assert "Finished server process" in said
    assert "Traceback" not in said
    assert fake.core.queue.remaining == 0


def test_another_server_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that is no method of such a server says nothing."""

    class Other:
        should_exit = "perhaps"

        def stop(self, *_: object) -> None: ...

    for handler in (signal.SIG_DFL, None, print, Other().stop):
        monkeypatch.setattr(signal, "getsignal", lambda _, handler=handler: handler)
        assert not ending.is_server_ending()
