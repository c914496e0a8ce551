"""What a workflow needs that a server does not have: classes of node packs, and models."""

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

# What stands in a file may end in a shell: nothing but what a name can be becomes part of a command.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")
_RELEASE = re.compile(r"\d+(\.\d+)+[A-Za-z0-9.+-]*")
_URL = re.compile(r"https?://[^\s'\"\\]+")


@dataclasses.dataclass(frozen=True, slots=True)
class MissingClass:
    """A class of nodes that the server does not have.

    Attributes:
        class_type: Its name.
        nodes: The ids of the nodes that are of it.
        registry_id: The id of its pack in ComfyUI's registry, `comfy-core` for ComfyUI itself,
            "" when the file does not say.
        repository: The pack's place on GitHub, `owner/name`, or "".
        version: The version that the file was made with, a release or a commit, or "".
        replacement: A class that ComfyUI has in its place, or "".
    """

    class_type: str
    nodes: tuple[str, ...]
    registry_id: str = ""
    repository: str = ""
    version: str = ""
    replacement: str = ""

    @property
    def pack(self) -> str:
        """What to call its pack, "" when nothing is known of it."""
        return self.registry_id or self.repository

    @property
    def command(self) -> str:
        """The command of comfy-cli that installs the pack, "" when it cannot be known."""
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
        name: Its file's name, with its subfolder as the workflow has it.
        folder: Its folder below models, "" when unknown.
        url: Where it can be downloaded, "" when the file does not say.
        hash: The sum of its content, or "".
        hash_type: What sum that is, for example `SHA256`, or "".
        places: The (node id, input) that want it; () when no conversion could find them.
    """

    name: str
    folder: str = ""
    url: str = ""
    hash: str = ""
    hash_type: str = ""
    places: tuple[tuple[str, str], ...] = ()

    @property
    def command(self) -> str:
        """The command of comfy-cli that downloads it, "" when address or folder are not known."""
        subfolder, _, filename = self.name.replace("\\", "/").rpartition("/")
        parts = [part for part in (*self.folder.split("/"), *subfolder.split("/")) if part]
        known = self.folder and filename and _URL.fullmatch(self.url)
        if not known or ".." in parts or filename.startswith("-"):
            return ""
        path = "/".join(["models", *parts])
        words = ["comfy", "model", "download", "--url", self.url, "--relative-path", path]
        return shlex.join([*words, "--filename", filename])

    def __str__(self) -> str:
        """Return one line: the model, its folder, and who wants it."""
        folder = f"models/{self.folder}" if self.folder else "an unknown folder"
        wanted = ", ".join(f"{node}.{name}" for node, name in self.places)
        return f"{self.name} in {folder}{f' ({wanted})' if wanted else ''}"


@dataclasses.dataclass(frozen=True, slots=True)
class Needs(Shown):
    """What a workflow needs that a server does not have; false when there is nothing.

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
        """The commands of comfy-cli that install what can be installed, each once. Nothing is run."""
        every: list[MissingClass | MissingModel] = [*self.classes, *self.models]
        return tuple(dict.fromkeys(missing.command for missing in every if missing.command))

    def __bool__(self) -> bool:
        """Say whether something is missing."""
        return bool(self.classes or self.models)

    def __str__(self) -> str:
        """Return a line for each that is missing, then the commands."""
        lines = [str(missing) for missing in (*self.classes, *self.models)]
        return "\n".join([*lines, *(f"  {command}" for command in self.commands)])


def graph_needs(
    graph: Mapping[str, Node],
    catalog: NodeCatalog,
    *,
    editor: Mapping[str, Any] | None = None,
    replacements: Mapping[str, Any] | None = None,
) -> Needs:
    """Return what a graph needs that the server lacks, with what its file says of where to get it."""
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
    """Return what an editor file needs that cannot be converted, most often because a class is missing.

    Which inputs its models stand in is not known then: those that the file names count as
    missing when no list of the server's has them.
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
    """Yield the values that are models by their name, and in no list of the server's."""
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
    """Return the last parts of all names that the server offers anywhere."""
    return {
        choice.replace("\\", "/").rpartition("/")[2]
        for name in catalog
        for spec in catalog.inputs(name)
        for choice in spec.choices or ()
        if isinstance(choice, str)
    }
