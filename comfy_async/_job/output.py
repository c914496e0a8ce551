"""One file that a node made: its bytes stay on the server until they are asked for."""

from __future__ import annotations

import contextlib
import mimetypes
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, TypeVar, overload

from .._base.paths import is_folder, safe_name, safe_parts, save_at, write_whole
from .._base.places import StoredPlace, said, where
from .._base.secrets import Secret
from .._base.tasks import closed_when_left, in_thread
from ..errors import ComfyError, ConnectError, NotFoundError, ResponseError
from ..events import Preview
from ..types import FileUrl
from .storing import open_store, store_at

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FileKind", "FileReader", "OutputFile", "SavedTo", "kind_of", "source_of", "tell_saves"]

_P = TypeVar("_P", Path, FileUrl)

SavedTo: TypeAlias = "Callable[[OutputFile, Path | FileUrl], object]"
"""Called for a file that was saved, with its place."""

FileKind: TypeAlias = Literal["image", "video", "audio", "model_3d", "file"]

_KINDS: Mapping[FileKind, frozenset[str]] = {
    "image": frozenset("png jpg jpeg webp gif bmp tif tiff avif apng exr hdr svg".split()),
    "video": frozenset("mp4 webm mov mkv avi m4v mpg mpeg".split()),
    "audio": frozenset("flac mp3 wav ogg opus m4a aac".split()),
    "model_3d": frozenset("glb gltf obj fbx stl ply usdz splat spz ksplat".split()),
}


_AGAIN = "run the workflow again, and save as soon as a job ends."
_SILENT = f"The file is on that server alone: try again when it answers. Where it does not, {_AGAIN}"
_GONE = f"It was deleted, or the server is a new one: {_AGAIN}"

# What names may have as fields (patterns.py).
_FIELD: Final = re.compile(
    r"\{(?:index|job|seed|filename|node|title|kind|type|prompt_id|[\w ]+\.\w+)(?::[^{}]*)?\}"
)


