"""What a server can run: its object_info, searchable and typed, usable without the server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .._base.paths import write_whole
from ..errors import WorkflowFormatError
from ..types import Shown
from ._dynamic import expand
from ._lists import ClassList
from ._reading import Source, loads, read_source, unpack
from ._specs import DYNAMIC_TYPES, InputSpec, NodeClass, OutputSpec, output_types

__all__ = ["InputSpec", "NodeCatalog", "NodeClass", "OutputSpec"]


class NodeCatalog(Shown, Mapping[str, Mapping[str, Any]]):
    """What a server can run: a read-only mapping from class names to object_info entries.

    `catalog["KSampler"]` is the entry as the server sent it, `catalog.node("KSampler")` the
    same with typed inputs and outputs. Treat the entries as frozen.

    Example:
        >>> catalog = await comfy.nodes.catalog()
        >>> sampler = catalog.input("KSampler", "steps")
        >>> print(sampler.type, sampler.min, sampler.max)
        INT 1 10000
        >>> "NoSuchNode" in catalog
        False
    """

    __slots__ = ("_classes", "_data", "_editor", "_given", "_readings")

    def __init__(self, data: Mapping[str, Any], *, editor: str | None = None) -> None:
        """Wrap plain object_info JSON.

        Args:
            data: What GET /object_info answers.
            editor: The version of ComfyUI's editor that the server ships, by whose ways editor
                files are converted; None for the newest known.

        Raises:
            WorkflowFormatError: It is something else.
        """
        if not isinstance(data, Mapping):
            raise WorkflowFormatError(f"a node catalog is a JSON object, this is a {type(data).__name__}")
        for name, spec in data.items():
            if not isinstance(spec, Mapping) or "class_type" in spec:
                raise WorkflowFormatError(
                    f"this is no node catalog: {name!r} is no node class",
                    place=str(name),
                    hint="A catalog is what GET /object_info answers.",
                )
        self._data: Mapping[str, Mapping[str, Any]] = data
        self._classes: dict[str, NodeClass] = {}
        self._editor = editor
        self._given: frozenset[str] | None = None
        self._readings: dict[Any, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and other processes read the entries again."""
        return partial(NodeCatalog, editor=self._editor), (self._data,)

    @property
    def editor(self) -> str | None:
        """The version of ComfyUI's editor that the server ships, None when unknown."""
        return self._editor

    @property
    def readings(self) -> dict[Any, Any]:
        """What others have read out of the entries and want to keep with them, by a key of their own."""
        return self._readings

    @property
    def output_types(self) -> frozenset[str]:
        """The types that its classes give, in lower case."""
        if self._given is None:
            self._given = output_types(self._data)
        return self._given

    @classmethod
    def load(cls, source: Source) -> NodeCatalog:
        """Read object_info JSON from a path (also .gz), a dict, text or bytes.

        Raises:
            WorkflowFormatError: It is no object_info, or damaged; the place is named.
            OSError: The file cannot be read.

        Example:
            >>> (await comfy.nodes.catalog()).save("object_info.json.gz")
            PosixPath('object_info.json.gz')
            >>> flow.check(NodeCatalog.load("object_info.json.gz"))  # without a server
            []
        """
        content, name = read_source(source, what="node catalog")
        if isinstance(content, bytes):
            content = unpack(content, name=name)
        if isinstance(content, str | bytes):
            content = loads(content, name=name, what="node catalog")
        return cls(content)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as plain object_info JSON, compressed when the name ends in .gz; never half of it.

        Raises:
            OSError: The file cannot be written.
        """
        import gzip

        target = Path(path)
        content = json.dumps(self.raw).encode()
        # Without a time stamp equal catalogs make equal files.
        write_whole(target, gzip.compress(content, mtime=0) if target.suffix == ".gz" else content)
        return target

    @property
    def raw(self) -> dict[str, Any]:
        """The plain object_info, class name to entry; the entries are shared, not copied."""
        return dict(self._data)

    def updated(self, entries: Mapping[str, Any]) -> NodeCatalog:
        """Return a catalog in which some classes were read again; one without an entry is gone.

        Lists of models and files grow old while a server runs; what one class offers now is
        what GET /object_info/{class} answers.

        Raises:
            WorkflowFormatError: An entry is no node class.

        Example:
            >>> catalog = await comfy.nodes.catalog()
            >>> node = await comfy.nodes.info("LoadImage")
            >>> fresh = catalog.updated({node.name: node.raw})
        """
        kept = {name: entry for name, entry in self._data.items() if name not in entries}
        read = {name: entry for name, entry in entries.items() if entry}
        return NodeCatalog({**kept, **read}, editor=self._editor)

    def node(self, class_type: str) -> NodeClass:
        """Return a class with typed inputs and outputs.

        Raises:
            KeyError: The catalog has no such class.
        """
        known = self._classes.get(class_type)
        if known is None:
            known = self._classes[class_type] = NodeClass(class_type, self._data[class_type])
        return known

    def inputs(self, class_type: str, values: Mapping[str, Any] | None = None) -> tuple[InputSpec, ...]:
        """Return the inputs of a class in order, () for an unknown class.

        Args:
            class_type: The class.
            values: The values of a node. With them dynamic inputs are unfolded, as the
                server does before it validates: `format.codec` and the like appear.

        Example:
            >>> catalog = await comfy.nodes.catalog()
            >>> [spec.name for spec in catalog.inputs("CLIPTextEncode")]
            ['text', 'clip']
        """
        if class_type not in self._data:
            return ()
        node = self.node(class_type)
        if values is None or not any(spec.type in DYNAMIC_TYPES for spec in node.inputs):
            return node.inputs
        return tuple(expand(node.inputs, values))

    def outputs(self, class_type: str) -> tuple[OutputSpec, ...]:
        """Return the outputs of a class by slot, () for an unknown class."""
        return self.node(class_type).outputs if class_type in self._data else ()

    def input(self, class_type: str, name: str, values: Mapping[str, Any] | None = None) -> InputSpec | None:
        """Return one input of a class, unfolded by `values`; None when it has none of that name."""
        if class_type not in self._data:
            return None
        spec = self.node(class_type).input(name)
        if spec is not None or "." not in name:
            return spec
        return next((spec for spec in self.inputs(class_type, values or {}) if spec.name == name), None)

    def search(self, text: str) -> list[NodeClass]:
        """Find classes by words in name, display name, aliases, category or description.

        All words must occur; names that begin with the text come first.

        Example:
            >>> catalog = await comfy.nodes.catalog()
            >>> [found.name for found in catalog.search("latent")]
        """
        words = text.casefold().split()
        ranked = [(rank, node.name, node) for node in map(self.node, self) if (rank := _rank(node, words))]
        ranked.sort(key=lambda found: (-found[0], found[1]))
        return ClassList(node for _, _, node in ranked)

    def __getitem__(self, class_type: str) -> Mapping[str, Any]:
        """Return the entry of a class as the server sent it."""
        return self._data[class_type]

    def __contains__(self, class_type: object) -> bool:
        """Tell whether the server has the class."""
        return class_type in self._data

    def __iter__(self) -> Iterator[str]:
        """Go through the class names in the server's order."""
        return iter(self._data)

    def __len__(self) -> int:
        """Count the classes."""
        return len(self._data)

    def __repr__(self) -> str:
        """Return the number of classes."""
        return f"<NodeCatalog {len(self._data)} classes>"


def _rank(node: NodeClass, words: list[str]) -> int:
    """Return how well a class answers a search, 0 for not at all."""
    names = f"{node.name} {node.display_name}".casefold()
    aliases = node.raw.get("search_aliases")
    more = " ".join(map(str, aliases)) if isinstance(aliases, list) else ""
    rest = f"{more} {node.category} {node.description}".casefold()
    if not words or not all(word in names or word in rest for word in words):
        return 0
    text = " ".join(words)
    if text in {node.name.casefold(), node.display_name.casefold()}:
        return 4
    if any(name.startswith(text) for name in (node.name.casefold(), node.display_name.casefold())):
        return 3
    return 2 if all(word in names for word in words) else 1
