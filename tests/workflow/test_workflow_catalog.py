"""Node catalogs: loading, typed access, search."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
from pathlib import Path

import pytest

from comfy_async.errors import WorkflowFormatError
from comfy_async.workflow import NodeCatalog

OBJECT_INFO = Path(__file__).parents[1] / "data/object_info.json.gz"


@pytest.fixture(scope="module")
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(OBJECT_INFO)


def test_is_a_mapping_of_plain_object_info(catalog: NodeCatalog) -> None:
    """Length, membership, iteration and entries are those of the JSON."""
    plain = json.loads(gzip.decompress(OBJECT_INFO.read_bytes()))
    assert len(catalog) == len(plain) == 887
    assert "KSampler" in catalog
    assert "Nope" not in catalog
    assert catalog["KSampler"] == plain["KSampler"]
    assert catalog.get("Nope") is None
    assert list(catalog) == list(plain)
    assert catalog.raw == plain
    assert repr(catalog) == "<NodeCatalog 887 classes>"


@pytest.mark.parametrize("name", ["catalog.json", "catalog.json.gz"])
def test_save_and_load(catalog: NodeCatalog, tmp_path: Path, name: str) -> None:
    """A saved catalog is the same again, plain or compressed, and equal ones make equal files."""
    path = catalog.save(tmp_path / name)
    assert NodeCatalog.load(path) == catalog
    assert NodeCatalog.load(path.read_bytes()) == catalog
    assert catalog.save(tmp_path / f"again-{name}").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("[]", "JSON object"),
        ('{"3": {"class_type": "KSampler", "inputs": {}}}', "not a node class"),
        ('{"KSampler": 3}', "not a node class"),
        ('{"KSampler": ', "line 1, column 14"),
        (b"\x1f\x8bxx", "damaged"),
    ],
)
def test_refuses_what_is_no_object_info(source: str | bytes, says: str) -> None:
    """A workflow or a damaged file is named as such."""
    with pytest.raises(WorkflowFormatError, match=says):
        NodeCatalog.load(source)


def test_inputs_are_typed_and_in_order(catalog: NodeCatalog) -> None:
    """Name, type, range, default and choices come as the editor shows them."""
    names = [spec.name for spec in catalog.inputs("KSampler")]
    assert names[:5] == ["model", "seed", "steps", "cfg", "sampler_name"]
    seed, steps = catalog.input("KSampler", "seed"), catalog.input("KSampler", "steps")
    sampler = catalog.input("KSampler", "sampler_name")
    assert seed is not None
    assert steps is not None
    assert sampler is not None
    assert (seed.type, seed.is_seed, seed.max) == ("INT", True, 2**64 - 1)
    assert (steps.default, steps.min, steps.required, steps.is_seed) == (20, 1, True, False)
    assert sampler.type == "COMBO"
    assert sampler.choices is not None
    assert sampler.choices[0] == sampler.default == "euler"
    assert catalog.inputs("Nope") == ()
    assert catalog.outputs("Nope") == ()
    assert catalog.input("Nope", "x") is None
    assert catalog.input("KSampler", "x") is None


def test_both_spellings_of_a_choice(catalog: NodeCatalog) -> None:
    """`[[...], {...}]` and `["COMBO", {"options": [...]}]` read the same."""
    old = NodeCatalog({"A": {"input": {"required": {"c": [["x", "y"], {"default": "y"}]}}}})
    new = NodeCatalog(
        {"A": {"input": {"required": {"c": ["COMBO", {"options": ["x", "y"], "default": "y"}]}}}}
    )
    for kind in (old, new):
        spec = kind.input("A", "c")
        assert spec is not None
        assert (spec.type, spec.choices, spec.default) == ("COMBO", ("x", "y"), "y")


def test_sections_and_hidden_inputs(catalog: NodeCatalog) -> None:
    """Hidden inputs are known but no input of a prompt."""
    node = catalog.node("SaveImage")
    assert [(spec.name, spec.section) for spec in node.all_inputs] == [
        ("images", "required"),
        ("filename_prefix", "required"),
        ("prompt", "hidden"),
        ("extra_pnginfo", "hidden"),
    ]
    assert [spec.name for spec in node.inputs] == ["images", "filename_prefix"]
    assert node.output_node
    assert not node.deprecated
    assert node.python_module == "nodes"
    assert node.display_name == "Save Image"
    assert not node.api_node
    assert repr(node) == "<NodeClass SaveImage: 2 inputs, 1 output>"


def test_outputs(catalog: NodeCatalog) -> None:
    """Slots have a type and a name."""
    outputs = catalog.outputs("CheckpointLoaderSimple")
    assert [(out.slot, out.type, out.name) for out in outputs] == [
        (0, "MODEL", "MODEL"),
        (1, "CLIP", "CLIP"),
        (2, "VAE", "VAE"),
    ]


def test_dynamic_inputs_unfold_with_the_values(catalog: NodeCatalog) -> None:
    """A dynamic combo brings its option's inputs, an autogrow input its copies."""
    folded = [spec.name for spec in catalog.inputs("ResizeImageMaskNode")]
    assert "resize_type" in folded
    unfolded = [spec.name for spec in catalog.inputs("ResizeImageMaskNode", {"resize_type": "scale width"})]
    assert unfolded == ["input", "resize_type", "resize_type.width", "scale_method"]
    unknown = [spec.name for spec in catalog.inputs("ResizeImageMaskNode", {"resize_type": "?"})]
    assert unknown == ["input", "scale_method"]
    grown = catalog.inputs("BatchImagesNode", {})
    assert [spec.name for spec in grown[:2]] == ["images.image0", "images.image1"]
    assert [spec.required for spec in grown[:2]] == [True, False]
    assert len(grown) == 50


