"""What a job made: files, texts and values, by node."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from .._base.paths import is_folder
from .._base.places import StoredPlace, said, where
from .._base.secrets import Secret
from .._base.tasks import in_thread
from ..errors import JobError
from ..events import Preview
from ..types import FileUrl, NodeInfo, Shown, renderer_of
from ..workflow import Workflow
from .named import NodeOutput
from .output import FileKind, FileReader, OutputFile, SavedTo, kind_of, tell_saves
from .patterns import NamePattern
from .saving import Folder, LocalFolder, StoreFolder, save_all
from .storing import open_store

__all__ = ["FileKind", "FileReader", "JobResult", "OutputFile"]

_P = TypeVar("_P")


class JobResult(Shown):
    """Everything that a completed job made.

    Attributes:
        prompt_id: The job.
        outputs: What each node showed, by node id, as ComfyUI's history has it.
        files: Every file of every node: first what was saved, then what was only shown (`is_preview`).
        values: What nodes showed that is no file, by node id and key.
        cached_nodes: The ids of the nodes that the server did not run again.
        node_seconds: How long each node ran, as far as its start and end were seen: the history
            does not keep it, so a job that was attached to after its end has none.
        duration: Seconds from the start to the end of the run, 0.0 when unknown.
        missing: Nodes of which something may be missing: images that only the socket carries and that
            may have been lost, or all that a node saves, where an API v2 server reports none of it.

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
        unreported: tuple[str, ...] = (),
        workflow: Workflow | None = None,
        saved_to: SavedTo | None = None,
        index: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Collect the files and values out of the outputs.

        `workflow` is what was submitted, `index` the job's place in its batch, and `saved_to` is called
        for each file that is saved.
        `unreported` are nodes that save whenever they run, and of which the server reported nothing.
        """
        self.prompt_id = prompt_id
        self.outputs = outputs
        self.cached_nodes = cached_nodes
        self.node_seconds = dict(node_seconds or {})
        self.duration = duration
        self.missing = (*missing, *unreported)
        self._unreported = unreported
        self.values: dict[str, dict[str, Any]] = {}
        self.shown: str | None = None
        self._workflow = workflow
        self._index, self._labels = index, dict(labels or {})
        found: list[OutputFile] = []
        for node, output in outputs.items():
            title = _title(nodes, node)
            infos, values = _files_and_values(output)
            found += [OutputFile(info, node=node, title=title, key=key, reader=reader) for key, info in infos]
            if values:
                self.values[node] = values
        for node, previews in images.items():
            found += _delivered(node, _title(nodes, node), previews, reader)
        self.files: tuple[OutputFile, ...] = tuple(sorted(found, key=lambda file: file.is_preview))
        if saved_to is not None:
            for file in self.files:
                tell_saves(file, saved_to)

    @property
    def images(self) -> tuple[OutputFile, ...]:
        """The pictures that were saved or sent by the socket; those that were only shown when none was.

        `files` has them all.

        Raises:
            JobError: Some may be missing (see `missing`); `files` has the others.
        """
        self._demand_whole()
        return self._of("image")

    @property
    def videos(self) -> tuple[OutputFile, ...]:
        """The videos that were saved; those that were only shown when none was."""
        return self._of("video")

    @property
    def audio(self) -> tuple[OutputFile, ...]:
        """The audio files that were saved; those that were only shown when none was."""
        return self._of("audio")

    @property
    def models_3d(self) -> tuple[OutputFile, ...]:
        """The 3D models that were saved; those that were only shown when none was."""
        return self._of("model_3d")

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that a node showed."""
        return tuple(
            text for by_key in self.values.values() for value in by_key.values() for text in _strings(value)
        )

    def __getitem__(self, name: str) -> NodeOutput:
        """Return what one node made: by the name that an app gives it, else by the node's id.

        Raises:
            KeyError: Nothing has that name; it lists those that there are.

        Example:
            >>> result = await comfy.run(flow)
            >>> result["9"].filename, len(result["9"])
            ('ComfyUI_00002_.png', 1)
        """
        named = {} if self._workflow is None else self._workflow.named_outputs
        node = named.get(name, name)
        if name not in named and node not in self.outputs and not any(f.node == node for f in self.files):
            known = ", ".join([*named, *self.outputs]) or "nothing"
            raise KeyError(f"the result has no {name!r}; it has {known}")
        files = (file for file in self.files if file.node == node)
        return NodeOutput(files, values=self.values.get(node, {}), name=name)

    @overload
    async def save(
        self,
        folder: os.PathLike[str],
        *,
        name: str | None = None,
        overwrite: bool = False,
        allow_missing: bool = False,
    ) -> list[Path]: ...
    @overload
    async def save(
        self,
        folder: str | StoredPlace,
        *,
        name: str | None = None,
        overwrite: bool = False,
        allow_missing: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> list[Path] | list[FileUrl]: ...
    async def save(
        self,
        folder: str | os.PathLike[str] | StoredPlace,
        *,
        name: str | None = None,
        overwrite: bool = False,
        allow_missing: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> list[Path] | list[FileUrl]:
        """Write every file into a folder and return the paths; nothing is overwritten, the very same is kept.

        What can be saved is saved, whatever becomes of the other files.

        Args:
            folder: Made when it does not exist; the server's subfolders are kept below it. A path
                with an ending that is no folder, `out/cat_{seed}.png`, is a folder and a `name`.
                A URL, `s3://pictures/out`, is a folder of a store behind fsspec (extra `fsspec`), and
                so is an `OpenFile` or a `UPath`: files are streamed there, and URLs come back.
                `file:///tmp/out` is a folder on this machine.
            name: A pattern for the names: `{seed}_{index:02d}` and the like. Its fields are `index`
                (the place among the files of this result, from 0), `job` (the place in a batch, from
                0), `seed`, `filename`, `node`, `title`, `kind`, `type`, `prompt_id`, a label as
                `{label.user}`, and any input as `{3.steps}` or `{KSampler.steps}`.
            overwrite: Replace files that have such names; else they get numbers, `cat (1).png`.
            allow_missing: Save what there is although images of the socket may be lost.
            storage_options: What fsspec makes the file system with: keys, an endpoint. They are in
                no error and no log.

        Raises:
            SaveError: Some of several files could not be saved; it names each and says why.
            JobError: Images may have been lost in a gap of the connection.
            SessionClosedError: The session is closed, and the bytes are on the server.
            ComfyError: The only file could not be fetched.
            OSError: The disk, or the store, would not take it.
            ImportError: fsspec, or what it needs for this store, is not installed; nothing was fetched.
            ValueError: The pattern has a field that is unknown, or could be several things, or leads
                out of the folder; or the URL's scheme is unknown.

        Example:
            >>> await result.save("pictures")
            [PosixPath('pictures/ComfyUI_00002_.png')]
            >>> await result.save("pictures")
            [PosixPath('pictures/ComfyUI_00002_.png')]
            >>> await result.save("pictures", name="{seed}_{index}")
            [PosixPath('pictures/..._0.png')]
        """
        if not allow_missing:
            self._demand_whole()
        options = None if storage_options is None else Secret(storage_options)
        del storage_options
        root = where(folder, options)
        if root is None:
            store, name = await open_store(folder, options, name=name)
            names = self._names(name, beside=store.url)
            return await self._saved(StoreFolder(store), names, overwrite=overwrite)
        if name is None and not await in_thread(is_folder, said(folder, root)):
            root, name = root.parent, root.name
        names = self._names(name, beside="" if await in_thread(root.is_dir) else str(root))
        await in_thread(root.mkdir, parents=True, exist_ok=True)
        return await self._saved(LocalFolder(root), names, overwrite=overwrite)

    def _names(self, name: str | None, *, beside: str) -> NamePattern | None:
        """Return the pattern for names, None when they keep the server's.

        Raises:
            ValueError: It is none, or the folder beside it is one.
        """
        if "{" in beside:
            raise ValueError(f"patterns belong into `name=`, not into the folder {beside!r}")
        if name is None:
            return None
        graph = None if self._workflow is None else self._workflow.to_api()
        return NamePattern(name, prompt_id=self.prompt_id, graph=graph, job=self._index, labels=self._labels)

    async def _saved(self, folder: Folder[_P], names: NamePattern | None, *, overwrite: bool) -> list[_P]:
        """Save all files below a folder."""
        return await save_all(
            self.files,
            folder,
            names,
            overwrite=overwrite,
            cached_nodes=self.cached_nodes,
            prompt_id=self.prompt_id,
        )

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
        """Return the files of one kind: those that were saved, or all when none was."""
        found = tuple(file for file in self.files if file.kind == kind)
        return tuple(file for file in found if not file.is_preview) or found

    def _demand_whole(self) -> None:
        """Raise when something may be missing."""
        if self._unreported:
            raise JobError(
                f"the job completed, but the server reported nothing of {', '.join(self._unreported)}: "
                "it may have left these nodes out",
                hint="API v2 servers do not say so. `comfy.check(workflow)` finds what they refuse, once "
                "`comfy.nodes.use(NodeCatalog.load(path))` names the nodes that there are; "
                "`save(allow_missing=True)` and `files` give what was made.",
                prompt_id=self.prompt_id,
            )
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


def _files_and_values(
    output: Mapping[str, Any],
) -> tuple[list[tuple[str, Mapping[str, Any]]], dict[str, Any]]:
    """Return what a node showed as files, each with its key, and as anything else."""
    files: list[tuple[str, Mapping[str, Any]]] = []
    values: dict[str, Any] = {}
    model: Mapping[str, Any] | None = None
    for key, value in output.items():
        if _is_file_list(value):
            files += [(key, item) for item in value if isinstance(item, Mapping) and item.get("filename")]
        elif key == "result" and (found := _shown_model(value)) is not None:
            model = found
        else:
            values[key] = value
    # Newer servers send the same file as an object too, which says more.
    if model is not None and not any(_place(item) == _place(model) for _, item in files):
        files.append(("result", model))
    return files, values


def _is_file_list(value: object) -> bool:
    """Say whether a value is a list with at least one object that has a `filename`."""
    return isinstance(value, list) and any(
        isinstance(item, Mapping) and isinstance(item.get("filename"), str) for item in value
    )


def _shown_model(value: object) -> dict[str, str] | None:
    """Return the file of a 3D preview: a path, a camera and a background (Preview3D, Save3DAdvanced)."""
    path = value[0] if isinstance(value, list) and value else None
    if not isinstance(path, str) or "\n" in path:
        return None
    marked = re.fullmatch(r"(.*) \[(input|output|temp)\]", path)
    path, type_ = (marked[1], marked[2]) if marked else (path, "output")
    subfolder, _, filename = path.replace("\\", "/").rpartition("/")
    if kind_of(filename, "", "") != "model_3d":
        return None
    return {"filename": filename, "subfolder": subfolder, "type": type_}


def _place(info: Mapping[str, Any]) -> tuple[str, str]:
    """Return where a file lies on the server, as far as nodes agree about it."""
    return str(info.get("subfolder") or "").strip("/"), str(info.get("filename") or "")


def _delivered(node: str, title: str, previews: list[Preview], reader: FileReader) -> Iterator[OutputFile]:
    """Name the images that came by the socket; the server gave them no names."""
    for count, preview in enumerate(previews, 1):
        ending = mimetypes.guess_extension(preview.mime) or ".png"
        name = f"websocket_{node.replace(':', '_')}_{count:05d}{ending}"
        info = {"filename": name, "subfolder": "", "type": "websocket"}
        yield OutputFile(info, node=node, title=title, key="images", reader=reader, data=preview)


def _strings(value: object) -> Iterator[str]:
    """Yield the texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
