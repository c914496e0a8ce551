"""What a job made, as content of a conversation: a text of all of it, pictures, links to the rest."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcp import types

from .._client.words import plain_title
from .._display.media import shrunk
from ..errors import ComfyError
from .limits import Limits

if TYPE_CHECKING:
    from .._job.job import Job
    from .._job.result import JobResult, OutputFile

__all__ = ["content_of", "text_block"]

# What models are shown by every host; other pictures are made into one of these.
_SHOWN: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
# A larger file is no picture to look at; it is not even read.
_LARGEST: Final = 64 * 1024 * 1024


def text_block(text: str) -> types.TextContent:
    """Return a text as content."""
    return types.TextContent(text=text)


@dataclasses.dataclass(frozen=True, slots=True)
class _File:
    """One file of a result: its output's name, where it was saved, and what is shown of it."""

    file: OutputFile
    output: str
    path: Path | None

    @property
    def uri(self) -> str | None:
        """Where it can be had, without credentials; None for what came by the socket and was not saved."""
        return self.path.absolute().as_uri() if self.path is not None else self.file.url

    def line(self) -> str:
        """Return what it is and where."""
        where = self.path or self.file.url or "not kept on the server"
        return f"{self.output}: {self.file.filename} ({self.file.mime}), {where}"


async def content_of(
    job: Job, result: JobResult, outputs: Mapping[str, str], *, out: Path | None, limits: Limits
) -> list[types.ContentBlock]:
    """Return a result as content.

    Args:
        job: The job.
        result: What it made.
        outputs: The names of outputs by node.
        out: Where its files are saved, None to leave them on the server.
        limits: How much of it is shown.
    """
    paths, note = await _saved(result, out)
    files = [
        _File(file, outputs.get(file.node) or plain_title(file.title) or file.node, paths.get(place))
        for place, file in enumerate(result.files)
    ]
    took = f" in {result.duration:.1f} s" if result.duration else ""
    lines = [f"done{took}, job {job.prompt_id}", *(one.line() for one in files), *note]
    if result.missing:
        lines.append(f"images of {', '.join(result.missing)} may be lost: only the socket carries them")
    blocks: list[types.ContentBlock] = [text_block("\n".join(lines))]
    blocks += [text_block(text) for text in result.texts]
    shown = 0
    for one in files:
        picture = await _picture(one.file, limits) if shown < limits.pictures else None
        shown += picture is not None
        if picture is not None:
            data, mime = picture
            blocks.append(types.ImageContent(data=base64.b64encode(data).decode(), mime_type=mime))
        elif one.uri is not None:
            link = types.ResourceLink(name=one.file.filename, uri=one.uri, mime_type=one.file.mime)
            blocks.append(link)
    return blocks


async def _saved(result: JobResult, out: Path | None) -> tuple[dict[int, Path], list[str]]:
    """Save the files, if there is a folder for them; a full disk does not fail a run that completed."""
    if out is None or not result.files:
        return {}, []
    try:
        return dict(enumerate(await result.save(out, allow_missing=True))), []
    except (ComfyError, OSError) as error:
        return {}, [f"they could not be saved: {error}"]


async def _picture(file: OutputFile, limits: Limits) -> tuple[bytes, str] | None:
    """Return a picture that fits into a conversation, made smaller if need be; None for other files."""
    if file.kind != "image":
        return None
    try:
        data = await _read(file)
    except ComfyError:
        return None
    if data is None or (file.mime in _SHOWN and len(data) <= limits.picture_bytes):
        return None if data is None else (data, file.mime)
    edge = limits.picture_edge
    while edge >= 64:
        made = await asyncio.to_thread(shrunk, data, edge)
        if made is None or len(made[0]) <= limits.picture_bytes:
            return made
        edge //= 2
    return None


async def _read(file: OutputFile) -> bytes | None:
    """Return a file's bytes, None when they are too many.

    Raises:
        ComfyError: It cannot be fetched.
    """
    data = bytearray()
    async with contextlib.aclosing(file.stream()) as stream:
        async for chunk in stream:
            data += chunk
            if len(data) > _LARGEST:
                return None
    return bytes(data)
