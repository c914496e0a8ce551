"""Where classes and models come from, as an editor file or a prompt says: packs, folders, addresses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from .._nodes import Node

__all__ = ["CORE", "ModelOrigin", "Origins", "PackOrigin", "model_folder"]

CORE = "comfy-core"
"""What the editor calls ComfyUI itself among the packs."""

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
        repository: Its place on GitHub, `owner/name`, or "".
        version: The version that the file was made with, or "".
    """

    registry_id: str = ""
    repository: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        """What to call it, "" when nothing is known."""
        return self.registry_id or self.repository


@dataclasses.dataclass(frozen=True, slots=True)
class ModelOrigin:
    """Where a model comes from and goes.

    Attributes:
        name: Its file's name.
        folder: Its folder below models, or "".
        url: Where it can be downloaded, or "".
        hash: The sum of its content, or "".
        hash_type: What sum that is, for example `SHA256`, or "".
    """

    name: str
    folder: str = ""
    url: str = ""
    hash: str = ""
    hash_type: str = ""


class Origins:
    """What a file says of its classes and models. All is believed only as far as its shape is right.

    Attributes:
        packs: By class.
        models: By the file's name.
    """

    def __init__(self, editor: Mapping[str, Any] | None, graph: Mapping[str, Node] | None = None) -> None:
        """Collect what an editor file says, and the remarks at the nodes of a graph."""
        self.packs: dict[str, PackOrigin] = {}
        self.models: dict[str, ModelOrigin] = {}
        for drawing in _graphs(editor):
            self._note_models(drawing.get("models"))
            for node in _objects(drawing.get("nodes")):
                self._note(node.get("type"), node.get("properties"))
        for made in (graph or {}).values():
            self._note(made.class_type, made.meta)

    def pack(self, class_type: str) -> PackOrigin:
        """Return the pack of a class, an empty one when the file does not say."""
        return self.packs.get(class_type) or PackOrigin()

    def model(self, value: str, input_name: str) -> ModelOrigin | None:
        """Return where a model comes from, None when nothing says that this is one."""
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
    """Return the folder of the models that an input of this name takes, "" when it does not tell."""
    return _FOLDERS.get(input_name.rpartition(".")[2], "")


def _graphs(editor: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield the editor file and the subgraphs that it defines, those within them too."""
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
