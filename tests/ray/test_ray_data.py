"""Rows of a Ray dataset through ComfyUI."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy
import pytest
import ray
import ray.data
from PIL import Image
from session_tools import eventually, picture, steps

from comfy_async import JobFailedError
from comfy_async.ray import ComfyMapper

pytestmark = pytest.mark.usefixtures("cluster")

COLOR = {"inputs": {"color": "1.color"}, "outputs": {"image": "Keep it"}}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """No progress bars in the tests."""
    ray.data.DataContext.get_current().enable_progress_bars = False


async def mapped(mapper: ComfyMapper, batch: dict[str, Any]) -> dict[str, Any]:
    """Call as Ray Data does, from a thread without a loop."""
    try:
        return await asyncio.to_thread(mapper, batch)
    finally:
        await asyncio.to_thread(mapper.close)


async def test_a_dataset_over_a_fleet(team: Any) -> None:
    """Every row runs once, on one of the fleet's servers, and keeps its other columns."""
    async with team(2) as (fleet, *servers):

        def consume() -> list[dict[str, Any]]:
            rows = ray.data.from_items(
                [{"color": 1000 * number, "name": f"n{number}"} for number in range(12)]
            )
            made = rows.map_batches(
                ComfyMapper,
                fn_constructor_args=(fleet, picture()),
                fn_constructor_kwargs=COLOR,
                batch_size=6,
                compute=ray.data.ActorPoolStrategy(size=1),
                num_cpus=0.5,
            )
            return list(made.take_all())

        rows = await asyncio.to_thread(consume)
    assert sorted(row["name"] for row in rows) == sorted(f"n{number}" for number in range(12))
    for row in rows:
        pixel = Image.open(io.BytesIO(row["image"])).convert("RGB").getpixel((0, 0))
        assert isinstance(pixel, tuple)
        red, green, blue = (int(part) for part in pixel)
        assert red << 16 | green << 8 | blue == row["color"]
    ran = [record for fake in servers for record in fake.books.runs]
    assert len(ran) == 12
    assert all(fake.books.runs for fake in servers)


