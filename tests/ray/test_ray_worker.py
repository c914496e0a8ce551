"""The worker in this process, without Ray: what it tells the driver, and a ComfyUI of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from session_tools import eventually, picture, steps

from comfy_async import ConnectError, NotFoundError, SessionClosedError, SubmitUnknownError, Workflow
from comfy_async._session.options import SubmitOptions
from comfy_async.ray import ComfyCommand, ComfyWorker
from comfy_async.ray._command import OwnServer
from comfy_async.ray._messages import Accepted, Ended, Refused
from comfy_async.testing import FakeComfy

OPTIONS = SubmitOptions()
MINE, OTHER, THIRD = (str(uuid.UUID(int=number, version=4)) for number in (1, 2, 3))
SERVE = (sys.executable, "-m", "comfy_async.testing", "--port", "{port}")


async def told(stream: AsyncIterator[Any]) -> list[Any]:
    """Return all that a worker tells."""
    return [message async for message in stream]


@pytest.fixture
async def worker(fake: FakeComfy) -> AsyncIterator[ComfyWorker]:
    """A worker for the server, stopped at the end."""
    made = ComfyWorker(fake.url, limit=2, client_id="same-in-every-life")
    yield made
    await made.stop()


async def test_a_jobs_life(fake: FakeComfy, worker: ComfyWorker) -> None:
    """Accepted under the driver's id, told in handfuls, ended with outputs and without a frame."""
    about = await worker.about()
    assert (about.url, about.client_id, about.owned) == (fake.url, "same-in-every-life", False)
    messages = await told(worker.post(MINE, Workflow.load(picture(1)), OPTIONS))
    assert isinstance(messages[0], Accepted)
    assert messages[0].prompt_id == MINE
    assert not messages[1:-1]
    end = messages[-1]
    assert isinstance(end, Ended)
    assert end.terminal is not None
    assert end.terminal.raw is None
    assert end.outputs["2"]["images"][0]["filename"] == "pic_00001_.png"
    assert not worker._posts


async def test_a_resumed_job_is_never_posted(fake: FakeComfy, worker: ComfyWorker) -> None:
    """The driver has looked for it and believes that it is not here: a late post is refused."""
    messages = await told(worker.resume(MINE, "same-in-every-life", False))
    assert type(messages[-1].terminal).__name__ == "Lost"
    (refusal,) = await told(worker.post(MINE, Workflow.load(picture(1)), OPTIONS))
    assert isinstance(refusal.error, SessionClosedError)
    assert fake.books.accepted == []


async def test_resume_joins_a_job_that_is_followed(fake: FakeComfy, worker: ComfyWorker) -> None:
    """A driver that lost only the connection hears the same job from the beginning."""
    graph = steps(fake, 3)
    gate = fake.gate("Steps", step=2)
    first = asyncio.create_task(told(worker.post(MINE, Workflow.load(graph), OPTIONS)))
    await gate.reached()
    second = asyncio.create_task(told(worker.resume(MINE, "same-in-every-life", True)))
    await asyncio.sleep(0)
    gate.open()
    assert (await first)[-1].outputs == (await second)[-1].outputs == {"2": {"text": ["shown"]}}
    assert len(fake.books.accepted) == 1


async def test_the_limit(fake: FakeComfy, worker: ComfyWorker) -> None:
    """Further jobs wait in the worker."""
    fake.hold()
    flow = Workflow.load(picture(1))
    tasks = [asyncio.create_task(told(worker.post(name, flow, OPTIONS))) for name in (MINE, OTHER, THIRD)]
    await fake.wait_for(lambda books: len(books.accepted) == 2)
    await worker.prepare(flow, False)
    assert len(fake.books.accepted) == 2
    fake.release()
    await asyncio.gather(*tasks)
    assert len(fake.books.accepted) == 3


