"""Rewiring workflows, drawing seeds, listing what is worth changing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from comfy_async.errors import UnknownInputError, WorkflowError, WorkflowFormatError
from comfy_async.workflow import NodeCatalog, Workflow

ROOT = Path(__file__).parents[2]
SD15 = ROOT / "examples/workflows/sd15_text2image_api.json"
SUBGRAPH = ROOT / "examples/workflows/sd15_subgraph_ui.json"


@pytest.fixture
def sd15() -> Workflow:
    """The SD1.5 workflow in API format."""
    return Workflow.load(SD15)


@pytest.fixture(scope="module")
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(ROOT / "tests/data/object_info.json.gz")


def node(class_type: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    """Return a node in API format."""
    made: dict[str, Any] = {"class_type": class_type, "inputs": inputs}
    return {**made, "_meta": {"title": title}} if title else made


def test_set_changes_one_input(sd15: Workflow, catalog: NodeCatalog) -> None:
    """`set` is with_inputs for one input."""
    assert sd15.set("KSampler", "seed", 5) == sd15.with_inputs({"3.seed": 5})
    assert sd15.set("KSampler.seed", 5) == sd15.set(3, "seed", 5)
    assert sd15.set("3.seed", None).get("3", "seed") is None
    assert sd15.set("3", "new", 5, add=True).get("3", "new") == 5
    with pytest.raises(UnknownInputError):
        sd15.set("3", "new", 5, catalog=catalog)


def test_a_node_goes_in_between_and_out_again(sd15: Workflow, catalog: NodeCatalog) -> None:
    """Add a LoRA, lead all links over it but its own, bypass it, and all is as before."""
    links = {"model": ["4", 0], "clip": ["4", 1], "lora_name": "style.safetensors"}
    flow = sd15.add("LoraLoader", links, id="lora", title="Style", catalog=catalog)
    assert flow.get("lora", "strength_model") == 1.0
    flow = flow.replace(("4", 0), ("Style", 0)).replace(["4", 1], ("lora", 1))
    assert flow.get("3", "model") == ["lora", 0]
    assert flow.get("6", "clip") == flow.get("7", "clip") == ["lora", 1]
    assert flow.get("lora", "model") == ["4", 0]
    assert flow.title("lora") == "Style"
    assert flow.bypass("Style", catalog) == sd15


def test_replace_keeps_slots_when_none_is_named(sd15: Workflow) -> None:
    """A node for a node: each slot keeps its number; sd15 itself stays as it is."""
    flow = sd15.add("CheckpointLoaderSimple", {"ckpt_name": "b"}, id="b").replace("4", "b")
    assert (flow.get("3", "model"), flow.get("6", "clip")) == (["b", 0], ["b", 1])
    assert sd15.get("3", "model") == ["4", 0]


@pytest.mark.parametrize("end", [("4", -1), ("4", True), ("4", "x"), "nope", ("nope", 0), "CLIPTextEncode"])
def test_replace_refuses_what_is_no_output(sd15: Workflow, end: Any) -> None:
    """Unknown or ambiguous nodes and odd slots are named."""
    with pytest.raises(UnknownInputError):
        sd15.replace(end, "4")
    with pytest.raises(UnknownInputError):
        sd15.replace("4", end)


def test_remove_and_mute_take_the_links_along(sd15: Workflow) -> None:
    """What was linked to a removed node loses that input and nothing else."""
    flow = sd15.remove("4", "Load VAE")
    assert set(flow.nodes) == {"3", "5", "6", "7", "8", "9"}
    assert "model" not in flow.to_api()["3"]["inputs"]
    assert list(flow.to_api()["8"]["inputs"]) == ["samples"]
    assert flow.get("3", "latent_image") == ["5", 0]
    assert sd15.mute("4") == sd15.remove("4")
    with pytest.raises(UnknownInputError):
        sd15.remove("nope")


def test_bypass_goes_by_type_as_the_editor_does(catalog: NodeCatalog) -> None:
    """The exact type wins, an output that no input has is dropped, an unlinked input hands on nothing."""
    flow = Workflow.load(
        {
            "1": node("CheckpointLoaderSimple", ckpt_name="a"),
            "2": node("EmptyLatentImage", width=1, height=1, batch_size=1),
            "3": node("KSampler", model=["1", 0], latent_image=["2", 0]),
            "4": node("VAEDecode", samples=["3", 0], vae=["1", 2]),
            "5": node("SaveImage", images=["4", 0]),
            "6": node("Unheard", samples=["3", 0]),
        }
    )
    bypassed = flow.bypass("3", catalog)
    assert bypassed.get("4", "samples") == ["2", 0]
    assert bypassed.get("6", "samples") == ["2", 0]
    assert "3" not in bypassed.nodes
    assert "images" not in flow.bypass("4", catalog).to_api()["5"]["inputs"]
    lonely = flow.remove("2").bypass("3", catalog)
    assert "samples" not in lonely.to_api()["4"]["inputs"]
    with pytest.raises(WorkflowError, match="not in the catalog"):
        flow.bypass("6", catalog)


def test_bypass_without_a_catalog_goes_by_name(sd15: Workflow) -> None:
    """A LoRA hands on by name, a node with one link hands on that, others ask for a catalog."""
    lora = {"model": ["4", 0], "clip": ["4", 1], "lora_name": "a"}
    flow = (
        sd15.add("LoraLoader", lora, id="lora").replace(("4", 0), ("lora", 0)).replace(("4", 1), ("lora", 1))
    )
    assert flow.bypass("lora") == sd15
    inverted = sd15.add("ImageInvert", {"image": ["8", 0]}, id="i").replace("8", "i")
    assert inverted.bypass("i") == sd15
    assert "latent_image" not in sd15.bypass("5").to_api()["3"]["inputs"]
    with pytest.raises(WorkflowError, match="depends on types"):
        sd15.bypass("3")
    looped = Workflow.load({"1": node("A", x=["1", 0]), "2": node("B", x=["1", 0])})
    assert looped.bypass("1").to_api() == {"2": node("B")}


def test_bypass_of_outputs_that_take_any_type() -> None:
    """An output of any type hands on the input of its slot, else the first."""
    catalog = NodeCatalog(
        {
            "Any": {"input": {"required": {"a": ["A"], "b": ["B"]}}, "output": ["*", "*", "*", "B", "C"]},
            "Use": {"input": {"required": {"x": ["*"], "b": ["b"], "c": ["C"]}}},
        }
    )
    flow = Workflow.load(
        {
            "1": node("Source"),
            "2": node("Source"),
            "3": node("Any", a=["1", 0], b=["2", 5]),
            "4": node("Use", x=["3", 1]),
            "5": node("Use", x=["3", 2]),
            "6": node("Use", b=["3", 3], c=["3", 4], x=["3", 9]),
        }
    )
    flow = flow.bypass("3", catalog)
    assert flow.get("4", "x") == ["2", 5]
    assert flow.get("5", "x") == ["1", 0]
    assert flow.to_api()["6"]["inputs"] == {"b": ["2", 5], "x": ["1", 0]}


def test_add_without_a_catalog(sd15: Workflow) -> None:
    """The next free number is the id; inputs are taken as they are given."""
    flow = sd15.add("PreviewImage", {"images": ["8", 0]})
    assert flow.to_api()["11"] == {"inputs": {"images": ["8", 0]}, "class_type": "PreviewImage"}
    assert list(Workflow().add("A").add("B").nodes) == ["1", "2"]
    for bad in ("3", ""):
        with pytest.raises(UnknownInputError):
            sd15.add("A", id=bad)
    with pytest.raises(UnknownInputError, match="leads to no node"):
        sd15.add("A", {"x": ["nope", 0]})


def test_add_with_a_catalog(catalog: NodeCatalog) -> None:
    """Defaults are filled in, those of a chosen option too; strangers are refused with the nearest."""
    flow = Workflow().add("ResizeImageMaskNode", {"resize_type": "scale width"}, catalog=catalog)
    assert flow.to_api()["1"]["inputs"]["resize_type.width"] == 512
    with pytest.raises(UnknownInputError, match="no class") as caught:
        Workflow().add("KSamplr", catalog=catalog)
    assert caught.value.candidates[0] == "KSampler"
    with pytest.raises(UnknownInputError, match="no input") as caught:
        Workflow().add("KSampler", {"sed": 1}, catalog=catalog)
    assert caught.value.candidates == ("seed",)


def test_seeds_are_drawn_reproducibly(sd15: Workflow, catalog: NodeCatalog) -> None:
    """The same seed draws the same, another another, and only seeds change."""
    once, again, other = sd15.randomized(1), sd15.randomized(1), sd15.randomized(2)
    assert once == again != other
    assert once.set("3", "seed", 1234) == sd15
    assert 0 <= once.get("3", "seed") < 2**31
    assert sd15.randomized() != sd15.randomized()
    known = sd15.randomized(1, catalog=catalog).get("3", "seed")
    assert 0 <= known <= 2**50


def test_every_kind_of_seed_is_found(catalog: NodeCatalog) -> None:
    """By name, by the catalog's flag, and numbers that feed seeds; linked ones and other numbers are not."""
    custom = {
        "Odd": {
            "input": {"required": {"luck": ["INT", {"control_after_generate": True, "min": 3, "max": 4}]}}
        }
    }
    both = NodeCatalog({**catalog.raw, **custom})
    flow = Workflow.load(
        {
            "1": node("RandomNoise", noise_seed=0),
            "2": node("Odd", luck=0),
            "3": node("PrimitiveInt", value=0),
            "4": node("KSampler", seed=["3", 0], steps=["5", 0]),
            "5": node("PrimitiveInt", value=20),
            "6": {"class_type": "Unheard", "inputs": {"seed": True, "part.seed": 0}},
        }
    )
    drawn = flow.randomized(7, catalog=both)
    changed = {
        (key, name)
        for key, entry in drawn.to_api().items()
        for name, value in entry["inputs"].items()
        if value != flow.to_api()[key]["inputs"][name]
    }
    assert changed == {("1", "noise_seed"), ("2", "luck"), ("3", "value"), ("6", "part.seed")}
    assert drawn.get("2", "luck") in {3, 4}
    assert flow.randomized(7).get("2", "luck") == 0


