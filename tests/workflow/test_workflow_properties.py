"""What holds for every workflow: round trips, sound edits, damage that ends in named errors."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfy_async.errors import ComfyError, UnknownInputError, WorkflowError, WorkflowFormatError
from comfy_async.workflow import NodeCatalog, Workflow

ROOT = Path(__file__).parents[2]
CATALOG = NodeCatalog.load(ROOT / "tests/data/object_info.json.gz")
TEMPLATES: dict[str, Any] = {
    name: graph
    for name, graph in json.loads(
        gzip.decompress((ROOT / "tests/data/expected_api.json.gz").read_bytes())
    ).items()
    if len(graph) < 30 and all(node["class_type"] for node in graph.values())
}
EDITOR: dict[str, Any] = json.loads((ROOT / "examples/workflows/sd15_text2image_ui.json").read_text())
API: dict[str, Any] = json.loads((ROOT / "examples/workflows/sd15_text2image_api.json").read_text())

bounded = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

names = st.text(min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
nodes = st.fixed_dictionaries(
    {"class_type": names, "inputs": st.dictionaries(st.text(max_size=8), values, max_size=4)},
    optional={"_meta": st.fixed_dictionaries({"title": st.text(max_size=8)})},
)
graphs = st.dictionaries(
    names.filter(lambda key: key not in {"nodes", "prompt"}), nodes, min_size=1, max_size=5
)


@bounded
@given(graphs)
def test_load_save_load_is_the_identity(graph: dict[str, Any]) -> None:
    """Whatever a graph holds, it comes back from dict, text, bytes and file."""
    flow = Workflow.load(graph)
    assert flow.to_api() == graph
    assert json.loads(flow.encode()) == graph
    assert Workflow.load(json.dumps(graph)) == flow
    with tempfile.TemporaryDirectory() as folder:
        path = flow.save(Path(folder) / "flow.json")
        assert Workflow.load(path) == flow
        again = Workflow.load(path).save(Path(folder) / "again.json")
        assert again.read_bytes() == path.read_bytes()


@bounded
@given(graphs, st.one_of(st.text(), st.tuples(names, names)), values)
def test_any_key_is_taken_or_named(graph: dict[str, Any], key: Any, value: Any) -> None:
    """with_inputs takes a key and a value, or says what is wrong; the original never changes."""
    flow = Workflow.load(graph)
    with contextlib.suppress(UnknownInputError):
        flow.with_inputs({key: value}, add=True)
    assert flow.to_api() == graph


def links(flow: Workflow) -> dict[str, set[str]]:
    """Return what each node is linked to."""
    return {
        node: {
            value[0]
            for value in entry["inputs"].values()
            if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
        }
        for node, entry in flow.to_api().items()
    }


def has_circle(flow: Workflow) -> bool:
    """Tell whether a node needs itself."""
    waiting = links(flow)
    while True:
        free = [node for node, sources in waiting.items() if not sources & waiting.keys()]
        if not free:
            return bool(waiting)
        for node in free:
            del waiting[node]


def edited(flow: Workflow, draw: random.Random) -> Workflow:
    """Return the workflow after one edit, or the workflow itself when the edit was refused."""
    node, other = draw.choice(list(flow.nodes)), draw.choice(list(flow.nodes))
    edits = [
        lambda: flow.remove(node),
        lambda: flow.mute(node),
        lambda: flow.bypass(node, CATALOG),
        lambda: flow.replace(node, other),
        lambda: flow.replace((node, 0), (other, draw.randint(0, 2))),
        lambda: flow.randomized(draw.randint(0, 9), catalog=CATALOG),
        lambda: flow.add(draw.choice(list(CATALOG)), {}, catalog=CATALOG),
        lambda: flow.add("Unheard", {"x": [node, 0], "y": [1, 2, 3]}),
        lambda: flow.localized(CATALOG),
    ]
    with contextlib.suppress(WorkflowError):
        return draw.choice(edits)()
    return flow


@bounded
@given(st.sampled_from(sorted(TEMPLATES)), st.integers())
def test_random_edits_keep_the_graph_sound(name: str, seed: int) -> None:
    """No link leads nowhere, no circle appears, the original stays, the check never breaks down."""
    draw, first = random.Random(seed), Workflow.load(TEMPLATES[name])
    flow = first
    for _ in range(8):
        flow = edited(flow, draw)
        if not len(flow):
            break
        assert all(sources <= flow.nodes.keys() for sources in links(flow).values())
        assert not has_circle(flow)
        assert Workflow.load(flow.to_api()).to_api() == flow.to_api() == json.loads(flow.encode())
        flow.check(CATALOG)
        flow.inputs(CATALOG, every=True)
    assert first.to_api() == TEMPLATES[name]


def damaged(data: Any, draw: random.Random) -> Any:
    """Return a copy with one to four places removed, doubled or replaced by nonsense."""
    data = copy.deepcopy(data)
    for _ in range(draw.randint(1, 4)):
        place = data
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw.choice(keys)
            if isinstance(place[key], dict | list) and draw.random() < 0.8:
                place = place[key]
                continue
            nonsense = [None, -1, 3.5, "", "nope", [], {}, [None], {"a": 1}, True, 2**70, [["x"]], "3"]
            if draw.random() < 0.3:
                del place[key]
            else:
                place[key] = draw.choice(nonsense)
            break
    return data


@bounded
@given(st.sampled_from([API, EDITOR, *(TEMPLATES[name] for name in sorted(TEMPLATES)[:20])]), st.integers())
def test_damaged_files_end_in_named_errors(data: dict[str, Any], seed: int) -> None:
    """Loading, converting, checking and listing a damaged file: never a KeyError or TypeError."""
    draw = random.Random(seed)
    for _ in range(10):
        with contextlib.suppress(ComfyError):
            flow = Workflow.load(json.dumps(damaged(data, draw)))
            flow.check(CATALOG)
            flow = flow.converted(CATALOG)
            flow.inputs(CATALOG)
            flow.randomized(1, catalog=CATALOG)
            flow.encode()


@bounded
@given(st.sampled_from(sorted(CATALOG)), st.sampled_from([API, EDITOR]), st.integers())
def test_damaged_catalogs_end_in_named_errors(name: str, data: dict[str, Any], seed: int) -> None:
    """A catalog with nonsense in it costs no more than the classes that it is about."""
    draw = random.Random(seed)
    names = {name, "KSampler", "CLIPTextEncode", "SaveImage", "EmptyLatentImage"}
    raw = damaged({one: CATALOG[one] for one in sorted(names)}, draw)
    with contextlib.suppress(ComfyError):
        catalog = NodeCatalog.load(json.dumps(raw))
        for one in catalog:
            catalog.inputs(one, {"model": "x"})
            catalog.outputs(one)
        catalog.search("sampler")
        flow = Workflow.load(data)
        flow.check(catalog)
        if flow.format == "api":
            flow.inputs(catalog)
            flow.localized(catalog)
            flow.bypass("3", catalog)


@bounded
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_named_error(content: bytes) -> None:
    """Noise is no workflow."""
    with contextlib.suppress(WorkflowFormatError):
        Workflow.load(content)


def test_names_that_are_none_in_the_order_of_inputs() -> None:
    """Found by the test above with more examples: an object among the names of input_order."""
    raw = {name: copy.deepcopy(CATALOG[name]) for name in ("KSampler", "CLIPTextEncode")}
    raw["KSampler"]["input_order"] = {"required": [{}, [], None, "seed", "nope"]}  # type: ignore[index]
    problems = Workflow.load(EDITOR).check(NodeCatalog(raw))
    assert "VAEDecode" in {problem.class_type for problem in problems}
