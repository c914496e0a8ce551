"""The base class for the rules of a node pack, with a method for each step of the conversion."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import ConversionError
from ...types import Problem

if TYPE_CHECKING:
    from ..convert.declarations import Declared
    from ..convert.model import Graph, Node

__all__ = ["Pack", "not_convertible"]


class Pack:
    """The rules of a node pack: what its JavaScript does in ComfyUI's editor. Subclass it for a pack.

    The methods are called in this order: `declare` and `created` once for each class of a file,
    `restore` and `loaded` for each node, `queued` for the whole graph, and `source` for each link
    that comes from a virtual node. Each does nothing by default.

    Attributes:
        classes: The classes that the rules cover. The conversion accepts values and inputs of
            these that the server does not declare.
        virtual: The node types that exist only in the editor and are never sent.
        marks: Properties that the pack writes to nodes of other packs too. `queued` is called
            when a node has one, even if the file has no node of the pack.

    Example:
        >>> class Stickers(Pack):
        ...     virtual = frozenset({"Sticker (my pack)"})
    """

    classes: Collection[str] = ()
    virtual: Collection[str] = ()
    marks: ClassVar[Collection[str]] = ()

    def claims(self, node_type: str) -> bool:
        """Return whether nodes of that type belong to the pack."""
        return node_type in self.classes or node_type in self.virtual

    def knows(self, node_type: str) -> bool:
        """Return whether the rules cover nodes of that type completely."""
        return node_type in self.classes

    def declare(self, class_type: str, inputs: list[Declared]) -> list[Declared]:
        """Return the inputs of a class, changed where the pack has widgets of its own for them."""
        return inputs

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Change a new node of a class, which has the slots and widgets that the server declares."""

    def restore(self, node: Node, values: Any) -> bool:
        """Set the node's saved values (a list, an object or None), and return True.

        When it returns False, the values are set as the editor does it.
        """
        return False

    def loaded(self, node: Node) -> None:
        """Change a node after its saved values were set."""

    def queued(self, root: Graph) -> None:
        """Change the opened graph and its subgraphs, just before the prompt is written."""

    def source(self, node: Node, graphs: Sequence[Graph]) -> tuple[int, Node] | None:
        """Return the virtual node whose input replaces the output of this one.

        Args:
            node: A virtual node with a link from it.
            graphs: The graph that it is in, then those around it.

        Returns:
            The index in `graphs` of the other node's graph, and the node; None for this node itself.
        """
        return None


def not_convertible(node: Node, message: str, *, advice: str = "", received: Any = None) -> ConversionError:
    """Return the error for a node when it is uncertain what the editor would send for it."""
    problem = Problem(
        node=node.id,
        title=node.title or "",
        class_type=node.type,
        type="not_convertible",
        message=message,
        received=received,
        advice=advice,
    )
    return ConversionError(f"node {node.id} ({node.type}): {message}", problems=[problem], hint=advice)
