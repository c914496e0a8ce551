"""Workflows and input values that lie in a store: only by objects of fsspec, never guessed from a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
from session_tools import picture
from store_tools import Faults, PartsFileSystem, store  # noqa: F401 - the last is a fixture

from comfy_async import ComfyPool, ComfySession, Workflow, WorkflowFormatError
from comfy_async.testing import FakeComfy

pytestmark = pytest.mark.usefixtures("store")
EXAMPLES = Path(__file__).parents[2] / "examples" / "workflows"


def put(name: str, data: bytes) -> Any:
    """Put a file into memory, and return it as fsspec opens it."""
    fsspec.filesystem("memory").pipe_file(name, data)
    return fsspec.open(f"memory://{name}")


class Place:
    """A place as `UPath` is one: a file system and a path, and no `__fspath__`."""

    def __init__(self, path: str) -> None:
        self.fs = fsspec.filesystem("memory")
        self.path = path


@pytest.mark.parametrize("name", ["sd15_text2image_api.json", "sd15_text2image_ui.json"])
def test_workflows(name: str) -> None:
    """As from a file of this machine; packed ones too."""
    data = (EXAMPLES / name).read_bytes()
    assert Workflow.load(put("flow.json", data)) == Workflow.load(EXAMPLES / name)
    assert Workflow.load(Place("/flow.json")) == Workflow.load(EXAMPLES / name)
    import gzip

    fsspec.filesystem("memory").pipe_file("flow.json.gz", gzip.compress(data))
    assert Workflow.load(Place("/flow.json.gz")) == Workflow.load(EXAMPLES / name)
    assert Workflow.load(fsspec.open("memory://flow.json.gz", compression="infer")) == Workflow.load(data)


def test_damage_is_named() -> None:
    """With the place, as of a file."""
    with pytest.raises(WorkflowFormatError, match="/flow.json is not valid JSON"):
        Workflow.load(put("flow.json", b"{"))
    with pytest.raises(FileNotFoundError, match="memory://.*none.json"):
        Workflow.load(fsspec.open("memory://none.json"))


def test_a_text_is_a_path() -> None:
    """Nobody looks into a store because of what a text begins with."""
    put("flow.json", (EXAMPLES / "sd15_text2image_api.json").read_bytes())
    with pytest.raises(FileNotFoundError):
        Workflow.load("memory://flow.json")


async def test_texts_stay_texts(fake: FakeComfy, comfy: ComfySession) -> None:
    """As input values, for the node to make of them what it likes."""
    fake.script("Echo", inputs={"text": "STRING"}, output={"text": ["said"]})
    put("face.png", b"not fetched")
    job = await comfy.submit({"1": {"class_type": "Echo", "inputs": {"text": "memory://face.png"}}})
    await job
    entry = await comfy.history.get(job.prompt_id)
    assert entry is not None
    assert entry.prompt["1"]["inputs"]["text"] == "memory://face.png"
    assert not fake.books.uploads


@pytest.mark.parametrize("of", ["session", "pool"])
@pytest.mark.parametrize("kind", ["OpenFile", "UPath"])
async def test_input_values(fake: FakeComfy, comfy: ComfySession, of: str, kind: str) -> None:
    """Are uploaded when they are submitted, with their names; also a workflow, off the event loop."""
    result = await comfy.run(picture(5))
    await result.files[0].save("memory://in/face.png")
    face: Any = fsspec.open("memory://in/face.png") if kind == "OpenFile" else Place("/in/face.png")
    flow = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "again"}},
    }
    client: Any = comfy if of == "session" else ComfyPool([fake.url])
    await client.connect()
    made = await client.run(Workflow.load(flow).with_inputs({"1.image": face}))
    assert len(made.files) == 1
    assert fake.books.uploads[0].name.startswith("face-")
    assert fake.books.uploads[0].name.endswith(".png")
    stored = put("flow.json", json.dumps(picture(6)).encode())
    assert len((await client.run(stored)).files) == 1
    if of == "pool":
        await client.aclose()


async def test_one_that_is_not_there(comfy: ComfySession, fake: FakeComfy) -> None:
    """Says where it was looked for; nothing is sent."""
    flow = Workflow.load({"1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}}})
    with pytest.raises(FileNotFoundError, match="none.png"):
        await comfy.submit(flow.with_inputs({"1.image": fsspec.open("memory://none.png")}))
    assert not fake.books.accepted


def test_keys_stay_hidden(store: Faults) -> None:  # noqa: F811
    """Those of the object's own file system."""

    class Leaking(PartsFileSystem):
        def _open(self, path: str, *rest: Any, **options: Any) -> Any:
            raise RuntimeError("no bucket for AKIA-very-secret")

    place = fsspec.core.OpenFile(Leaking(key="AKIA-very-secret"), "b/flow.json")
    with pytest.raises(OSError, match="no bucket for •••"):
        Workflow.load(place)
