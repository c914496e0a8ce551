"""Typed functions for apps: a checker knows their parameters, and they run."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from check_tools import Mypy
from convert_files import catalog
from test_apps_names import SD15, app
from test_apps_values import with_photo

from comfy_async import App
from comfy_async.testing import FakeComfy
from comfy_async.workflow.apps import write_app_stubs

GOOD = """
from pathlib import Path
from comfy_async import ComfySession, Job
from comfy_apps import portrait, portrait_app, portrait_job, photo

async def main(comfy: ComfySession) -> None:
    result = await portrait(comfy, prompt="a fox", seed=7, cfg=7.5, sampler_name="euler")
    await result["image"].save("out.png")
    await portrait(comfy, seed="random")
    job: Job = await portrait_job(comfy, prompt="a fox")
    print(job.progress, portrait_app().inputs)
    await photo(comfy, photo=Path("me.jpg"))
    await photo(comfy, photo=b"", prompt="a fox")
"""

BAD = """
async def wrong(comfy: ComfySession) -> None:
    await portrait(comfy, prmpt="a fox")
    await portrait(comfy, steps="8")
    await portrait(comfy, sampler_name="eulr")
    await portrait(comfy, seed="randomly")
    await photo(comfy)
    await photo(comfy, photo=5)
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with the functions of two apps."""
    apps = {"portrait": app(), "photo": with_photo()}
    found = write_app_stubs({name: (one.reading, one.description) for name, one in apps.items()}, tmp_path)
    assert [path.name for path in found] == ["comfy_apps.py", "comfy_apps.pyi"]
    return tmp_path


def test_a_checker_knows_the_parameters(written: Path, strict_mypy: Mypy) -> None:
    """What the app takes passes; a wrong name, type, choice, and what is missing do not."""
    good = GOOD.count("\n")
    (written / "program.py").write_text(GOOD + BAD)
    told = [line for line in strict_mypy(written, "program.py") if ": error:" in line]
    assert [int(line.split(":")[1]) - good for line in told] == [3, 4, 5, 6, 7, 8]
    assert 'Unexpected keyword argument "prmpt"' in told[0]
    assert 'Missing named argument "photo"' in told[4]


@pytest.fixture
def functions(written: Path) -> Iterator[Any]:
    """The module, loaded."""
    spec = importlib.util.spec_from_file_location("comfy_apps_of_test", written / "comfy_apps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("comfy_apps_of_test", None)


async def test_the_functions_run(functions: Any, fake: FakeComfy) -> None:
    """Without the file that they were made from, and with the names that they were written with."""
    async with fake.session() as comfy:
        result = await functions.portrait(comfy, prompt="a fox", steps=2)
        assert result["image"].filename
        job = await functions.portrait_job(comfy, steps=2)
        await job
    assert list(functions.portrait_app().inputs) == list(app().inputs)


def test_a_drawing_stays_a_drawing(tmp_path: Path) -> None:
    """So that pictures carry it; conversion needs no more than the classes that are kept."""
    drawn = App.load(SD15.with_name("sd15_text2image_ui.json"), catalog())
    write_app_stubs({"drawn": (drawn.reading, "")}, tmp_path, module="other")
    spec = importlib.util.spec_from_file_location("other_of_test", tmp_path / "other.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    flow = module.drawn_app().workflow(prompt="a fox")
    assert flow.editor["nodes"]
    assert flow.get("6", "text") == "a fox"


def test_equal_apps_make_equal_files(tmp_path: Path) -> None:
    """No time stamp in them."""
    for name in ("one", "two"):
        write_app_stubs({"portrait": (app().reading, "x")}, tmp_path / name)
    assert [path.read_bytes() for path in sorted((tmp_path / "one").iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "two").iterdir())
    ]