@pytest.fixture(scope="module")
def narrow(catalog: NodeCatalog) -> NodeCatalog:
    """The bare catalog, with a partner's node whose seeds end at 65535."""
    spec = {"input": {"required": {"seed": ["INT", {"min": 0, "max": 65535}]}}, "output_node": True}
    return NodeCatalog({**catalog.raw, "Narrow": spec})


def test_seeds_keep_the_range_that_the_server_declares(narrow: NodeCatalog) -> None:
    """Also a number that is only handed on to such a seed."""
    flow = Workflow.load(
        {
            "1": node("Narrow", seed=1),
            "2": node("PrimitiveInt", value=1),
            "3": node("Narrow", seed=["2", 0]),
        }
    )
    for source in range(20):
        drawn = flow.randomized(source, catalog=narrow)
        assert 0 <= drawn.get("1", "seed") <= 65535
        assert 0 <= drawn.get("2", "value") <= 65535
    with pytest.raises(UnknownInputError, match=r"1 \(Narrow\), input 'seed': 65536 is not within 0 to"):
        flow.with_seed(65536, catalog=narrow)
    with pytest.raises(UnknownInputError, match="65536"):
        flow.remove("1").with_seed(65536, catalog=narrow)


def test_with_seed_puts_the_number_itself(sd15: Workflow) -> None:
    """Into every seed, the same; what draws is no seed, and has another name."""
    more = sd15.add("KSamplerAdvanced", {"noise_seed": 1}, id="20")
    seeded = more.with_seed(0)
    assert (seeded.get("3", "seed"), seeded.get("20", "noise_seed")) == (0, 0)
    assert seeded.with_inputs({"3.seed": 1234, "20.noise_seed": 1}) == more
    with pytest.raises(TypeError, match="seed"):
        sd15.randomized(seed=0)  # type: ignore[call-arg]
    with pytest.raises(UnknownInputError, match="no seed"):
        sd15.remove("3").with_seed(1)
    with pytest.raises(UnknownInputError, match="a seed is an integer, not True"):
        sd15.with_seed(True)


