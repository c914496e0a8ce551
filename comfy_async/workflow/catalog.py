"""The node catalog of a server: its object_info, searchable and typed, usable offline."""

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
            data: The response of GET /object_info.
            editor: The version of ComfyUI's editor that the server ships; editor files are
                converted as that version does. None for the newest known.

        Raises:
            WorkflowFormatError: `data` is not object_info.
        """
        if not isinstance(data, Mapping):
            raise WorkflowFormatError(f"a node catalog is a JSON object, this is a {type(data).__name__}")
        for name, spec in data.items():
            if not isinstance(spec, Mapping) or "class_type" in spec:
                raise WorkflowFormatError(
                    f"this is not a node catalog: {name!r} is not a node class",
                    place=str(name),
                    hint="A catalog is the response of GET /object_info.",
                )
        self._data: Mapping[str, Mapping[str, Any]] = data
        self._classes: dict[str, NodeClass] = {}
        self._editor = editor
        self._given: frozenset[str] | None = None
        self._readings: dict[Any, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the entries only."""
        return partial(NodeCatalog, editor=self._editor), (self._data,)

    @property
    def editor(self) -> str | None:
        """The version of ComfyUI's editor that the server ships, None when unknown."""
        return self._editor

    @property
    def readings(self) -> dict[Any, Any]:
        """A cache for data that other modules derive from the entries; each uses keys of its own."""
        return self._readings

    @property
    def output_types(self) -> frozenset[str]:
        """The types of all outputs of its classes, in lower case."""
        if self._given is None:
            self._given = output_types(self._data)
        return self._given

    @classmethod
    def load(cls, source: Source) -> NodeCatalog:
        """Read object_info JSON from a path (also .gz), a dict, text or bytes.

        Raises:
            WorkflowFormatError: It is not object_info, or is damaged; `place` says where.
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
        """Write it as plain object_info JSON, compressed when the name ends in .gz, in one atomic step.

        Raises:
            OSError: The file cannot be written.
        """
        import gzip

        target = Path(path)
        content = json.dumps(self.raw).encode()
        # Without a time stamp, equal catalogs are written as equal files.
        write_whole(target, gzip.compress(content, mtime=0) if target.suffix == ".gz" else content)
        return target

    @property
    def raw(self) -> dict[str, Any]:
        """The plain object_info, class name to entry; the entries are shared, not copied."""
        return dict(self._data)

    def updated(self, entries: Mapping[str, Any]) -> NodeCatalog:
        """Return a catalog with newer entries of some classes; a class whose entry is empty is removed.

        Lists of models and files become outdated while a server runs; GET /object_info/{class}
        returns the present entry of one class.

        Raises:
            WorkflowFormatError: An entry is not a node class.

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
            values: The values of a node. With them, dynamic inputs are expanded as the
                server does before it validates: `format.codec` and the like are included.

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
        """Return one input of a class, None when it has none of that name.

        Args:
            class_type: The class; None is returned for an unknown one.
            name: The input's name, for example `steps` or `format.codec`.
            values: The values of a node, by which dynamic inputs are expanded.
        """
        if class_type not in self._data:
            return None
        spec = self.node(class_type).input(name)
        if spec is not None or "." not in name:
            return spec
        return next((spec for spec in self.inputs(class_type, values or {}) if spec.name == name), None)

    def search(self, text: str) -> list[NodeClass]:
        """Return the classes with some words in name, display name, aliases, category or description.

        All words must occur; exact names come first, then names that begin with the text.

        Example:
            >>> catalog = await comfy.nodes.catalog()
            >>> [found.name for found in catalog.search("latent")]
        """
        words = text.casefold().split()
        ranked = [(rank, node.name, node) for node in map(self.node, self) if (rank := _rank(node, words))]
        ranked.sort(key=lambda found: (-found[0], found[1]))
        return ClassList(node for _, _, node in ranked)

    def __getitem__(self, class_type: str) -> Mapping[str, Any]:
        """Return the entry of a class as the server sent it.

        Raises:
            KeyError: The catalog has no such class.
        """
        return self._data[class_type]

    def __contains__(self, class_type: object) -> bool:
        """Return whether the server has the class."""
        return class_type in self._data

    def __iter__(self) -> Iterator[str]:
        """Iterate over the class names in the server's order."""
        return iter(self._data)

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self._data)

    def __repr__(self) -> str:
        """Return the number of classes."""
        return f"<NodeCatalog {len(self._data)} classes>"


def _rank(node: NodeClass, words: list[str]) -> int:
    """Return how well a class matches a search, 0 when it does not."""
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
