"""Files that carry a prompt and an editor file: the editor file is what runs, whatever the prompt says."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from comfy_async.errors import ConversionError, UnknownInputError
from comfy_async.workflow import NodeCatalog, Workflow

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/data/cases"
APART = CASES / "27_prompt_differs_from_workflow.png"
SD15_UI = ROOT / "examples/workflows/sd15_text2image_ui.json"

CONVERTED = {
    "1": {"width": 64, "height": 64, "batch_size": 1, "color": 255},
    "2": {"images": ["1", 0]},
}
"""What the editor posts of the workflow in APART; the prompt has another colour, and inverts."""


@pytest.fixture(scope="module")
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(ROOT / "tests/data/object_info.json.gz")


def inputs(flow: Workflow) -> dict[str, Any]:
    """Return the inputs by node."""
    return {key: node["inputs"] for key, node in flow.to_api().items()}


def pair(flow: Workflow, **changes: Any) -> Workflow:
    """Return a workflow from a file that carries it with other values, and its editor file."""
    prompt = flow.with_inputs({key.replace("__", "."): value for key, value in changes.items()}).to_api()
    return Workflow.load({"output": prompt, "workflow": json.loads(SD15_UI.read_text())})


@pytest.fixture(scope="module")
def drawn(catalog: NodeCatalog) -> Workflow:
    """The SD1.5 editor file, converted."""
    return Workflow.load(SD15_UI).converted(catalog)


def test_the_editor_file_runs(catalog: NodeCatalog) -> None:
    """As soon as there is a catalog; the file that goes along is the one that runs."""
    flow = Workflow.load(APART)
    assert (flow.format, flow.carries_both) == ("api", True)
    made = flow.converted(catalog)
    assert inputs(made) == CONVERTED
    assert flow.to_api(catalog) == made.to_api()
    assert not made.carries_both
    assert made.editor == flow.editor
    assert made.converted(catalog) is made


def test_the_prompt_on_request(catalog: NodeCatalog) -> None:
    """Then the other file does not go along: the two may not belong together."""
    flow = Workflow.load(APART, prefer="prompt")
    assert flow.converted(catalog) is flow
    assert flow.get("1", "color") == 7
    assert (flow.editor, flow.carries_both) == (None, False)
    assert flow.with_inputs({"1.color": 8}).editor is None
    with pytest.raises(ValueError, match="prefer is"):
        Workflow.load(APART, prefer="either")  # type: ignore[arg-type]


def test_a_difference_is_told_once(catalog: NodeCatalog, caplog: pytest.LogCaptureFixture) -> None:
    """In the log for a file and all that is made of it, and by each check as warnings."""
    flow = Workflow.load(APART)
    with caplog.at_level(logging.WARNING, logger="comfy_async"):
        for color in range(3):
            flow.with_inputs({"1.color": color}).converted(catalog)
    (record,) = caplog.records
    assert "prefer='prompt'" in record.getMessage()
    assert "1 \"Empty Image\" (EmptyImage), input 'color': the file's prompt has 7, its workflow 255" in (
        record.getMessage()
    )
    told = [problem for problem in flow.check(catalog) if problem.type == "prompt_differs"]
    assert [(problem.node, problem.input) for problem in told] == [
        ("1", "color"),
        ("2", "images"),
        ("9", None),
    ]
    assert {problem.severity for problem in told} == {"warning"}
    assert len(caplog.records) == 1


def test_files_that_belong_together_are_silent(
    drawn: Workflow, catalog: NodeCatalog, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is told, and what runs is what ran."""
    flow = pair(drawn)
    assert flow.converted(catalog) == drawn
    assert [problem.type for problem in flow.check(catalog)] == []
    assert not caplog.records


def test_what_makes_no_difference_to_the_server_is_silent(drawn: Workflow, catalog: NodeCatalog) -> None:
    """Inputs that the class ignores, numbers written otherwise, and defaults of inputs that came later."""
    prompt = drawn.to_api()
    prompt["3"]["inputs"].update(cfg=float(prompt["3"]["inputs"]["cfg"]), ignored="x")
    del prompt["9"]["inputs"]["filename_prefix"]
    editor = json.loads(SD15_UI.read_text())
    flow = Workflow.load({"output": prompt, "workflow": editor})
    assert [problem.type for problem in flow.check(catalog)] == []
    prompt["9"]["inputs"]["filename_prefix"] = True
    other = Workflow.load({"output": prompt, "workflow": editor})
    assert [(p.node, p.input) for p in other.check(catalog)] == [("9", "filename_prefix")]


