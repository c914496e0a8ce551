"""Apps on a real server, or FakeComfy where there is none: model-free nodes, by Python and command line."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_async import ComfySession, UnknownInputError


def graph() -> dict[str, Any]:
    """Return a workflow that loads, turns and keeps a picture, with names in its titles."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "nobody.png"}, "_meta": {"title": "$photo"}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {
                "image": ["1", 0],
                "upscale_method": "nearest-exact",
                "width": 16,
                "height": 16,
                "crop": "disabled",
            },
            "_meta": {"title": "$width.width"},
        },
        "3": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
            "_meta": {"title": "$colour.color"},
        },
        "4": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2", 0], "filename_prefix": "comfy_async_app"},
            "_meta": {"title": "$scaled"},
        },
        "5": {
            "class_type": "SaveImage",
            "inputs": {"images": ["3", 0], "filename_prefix": "comfy_async_app"},
            "_meta": {"title": "$plain"},
        },
    }


async def test_an_app_runs(live: ComfySession) -> None:
    """A picture goes in, two come out by their names; what is wrong is told before anything is sent."""
    app = await live.app(graph())
    assert (list(app.inputs), list(app.outputs)) == (["photo", "width", "colour"], ["scaled", "plain"])
    assert app.unresolved == ()
    picture = Image.new("RGB", (4, 4), tuple(random.SystemRandom().randbytes(3)))
    result = await app(photo=picture, width=24, colour=0xFF8800)
    scaled, plain = await result["scaled"].image(), await result["plain"].image()
    assert scaled.size == (24, 16)
    assert scaled.convert("RGB").getpixel((5, 5)) == picture.getpixel((0, 0))
    assert plain.convert("RGB").getpixel((0, 0)) == (255, 136, 0)
    with pytest.raises(UnknownInputError) as caught:
        await app(widht=1, colour=1 << 24)
    assert [problem.type for problem in caught.value.problems] == [
        "unknown_input",
        "required_input_missing",
        "value_bigger_than_max",
    ]


async def test_rows_of_an_app(live: ComfySession) -> None:
    """A result for each, in its place."""
    app = await live.app(graph(), outputs={"plain": "5"})
    picture = Image.new("RGB", (4, 4), tuple(random.SystemRandom().randbytes(3)))
    colours = random.SystemRandom().sample(range(1 << 24), 3)
    rows = [{"photo": picture, "colour": colour} for colour in colours]
    found: dict[int, Any] = {}
    async with app.map(rows, limit=2) as finished:
        async for job in finished:
            found[job.index] = await (await job)["plain"].image()
    seen = [found[place].convert("RGB").getpixel((0, 0)) for place in range(3)]
    assert seen == [(colour >> 16, colour >> 8 & 255, colour & 255) for colour in colours]


async def test_the_command_line_runs_it(live_url: str, tmp_path: Path) -> None:
    """With an option for each input."""
    path, photo = tmp_path / "app.json", tmp_path / "me.png"
    path.write_text(json.dumps(graph()))
    Image.new("RGB", (4, 4), tuple(random.SystemRandom().randbytes(3))).save(photo)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comfy_async.cli", "app", str(path), "run", "--server", live_url, "--json"),
        *("--photo", str(photo), "--width", "40", "--out", str(tmp_path / "out")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    events = [json.loads(line) for line in out.splitlines()]
    nodes = [item["node"] for item in events if item["event"] == "saved"]
    sizes = []
    for kept in (tmp_path / "out").iterdir():
        with Image.open(kept) as picture:
            sizes.append(picture.size)
    assert (sorted(nodes), sorted(sizes)) == (["4", "5"], [(8, 8), (40, 16)])
