"""The tools themselves: apps called by name, what a result becomes, and errors that help."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import types
from mcp_tools import Heard, failed, kinds_of, text_of, workflows
from PIL import Image
from session_tools import graph, picture, teach

from comfy_async import ComfySession, Problem
from comfy_async.mcp import Limits, Toolbox, running
from comfy_async.mcp.words import problem_for_a_caller
from comfy_async.testing import FakeComfy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two apps, and a file that is none."""
    return workflows(tmp_path / "apps")


@pytest.fixture
async def tools(fake: FakeComfy, folder: Path) -> AsyncIterator[Toolbox]:
    """The tools of that folder."""
    async with fake.session() as comfy:
        yield Toolbox(folder, comfy)


async def called(tools: Toolbox, name: str, **given: object) -> types.CallToolResult:
    """Call a tool, and listen to nothing."""
    return await tools.call(name, given, Heard())


async def test_each_app_is_a_tool(tools: Toolbox) -> None:
    """With a schema of its own, before the tools that are always there; what is no app is left out."""
    listed = await tools.tools()
    assert [tool.name for tool in listed] == [
        *("canvas", "portrait"),
        *("queue", "cancel", "check", "models", "upload"),
    ]
    schema = listed[1].input_schema
    assert schema["properties"]["seed"]["type"] == "integer"
    assert schema["properties"]["prompt"]["type"] == "string"
    assert schema["additionalProperties"] is False
    assert "portrait" in (listed[1].description or "")


async def test_long_lists_are_no_part_of_a_schema(fake: FakeComfy, comfy: ComfySession, folder: Path) -> None:
    """A schema is a part of every conversation: some of the choices stand for all."""
    listed = await Toolbox(folder, comfy, limits=Limits(choices=5)).tools()
    sampler = next(tool for tool in listed if tool.name == "portrait").input_schema["properties"][
        "sampler_name"
    ]
    assert "enum" not in sampler
    assert "One of 44, such as euler, euler_cfg_pp" in sampler["description"]
    whole = await Toolbox(folder, comfy).tools()
    assert len(whole[1].input_schema["properties"]["sampler_name"]["enum"]) == 44


