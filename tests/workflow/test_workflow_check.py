"""Checking workflows against a catalog, in the server's own words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfy_async.errors import ConversionError, UnknownInputError, WorkflowFormatError
from comfy_async.types import Problem
from comfy_async.workflow import NodeCatalog, Workflow
from comfy_async.workflow.check import check_graph

ROOT = Path(__file__).parents[2]
SD15 = ROOT / "examples/workflows/sd15_text2image_api.json"

Graph = dict[str, Any]


@pytest.fixture(scope="module")
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(ROOT / "tests/data/object_info.json.gz")


@pytest.fixture
def graph() -> Graph:
    """The SD1.5 workflow as a dict to damage."""
    loaded: Graph = json.loads(SD15.read_text())
    return loaded


def check(
    flow: Workflow | Graph,
    catalog: NodeCatalog,
    *,
    editor: dict[str, Any] | None = None,
    replacements: dict[str, Any] | None = None,
) -> list[Problem]:
    """Ask a workflow, made of a dict if need be, what is wrong with it."""
    if not isinstance(flow, Workflow):
        flow = Workflow.load(flow)
    if editor is not None:
        return check_graph(flow.graph, catalog, editor=editor, replacements=replacements)
    return flow.check(catalog, replacements=replacements)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """Return a node in API format."""
    return {"class_type": class_type, "inputs": inputs}


def errors(problems: list[Problem]) -> list[tuple[str | None, str | None, str]]:
    """Return (node, input, type) of the errors."""
    return [(p.node, p.input, p.type) for p in problems if p.severity == "error"]


def test_a_good_workflow_has_no_problems(graph: Graph, catalog: NodeCatalog) -> None:
    """The function takes a dict and a workflow, the method says the same."""
    assert check(graph, catalog) == []
    assert check(Workflow.load(SD15), catalog) == []
    assert Workflow.load(SD15).check(catalog) == []


@pytest.mark.parametrize("name", ["photo_api", "sd15_inpaint_api"])
def test_the_examples_are_good(catalog: NodeCatalog, name: str) -> None:
    """Those that load a picture, and its mask, run on a bare ComfyUI as they are."""
    flow = Workflow.load(ROOT / f"examples/workflows/{name}.json")
    assert check(flow, catalog) == []
    assert check(flow.with_inputs({"Photo.image": b"picture"}), catalog) == []


def put(node_id: str, name: str, value: Any) -> Callable[[Graph], None]:
    """Make a damage that puts a value."""

    def damage(graph: Graph) -> None:
        graph[node_id]["inputs"][name] = value

    return damage


def drop(node_id: str, name: str) -> Callable[[Graph], None]:
    """Make a damage that takes an input away."""

    def damage(graph: Graph) -> None:
        del graph[node_id]["inputs"][name]

    return damage


INNER, OUTER = "exception_during_inner_validation", "exception_during_validation"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (drop("3", "steps"), ("3", "steps", "required_input_missing")),
        (drop("3", "model"), ("3", "model", "required_input_missing")),
        (put("3", "model", ["99", 0]), ("3", "model", INNER)),
        (put("3", "model", [40, 0]), ("3", "model", INNER)),
        (put("3", "model", [1, 2]), ("3", "model", INNER)),
        (put("9", "images", ["99", 0]), ("9", "images", OUTER)),
        (put("3", "model", ["4", 3]), ("3", "model", INNER)),
        (put("3", "model", ["4", 0.0]), ("3", "model", INNER)),
        (put("3", "model", ["4", -4]), ("3", "model", INNER)),
        (put("3", "model", ["4", 1]), ("3", "model", "return_type_mismatch")),
        (put("3", "steps", ["4", 0]), ("3", "steps", "return_type_mismatch")),
        (put("3", "model", ["4"]), ("3", "model", "bad_linked_input")),
        (put("3", "steps", [1, 2, 3]), ("3", "steps", "bad_linked_input")),
        (put("3", "steps", "twenty"), ("3", "steps", "invalid_input_type")),
        (put("3", "steps", None), ("3", "steps", "invalid_input_type")),
        (put("3", "steps", "1.5"), ("3", "steps", "invalid_input_type")),
        (put("3", "cfg", {}), ("3", "cfg", "invalid_input_type")),
        (put("3", "steps", {"__value__": [1]}), ("3", "steps", "invalid_input_type")),
        (put("3", "steps", 0), ("3", "steps", "value_smaller_than_min")),
        (put("3", "steps", 10001), ("3", "steps", "value_bigger_than_max")),
        (put("3", "seed", 2**64), ("3", "seed", "value_bigger_than_max")),
        (put("3", "sampler_name", "eulr"), ("3", "sampler_name", "value_not_in_list")),
        (put("3", "sampler_name", None), ("3", "sampler_name", "value_not_in_list")),
        (put("4", "ckpt_name", "nope.safetensors"), ("4", "ckpt_name", "value_not_in_list")),
    ],
)
def test_what_the_server_refuses(
    graph: Graph, catalog: NodeCatalog, damage: Callable[[Graph], None], found: tuple[str, str, str]
) -> None:
    """Each damage is found once, at its place, under the server's own name for it."""
    damage(graph)
    assert errors(check(graph, catalog)) == [found]


