"""What a workflow needs that a server lacks: as data, in print, and as the commands that install it."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import shlex
from pathlib import Path
from typing import Any

import pytest

from comfy_async.workflow import NodeCatalog, Workflow
from comfy_async.workflow.check import MissingClass, MissingModel, Needs

ROOT = Path(__file__).parents[2]
SD15 = ROOT / "examples/workflows/sd15_text2image_api.json"
SD15_UI = ROOT / "examples/workflows/sd15_text2image_ui.json"
URL = "https://huggingface.co/somebody/models/resolve/main/other.safetensors"


@pytest.fixture(scope="module")
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(ROOT / "tests/data/object_info.json.gz")


@pytest.fixture
def editor() -> dict[str, Any]:
    """The SD1.5 editor file, to be changed."""
    loaded: dict[str, Any] = json.loads(SD15_UI.read_text())
    return loaded


def typed(editor: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the first node of a class in an editor file."""
    return next(node for node in editor["nodes"] if node["type"] == kind)


def want_vae(editor: dict[str, Any], **said: str) -> None:
    """Let an editor file want another VAE, with what it says of it."""
    node = typed(editor, "VAELoader")
    node["widgets_values"] = ["sub\\other.safetensors"]
    node["properties"]["models"] = [{"name": "other.safetensors", "directory": "vae", "url": URL, **said}]


def test_nothing_is_missing(catalog: NodeCatalog) -> None:
    """Then it is false, and prints as nothing."""
    needs = Workflow.load(SD15).needs(catalog)
    assert needs == Needs()
    assert not needs
    assert (str(needs), needs.commands) == ("", ())


def test_a_model_that_the_editor_file_knows(editor: dict[str, Any], catalog: NodeCatalog) -> None:
    """With folder, address, sum, and the inputs that want it."""
    want_vae(editor, hash="abc", hash_type="SHA256")
    (model,) = Workflow.load(editor).needs(catalog).models
    assert model == MissingModel("sub/other.safetensors", "vae", URL, "abc", "SHA256", (("10", "vae_name"),))
    assert shlex.split(model.command) == [
        *("comfy", "model", "download", "--url", URL),
        *("--relative-path", "models/vae/sub", "--filename", "other.safetensors"),
    ]
    assert str(model) == "sub/other.safetensors in models/vae (10.vae_name)"


def test_models_at_the_top_of_the_file(editor: dict[str, Any], catalog: NodeCatalog) -> None:
    """Older files list their models there."""
    typed(editor, "VAELoader")["widgets_values"] = ["other.safetensors"]
    editor["models"] = [{"name": "other.safetensors", "directory": "vae", "url": URL}]
    (model,) = Workflow.load(editor).needs(catalog).models
    assert (model.folder, model.url) == ("vae", URL)


def test_models_of_a_prompt(catalog: NodeCatalog) -> None:
    """Only the input tells the folder; a name of which nothing is known is told all the same."""
    flow = Workflow.load(SD15).with_inputs({"4.ckpt_name": "a.ckpt", "3.sampler_name": "eulr"})
    flow = flow.add("VAELoader", {"vae_name": "b.pt"}).add("CLIPVisionLoader", {"clip_name": "c.safetensors"})
    needs = flow.needs(catalog)
    assert [(model.name, model.folder, model.command) for model in needs.models] == [
        ("a.ckpt", "checkpoints", ""),
        ("b.pt", "vae", ""),
        ("c.safetensors", "", ""),
    ]
    assert needs.commands == ()
    assert "c.safetensors in an unknown folder (12.clip_name)" in str(needs)


def test_one_model_that_several_nodes_want(catalog: NodeCatalog) -> None:
    """It is told once, with all of them; other separators are no other model."""
    flow = (
        Workflow.load(SD15).with_inputs({"10.vae_name": "x\\b.pt"}).add("VAELoader", {"vae_name": "x/b.pt"})
    )
    (model,) = flow.needs(catalog).models
    assert model.places == (("10", "vae_name"), ("11", "vae_name"))
    spelled = {"Own": {"input": {"required": {"name": [["x\\b.pt"]]}}, "output_node": True}}
    assert not Workflow({"1": {"class_type": "Own", "inputs": {"name": "x/b.pt"}}}).needs(
        NodeCatalog(spelled)
    )


