"""What a job made: files, texts and values, by node."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import anyio

from .._base.paths import reserved, safe_parts, save_at, write_whole
from .._base.tasks import together
from ..errors import JobError
from ..events import Preview
from ..types import NodeInfo, Shown, renderer_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FileKind", "FileReader", "JobResult", "OutputFile"]

FileKind: TypeAlias = Literal["image", "video", "audio", "model_3d", "file"]

_KINDS: Mapping[FileKind, frozenset[str]] = {
    "image": frozenset("png jpg jpeg webp gif bmp tif tiff avif apng exr hdr svg".split()),
    "video": frozenset("mp4 webm mov mkv avi m4v mpg mpeg".split()),
    "audio": frozenset("flac mp3 wav ogg opus m4a aac".split()),
    "model_3d": frozenset("glb gltf obj fbx stl ply usdz splat spz ksplat".split()),
}


class FileReader(Protocol):
    """Where the bytes of output files come from: the session's `files`."""

    def url(self, filename: str, *, subfolder: str = "", type: str = "output") -> str:
        """Return the address of a file."""
        ...

    async def read(self, filename: str, *, subfolder: str = "", type: str = "output") -> bytes:
        """Return a file's bytes."""
        ...

    def open(self, filename: str, *, subfolder: str = "", type: str = "output") -> AsyncIterator[bytes]:
        """Yield a file's bytes as they come."""
        ...

    def save(
        self, filename: str, path: Path, *, subfolder: str = "", type: str = "output"
    ) -> Coroutine[Any, Any, Path]:
        """Write a file to disk."""
        ...


class OutputFile:
    """One file that a node made; its bytes stay on the server until they are asked for.

    Attributes:
        filename: The name on the server.
        subfolder: The folder below the server's output folder, "" when there is none.
        type: "output", "temp" or "input"; "websocket" when the bytes came by the socket.
        kind: "image", "video", "audio", "model_3d" or "file".
        node: The id of the node that made it.
        title: That node's title.
        key: The word that the node showed it under, for example `images` or `gifs`.
        info: Everything that the node said of it.

    Example:
        >>> for file in result.files:
        ...     print(file.kind, file.filename, (await file.image()).size, len(await file.read()))
        image ComfyUI_00002_.png (512, 512) ...
    """

    __slots__ = ("_data", "_reader", "filename", "info", "key", "kind", "node", "subfolder", "title", "type")

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
        """Read what the node said of the file."""
        self.info = info
        self.filename = str(info.get("filename") or "")
        self.subfolder = str(info.get("subfolder") or "")
        self.type = str(info.get("type") or "output")
        self.kind: FileKind = _kind(self.filename, str(info.get("format") or ""), key)
        self.node = node
        self.title = title
        self.key = key
        self._reader = reader
        self._data = data

    @property
    def url(self) -> str | None:
        """The file's address on the server without credentials, None for images of the socket."""
        if self._data is not None:
            return None
        return self._reader.url(self.filename, subfolder=self.subfolder, type=self.type)

    async def read(self) -> bytes:
        """Return the file's bytes.

        Raises:
            SessionClosedError: The session is closed, and the bytes are on the server.
            NotFoundError: The server has no such file any more.
            TransportError: The connection broke.
        """
        if self._data is not None:
            return self._data.image
        return await self._reader.read(self.filename, subfolder=self.subfolder, type=self.type)

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes as they come, for files that do not fit into memory.

        Raises:
            ComfyError: As `read`.
        """
        if self._data is not None:
            yield self._data.image
            return
        async for chunk in self._reader.open(self.filename, subfolder=self.subfolder, type=self.type):
            yield chunk

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file to disk through a temporary name, and return where it is.

        Args:
            path: A folder that exists, for a safe form of the server's name in it that no
                other file has, or the new file's name.

        Raises:
            ComfyError: As `read`.
            OSError: The disk would not take it.
        """
        target = Path(path)
        if not await anyio.Path(target).is_dir():
            return await self._save_as(target)
        with reserved(target, [safe_parts("", self.filename)]) as (place,):
            return await save_at(place, self._save_as)

    async def _save_as(self, target: Path) -> Path:
        """Write to exactly this name."""
        if self._data is not None:
            await asyncio.to_thread(write_whole, target, self._data.image)
            return target
        return await self._reader.save(self.filename, target, subfolder=self.subfolder, type=self.type)

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
        """The MIME type as the name tells it."""
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
        }

    def __repr__(self) -> str:
        """Return kind, name and node."""
        where = f"{self.subfolder}/{self.filename}" if self.subfolder else self.filename
        return f"<OutputFile {self.kind} {where} ({self.type}) of node {self.node}>"


