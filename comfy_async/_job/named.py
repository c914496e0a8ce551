"""What one node of a finished job made: `result["picture"]`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..types import FileUrl
from .output import OutputFile

__all__ = ["NodeOutput"]


class NodeOutput(tuple[OutputFile, ...]):
    """The files that one node made, and beside them its values; most nodes make one file.

    What an `OutputFile` does, it does for the first of them.

    Attributes:
        name: By which it was requested.
        values: What the node showed that is no file, by key.

    Example:
        >>> result = await comfy.run(flow)
        >>> picture = result["9"]
        >>> len(picture), picture.filename, (await picture.read())[:4]
        (1, 'ComfyUI_00002_.png', b'\\x89PNG')
    """

    name: str
    values: Mapping[str, Any]

    def __new__(
        cls, files: Iterable[OutputFile], *, values: Mapping[str, Any] | None = None, name: str = ""
    ) -> NodeOutput:
        """Hold the files and the values."""
        made = super().__new__(cls, files)
        made.name, made.values = name, dict(values or {})
        return made

    @property
    def file(self) -> OutputFile:
        """The first file.

        Raises:
            LookupError: The node made no file.
        """
        if not self:
            shown = f"; it showed {', '.join(self.values)}" if self.values else ""
            raise LookupError(f"the output {self.name!r} has no file{shown}")
        return self[0]

    @property
    def filename(self) -> str:
        """The name of the first file.

        Raises:
            LookupError: The node made no file.
        """
        return self.file.filename

    @property
    def kind(self) -> str:
        """What the first file is: "image", "video" and so on.

        Raises:
            LookupError: The node made no file.
        """
        return self.file.kind

    @property
    def url(self) -> str | None:
        """Where the first file lies, None for what came by the socket.

        Raises:
            LookupError: The node made no file.
        """
        return self.file.url

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that the node showed."""
        return tuple(_texts(self.values))

    @property
    def text(self) -> str:
        """The texts that the node showed, as one."""
        return "\n".join(self.texts)

    async def read(self) -> bytes:
        """Return the content of the first file.

        Raises:
            LookupError: The node made no file.
            ComfyError: It cannot be read.
        """
        return await self.file.read()

    async def image(self) -> Any:
        """Return the first file as a Pillow image.

        Raises:
            LookupError: The node made no file.
            ComfyError: It cannot be read.
        """
        return await self.file.image()

    async def save(self, path: str | os.PathLike[str]) -> Path | FileUrl:
        """Write the first file, as `OutputFile.save`.

        Raises:
            LookupError: The node made no file.
            ComfyError: It cannot be read.
            OSError: The disk would not take it.
        """
        return await self.file.save(path)

    def __repr__(self) -> str:
        """Return the name and the files."""
        return f"<NodeOutput {self.name!r} {', '.join(file.filename for file in self) or list(self.values)}>"


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
