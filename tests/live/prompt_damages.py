"""Prompts with one to three damages, the same for the same seed: official templates that are broken.

What is done to each is in `DAMAGES`, by a name that a difference is printed with.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from comfy_async.workflow import NodeCatalog, Workflow

Graph = dict[str, Any]


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
    # `Workflow.load` writes the number of a node that is there as the text that the server wants.
    "number id": link_damage(lambda graph, link, draw: [max(map(len, graph)) * 10**6, 0]),
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