@pytest.mark.parametrize(
    ("text", "value"),
    [("false", False), ("No", False), ("0", False), (" off ", False), ("TRUE", True), ("yes", True)],
)
def test_a_text_for_yes_or_no_means_what_it_says(text: str, value: bool) -> None:
    """To the server every text is true; the value that stands there tells the type, or a catalog."""
    flow = Workflow.load({"1": node("Own", flag=True, text="true")})
    assert flow.with_inputs({"1.flag": text}).get("1", "flag") is value
    assert flow.with_inputs({"1.text": text}).get("1", "text") == text
    known = NodeCatalog(
        {
            "Own": {
                "input": {
                    "required": {
                        "flag": ["BOOLEAN", {}],
                        "either": [[True, False], {}],
                        "text": ["STRING", {}],
                    }
                }
            }
        }
    )
    bare = Workflow.load({"1": node("Own")})
    put = bare.with_inputs({"1.flag": text, "1.either": text, "1.text": text}, catalog=known)
    assert put.to_api()["1"]["inputs"] == {"flag": value, "either": value, "text": text}
    assert bare.add("Own", {"flag": text}, catalog=known).get("2", "flag") is value
    built = Workflow.build(known)
    built.Own(flag=text, either=True, text="")
    assert built.workflow().get("1", "flag") is value


