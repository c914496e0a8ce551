"""Ways out: node packs, model folders and download links, from what the editor file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...types import clipped
from .._keys import nearest

__all__ = ["Advisor", "model_advice"]

REPLACED = {
    "T2IAdapterLoader": "ControlNetLoader",
    "Load3DAnimation": "Load3D",
    "Preview3DAnimation": "Preview3D",
    "SDV_img2vid_Conditioning": "SVD_img2vid_Conditioning",
    "ConditioningAverage ": "ConditioningAverage",
}
"""Classes that ComfyUI 0.13 and later replaces by others (GET /node_replacements)."""

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


class Advisor:
    """What an editor file and a catalog know about missing nodes and models.

    Everything in the file is believed only as far as its shape is right.
    """

    def __init__(self, editor: Mapping[str, Any] | None, catalog: Mapping[str, Any]) -> None:
        """Collect the packs and models that the file names."""
        self._catalog = catalog
        self._packs: dict[str, tuple[str, str]] = {}
        self._models: dict[str, tuple[str, str]] = {}
        for graph in _graphs(editor):
            self._note_models(graph.get("models"))
            for node in _objects(graph.get("nodes")):
                self._note(node)

    def _note(self, node: Mapping[str, Any]) -> None:
        properties = node.get("properties")
        if not isinstance(properties, Mapping):
            return
        self._note_models(properties.get("models"))
        pack = properties.get("cnr_id") or properties.get("aux_id")
        if isinstance(pack, str) and isinstance(node.get("type"), str):
            version = properties.get("ver")
            self._packs.setdefault(node["type"], (pack, version if isinstance(version, str) else ""))

    def _note_models(self, models: Any) -> None:
        for model in _objects(models):
            name, url, folder = (model.get(key) for key in ("name", "url", "directory"))
            if isinstance(name, str):
                found = (folder if isinstance(folder, str) else "", url if isinstance(url, str) else "")
                self._models.setdefault(name, found)

    def missing_class(self, class_type: str) -> tuple[tuple[str, ...], str]:
        """Return (nearest names, advice) for a class that the server lacks."""
        close = nearest(class_type, self._catalog)
        newer = REPLACED.get(class_type)
        if newer in self._catalog:
            return (
                str(newer),
                *close[:2],
            ), f"ComfyUI has {newer} in its place, and 0.13 or later replaces it."
        pack, version = self._packs.get(class_type, ("", ""))
        if pack == "comfy-core":
            least = f" {version} or later" if version else ""
            return close, f"It belongs to ComfyUI itself: the server needs ComfyUI{least}."
        if pack:
            return close, f"Install the node pack {clipped(pack)}, for example with ComfyUI-Manager."
        return close, "Install the node pack that has it, for example with ComfyUI-Manager."

    def missing_value(self, input_name: str, value: Any) -> str:
        """Return advice for a value that is not in the server's list, "" when it is no model."""
        if not isinstance(value, str):
            return ""
        name = value.replace("\\", "/").rpartition("/")[2]
        folder, url = self._models.get(value) or self._models.get(name) or ("", "")
        folder = folder or _FOLDERS.get(input_name.rpartition(".")[2], "")
        if not folder:
            return ""
        return f"It belongs in models/{folder} on the server{f'; download: {url}' if url else ''}."


def model_advice(editor: Mapping[str, Any] | None, input_name: str, value: Any) -> str:
    """Return where a model belongs that the server lacks, "" when the value is no model."""
    return Advisor(editor, {}).missing_value(input_name, value)


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
