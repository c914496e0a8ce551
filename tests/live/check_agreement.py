"""Asks a real ComfyUI and `check` about the same damaged prompts, and prints where they differ.

    COMFY_LIVE_URL=http://127.0.0.1:8188 python tests/live/check_agreement.py [COUNT] [SEED]

Every prompt is an official template's (tests/data/expected_api.json.gz) with one to three
damages. A prompt that the server takes is deleted and interrupted at once; use a server of
your own. Prints each difference, then the counts; the exit code is 1 when a difference is
not explained by what the server leaves out after its first find.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import sys
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from comfy_async.workflow import NodeCatalog, Workflow

Graph = dict[str, Any]
Finding = tuple[str, str, str]
"""Node, type and input."""

EXCEPTIONS = ("exception_during_inner_validation", "exception_during_validation")


def ask(url: str, path: str, body: Any = None) -> Any:
    """Send a request, return the decoded answer of whatever status."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            content = answer.read()
    except urllib.error.HTTPError as error:
        content = error.read()
    return json.loads(content) if content else None


def server_says(url: str, graph: Graph) -> tuple[str, set[Finding]]:
    """Return the server's verdict and findings."""
    prompt_id = str(uuid.uuid4())
    answer = ask(url, "/prompt", {"prompt": graph, "prompt_id": prompt_id})
    found: set[Finding] = set()
    for node, entry in (answer.get("node_errors") or {}).items():
        for error in entry["errors"]:
            found.add((node, error["type"], (error.get("extra_info") or {}).get("input_name") or ""))
    if "prompt_id" in answer:
        ask(url, "/queue", {"delete": [prompt_id]})
        ask(url, "/interrupt", {"prompt_id": prompt_id})
        return ("partial" if found else "accepted"), found
    error = answer["error"]
    if error["type"] == "missing_node_type":
        found.add((error["extra_info"]["node_id"], "missing_node_type", ""))
    return error["type"], found


def check_says(graph: Graph, catalog: NodeCatalog) -> tuple[str, set[Finding]]:
    """Return what `check` says in the same terms."""
    found = {
        (problem.node or "", problem.type, problem.input or "")
        for problem in Workflow.load(graph).check(catalog)
        if problem.severity == "error"
    }
    types = {kind for _, kind, _ in found}
    for whole in ("missing_node_type", "prompt_no_outputs"):
        if whole in types:
            return whole, {finding for finding in found if finding[1] != "prompt_no_outputs"}
    bad = {node for node, _, _ in found}
    outputs = [node for node in graph if catalog.node(graph[node]["class_type"]).output_node]
    failing = [node for node in outputs if bad & needed(graph, node, catalog)]
    if not failing:
        return "accepted", found
    return ("partial" if len(failing) < len(outputs) else "prompt_outputs_failed_validation"), found


def needed(graph: Graph, start: str, catalog: NodeCatalog) -> set[str]:
    """Return the nodes that the server visits for an output."""
    seen, waiting = set[str](), [start]
    while waiting:
        node = waiting.pop()
        if node in seen or node not in graph:
            continue
        seen.add(node)
        inputs = graph[node]["inputs"]
        names = {spec.name for spec in catalog.inputs(graph[node]["class_type"], inputs)}
        waiting += [
            value[0]
            for name, value in inputs.items()
            if name in names and isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
        ]
    return seen


def unexplained(theirs: set[Finding], ours: set[Finding], verdict: str) -> tuple[set[Finding], set[Finding]]:
    """Return what only the server found, and what only we found although it did not stop early.

    The server names the first unknown class only, and nothing else then; an exception hides
    the node's other problems and whatever lies behind inputs it had not come to. Its
    exceptions name no input; a node's own validation complains of all that it was given; of
    circles that share nodes it names those that it comes to first; and an output node that
    another node needs gets the word for inner nodes or for outputs, whichever way it comes.
    """

    def blurred(finding: Finding) -> Finding:
        node, kind, name = finding
        if kind in EXCEPTIONS:
            return node, "exception", ""
        return node, kind, "" if kind in {"dependency_cycle", "custom_validation_failed"} else name

    theirs, ours = set(map(blurred, theirs)), set(map(blurred, ours))
    only_theirs, only_ours = theirs - ours, ours - theirs
    kinds = {kind for _, kind, _ in theirs}
    if verdict == "missing_node_type" or "exception" in kinds:
        only_ours = set()
    if "dependency_cycle" in kinds:
        only_ours = {finding for finding in only_ours if finding[1] != "dependency_cycle"}
    return only_theirs, only_ours


