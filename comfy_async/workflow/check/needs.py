"""What a workflow needs and a server lacks: classes of node packs, and models."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import ConversionError
from ...types import Shown
from .._inputs import MODEL_ENDINGS
from .._nodes import Node
from .._subgraph_ids import is_subgraph
from ..catalog import NodeCatalog
from .advice import REPLACED
from .origins import CORE, ModelOrigin, Origins
from .replace import applied
from .values import unwrapped

__all__ = ["MissingClass", "MissingModel", "Needs", "graph_needs", "unconverted_needs"]

# The commands may be pasted into a shell, so only well-formed names from a file become part of one.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")
_RELEASE = re.compile(r"\d+(\.\d+)+[A-Za-z0-9.+-]*")
_URL = re.compile(r"https?://[^\s'\"\\]+")


@dataclasses.dataclass(frozen=True, slots=True)
class MissingClass:
    """A class of nodes that the server does not have.

    Attributes:
        class_type: Its name.
        nodes: The ids of the nodes of this class.
        registry_id: The id of its pack in ComfyUI's registry, `comfy-core` for ComfyUI itself,
            "" when the file does not have it.
        repository: The pack's GitHub repository, `owner/name`, or "".
        version: The pack's version when the file was made, a release or a commit, or "".
        replacement: The class by which ComfyUI replaces it, or "".
    """

    class_type: str
    nodes: tuple[str, ...]
    registry_id: str = ""
    repository: str = ""
    version: str = ""
    replacement: str = ""

    @property
    def pack(self) -> str:
        """The registry id or the repository of its pack, "" when both are unknown."""
        return self.registry_id or self.repository

    @property
    def command(self) -> str:
        """The command of comfy-cli that installs the pack, "" when the pack is unknown."""
        if self.registry_id == CORE:
            return "comfy update comfy"
        if _ID.fullmatch(self.registry_id):
            pinned = f"@{self.version}" if _RELEASE.fullmatch(self.version) else ""
            return f"comfy node install {self.registry_id}{pinned}"
        if _REPOSITORY.fullmatch(self.repository):
            return f"comfy node install https://github.com/{self.repository}"
        return ""

    def __str__(self) -> str:
        """Return one line: the class, its nodes, and its pack."""
        version = f" {self.version}" if self.version else ""
        pack = f"{self.pack}{version}" if self.pack else "an unknown pack"
        newer = f", or {self.replacement} in its place" if self.replacement else ""
        return f"{self.class_type} ({', '.join(self.nodes)}): {pack}{newer}"


@dataclasses.dataclass(frozen=True, slots=True)
class MissingModel:
    """A model that the server does not have.

    Attributes:
        name: Its file name, with the subfolder as in the workflow.
        folder: Its folder below `models`, "" when unknown.
        url: Its download URL, "" when the file does not have one.
        hash: The hash of its content, or "".
        hash_type: The hash algorithm, for example `SHA256`, or "".
        places: The (node id, input) that use it; () when the file could not be converted.
    """

    name: str
    folder: str = ""
    url: str = ""
    hash: str = ""
    hash_type: str = ""
    places: tuple[tuple[str, str], ...] = ()

    @property
    def command(self) -> str:
        """The command of comfy-cli that downloads it, "" when its URL or folder is unknown."""
        subfolder, _, filename = self.name.replace("\\", "/").rpartition("/")
        parts = [part for part in (*self.folder.split("/"), *subfolder.split("/")) if part]
        known = self.folder and filename and _URL.fullmatch(self.url)
        if not known or ".." in parts or filename.startswith("-"):
            return ""
        path = "/".join(["models", *parts])
        words = ["comfy", "model", "download", "--url", self.url, "--relative-path", path]
        return shlex.join([*words, "--filename", filename])

    def __str__(self) -> str:
        """Return one line: the model, its folder, and the inputs that use it."""
        folder = f"models/{self.folder}" if self.folder else "an unknown folder"
        wanted = ", ".join(f"{node}.{name}" for node, name in self.places)
        return f"{self.name} in {folder}{f' ({wanted})' if wanted else ''}"


@dataclasses.dataclass(frozen=True, slots=True)
class Needs(Shown):
    """The classes and models that a workflow needs and a server lacks; false when nothing is missing.

    Attributes:
        classes: The missing classes.
        models: The missing models.

    Example:
        >>> needs = flow.with_inputs({"10.vae_name": "other.safetensors"}).needs(await comfy.nodes.catalog())
        >>> print(needs)
        other.safetensors in models/vae (10.vae_name)
    """

    classes: tuple[MissingClass, ...] = ()
    models: tuple[MissingModel, ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands of comfy-cli that install the missing packs and models, each once; none is run."""
        every: list[MissingClass | MissingModel] = [*self.classes, *self.models]
        return tuple(dict.fromkeys(missing.command for missing in every if missing.command))

    def __bool__(self) -> bool:
        """Return whether something is missing."""
        return bool(self.classes or self.models)

    def __str__(self) -> str:
        """Return a line for each missing class and model, then the commands."""
        lines = [str(missing) for missing in (*self.classes, *self.models)]
        return "\n".join([*lines, *(f"  {command}" for command in self.commands)])


