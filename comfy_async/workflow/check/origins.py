"""Where classes and models come from, according to an editor file or a prompt: packs, folders, URLs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from .._nodes import Node

__all__ = ["CORE", "ModelOrigin", "Origins", "PackOrigin", "model_folder"]

CORE = "comfy-core"
"""The pack id that the editor uses for ComfyUI itself."""

_FOLDERS = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "vae_name": "vae",
    "unet_name": "diffusion_models",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "gligen_name": "gligen",
    "hypernetwork_name": "hypernetworks",
    "audio_encoder_name": "audio_encoders",
}


@dataclasses.dataclass(frozen=True, slots=True)
class PackOrigin:
    """The pack that a class comes with.

    Attributes:
        registry_id: Its id in ComfyUI's registry, `comfy-core` for ComfyUI itself, or "".
        repository: Its GitHub repository, `owner/name`, or "".
        version: Its version when the file was made, or "".
    """

    registry_id: str = ""
    repository: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        """Its registry id or repository, "" when both are unknown."""
        return self.registry_id or self.repository


@dataclasses.dataclass(frozen=True, slots=True)
class ModelOrigin:
    """Where a model can be downloaded, and the folder that it belongs in.

    Attributes:
        name: Its file name.
        folder: Its folder below `models`, or "".
        url: Its download URL, or "".
        hash: The hash of its content, or "".
        hash_type: The hash algorithm, for example `SHA256`, or "".
    """

    name: str
    folder: str = ""
    url: str = ""
    hash: str = ""
    hash_type: str = ""


class Origins:
    """What a file says about its classes and models; malformed entries are ignored.

    Attributes:
        packs: The packs by class.
        models: The models by file name.
    """

    def __init__(self, editor: Mapping[str, Any] | None, graph: Mapping[str, Node] | None = None) -> None:
        """Collect packs and models from an editor file, and from `_meta` of a graph's nodes."""
        self.packs: dict[str, PackOrigin] = {}
        self.models: dict[str, ModelOrigin] = {}
        for drawing in _graphs(editor):
            self._note_models(drawing.get("models"))
            for node in _objects(drawing.get("nodes")):
                self._note(node.get("type"), node.get("properties"))
        for made in (graph or {}).values():
            self._note(made.class_type, made.meta)

    def pack(self, class_type: str) -> PackOrigin:
        """Return the pack of a class, an empty one when the file does not name it."""
        return self.packs.get(class_type) or PackOrigin()

    def model(self, value: str, input_name: str) -> ModelOrigin | None:
        """Return where a model comes from, None when the value is not known to be a model."""
        path = value.replace("\\", "/")
        name = path.rpartition("/")[2]
        known = self.models.get(value) or self.models.get(path) or self.models.get(name)
        folder = (known.folder if known is not None else "") or model_folder(input_name)
        if known is None:
            return ModelOrigin(path, folder) if folder else None
        return dataclasses.replace(known, name=path, folder=folder)

    def _note(self, class_type: Any, properties: Any) -> None:
        if not isinstance(properties, Mapping):
            return
        self._note_models(properties.get("models"))
        pack = PackOrigin(*(_text(properties.get(key)) for key in ("cnr_id", "aux_id", "ver")))
        if pack.name and isinstance(class_type, str):
            self.packs.setdefault(class_type, pack)

    def _note_models(self, models: Any) -> None:
        for model in _objects(models):
            keys = ("name", "directory", "url", "hash", "hash_type")
            name, folder, url, sum_, kind = (_text(model.get(key)) for key in keys)
            if name:
                self.models.setdefault(name, ModelOrigin(name, folder, url, sum_, kind))


def model_folder(input_name: str) -> str:
    """Return the models folder for an input of this name, "" when the name is not a known one."""
    return _FOLDERS.get(input_name.rpartition(".")[2], "")


def _graphs(editor: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield the editor file and its subgraph definitions, including nested ones."""
    waiting: list[Mapping[str, Any]] = [] if editor is None else [editor]
    while waiting:
        graph = waiting.pop()
        yield graph
        definitions = graph.get("definitions")
        if isinstance(definitions, Mapping):
            waiting += _objects(definitions.get("subgraphs"))


def _objects(items: Any) -> list[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
