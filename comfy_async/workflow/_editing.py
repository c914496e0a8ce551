"""The methods of a workflow that return a new one. What does the work is loaded when it is used."""

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
    """What can be done to a workflow; a node is named by id, else by title, else by class."""

    __slots__ = ()

    @abstractmethod
    def _with(self: Self, nodes: Graph, named: Mapping[str, str] | None = None) -> Self:
        """Return the same workflow with other nodes, and other names for outputs."""
        ...

    def with_named_outputs(self: Self, names: Mapping[str, str]) -> Self:
        """Return the same workflow with names for its outputs: its results have `result["picture"]`.

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
        """Return the same workflow with other nodes, which are `graph` with some of them replaced.

        Raises:
            WorkflowFormatError: It is an editor file.
        """
        return self if nodes is self.graph else self._with(nodes)

    def with_inputs(
        self: Self, changes: Mapping[Any, Any], *, add: bool = False, catalog: NodeCatalog | None = None
    ) -> Self:
        """Return a copy with other values.

        Args:
            changes: Values by `"node.input"`, tried at every dot: node is an id, else a
                title, else a class. `("node", "input")` is the form that cannot be mistaken.
                `[id, slot]` is a link, another list is passed as a list. Paths, bytes, open
                files and images are uploaded by submit().
            add: Take inputs that the node does not have yet.
            catalog: Take inputs that the node's class is known to have.

        Raises:
            UnknownInputError: No node or input has that name, two different nodes have,
                or a value cannot be sent; nothing was changed.
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
            UnknownInputError: No node or input has that name, or the value cannot be sent.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.set("KSampler", "steps", 8).get("3", "steps")
            8
        """
        changes = {node: name} if value is _NOTHING else {(node, name): value}
        return self.with_inputs(changes, add=add, catalog=catalog)

    def replace(self: Self, old: Any, new: Any) -> Self:
        """Let everything that is linked to `old` be linked to `new`.

        Both are a node (each slot keeps its number) or `(node, slot)`. What `new` itself
        needs keeps its links, so a node can be put in between: add it, linked to `old`,
        then replace `old` by it.

        Raises:
            UnknownInputError: One of the nodes is not there, or several have the name.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> between = flow.add("ImageInvert", {"image": ["8", 0]}, id="20").replace("8", "20")
            >>> between.get("20", "image"), between.get("9", "images")
            (['8', 0], ['20', 0])
        """
        from ._edits import replaced

        return self._with(replaced(self.graph, old, new))

    def bypass(self: Self, node: Any, catalog: NodeCatalog | None = None) -> Self:
        """Take a node away and lead its inputs on to what it fed, by type, as the editor does.

        Without a catalog nothing is known of types: an input is led on to inputs of the same
        name, as it is right for `model` and `clip` of a LoRA, and a node's only link to all.

        Raises:
            UnknownInputError: The node is not there, or several have the name.
            WorkflowError: The catalog does not know its class, or none was given and the
                names do not decide.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> between = flow.add("ImageInvert", {"image": ["8", 0]}, id="20").replace("8", "20")
            >>> between.bypass("20", await comfy.nodes.catalog()).get("9", "images")
            ['8', 0]
        """
        from ._bypass import bypassed

        return self._with(bypassed(self.graph, node, catalog))

    def mute(self: Self, node: Any) -> Self:
        """Take a node away as the editor's muting does: what it fed loses that input.

        Raises:
            UnknownInputError: The node is not there, or several have the name.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.add("PreviewImage", {"images": ["8", 0]}, id="20").mute("20")
            <Workflow 8 nodes, api>
        """
        return self.remove(node)

    def remove(self: Self, *nodes: Any) -> Self:
        """Take nodes away, and every input that was linked to them.

        Raises:
            UnknownInputError: One of the nodes is not there, or several have the name.
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
        """Put a node in.

        Args:
            class_type: Its class.
            inputs: Its values and links (`[id, slot]`).
            id: Its id, the next free number without one.
            title: Its title, by which it can be found again.
            catalog: Fill in defaults, and refuse what the class does not have.

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
            catalog: Its ranges are kept, and seeds by other names than `seed` and
                `noise_seed` are known by it.

        Raises:
            UnknownInputError: There is no seed, or one of them does not take the number.
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
            source: What the draws depend on: the same number draws the same seeds, for each
                node its own. It is no seed itself, which is `with_seed`. None gives new ones each time.
            catalog: Its ranges are kept, and seeds by other names than `seed` and
                `noise_seed` are known by it. Without one the draws stay below 2**31.

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
