"""The tools beside the apps: what runs, what would go wrong, which models there are, and files."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import pytest
from mcp_tools import Heard, failed, input_folder, text_of, workflows
from session_tools import picture

from comfy_async import ComfySession
from comfy_async.mcp import Limits, Toolbox
from comfy_async.testing import FakeComfy

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n not much of a picture").decode()


@pytest.fixture
async def tools(comfy: ComfySession, tmp_path: Path) -> Toolbox:
    """The tools, with a folder that files are taken from."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "face.png").write_bytes(base64.b64decode(PNG))
    return Toolbox(
        workflows(tmp_path / "apps"), comfy, files=files, limits=Limits(upload_bytes=1000, choices=50)
    )


async def said(tools: Toolbox, tool: str, /, **given: object) -> str:
    """Return what a tool answers."""
    result = await tools.call(tool, given, Heard())
    assert not result.is_error, text_of(result)
    return text_of(result)


async def refused(tools: Toolbox, tool: str, /, **given: object) -> str:
    """Return why a tool does not do it."""
    return failed(await tools.call(tool, given, Heard()))


async def test_queue_and_cancel(tools: Toolbox, fake: FakeComfy, comfy: ComfySession) -> None:
    """What runs and what waits, of everybody, and either can be stopped by its id."""
    assert await said(tools, "queue") == "0 running, 0 waiting"
    fake.hold()
    jobs = [await comfy.submit(picture(seed)) for seed in range(3)]
    lines = (await said(tools, "queue")).splitlines()
    assert lines[0] == "0 running, 3 waiting"
    assert lines[1] == f"waiting, place 1: {jobs[0].prompt_id}"
    answer = await said(tools, "cancel", job=jobs[1].prompt_id)
    assert answer == f"job {jobs[1].prompt_id} has ended: cancelled"
    fake.release()
    await asyncio.gather(jobs[0].result(), jobs[2].result())
    await fake.idle()
    assert "had ended already: completed" in await said(tools, "cancel", job=jobs[0].prompt_id)


async def test_a_job_that_nobody_knows(tools: Toolbox) -> None:
    """Is no job that was stopped."""
    assert "knows no job 'nobody'" in await refused(tools, "cancel", job="nobody")
    assert "`queue` lists" in await refused(tools, "cancel", job="../x")


async def test_arguments_are_checked(tools: Toolbox) -> None:
    """Unknown ones with the nearest, missing ones, and those of another type."""
    assert await refused(tools, "cancel", jop="x") == "cancel has no argument 'jop'; nearest: job"
    assert await refused(tools, "cancel") == "cancel needs job"
    assert await refused(tools, "cancel", job=7) == "job of cancel is no string: int"
    assert await refused(tools, "check", app="canvas", values="x") == "values of check is no object: str"


async def test_check_runs_nothing(tools: Toolbox, fake: FakeComfy) -> None:
    """Values, and what the server lacks; the workflow itself is not run."""
    assert await said(tools, "check", app="canvas", values={"width": 32}) == "nothing is wrong with it"
    assert "nearest: 'width'" in await said(tools, "check", app="canvas", values={"widht": 32})
    assert "there is no app 'canvs'; nearest: canvas" in await refused(tools, "check", app="canvs")
    assert not fake.books.accepted


async def test_models(tools: Toolbox) -> None:
    """Kinds, those of a kind, and the nearest kind."""
    assert "checkpoints" in await said(tools, "models")
    assert "v1-5-pruned-emaonly" in await said(tools, "models", folder="checkpoints")
    assert "nearest: loras" in await refused(tools, "models", folder="lora")


@pytest.mark.parametrize("content", [PNG, f"data:image/png;base64,{PNG}", f"{PNG[:10]}\n{PNG[10:]}"])
async def test_upload_by_content(tools: Toolbox, fake: FakeComfy, content: str) -> None:
    """In base64, as it comes; the name is made safe, and what it is called there is told."""
    answer = await said(tools, "upload", content=content, name="../../my face.png")
    (path,) = input_folder(fake).rglob("*face.png")
    assert path.parent == input_folder(fake)
    assert repr(path.name) in answer
    assert path.read_bytes() == base64.b64decode(PNG)


@pytest.mark.parametrize(
    ("content", "why"),
    [("é!", "no base64"), ("data:image/png;base64,", "empty"), ("A" * 2000, "larger than")],
)
async def test_what_is_no_file_is_refused(tools: Toolbox, fake: FakeComfy, content: str, why: str) -> None:
    """Before anything is sent."""
    assert why in await refused(tools, "upload", content=content)
    assert not fake.books.uploads


async def test_upload_by_path(tools: Toolbox, fake: FakeComfy) -> None:
    """Below the folder that was opened for it."""
    assert "'face.png'" in await said(tools, "upload", path="face.png")
    assert (input_folder(fake) / "face.png").is_file()
    assert "takes one of" in await refused(tools, "upload", path="face.png", content=PNG)
    assert "takes one of" in await refused(tools, "upload")


async def test_no_path_leads_out_of_the_folder(tools: Toolbox, fake: FakeComfy, tmp_path: Path) -> None:
    """Neither up, nor absolute, nor by a link; whether there is such a file is not told either."""
    (tmp_path / "secret.txt").write_text("s3cret")
    files = tmp_path / "files"
    (files / "link.png").symlink_to(tmp_path / "secret.txt")
    (files / "up").symlink_to(tmp_path)
    for path in ("../secret.txt", "/etc/passwd", str(tmp_path / "secret.txt"), "link.png", "up/secret.txt"):
        assert "does not lie below" in await refused(tools, "upload", path=path)
    assert "does not lie below" in await refused(tools, "upload", path="../not_there.txt")
    assert not fake.books.uploads


async def test_what_is_no_file_on_the_disk(tools: Toolbox, fake: FakeComfy, tmp_path: Path) -> None:
    """Folders, pipes that nobody writes to, files too large, names that are none."""
    files = tmp_path / "files"
    os.mkfifo(files / "pipe")
    (files / "large.bin").write_bytes(bytes(2000))
    (files / "sub").mkdir()
    assert "is no file" in await refused(tools, "upload", path="pipe")
    assert "is no file" in await refused(tools, "upload", path="sub")
    assert "larger than" in await refused(tools, "upload", path="large.bin")
    assert "cannot be read: No such file" in await refused(tools, "upload", path="none.png")
    assert "is no path" in await refused(tools, "upload", path="a\0b")
    assert not fake.books.uploads


async def test_without_a_folder_no_path_is_taken(comfy: ComfySession, tmp_path: Path) -> None:
    """The schema does not even have it."""
    tools = Toolbox(workflows(tmp_path / "apps"), comfy)
    upload = (await tools.tools())[-1]
    assert list(upload.input_schema["properties"]) == ["content", "name"]
    assert "no argument 'path'" in await refused(tools, "upload", path="/etc/passwd")