@pytest.mark.parametrize(
    "damage",
    [
        put("3", "steps", "20"),
        put("3", "steps", " 7 "),
        put("3", "steps", 19.9),
        put("3", "steps", True),
        put("3", "steps", {"__value__": 5}),
        put("3", "cfg", "1e1"),
        put("3", "model", ["4", -3]),
        put("6", "text", 3),
        put("6", "text", None),
        put("6", "text", {"any": "thing"}),
        put("3", "nobody_knows", ["4", 0]),
        put("3", "nobody_knows", [1, 2, 3]),
        put("9", "filename_prefix", ""),
    ],
)
def test_what_the_server_takes(graph: Graph, catalog: NodeCatalog, damage: Callable[[Graph], None]) -> None:
    """Texts that hold numbers, odd texts, unknown inputs and negative slots are fine to it."""
    damage(graph)
    assert errors(check(graph, catalog)) == []


def test_links_to_nowhere_that_end_the_servers_worker(graph: Graph, catalog: NodeCatalog) -> None:
    """The server takes such a link in an input that nobody declares, and never runs anything again."""
    graph["3"]["inputs"]["nobody_knows"] = ["99", 0]
    (problem,) = check(graph, catalog)
    assert (problem.node, problem.input, problem.type) == ("3", "nobody_knows", "missing_link_source")
    assert problem.severity == "error"
    graph["3"]["class_type"] = "Unheard"
    assert errors(check(graph, catalog)) == [("3", None, "missing_node_type")]


def test_problems_say_where_what_and_what_instead(graph: Graph, catalog: NodeCatalog) -> None:
    """Title, value, nearest valid values: one readable line."""
    graph["3"]["inputs"]["sampler_name"] = "eulr"
    graph["3"]["_meta"]["title"] = "Base"
    (problem,) = check(graph, catalog)
    assert (problem.title, problem.class_type, problem.received) == ("Base", "KSampler", "eulr")
    assert problem.nearest[0] == "euler"
    assert str(problem).startswith("3 \"Base\" (KSampler), input 'sampler_name': 'eulr' is none of the ")
    graph["3"]["inputs"]["model"] = ["40", 0]
    assert check(graph, catalog)[0].nearest == ()


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (["a", "b"], "'x' is none of the 2 choices"),
        (["a"], "'x' is not the only valid choice"),
        ([], "the server has no choices"),
    ],
)
@pytest.mark.parametrize("kind", ["COMBO", "COMFY_DYNAMICCOMBO_V3"])
def test_however_many_choices_there_are(choices: list[str], words: str, kind: str) -> None:
    """One choice is not called one of the choices."""
    options = [{"key": choice, "inputs": {}} for choice in choices] if kind != "COMBO" else choices
    known = NodeCatalog(
        {"Pick": {"input": {"required": {"which": [kind, {"options": options}]}}, "output_node": True}}
    )
    found = check({"1": {"class_type": "Pick", "inputs": {"which": "x"}}}, known)
    assert words in str(found[0])


def test_nearest_names_are_near() -> None:
    """Beside a name that differs by a letter there is none that shares only a few."""
    flow = Workflow.load(
        {
            str(n): {"class_type": name, "inputs": {}}
            for n, name in enumerate(("KSampler", "VAELoader", "SaveImage"))
        }
    )
    with pytest.raises(UnknownInputError) as caught:
        flow.with_inputs({"KSampeler.seed": 1})
    assert caught.value.candidates == ("KSampler",)


