"""The workflow: an immutable graph of nodes, loaded from anything, edited by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConversionError, WorkflowFormatError
from ..types import Problem, Shown, counted
from ._builder import Growing
from ._editing import Editing
from ._lists import ProblemList
from ._load import drawing_of, open_editor, open_source
from ._nodes import Graph, parse_nodes, save_graph
from ._pairs import PAIRED_HINT, Pair, carried_over
from ._reading import Source

if TYPE_CHECKING:
    from .catalog import NodeCatalog
    from .check import Needs
    from .convert import Drawing

__all__ = ["GraphBuilder", "Workflow"]

_CONVERT = (
    "Convert it first: `flow.converted(await comfy.nodes.catalog())`, or with a catalog from a file; "
    "submit() takes it as it is."
)


class Workflow(Shown, Editing):
    """A graph of nodes to run; every change returns a new workflow, which shares the unchanged nodes.

    Example:
        >>> flow = Workflow.load("examples/workflows/sd15_text2image_api.json")
        >>> flow
        <Workflow 8 nodes, api>
        >>> other = flow.with_inputs({"3.seed": 42, "KSampler.steps": 8})
        >>> other.get("3", "seed"), flow.get("3", "seed")
        (42, 1234)
    """

    __slots__ = ("_drawing", "_nodes", "_pair")

    def __init__(
        self, nodes: Mapping[str, Any] | None = None, *, editor: Mapping[str, Any] | None = None
    ) -> None:
        """Take an API graph, and the editor file that it was made from.

        Raises:
            WorkflowFormatError: Either is damaged.
        """
        self._nodes: Graph | None = None if nodes is None else parse_nodes(nodes)
        self._drawing = None if editor is None else drawing_of(open_editor(editor), self._nodes)
        self._infos, self._named = None, {}
        self._pair: Pair | None = None
        if self._nodes is None and self._drawing is None:
            self._nodes = {}

    @classmethod
    def load(cls, source: Source, *, prefer: Literal["workflow", "prompt"] = "workflow") -> Workflow:
        """Read a workflow from a path, JSON text, bytes or a dict.

        API format, the editor's format, and pictures, videos and audio files that ComfyUI saved
        are distinguished by their content. A workflow is also found inside the body of a request,
        an entry of the history, or the envelope of another service.

        Args:
            source: The file or its content.
            prefer: Which of the two to use when a file carries both. "workflow" is what the
                editor opens: as soon as there is a catalog (`converted`, `check`, submit()), it is
                converted and run, with the changes made until then; differences from the prompt
                beside it are logged once. "prompt" uses the prompt only.

        Raises:
            WorkflowFormatError: The source is not a workflow, or is damaged; `place` says where.
            OSError: The file cannot be read.
            ValueError: `prefer` is neither of the two.

        Example:
            >>> Workflow.load("examples/workflows/sd15_text2image_api.json")
            <Workflow 8 nodes, api>
        """
        if prefer not in ("workflow", "prompt"):
            raise ValueError(f"prefer is 'workflow' or 'prompt', not {prefer!r}")
        nodes, editor = open_source(source)
        if nodes is None or editor is None:
            return cls._of(nodes, None if editor is None else drawing_of(editor, nodes))
        if prefer == "prompt":
            # Without the nodes the editor file is never converted; it only serves for advice.
            return cls._of(nodes, drawing_of(editor))
        return cls._of(nodes, drawing_of(editor, nodes), Pair(nodes))

    @classmethod
    def from_ui(
        cls,
        editor_json: Source | Workflow,
        catalog: NodeCatalog,
        *,
        editor: str | None = None,
        unknown: Literal["raise", "keep"] = "raise",
        lost: Literal["raise", "keep"] = "raise",
    ) -> Workflow:
        """Convert an editor file as ComfyUI's own editor does, and keep it as `editor`.

        Accepts what `load` accepts, and a workflow that was loaded from an editor file. Links that
        editor 1.58.1 loses, where the option of a dynamic combo has an autogrow group, are kept here.

        Args:
            editor_json: The file.
            catalog: What the server can run.
            editor: The editor version to convert like, for example "1.49.6"; by default the
                server's own, else the newest known.
            unknown: "keep" keeps nodes of classes that the catalog lacks, with a null class_type
                and inputs named `UNKNOWN`, `UNKNOWN_1` and so on. No server runs them.
            lost: "keep" drops values, links and inputs that cannot be placed, as the editor does.

        Raises:
            ConversionError: A node cannot be converted; every one is listed in `problems`.
            WorkflowFormatError: It is not an editor file, or is damaged.
            OSError: The file cannot be read.
            ValueError: `editor` is not a version.

        Example:
            >>> Workflow.from_ui("examples/workflows/sd15_text2image_ui.json", await comfy.nodes.catalog())
            <Workflow 8 nodes, api>
        """
        from .convert import convert_traced

        if isinstance(editor_json, Workflow):
            drawing = editor_json._drawing
            editor_json = editor_json.to_api() if drawing is None else drawing.editor
        file = open_editor(editor_json)
        prompt, origins = convert_traced(file, catalog, editor=editor, unknown=unknown, lost=lost)
        nodes = parse_nodes(prompt, kept=unknown == "keep") if prompt else {}  # only notes, or all muted
        return cls._of(nodes, drawing_of(file, nodes, origins))

    @classmethod
    def build(cls, catalog: NodeCatalog | None = None, *, start: Workflow | None = None) -> GraphBuilder:
        """Begin a graph in Python code: nodes are calls, inputs keywords, outputs return values.

        Args:
            catalog: Used to fill in defaults and to reject what the server would reject.
            start: A workflow whose nodes the graph begins with.

        Raises:
            WorkflowFormatError: `start` is an editor file.

        Example:
            >>> graph = Workflow.build(await comfy.nodes.catalog())
            >>> picture = graph.EmptyImage(width=64, height=64, color=0xFF8800)
            >>> saved = graph.SaveImage(images=picture, filename_prefix="orange")
            >>> result = await comfy.run(graph.workflow())
        """
        return GraphBuilder(catalog, start=start)

    @classmethod
    def _of(
        cls,
        nodes: Graph | None,
        drawing: Drawing | None,
        pair: Pair | None = None,
        named: Mapping[str, str] | None = None,
    ) -> Workflow:
        """Return a workflow made of these parts, which are not copied."""
        made = cls.__new__(cls)
        made._nodes, made._drawing, made._pair, made._infos = nodes, drawing, pair, None
        made._named = named or {}
        return made

    def _with(self, nodes: Graph, named: Mapping[str, str] | None = None) -> Workflow:
        return self._of(nodes, self._drawing, self._pair, self._named if named is None else dict(named))

    # Reading it.

    @property
    def graph(self) -> Graph:
        """The nodes by id, with `class_type`, `inputs` and `meta` as they are sent. Do not change them.

        Raises:
            WorkflowFormatError: It is an editor file.

        Example:
            >>> flow.graph["5"].inputs["width"], flow.graph["3"].sources == {"4", "5", "6", "7"}
            (512, True)
        """
        if self._nodes is None:
            raise WorkflowFormatError("this workflow is in the editor's format", hint=_CONVERT)
        return self._nodes

    @property
    def drawn(self) -> Mapping[str, Any] | None:
        """The editor file that it was made from, without later edits, or None. Do not change it.

        `editor` is the same file with the values that were changed since.
        """
        return None if self._drawing is None else self._drawing.editor

    @property
    def format(self) -> Literal["api", "editor"]:
        """ "api" when it can be sent as it is, "editor" when a catalog must convert it first."""
        return "editor" if self._nodes is None else "api"

    @property
    def carries_both(self) -> bool:
        """Whether its file has both a prompt and an editor file, and neither was chosen yet.

        Until then the prompt is read and edited; `converted` switches to the editor file.
        """
        return self._pair is not None

    @property
    def editor(self) -> Mapping[str, Any] | None:
        """The editor file that it came from, with its changed values, or None. Do not change it.

        submit() sends it along, and ComfyUI saves it in the pictures and opens it from there.
        Changed values that `converted()` or `from_ui` read from the file are written back into it.
        After any other change (a link, a node, values of a file that was in API format already) it
        is None, because it would differ from what is run.

        Example:
            >>> drawn = Workflow.load("examples/workflows/sd15_text2image_ui.json")
            >>> flow = drawn.converted(await comfy.nodes.catalog()).with_inputs({"KSampler.seed": 43})
            >>> [node["widgets_values"][0] for node in flow.editor["nodes"] if node["type"] == "KSampler"]
            [43]
        """
        return None if self._drawing is None else self._drawing.showing(self._nodes)

    def to_api(self, catalog: NodeCatalog | None = None) -> dict[str, dict[str, Any]]:
        """Return the plain dict that POST /prompt takes: a copy, which you may change.

        Raises:
            WorkflowError: Files are not uploaded yet.
            WorkflowFormatError: It is an editor file and there is no catalog.
            ConversionError: It is an editor file that cannot be converted.
        """
        graph = (self if catalog is None else self.converted(catalog)).sendable()
        return {key: node.plain() for key, node in graph.items()}

    def converted(self, catalog: NodeCatalog) -> Workflow:
        """Return the workflow itself when it is in API format, else the one that `from_ui` returns.

        When a file has both formats, the editor file is converted and gets the changes that were
        made to the prompt.

        Raises:
            ConversionError: A node cannot be converted; every one is listed in `problems`.
            UnknownInputError: A change to the prompt cannot be applied to the editor file.
            WorkflowFormatError: The editor file is damaged.

        Example:
            >>> editor = Workflow.load("examples/workflows/sd15_text2image_ui.json")
            >>> editor.format, editor.converted(await comfy.nodes.catalog()).format
            ('editor', 'api')
        """
        return self._settled(catalog)[0]

    def _settled(self, catalog: NodeCatalog) -> tuple[Workflow, list[Problem]]:
        """Return the converted workflow, and where the prompt beside the editor file differs from it."""
        drawing, pair = self._drawing, self._pair
        if drawing is None or (self._nodes is not None and pair is None):
            return self, []
        try:
            made = self.from_ui(drawing.editor, catalog)
        except ConversionError as error:
            if pair is not None:
                error.hint = f"{error.hint} {PAIRED_HINT}".strip()
            raise
        if pair is None:
            return made, []
        told = pair.compare(made.graph, catalog)
        return made._with(carried_over(pair.prompt, self.graph, made.graph)), told

    def check(self, catalog: NodeCatalog, *, replacements: Mapping[str, Any] | None = None) -> ProblemList:
        """Return what a server with this catalog would reject (errors), and what else to know (warnings).

        Errors have the server's own types (`Problem.type`). An editor file is converted first.
        A local file that is not uploaded yet is an error only when its path does not exist.

        Args:
            catalog: What the server can run.
            replacements: The response of GET /node_replacements: classes that the server replaces.

        Raises:
            WorkflowFormatError: The editor file is damaged.

        Example:
            >>> catalog = await comfy.nodes.catalog()  # or NodeCatalog.load("object_info.json")
            >>> for problem in flow.with_inputs({"3.steps": 0}).check(catalog):
            ...     print(problem)
            3 (KSampler), input 'steps': 0 is too small; the minimum is 1; nearest: '1'
        """
        from .check import check_graph, conversion_problems

        try:
            made, told = self._settled(catalog)
        except ConversionError as error:
            return ProblemList(conversion_problems(error, catalog, editor=self.drawn))
        found = check_graph(made.graph, catalog, editor=self.drawn, replacements=replacements)
        return ProblemList([*found, *told])

    def needs(self, catalog: NodeCatalog, *, replacements: Mapping[str, Any] | None = None) -> Needs:
        """Return the classes and models that it needs and a server with this catalog lacks.

        Packs, versions and download URLs are read from the editor file, or from `_meta` of the
        prompt's nodes. Nothing is installed: `commands` has the commands of comfy-cli for that.

        Args:
            catalog: What the server can run.
            replacements: The response of GET /node_replacements: replaced classes are not missing.

        Raises:
            WorkflowFormatError: The editor file is damaged.

        Example:
            >>> needs = flow.set("4", "ckpt_name", "other.ckpt").needs(await comfy.nodes.catalog())
            >>> [(model.name, model.folder) for model in needs.models]
            [('other.ckpt', 'checkpoints')]
        """
        from .check import graph_needs, unconverted_needs

        try:
            graph = self.converted(catalog).graph
        except ConversionError as error:
            return unconverted_needs(error, catalog, editor=self.drawn)
        return graph_needs(graph, catalog, editor=self.drawn, replacements=replacements)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it in API format with titles, nodes sorted by id; missing folders are created.

        Raises:
            WorkflowError: Files are not uploaded yet.
            WorkflowFormatError: It is an editor file.
            OSError: The file cannot be written.
        """
        return save_graph(self.to_api(), path)

    def __len__(self) -> int:
        """Return the number of nodes; of an editor file, those at its top level."""
        if self._nodes is not None:
            return len(self._nodes)
        return len(self._drawing.editor["nodes"]) if self._drawing is not None else 0

    def __bool__(self) -> bool:
        """Return True, also for an empty workflow."""
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
            drawing = drawing_of(shown, self._nodes, drawing.origins)
        return self._of, (self._nodes, drawing, self._pair, self._named)

    def __repr__(self) -> str:
        """Return the number of nodes and the format."""
        return f"<Workflow {counted(len(self), 'node')}, {self.format}>"


class GraphBuilder(Growing):
    """A graph that is built one call per node.

    `graph.KSampler(model=model, seed=1)` adds a node and returns its output, or its outputs
    when it has several. With a catalog, defaults are filled in, and a node that the server would
    reject raises at once. In the names of inputs write a dot as two underscores, any other
    character that Python does not allow as one; `_id` and `_title` set the node's id and title.

    Example:
        >>> graph = Workflow.build()
        >>> picture = graph.EmptyImage(width=64, height=64, batch_size=1, color=0)
        >>> saved = graph.SaveImage(images=picture, filename_prefix="black", _title="Save")
        >>> graph.workflow()
        <Workflow 2 nodes, api>
    """

    def __init__(self, catalog: NodeCatalog | None = None, *, start: Workflow | None = None) -> None:
        """Begin with no nodes, or with those of a workflow.

        Raises:
            WorkflowFormatError: `start` is an editor file.
        """
        super().__init__(catalog, {} if start is None else start.graph)

    def workflow(self) -> Workflow:
        """Return a workflow of the nodes so far; later calls do not change it."""
        return Workflow._of(dict(self.grown), None)