def test_a_text_that_is_neither_yes_nor_no_is_refused(sd15: Workflow, catalog: NodeCatalog) -> None:
    """Naming the node, the input and the text."""
    flow = Workflow.load({"1": node("Own", flag=True)})
    with pytest.raises(UnknownInputError, match=r"1 \(Own\), input 'flag': 'maybe' is neither"):
        flow.with_inputs({"1.flag": "maybe"})


def test_texts_that_hold_numbers_become_numbers(sd15: Workflow, catalog: NodeCatalog) -> None:
    """With a catalog; what is no number is left for the check to tell."""
    put = sd15.with_inputs({"3.steps": "12", "3.cfg": "6.5", "3.seed": "12e3"}, catalog=catalog)
    assert [put.get("3", name) for name in ("steps", "cfg", "seed")] == [12, 6.5, "12e3"]
    choice = NodeCatalog({"Own": {"input": {"required": {"size": [[64, 128], {}]}}}})
    flow = Workflow.load({"1": node("Own", size=64)})
    assert flow.with_inputs({"1.size": "128"}, catalog=choice).get("1", "size") == 128


def test_a_picture_in_a_data_uri_is_uploaded(catalog: NodeCatalog) -> None:
    """Where a file is wanted; elsewhere it is a text."""
    flow = Workflow.load({"1": node("LoadImage", image="a.png"), "2": node("Own", text="")})
    put = flow.with_inputs({"1.image": "data:image/png;base64,iVBORw==", "2.text": "data:,x"})
    assert put.uploads() == {("1", "image"): b"\x89PNG"}
    assert put.get("2", "text") == "data:,x"
    assert flow.with_inputs({"1.image": "data:,a%20b"}).uploads() == {("1", "image"): b"a b"}
    for damaged in ("data:image/png;base64", "data:image/png;base64,iVBOR"):
        with pytest.raises(UnknownInputError, match="data: URI is damaged"):
            flow.with_inputs({"1.image": damaged})


def test_an_address_is_no_file() -> None:
    """ComfyUI's own loaders download nothing; those of packs may."""
    flow = Workflow.load({"1": node("LoadImage", image="a.png"), "2": node("LoadFromWeb", image="")})
    with pytest.raises(UnknownInputError, match=r"1 \(LoadImage\), input 'image': .* download it"):
        flow.with_inputs({"1.image": "https://example.org/a.png"})
    url = "https://example.org/a.png"
    assert flow.with_inputs({"2.image": url}).get("2", "image") == url


