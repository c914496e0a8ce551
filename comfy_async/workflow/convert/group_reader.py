"""Reading the definition of a group node, and creating its class as the editor does.

The editor creates a class for a group node (groupNode.ts, 1.49.6): it has the widgets and unlinked
inputs of the members in their order, renamed when two names would be the same, and the outputs
that lead out of the group. A link to the group node goes to the input with the same index among
the unlinked ones, as in the editor, which loses most links to widgets that way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from ...errors import ConversionError, WorkflowFormatError
from ..packs import pack_of
from .declarations import Declared, declared_inputs, read_declaration
from .editor_file import SavedNode, read_node
from .group_types import GroupInput, GroupLink, GroupOutput, GroupType
from .model import JSON_OBJECT
from .widgets import is_widget

__all__ = ["MOST_GROUPED", "Known", "read_group"]

# Group nodes that use another one twice double the number of nodes at each level.
MOST_GROUPED: Final = 10_000
"""The most nodes that the group nodes of a file may expand to; a few dozen are usual."""

Known: TypeAlias = dict[str, GroupType | None]
"""Group nodes by name, None while one is being read."""

_PREFIXES: Final = ("workflow>", "workflow/")

# No class has as many; a larger number is damage.
_MOST_OUTPUTS: Final = 1000


def read_group(name: str, groups: Mapping[str, Any], catalog: Mapping[str, Any], known: Known) -> GroupType:
    """Return the class of a group node.

    Args:
        name: Its name.
        groups: The file's definitions of all group nodes.
        catalog: The classes of the server.
        known: The group nodes that were read already; this one and nested ones are added.

    Raises:
        ConversionError: It expands to more than `MOST_GROUPED` nodes.
        WorkflowFormatError: It is damaged.
    """
    known[name] = None
    known[name] = group = _Reader(name, groups, catalog, known).group
    return group


class _Reader:
    """Reads one group node, and creates its class."""

    def __init__(
        self, name: str, groups: Mapping[str, Any], catalog: Mapping[str, Any], known: Known
    ) -> None:
        """Read the whole definition.

        Raises:
            ConversionError: It expands to more than `MOST_GROUPED` nodes.
            WorkflowFormatError: It is damaged.
        """
        self._place = f"extra.groupNodes.{name}"
        self._groups = groups
        self._catalog = catalog
        self._known = known
        data = groups[name] if isinstance(groups[name], JSON_OBJECT) else {}
        config = data.get("config")
        self._config: Mapping[str, Any] = config if isinstance(config, JSON_OBJECT) else {}
        members = [self._member(index, item) for index, item in enumerate(self._list(data, "nodes"))]
        self._types = [self._class(member.type) for member in members]
        self.group = GroupType(name, members, [])
        self.group.size += sum(self._size(member.type) for member in members)
        if self.group.size > MOST_GROUPED:
            raise ConversionError(f"the group nodes expand to more than {MOST_GROUPED} nodes")
        self.group.links = [self._link(link) for link in self._list(data, "links") if _is_inside(link)]
        self._external = {
            (int(item[0]), int(item[1])) for item in self._list(data, "external") if _is_inside(item, 2)
        }
        self._seen: dict[str, int] = {}
        self._seen_outputs: set[str] = set()
        self._describe()

    def _list(self, data: Mapping[str, Any], key: str) -> Sequence[Any]:
        """Return a list in the definition, an empty one when there is none."""
        value = data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            place = f"{self._place}.{key}"
            raise WorkflowFormatError(f"{place} should be a list, it is {value!r:.60}", place=place)
        return value

    def _member(self, index: int, data: Any) -> SavedNode:
        """Read one member; its links are stored in the group, not in the member."""
        place = f"{self._place}.nodes[{index}]"
        if not isinstance(data, JSON_OBJECT):
            raise WorkflowFormatError(f"{place} should be an object", place=place)
        member = read_node({**data, "id": index}, place)
        member.place = ""  # several instances may share it, so changes of one are not written there
        for slot in member.inputs:
            slot.link = None
        for output in member.outputs:
            output.links = []
        return member

    def _link(self, link: Sequence[Any]) -> GroupLink:
        """Read one link `[origin, output, target, input, ?, type]`, with indexes of members and slots."""
        members = self.group.members
        origin, output, target, place = (int(part) for part in link[:4])
        known = 0 <= origin < len(members) and 0 <= target < len(members)
        if not known or output > _MOST_OUTPUTS:
            where = f"{self._place}.links"
            raise WorkflowFormatError(
                f"{where}: {list(link)!r} names a node or output that does not exist", place=where
            )
        kind = str(link[5]) if len(link) > 5 and link[5] is not None else "*"
        return GroupLink(origin, output, target, self._input_name(target, place), kind)

    def _input_name(self, index: int, place: int) -> str:
        """Return the name of a member's input by its index among those in the file."""
        member = self.group.members[index]
        if 0 <= place < len(member.inputs):
            return member.inputs[place].name
        names = [item.name for item in self._types[index] or () if not is_widget(item)]
        if 0 <= place < len(names):
            return names[place]
        where = f"{self._place}.nodes[{index}].inputs"
        raise WorkflowFormatError(f"{where} has no input {place}, to which a link leads", place=where)

    def _class(self, node_type: str) -> list[Declared] | None:
        """Return the declared inputs of a class or a nested group node, None for editor-only nodes."""
        if (spec := self._catalog.get(node_type)) is not None:
            declared, pack = declared_inputs(node_type, spec), pack_of(node_type)
            return declared if pack is None else pack.declare(node_type, declared)
        if (nested := self._nested(node_type)) is not None:
            return list(nested.declared.values())
        return None

    def _nested(self, node_type: str) -> GroupType | None:
        """Return the nested group node of a type; None for other types, and while it is being read."""
        for prefix in _PREFIXES:
            name = node_type.removeprefix(prefix)
            if name != node_type and name in self._groups:
                if name in self._known:
                    return self._known[name]
                return read_group(name, self._groups, self._catalog, self._known)
        return None

    def _size(self, node_type: str) -> int:
        """Return how many nodes a member expands to."""
        nested = None if node_type in self._catalog else self._nested(node_type)
        return 1 if nested is None else nested.size

    def _describe(self) -> None:
        """Add the group node's widgets, inputs and outputs; widgets converted to inputs come last."""
        later: list[tuple[int, list[Declared]]] = []
        for index, member in enumerate(self.group.members):
            self.group.widgets.append({})
            declared = self._declared(index, member)
            if declared is None:
                continue
            later.append((index, self._add_inputs(index, declared)))
            self._add_outputs(index, member)
        for index, converted in later:
            for item in converted:
                self._add_widget(index, item, as_input=True)

    def _declared(self, index: int, member: SavedNode) -> list[Declared] | None:
        """Return the inputs of a member; those of primitives and reroutes depend on their links."""
        if member.type == "PrimitiveNode":
            first = self._first_from(index)
            return None if first is None else [self._primitive(member, first)]
        if member.type == "Reroute":
            if self._first_from(index) and self._first_to(index) and (index, 0) not in self._external:
                return None
            kind = self._reroute_type(index)
            return [Declared(kind, kind, {"forceInput": True})]
        return self._types[index]

    def _first_from(self, index: int) -> GroupLink | None:
        """Return the first link from a member."""
        return next((link for link in self.group.links if link.origin == index), None)

    def _first_to(self, index: int) -> GroupLink | None:
        """Return the first link to a member."""
        return next((link for link in self.group.links if link.target == index), None)

    def _primitive(self, member: SavedNode, link: GroupLink) -> Declared:
        """Return the widget of a primitive, which has the type of the input that it feeds."""
        fed = next((item for item in self._types[link.target] or () if item.name == link.input), None)
        if fed is None:
            return read_declaration("value", [link.type, {}])
        options = {**fed.options, "control_after_generate": True}
        options.pop("forceInput", None)
        return Declared("value", fed.type, options, fed.choices)

    def _reroute_type(self, index: int) -> str:
        """Return the type of a reroute at the boundary of the group."""
        if (link := self._first_from(index)) is not None:
            target = self.group.members[link.target]
            return next((slot.type for slot in target.inputs if slot.name == link.input), link.type)
        if (link := self._first_to(index)) is not None:
            origin = self.group.members[link.origin]
            return origin.outputs[link.output].type if link.output < len(origin.outputs) else link.type
        outputs = self.group.members[index].outputs
        return outputs[0].type if outputs else "*"

    def _add_inputs(self, index: int, declared: list[Declared]) -> list[Declared]:
        """Add a member's widgets and unlinked inputs; return its widgets that were converted to inputs."""
        fed = {link.input for link in self.group.links if link.target == index}
        converted: dict[int, Declared] = {}
        sockets = []
        for item in declared:
            if not is_widget(item):
                sockets.append(item)
            elif (place := self._converted_place(index, item.name)) is not None:
                converted[place] = item
            else:
                self._add_widget(index, item, as_input=False)
        for item in sockets:
            if item.name not in fed:
                self._add_socket(index, item)
        # The editor sorts these indexes as strings.
        ordered = [converted[place] for place in sorted(converted, key=str)]
        return [item for item in ordered if item.name not in fed]

    def _converted_place(self, index: int, name: str) -> int | None:
        """Return the index of a member's input that a widget was converted to, None for other widgets."""
        for place, slot in enumerate(self.group.members[index].inputs):
            if slot.name == name and slot.widget == name:
                return place
        return None

    def _add_widget(self, index: int, item: Declared, *, as_input: bool) -> None:
        """Add a member's widget to the group node, with an input if it was converted to one."""
        name, prefix = self._own_name(index, item.name)
        options = dict(item.options)
        if item.name in ("seed", "noise_seed"):
            options["control_after_generate"] = f"{prefix}control_after_generate"
        shown = Declared(name, item.type, options, item.choices).shown_as(item.widget_type)
        self.group.declared[name] = shown
        self.group.widgets[index][item.name] = name
        if as_input:
            self.group.inputs.append(GroupInput(name, item.type, index, item.name))

    def _add_socket(self, index: int, item: Declared) -> None:
        """Add a member's input for links to the group node, unless it is hidden."""
        name, _ = self._own_name(index, item.name)
        if self._customized(index, "input", item.name).get("visible") is not False:
            self.group.declared[name] = item.named(name).shown_as(item.widget_type)
            self.group.declared[name].socket_only = True
            self.group.inputs.append(GroupInput(name, item.type, index, item.name))

    def _own_name(self, index: int, inner: str) -> tuple[str, str]:
        """Return the name of a member's input on the group node, and the prefix that was added to it."""
        member, prefix = self.group.members[index], ""
        name = self._customized(index, "input", inner).get("name") or self._label(index, inner) or inner
        key = name
        titled = member.type == "PrimitiveNode" and bool(member.title)
        if titled or name in self._seen:
            prefix = f"{member.title or member.type} "
            key = name = f"{prefix}{inner}"
            if name in self._seen:
                name = f"{prefix}{self._seen[name]} {inner}"
        self._seen[key] = self._seen.get(key, 1) + 1
        return name, prefix

    def _customized(self, index: int, side: str, key: str) -> Mapping[str, Any]:
        """Return the user's settings of an input or output, {} when there are none."""
        part: Any = self._config
        for step in (str(index), side, key):
            part = part.get(step) if isinstance(part, JSON_OBJECT) else None
        return part if isinstance(part, JSON_OBJECT) else {}

    def _label(self, index: int, name: str) -> str | None:
        """Return the label of a member's input in the file, None when it has none."""
        inputs = self.group.members[index].saved.get("inputs")
        for item in inputs if isinstance(inputs, list) else ():
            if isinstance(item, JSON_OBJECT) and item.get("name") == name:
                return item.get("label") or None
        return None

    def _add_outputs(self, index: int, member: SavedNode) -> None:
        """Add a member's outputs that are linked outside of the group, or not linked."""
        inside = {link.output for link in self.group.links if link.origin == index}
        for slot, (name, kind) in enumerate(self._outputs(index, member)):
            changed = self._customized(index, "output", str(slot))
            hidden = slot in inside and (index, slot) not in self._external
            if changed.get("visible", not hidden):
                own = self._output_name(member, index, str(changed.get("name") or name))
                self.group.outputs.append(GroupOutput(own, kind, index, slot))

    def _outputs(self, index: int, member: SavedNode) -> list[tuple[str, str]]:
        """Return the names and types of a member's outputs."""
        if (spec := self._catalog.get(member.type)) is not None:
            kinds, names = spec.get("output") or (), spec.get("output_name") or ()
            kinds = ["COMBO" if isinstance(kind, list | tuple) else str(kind) for kind in kinds]
            return [(str(names[i]) if i < len(names) else kind, kind) for i, kind in enumerate(kinds)]
        if (nested := self._nested(member.type)) is not None:
            return [(output.name, output.type) for output in nested.outputs]
        declared = self._declared(index, member) or []
        return [(item.type, item.type) for item in declared]

    def _output_name(self, member: SavedNode, index: int, name: str) -> str:
        """Return a name that no other output of the group node has."""
        if name in self._seen_outputs:
            prefix = f"{member.title or member.type} "
            name = (
                f"{prefix}{name}"
                if f"{prefix}{name}" not in self._seen_outputs
                else f"{prefix}{index} {name}"
            )
        self._seen_outputs.add(name)
        return name


def _is_inside(link: Any, parts: int = 4) -> bool:
    """Return whether the first parts of a link are indexes; other links are left over from copying."""
    return isinstance(link, list | tuple) and all(
        _is_place(part) for part in (*link[:parts], *[None] * (parts - len(link)))
    )


def _is_place(part: Any) -> bool:
    """Return whether it is an index: a whole number, also as a string."""
    return isinstance(part, int | str) and str(part).isascii() and str(part).isdigit()