class FileReader(Protocol):
    """Where the bytes of output files come from: the session's `files`."""

    def url(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> str:
        """Return the address of a file."""
        ...

    async def read(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> bytes:
        """Return a file's bytes."""
        ...

    def open(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> AsyncIterator[bytes]:
        """Yield a file's bytes as they come."""
        ...

    def save(
        self,
        filename: str,
        path: Path,
        *,
        subfolder: str = "",
        type: str = "output",
        asset: str | None = None,
    ) -> Coroutine[Any, Any, Path]:
        """Write a file to disk."""
        ...


class OutputFile:
    """One file that a node made; its bytes stay on the server until they are read.

    Attributes:
        filename: The name on the server.
        subfolder: The folder below the server's output folder, "" when there is none.
        type: "output", "temp" or "input"; "websocket" when the bytes came by the socket.
        kind: "image", "video", "audio", "model_3d" or "file".
        node: The id of the node that made it.
        title: That node's title.
        key: The key under which the node listed it, for example `images` or `gifs`.
        info: Everything that the node reported of it.
        id: The asset's id, where the server keeps assets (0.34 and later), else None.
        preview_id: The id of a smaller form of it, or None.
        display_name: Its name for people, the filename unless the server says otherwise.
        hash: The hash of its content (`blake3:...`), or None.
        size: In bytes where the server says so (API v2), else None.

    Example:
        >>> for file in result.files:
        ...     print(file.kind, file.filename, (await file.image()).size, len(await file.read()))
        image ComfyUI_00002_.png (512, 512) ...
    """

    __slots__ = (
        "_data",
        "_reader",
        "_saved_to",
        "display_name",
        "filename",
        "hash",
        "id",
        "info",
        "key",
        "kind",
        "node",
        "preview_id",
        "size",
        "subfolder",
        "title",
        "type",
    )

    def __init__(
        self,
        info: Mapping[str, Any],
        *,
        node: str,
        title: str,
        key: str,
        reader: FileReader,
        data: Preview | None = None,
    ) -> None:
        """Read what the node reported of the file."""
        self.info = info
        self.filename = str(info.get("filename") or "")
        self.subfolder = str(info.get("subfolder") or "")
        self.type = str(info.get("type") or "output")
        self.kind: FileKind = kind_of(
            self.filename, str(info.get("format") or info.get("content_type") or ""), key
        )
        self.id = _text(info.get("id"))
        self.preview_id = _text(info.get("preview_id"))
        self.display_name = _text(info.get("display_name")) or self.filename
        self.hash = _text(info.get("hash")) or _text(info.get("asset_hash"))
        size = info.get("size_bytes")
        self.size = size if isinstance(size, int) and not isinstance(size, bool) else None
        self.node = node
        self.title = title
        self.key = key
        self._reader = reader
        self._data = data
        self._saved_to: SavedTo | None = None

    @property
    def is_preview(self) -> bool:
        """True for what was only shown (PreviewImage): the server forgets it when it restarts."""
        return self.type == "temp"

    @property
    def url(self) -> str | None:
        """The file's address on the server without credentials, None for images of the socket."""
        if self._data is not None:
            return None
        return self._reader.url(self.filename, **self._place())

    async def read(self) -> bytes:
        """Return the file's bytes.

        Raises:
            SessionClosedError: The session is closed, and the bytes are on the server.
            NotFoundError: The server has no such file any more.
            TransportError: The connection broke.
        """
        if self._data is not None:
            return self._data.image
        with self._on_its_server():
            return await self._reader.read(self.filename, **self._place())

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the file's bytes as they come, for files that do not fit into memory.

        Raises:
            ComfyError: As `read`.
        """
        if self._data is not None:
            yield self._data.image
            return
        with self._on_its_server():
            async with closed_when_left(self._reader.open(self.filename, **self._place())) as chunks:
                async for chunk in chunks:
                    yield chunk

    @overload
    async def save(self, path: os.PathLike[str], *, overwrite: bool = False) -> Path: ...
    @overload
    async def save(
        self,
        path: str | StoredPlace,
        *,
        overwrite: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Path | FileUrl: ...
    async def save(
        self,
        path: str | os.PathLike[str] | StoredPlace,
        *,
        overwrite: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Path | FileUrl:
        """Write the file to disk through a temporary name, or to a store, and return where it is.

        Args:
            path: A folder (one that is there, or ends in a slash, or has no ending), for a safe form
                of the server's name in it; or the new file's name. What is taken by another content
                gets a number: `a (1).png`. The very same is kept. A URL, `s3://pictures/out`, goes
                to that store by fsspec (extra `fsspec`), as `JobResult.save` says.
            overwrite: Replace what has that name.
            storage_options: What fsspec makes the file system with: keys, an endpoint.

        Raises:
            ComfyError: As `read`.
            OSError: The disk, or the store, would not take it.
            ImportError: fsspec, or what it needs for this store, is not installed.
            ValueError: The URL's scheme is unknown, or the name has a field: patterns are `JobResult.save`'s.
        """
        if isinstance(path, str) and (field := _FIELD.search(path)):
            raise ValueError(
                f"{field[0]} in {path!r} is filled by a result's own save: "
                f"`result.save(folder, name=...)`; a Path with braces is taken as it is"
            )
        options = None if storage_options is None else Secret(storage_options)
        del storage_options
        target = where(path, options)
        if target is None:
            name = safe_parts("", self.filename)[-1]
            store, leaf = await open_store(path, options, lone=name)
            parts = (safe_name(leaf or name),)
            return self.was_saved(await store_at(store, parts, self.stream, overwrite=overwrite))
        if await in_thread(is_folder, said(path, target)):
            target = target.joinpath(*safe_parts("", self.filename))
        return self.was_saved(await save_at(target, self.write_to, overwrite=overwrite))

    def was_saved(self, place: _P) -> _P:
        """Call hooks with its place, and return that; internal."""
        if self._saved_to is not None:
            self._saved_to(self, place)
        return place

    async def write_to(self, target: Path) -> Path:
        """Write to exactly this name, and replace what has it; internal."""
        if self._data is not None:
            await in_thread(write_whole, target, self._data.image)
            return target
        with self._on_its_server():
            return await self._reader.save(self.filename, target, **self._place())

    @contextlib.contextmanager
    def _on_its_server(self) -> Iterator[None]:
        """Say of a file that cannot be had what to do about that: no other server has it."""
        try:
            yield
        except ComfyError as error:
            gateway = isinstance(error, ResponseError) and error.status in {502, 503, 504}
            if isinstance(error, ConnectError) or gateway:
                error.hint = _SILENT
            elif isinstance(error, NotFoundError):
                where = f"{self.subfolder}/{self.filename}" if self.subfolder else self.filename
                error.hint = f"The server has no {self.type} {where!r} any more. {_GONE}"
            raise

    def _place(self) -> dict[str, Any]:
        """Return where it lies: by its name, and by its asset where it is one."""
        asset = {} if self.id is None else {"asset": self.id}
        return {"subfolder": self.subfolder, "type": self.type, **asset}

    async def image(self) -> Image:
        """Return the decoded picture; takes Pillow (`pip install 'comfy-async[images]'`).

        Raises:
            ImportError: Pillow is not installed.
            ComfyError: As `read`.
        """
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError("Pillow is missing: pip install 'comfy-async[images]'") from error
        import io

        return Image.open(io.BytesIO(await self.read()))

    @property
    def mime(self) -> str:
        """The MIME type: as the server says (API v2), else by the name's ending."""
        said = _text(self.info.get("content_type"))
        if said is not None:
            return said.partition(";")[0].strip()
        return mimetypes.guess_type(self.filename)[0] or "application/octet-stream"

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return {
            "filename": self.filename,
            "subfolder": self.subfolder,
            "type": self.type,
            "kind": self.kind,
            "node": self.node,
            "title": self.title,
            "key": self.key,
            "url": self.url,
            **{name: value for name, value in self._asset().items() if value is not None},
        }

    def _asset(self) -> dict[str, str | None]:
        """Return what the server's asset system says of it."""
        shown = None if self.display_name == self.filename else self.display_name
        return {"id": self.id, "preview_id": self.preview_id, "display_name": shown, "hash": self.hash}

    def __repr__(self) -> str:
        """Return kind, name and node."""
        where = f"{self.subfolder}/{self.filename}" if self.subfolder else self.filename
        # Names that are no UTF-8 come as lone surrogates, which no terminal takes.
        where = where.encode("utf-8", "backslashreplace").decode()
        return f"<OutputFile {self.kind} {where} ({self.type}) of node {self.node}>"


def source_of(file: OutputFile) -> FileReader | bytes:
    """Return who reads a file, or its bytes where the socket has brought them."""
    return file._reader if file._data is None else file._data.image


def tell_saves(file: OutputFile, saved_to: SavedTo) -> None:
    """Set what is called with a file's place, each time that it is saved."""
    file._saved_to = saved_to


def kind_of(filename: str, format_: str, key: str) -> FileKind:
    """Return the kind by the name's ending, else by the node's key."""
    ending = filename.rpartition(".")[2].lower()
    for kind, endings in _KINDS.items():
        if ending in endings:
            return kind
    family = format_.partition("/")[0]
    if family == "image" or key == "images":
        return "image"
    if family == "video" or key == "video":
        return "video"
    return "audio" if family == "audio" or key == "audio" else "file"


def _text(value: object) -> str | None:
    """Return a text that says something, None for all else."""
    return value if isinstance(value, str) and value else None
