"""The assets of API v2: records with an id over contents with a hash."""

from __future__ import annotations

import dataclasses
import datetime
import mimetypes
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ._folders import Folders

__all__ = ["Shelf", "V2Asset", "content_hash", "moment"]

_CHUNK = 1 << 20
_KINDS = {
    "images": "image",
    "gifs": "video",
    "video": "video",
    "audio": "audio",
    "text": "text",
    "files": "file",
    "3d": "file",
    "latents": "latent",
}
_PROXY_KINDS = ("images", "gifs", "audio", "text", "files", "latents")


def moment(seconds: float, *, style: str) -> str:
    """Return a time: the proxy writes an offset, where the cloud's description has a Z."""
    text = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
    return text if style == "proxy" else text.replace("+00:00", "Z")


def content_hash(path: Path) -> str | None:
    """Return the BLAKE3 of a file, None where the package blake3 is not installed."""
    try:
        import blake3
    except ImportError:
        return None
    digest = blake3.blake3()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"blake3:{digest.hexdigest()}"


@dataclasses.dataclass(slots=True)
class V2Asset:
    """One record; several may stand for one content.

    Attributes:
        path: Where the bytes lie.
        node_id: The node that made it, None for an upload.
        kind: What an output is: image, video, audio, text, file or latent.
        told: How often it was told, for hashes that come late.
    """

    id: str
    name: str
    path: Path
    content_type: str
    hash: str | None
    created_at: float
    job_id: str | None = None
    node_id: str | None = None
    kind: str = "file"
    expires_at: float | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    told: int = 0

    @property
    def size(self) -> int:
        """Bytes, 0 when they are gone."""
        return self.path.stat().st_size if self.path.is_file() else 0


class Shelf:
    """All assets of one server, by id.

    Attributes:
        assets: The records.
    """

    def __init__(self, folders: Folders) -> None:
        """Start without any."""
        self.assets: dict[str, V2Asset] = {}
        self._folders = folders
        self._outputs: dict[tuple[str, Path], V2Asset] = {}

    def add(self, path: Path, *, name: str, content_type: str | None = None, **more: Any) -> V2Asset:
        """Make a record over a file."""
        guessed = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        made = V2Asset(str(uuid.uuid4()), name, path, guessed, content_hash(path), time.time(), **more)
        self.assets[made.id] = made
        return made

    def again(self, asset: V2Asset, *, name: str | None, **more: Any) -> V2Asset:
        """Make another record over the bytes of one."""
        made = dataclasses.replace(
            asset, id=str(uuid.uuid4()), name=name or asset.name, created_at=time.time(), told=0, **more
        )
        self.assets[made.id] = made
        return made

    def with_hash(self, digest: str, *, name: str | None = None) -> V2Asset | None:
        """Return an uploaded asset of this content, one of that name if there is one."""
        found = [asset for asset in self.assets.values() if asset.hash == digest and asset.job_id is None]
        return next((asset for asset in found if asset.name == name), found[0] if found else None)

    def store(self, source: Path, file_path: str, *, models: bool) -> tuple[Path, str]:
        """Move an upload to where nodes find it; returns the path and the name that a graph uses.

        Args:
            source: Where it lies.
            file_path: Where it is wanted: `face.png`, `input/faces/a.png`, `models/loras/x.safetensors`.
            models: Take models too; a proxy takes none unless it runs beside ComfyUI.

        Raises:
            ValueError: The path leads out of the folders, or into one that takes none.
        """
        parts = [part for part in file_path.replace("\\", "/").split("/") if part]
        if not parts or ".." in parts or file_path.startswith("/"):
            raise ValueError(f"{file_path!r} is no place for a file")
        parts = parts[1:] if parts[0] == "models" and len(parts) > 1 else parts
        if len(parts) > 1 and parts[0] in self._folders.models:
            if not models:
                raise ValueError("models are taken by a proxy that runs beside ComfyUI")
            return self._model(source, parts[0], "/".join(parts[1:]))
        if len(parts) > 1 and parts[0] != "input":
            raise ValueError(f"{parts[0]!r} is neither input nor a folder of models")
        root = self._folders.of_type("input")
        assert root is not None
        path = root.joinpath(*(parts[1:] or parts))
        path.parent.mkdir(parents=True, exist_ok=True)
        stem, suffix = os.path.splitext(path.name)
        number = 1
        while path.exists() and path.read_bytes() != source.read_bytes():
            path = path.with_name(f"{stem} ({number}){suffix}")
            number += 1
        os.replace(source, path)
        return path, path.relative_to(root).as_posix()

    def _model(self, source: Path, folder: str, name: str) -> tuple[Path, str]:
        """Keep a model, and let its loaders offer it."""
        path = self._folders.base / "models" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, path)
        names = self._folders.models.setdefault(folder, [])
        if name not in names:
            names.append(name)
        return path, name

    def outputs(
        self, job_id: str, shown: Mapping[str, Any], *, style: Literal["cloud", "proxy"]
    ) -> list[V2Asset]:
        """Return the assets of what nodes show; the same ones every time."""
        found = []
        for node_id, by_key in shown.items():
            for key, items in (by_key or {}).items():
                if key not in (_PROXY_KINDS if style == "proxy" else _KINDS) or not isinstance(items, list):
                    continue
                for number, item in enumerate(items):
                    path = self._path(job_id, node_id, item, number, style=style)
                    if path is not None:
                        found.append(self._output(job_id, path, node_id=node_id, kind=_KINDS[key]))
        return found

    def _output(self, job_id: str, path: Path, *, node_id: str, kind: str) -> V2Asset:
        known = self._outputs.get((job_id, path))
        if known is None:
            known = self.add(path, name=path.name, job_id=job_id, node_id=node_id, kind=kind)
            self._outputs[job_id, path] = known
        return known

    def _path(self, job_id: str, node_id: str, item: Any, number: int, *, style: str) -> Path | None:
        """Return where an output lies; the cloud's plain texts become files, the proxy drops them."""
        if isinstance(item, Mapping) and "filename" in item:
            folder = self._folders.of_type(str(item.get("type", "output")))
            path = folder and folder / str(item.get("subfolder", "")) / str(item["filename"])
            return path if path and path.is_file() else None
        if not isinstance(item, str) or style == "proxy":
            return None
        path = self._folders.base / "texts" / job_id / f"{node_id}_{number}.txt"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(item, encoding="utf-8")
        return path

    def name_in_graph(self, asset: V2Asset, *, style: str) -> str:
        """Return what stands in a graph for an asset."""
        for kind in ("input", "output", "temp"):
            root = self._folders.of_type(kind)
            if root is not None and asset.path.is_relative_to(root):
                name = asset.path.relative_to(root).as_posix()
                # The proxy gives the bare name, which leads into the input folder.
                return name if kind == "input" or style == "proxy" else f"{name} [{kind}]"
        models = self._folders.base / "models"
        if asset.path.is_relative_to(models):
            return "/".join(asset.path.relative_to(models).parts[1:])
        return asset.name