def test_node_ids_that_are_numbers() -> None:
    """Keys and links alike; a list of two numbers stays a list where no link stands."""
    flow = Workflow.load(
        {
            1: {"class_type": "EmptyImage", "inputs": {"size": [7, 7]}},
            2: {"class_type": "PreviewImage", "inputs": {"images": [1, 0]}},
        }
    )
    assert flow.get("2", "images") == ["1", 0]
    assert flow.get("1", "size") == [7, 7]
    other = flow.add("EmptyImage", id=3)  # type: ignore[arg-type]
    assert other.with_inputs({"2.images": [3, 0]}).get("2", "images") == ["3", 0]
    assert other.with_inputs({"1.sizes": [1, 0]}, add=True).get("1", "sizes") == {"__value__": [1, 0]}


def test_drawing_one_seed_does_not_depend_on_the_others(sd15: Workflow) -> None:
    """Another sampler in the graph leaves the draw of the first as it was."""
    more = sd15.add("KSampler", {"seed": 1}, id="1")
    assert more.randomized(3).get("3", "seed") == sd15.randomized(3).get("3", "seed")


def test_inputs_lists_what_people_change(sd15: Workflow, catalog: NodeCatalog) -> None:
    """Prompts first, with values, types, ranges and choices from the catalog."""
    listed = sd15.inputs(catalog)
    assert [(item.key, item.kind) for item in listed] == [
        ("6.text", "text"),
        ("7.text", "text"),
        ("3.seed", "seed"),
        ("5.width", "size"),
        ("5.height", "size"),
        ("5.batch_size", "size"),
        ("4.ckpt_name", "model"),
        ("10.vae_name", "model"),
        ("3.steps", "sampling"),
        ("3.cfg", "sampling"),
        ("3.sampler_name", "sampling"),
        ("3.scheduler", "sampling"),
        ("3.denoise", "sampling"),
        ("9.filename_prefix", "output"),
    ]
    width = listed[3]
    assert (width.title, width.class_type, width.value) == ("Empty Latent Image", "EmptyLatentImage", 512)
    assert (width.type, width.min, width.max, width.choices) == ("INT", 16, 16384, None)
    sampler = next(item for item in listed if item.input == "sampler_name")
    assert sampler.choices is not None
    assert "euler" in sampler.choices
    assert [item.key for item in sd15.inputs()] == [item.key for item in listed]


def test_inputs_of_other_kinds(catalog: NodeCatalog) -> None:
    """Files, long texts, bare values by what they feed and pending uploads; nothing else."""
    flow = Workflow.load(
        {
            "1": node("LoadImage", image="face.png [input]"),
            "2": node("PrimitiveInt", value=832),
            "3": node("EmptyLatentImage", width=["2", 0], height=64, batch_size=1),
            "4": node("PrimitiveStringMultiline", value="a cat"),
            "5": node("Unheard", model_path="a/b.gguf", strange=3, image=True, clip_path="x.mp4"),
            "6": node("GeminiNode", prompt="why?", files=["1", 0]),
            "7": node("PrimitiveBoolean", value=True),
        }
    ).with_inputs({"1.image": Path("other.png")})
    listed = {item.key: (item.kind, item.value) for item in flow.inputs(catalog)}
    assert listed == {
        "4.value": ("text", "a cat"),
        "6.prompt": ("text", "why?"),
        "1.image": ("file", Path("other.png")),
        "5.clip_path": ("file", "x.mp4"),
        "2.value": ("size", 832),
        "3.height": ("size", 64),
        "3.batch_size": ("size", 1),
        "5.model_path": ("model", "a/b.gguf"),
    }
    assert {item.key for item in flow.inputs(every=True)} - set(listed) == {"5.strange", "5.image", "7.value"}


