"""What is muted or bypassed in the editor is named where it is missed, and what is missing by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy_async import ComfySession, ConversionError, PromptRejectedError, Workflow
from comfy_async.types import Problem
from comfy_async.workflow import NodeCatalog

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "workflows"
MUTED, BYPASSED = 2, 4


@pytest.fixture(scope="module")
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(ROOT / "tests/data/object_info.json.gz")


def drawn(name: str, **modes: int) -> dict[str, Any]:
    """Return an editor file of the examples with nodes in other modes: `n57_3` is node 3 in the subgraph."""
    file: dict[str, Any] = json.loads((EXAMPLES / f"{name}_ui.json").read_text())
    for place, mode in modes.items():
        *outer, leaf = place.removeprefix("n").split("_")
        graph = file["definitions"]["subgraphs"][0] if outer else file
        (node,) = [node for node in graph["nodes"] if str(node["id"]) == leaf]
        node["mode"] = mode
    return file


def errors(file: dict[str, Any], catalog: NodeCatalog) -> list[Problem]:
    """Return what a server would refuse."""
    return [found for found in Workflow.load(file).check(catalog) if found.severity == "error"]


@pytest.mark.parametrize(
    ("name", "modes", "place", "advice"),
    [
        ("sd15_text2image", {"n8": MUTED}, ("9", "images"), "8 (VAEDecode) is muted"),
        ("sd15_text2image", {"n8": BYPASSED}, ("9", "images"), "8 (VAEDecode) is bypassed"),
        ("sd15_text2image", {"n5": BYPASSED}, ("3", "latent_image"), "5 (EmptyLatentImage) is bypassed"),
        ("sd15_subgraph", {"n5": MUTED}, ("57:3", "latent_image"), "5 (EmptyLatentImage) is muted"),
        ("sd15_subgraph", {"n57_3": MUTED}, ("8", "samples"), "57:3 (KSampler) is muted"),
        ("sd15_subgraph", {"n57_6": BYPASSED}, ("57:3", "positive"), "57:6 (CLIPTextEncode) is bypassed"),
        ("sd15_subgraph", {"n57": MUTED}, ("8", "samples"), '57 "Prompt and sampler" (subgraph) is muted'),
    ],
)
def test_a_source_that_does_not_run(
    catalog: NodeCatalog, name: str, modes: dict[str, int], place: tuple[str, str], advice: str
) -> None:
    """It is named, through the border of a subgraph too."""
    (problem,) = errors(drawn(name, **modes), catalog)
    assert (problem.node, problem.input, problem.type) == (*place, "required_input_missing")
    assert problem.advice == f"Its source {advice} in the editor."


def test_the_muted_node_behind_a_bypassed_one(catalog: NodeCatalog) -> None:
    """A bypass leads on to what is missing."""
    file = drawn("sd15_text2image", n8=MUTED)
    invert = {
        "id": 20,
        "type": "ImageInvert",
        "mode": BYPASSED,
        "inputs": [{"name": "image", "type": "IMAGE", "link": 9}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [20]}],
    }
    (save,) = [node for node in file["nodes"] if node["id"] == 9]
    save["inputs"][0]["link"] = 20
    (link,) = [link for link in file["links"] if link[0] == 9]
    link[3] = 20
    file["nodes"].append(invert)
    file["links"].append([20, 20, 0, 9, 0, "IMAGE"])
    (problem,) = errors(file, catalog)
    assert problem.advice == "Its source 8 (VAEDecode) is muted in the editor."


@pytest.mark.parametrize(("mode", "word"), [(MUTED, "muted"), (BYPASSED, "bypassed")])
def test_an_output_that_does_not_run(catalog: NodeCatalog, mode: int, word: str) -> None:
    """There is a node that saves, and it is switched off."""
    (problem,) = errors(drawn("sd15_text2image", n9=mode), catalog)
    assert str(problem) == (
        f"no node that runs makes an output. In the editor 9 (SaveImage) is {word}: enable it there."
    )


async def test_what_the_server_refuses_names_it_too(comfy: ComfySession) -> None:
    """The advice of a check stands in the error of a run."""
    with pytest.raises(PromptRejectedError, match=r"Its source 8 \(VAEDecode\) is muted in the editor"):
        await comfy.run(drawn("sd15_text2image", n8=MUTED))
    with pytest.raises(PromptRejectedError, match=r"In the editor 9 \(SaveImage\) is muted"):
        await comfy.run(drawn("sd15_text2image", n9=MUTED))


def test_a_subgraph_without_its_definition(catalog: NodeCatalog) -> None:
    """No node pack has it: the file is incomplete."""
    file = drawn("sd15_subgraph")
    del file["definitions"]
    (problem,) = errors(file, catalog)
    assert (problem.node, problem.type) == ("57", "missing_node_type")
    assert "the definition of the subgraph" in problem.message
    assert "no node pack provides it" in problem.advice
    with pytest.raises(
        ConversionError, match="a node is a subgraph whose definition the file lacks"
    ) as caught:
        Workflow.load(file).converted(catalog)
    assert caught.value.hint.startswith("Export the file again")
    assert Workflow.load(file).needs(catalog).classes == ()


def test_a_class_of_comfyui_that_the_server_lacks(catalog: NodeCatalog) -> None:
    """The server may be newer than the file: that it must be updated is no advice."""
    fewer = NodeCatalog({name: catalog[name] for name in catalog if name != "KSampler"})
    (problem,) = errors(drawn("sd15_text2image"), fewer)
    assert problem.advice == (
        "It is part of ComfyUI itself (0.3.33 when the file was made): "
        "this server is older, or has removed or disabled it."
    )


def test_damaged_files_are_no_errors_here(catalog: NodeCatalog) -> None:
    """What the editor file says is believed only as far as its shape is right."""
    flow = Workflow.load(EXAMPLES / "sd15_text2image_api.json").remove("8")
    damages: list[dict[str, Any]] = [
        {"links": None},
        {"links": [[9], {"id": 9, "origin_id": 8}]},
        {"nodes": []},
    ]
    for damage in damages:
        file = {**drawn("sd15_text2image", n8=MUTED), **damage}
        (problem,) = [
            found
            for found in Workflow(flow.to_api(), editor=file).check(catalog)
            if found.severity == "error"
        ]
        assert problem.advice == ""