def literals(graph: Graph, catalog: NodeCatalog, *types: str) -> list[tuple[str, str]]:
    """Return the (node, input) that hold a value of a type."""
    return [
        (node, name)
        for node, entry in graph.items()
        for name, value in entry["inputs"].items()
        if not isinstance(value, list)
        and (spec := catalog.input(entry["class_type"], name, entry["inputs"])) is not None
        and (not types or spec.type in types)
    ]


def links(graph: Graph) -> list[tuple[str, str]]:
    """Return the (node, input) that hold a link."""
    return [
        (node, name)
        for node, entry in graph.items()
        for name, value in entry["inputs"].items()
        if isinstance(value, list)
    ]


def value_damage(values: list[Any], *types: str) -> Callable[..., None]:
    """Make a damage that puts one of these values where a value of a type stands."""

    def damage(graph: Graph, catalog: NodeCatalog, draw: random.Random) -> None:
        node, name = draw.choice(literals(graph, catalog, *types))
        graph[node]["inputs"][name] = draw.choice(values)

    return damage


def link_damage(change: Callable[[Graph, list[Any], random.Random], Any]) -> Callable[..., None]:
    """Make a damage that changes a link."""

    def damage(graph: Graph, catalog: NodeCatalog, draw: random.Random) -> None:
        node, name = draw.choice(links(graph))
        graph[node]["inputs"][name] = change(graph, graph[node]["inputs"][name], draw)

    return damage


def remove_input(graph: Graph, catalog: NodeCatalog, draw: random.Random) -> None:
    """Take any input away."""
    node = draw.choice([node for node, entry in graph.items() if entry["inputs"]])
    del graph[node]["inputs"][draw.choice(list(graph[node]["inputs"]))]


def remove_node(graph: Graph, catalog: NodeCatalog, draw: random.Random) -> None:
    """Take a node away and leave the links to it."""
    del graph[draw.choice(list(graph))]


def unknown_class(graph: Graph, catalog: NodeCatalog, draw: random.Random) -> None:
    """Give a node a class that nobody has."""
    graph[draw.choice(list(graph))]["class_type"] += "X"


def other_class(graph: Graph, catalog: NodeCatalog, draw: random.Random) -> None:
    """Give a node the class of another."""
    graph[draw.choice(list(graph))]["class_type"] = draw.choice(list(graph.values()))["class_type"]


def no_outputs(graph: Graph, catalog: NodeCatalog, draw: random.Random) -> None:
    """Take all output nodes away."""
    for node in [node for node in graph if catalog.node(graph[node]["class_type"]).output_node]:
        del graph[node]


def cycle(graph: Graph, catalog: NodeCatalog, draw: random.Random) -> None:
    """Lead a link back to a node that needs it."""
    node, name = draw.choice(links(graph))
    source = graph[node]["inputs"][name][0]
    candidates = [(source, field) for key, field in links(graph) if key == source]
    if candidates:
        back, field = draw.choice(candidates)
        graph[back]["inputs"][field] = [node, 0]


def extra_input(graph: Graph, catalog: NodeCatalog, draw: random.Random) -> None:
    """Add an input that no class has; a link to nowhere in it would end the server's worker."""
    graph[draw.choice(list(graph))]["inputs"]["nobody_knows"] = draw.choice([1, [1, 2, 3], "x"])


DAMAGES: dict[str, Callable[..., None]] = {
    "number": value_damage([-(2**70), 2**70, -1, 0, 10**9, 1.5, True, " 7 ", "1e3"], "INT", "FLOAT"),
    "no number": value_damage(["abc", None, {}, {"__value__": [1]}, "", "1.5", "nan"], "INT", "FLOAT"),
    "choice": value_damage(["nope", None, 3, {"__value__": ["a"]}, "", "sub\\x.safetensors"], "COMBO"),
    "dynamic choice": value_damage(["nope", None, 3], "COMFY_DYNAMICCOMBO_V3", "COMBO"),
    "text": value_damage([3, None, {"a": 1}, {"__value__": [1, 2]}, ""], "STRING"),
    "switch": value_damage(["yes", 0, None, {}], "BOOLEAN"),
    "bare list": value_damage([[], [1], [1, 2], [1, 2, 3], ["a", "b"]]),
    "absent node": link_damage(lambda graph, link, draw: ["nowhere", link[1]]),
    "slot": link_damage(lambda graph, link, draw: [link[0], draw.choice([99, -1, -99, 0.0, 1, True])]),
    "other source": link_damage(lambda graph, link, draw: [draw.choice(list(graph)), 0]),
    "number id": link_damage(lambda graph, link, draw: [7, 0]),
    "value for a link": link_damage(lambda graph, link, draw: draw.choice([3, "x", None])),
    "remove input": remove_input,
    "remove node": remove_node,
    "unknown class": unknown_class,
    "other class": other_class,
    "no outputs": no_outputs,
    "cycle": cycle,
    "extra input": extra_input,
}


