"""The rules of one node pack: a class with a method for each moment at which packs step in."""

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
    """What a node pack's JavaScript does in ComfyUI's editor; a subclass says what its pack does.

    The methods are called in this order: `declare` and `created` once for each class of a file,
    `restore` and `loaded` for each node, `queued` for the whole graph, and `source` for each link
    that comes from a virtual node. Each does nothing by default.

    Attributes:
        classes: The classes that the rules know. The conversion does not ask about values and
            inputs of theirs that the server does not declare.
        virtual: The nodes that exist in the editor only, and are never sent.
        marks: Properties that the pack writes to nodes of other packs too. `queued` is called
            when a node has one, even though no node of the pack is in the file.

    Example:
        >>> class Stickers(Pack):
        ...     virtual = frozenset({"Sticker (my pack)"})
    """

    classes: Collection[str] = ()
    virtual: Collection[str] = ()
    marks: ClassVar[Collection[str]] = ()

    def claims(self, node_type: str) -> bool:
        """Return whether nodes of that type are the pack's."""
        return node_type in self.classes or node_type in self.virtual

    def knows(self, node_type: str) -> bool:
        """Return whether the rules say everything about nodes of that type."""
        return node_type in self.classes

    def declare(self, class_type: str, inputs: list[Declared]) -> list[Declared]:
        """Return the inputs as the pack's own kinds of widgets want them read."""
        return inputs

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Change a new node of a class, which has the slots and widgets that its server declares."""

    def restore(self, node: Node, values: Any) -> bool:
        """Give the node its saved values (a list, an object, None); False leaves it to the editor."""
        return False

    def loaded(self, node: Node) -> None:
        """Change a node that has its values."""

    def queued(self, root: Graph) -> None:
        """Change the opened graph just before it is written, and the subgraphs in it."""

    def source(self, node: Node, graphs: Sequence[Graph]) -> tuple[int, Node] | None:
        """Return the virtual node whose input the output of this one stands for.

        Args:
            node: A virtual node with a link from it.
            graphs: The graph that it is in, then those around it.

        Returns:
            The place of the other node's graph in `graphs`, and the node; None for this node itself.
        """
        return None


def not_convertible(node: Node, message: str, *, advice: str = "", received: Any = None) -> ConversionError:
    """Return the error for a node of which it cannot be known what the editor would send."""
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
