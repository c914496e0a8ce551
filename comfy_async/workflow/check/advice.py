"""Advice on problems: node packs, model folders and download URLs, as the file names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...types import clipped
from .._keys import nearest
from .._nodes import Node
from .._specs import FILE_INPUTS
from .._subgraph_ids import NO_DEFINITION, is_subgraph
from .muted import muted_outputs, muted_source
from .origins import CORE, Origins
from .own import A_TEXT

__all__ = ["REPLACED", "Advisor", "file_advice", "model_advice"]

REPLACED = {
    "T2IAdapterLoader": "ControlNetLoader",
    "Load3DAnimation": "Load3D",
    "Preview3DAnimation": "Preview3D",
    "SDV_img2vid_Conditioning": "SVD_img2vid_Conditioning",
    "ConditioningAverage ": "ConditioningAverage",
}
"""Classes that ComfyUI 0.13 and later replace by others (GET /node_replacements)."""


class Advisor:
    """Looks up advice on missing nodes and models in a file and a catalog."""

    def __init__(
        self,
        editor: Mapping[str, Any] | None,
        catalog: Mapping[str, Any],
        graph: Mapping[str, Node] | None = None,
    ) -> None:
        """Collect the packs and models that the file names."""
        self._catalog = catalog
        self._editor = editor
        self._origins = Origins(editor, graph)

    def missing_class(self, class_type: str) -> tuple[tuple[str, ...], str]:
        """Return (nearest names, advice) for a class that the server lacks."""
        close = nearest(class_type, self._catalog)
        newer = REPLACED.get(class_type)
        if newer in self._catalog:
            told = f"Use {newer} instead; ComfyUI 0.13 or later replaces it automatically."
            return (str(newer), *close[:2]), told
        if is_subgraph(class_type):
            return (), NO_DEFINITION
        pack = self._origins.pack(class_type)
        if pack.registry_id == CORE:
            made = f" ({pack.version} when the file was made)" if pack.version else ""
            told = f"It is part of ComfyUI itself{made}: this server is older, or has removed or disabled it."
            return close, told
        if pack.name:
            return close, f"Install the node pack {clipped(pack.name)}, for example with ComfyUI-Manager."
        return close, "Install the node pack that has it, for example with ComfyUI-Manager."

    def missing_input(self, node: str, name: str) -> str:
        """Return why an input is missing when its source does not run in the editor, else ""."""
        return muted_source(self._editor, node, name)

    def no_outputs(self) -> str:
        """Return which output nodes are muted or bypassed in the editor, "" for none."""
        return muted_outputs(self._editor, self._catalog)

    def missing_value(self, input_name: str, value: Any) -> str:
        """Return where a value that the server lacks belongs, "" when it is not a model."""
        model = self._origins.model(value, input_name) if isinstance(value, str) else None
        if model is None or not model.folder:
            return ""
        source = f"; download: {model.url}" if model.url else ""
        return f"It belongs in models/{model.folder} on the server{source}."


def file_advice(node: Node, name: str, info: Mapping[str, Any]) -> str:
    """Return advice for a text in an input that accepts uploads, "" for other inputs and values.

    Args:
        node: The node that the server rejected.
        name: The input.
        info: The object_info entry of its class, {} when unknown.
    """
    from ..catalog import NodeCatalog

    if not isinstance(node.inputs.get(name), str):
        return ""
    catalog = NodeCatalog({node.class_type: dict(info)} if info else {})
    spec = catalog.input(node.class_type, name, node.inputs)
    known = FILE_INPUTS.get(node.class_type) == name or (spec is not None and spec.is_upload)
    return A_TEXT if known else ""


def model_advice(editor: Mapping[str, Any] | None, input_name: str, value: Any) -> str:
    """Return where a model that the server lacks belongs, "" when the value is not a model."""
    return Advisor(editor, {}).missing_value(input_name, value)
