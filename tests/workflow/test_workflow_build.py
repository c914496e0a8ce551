"""Workflows in Python code, and typed stubs for it."""

from __future__ import annotations

import ast
import copy
import importlib.util
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from check_tools import Mypy

from comfy_async.errors import UnknownInputError, WorkflowError, WorkflowFormatError
from comfy_async.workflow import NodeCatalog, Workflow
from comfy_async.workflow.build import BuiltNode, Output, Outputs, write_stubs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(ROOT / "tests/data/object_info.json.gz")


def test_the_sd15_workflow_in_code(catalog: NodeCatalog) -> None:
    """Nodes are calls, inputs keywords, outputs values: the result is the exported file."""
    graph = Workflow.build(catalog)
    model, clip, _ = graph.CheckpointLoaderSimple(
        ckpt_name="v1-5-pruned-emaonly-fp16.safetensors", _id="4", _title="Load Checkpoint"
    )
    text = "beautiful scenery nature glass bottle landscape, , purple galaxy bottle,"
    title = "CLIP Text Encode (Prompt)"
    samples = graph.KSampler(
        model=model,
        positive=graph.CLIPTextEncode(text=text, clip=clip, _id="6", _title=title),
        negative=graph.CLIPTextEncode(text="text, watermark", clip=clip, _id="7", _title=title),
        latent_image=graph.EmptyLatentImage(width=512, height=512, _id="5", _title="Empty Latent Image"),
        seed=1234,
        cfg=8,
        scheduler="normal",
        _id="3",
        _title="KSampler",
    )
    vae = graph.VAELoader(vae_name="vae-ft-mse-840000-ema-pruned.safetensors", _id="10", _title="Load VAE")
    images = graph.VAEDecode(samples=samples, vae=vae, _id="8", _title="VAE Decode")
    graph.SaveImage(images=images, _id="9", _title="Save Image")
    assert graph.workflow() == Workflow.load(ROOT / "examples/workflows/sd15_text2image_api.json")
    assert graph.workflow().check(catalog) == []