async def test_cancel_before_the_post(fake: FakeComfy, worker: ComfyWorker) -> None:
    """A job that is cancelled before the worker has heard of it never runs."""
    await worker.cancel(MINE)
    (refusal,) = await told(worker.post(MINE, Workflow.load(picture(1)), OPTIONS))
    assert isinstance(refusal, Refused)
    graph = steps(fake, 3)
    gate = fake.gate("Steps", step=2)
    job = asyncio.create_task(told(worker.post(OTHER, Workflow.load(graph), OPTIONS)))
    await gate.reached()
    cancelling = asyncio.create_task(worker.cancel(OTHER))
    await fake.wait_for(lambda books: books.accepted[0].interrupts)
    gate.open()
    await cancelling
    assert type((await job)[-1].terminal).__name__ == "Cancelled"


async def test_files(fake: FakeComfy, worker: ComfyWorker) -> None:
    """Whole or in chunks; errors come as values, which cross processes unharmed."""
    await told(worker.post(MINE, Workflow.load(picture(1)), OPTIONS))
    data = await worker.read("pic_00001_.png", "", "output")
    assert isinstance(data, bytes)
    assert [chunk async for chunk in worker.chunks("pic_00001_.png", "", "output")] == [data]
    assert isinstance(await worker.read("nothing.png", "", "output"), NotFoundError)
    assert [type(chunk) async for chunk in worker.chunks("nothing.png", "", "output")] == [NotFoundError]


async def test_prepare(worker: ComfyWorker) -> None:
    """A check's refusal comes as a value."""
    flow = Workflow.load({"1": {"class_type": "Nowhere", "inputs": {}}})
    assert type(await worker.prepare(flow, True)).__name__ == "PromptRejectedError"


async def test_nobody_answers() -> None:
    """The worker lives, and says so."""
    worker = ComfyWorker("http://127.0.0.1:9")
    assert isinstance((await worker.about()).error, ConnectError)
    (refusal,) = await told(worker.post(MINE, Workflow.load(picture(1)), OPTIONS))
    assert isinstance(refusal.error, ConnectError)
    await worker.stop()
    await worker.stop()


async def test_the_cloud_chooses_the_ids() -> None:
    """A job of which no answer was heard may run there: it is not believed to be lost."""
    async with FakeComfy(mode="cloud") as cloud:
        worker = ComfyWorker(cloud.url, session={"api_key": cloud.api_key, "dialect": "cloud-v1"})
        (refusal,) = await told(worker.resume(MINE, "", False))
        assert isinstance(refusal.error, SubmitUnknownError)
        await worker.stop()


async def test_a_comfyui_of_its_own(tmp_path: Path) -> None:
    """Started, waited for, started again when it dies, and ended with the worker."""
    script = tmp_path / "serve.py"
    script.write_text(
        "import os, sys\n"
        "print(os.getpid(), os.environ['WHO'], file=open('pids', 'a'))\n"
        f"os.execv(sys.executable, {list(SERVE[:-1])!r} + [sys.argv[1]])\n"
    )
    command = ComfyCommand(argv=[sys.executable, str(script), "{port}"], cwd=tmp_path, env={"WHO": "me"})
    worker = ComfyWorker(command)
    about = await worker.about()
    assert about.owned
    assert about.error is None
    assert (await told(worker.post(MINE, Workflow.load(picture(1)), OPTIONS)))[-1].outputs
    pid, who = (tmp_path / "pids").read_text().split()
    assert who == "me"
    os.kill(int(pid), signal.SIGKILL)
    await eventually(lambda: len((tmp_path / "pids").read_text().splitlines()) == 2)
    again = int((tmp_path / "pids").read_text().split()[2])
    await worker.stop()
    await eventually(lambda: not _lives(again))


async def test_a_command_that_does_not_serve(tmp_path: Path) -> None:
    """It is given up after the time it may take; one that does not exist is said at once."""
    worker = ComfyWorker(
        ComfyCommand(argv=[sys.executable, "-c", "input()"], startup_seconds=0.2, cwd=tmp_path)
    )
    with pytest.raises(ConnectError, match="did not answer"):
        await worker.about()
    await worker.stop()
    nowhere = OwnServer(ComfyCommand(argv=["x"], cwd=tmp_path / "nowhere"))
    with pytest.raises(ConnectError, match="could not be started"):
        await nowhere.start()
    assert nowhere.pid is None
    await nowhere.stop()


def _lives(pid: int) -> bool:
    """Say whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