def graph_needs(
    graph: Mapping[str, Node],
    catalog: NodeCatalog,
    *,
    editor: Mapping[str, Any] | None = None,
    replacements: Mapping[str, Any] | None = None,
) -> Needs:
    """Return what a graph needs and the server lacks, with where to get it as far as the file says."""
    origins = Origins(editor, graph)
    rewritten, _ = applied(graph, replacements, catalog)
    nodes: dict[str, list[str]] = {}
    for key, node in rewritten.items():
        if node.class_type not in catalog:
            nodes.setdefault(node.class_type, []).append(key)
    found: dict[tuple[str, str], tuple[ModelOrigin, list[tuple[str, str]]]] = {}
    for model, place in _missing_models(rewritten, catalog, origins):
        found.setdefault((model.name, model.folder), (model, []))[1].append(place)
    models = (_missing(model, tuple(places)) for model, places in found.values())
    return Needs(tuple(_classes(nodes, catalog, origins)), tuple(models))


def unconverted_needs(
    error: ConversionError, catalog: NodeCatalog, *, editor: Mapping[str, Any] | None = None
) -> Needs:
    """Return what an editor file that cannot be converted needs; most often a class is missing.

    The inputs that use its models are unknown then: a model that the file names counts as missing
    when none of the server's lists has it.
    """
    origins = Origins(editor)
    nodes: dict[str, list[str]] = {}
    for problem in error.problems:
        known = problem.class_type in catalog or is_subgraph(problem.class_type)
        if problem.type == "missing_node_type" and not known:
            nodes.setdefault(problem.class_type, []).append(problem.node or "")
    there = _offered(catalog)
    models = [model for model in origins.models.values() if model.name.rpartition("/")[2] not in there]
    return Needs(tuple(_classes(nodes, catalog, origins)), tuple(_missing(model, ()) for model in models))


def _classes(
    nodes: Mapping[str, list[str]], catalog: NodeCatalog, origins: Origins
) -> Iterator[MissingClass]:
    for class_type, keys in nodes.items():
        pack = origins.pack(class_type)
        newer = REPLACED.get(class_type, "")
        yield MissingClass(
            class_type,
            tuple(keys),
            pack.registry_id,
            pack.repository,
            pack.version,
            newer if newer in catalog else "",
        )


def _missing(model: ModelOrigin, places: tuple[tuple[str, str], ...]) -> MissingModel:
    return MissingModel(model.name, model.folder, model.url, model.hash, model.hash_type, places)


def _missing_models(
    graph: Mapping[str, Node], catalog: NodeCatalog, origins: Origins
) -> Iterator[tuple[ModelOrigin, tuple[str, str]]]:
    """Yield the models, recognized by their names, that the server's lists of choices lack."""
    for key, node in graph.items():
        for spec in catalog.inputs(node.class_type, node.inputs):
            value = unwrapped(node.inputs.get(spec.name))
            if spec.choices is None or not isinstance(value, str) or spec.is_upload:
                continue
            spelled = value.replace("\\", "/")
            if any(isinstance(one, str) and one.replace("\\", "/") == spelled for one in spec.choices):
                continue
            model = origins.model(value, spec.name)
            if model is None and value.lower().endswith(MODEL_ENDINGS):
                model = ModelOrigin(spelled)
            if model is not None:
                yield model, (key, spec.name)


def _offered(catalog: NodeCatalog) -> set[str]:
    """Return the file names, without subfolders, of all choices of all classes."""
    return {
        choice.replace("\\", "/").rpartition("/")[2]
        for name in catalog
        for spec in catalog.inputs(name)
        for choice in spec.choices or ()
        if isinstance(choice, str)
    }