def test_unknown_classes_are_all_listed(graph: Graph, catalog: NodeCatalog) -> None:
    """The server stops at the first; links through them are followed all the same."""
    graph["3"]["class_type"], graph["8"]["class_type"] = "KSamplr", "Unheard"
    graph["5"]["inputs"]["width"] = 0
    problems = check(graph, catalog)
    assert errors(problems) == [
        ("3", None, "missing_node_type"),
        ("8", None, "missing_node_type"),
        ("5", "width", "value_smaller_than_min"),
    ]
    assert problems[0].nearest[0] == "KSampler"
    assert "ComfyUI-Manager" in problems[1].advice


def test_no_output_node(graph: Graph, catalog: NodeCatalog) -> None:
    """A graph that saves nothing is refused as a whole."""
    del graph["9"]
    (problem,) = check(graph, catalog)
    assert (problem.node, problem.type) == (None, "prompt_no_outputs")
    assert "SaveImage" in problem.advice


def test_circles_name_all_their_nodes(graph: Graph, catalog: NodeCatalog) -> None:
    """A node that needs itself is told, those that only need it are not."""
    graph["11"] = node("ImageInvert", image=["12", 0])
    graph["12"] = node("ImageInvert", image=["11", 0])
    graph["13"] = node("PreviewImage", images=["12", 0])
    assert errors(check(graph, catalog)) == [
        ("11", None, "dependency_cycle"),
        ("12", None, "dependency_cycle"),
    ]


def test_a_long_chain_is_no_recursion(catalog: NodeCatalog) -> None:
    """Five thousand nodes in a row are checked."""
    graph = {"0": node("EmptyImage", width=64, height=64, batch_size=1, color=0)}
    for number in range(1, 5000):
        graph[str(number)] = node("ImageInvert", image=[str(number - 1), 0])
    graph["end"] = node("PreviewImage", images=["4999", 0])
    assert check(graph, catalog) == []


def test_what_no_output_needs_is_not_refused(graph: Graph, catalog: NodeCatalog) -> None:
    """The server does not look at it; a warning says that it does not run."""
    graph["20"] = node("KSampler", steps=-1)
    (problem,) = check(graph, catalog)
    assert (problem.node, problem.type, problem.severity) == ("20", "unused_node", "warning")


def test_deprecated_classes_are_warnings_after_the_errors(graph: Graph, catalog: NodeCatalog) -> None:
    """They run, so they do not stop anything."""
    graph["11"] = node("ImageBatch", image1=["8", 0], image2=["8", 0])
    graph["12"] = node("PreviewImage", images=["11", 0])
    graph["3"]["inputs"]["steps"] = 0
    first, second = check(graph, catalog)
    assert (first.type, first.severity) == ("value_smaller_than_min", "error")
    assert (second.node, second.type, second.severity) == ("11", "deprecated_node", "warning")


def test_dynamic_combos(catalog: NodeCatalog) -> None:
    """Parts are checked with their choice; a choice that is missing passes the server, with a warning."""

    def resized(**inputs: Any) -> Graph:
        image = node("EmptyImage", width=64, height=64, batch_size=1, color=0)
        resize = node("ResizeImageMaskNode", input=["1", 0], scale_method="area")
        resize["inputs"] |= {name.replace("__", "."): value for name, value in inputs.items()}
        return {"1": image, "2": resize, "3": node("PreviewImage", images=["2", 0])}

    assert check(resized(resize_type="scale width", resize_type__width=8), catalog) == []
    problems = check(resized(resize_type="scale width", resize_type__width=-1), catalog)
    assert errors(problems) == [("2", "resize_type.width", "value_smaller_than_min")]
    problems = check(resized(resize_type="scale width"), catalog)
    assert errors(problems) == [("2", "resize_type.width", "required_input_missing")]
    for inputs, kind in (({"resize_type": "widht"}, "value_not_in_list"), ({}, "required_input_missing")):
        (problem,) = check(resized(**inputs), catalog)
        assert (problem.input, problem.type, problem.severity) == ("resize_type", kind, "warning")


def test_autogrow_inputs(catalog: NodeCatalog) -> None:
    """The first copies are required, the others may be missing."""
    image = node("EmptyImage", width=64, height=64, batch_size=1, color=0)
    batch = node("BatchImagesNode", **{"images.image0": ["1", 0]})
    graph = {"1": image, "2": batch, "3": node("PreviewImage", images=["2", 0])}
    assert check(graph, catalog) == []
    batch["inputs"] = {"images.image5": ["1", 0]}
    assert errors(check(graph, catalog)) == [("2", "images.image0", "required_input_missing")]


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("example.png", None),
        ("example.png [input]", None),
        ("deeper/one.png", None),
        ("made.png [output]", None),
        ("", None),
        ("missing.png", "custom_validation_failed"),
        (3, INNER),
        (["1", 0], "return_type_mismatch"),
        (None, INNER),
    ],
)
def test_input_files(catalog: NodeCatalog, image: Any, found: str | None) -> None:
    """What is not in the input folder is told; what lies elsewhere cannot be known."""
    graph = {
        "1": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
        "2": node("LoadImage", image=image),
        "3": node("PreviewImage", images=["2", 0]),
    }
    types = [problem.type for problem in check(graph, catalog) if problem.severity == "error"]
    assert types[:1] == ([found] if found else [])


