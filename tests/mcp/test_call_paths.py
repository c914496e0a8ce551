"""No argument of a call is a path: what leads out of the server's folders is refused before it is sent."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp_tools import Heard, failed, text_of
from PIL import Image
from web_tools import INVERT

from comfy_async import App, ComfySession, NodeCatalog
from comfy_async._client.foreign import foreign_problems
from comfy_async.mcp import Toolbox
from comfy_async.testing import FakeComfy

OUTSIDE = [
    "/etc/passwd",
    "//server/share/x.png",
    "\\\\server\\share\\x.png",
    "..\\x.png",
    "sub\\x.png",
    "C:\\x.png",
    "c:/x.png",
    "C:x.png",
    "../x.png",
    "../../../tmp/x/me.jpg",
    "sub/../../x.png",
    "sub/.. /x.png",
    ".../x.png",
    "..",
    "~/x.png",
    "file:///etc/passwd",
    "concat:/etc/passwd",
    " /etc/passwd",
    '"/etc/passwd"',
    "/etc/passwd [input]",
    "../x.png [output]",
    "../x.png[temp]",
    "sub/..x[input]",
    "/etc/passwd [input] [output]",
    "x\0.png",
]
INSIDE = [
    "x.png",
    "sub/x.png",
    "x.png [output]",
    "sub/x.png [temp]",
    "a..b.png",
    "..x.png",
    "x (1).png",
    "data:image/png;base64,/9j/../x",
]

CLASSES: dict[str, Any] = {
    "LoadLatent": {"latent": [[]]},
    "Load3D": {
        "model_file": ["COMBO", {"options": [], "file_upload": True}],
        "image": ["LOAD_3D", {}],
    },
    "LoadVideo": {"file": [[], {"video_upload": True}]},
    "LoadAudio": {"audio": [[], {"audio_upload": True}]},
    "VHS_LoadVideoPath": {"video": ["STRING", {"vhs_path_extensions": ["mp4"]}]},
    "Lister": {"names": [["a.png"], {"multiselect": True}]},
    "Plain": {"text": ["STRING", {}]},
}
CATALOG = NodeCatalog(
    {
        name: {"input": {"required": inputs}, "output": ["X"], "output_name": ["X"], "output_node": True}
        for name, inputs in CLASSES.items()
    }
)


@pytest.fixture
async def tools(comfy: ComfySession, tmp_path: Path) -> Toolbox:
    """One app, which inverts a photo."""
    folder = tmp_path / "apps"
    folder.mkdir()
    (folder / "invert.json").write_text(json.dumps(INVERT))
    return Toolbox(folder, comfy)


async def called(tools: Toolbox, **given: object) -> Any:
    """Call the app."""
    return await tools.call("invert", given, Heard())


@pytest.mark.parametrize("name", OUTSIDE)
async def test_a_path_is_refused(tools: Toolbox, fake: FakeComfy, name: str) -> None:
    """By the call and by `check`, and whether there is such a file is not said; nothing is sent."""
    said = failed(await called(tools, image=name))
    assert "is a path, not the name of a file in the server's folders" in said
    assert "or a data: URI" in said
    checked = text_of(await tools.call("check", {"app": "invert", "values": {"image": name}}, Heard()))
    assert "is a path" in checked
    assert not fake.books.accepted


async def test_all_that_is_wrong_is_said_at_once(tools: Toolbox) -> None:
    """In the order of a call in Python: names first, then the inputs."""
    said = failed(await called(tools, image="../x.png", imge="x.png"))
    assert said.index("no input 'imge'") < said.index("image: '../x.png' is a path")


async def test_a_name_on_the_server_is_taken(tools: Toolbox, fake: FakeComfy) -> None:
    """What was uploaded, what lies in a folder, and what was made before."""
    for kind, name in (("input", "sub/me.png"), ("output", "made.png")):
        folder = fake.folders.of_type(kind)
        assert folder is not None
        (folder / name).parent.mkdir(exist_ok=True)
        await asyncio.to_thread(Image.new("RGB", (8, 8)).save, folder / name)
    for name in ("example.png", "sub/me.png", "made.png [output]"):
        result = await called(tools, image=name)
        assert not result.is_error, text_of(result)


@pytest.mark.parametrize(
    ("class_type", "field"),
    [(name, field) for name, fields in CLASSES.items() if name != "Plain" for field in fields],
)
def test_every_input_that_may_be_a_file(class_type: str, field: str) -> None:
    """Whatever a server may resolve, in lists and objects too; not plain texts."""
    flow = {"1": {"class_type": class_type, "inputs": {field: "given.png"}}}
    app = App.load(flow, CATALOG, inputs={"value": f"1.{field}"})
    for name in OUTSIDE:
        for value in (name, [name], {"image": name}):
            (found,) = foreign_problems(app.reading, {"value": value})
            assert "path" in found.message, found
    for name in INSIDE:
        found_all = foreign_problems(app.reading, {"value": name})
        assert not [one for one in found_all if "is a path" in one.message and one.received[:5] != "data:"]


def test_a_plain_text_is_anything() -> None:
    """A prompt may begin with a slash."""
    flow = {"1": {"class_type": "Plain", "inputs": {"text": ""}}}
    app = App.load(flow, CATALOG, inputs={"value": "1.text"})
    assert not foreign_problems(app.reading, {"value": "/imagine ../a C:\\fox"})


def test_what_the_workflow_has_may_be_given_again() -> None:
    """Its author chose it."""
    flow = {"1": {"class_type": "VHS_LoadVideoPath", "inputs": {"video": "/videos/a.mp4"}}}
    app = App.load(flow, CATALOG, inputs={"value": "1.video"})
    assert not foreign_problems(app.reading, {"value": "/videos/a.mp4"})
    assert foreign_problems(app.reading, {"value": "/videos/b.mp4"})