def test_every_class_of_a_real_server_reads(catalog: NodeCatalog) -> None:
    """All 887 classes have typed inputs and outputs with a name and a type."""
    for name in catalog:
        node = catalog.node(name)
        assert all(spec.name and spec.type for spec in node.all_inputs)
        assert all(output.name and output.type for output in node.outputs)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"input": None, "output": None},
        {"input": {"required": [], "optional": {"a": None, "b": [], "c": "INT", "d": [["x"]]}}},
        {"input": {"required": {"a": ["COMFY_AUTOGROW_V3", {"template": {"input": {}, "names": ["x"]}}]}}},
        {"input": {"required": {"b": ["COMFY_DYNAMICSLOT_V3", {"inputs": 3}]}}},
        {"input": {"required": {"a": ["COMFY_AUTOGROW_V3", {}], "b": ["COMFY_DYNAMICCOMBO_V3"]}}},
        {"output": ["A", ["x", "y"]], "output_name": ["n"], "output_is_list": 3},
        {"input_order": {"required": ["z", 3]}, "input": {"required": {"a": ["INT", 3]}}},
    ],
)
def test_odd_entries_of_custom_nodes_do_not_break_it(entry: dict[str, object]) -> None:
    """What a careless node pack declares costs that node, not the catalog."""
    catalog = NodeCatalog({"Odd": entry})
    for spec in (*catalog.inputs("Odd"), *catalog.inputs("Odd", {"b": 1})):
        assert (spec.default, spec.min, spec.max, spec.force_input) == (spec.default, None, None, False)
    assert all(out.type for out in catalog.outputs("Odd"))


def test_search_ranks_names_first(catalog: NodeCatalog) -> None:
    """The exact name, then names that begin so, then the rest; all words must occur."""
    found = [node.name for node in catalog.search("ksampler")]
    assert found[0] == "KSampler"
    assert found[1] == "KSamplerAdvanced"
    assert [node.name for node in catalog.search("load checkpoint")][0] == "CheckpointLoaderSimple"
    assert catalog.search("") == catalog.search("xyzzy ksampler") == []


def test_classes_that_were_read_again() -> None:
    """Newer entries take the place of older ones; what the server no longer has is gone; the rest stays."""
    first = NodeCatalog({"A": {"output": ["X"]}, "B": {}, "C": {"output": []}}, editor="1.49.6")
    second = first.updated({"A": {"output": ["Y"]}, "C": {}, "D": {"output": ["Z"]}})
    assert [output.type for output in second.outputs("A")] == ["Y"]
    assert [output.type for output in first.outputs("A")] == ["X"]
    assert set(second) == {"A", "B", "D"}
    assert second.editor == "1.49.6"
    with pytest.raises(WorkflowFormatError):
        first.updated({"A": "no entry"})


def test_what_was_read_out_of_it_stays_behind() -> None:
    """Copies, also those in other processes, have the entries and the editor, and read them anew."""
    first = NodeCatalog({"A": {"output": ["X"]}}, editor="1.49.6")
    first.readings["mine"] = object()
    for second in (copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert second == first
        assert second.editor == "1.49.6"
        assert second.readings == {}
    assert first.updated({}).readings == {}