async def test_what_comes_back(team: Any, tmp_path: Path) -> None:
    """Arrays, paths, addresses and texts; lists of everything on demand."""
    graph = picture(255)
    graph["3"] = {"class_type": "PrimitiveString", "inputs": {"value": "hello"}}
    graph["4"] = {"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}}
    async with team() as (fleet, fake):

        async def ask(**options: Any) -> dict[str, Any]:
            mapper = await asyncio.to_thread(
                lambda: ComfyMapper(
                    pickle.loads(pickle.dumps(fleet)),
                    graph,
                    inputs={"color": "1.color", "text": "3.value"},
                    outputs={"image": "SaveImage", "said": "4", "nothing": "1"},
                    **options,
                )
            )
            cells = {"color": numpy.array([1, 2]), "text": numpy.array(["one", "two"], dtype=object)}
            return await mapped(mapper, cells)

        arrays = await ask(returns="arrays")
        assert [array.shape[:2] for array in arrays["image"]] == [(16, 16)] * 2
        assert list(arrays["said"]) == ["one", "two"]
        assert list(arrays["nothing"]) == [None, None]
        paths = await ask(returns="paths", folder=tmp_path / "made")
        for path in paths["image"]:
            with Image.open(path) as image:
                assert image.size == (16, 16)
        assert len(set(paths["image"])) == 2
        urls = await ask(returns="urls", every=True)
        assert all(url.startswith(fake.url) for (url,) in urls["image"])
        assert list(urls["nothing"]) == [[], []]


async def test_errors_as_a_column_or_raised(team: Any) -> None:
    """One bad row does not spoil the batch unless it shall; what is raised ends the dataset's run."""
    options: dict[str, Any] = {"inputs": {"width": "1.width"}, "outputs": {"image": "2"}}
    async with team() as (fleet, fake):

        def consume(errors: str) -> list[dict[str, Any]]:
            rows = ray.data.from_items([{"width": 16}, {"width": -5}, {"width": 32}])
            made = rows.map_batches(
                ComfyMapper,
                fn_constructor_args=(fleet, picture(1)),
                fn_constructor_kwargs={**options, "errors": errors, "error_column": "why"},
                batch_size=3,
                compute=ray.data.ActorPoolStrategy(size=1),
                num_cpus=0.5,
            )
            return list(made.take_all())

        rows = await asyncio.to_thread(consume, "column")
        assert [row["width"] for row in rows if row["why"] is None] == [16, 32]
        (bad,) = (row for row in rows if row["why"] is not None)
        assert "width" in bad["why"]
        assert bad["image"] is None
        with pytest.raises(Exception, match="PromptRejectedError"):
            await asyncio.to_thread(consume, "raise")


async def test_an_error_keeps_its_class(team: Any) -> None:
    """Who calls the mapper itself gets the library's own error."""
    async with team() as (fleet, fake):
        graph = steps(fake, 1, error=("ValueError", "bad"))
        options: dict[str, Any] = {"inputs": {"seed": "1.seed"}, "outputs": {"text": "2"}}
        twin = pickle.loads(pickle.dumps(fleet))
        raising = await asyncio.to_thread(lambda: ComfyMapper(twin, graph, **options))
        with pytest.raises(JobFailedError, match="bad"):
            await mapped(raising, {"seed": numpy.array([1, 2])})


async def test_a_limit_for_each_mapper(team: Any) -> None:
    """No more rows of a batch are in ComfyUI than it says, though the fleet would take them."""
    async with team(limit=None) as (fleet, fake):
        fake.hold()
        twin = pickle.loads(pickle.dumps(fleet))
        mapper = await asyncio.to_thread(lambda: ComfyMapper(twin, picture(), limit=2, **COLOR))  # type: ignore[arg-type]
        mapping = asyncio.create_task(mapped(mapper, {"color": numpy.arange(5)}))
        await fake.wait_for(lambda books: len(books.accepted) == 2)
        # Whatever the mapper had to post went to its server before this.
        await fleet.submit(picture(99))
        assert len(fake.books.accepted) == 3
        fake.release()
        assert len((await mapping)["image"]) == 5


async def test_a_batch_is_run_again(team: Any, tmp_path: Path) -> None:
    """Its mapper was killed in the middle: rows that ended or run are taken over by results file."""

    # In here, so that Ray carries it to processes that cannot import this file.
    class Doomed(ComfyMapper):
        def __init__(self, pid: str, *args: Any, **options: Any) -> None:
            Path(pid).write_text(str(os.getpid()))
            super().__init__(*args, **options)

    async with team(limit=2) as (fleet, fake):
        graph = steps(fake, 3)
        gate = fake.gate("Steps", step=2)

        def consume() -> list[dict[str, Any]]:
            made = ray.data.from_items([{"seed": number} for number in range(6)]).map_batches(
                Doomed,
                fn_constructor_args=(str(tmp_path / "pid"), fleet, graph),
                fn_constructor_kwargs={
                    "inputs": {"seed": "1.seed"},
                    "outputs": {"text": "2"},
                    "results": tmp_path / "results",
                },
                batch_size=6,
                compute=ray.data.ActorPoolStrategy(size=1),
                num_cpus=0.5,
            )
            return list(made.take_all())

        consuming = asyncio.create_task(asyncio.to_thread(consume))
        reached = asyncio.create_task(gate.reached())
        await asyncio.wait([consuming, reached], return_when=asyncio.FIRST_COMPLETED)
        assert reached.done(), await consuming
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        gate.open()
        assert [row["text"] for row in await consuming] == ["shown"] * 6
        # Its last life ends with the dataset's run, whatever threads it has.
        last = Path(f"/proc/{(tmp_path / 'pid').read_text()}")
        await eventually(lambda: not last.exists())
    assert [record.end for record in fake.books.accepted] == ["success"] * 6


def test_arguments() -> None:
    """What makes no sense is said before anything is opened."""
    with pytest.raises(ValueError, match="folder"):
        ComfyMapper("http://127.0.0.1:9", picture(), returns="paths", **COLOR)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no such way"):
        ComfyMapper("http://127.0.0.1:9", picture(), errors="hide", **COLOR)  # type: ignore[arg-type]
