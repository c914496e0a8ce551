"""What the conversion rejects because it is uncertain: classes, types of inputs, values, links.

A file may be newer than the catalog, a pack may create widgets in JavaScript, a class may have
changed since the file was saved. The editor then drops what it cannot place. A run with values
that were shifted to other inputs looks right but is wrong, so here it is an error.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from ...errors import ConversionError
from ...types import Problem, counted
from .._specs import output_types
from .._subgraph_ids import NO_DEFINITION, is_subgraph
from ..packs import has_rules
from .declarations import declared_inputs
from .group_nodes import Incomplete, group_name
from .model import JSON_OBJECT, InputSlot, Node, any_type

__all__ = ["Choice", "refuse"]

Choice = Literal["raise", "keep"]

_log = logging.getLogger("comfy_async.workflow")

_CORE_MODULES: Final = ("comfy_extras.", "comfy_api_nodes.")

# Types of ComfyUI's own outputs that most catalogs have, and dynamic types; "unknown" stands for a
# malformed declaration. Other types are looked up in the catalog.
_COMMON: Final = frozenset(
    "image mask latent model clip vae conditioning int float string boolean combo sampler sigmas noise "
    "guider audio video control_net clip_vision clip_vision_output style_model upscale_model gligen "
    "comfy_autogrow_v3 comfy_matchtype_v3 comfy_dynamicslot_v3 unknown".split()
)


def refuse(
    nodes: Sequence[tuple[str, Node]],
    catalog: Mapping[str, Any],
    *,
    groups: Incomplete,
    unknown: Choice,
    lost: Choice,
) -> None:
    """Raise when the server cannot run some nodes, or when values or links of nodes would be lost.

    Args:
        nodes: The nodes that would be sent, each with its id in the prompt.
        catalog: What the server can run.
        groups: The group nodes that could not be expanded, with their missing classes.
        unknown: "keep" accepts nodes of classes that the server does not have.
        lost: "keep" drops values, links and inputs that cannot be placed.

    Raises:
        ConversionError: There are such nodes; `problems` lists them.
    """
    if unknown == "raise":
        strangers = [(place, node) for place, node in nodes if node.class_type is None]
        _raise([problem for place, node in strangers for problem in _unknown(place, node, groups)])
    if lost == "raise":
        problems, given = list[Problem](), _Given(catalog)
        for place, node in nodes:
            if node.class_type is None or not (found := list(_losses(place, node, given))):
                continue
            if has_rules(node.type) or _chooses_unknown(node):
                continue
            if _is_core(node, catalog[node.type]):
                _log.warning("%s (%s) of another version of ComfyUI: %s", place, node.type, found[0].message)
            else:
                problems += found
        _raise_lost(problems)


def _is_core(node: Node, spec: Mapping[str, Any]) -> bool:
    """Return whether the node is ComfyUI's own.

    Its widgets are known, so surplus values are from another version of the class and not from a
    pack's JavaScript. The editor drops them too, and official templates have some.
    """
    module = spec.get("python_module")
    if isinstance(module, str) and module.startswith(_CORE_MODULES):
        return True
    foreign = isinstance(module, str) and module.startswith("custom_nodes")
    return not foreign and node.properties.get("cnr_id") == "comfy-core"


def _raise(problems: list[Problem]) -> None:
    """Raise for nodes of unknown classes, if there are any."""
    if problems:
        count = f"{len(problems)} nodes are" if len(problems) > 1 else "a node is"
        told, way = f"{count} of a class that this server does not have", "Install what is missing"
        if all(problem.advice == NO_DEFINITION for problem in problems):
            told, way = f"{count} a subgraph whose definition the file lacks", "Export the file again"
            told = told.replace("are a subgraph", "are subgraphs")
        raise ConversionError(
            told,
            problems=problems,
            hint=f'{way}, mute or bypass these nodes in ComfyUI, or pass unknown="keep".',
        )


def _raise_lost(problems: list[Problem]) -> None:
    """Raise for values, links and inputs that would be lost, if there are any."""
    if problems:
        first, more = problems[0], len(problems) - 1
        raise ConversionError(
            f"node {first.node} ({first.class_type}): {first.message}"
            + (f", and {more} more" if more else ""),
            problems=problems,
            hint="Open and save the file in the ComfyUI that is to run it, "
            'or pass lost="keep" to convert without them.',
        )


def _unknown(place: str, node: Node, groups: Incomplete) -> Iterator[Problem]:
    """Yield the problem of a node of an unknown class; for a group node, one for each missing class."""
    name = group_name(node.type)
    if node.type not in groups:
        message, advice = f"the server has no class {node.type!r}", _install(node.properties)
        if name is not None:
            message = f"the file lacks the definition of the group node {name!r} (`extra.groupNodes`)"
            advice = "Use another copy of the file, or replace the group node by ordinary nodes."
        elif is_subgraph(node.type):
            message, advice = f"the definition of the subgraph {node.type!r} is missing", NO_DEFINITION
        yield _problem(place, node, "missing_node_type", message, received=node.type, advice=advice)
        return
    for kind, properties in groups[node.type].items():
        message = f"the server has no class {kind!r}, which is in the group node {name!r}"
        found = _problem(
            place, node, "missing_node_type", message, received=kind, advice=_install(properties)
        )
        yield dataclasses.replace(found, class_type=kind)


def _install(properties: Mapping[str, Any]) -> str:
    """Return the advice to install the pack that a node was saved with, by its registry id or repository."""
    for key in ("cnr_id", "aux_id"):
        pack = properties.get(key)
        if isinstance(pack, str) and pack and pack != "comfy-core":
            return f"Install the node pack {pack!r}."
    return ""


def _losses(place: str, node: Node, given: _Given) -> Iterator[Problem]:
    """Yield a problem for each value, link and input of a node that cannot be placed."""
    if values := [value for value in node.surplus if value not in (None, "")]:
        message = f"it has {counted(len(values), 'saved value')} more than its widgets take: {_shown(values)}"
        yield _problem(place, node, "values_lost", message, received=values)
    for link in node.strays:
        message = f"link {link.id} from node {link.origin_id} ends in an input that its class lacks"
        yield _problem(place, node, "link_lost", message, received=link.id)
    for slot in _unheard(node, given):
        message = f"the input {slot.name!r} is of type {slot.type!r}, for which no widget is known"
        yield _problem(place, node, "unknown_input_type", message, input=slot.name, received=slot.type)


def _chooses_unknown(node: Node) -> bool:
    """Return whether a dynamic combo has a value that is not an option, so that its inputs are unknown.

    The server rejects the value itself, so no wrong prompt is run.
    """
    return any(widget.kind == "dynamic" and widget.value not in widget.options for widget in node.widgets)


def _shown(values: Sequence[Any]) -> str:
    """Return values as a text for a message, shortened if long."""
    text = ", ".join(map(repr, values[:5]))
    return (text[:120] + "…") if len(text) > 120 or len(values) > 5 else text


def _unheard(node: Node, given: _Given) -> Iterator[InputSlot]:
    """Yield the unlinked inputs of a type that neither a widget nor an output has."""
    for slot in node.inputs:
        if slot.widget is None and slot.link is None and not any_type(slot.type):
            kinds = slot.type.lower().split(",")
            if not _COMMON.isdisjoint(kinds) or _saved_as_socket(node, slot):
                continue
            young = {kind.lower() for kind in node.editor.young}
            if not young.isdisjoint(kinds) or not given.types.isdisjoint(kinds):
                continue
            if _may_be_widget(node, given.catalog[node.type], slot.name.partition(".")[0]):
                yield slot


def _saved_as_socket(node: Node, slot: InputSlot) -> bool:
    """Return whether the file has the input without a widget: all editor versions mark widget inputs."""
    inputs = node.saved.get("inputs")
    return any(
        isinstance(item, JSON_OBJECT) and item.get("name") == slot.name and item.get("widget") is None
        for item in (inputs if isinstance(inputs, list | tuple) else ())
    )


def _may_be_widget(node: Node, spec: Mapping[str, Any], name: str) -> bool:
    """Return whether the class declares an input of that name that is not for links only."""
    declared = (item for item in declared_inputs(node.type, spec) if item.name == name)
    return any(not item.socket_only for item in declared)


class _Given:
    """The output types of a catalog's classes, collected when they are first needed."""

    def __init__(self, catalog: Mapping[str, Any]) -> None:
        """Keep the catalog."""
        self.catalog = catalog

    @functools.cached_property
    def types(self) -> frozenset[str]:
        """The types of all outputs, in lower case."""
        known = getattr(self.catalog, "output_types", None)
        return output_types(self.catalog) if known is None else known


def _problem(place: str, node: Node, kind: str, message: str, **more: Any) -> Problem:
    """Return a problem of a node."""
    return Problem(
        node=place, title=node.title or "", class_type=node.type, type=kind, message=message, **more
    )
