"""Rows of a Ray dataset through ComfyUI."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy
import pytest
import ray
import ray.data
from PIL import Image
from session_tools import picture, steps

from comfy_async import JobFailedError
from comfy_async.ray import ComfyFleet, ComfyMapper

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


async def test_a_dataset_over_a_fleet(fakes: Any) -> None:
    """Every row runs once, on one of the fleet's servers, and keeps its other columns."""
    servers = await fakes(2)
    async with ComfyFleet([fake.url for fake in servers]) as fleet:

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


async def test_what_comes_back(fakes: Any, tmp_path: Path) -> None:
    """Arrays, paths, addresses and texts; lists of everything on demand."""
    (fake,) = await fakes(1)
    graph = picture(255)
    graph["3"] = {"class_type": "PrimitiveString", "inputs": {"value": "hello"}}
    graph["4"] = {"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}}
    async with ComfyFleet(fake.url) as fleet:

        async def ask(**options: Any) -> dict[str, Any]:
            mapper = await asyncio.to_thread(
                lambda: ComfyMapper(
                    fleet.__reduce__()[0](*fleet.__reduce__()[1]),
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
        assert [Image.open(path).size for path in paths["image"]] == [(16, 16)] * 2
        assert len(set(paths["image"])) == 2
        urls = await ask(returns="urls", every=True)
        assert all(url.startswith(fake.url) for (url,) in urls["image"])
        assert list(urls["nothing"]) == [[], []]


async def test_errors_as_a_column_or_raised(fakes: Any) -> None:
    """One bad row does not spoil the batch unless it shall."""
    (fake,) = await fakes(1)
    graph = steps(fake, 1)
    fake.script(
        "Steps", inputs={"steps": "INT", "seed": "INT"}, outputs=["VALUE"], error=("ValueError", "bad")
    )
    cells = {"seed": numpy.array([1, 2])}
    options: dict[str, Any] = {"inputs": {"seed": "1.seed"}, "outputs": {"text": "2"}}
    noted = await asyncio.to_thread(lambda: ComfyMapper(fake.url, graph, errors="column", **options))
    column = await mapped(noted, cells)
    assert all("bad" in error for error in column["error"])
    assert list(column["text"]) == [None, None]
    raising = await asyncio.to_thread(lambda: ComfyMapper(fake.url, graph, **options))
    with pytest.raises(JobFailedError):
        await mapped(raising, cells)


def test_arguments() -> None:
    """What makes no sense is said before anything is opened."""
    with pytest.raises(ValueError, match="folder"):
        ComfyMapper("http://127.0.0.1:9", picture(), returns="paths", **COLOR)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no such way"):
        ComfyMapper("http://127.0.0.1:9", picture(), errors="hide", **COLOR)  # type: ignore[arg-type]