async def test_an_app_never_takes_the_name_of_a_tool(comfy: ComfySession, tmp_path: Path) -> None:
    """Nor does one of two files that would have one name lose its own."""
    for name in ("queue", "a b", "a_b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(picture()))
    names = [tool.name for tool in await Toolbox(tmp_path, comfy).tools()]
    assert names[:3] == ["a_b", "a_b_2", "queue_2"]


async def test_a_call_answers_with_the_picture(tools: Toolbox, fake: FakeComfy) -> None:
    """The picture as content, and a text that says which file it is, where, and of which job."""
    result = await called(tools, "canvas", width=32, height=16)
    assert kinds_of(result) == ["text", "image"]
    block = result.content[1]
    assert isinstance(block, types.ImageContent)
    with Image.open(io.BytesIO(base64.b64decode(block.data))) as image:
        assert (image.size, block.mime_type) == ((32, 16), "image/png")
    (record,) = fake.books.accepted
    assert f"job {record.prompt_id}" in text_of(result)
    assert f"pic_00001_.png (image/png), {fake.url}/api/view?" in text_of(result)


async def test_files_are_saved_where_that_is_wanted(
    comfy: ComfySession, folder: Path, tmp_path: Path
) -> None:
    """Then their path is told; a disk that takes nothing is told too, and costs no result."""
    out = tmp_path / "out"
    result = await called(Toolbox(folder, comfy, out=out), "canvas")
    assert str(out / "pic_00001_.png") in text_of(result)
    assert (out / "pic_00001_.png").is_file()
    (tmp_path / "file").write_text("")
    result = await called(Toolbox(folder, comfy, out=tmp_path / "file"), "canvas", width=32)
    assert not result.is_error
    assert "could not be saved" in text_of(result)


async def test_large_pictures_are_made_smaller_or_links(
    fake: FakeComfy, comfy: ComfySession, folder: Path
) -> None:
    """What fits into no conversation is shown smaller; what cannot be, and what is too much, is a link."""
    small = Toolbox(folder, comfy, limits=Limits(picture_bytes=3_000, picture_edge=256))
    result = await called(small, "portrait", steps=1)
    (block,) = [each for each in result.content if isinstance(each, types.ImageContent)]
    content = base64.b64decode(block.data)
    assert len(content) <= 3_000
    assert block.mime_type == "image/webp"
    for limits in (Limits(picture_bytes=10), Limits(pictures=0)):
        result = await called(Toolbox(folder, comfy, limits=limits), "portrait", steps=1)
        assert kinds_of(result) == ["text", "resource_link"]
        link = result.content[1]
        assert isinstance(link, types.ResourceLink)
        assert link.uri.startswith(f"{fake.url}/api/view?")


async def test_texts_are_content(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """What a node shows as text is read, not linked."""
    teach(fake)
    (tmp_path / "show.json").write_text(json.dumps(graph()))
    assert text_of(await called(Toolbox(tmp_path, comfy), "show")).endswith("\nshown")


async def test_wrong_values_are_answered_with_all_that_is_wrong(tools: Toolbox, fake: FakeComfy) -> None:
    """Names, ranges and choices with the nearest right one; nothing is sent."""
    said = failed(await called(tools, "portrait", promt="a fox", steps=0, sampler_name="eulr"))
    assert "no input 'promt'; nearest: 'prompt'" in said
    assert "steps: 0 is too small; the minimum is 1" in said
    assert "nearest: 'euler'" in said
    assert said.endswith("The tool's schema has what it takes.")
    assert not fake.books.accepted


async def test_advice_is_of_tools_not_of_python(tools: Toolbox, fake: FakeComfy) -> None:
    """What the server refuses, what it fails at: a caller has tools, and no interpreter."""
    await tools.tools()
    del fake.core.classes.specs["SaveImage"]
    told = failed(await called(tools, "canvas"))
    assert "Install the node pack" in told
    assert "comfy." not in told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Give True or False.", "Give true or false."),
        ("Upload it: with_inputs() takes a path, and comfy.files.upload() uploads.", "Give it to `upload`,"),
        ("`job.ref` has it. Submit it again.", "Submit it again."),
        ("Raise `Settings.max_body`. Or `comfy.jobs.find()`.", ""),
        ("Install the node pack 'x'.", "Install the node pack 'x'."),
    ],
)
def test_no_advice_has_python_in_it(said: str, told: str) -> None:
    """In the words of tools where there are some, else without that sentence."""
    text = problem_for_a_caller(Problem(message="it is wrong", advice=said))
    assert text.startswith(f"it is wrong. {told}" if told else "it is wrong")
    assert not re.search(r"\(\)|True|comfy\.|Settings|job\.ref", text)


async def test_progress_has_the_names_of_the_app(
    comfy: ComfySession, fake: FakeComfy, tmp_path: Path
) -> None:
    """A node that is titled `$variation.seed` is `variation`."""
    teach(fake)
    flow = graph()
    flow["1"]["_meta"] = {"title": "$variation.seed"}
    (tmp_path / "show.json").write_text(json.dumps(flow))
    heard = Heard()
    with fake.gate("Steps", step=2) as gate:
        calling = asyncio.create_task(Toolbox(tmp_path, comfy).call("show", {}, heard))
        await gate.reached()
        await heard.at_least(1)
    assert not (await calling).is_error
    assert not [line for line in heard.lines if "$" in line]


async def test_a_partner_key_goes_only_where_it_is_needed(
    fake: FakeComfy, comfy: ComfySession, folder: Path
) -> None:
    """Along with an app that has partner nodes, and no other."""
    specs = fake.core.classes.specs
    specs["EmptyImage"] = dataclasses.replace(specs["EmptyImage"], more={"api_node": True})
    tools = Toolbox(folder, comfy, partner_api_key="s3cret")
    await called(tools, "portrait", steps=1)
    await called(tools, "canvas")
    assert [record.secrets for record in fake.books.accepted] == [{}, {"api_key_comfy_org": "s3cret"}]


