"""The methods of a workflow that return a changed copy; their implementations are imported on use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ._nodes import Graph
from ._view import GraphView

if TYPE_CHECKING:
    from .catalog import NodeCatalog

__all__ = ["Editing"]

_NOTHING: Any = object()

Self = TypeVar("Self", bound="Editing")


class Editing(GraphView):
    """The editing methods of a workflow; a node is named by id, else by title, else by class."""

    __slots__ = ()

    @abstractmethod
    def _with(self: Self, nodes: Graph, named: Mapping[str, str] | None = None) -> Self:
        """Return a copy with other nodes, and other names for outputs unless None."""
        ...

    def with_named_outputs(self: Self, names: Mapping[str, str]) -> Self:
        """Return a copy with names for its outputs, so that results have `result["picture"]`.

        Args:
            names: Node ids by name.

        Raises:
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.with_named_outputs({"picture": "9"}).named_outputs["picture"]
            '9'
        """
        return self._with(self.graph, names)

    def with_graph(self: Self, nodes: Graph) -> Self:
        """Return a copy with other nodes, which are `graph` with some of them replaced.

        Args:
            nodes: The nodes by id; they are not checked.

        Raises:
            WorkflowFormatError: It is an editor file.
        """
        return self if nodes is self.graph else self._with(nodes)

    def with_inputs(
        self: Self, changes: Mapping[Any, Any], *, add: bool = False, catalog: NodeCatalog | None = None
    ) -> Self:
        """Return a copy with other values.

        Args:
            changes: Values by `"node.input"`, split at every dot in turn: node is an id, else a
                title, else a class. `("node", "input")` is the form without ambiguity.
                `[id, slot]` is a link, another list is passed as a list. Paths, bytes, open
                files and images are uploaded by submit().
            add: Also accept inputs that the node does not have yet.
            catalog: Also accept inputs that the node's class declares, and convert texts to
                the types of their inputs.

        Raises:
            UnknownInputError: No node or input has that name, several nodes do, or a value
                cannot be sent.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> other = flow.with_inputs({"6.text": "a fox", "KSampler.steps": 8, ("5", "width"): 768})
            >>> other.get("6", "text"), other.get("3", "steps"), other.get("5", "width")
            ('a fox', 8, 768)
        """
        from ._edits import with_values

        return self._with(with_values(self.graph, changes, add=add, catalog=catalog))

    def set(
        self: Self,
        node: Any,
        name: Any,
        value: Any = _NOTHING,
        /,
        *,
        add: bool = False,
        catalog: NodeCatalog | None = None,
    ) -> Self:
        """Return a copy with another value in one input, as `with_inputs` does for many.

        `set("3", "seed", 42)` and `set("3.seed", 42)` are the same.

        Raises:
            UnknownInputError: No node or input has that name, several nodes do, or the value
                cannot be sent.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.set("KSampler", "steps", 8).get("3", "steps")
            8
        """
        changes = {node: name} if value is _NOTHING else {(node, name): value}
        return self.with_inputs(changes, add=add, catalog=catalog)

    def replace(self: Self, old: Any, new: Any) -> Self:
        """Return a copy in which every link from `old` comes from `new` instead.

        Both are a node (each slot keeps its number) or `(node, slot)`. The nodes that `new`
        depends on keep their links, so a node can be inserted: add it, linked to `old`,
        then replace `old` by it.

        Raises:
            UnknownInputError: One of the nodes does not exist, or several have the name.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> between = flow.add("ImageInvert", {"image": ["8", 0]}, id="20").replace("8", "20")
            >>> between.get("20", "image"), between.get("9", "images")
            (['8', 0], ['20', 0])
        """
        from ._edits import replaced

        return self._with(replaced(self.graph, old, new))

    def bypass(self: Self, node: Any, catalog: NodeCatalog | None = None) -> Self:
        """Return a copy without a node, its inputs connected to what it fed, as the editor's bypass does.

        Inputs are matched by type. Without a catalog types are unknown: an input is connected to
        inputs of the same name, such as `model` and `clip` of a LoRA, and a node's only link to all.

        Raises:
            UnknownInputError: The node does not exist, or several have the name.
            WorkflowError: The catalog lacks its class, or there is no catalog and the match by
                name is ambiguous.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> between = flow.add("ImageInvert", {"image": ["8", 0]}, id="20").replace("8", "20")
            >>> between.bypass("20", await comfy.nodes.catalog()).get("9", "images")
            ['8', 0]
        """
        from ._bypass import bypassed

        return self._with(bypassed(self.graph, node, catalog))

    def mute(self: Self, node: Any) -> Self:
        """Return a copy without a node, as the editor's mute does: what it fed loses that input.

        Raises:
            UnknownInputError: The node does not exist, or several have the name.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.add("PreviewImage", {"images": ["8", 0]}, id="20").mute("20")
            <Workflow 8 nodes, api>
        """
        return self.remove(node)

    def remove(self: Self, *nodes: Any) -> Self:
        """Return a copy without some nodes, and without the inputs that were linked to them.

        Raises:
            UnknownInputError: One of the nodes does not exist, or several have the name.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.remove("9", "8")
            <Workflow 6 nodes, api>
        """
        from ._edits import removed

        return self._with(removed(self.graph, nodes))

    def add(
        self: Self,
        class_type: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        title: str | None = None,
        catalog: NodeCatalog | None = None,
    ) -> Self:
        """Return a copy with one more node.

        Args:
            class_type: Its class.
            inputs: Its values and links (`[id, slot]`).
            id: Its id; by default the next free number.
            title: Its title, by which it can be found.
            catalog: Used to fill in defaults, and to reject inputs that the class does not have.

        Raises:
            UnknownInputError: The id is taken, the class or an input is unknown, or a
                value cannot be sent.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> inverted = flow.add("ImageInvert", {"image": ["8", 0]}, id="20")
            >>> inverted.with_inputs({"9.images": ["20", 0]}).get("9", "images")
            ['20', 0]
        """
        from ._edits import added

        graph = added(self.graph, class_type, inputs or {}, node=id, title=title, catalog=catalog)
        return self._with(graph)

    def with_seed(self: Self, seed: int, *, catalog: NodeCatalog | None = None) -> Self:
        """Return a copy with this number in every seed.

        Args:
            seed: The number, the same in all of them.
            catalog: Used to check ranges, and to find seeds with other names than `seed` and
                `noise_seed`.

        Raises:
            UnknownInputError: There is no seed, or the number is out of the range of one.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.with_seed(0).get("3", "seed")
            0
        """
        from ._edits import with_seed

        return self._with(with_seed(self.graph, seed, catalog))

    def randomized(self: Self, source: int | None = None, *, catalog: NodeCatalog | None = None) -> Self:
        """Return a copy with a new random number in every seed.

        Args:
            source: What the seeds are drawn from: the same number draws the same seeds, a different
                one for each input. It is not itself the seed, see `with_seed`. None draws new ones.
            catalog: Used to keep to ranges, and to find seeds with other names than `seed` and
                `noise_seed`. Without one the seeds stay below 2**31.

        Raises:
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.randomized(7).get("3", "seed") == flow.randomized(7).get("3", "seed")
            True
        """
        from ._edits import randomized

        return self._with(randomized(self.graph, source, catalog))

    def localized(self: Self, catalog: NodeCatalog) -> Self:
        """Return a copy with model paths spelled as the server spells them, `\\` or `/`.

        Raises:
            WorkflowFormatError: It is an editor file.
        """
        from ._edits import localized

        return self._with(localized(self.graph, catalog))