def repaired(graph: Graph, catalog: NodeCatalog) -> Graph:
    """Replace models and files that the server lacks by ones that it has, where it has any."""
    for entry in graph.values():
        for name, value in entry["inputs"].items():
            spec = catalog.input(entry["class_type"], name, entry["inputs"])
            if spec is not None and spec.type == "COMBO" and spec.choices and not isinstance(value, list):
                entry["inputs"][name] = value if value in spec.choices else spec.choices[0]
    return graph


def base_prompts(catalog: NodeCatalog) -> dict[str, Graph]:
    """Return the graphs to damage: the official templates, or SD1.5 for a server with few nodes."""
    root = Path(__file__).parents[2]
    data = root / "tests/data/expected_api.json.gz"
    templates: dict[str, Graph] = json.loads(gzip.decompress(data.read_bytes()))
    known = {
        name: graph
        for name, graph in templates.items()
        if all(node["class_type"] in catalog for node in graph.values())
    }
    sd15 = json.loads((root / "examples/workflows/sd15_text2image_api.json").read_text())
    return known or {"sd15": sd15}


def is_deadly(graph: Graph, catalog: NodeCatalog) -> bool:
    """Tell whether a server would take the prompt and never run anything again."""
    return any(problem.type == "missing_link_source" for problem in Workflow.load(graph).check(catalog))


def damaged_prompts(catalog: NodeCatalog, count: int, seed: int) -> Iterator[tuple[str, Graph]]:
    """Yield (what was done, prompt), the same for the same seed."""
    bases = base_prompts(catalog)
    names, draw = list(bases), random.Random(seed)
    while count:
        name = draw.choice(names)
        graph = json.loads(json.dumps(bases[name]))
        graph = repaired(graph, catalog) if draw.random() < 0.8 else graph
        done = [name]
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            kind = draw.choice(list(DAMAGES))
            # What there is none of cannot be damaged.
            with contextlib.suppress(IndexError, KeyError):
                DAMAGES[kind](graph, catalog, draw)
                done.append(kind)
        if graph and len(done) > 1 and not is_deadly(graph, catalog):
            count -= 1
            yield ", ".join(done), graph


def beyond_knowing(finding: Finding, graph: Graph) -> bool:
    """Tell whether only the server can know: object_info does not list files in deeper folders."""
    node, kind, _ = finding
    values = graph[node]["inputs"].values() if node in graph else ()
    deeper = any(isinstance(value, str) and {"/", "\\"} & set(value) for value in values)
    return kind == "custom_validation_failed" and deeper


def compare(
    url: str, prompts: Iterable[tuple[str, Graph]], catalog: NodeCatalog
) -> tuple[Counter[str], list[str]]:
    """Ask both about each prompt; return the counts, and a text for each difference."""
    counts: Counter[str] = Counter()
    differences: list[str] = []
    for done, graph in prompts:
        verdict, theirs = server_says(url, graph)
        our_verdict, ours = check_says(graph, catalog)
        only_theirs, only_ours = unexplained(theirs, ours, verdict)
        same = verdict == our_verdict and not only_theirs and not only_ours
        unknowable = any(beyond_knowing(finding, graph) for finding in only_theirs)
        counts["prompts"] += 1
        counts[f"server: {verdict}"] += 1
        counts["same verdict"] += verdict == our_verdict
        counts["same findings"] += theirs == ours
        counts["same as far as the server went"] += same and theirs != ours
        counts["agree"] += same
        counts["a file that only the server can know of"] += not same and unknowable
        if not same and not unknowable:
            lines = [f"{done}: the server {verdict}, check {our_verdict}"]
            for who, findings in (("server", only_theirs), ("check", only_ours)):
                for node, kind, name in sorted(findings):
                    entry = graph.get(node, {"class_type": "", "inputs": {}})
                    value = repr(entry["inputs"].get(name))[:60]
                    lines.append(f"  only {who}: {node} {entry['class_type']}.{name} {kind} {value}")
            differences.append("\n".join(lines))
    return counts, differences


def main() -> int:
    """Compare, print, and return the exit code."""
    url = os.environ["COMFY_LIVE_URL"].rstrip("/")
    count, seed = (int(word) for word in [*sys.argv[1:], "400", "0"][:2])
    catalog = NodeCatalog(ask(url, "/object_info"))
    counts, differences = compare(url, damaged_prompts(catalog, count, seed), catalog)
    print("\n".join([*differences, json.dumps(counts, indent=1)]))  # noqa: T201
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
