"""Apps on a server: called, submitted, streamed, mapped; results by the names of outputs."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_async import (
    App,
    ComfyPool,
    ComfySession,
    NodeCatalog,
    NotFoundError,
    UnknownInputError,
    Workflow,
    WorkflowError,
)
from comfy_async._resources.nodes import Blueprint
from comfy_async.testing import FakeComfy

SD15 = Path(__file__).parents[2] / "examples/workflows/sd15_text2image_api.json"
NAMES = {"prompt": "6.text", "seed": "3.seed", "steps": "3.steps"}


@pytest.fixture
async def comfy(fake: FakeComfy) -> AsyncIterator[ComfySession]:
    """A session."""
    async with fake.session() as session:
        yield session


@pytest.fixture
async def app(comfy: ComfySession) -> App:
    """The workflow of the examples, with names of one's own."""
    return await comfy.app(SD15, inputs=NAMES, outputs={"picture": "9"})


async def test_a_call_gives_the_result_by_name(app: App) -> None:
    """The file, its content, and what `result` has otherwise."""
    result = await app(prompt="a fox", seed=7, steps=2)
    picture = result["picture"]
    assert len(picture) == 1
    assert (picture.filename, picture.kind) == ("ComfyUI_00001_.png", "image")
    assert (await picture.read()).startswith(b"\x89PNG")
    assert (await picture.image()).size == (512, 512)
    assert result["9"] == picture
    assert result.images == tuple(picture)


async def test_an_unknown_output_is_told(app: App) -> None:
    """With those that there are; an output without a file says what it has."""
    result = await app(steps=2)
    with pytest.raises(KeyError, match=r"no 'pitcure'; it has picture, 9"):
        result["pitcure"]


async def test_values_reach_the_server(app: App, fake: FakeComfy, comfy: ComfySession) -> None:
    """Those that are given, and the workflow's own for the rest."""
    job = await app.submit(prompt="a fox", seed=2**64 - 1)
    await job
    sent = (await comfy.history.get(job.prompt_id)).prompt
    assert (sent["6"]["inputs"]["text"], sent["3"]["inputs"]["seed"]) == ("a fox", 2**64 - 1)
    assert sent["7"]["inputs"]["text"] == "text, watermark"
    assert len(fake.books.accepted) == 1


async def test_wrong_values_send_nothing(app: App, fake: FakeComfy) -> None:
    """However the app is run."""
    for run in (app, app.submit):
        with pytest.raises(UnknownInputError):
            await run(sed=7)
    with pytest.raises(UnknownInputError):
        async with app.stream(seed=-1):
            pass
    with pytest.raises(UnknownInputError, match="with row 2: 1 value is wrong"):
        app.map([{"seed": 1}, {"seed": -1}])
    assert fake.books.accepted == []


async def through(app: App, rows: Any) -> None:
    """Run all rows."""
    async with app.map(rows, limit=1) as finished:
        async for job in finished:
            await job


async def test_wrong_rows_are_named_as_people_count(app: App, fake: FakeComfy) -> None:
    """All of a list, ten at the most; of what comes row by row the first one, when it comes."""
    with pytest.raises(UnknownInputError, match="with rows 2, 3: 3 values are wrong") as caught:
        app.map([{"seed": 1}, {"seed": -1}, {"seed": -2, "sed": 3}])
    assert [str(one).partition(":")[0] for one in caught.value.problems] == ["row 2", "row 3", "row 3"]
    with pytest.raises(
        UnknownInputError, match="with rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more: "
    ) as caught:
        app.map([{"seed": -1}] * 12)
    assert len(caught.value.problems) == 10
    assert fake.books.accepted == []

    async def one_by_one() -> AsyncIterator[dict[str, Any]]:
        for row in ({"seed": 1, "steps": 1}, {"seed": -1}):
            yield row

    for rows in (iter([{"seed": 1, "steps": 1}, {"seed": -1}]), one_by_one()):
        with pytest.raises(UnknownInputError, match="with row 2: 1 value is wrong"):
            await through(app, rows)


async def test_rows_of_a_table(app: App, fake: FakeComfy) -> None:
    """Its cells are texts: the error says what reads them, and what is empty is left out."""
    table = list(csv.DictReader(io.StringIO("prompt,seed\na fox,8\na hare,\n")))
    with pytest.raises(UnknownInputError, match="with rows 1, 2") as caught:
        app.map(table)
    assert all("`app.inputs[name].parse(text)`" in problem.advice for problem in caught.value.problems)
    rows = [{name: app.inputs[name].parse(cell) for name, cell in row.items() if cell} for row in table]
    async with app.map(rows) as finished:
        seeds = {job.index: job.workflow.get("3", "seed") async for job in finished if job.workflow}
    assert seeds == {0: 8, 1: 1234}
    with pytest.raises(UnknownInputError) as caught:
        app.workflow(seed="many")
    assert caught.value.problems[0].advice == ""


async def test_a_stream_cancels_what_is_left(app: App, fake: FakeComfy) -> None:
    """As that of a session."""
    fake.hold()
    async with app.stream(prompt="a fox") as job:
        pass
    assert job.status == "cancelled"


async def test_rows_run_a_few_at_a_time(app: App) -> None:
    """A job for each, with its place; rows may come one by one."""
    async with app.map([{"seed": seed, "steps": 1} for seed in range(4)], limit=2) as finished:
        assert finished.progress.total == 4
        seeds = {job.index: job.workflow.get("3", "seed") async for job in finished if job.workflow}
    assert seeds == {0: 0, 1: 1, 2: 2, 3: 3}

    async def rows() -> AsyncIterator[dict[str, Any]]:
        yield {"seed": 8}
        yield {"seed": "9"}

    async def run() -> None:
        async with app.map(rows()) as finished:
            async for job in finished:
                await job

    with pytest.raises(UnknownInputError, match="seed: '9'"):
        await run()