class JobResult(Shown):
    """Everything that a completed job made.

    Attributes:
        prompt_id: The job.
        outputs: What each node showed, by node id, as ComfyUI's history has it.
        files: Every file of every node, temporary ones too.
        values: What nodes showed that is no file, by node id and key.
        cached_nodes: The ids of the nodes that the server did not run again.
        node_seconds: How long each node ran, as far as its start and end were seen: the history
            does not keep it, so a job that was attached to after its end has none.
        duration: Seconds from the start to the end of the run, 0.0 when nobody knows.
        missing: Nodes whose images only the socket carries and that may have been lost.

    Example:
        >>> result = await comfy.run(flow)
        >>> await result.save("out")
        [PosixPath('out/ComfyUI_00002_.png')]
        >>> result.images[0].node, result.outputs["9"]["images"][0]["type"]
        ('9', 'output')
    """

    def __init__(
        self,
        prompt_id: str,
        *,
        outputs: Mapping[str, Mapping[str, Any]],
        nodes: Mapping[str, NodeInfo],
        reader: FileReader,
        images: Mapping[str, list[Preview]],
        cached_nodes: tuple[str, ...] = (),
        node_seconds: Mapping[str, float] | None = None,
        duration: float = 0.0,
        missing: tuple[str, ...] = (),
    ) -> None:
        """Collect the files and values out of the outputs."""
        self.prompt_id = prompt_id
        self.outputs = outputs
        self.cached_nodes = cached_nodes
        self.node_seconds = dict(node_seconds or {})
        self.duration = duration
        self.missing = missing
        self.values: dict[str, dict[str, Any]] = {}
        self.shown: str | None = None
        found: list[OutputFile] = []
        for node, output in outputs.items():
            title = _title(nodes, node)
            for key, value in output.items():
                if _is_file_list(value):
                    found += [
                        OutputFile(item, node=node, title=title, key=key, reader=reader)
                        for item in value
                        if isinstance(item, Mapping) and item.get("filename")
                    ]
                else:
                    self.values.setdefault(node, {})[key] = value
        for node, previews in images.items():
            found += _delivered(node, _title(nodes, node), previews, reader)
        self.files: tuple[OutputFile, ...] = tuple(found)

    @property
    def images(self) -> tuple[OutputFile, ...]:
        """The pictures, temporary ones and those of the socket too.

        Raises:
            JobError: Some may have been lost in a gap of the connection; `files` has the others.
        """
        self._demand_whole()
        return self._of("image")

    @property
    def videos(self) -> tuple[OutputFile, ...]:
        """The films."""
        return self._of("video")

    @property
    def audio(self) -> tuple[OutputFile, ...]:
        """The sounds."""
        return self._of("audio")

    @property
    def models_3d(self) -> tuple[OutputFile, ...]:
        """The 3D models."""
        return self._of("model_3d")

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that a node showed."""
        return tuple(
            text for by_key in self.values.values() for value in by_key.values() for text in _strings(value)
        )

    async def save(self, folder: str | os.PathLike[str], *, allow_missing: bool = False) -> list[Path]:
        """Write every file into a folder and return the paths; nothing is overwritten, the very same is kept.

        Args:
            folder: Made when it does not exist; the server's subfolders are kept below it.
            allow_missing: Save what there is although images of the socket may be lost.

        Raises:
            JobError: Images may have been lost in a gap of the connection.
            SessionClosedError: The session is closed, and the bytes are on the server.
            TransportError: The connection broke.
            OSError: The disk would not take it.

        Example:
            >>> await result.save("pictures")
            [PosixPath('pictures/ComfyUI_00002_.png')]
            >>> await result.save("pictures")
            [PosixPath('pictures/ComfyUI_00002_.png')]
        """
        if not allow_missing:
            self._demand_whole()
        root = Path(folder)
        await anyio.Path(root).mkdir(parents=True, exist_ok=True)
        names = [safe_parts(file.subfolder, file.filename) for file in self.files]
        with reserved(root, names) as places:
            pairs = zip(self.files, places, strict=True)
            return await together([save_at(place, file._save_as) for file, place in pairs])

    async def show(self) -> None:
        """Show the files themselves in a notebook (extra `notebook`), and their names elsewhere."""
        await renderer_of(self, "show")(self)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold of it: everything but the bytes."""
        return {
            "prompt_id": self.prompt_id,
            "outputs": {node: dict(output) for node, output in self.outputs.items()},
            "files": [file.to_dict() for file in self.files],
            "texts": list(self.texts),
            "cached_nodes": list(self.cached_nodes),
            "node_seconds": self.node_seconds,
            "duration": self.duration,
            "missing": list(self.missing),
        }

    def _of(self, kind: FileKind) -> tuple[OutputFile, ...]:
        """Return the files of one kind."""
        return tuple(file for file in self.files if file.kind == kind)

    def _demand_whole(self) -> None:
        """Raise when images may have been lost."""
        if self.missing:
            raise JobError(
                f"images of {', '.join(self.missing)} may be lost: only the socket carries them, "
                "and it was interrupted",
                hint="`save(allow_missing=True)` and `files` give what arrived; SaveImage loses nothing.",
                prompt_id=self.prompt_id,
            )

    def __repr__(self) -> str:
        """Return the job and what it made."""
        return f"<JobResult {self.prompt_id[:8]} {len(self.files)} files, {self.duration:.1f} s>"


def _title(nodes: Mapping[str, NodeInfo], node: str) -> str:
    """Return a node's title; `12.0.0.1` was made by node 12."""
    info = nodes.get(node) or nodes.get(node.partition(".")[0])
    return (info.title or info.class_type) if info else node


def _is_file_list(value: object) -> bool:
    """Say whether a value is a list with at least one object that has a `filename`."""
    return isinstance(value, list) and any(
        isinstance(item, Mapping) and isinstance(item.get("filename"), str) for item in value
    )


def _delivered(node: str, title: str, previews: list[Preview], reader: FileReader) -> Iterator[OutputFile]:
    """Name the images that came by the socket; the server gave them no names."""
    for count, preview in enumerate(previews, 1):
        ending = mimetypes.guess_extension(preview.mime) or ".png"
        name = f"websocket_{node.replace(':', '_')}_{count:05d}{ending}"
        info = {"filename": name, "subfolder": "", "type": "websocket"}
        yield OutputFile(info, node=node, title=title, key="images", reader=reader, data=preview)


def _kind(filename: str, format_: str, key: str) -> FileKind:
    """Tell the kind by the name's ending, else by what the node calls it."""
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


def _strings(value: object) -> Iterator[str]:
    """Yield the texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
