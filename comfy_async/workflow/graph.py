"""The workflow: an immutable graph of nodes, loaded from anything, edited by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UnknownInputError, WorkflowFormatError
from ..types import NodeInfo, Shown
from ._editing import Editing
from ._keys import changed, matches, one_node, resolve
from ._load import open_editor, open_source
from ._nodes import Node, parse_nodes, still_pending
from ._reading import Source
from ._saving import save
from ._values import is_handle, plain
from .convert import Drawing, convert_traced

if TYPE_CHECKING:
    from .build import GraphBuilder
    from .catalog import NodeCatalog

__all__ = ["Workflow"]

_CONVERT = (
    "Convert it first: `flow.converted(await comfy.nodes.catalog())`, or with a catalog from a file; "
    "submit() takes it as it is."
)


class Workflow(Shown, Editing):
    """A graph of nodes to run; every change returns a new workflow and shares what stays the same.

    Example:
        >>> flow = Workflow.load("examples/workflows/sd15_text2image_api.json")
        >>> flow
        <Workflow 8 nodes, api>
        >>> other = flow.with_inputs({"3.seed": 42, "KSampler.steps": 8})
        >>> other.get("3", "seed"), flow.get("3", "seed")
        (42, 1234)
    """

    __slots__ = ("_drawing", "_infos", "_nodes")

    def __init__(
        self, nodes: Mapping[str, Any] | None = None, *, editor: Mapping[str, Any] | None = None
    ) -> None:
        """Take an API graph, and the editor file that it was made from.

        Raises:
            WorkflowFormatError: Either is damaged.
        """
        self._nodes: dict[str, Node] | None = None if nodes is None else parse_nodes(nodes)
        self._drawing = None if editor is None else Drawing(open_editor(editor), self._nodes)
        self._infos: Mapping[str, NodeInfo] | None = None
        if self._nodes is None and self._drawing is None:
            self._nodes = {}

    # Getting one.

    @classmethod
    def load(cls, source: Source) -> Workflow:
        """Read a workflow from a path, JSON text, bytes or a dict.

        API format, the editor's format, and pictures, films and sounds that ComfyUI saved
        are told apart by their content. A file that carries both formats becomes an API
        workflow that keeps the other as `editor`.

        Raises:
            WorkflowFormatError: It is no workflow, or damaged; `place` says where.
            OSError: The file cannot be read.

        Example:
            >>> Workflow.load("examples/workflows/sd15_text2image_api.json")
            <Workflow 8 nodes, api>
            >>> Workflow.load(await (await comfy.run(flow)).images[0].read())  # a picture that carries it
            <Workflow 8 nodes, api>
        """
        nodes, editor = open_source(source)
        return cls._of(nodes, None if editor is None else Drawing(editor, nodes))

    @classmethod
    def from_ui(cls, editor_json: Source | Workflow, catalog: NodeCatalog) -> Workflow:
        """Convert an editor file as ComfyUI's own frontend does, and keep it as `editor`.

        Takes what `load` takes, and a workflow that was loaded from one.

        Raises:
            ConversionError: A node cannot be converted; every one is listed.
            WorkflowFormatError: It is no editor file, or damaged.
            OSError: The file cannot be read.

        Example:
            >>> catalog = await comfy.nodes.catalog()
            >>> Workflow.from_ui("examples/workflows/sd15_text2image_ui.json", catalog)
            <Workflow 8 nodes, api>
        """
        if isinstance(editor_json, Workflow):
            drawing = editor_json._drawing
            editor_json = editor_json.to_api() if drawing is None else drawing.editor
        editor = open_editor(editor_json)
        prompt, origins = convert_traced(editor, catalog)
        nodes = parse_nodes(prompt)
        return cls._of(nodes, Drawing(editor, nodes, origins))

    @classmethod
    def build(cls, catalog: NodeCatalog | None = None, *, start: Workflow | None = None) -> GraphBuilder:
        """Begin a graph in Python code: nodes are calls, inputs keywords, outputs values.

        Args:
            catalog: Fills in defaults and refuses what the server would refuse.
            start: A workflow whose nodes are there from the beginning.

        Raises:
            WorkflowFormatError: `start` is an editor file.

        Example:
            >>> graph = Workflow.build(await comfy.nodes.catalog())
            >>> picture = graph.EmptyImage(width=64, height=64, color=0xFF8800)
            >>> saved = graph.SaveImage(images=picture, filename_prefix="orange")
            >>> result = await comfy.run(graph.workflow())
        """
        from .build import GraphBuilder

        return GraphBuilder(catalog, start=start)

    @classmethod
    def _of(cls, nodes: dict[str, Node] | None, drawing: Drawing | None) -> Workflow:
        """Make a workflow from parts that are its own already."""
        made = cls.__new__(cls)
        made._nodes, made._drawing, made._infos = nodes, drawing, None
        return made

    def _with(self, nodes: dict[str, Node]) -> Workflow:
        return self._of(nodes, self._drawing)

    # Reading it.

    @property
    def format(self) -> Literal["api", "editor"]:
        """ "api" when it can be sent as it is, "editor" when a catalog must convert it first."""
        return "editor" if self._nodes is None else "api"

    @property
    def editor(self) -> Mapping[str, Any] | None:
        """The editor file that it came from, with its changed values, or None. Do not change it.

        submit() sends it along, and ComfyUI saves it in the pictures and opens it from there.
        Values that `converted()` or `from_ui` took from the file are carried back into it. It is
        None after every other change (a link, a node, values of a file that already was in API
        format), for it would not be what is run.

        Example:
            >>> drawn = Workflow.load("examples/workflows/sd15_text2image_ui.json")
            >>> flow = drawn.converted(await comfy.nodes.catalog()).with_inputs({"KSampler.seed": 43})
            >>> [node["widgets_values"][0] for node in flow.editor["nodes"] if node["type"] == "KSampler"]
            [43]
        """
        return None if self._drawing is None else self._drawing.showing(self._nodes)

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """What the nodes are called, by id.

        Raises:
            WorkflowFormatError: It is an editor file.
        """
        if self._infos is None:
            self._infos = MappingProxyType({key: node.info(key) for key, node in self._graph().items()})
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
        found = dict.fromkeys(key for keys in matches(self._graph(), str(name)) for key in keys)
        return [self.nodes[key] for key in found]

    def get(self, node: str, name: str) -> Any:
        """Return the value of an input: JSON, a link, or a file that waits for its upload.

        Raises:
            UnknownInputError: There is no such node or input.
            WorkflowFormatError: It is an editor file.
        """
        graph = self._graph()
        key, field = resolve(graph, (node, name), lambda key, field: field in graph[key].inputs)
        value = graph[key].inputs[field]
        return value if is_handle(value) else plain(value)

    def to_api(self, catalog: NodeCatalog | None = None) -> dict[str, dict[str, Any]]:
        """Return the plain dict that POST /prompt takes; it is yours to change.

        Raises:
            WorkflowError: Files wait to be uploaded.
            WorkflowFormatError: It is an editor file and there is no catalog.
            ConversionError: It is an editor file that cannot be converted.
        """
        if self._nodes is None and catalog is not None:
            return self.converted(catalog).to_api()
        graph = self._sendable()
        return {key: node.plain() for key, node in graph.items()}

    def encode(self) -> bytes:
        """Return `to_api()` as compact JSON; nodes that variants share are encoded once.

        Raises:
            WorkflowError: Files wait to be uploaded.
            WorkflowFormatError: It is an editor file.
        """
        nodes = (f"{json.dumps(key)}:{node.encoded}" for key, node in self._sendable().items())
        return f"{{{','.join(nodes)}}}".encode()

    def converted(self, catalog: NodeCatalog) -> Workflow:
        """Return itself when it is in API format, else what `from_ui` makes of it.

        Raises:
            ConversionError: A node cannot be converted; every one is listed.
            WorkflowFormatError: The editor file is damaged.

        Example:
            >>> editor = Workflow.load("examples/workflows/sd15_text2image_ui.json")
            >>> editor.format, editor.converted(await comfy.nodes.catalog()).format
            ('editor', 'api')
        """
        if self._nodes is not None or self._drawing is None:
            return self
        return self.from_ui(self._drawing.editor, catalog)

    def uploads(self) -> dict[tuple[str, str], Any]:
        """Return what must be uploaded before it can run: (node id, input) to path, bytes or image.

        Raises:
            WorkflowFormatError: It is an editor file.

        Example:
            >>> from pathlib import Path
            >>> flow.add("LoadImage", {"image": Path("face.png")}, id="20").uploads()
            {('20', 'image'): PosixPath('face.png')}
        """
        graph = self._graph()
        return {(key, name): node.inputs[name] for key, node in graph.items() for name in node.pending}

    def handles(self) -> dict[tuple[str, str], Any]:
        """Return the uploaded files that it uses: (node id, input) to the handle, for other servers.

        Raises:
            WorkflowFormatError: It is an editor file.
        """
        graph = self._graph()
        return {
            (key, name): value
            for key, node in graph.items()
            for name, value in node.inputs.items()
            if is_handle(value)
        }

    # Changing it: each returns a new workflow.

    def with_inputs(
        self, changes: Mapping[Any, Any], *, add: bool = False, catalog: NodeCatalog | None = None
    ) -> Workflow:
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
        graph = dict(self._graph())

        def accepts(key: str, name: str) -> bool:
            node = graph[key]
            known = catalog is not None and catalog.input(node.class_type, name, node.inputs) is not None
            return add or known or name in node.inputs

        waiting = list(changes.items())
        while waiting:
            later: list[tuple[Any, Any]] = []
            error: UnknownInputError | None = None
            for key, value in waiting:
                try:
                    node, name = resolve(graph, key, accepts)
                except UnknownInputError as unknown:
                    # The value of a dynamic combo, which a later key sets, may bring it.
                    later.append((key, value))
                    error = error or unknown
                    continue
                graph[node] = changed(graph, node, {name: value})
            if error is not None and len(later) == len(waiting):
                raise error
            waiting = later
        return self._with(graph)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it in API format, titles kept, nodes in a stable order; the folder is made.

        Raises:
            WorkflowError: Files wait to be uploaded.
            WorkflowFormatError: It is an editor file.
            OSError: The file cannot be written.
        """
        return save(self.to_api(), path)

    # Inside.

    def _graph(self) -> dict[str, Node]:
        if self._nodes is None:
            raise WorkflowFormatError("this workflow is in the editor's format", hint=_CONVERT)
        return self._nodes

    def _sendable(self) -> dict[str, Node]:
        graph = self._graph()
        error = still_pending(graph)
        if error is not None:
            raise error
        return graph

    def _node(self, node: str) -> Node:
        graph = self._graph()
        return graph[node] if node in graph else graph[one_node(graph, node)]

    def __len__(self) -> int:
        """Count the nodes; of an editor file those of its top level."""
        if self._nodes is not None:
            return len(self._nodes)
        return len(self._drawing.editor["nodes"]) if self._drawing is not None else 0

    def __bool__(self) -> bool:
        """Be true, however empty."""
        return True

    def __eq__(self, other: object) -> bool:
        """Compare nodes and editor file by value."""
        if not isinstance(other, Workflow):
            return NotImplemented
        return self._nodes == other._nodes and self.editor == other.editor

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Callable[..., Workflow], tuple[Any, ...]]:
        """Pickle the parts."""
        drawing = self._drawing
        if drawing is not None and (shown := self.editor) is not None:
            drawing = Drawing(shown, self._nodes, drawing.origins)
        return self._of, (self._nodes, drawing)

    def __repr__(self) -> str:
        """Return the number of nodes and the format."""
        count = len(self)
        return f"<Workflow {count} node{'' if count == 1 else 's'}, {self.format}>"