def test_changes_go_over_to_the_editor_file(drawn: Workflow, catalog: NodeCatalog) -> None:
    """Values, links, new and removed nodes: what was changed, and nothing else of the prompt."""
    changed = pair(drawn, **{"3__steps": 3}).with_inputs({"3.seed": 7})
    made = changed.converted(catalog)
    assert made == drawn.with_inputs({"3.seed": 7})
    assert made.editor == drawn.with_inputs({"3.seed": 7}).editor != drawn.editor
    grown = pair(drawn).add("ImageInvert", {"image": ["8", 0]}, id="20").with_inputs({"9.images": ["20", 0]})
    expected = drawn.add("ImageInvert", {"image": ["8", 0]}, id="20").with_inputs({"9.images": ["20", 0]})
    assert grown.converted(catalog) == expected
    assert pair(drawn).remove("9").converted(catalog) == drawn.remove("9")
    cut = pair(drawn).remove("7").converted(catalog).to_api()
    assert cut == drawn.remove("7").to_api()


def test_changes_survive_copies(drawn: Workflow, catalog: NodeCatalog) -> None:
    """Pickled for another process, a workflow still knows what was changed."""
    changed = pair(drawn, **{"3__steps": 3}).with_inputs({"3.seed": 7})
    for other in (pickle.loads(pickle.dumps(changed)), copy.deepcopy(changed)):
        assert other.carries_both
        assert other.converted(catalog) == drawn.with_inputs({"3.seed": 7})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda flow: flow.with_inputs({"9.image": ["1", 0]}), "it has no such node"),
        (
            lambda flow: flow.add("ImageInvert", {"image": ["9", 0]}, id="20"),
            "linked to the missing node '9'",
        ),
    ],
)
def test_a_change_that_does_not_fit_is_refused(catalog: NodeCatalog, change: Any, says: str) -> None:
    """It is of a node that the editor file does not have, or leaves a loose link there."""
    flow = change(Workflow.load(APART).with_inputs({"2.images": ["1", 0]}))
    with pytest.raises(UnknownInputError, match=says) as caught:
        flow.converted(catalog)
    assert "prefer='prompt'" in caught.value.hint
    loose = {
        "1": {"class_type": "EmptyImage", "inputs": {}},
        "2": {"class_type": "PreviewImage", "inputs": {}},
    }
    other = Workflow.load({"output": loose, "workflow": dict(Workflow.load(APART).editor or {})})
    with pytest.raises(UnknownInputError, match="'images' would be linked to the missing node '1'"):
        other.remove("1").converted(catalog)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda flow: flow.add("PreviewImage", {"images": ["1", 0]}, id="2"),
            "it has another node with that id",
        ),
        (lambda flow: flow.with_inputs({"1.old": 2}), "that node has no input 'old'"),
        (lambda flow: flow.with_inputs({"3.image": ["3", 0]}), "it has no such node"),
    ],
)
def test_a_change_of_what_only_the_prompt_has_is_refused(
    catalog: NodeCatalog, change: Any, says: str
) -> None:
    """An id that the editor file uses otherwise, an input that it lacks, a node of another class."""
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"old": 1}},
        "3": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    }
    flow = Workflow.load({"output": prompt, "workflow": dict(Workflow.load(APART).editor or {})})
    with pytest.raises(UnknownInputError, match=says):
        change(flow).converted(catalog)


def test_an_editor_file_that_cannot_be_converted_says_the_way_out() -> None:
    """The prompt is not taken in its place in silence."""
    flow = Workflow.load(APART)
    with pytest.raises(ConversionError, match="prefer='prompt'"):
        flow.converted(NodeCatalog({}))
    assert {problem.type for problem in flow.check(NodeCatalog({}))} == {"missing_node_type"}