def test_3d_files_may_be_none_at_all() -> None:
    """Load3D takes no file, and looks for any other itself; its values are not held to lists."""
    spec = {"input": {"required": {"model_file": ["COMBO", {"options": ["none"]}]}}, "output_node": True}
    own = NodeCatalog({"Load3D": spec})
    for value in ("none", ""):
        assert check({"1": node("Load3D", model_file=value)}, own) == []
    assert errors(check({"1": node("Load3D", model_file="deeper/a.glb")}, own)) == []
    assert errors(check({"1": node("Load3D", model_file="a.glb")}, own)) == [
        ("1", "model_file", "custom_validation_failed")
    ]


def test_choices_of_old_nodes_are_types_of_links() -> None:
    """An output that is a list of values goes into the same list and into any COMBO."""
    own = NodeCatalog(
        {
            "Give": {"output": [["a", "b"]], "output_node": True},
            "Same": {"input": {"required": {"x": [["a", "b"]]}}, "output_node": True},
            "Other": {"input": {"required": {"x": [["c"]]}}, "output_node": True},
            "New": {"input": {"required": {"x": ["COMBO", {"options": ["c"]}]}}, "output_node": True},
        }
    )
    graph = {"1": node("Give"), **{name: node(name, x=["1", 0]) for name in ("Same", "Other", "New")}}
    assert errors(check(graph, own)) == [("Other", "x", "return_type_mismatch")]


def test_missing_input_files_come_with_advice(catalog: NodeCatalog) -> None:
    """The nearest file, and how to upload; without the input the node's own check breaks down."""
    graph = {"2": node("LoadImage", image="exampel.png"), "3": node("PreviewImage", images=["2", 0])}
    (problem,) = check(graph, catalog)
    assert problem.nearest == ("example.png",)
    assert "upload" in problem.advice
    graph["2"]["inputs"] = {}
    assert errors(check(graph, catalog)) == [("2", "image", "required_input_missing"), ("2", "image", INNER)]


@dataclasses.dataclass(frozen=True)
class Uploaded:
    """A file that is on the server already."""

    name_for_input: str


def test_files_to_upload_count_as_there(catalog: NodeCatalog, tmp_path: Path) -> None:
    """Paths that lead to a file, bytes and handles are no problem; what is not there is one."""
    flow = Workflow({"2": node("LoadImage", image="a"), "3": node("PreviewImage", images=["2", 0])})
    path = tmp_path / "new.png"
    (problem,) = flow.set("2", "image", path).check(catalog)
    assert errors([problem]) == [("2", "image", "missing_file")]
    assert "new.png' does not exist" in problem.message
    (problem,) = flow.set("2", "image", tmp_path).check(catalog)
    assert "is a folder" in problem.message
    path.write_bytes(b"picture")
    for value in (path, b"picture", Uploaded("new.png")):
        assert flow.set("2", "image", value).check(catalog) == []


@pytest.mark.parametrize(
    "value", ["x", 3, None, {"__value__": [1]}, b"picture", Path("face.png"), Uploaded("a")]
)
@pytest.mark.parametrize("place", [("3", "model"), ("3", "latent_image"), ("9", "images")])
def test_values_in_the_place_of_links(
    graph: Graph, catalog: NodeCatalog, place: tuple[str, str], value: Any
) -> None:
    """The server validates no such value, and the node fails when it runs."""
    flow = Workflow.load(graph).with_inputs({place: value})
    found = [problem for problem in flow.check(catalog) if problem.type != "unused_node"]
    assert [(one.node, one.input, one.type, one.severity) for one in found] == [
        (*place, "value_for_link", "warning")
    ]
    assert 'A link is ["node", slot]' in found[0].advice


