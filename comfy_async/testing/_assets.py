"""The assets of newer servers: an id for each file, and one hash for each content."""

from __future__ import annotations

import dataclasses
import hashlib
import mimetypes
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ._folders import Folders

__all__ = ["AssetStore", "StoredAsset"]


@dataclasses.dataclass(slots=True)
class StoredAsset:
    """One file that the server knows by its content.

    Attributes:
        path: Where its bytes lie.
        job_id: The run that made it, None for what was uploaded.
    """

    id: str
    name: str
    hash: str
    path: Path
    tags: list[str]
    job_id: str | None = None
    user_metadata: dict[str, Any] = dataclasses.field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return what the asset routes and uploads answer."""
        mime = mimetypes.guess_type(self.name)[0] or "application/octet-stream"
        found = {
            "id": self.id,
            "name": self.name,
            "display_name": self.name,
            "hash": self.hash,
            "size": self.path.stat().st_size,
            "mime_type": mime,
            "tags": list(self.tags),
            "preview_id": self.id if mime.startswith("image/") else None,
            "loader_path": self.name if "input" in self.tags else None,
            "is_immutable": self.job_id is not None,
            "job_id": self.job_id,
            "user_metadata": dict(self.user_metadata),
        }
        return {key: value for key, value in found.items() if value is not None or key == "preview_id"}


class AssetStore:
    """The assets of one server, by id.

    The hash is not BLAKE3 but looks like it: it identifies the content all the same.
    """

    def __init__(self, folders: Folders) -> None:
        """Start without any."""
        self.assets: dict[str, StoredAsset] = {}
        self._folders = folders
        self._by_path: dict[Path, str] = {}

    def add(self, path: Path, *, name: str, tags: Iterable[str], job_id: str | None = None) -> StoredAsset:
        """Know a file; one that lies where another one lay is another asset."""
        digest = "blake3:" + hashlib.sha256(path.read_bytes()).hexdigest()
        made = StoredAsset(str(uuid.uuid4()), name, digest, path, list(tags), job_id)
        self.assets[made.id] = made
        self._by_path[path] = made.id
        return made

    def with_hash(self, digest: str) -> StoredAsset | None:
        """Return an asset of this content."""
        return next((asset for asset in self.assets.values() if asset.hash == digest), None)

    def shown(self, output: Mapping[str, Any], job_id: str) -> dict[str, Any]:
        """Return what a node shows with the ids of its files, as `executed` and the history carry them."""
        return {key: _each(items, lambda item: self._named(item, job_id)) for key, items in output.items()}

    def told(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs of a run by node as the jobs API carries them: with name and hash too."""
        return {
            node: {key: _each(items, self._described) for key, items in shown.items()}
            for node, shown in outputs.items()
        }

    def _named(self, item: Any, job_id: str) -> Any:
        """Return a file with its ids, anything else as it is."""
        path = self._path(item)
        if path is None or not path.is_file():
            return item
        record = self.add(path, name=item["filename"], tags=[item["type"]], job_id=job_id).record()
        return {**item, "id": record["id"], "preview_id": record["preview_id"]}

    def _described(self, item: Any) -> Any:
        """Return a file that has an id with its name and hash."""
        asset = self.assets.get(item.get("id", "")) if isinstance(item, Mapping) else None
        return item if asset is None else {**item, "display_name": asset.name, "hash": asset.hash}

    def _path(self, item: Any) -> Path | None:
        """Return where a file that a node shows lies."""
        if not isinstance(item, Mapping) or "filename" not in item:
            return None
        folder = self._folders.of_type(str(item.get("type", "output")))
        return None if folder is None else folder / str(item.get("subfolder", "")) / str(item["filename"])


def _each(items: Any, change: Callable[[Any], Any]) -> Any:
    """Return a list with each of its items changed, and what is no list as it is."""
    return [change(item) for item in items] if isinstance(items, list) else items