async def test_a_wrong_name_names_the_nearest(tools: Toolbox) -> None:
    """Of an app, or of a tool."""
    assert failed(await called(tools, "portait")) == "there is no tool 'portait'; nearest: portrait"
    assert "nearest: queue" in failed(await called(tools, "quue"))
    assert "there are canvas, portrait, queue" in failed(await called(tools, "xyz"))


async def test_a_failed_job_says_where_and_what_to_do(tools: Toolbox, fake: FakeComfy) -> None:
    """As every error of the library does."""
    fake.fail_node("KSampler", error="oom")
    said = failed(await called(tools, "portrait"))
    assert "KSampler" in said
    assert "smaller" in said


async def test_a_bug_is_no_crash_and_no_traceback(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns that it failed inside, whoever runs the server where."""

    async def broken(*_args: object) -> None:
        raise KeyError("s3cret inside")

    monkeypatch.setattr("comfy_async.mcp.toolbox.run", broken)
    said = failed(await called(tools, "canvas"))
    assert said == "canvas failed inside, by KeyError; the server's log says where"
    assert "s3cret inside" in caplog.text


async def test_progress_rises_to_the_end(tools: Toolbox, fake: FakeComfy) -> None:
    """Each number is larger than the one before, and a job that waits says so."""
    fake.hold()
    heard = Heard()
    task = asyncio.create_task(tools.call("portrait", {"steps": 3}, heard))
    await fake.wait_for(lambda books: books.accepted)
    await heard.at_least(1)
    fake.release()
    await task
    assert heard.rises
    assert heard.values[-1] == 100.0
    assert heard.lines[0].startswith("waits in the queue")
    assert heard.lines[-1] == "done"


async def test_a_silent_job_is_told_of_all_the_same(
    tools: Toolbox, fake: FakeComfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host gives up on a tool that says nothing, and a checkpoint may load for minutes."""
    monkeypatch.setattr(running, "_SILENCE_S", 0.01)
    heard = Heard()
    with fake.gate("CheckpointLoaderSimple") as gate:
        task = asyncio.create_task(tools.call("portrait", {}, heard))
        await gate.reached()
        so_far = len(heard.values)
        await heard.at_least(so_far + 3)
    await task
    assert heard.rises


async def test_a_cancelled_call_cancels_the_job(tools: Toolbox, fake: FakeComfy) -> None:
    """On the server, and nothing of it is left."""
    with fake.gate("KSampler", step=1) as gate:
        task = asyncio.create_task(tools.call("portrait", {"steps": 3}, Heard()))
        await gate.reached()
        task.cancel()
        await fake.wait_for(lambda books: books.accepted[0].interrupts)
        gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fake.wait_for(lambda books: books.accepted[0].end == "interrupted")


async def test_a_server_that_is_not_there_yet(fake: FakeComfy, folder: Path, free_port: int) -> None:
    """The tools are listed without the apps, calls say who does not answer, and news are told later."""
    async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:
        tools = Toolbox(folder, comfy)
        assert [tool.name for tool in await tools.tools()][0] == "queue"
        assert "no server answers" in failed(await called(tools, "canvas"))
        assert "no server answers" in failed(await called(tools, "queue"))
        assert not await tools.has_news()
        async with FakeComfy(port=free_port):
            assert await tools.has_news()
            assert [tool.name for tool in await tools.tools()][0] == "canvas"
            assert not await tools.has_news()


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    """Are told at once."""
    comfy = ComfySession("http://127.0.0.1:9", connect="lazy")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        Toolbox(tmp_path / "no", comfy)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Toolbox(tmp_path, comfy, files=tmp_path / "no")
