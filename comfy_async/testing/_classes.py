"""Every node class of the server: the built-in ones and those that a test scripts."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._builtin import SPECS
from ._capabilities import Capabilities
from ._context import NodeFunction
from ._folders import Folders
from ._nodes import NODES
from ._scripts import ScriptError, checked_error, failing
from ._specs import NodeSpec
from ._validate import CustomCheck, Rules

__all__ = ["NodeClasses"]

_LOADERS = ("LoadImage", "LoadImageMask")
"""What reads a file of the input folder."""


@dataclasses.dataclass(slots=True)
class NodeClasses:
    """The classes by name, what they do, and what they check themselves."""

    folders: Folders
    specs: dict[str, NodeSpec] = dataclasses.field(default_factory=lambda: dict(SPECS))
    functions: dict[str, NodeFunction] = dataclasses.field(default_factory=lambda: dict(NODES))
    never_cached: set[str] = dataclasses.field(default_factory=lambda: {"SaveImageWebsocket"})
    _ticks: Any = dataclasses.field(default_factory=itertools.count)

    def add(self, spec: NodeSpec, function: NodeFunction, *, cached: bool) -> None:
        """Add a class, or replace one of the same name."""
        self.specs[spec.name] = spec
        self.functions[spec.name] = function
        self.never_cached.discard(spec.name)
        if not cached:
            self.never_cached.add(spec.name)

    def fail(self, name: str, *, error: ScriptError | str, error_at: int | None, count: int | None) -> None:
        """Let a class fail; its declaration stays, and nothing of it comes out of the cache.

        Raises:
            ValueError: There is no such class; names the nearest. Or that is no way to fail.
        """
        error = checked_error(error)
        if name not in self.specs:
            near = difflib.get_close_matches(name, self.specs, 3)
            raise ValueError(f"no such class: {name!r}" + (f"; nearest: {', '.join(near)}" if near else ""))
        function = failing(
            self.specs[name], self.functions[name], error=error, error_at=error_at, count=count
        )
        self.add(self.specs[name], function, cached=False)

    def rules(self, capabilities: Capabilities) -> Rules:
        """Return what a prompt is validated by."""
        checked = ("image", self._check_image)
        custom: Mapping[str, tuple[str, CustomCheck]] = dict.fromkeys(_LOADERS, checked)
        return Rules(self.specs, self.folders.choices, custom, capabilities)

    def info(self, name: str) -> dict[str, Any]:
        """Return the /object_info of one class."""
        return self.specs[name].info(self.folders.choices)

    def fingerprint(self, node: Mapping[str, Any]) -> Any:
        """Return what a node's result depends on besides its inputs (ComfyUI's IS_CHANGED)."""
        class_type = node["class_type"]
        if class_type in self.never_cached:
            return next(self._ticks)
        if class_type in _LOADERS and isinstance(node["inputs"].get("image"), str):
            path = self.folders.annotated(node["inputs"]["image"])
            return None if path is None else _file_state(path)
        return None

    def _check_image(self, inputs: dict[str, Any]) -> dict[str, str]:
        """Refuse a file that is not there."""
        name = inputs.get("image")
        path = self.folders.annotated(name) if isinstance(name, str) else None
        if not isinstance(name, str) or (path is not None and path.is_file()):
            return {}
        return {"image": f"Invalid image file: {name}"}


def _file_state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file does, None when there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size