def test_values_in_the_place_of_links_that_may_be_meant() -> None:
    """What a pack's node, or an optional input, makes of one is its own affair: None is nothing at all."""
    info = {"input": {"required": {"image": ["IMAGE"]}, "optional": {"mask": ["MASK"], "curve": ["CURVE"]}}}
    entry = {**info, "output": [], "output_name": [], "output_is_list": [], "output_node": True, "name": "A"}
    for module in ("nodes", "custom_nodes.pack"):
        catalog = NodeCatalog({"A": {**entry, "python_module": module}})
        found = check({"1": node("A", image="x", mask=None, curve="x")}, catalog)
        assert [(one.input, one.severity) for one in found] == [("image", "warning")]
        (found_mask, _) = check({"1": node("A", image="x", mask="x")}, catalog)[::-1]
        assert (found_mask.input, found_mask.severity) == ("mask", "warning")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("6", "text"), None, "the server converts None to 'None'"),
        (("6", "text"), {"any": "thing"}, "the server converts {'any': 'thing'}"),
        (("6", "text"), ["a", "b"], "the server converts ['a', 'b']"),
        (("3", "steps"), 19.9, "the server converts 19.9 to 19"),
        (("6", "text"), 3, ""),
        (("3", "steps"), 19.0, ""),
    ],
)
def test_values_that_the_server_changes(
    graph: Graph, catalog: NodeCatalog, place: tuple[str, str], value: Any, says: str
) -> None:
    """It makes a text of None, and cuts numbers off: a warning, for it runs."""
    found = Workflow.load(graph).with_inputs({place: value}).check(catalog)
    assert [(one.type, one.severity) for one in found] == [("value_changed", "warning")] * bool(says)
    assert all(says in one.message for one in found)


def test_nodes_that_validate_themselves(catalog: NodeCatalog) -> None:
    """CustomCombo takes any choice, but wants one."""
    graph = {
        "1": node("CustomCombo", choice="mine", index=0),
        "2": node("PreviewAny", source=["1", 0]),
    }
    assert check(graph, catalog) == []
    graph["1"] = node("CustomCombo")
    assert errors(check(graph, catalog)) == [
        ("1", "choice", "required_input_missing"),
        ("1", "choice", INNER),
    ]


@pytest.mark.parametrize(
    ("class_type", "field", "value"),
    [
        ("ModelAttentionBackend", "attention", "comfy kitchen attention"),
        ("SelectModelDevice", "device", "gpu:7"),
        ("SelectCLIPDevice", "device", "gpu:7"),
        ("SelectVAEDevice", "device", "gpu:7"),
    ],
)
def test_what_a_machine_lacks_is_taken(catalog: NodeCatalog, class_type: str, field: str, value: str) -> None:
    """The server takes it, and runs without: its list is no bound."""
    graph = {"1": node(class_type, **{field: value}), "2": node("PreviewAny", source=["1", 0])}
    found = errors(check(graph, catalog))
    assert ("1", field, "value_not_in_list") not in found
    assert {kind for _, _, kind in found} == {"required_input_missing"}  # the model itself


def test_path_separators_are_matched_either_way(catalog: NodeCatalog) -> None:
    """A model that another system spells otherwise is refused, though not missing: localized() helps."""
    own = NodeCatalog(
        {
            **catalog.raw,
            "Loader": {"input": {"required": {"name": [["sub\\a.safetensors"]]}}, "output_node": True},
        }
    )
    flow = Workflow({"1": node("Loader", name="sub/a.safetensors")})
    (problem,) = flow.check(own)
    assert (problem.severity, problem.nearest) == ("error", ("sub\\a.safetensors",))
    assert flow.localized(own).check(own) == []


def test_choices_of_every_shape() -> None:
    """Several at once, none at all, and numbers that cannot be compared."""
    own = NodeCatalog(
        {
            "A": {
                "input": {
                    "required": {
                        "many": ["COMBO", {"options": ["a", "b"], "multiselect": True}],
                        "remote": ["COMBO", {"remote": {}}],
                        "mixed": ["INT,FLOAT", {"min": 0}],
                    }
                },
                "output_node": True,
            }
        }
    )
    flow = {"1": node("A", many={"__value__": ["a", "c"]}, remote="x", mixed="three")}
    assert errors(check(flow, own)) == [
        ("1", "many", "value_not_in_list"),
        ("1", "remote", "value_not_in_list"),
        ("1", "mixed", OUTER),
    ]
    flow = {"1": node("A", many={"__value__": ["a", "b"]}, remote="x", mixed=1)}
    assert [problem.received for problem in check(flow, own)] == ["x"]


