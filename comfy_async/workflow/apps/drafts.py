"""Finding the inputs of an app: in a mapping, in titles, in App mode, or in the workflow itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import UnknownInputError
from ...types import clipped
from .._inputs import list_inputs
from .._keys import matches, nearest, resolve
from .._nodes import Graph
from .._specs import InputSpec
from .._values import is_link
from ..catalog import NodeCatalog
from ..convert import Field, convert_fields
from .names import given_name, is_name, word
from .parts import Draft, Target, Unresolved
from .roles import NAMELESS, PROMPTS, file_kind, is_widget_type, role

__all__ = ["from_app_mode", "from_graph", "from_mapping", "from_titles", "title_name"]

_TITLE = re.compile(r"\$([^.]+?)(?:\.(.+))?")

LOADED = "loaded_if_given"
"""The key of an App mode entry for a node that `blueprints` added: whether it may be left out."""

_KINDS = ("text", "file", "seed", "size", "sampling", "model")


def from_mapping(
    names: Mapping[str, Any], graph: Graph, catalog: NodeCatalog, drawn: Mapping[str, Any] | None
) -> list[Draft]:
    """Return the inputs of a mapping: `{"prompt": "6.text"}`, with a list for several places.

    Raises:
        UnknownInputError: A name is not a Python name, or its place does not exist or takes only links.
    """
    drafts = []
    for name, places in names.items():
        if not is_name(name):
            raise UnknownInputError(
                f"{clipped(name)} is not a valid name for an input",
                hint="A name is a Python identifier, no keyword, and does not begin with an underscore.",
            )
        listed = places if isinstance(places, list) else [places]
        if not listed:
            raise UnknownInputError(f"input {name!r} has no place in the workflow")
        targets = [target for place in listed for target in _place(graph, catalog, drawn, place)]
        for target in targets:
            _demand_value(graph, catalog, target)
        title = graph[targets[0][0]].title
        drafts.append(Draft(tuple(dict.fromkeys(targets)), (name,), title, fixed=True))
    return drafts


def _place(
    graph: Graph, catalog: NodeCatalog, drawn: Mapping[str, Any] | None, place: Any
) -> tuple[Target, ...]:
    """Return the inputs that a place of a mapping names: one of the prompt, else a widget of the editor file.

    Raises:
        UnknownInputError: There is no such input or widget.
    """

    def accepts(key: str, name: str) -> bool:
        node = graph[key]
        return name in node.inputs or catalog.input(node.class_type, name, node.inputs) is not None

    try:
        return (resolve(graph, place, accepts),)
    except UnknownInputError:
        for name in _splits(place) if drawn is not None else ():
            (field,) = convert_fields(drawn or {}, catalog, [name])
            if field.targets and all(target[0] in graph for target in field.targets):
                return field.targets
        raise


def _splits(place: Any) -> Iterator[Target]:
    """Yield the ways to split a place into a node and an input."""
    if isinstance(place, tuple) and len(place) == 2:
        yield str(place[0]), str(place[1])
    elif isinstance(place, str):
        for dot in (at for at, letter in enumerate(place) if letter == "."):
            yield place[:dot], place[dot + 1 :]


def _demand_value(graph: Graph, catalog: NodeCatalog, target: Target) -> None:
    """Raise when an input takes only links, so that no value can be given to it."""
    node = graph[target[0]]
    spec = catalog.input(node.class_type, target[1], node.inputs)
    current = node.inputs.get(target[1])
    if spec is None or is_widget_type(spec) or not (spec.force_input or current is None or is_link(current)):
        return
    source = ""
    if current is not None and is_link(current) and current[0] in graph:
        source = f", {graph[current[0]].info(current[0])}"
    raise UnknownInputError(
        f"node {node.info(target[0])}, input {target[1]!r} takes a link of type {spec.type}, no value",
        hint=f"Name an input of the node that it is linked to{source}.",
    )


def from_titles(graph: Graph, catalog: NodeCatalog) -> Iterator[Draft | Unresolved]:
    """Yield the inputs that titles name: `$photo`, `$seed.seed`; titles of output nodes are skipped."""
    for key, node in graph.items():
        found = _TITLE.fullmatch(node.title.strip())
        if found is None:
            continue
        name, field = given_name(found[1]), found[2]
        if field is None:
            if _is_output(catalog, node.class_type):
                continue
            field = _first_field(graph, catalog, key)
        if field is None or not _takes_value(graph, catalog, (key, field)):
            reason = f"node {key} has no input {field!r}" if field else f"node {key} has no value to set"
            yield Unresolved(key, field or node.title, reason)
        elif not name:
            yield Unresolved(key, field, f"the title {node.title!r} has no valid name after `$`")
        else:
            yield Draft(((key, field),), (name,), found[1].strip(), fixed=True)


def title_name(title: str) -> str:
    """Return the name in an output's title (`$portrait`), "" when there is none."""
    found = _TITLE.fullmatch(title.strip())
    return given_name(found[1]) if found is not None else ""


def _first_field(graph: Graph, catalog: NodeCatalog, key: str) -> str | None:
    """Return the main input of a node: its text, its file, its seed, else its first value."""
    listed = [entry for entry in list_inputs(graph, catalog, every=True) if entry.node == key]
    return listed[0].input if listed else None


def _takes_value(graph: Graph, catalog: NodeCatalog, target: Target) -> bool:
    """Return whether the node has this input, and it accepts values and not only links."""
    node = graph[target[0]]
    spec = catalog.input(node.class_type, target[1], node.inputs)
    if spec is None:
        return target[1] in node.inputs and not is_link(node.inputs[target[1]])
    return is_widget_type(spec)