async def test_pictures_are_uploaded(comfy: ComfySession) -> None:
    """And a wrong one is refused before anything is sent."""
    flow = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "nobody.png"}, "_meta": {"title": "$photo"}},
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": "x"},
            "_meta": {"title": "$copy"},
        },
    }
    app = await comfy.app(flow)
    assert app.inputs["photo"].required
    with pytest.raises(UnknownInputError, match="no image file is given"):
        await app()
    result = await app(photo=Image.new("RGB", (8, 8), "red"))
    assert (await result["copy"].image()).size == (8, 8)


async def test_names_survive_later_changes(app: App) -> None:
    """A workflow of an app keeps the names of its outputs, in copies and other processes too."""
    flow = app.workflow(seed=1)
    for made in (flow, flow.with_inputs({"3.steps": 4}), pickle.loads(pickle.dumps(flow))):
        assert dict(made.named_outputs) == {"picture": "9"}
    assert dict(Workflow.load(SD15).named_outputs) == {}


async def test_an_app_without_a_server_can_do_all_but_run(fake: FakeComfy) -> None:
    """And says what to do; `on` gives it one, with options of its own."""
    async with fake.session() as comfy:
        app = App.load(SD15, await comfy.nodes.catalog(), inputs=NAMES, outputs={"picture": "9"})
        assert app.client is None
        assert app.workflow(seed=7).get("3", "seed") == 7
        assert app.json_schema()
        assert app.tool()
        for call in (app(), app.submit(), app.refreshed()):
            with pytest.raises(WorkflowError, match=r"has no server to run on.*on\(comfy\)"):
                await call
        with pytest.raises(WorkflowError, match="has no server to run on"):
            app.map([])
        bound = app.on(comfy, extra_data={"note": "x"})
        assert (app.client, bound.client) == (None, comfy)
        job = await bound.submit(steps=1)
        await job
        assert (await comfy.history.get(job.prompt_id)).extra_data["note"] == "x"


async def test_a_choice_that_came_since_is_taken(comfy: ComfySession, fake: FakeComfy) -> None:
    """A list of choices that is too old is read again before a value is refused."""
    app = await comfy.app(SD15, inputs={"model": "4.ckpt_name"}, outputs={"picture": "9"})
    old = dict(app.catalog["CheckpointLoaderSimple"])
    fewer = json.loads(json.dumps(old))
    fewer["input"]["required"]["ckpt_name"][0] = ["other.ckpt"]
    stale = App(
        app.reading.renewed(NodeCatalog({**app.catalog, "CheckpointLoaderSimple": fewer})), client=comfy
    )
    assert stale.inputs["model"].required
    name = app.inputs["model"].choices
    assert name
    result = await stale(model=name[0])
    assert result["picture"].filename
    assert (await stale.refreshed()).inputs["model"].choices == name
    with pytest.raises(UnknownInputError, match="is none of the"):
        await stale(model="nothing.ckpt")


async def test_apps_run_at_once(app: App) -> None:
    """One app for all callers: nothing of one call is seen by another."""
    results = await asyncio.gather(*(app(seed=seed, steps=1) for seed in range(8)))
    assert len({result["picture"].filename for result in results}) == 8


async def test_a_pool_has_apps(fake: FakeComfy) -> None:
    """Its classes are those of all servers; results come by name from whichever ran it."""
    async with FakeComfy() as other, ComfyPool([fake.url, other.url]) as pool:
        app = await pool.app(SD15, inputs=NAMES, outputs={"picture": "9"})
        results = await asyncio.gather(*(app(seed=seed, steps=1) for seed in range(4)))
        assert all(result["picture"].filename for result in results)
        assert len(await pool.node_catalog(again=["KSampler"])) == len(app.catalog)


async def test_a_class_that_is_gone_is_told(comfy: ComfySession) -> None:
    """By the server's own words, where a workflow needs what it lacks."""
    with pytest.raises(NotFoundError):
        await comfy.nodes.info("NoSuchClass")
    app = await comfy.app({"1": {"class_type": "NoSuchClass", "inputs": {"x": 1}}}, inputs={"x": "1.x"})
    with pytest.raises(Exception, match="NoSuchClass"):
        await app()


async def test_a_blueprint_is_an_app(comfy: ComfySession) -> None:
    """What it wants is loaded, what it gives is saved; the blueprint's name is the app's."""
    from convert_files import SUBGRAPH, editor, node, subgraph

    inverts = subgraph(
        [node(4, "ImageInvert", inputs=[("image", "IMAGE", 1)], outputs=[("IMAGE", [2])])],
        [(1, -10, 0, 4, 0, "IMAGE"), (2, 4, 0, -20, 0, "IMAGE")],
        inputs=[("picture", "IMAGE", [1])],
        outputs=[("negative", "IMAGE", [2])],
    )
    host = node(9, SUBGRAPH, inputs=[("picture", "IMAGE", None)], outputs=[("IMAGE", [])])
    host["outputs"][0]["name"] = "negative"
    drawing = editor([host], definitions={"subgraphs": [inverts]})
    blueprint = Blueprint(name="Invert (2.0 colours)", data=json.dumps(drawing))
    app = await comfy.app(blueprint)
    assert (app.name, list(app.inputs), list(app.outputs)) == (
        "invert_2_0_colours",
        ["picture"],
        ["negative"],
    )
    result = await app(picture=Image.new("RGB", (4, 4)))
    assert (await result["negative"].image()).size == (4, 4)
