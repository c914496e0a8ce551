"""New nodes of a catalog's classes: each class is read once, and its nodes are copies of one model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..packs import Pack, pack_of
from .declarations import Declared, declared_inputs
from .editor_version import Editor
from .model import Node, OutputSlot
from .node_from_class import build_node
from .saved_values import places_of, takes_all

__all__ = ["Classes"]


@dataclasses.dataclass(frozen=True, slots=True)
class _Model:
    """A new node, the declared inputs of its class, and whether it takes all values of saved lists."""

    node: Node
    declared: Sequence[Declared]
    takes_all: bool


class Classes:
    """Creates new nodes of classes, for one file.

    Models of a `NodeCatalog`'s classes are cached in it for the next file, except those of classes
    with rules of a pack, which may depend on anything.
    """

    def __init__(self, catalog: Mapping[str, Any], editor: Editor) -> None:
        """Keep the classes of the server, and the editor version to convert like."""
        self._catalog = catalog
        self._editor = editor
        kept: dict[Any, dict[str, _Model]] = getattr(catalog, "readings", {})
        self._shared = kept.setdefault((Classes, editor.version), {})
        self._own: dict[str, _Model] = {}

    def node(self, class_type: str) -> Node:
        """Return a new node of a class that the catalog has."""
        return _copy(self._model(class_type).node)

    def places(self, node: Node, values: Any) -> Sequence[int]:
        """Return the indexes of a saved list's values that a new node takes, () when it is not a list."""
        if not isinstance(values, list):
            return ()
        model = self._model(node.type)
        return range(len(values)) if model.takes_all else places_of(node, values, model.declared)

    def _model(self, class_type: str) -> _Model:
        """Return the model of a class, created when it is first needed."""
        pack = pack_of(class_type)
        models = self._shared if pack is None else self._own
        if (model := models.get(class_type)) is None:
            model = models[class_type] = self._read(class_type, pack)
        return model

    def _read(self, class_type: str, pack: Pack | None) -> _Model:
        """Return a new model of a class, with the rules of its pack applied."""
        spec = self._catalog[class_type]
        declared = declared_inputs(class_type, spec)
        if pack is not None:
            declared = pack.declare(class_type, declared)
        node = build_node(class_type, spec, declared, editor=self._editor)
        if pack is not None:
            pack.created(node, spec)
        return _Model(node, declared, takes_all(node, declared))


def _copy(model: Node) -> Node:
    """Return a copy of a model, with slots and widgets of its own.

    Properties and links are shared, because those of the file replace them.
    """
    # The same widget may be in a node twice.
    widgets = {id(widget): widget.copy() for widget in model.widgets}
    return Node(
        "",
        model.type,
        title=model.title,
        inputs=[slot.copy() for slot in model.inputs],
        outputs=[OutputSlot(slot.name, slot.type) for slot in model.outputs],
        widgets=[widgets[id(widget)] for widget in model.widgets],
        properties=model.properties,
        autogrow=dict(model.autogrow),
        match_types={key: dict(group) for key, group in model.match_types.items()},
        output_groups=model.output_groups,
        class_type=model.class_type,
        links=model.links,
        saved=model.saved,
        editor=model.editor,
    )
