"""Turning subgraph blueprints into workflows that can be run.

A blueprint is an editor file with only one subgraph instance at its root. Each input for links gets
a node that loads a value, each output a node that saves or shows it, and the widgets become the
inputs of an app as App mode would list them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .drafts import LOADED

__all__ = ["completed", "is_blueprint"]

_LOADERS: Final = {
    "IMAGE": ("LoadImage", "image", 0),
    "MASK": ("LoadImageMask", "image", 0),
    "VIDEO": ("LoadVideo", "file", 0),
    "AUDIO": ("LoadAudio", "audio", 0),
    "STRING": ("PrimitiveStringMultiline", "value", 0),
    "INT": ("PrimitiveInt", "value", 0),
    "FLOAT": ("PrimitiveFloat", "value", 0),
    "BOOLEAN": ("PrimitiveBoolean", "value", 0),
}
"""By type: the class that loads such a value, its input for the value, and its output slot."""

_SAVERS: Final = {
    "IMAGE": ("SaveImage", "images"),
    "VIDEO": ("SaveVideo", "video"),
    "AUDIO": ("SaveAudio", "audio"),
    "MASK": ("MaskPreview", "mask"),
    "MESH": ("SaveGLB", "mesh"),
}

_UNSENT: Final = ("$$", "control_")
"""Prefixes of widgets that are never sent: previews, and the control after generate of a seed."""

_OPTIONAL: Final = 7
"""The shape of an input that is optional (litegraph's hollow circle)."""

_SHOWER: Final = ("PreviewAny", "source")


def is_blueprint(drawn: Mapping[str, Any] | None) -> bool:
    """Return whether an editor file has only one node, an instance of a subgraph."""
    nodes = drawn.get("nodes") if drawn is not None else None
    if not isinstance(nodes, list) or len(nodes) != 1 or not isinstance(nodes[0], Mapping):
        return False
    return nodes[0].get("type") in {graph.get("id") for graph in _subgraphs(drawn)}


def completed(drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a blueprint with nodes that load and save, and with its inputs and outputs in App mode."""
    host = dict(drawn["nodes"][0])
    made = _Drawing(drawn, host)
    fields: list[list[Any]] = []
    for place, slot in enumerate(_slots(host, "inputs")):
        loader = _LOADERS.get(str(slot.get("type")).split(",")[0])
        if slot.get("widget"):
            fields.append([str(host["id"]), slot["name"]])
        elif loader is not None:
            optional = _is_optional(drawn, host, place)
            fields.append([made.load(place, slot, loader), loader[1], {LOADED: optional}])
        else:
            fields.append([str(host["id"]), slot["name"]])
    fields += _promoted(host)
    outputs = [made.save(place, slot) for place, slot in enumerate(_slots(host, "outputs"))]
    extra = drawn.get("extra") if isinstance(drawn.get("extra"), Mapping) else {}
    return {
        **drawn,
        "nodes": [host, *made.nodes],
        "links": made.links,
        "last_node_id": made.last_id,
        "last_link_id": len(made.links),
        "extra": {**(extra or {}), "linearData": {"inputs": fields, "outputs": outputs}},
    }


def _is_optional(drawn: Mapping[str, Any], host: Mapping[str, Any], place: int) -> bool:
    """Return whether an input of the instance is optional for all inner nodes that it feeds."""
    definition = next(graph for graph in _subgraphs(drawn) if graph.get("id") == host["type"])
    nodes = {str(node.get("id")): node for node in definition.get("nodes") or ()}
    found = []
    for link in definition.get("links") or ():
        if isinstance(link, Mapping) and link.get("origin_id") == -10 and link.get("origin_slot") == place:
            slots = nodes.get(str(link.get("target_id")), {}).get("inputs") or ()
            found += [slot.get("shape") == _OPTIONAL for slot in slots if slot.get("link") == link.get("id")]
    return bool(found) and all(found)


def _promoted(host: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the promoted widgets that older files list in `proxyWidgets`."""
    properties = host.get("properties")
    proxies = properties.get("proxyWidgets") if isinstance(properties, Mapping) else None
    for entry in proxies if isinstance(proxies, list) else ():
        if isinstance(entry, list) and len(entry) >= 2 and not str(entry[1]).startswith(_UNSENT):
            yield [str(host["id"]) if str(entry[0]) == "-1" else str(entry[0]), str(entry[1])]


class _Drawing:
    """The nodes and links that are added to a blueprint."""

    def __init__(self, drawn: Mapping[str, Any], host: dict[str, Any]) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.links: list[list[Any]] = []
        self.last_id = max(_ids(drawn), default=0)
        self._host = host
        # Copies of the slots, which get links.
        host["inputs"] = [dict(slot) for slot in _slots(host, "inputs")]
        host["outputs"] = [dict(slot) for slot in _slots(host, "outputs")]

    def load(self, place: int, slot: Mapping[str, Any], loader: tuple[str, str, int]) -> str:
        """Add a node that loads the value of an input, and return its id."""
        class_type, field, output = loader
        label = _label(slot)
        own = [{"name": field, "type": "COMBO", "widget": {"name": field}, "link": None, "label": label}]
        node = self._add(class_type, label, own)
        link = self._link(node["id"], output, self._host["id"], place, str(slot.get("type")))
        self._host["inputs"][place]["link"] = link
        node["outputs"] = [{"name": str(slot.get("type")), "type": str(slot.get("type")), "links": [link]}]
        return str(node["id"])

    def save(self, place: int, slot: Mapping[str, Any]) -> str:
        """Add a node that saves or shows an output, and return its id."""
        kind = str(slot.get("type"))
        class_type, field = _SAVERS.get(kind, _SHOWER)
        node = self._add(class_type, _label(slot), [{"name": field, "type": kind, "link": None}])
        link = self._link(self._host["id"], place, node["id"], 0, kind)
        node["inputs"][0]["link"] = link
        self._host["outputs"][place]["links"] = [link]
        return str(node["id"])

    def _add(self, class_type: str, title: str, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.last_id += 1
        node = {
            "id": self.last_id,
            "type": class_type,
            "title": title,
            "mode": 0,
            "pos": [0, 200 * len(self.nodes)],
            "inputs": inputs,
            "outputs": [],
            "properties": {},
        }
        self.nodes.append(node)
        return node

    def _link(self, source: Any, output: int, target: Any, place: int, kind: str) -> int:
        self.links.append([len(self.links) + 1, source, output, target, place, kind])
        return len(self.links)


def _label(slot: Mapping[str, Any]) -> str:
    """Return the label of a slot, else its name or type."""
    return str(slot.get("label") or slot.get("name") or slot.get("type") or "")


def _slots(host: Mapping[str, Any], side: str) -> list[Mapping[str, Any]]:
    slots = host.get(side)
    return [slot for slot in slots if isinstance(slot, Mapping)] if isinstance(slots, list) else []


def _subgraphs(drawn: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    definitions = drawn.get("definitions") if drawn is not None else None
    found = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
    return [graph for graph in found if isinstance(graph, Mapping)] if isinstance(found, list) else []


def _ids(drawn: Mapping[str, Any]) -> Iterator[int]:
    """Yield the numeric ids of all nodes, including those in subgraph definitions."""
    for graph in (drawn, *_subgraphs(drawn)):
        last = graph.get("last_node_id")
        nodes = graph.get("nodes")
        for node in nodes if isinstance(nodes, list) else ():
            number = node.get("id") if isinstance(node, Mapping) else None
            if isinstance(number, int) or (
                isinstance(number, str) and number.isdecimal() and len(number) < 9
            ):
                yield int(number)
        if isinstance(last, int):
            yield last