EDITOR: Graph = {
    "nodes": [
        {"id": 1, "type": "Pack Node", "properties": {"cnr_id": "comfyui-some-pack", "ver": "1.2"}},
        {"id": 2, "type": "New Node", "properties": {"cnr_id": "comfy-core", "ver": "0.40.0"}},
        {"id": 3, "type": "Bad", "properties": []},
        4,
    ],
    "models": [
        {
            "name": "nope.safetensors",
            "url": "https://models.example/nope.safetensors",
            "directory": "checkpoints",
        }
    ],
    "definitions": {
        "subgraphs": [
            {
                "nodes": [
                    {
                        "id": 1,
                        "type": "Inner Node",
                        "properties": {
                            "aux_id": "somebody/nodes",
                            "models": [{"name": "x.safetensors", "directory": "vae"}, {"url": 3}, 5],
                        },
                    }
                ]
            }
        ]
    },
}


def test_the_editor_file_knows_packs_versions_and_models(graph: Graph, catalog: NodeCatalog) -> None:
    """Advice names the pack, the ComfyUI version, the folder and the download link."""
    graph["20"], graph["21"], graph["22"] = node("Pack Node"), node("New Node"), node("Inner Node")
    graph["23"] = node("T2IAdapterLoader", control_net_name="x")
    graph["4"]["inputs"]["ckpt_name"] = "sub/nope.safetensors"
    graph["10"]["inputs"]["vae_name"] = "x.safetensors"
    del graph["8"]["inputs"]["vae"]
    graph["8"]["inputs"]["vae"] = ["10", 0]
    advice = {problem.node: problem.advice for problem in check(graph, catalog, editor=EDITOR)}
    assert "'comfyui-some-pack'" in advice["20"]
    assert "ComfyUI itself (0.40.0 when the file was made)" in advice["21"]
    assert "'somebody/nodes'" in advice["22"]
    assert "ControlNetLoader" in advice["23"]
    assert advice["4"] == (
        "It belongs in models/checkpoints on the server; download: https://models.example/nope.safetensors."
    )
    assert advice["10"] == "It belongs in models/vae on the server."
    assert check(graph, catalog)[-1].advice == "It belongs in models/vae on the server."


def test_replaced_classes_are_checked_as_what_they_become(catalog: NodeCatalog) -> None:
    """With the server's table of replacements an old class is a warning, its slots and inputs mapped."""
    table = {
        "OldImage": [
            {
                "new_node_id": "EmptyImage",
                "input_mapping": [
                    {"new_id": "width", "old_id": "w"},
                    {"new_id": "height", "set_value": 64},
                    {"new_id": "batch_size", "set_value": 1},
                    {"new_id": "color", "old_id": "missing"},
                ],
                "output_mapping": [{"old_idx": 3, "new_idx": 0}],
            }
        ],
        "Other": [{"new_node_id": "Nobody"}],
        "Odd": 3,
    }
    graph = {"1": node("OldImage", w=64), "2": node("PreviewImage", images=["1", 3]), "3": node("Other")}
    problems = check(graph, catalog, replacements=table)
    assert [(problem.node, problem.type, problem.severity) for problem in problems] == [
        ("3", "missing_node_type", "error"),
        ("1", "required_input_missing", "error"),
        ("1", "replaced_node", "warning"),
    ]
    assert check(graph, catalog)[0].type == "missing_node_type"


def test_an_editor_file_is_converted_first(catalog: NodeCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be converted is the list of problems."""
    flow = Workflow.load(ROOT / "examples/workflows/sd15_text2image_ui.json")
    inner = Problem(node="1", class_type="KSamplr", type="missing_node_type", message="no such class")

    def refuse(*_: Any) -> Workflow:
        raise ConversionError("cannot be converted", problems=found)

    monkeypatch.setattr(Workflow, "from_ui", refuse)
    found = [inner]
    (problem,) = flow.check(catalog)
    assert (problem.node, problem.nearest[0]) == ("1", "KSampler")
    assert "ComfyUI-Manager" in problem.advice
    found = [dataclasses.replace(inner, advice="known")]
    assert flow.check(catalog) == found
    found = []
    assert flow.check(catalog)[0].message == "cannot be converted"


def test_damage_is_no_problem_but_an_error(catalog: NodeCatalog) -> None:
    """What is no graph at all cannot be checked."""
    with pytest.raises(WorkflowFormatError):
        check({"1": {"class_type": None, "inputs": {}}}, catalog)