def from_app_mode(
    drawn: Mapping[str, Any] | None, graph: Graph, catalog: NodeCatalog
) -> Iterator[Draft | Unresolved]:
    """Yield the inputs that were chosen in the editor's App mode, in their order."""
    listed = app_mode(drawn).get("inputs")
    entries = [_entry(item) for item in listed] if isinstance(listed, list) else []
    names = [(node, name) for node, name, _ in entries if name]
    fields = iter(convert_fields(drawn or {}, catalog, names) if names else ())
    seen: set[Target] = set()
    for node, name, config in entries:
        if not name:
            yield Unresolved(node, name, "the entry has no node id and input name")
            continue
        field = next(fields)
        targets = tuple(target for target in field.targets if target[0] in graph)
        if not targets:
            yield Unresolved(
                field.node, field.input, field.reason or "the workflow no longer has such a node"
            )
        elif seen.isdisjoint(targets):  # else it is a duplicate
            seen.update(targets)
            yield _draft_of(field, targets, config, graph, catalog)


def app_mode(drawn: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the inputs and outputs of App mode (`extra.linearData`), {} when a file has none."""
    extra = drawn.get("extra") if drawn is not None else None
    found = extra.get("linearData") if isinstance(extra, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _entry(item: Any) -> tuple[str, str, Mapping[str, Any]]:
    """Return the node, the widget and the settings of one entry; the widget is "" in a damaged one."""
    parts = item if isinstance(item, list) else [item]
    node = str(parts[0]) if parts else ""
    name = parts[1] if len(parts) > 1 and isinstance(parts[1], str) else ""
    config = parts[2] if len(parts) > 2 and isinstance(parts[2], Mapping) else {}
    return node, name or _last_part(node), config


def _last_part(node: str) -> str:
    """Return the widget of the newer form `<graph>:<node>:<widget>`, "" for a plain id."""
    parts = node.split(":", 2)
    return parts[2] if len(parts) == 3 and len(parts[0]) == 36 else ""


def _draft_of(
    field: Field,
    targets: tuple[Target, ...],
    config: Mapping[str, Any],
    graph: Graph,
    catalog: NodeCatalog,
) -> Draft:
    """Return one entry of App mode as an input."""
    described = config.get("description")
    described = described if isinstance(described, str) else ""
    made = _draft(targets, graph, catalog, label=field.label, title=field.title, description=described)
    loaded = isinstance(config.get(LOADED), bool)
    return dataclasses.replace(made, loaded=loaded, optional=config.get(LOADED) is True)


def _draft(
    targets: tuple[Target, ...],
    graph: Graph,
    catalog: NodeCatalog,
    *,
    label: str = "",
    title: str = "",
    description: str = "",
) -> Draft:
    """Return an input without a given name; candidates are its label, its role and its node's title.

    The title precedes the role when the role says nothing or the node only passes a value on.
    """
    key, name = targets[0]
    node = graph[key]
    plain = role(graph, catalog, targets[0])
    title = next(
        (one for one in (title, node.title) if one not in _class_names(catalog, node.class_type)), ""
    )
    short = word(title).removeprefix("load_")
    by_title = plain in NAMELESS or (name == "value" and len(node.inputs) == 1)
    upload = file_kind(node.class_type, name, spec_of(graph, catalog, targets[0]))
    names = (word(label), short, plain) if by_title else (word(label), plain, short)
    return Draft(targets, names, label or (title if by_title or upload else ""), description)


def from_graph(graph: Graph, catalog: NodeCatalog) -> Iterator[Draft]:
    """Yield the inputs worth changing in a workflow that names none: prompts and files first."""
    for entry in list_inputs(graph, catalog):
        target = entry.node, entry.input
        if entry.kind in _KINDS and _takes_value(graph, catalog, target):
            if entry.kind != "text" or _is_prompt(graph, catalog, target):
                yield _draft((target,), graph, catalog, title=entry.title)


def _is_prompt(graph: Graph, catalog: NodeCatalog, target: Target) -> bool:
    """Return whether a text is a prompt, and not a pattern or a part of another text."""
    leaf = target[1].rpartition(".")[2]
    return leaf in PROMPTS or leaf == "value" or role(graph, catalog, target) in PROMPTS


def _class_names(catalog: NodeCatalog, class_type: str) -> set[str]:
    """Return the titles that a node has by default: those of its class."""
    names = {"", class_type}
    return names | {catalog.node(class_type).display_name} if class_type in catalog else names


def _is_output(catalog: NodeCatalog, class_type: str) -> bool:
    return class_type in catalog and catalog.node(class_type).output_node


def output_node(graph: Graph, place: Any) -> str:
    """Return the only node that a place of `outputs=` names: by id, title or class.

    Raises:
        UnknownInputError: No node has that name, or several do.
    """
    wanted = str(place)
    found = next(matches(graph, wanted), [])
    if len(found) == 1:
        return found[0]
    known = [name for key, node in graph.items() for name in (key, node.title, node.class_type) if name]
    close = tuple(str(graph[key].info(key)) for key in found) or nearest(wanted, known)
    told = "means more than one node" if found else "is not a node of the workflow"
    listed = f"; {'there are' if found else 'nearest'}: {', '.join(close)}" if close else ""
    raise UnknownInputError(f"output {clipped(wanted)} {told}{listed}", candidates=close)


def spec_of(graph: Graph, catalog: NodeCatalog, target: Target) -> InputSpec | None:
    """Return the catalog's specification of an input, None when it has none."""
    node = graph[target[0]]
    return catalog.input(node.class_type, target[1], node.inputs)