def test_outputs_by_number_name_and_unpacking(catalog: NodeCatalog) -> None:
    """One output is a value; several unpack and have names; none is none."""
    graph = Workflow.build(catalog)
    loader = graph.CheckpointLoaderSimple(ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    assert isinstance(loader, Outputs)
    assert loader.CLIP == loader[1] == ("1", 1)
    assert (loader.CLIP.type, loader.node, len(loader)) == ("CLIP", "1", 3)
    with pytest.raises(AttributeError, match="MODEL, CLIP, VAE"):
        _ = loader.IMAGE
    with pytest.raises(WorkflowError, match=r"takes one output.*loader\.MODEL"):
        graph.CLIPTextEncode(text="x", clip=loader)
    encoded = graph.CLIPTextEncode(text="x", clip=loader.CLIP)
    assert isinstance(encoded, Output)
    assert repr(encoded) == "<Output 2:0 CONDITIONING>"
    for value in (loader, encoded):
        assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
    assert graph.VAESave(vae=loader.VAE) == ()


def test_an_output_goes_into_any_workflow(catalog: NodeCatalog) -> None:
    """It is the link itself, so with_inputs takes it."""
    graph = Workflow.build(catalog)
    graph.SaveImage(images=graph.EmptyImage())
    other = graph.EmptyImage(color=255)
    flow = graph.workflow().with_inputs({"SaveImage.images": other})
    assert flow.to_api()["2"]["inputs"]["images"] == ["3", 0]


def test_without_a_catalog() -> None:
    """Nothing is checked, a node stands for its first output, others go by number."""
    graph = Workflow.build()
    loader = graph.CheckpointLoaderSimple(ckpt_name="a")
    assert isinstance(loader, BuiltNode)
    assert repr(loader) == "<BuiltNode 1>"
    graph.KSampler(model=loader, vae=loader[2], latents=[1, 2])
    graph.Resize(kind="w", kind__width=3, from_=1, _private=2)
    assert graph.workflow().to_api() == {
        "1": {"inputs": {"ckpt_name": "a"}, "class_type": "CheckpointLoaderSimple"},
        "2": {
            "inputs": {"model": ["1", 0], "vae": ["1", 2], "latents": {"__value__": [1, 2]}},
            "class_type": "KSampler",
        },
        "3": {"inputs": {"kind": "w", "kind.width": 3, "from": 1, "_private": 2}, "class_type": "Resize"},
    }
    with pytest.raises(WorkflowError, match="with a catalog"):
        _, _ = loader
    assert repr(graph) == "<GraphBuilder 3 nodes>"


def test_dynamic_inputs_and_names_that_python_lacks(catalog: NodeCatalog) -> None:
    """Two underscores are a dot; other signs are one; `node` takes any class name."""
    odd = {
        "Odd One": {
            "input": {"required": {"my input": ["INT", {"default": 1}], "class": ["INT", {"default": 2}]}},
            "output": ["A", "A", "B"],
            "output_name": ["count", "x y", "x y"],
        }
    }
    both = NodeCatalog({**catalog.raw, **odd})
    graph = Workflow.build(both)
    outputs = graph.Odd_One(my_input=5, class_=6)
    assert (outputs.count_0, outputs.x_y, outputs.x_y_2) == (("1", 0), ("1", 1), ("1", 2))
    inputs: dict[str, Any] = {"my input": 7}
    graph.node("Odd One", **inputs)
    image = graph.EmptyImage()
    scaled = graph.ResizeImageMaskNode(input=image, resize_type="scale width", resize_type__width=64)
    graph.BatchImagesNode(images__image0=image, images__image1=scaled)
    api = graph.workflow().to_api()
    assert api["1"]["inputs"] == {"my input": 5, "class": 6}
    assert api["2"]["inputs"] == {"my input": 7, "class": 2}
    assert api["4"]["inputs"]["resize_type.width"] == 64
    assert api["5"]["inputs"] == {"images.image0": ["3", 0], "images.image1": ["4", 0]}
    assert "Odd_One" in dir(graph)


@pytest.mark.parametrize(
    ("class_type", "inputs", "says"),
    [
        ("KSamplr", {}, "nearest: KSampler"),
        ("EmptyLatentImage", {"widht": 3}, "nearest: width"),
        ("EmptyLatentImage", {"width": 3}, "too small"),
        ("EmptyLatentImage", {"width": "wide"}, "not a whole number"),
        ("SaveImage", {}, "required"),
        ("SaveImage", {"images": Output("1", 1)}, "takes IMAGE"),
        ("SaveImage", {"images": Output("9")}, "leads to no node"),
        ("EmptyLatentImage", {"_id": "1"}, "taken"),
    ],
)
def test_what_the_server_would_refuse_is_refused_at_once(
    catalog: NodeCatalog, class_type: str, inputs: dict[str, Any], says: str
) -> None:
    """A wrong call adds nothing."""
    graph = Workflow.build(catalog)
    graph.CheckpointLoaderSimple(ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    with pytest.raises((UnknownInputError, WorkflowError), match=says):
        graph.node(class_type, **inputs)
    assert len(graph.workflow()) == 1


def test_building_on_a_workflow() -> None:
    """An existing graph can be gone on with; it stays what it was."""
    start = Workflow.load(ROOT / "examples/workflows/sd15_text2image_api.json")
    graph = Workflow.build(start=start)
    graph.PreviewImage(images=Output("8"))
    grown = graph.workflow()
    graph.PreviewImage(images=Output("8"))
    assert (len(start), len(grown), len(graph.workflow())) == (8, 9, 10)
    with pytest.raises(WorkflowFormatError):
        Workflow.build(start=Workflow.load(ROOT / "examples/workflows/sd15_text2image_ui.json"))


def test_private_names_are_no_classes() -> None:
    """Copying, notebooks and hasattr ask for names that no class has."""
    graph = Workflow.build()
    assert not hasattr(graph, "_repr_html_")
    assert not hasattr(graph, "__deepcopy__")


SAMPLE = """
from comfy_nodes import IMAGE, Nodes

graph = Nodes()
model, clip, vae = graph.CheckpointLoaderSimple(ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
latent = graph.EmptyLatentImage(width=64, _title="Size")
text = graph.CLIPTextEncode(text="a", clip=clip)
samples = graph.KSampler(
    model=model, positive=text, negative=text, latent_image=latent, sampler_name="euler", scheduler="karras"
)
picture: IMAGE = graph.VAEDecode(samples=samples, vae=vae)
scaled = graph.ResizeImageMaskNode(input=picture, resize_type="scale width", resize_type__width=3)
graph.BatchImagesNode(images__image0=picture, images__image1=scaled)
graph.SaveImage(images=picture)
loaded = graph.LoadImage(image="example.png")
graph.ImageInvert(image=loaded.IMAGE)
nothing = graph.VAESave(vae=vae)
"""

WRONG = {
    "graph.VAEDecode(samples=samples, vae=picture)": "IMAGE",
    'graph.EmptyLatentImage(width="wide")': "width",
    "graph.EmptyLatentImage(widht=3)": "widht",
    'graph.ResizeImageMaskNode(input=picture, resize_type="scale widht")': "scale widht",
    "graph.KSamplr()": "KSamplr",
    "graph.SaveImage()": "images",
    "graph.ImageInvert(image=loaded)": "image",
    "graph.ImageInvert(image=loaded.IMGAE)": "IMGAE",
    "graph.ImageInvert(image=nothing)": "image",
}


def test_stubs_let_type_checkers_check(catalog: NodeCatalog, tmp_path: Path, strict_mypy: Mypy) -> None:
    """Good code passes mypy --strict, each mistake is found, and nothing else is."""
    names = {node.split("(")[0].removeprefix("graph.") for node in WRONG} & set(catalog)
    names |= {
        "CheckpointLoaderSimple",
        "CLIPTextEncode",
        "KSampler",
        "BatchImagesNode",
        "LoadImage",
        "VAESave",
    }
    some = NodeCatalog({name: catalog[name] for name in catalog if name in names})
    write_stubs(some, tmp_path)
    (tmp_path / "sample.py").write_text(SAMPLE + "\n".join(WRONG))
    told = strict_mypy(tmp_path, "sample.py", "comfy_nodes.pyi")
    found = [line for line in told if ": error:" in line]
    assert len(found) == len(WRONG), told
    for line, word in zip(found, WRONG.values(), strict=True):
        assert word in line


def nodes_module(runtime: Path) -> ModuleType:
    """Load a module that was written."""
    spec = importlib.util.spec_from_file_location("comfy_nodes", runtime)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_type_checkers_refuse_is_refused_when_it_runs(catalog: NodeCatalog, tmp_path: Path) -> None:
    """Without a catalog too: outputs have their names, defaults are filled in, mistakes raise."""
    runtime, _ = write_stubs(catalog, tmp_path)
    module = nodes_module(runtime)
    names: dict[str, Any] = {}
    sample = SAMPLE.replace("from comfy_nodes import IMAGE, Nodes", "").replace("picture: IMAGE", "picture")
    exec(sample, {"Nodes": module.Nodes}, names)
    flow = names["graph"].workflow()
    assert {problem.type for problem in flow.check(catalog)} == {"unused_node"}
    assert flow.get("4", "steps") == 20
    for wrong in WRONG:
        with pytest.raises((WorkflowError, AttributeError)):
            exec(wrong, names)
    assert names["graph"].workflow() == flow
    assert repr(module.Nodes()) == "<Nodes 0 nodes>"
    known = NodeCatalog({"EmptyImage": catalog["EmptyImage"]})
    assert module.Nodes(known).catalog is known


def test_stubs_of_a_whole_server_are_python(catalog: NodeCatalog, tmp_path: Path) -> None:
    """All 887 classes have a method; equal catalogs make equal files; the module works."""
    runtime, stub = write_stubs(catalog, tmp_path / "deep")
    tree = ast.parse(stub.read_text())
    nodes = next(item for item in tree.body if isinstance(item, ast.ClassDef) and item.name == "Nodes")
    methods = {item.name for item in nodes.body if isinstance(item, ast.FunctionDef)}
    assert len(methods - {"__init__", "node", "workflow"}) == 887
    before = {file.name: file.read_bytes() for file in stub.parent.iterdir()}
    write_stubs(catalog, tmp_path / "deep")
    assert {file.name: file.read_bytes() for file in stub.parent.iterdir()} == before
    module = nodes_module(runtime)
    assert module.Nodes(catalog).EmptyImage() == ("1", 0)


def test_stubs_of_odd_classes_are_python(tmp_path: Path) -> None:
    """Whatever names, texts and defaults a node pack has, the file stays valid."""
    odd = NodeCatalog(
        {
            "node": {},
            "2 B or not": {
                "description": 'quotes """ and \\ and \ud83d"',
                "input": {
                    "required": {
                        "a b": ["INT", {"default": 1.5, "min": -1, "max": 2}],
                        "text": ["STRING", {"default": 'x"""\\\n\ud83d'}],
                        "any": ["*"],
                        "either": ["A,B", {}],
                        "choice": [["a'", 'b"', "\n"], {"default": 'b"'}],
                        "numbers": [[1, 2, 2, True], {}],
                        "mixed": [[1.5, "x"], {}],
                        "none": [[], {}],
                        "slot": ["COMFY_DYNAMICSLOT_V3", {"inputs": {"required": {"in": ["A"]}}}],
                        "colour": ["COLOR", {"default": "#fff"}],
                        "forced": ["INT", {"forceInput": True, "default": 3}],
                        "image": [["a"], {"image_upload": True}],
                        "many": ["COMBO", {"options": ["a"], "multiselect": True}],
                    }
                },
                "output": ["node", "2 B or not", "Any", ["a", "b"]],
                "output_name": ["", "count", "x", "x"],
            },
        }
    )
    tree = ast.parse(write_stubs(odd, tmp_path)[1].read_text())
    text = ast.unparse(tree)
    assert "def n_2_B_or_not(" in text
    assert "a_b: int | _INT=1.5" in text
    assert "numbers: Literal[1, 2, True] | _COMBO" in text
    assert "forced: _INT" in text
    assert "many: list[Literal['a']] | _COMBO" in text
    assert "slot__in: _A=..." in text