CASES = [
    ({"cnr_id": "some-pack", "ver": "1.2.3"}, "comfy node install some-pack@1.2.3"),
    ({"cnr_id": "some-pack", "ver": "3d1f6a0c"}, "comfy node install some-pack"),
    ({"cnr_id": "some-pack"}, "comfy node install some-pack"),
    ({"aux_id": "some.body/nodes"}, ""),
    ({"aux_id": "somebody/nodes", "ver": "3d1f"}, "comfy node install https://github.com/somebody/nodes"),
    ({"cnr_id": "comfy-core", "ver": "0.45.0"}, "comfy update comfy"),
    ({"cnr_id": "--help"}, ""),
    ({"cnr_id": "a; rm -rf ~"}, ""),
    ({"aux_id": "somebody/../../x"}, ""),
    ({"cnr_id": 7, "ver": ["x"]}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("said", "command"), CASES)
def test_the_pack_of_a_missing_class(
    editor: dict[str, Any], catalog: NodeCatalog, said: dict[str, Any], command: str
) -> None:
    """From the properties of an editor file, and from the remarks at the nodes of a prompt."""
    node = typed(editor, "VAEDecode")
    node["type"] = "Unheard"
    node["properties"] = said
    drawn = Workflow.load(editor).needs(catalog)
    prompt = Workflow.load(SD15).to_api()
    prompt["8"].update(class_type="Unheard", _meta={"title": "Decode", **said})
    for needs in (drawn, Workflow.load(prompt).needs(catalog)):
        (missing,) = needs.classes
        assert (missing.class_type, missing.nodes) == ("Unheard", ("8",))
        assert missing.command == command
        assert needs.commands == ((command,) if command else ())
        assert "Unheard (8): " in str(needs)


def test_models_of_a_file_that_cannot_be_converted(editor: dict[str, Any], catalog: NodeCatalog) -> None:
    """They are told too, but for those that some list of the server's has."""
    typed(editor, "VAEDecode")["type"] = "Unheard"
    want_vae(editor)
    loader = typed(editor, "CheckpointLoaderSimple")
    loader["properties"]["models"] = [{"name": loader["widgets_values"][0], "directory": "checkpoints"}]
    needs = Workflow.load(editor).needs(catalog)
    assert [missing.class_type for missing in needs.classes] == ["Unheard"]
    assert [(model.name, model.places) for model in needs.models] == [("other.safetensors", ())]


@pytest.mark.parametrize(
    "said",
    [
        {"url": "file:///etc/passwd"},
        {"url": "https://x/$(rm)' --help"},
        {"directory": "../../etc"},
        {"name": "--help.safetensors"},
        {"directory": ""},
    ],
)
def test_no_command_is_made_of_what_is_no_model(said: dict[str, str]) -> None:
    """What a stranger's file says is not handed to a shell."""
    fields = {"name": "a.safetensors", "directory": "loras", "url": URL, **said}
    model = MissingModel(fields["name"], fields["directory"], fields["url"])
    assert model.command == ""


def test_what_a_server_replaces_is_not_missing(catalog: NodeCatalog) -> None:
    """Without its table the class that has taken the place is named."""
    flow = Workflow.load(SD15).add("T2IAdapterLoader", {"control_net_name": "x.pth"}, id="20")
    table = {"T2IAdapterLoader": [{"new_node_id": "ControlNetLoader", "input_mapping": []}]}
    assert flow.needs(catalog, replacements=table).classes == ()
    (missing,) = flow.needs(catalog).classes
    assert missing == MissingClass("T2IAdapterLoader", ("20",), replacement="ControlNetLoader")
    assert "or ControlNetLoader in its place" in str(missing)


def test_needs_are_plain_data(editor: dict[str, Any], catalog: NodeCatalog) -> None:
    """Frozen, comparable, picklable, and JSON after asdict."""
    want_vae(editor)
    needs = Workflow.load(editor).needs(catalog)
    assert pickle.loads(pickle.dumps(needs)) == copy.deepcopy(needs) == needs
    assert json.loads(json.dumps(dataclasses.asdict(needs)))["models"][0]["url"] == URL
    with pytest.raises(dataclasses.FrozenInstanceError):
        needs.models = ()  # type: ignore[misc]