def test_a_wrapped_list_is_listed_as_a_list() -> None:
    """`__value__` is how it travels, not what it is."""
    flow = Workflow.load({"1": node("A", steps={"__value__": [1, 2]})})
    assert [item.value for item in flow.inputs(every=True)] == [[1, 2]]


def test_model_paths_are_respelled(catalog: NodeCatalog) -> None:
    """Only what differs in its separators changes."""
    own = NodeCatalog(
        {"L": {"input": {"required": {"name": [["sub\\a.safetensors", "b"], {}], "x": ["INT"]}}}}
    )
    flow = Workflow.load(
        {"1": node("L", name="sub/a.safetensors", x=1), "2": node("L", name="c"), "3": node("M")}
    )
    assert flow.localized(own) == flow.set("1", "name", "sub\\a.safetensors")


def test_editor_files_are_converted_first() -> None:
    """No edit works on an editor file; the error says what does."""
    flow = Workflow.load(ROOT / "examples/workflows/sd15_text2image_ui.json")
    for act in (flow.randomized, flow.inputs, lambda: flow.remove("3"), lambda: flow.add("A")):
        with pytest.raises(WorkflowFormatError, match=r"flow\.converted\(await comfy\.nodes\.catalog\(\)\)"):
            act()


def test_official_templates_can_be_listed_and_drawn(catalog: NodeCatalog) -> None:
    """On every official template the listing names inputs that with_inputs takes, and drawing works."""
    data = (ROOT / "tests/data/expected_api.json.gz").read_bytes()
    templates: dict[str, Any] = json.loads(gzip.decompress(data))
    for graph in templates.values():
        if any(entry["class_type"] is None for entry in graph.values()):
            continue
        flow = Workflow.load(graph)
        listed = flow.inputs(catalog)
        assert listed
        assert flow.with_inputs({(item.node, item.input): item.value for item in listed}) == flow
        assert flow.randomized(1, catalog=catalog).nodes == flow.nodes


@pytest.mark.parametrize(
    ("key", "says", "candidates"),
    [
        ("57.text", "57 is a subgraph, and it contains 57:6.text, 57:7.text", ("57:6.text", "57:7.text")),
        ("57.seed", "57 is a subgraph, and its seed is 57:3.seed", ("57:3.seed",)),
        ("57.nothing", "57 is a subgraph, and it contains 57:6 ", ()),
        ("57:99.text", "nearest: '57:6', '57:7', '57:3'", ("57:6", "57:7", "57:3")),
        ("99.text", "no node has the id, title or class '99'; there are 4 ", ()),
        (("99", "text"), "no node has the id, title or class '99'; there are 4 ", ()),
        ("KSamplr.seed", "nearest: 'KSampler'", ("KSampler",)),
        ("seed", "A key is 'node.input', for example '4.ckpt_name'", ()),
    ],
)
def test_keys_that_mean_nothing(
    catalog: NodeCatalog, key: Any, says: str, candidates: tuple[str, ...]
) -> None:
    """Fields of subgraphs are named as they are, numbers resemble no others, examples are its own."""
    flow = Workflow.load(SUBGRAPH).converted(catalog)
    with pytest.raises(UnknownInputError) as caught:
        flow.with_inputs({key: "a fox"})
    assert says in str(caught.value)
    assert caught.value.candidates == candidates


def test_a_number_resembles_no_other(sd15: Workflow, catalog: NodeCatalog) -> None:
    """Neither in a link to nowhere, nor in what a check says of it."""
    with pytest.raises(UnknownInputError) as caught:
        sd15.with_inputs({"3.model": ["99", 0]})
    assert caught.value.candidates == ()
    with pytest.raises(UnknownInputError, match="57 is a subgraph, and it contains 57:6 "):
        Workflow.load(SUBGRAPH).converted(catalog).replace("57", "9")
    graph = sd15.to_api()
    graph["3"]["inputs"]["model"] = ["99", 0]
    assert [problem.nearest for problem in Workflow.load(graph).check(catalog)][:1] == [()]
