"""The verbs of a workflow: each returns a new workflow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ..types import Problem
    from ._edits import Graph
    from ._inputs import WorkflowInput
    from .catalog import NodeCatalog

__all__ = ["Editing"]

_NOTHING: Any = object()

Self = TypeVar("Self", bound="Editing")


class Editing:
    """What can be done to a workflow; a node is named by id, else by title, else by class."""

    __slots__ = ()

    @abstractmethod
    def _graph(self) -> Graph: ...

    @abstractmethod
    def _with(self: Self, nodes: Graph) -> Self: ...

    @abstractmethod
    def with_inputs(
        self: Self, changes: Mapping[Any, Any], *, add: bool = False, catalog: NodeCatalog | None = None
    ) -> Self:
        """Return a copy with other values."""
        ...

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

        return self._with(replaced(self._graph(), old, new))

    def bypass(self: Self, node: Any, catalog: NodeCatalog | None = None) -> Self:
        """Take a node away and lead its inputs on to what it fed, by type, as the editor does.

        Without a catalog nothing is known of types: an input is led on to inputs of the same
        name, as it is right for `model` and `clip` of a LoRA, and a node's only link to all.

        Raises:
            UnknownInputError: The node is not there, or several have the name.
            WorkflowError: The catalog does not know its class, or none was given and the
                names do not tell.
            WorkflowFormatError: It is an editor file.

        Example:
            >>> between = flow.add("ImageInvert", {"image": ["8", 0]}, id="20").replace("8", "20")
            >>> between.bypass("20", await comfy.nodes.catalog()).get("9", "images")
            ['8', 0]
        """
        from ._bypass import bypassed

        return self._with(bypassed(self._graph(), node, catalog))

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

        return self._with(removed(self._graph(), nodes))

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

        graph = added(self._graph(), class_type, inputs or {}, node=id, title=title, catalog=catalog)
        return self._with(graph)

    def randomized(self: Self, seed: int | None = None, *, catalog: NodeCatalog | None = None) -> Self:
        """Return a copy with every seed drawn anew; the same `seed` draws the same.

        Args:
            seed: What the draws depend on; None for another result each time.
            catalog: Its ranges are kept, and seeds by other names than `seed` and
                `noise_seed` are known by it. Without one the draws stay below 2**31.

        Raises:
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.randomized(7).get("3", "seed") == flow.randomized(7).get("3", "seed")
            True
        """
        from ._edits import randomized

        return self._with(randomized(self._graph(), seed, catalog))

    def inputs(self, catalog: NodeCatalog | None = None, *, every: bool = False) -> list[WorkflowInput]:
        """List what is worth changing, prompt texts first; `every` lists all values.

        Args:
            catalog: Adds types, ranges and choices, and finds more texts and files.
            every: Also list what people seldom change.

        Raises:
            WorkflowFormatError: It is an editor file.

        Example:
            >>> for entry in flow.inputs()[1:2]:
            ...     print(entry.key, entry.title, entry.value, sep=" | ")
            7.text | CLIP Text Encode (Prompt) | text, watermark
        """
        from ._inputs import list_inputs

        return list_inputs(self._graph(), catalog, every=every)

    def check(self, catalog: NodeCatalog, *, replacements: Mapping[str, Any] | None = None) -> list[Problem]:
        """Return what a server with this catalog would refuse (errors), and what to know (warnings).

        An editor file is converted first. See `comfy_async.workflow.check.check.check`.

        Raises:
            WorkflowFormatError: The editor file is damaged.

        Example:
            >>> catalog = await comfy.nodes.catalog()  # or NodeCatalog.load("object_info.json")
            >>> for problem in flow.with_inputs({"3.steps": 0}).check(catalog):
            ...     print(problem)
            3 (KSampler), input 'steps': 0 is too small; it begins at 1; nearest: '1'
        """
        from ._lists import ProblemList
        from .check.check import check

        return ProblemList(check(self, catalog, replacements=replacements))  # type: ignore[arg-type]

    def localized(self: Self, catalog: NodeCatalog) -> Self:
        """Return a copy with model paths spelled as the server spells them, `\\` or `/`.

        Raises:
            WorkflowFormatError: It is an editor file.
        """
        from ._edits import localized

        return self._with(localized(self._graph(), catalog))
