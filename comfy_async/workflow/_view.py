"""Reading a graph of nodes: names, values, files, and the inputs worth changing."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..types import NodeInfo
from ._keys import matches, one_node, resolve
from ._nodes import Graph, Node, still_pending
from ._values import is_handle, plain

if TYPE_CHECKING:
    from ._inputs import WorkflowInput
    from .catalog import NodeCatalog

__all__ = ["GraphView"]


class GraphView:
    """The reading methods of a workflow; a node is named by id, else by title, else by class."""

    __slots__ = ("_infos", "_named")

    _infos: Mapping[str, NodeInfo] | None
    _named: Mapping[str, str]

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The nodes by id. Do not change it."""
        ...

    @property
    def named_outputs(self) -> Mapping[str, str]:
        """The names of this workflow's outputs, which its results are read by: node ids by name."""
        return self._named

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """The id, title and class of each node, by id.

        Raises:
            WorkflowFormatError: It is an editor file.
        """
        if self._infos is None:
            self._infos = MappingProxyType({key: node.info(key) for key, node in self.graph.items()})
        return self._infos

    def title(self, node: str) -> str:
        """Return the title of the node with this id, "" when it has none.

        Raises:
            UnknownInputError: No node has the id.
            WorkflowFormatError: It is an editor file.
        """
        return self._node(node).title

    def class_type(self, node: str) -> str:
        """Return the class of the node with this id.

        Raises:
            UnknownInputError: No node has the id.
            WorkflowFormatError: It is an editor file.
        """
        return self._node(node).class_type

    def find(self, name: str) -> list[NodeInfo]:
        """Return the nodes with this id, title or class, in this order; [] when there are none.

        Raises:
            WorkflowFormatError: It is an editor file.

        Example:
            >>> [node.id for node in flow.find("CLIP Text Encode (Prompt)")]
            ['6', '7']
        """
        found = dict.fromkeys(key for keys in matches(self.graph, str(name)) for key in keys)
        return [self.nodes[key] for key in found]

    def get(self, node: str, name: str) -> Any:
        """Return the value of an input: JSON, a link `[id, slot]`, or a file that is not uploaded yet.

        Raises:
            UnknownInputError: There is no such node or input.
            WorkflowFormatError: It is an editor file.
        """
        graph = self.graph
        key, field = resolve(graph, (node, name), lambda key, field: field in graph[key].inputs)
        value = graph[key].inputs[field]
        return value if is_handle(value) else plain(value)

    def uploads(self) -> dict[tuple[str, str], Any]:
        """Return what must be uploaded before it can run: path, bytes or image by (node id, input).

        Raises:
            WorkflowFormatError: It is an editor file.

        Example:
            >>> from pathlib import Path
            >>> flow.add("LoadImage", {"image": Path("face.png")}, id="20").uploads()
            {('20', 'image'): PosixPath('face.png')}
        """
        return {(key, name): node.inputs[name] for key, node in self.graph.items() for name in node.pending}

    def handles(self) -> dict[tuple[str, str], Any]:
        """Return the uploaded files that it uses: handles by (node id, input).

        Raises:
            WorkflowFormatError: It is an editor file.
        """
        return {
            (key, name): value
            for key, node in self.graph.items()
            for name, value in node.inputs.items()
            if is_handle(value)
        }

    def inputs(self, catalog: NodeCatalog | None = None, *, every: bool = False) -> list[WorkflowInput]:
        """Return the inputs worth changing, prompt texts first; `every` returns all that are no links.

        Args:
            catalog: Adds types, ranges and choices, and finds more texts and files.
            every: Also return inputs that are seldom changed.

        Raises:
            WorkflowFormatError: It is an editor file.

        Example:
            >>> for entry in flow.inputs()[1:2]:
            ...     print(entry.key, entry.title, entry.value, sep=" | ")
            7.text | CLIP Text Encode (Prompt) | text, watermark
        """
        from ._inputs import list_inputs

        return list_inputs(self.graph, catalog, every=every)

    def encode(self) -> bytes:
        """Return `to_api()` as compact JSON in UTF-8; nodes that variants share are encoded once.

        Raises:
            WorkflowError: Files are not uploaded yet.
            WorkflowFormatError: It is an editor file.
        """
        nodes = (f"{json.dumps(key)}:{node.encoded}" for key, node in self.sendable().items())
        return f"{{{','.join(nodes)}}}".encode()

    def sendable(self) -> Graph:
        """Return the nodes by id after checking that they can be sent as they are.

        Raises:
            WorkflowError: Files are not uploaded yet.
            WorkflowFormatError: It is an editor file.
        """
        graph = self.graph
        error = still_pending(graph)
        if error is not None:
            raise error
        return graph

    def _node(self, node: str) -> Node:
        graph = self.graph
        return graph[node] if node in graph else graph[one_node(graph, node)]
