"""Uploads and downloads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._base.backoff import Backoff
from .._base.tasks import in_thread, together
from .._dialects.dialect import FilePlace
from .._transport.http import Stream
from ..errors import ResponseError, TransportError, UploadTooLargeError
from ._answered import demand_file
from ._downloads import Download
from ._file_names import is_repeatable, reference_of, source_name, split_name
from ._masks import demand_mask
from ._sources import Payload, UploadSource, prepared
from ._transfer import Meter, Transfer
from ._uploads import UploadedFile, Uploader, UploadOrder
from .host import Host

if TYPE_CHECKING:
    from ..workflow import Workflow
    from ..workflow._nodes import Graph

__all__ = ["Files"]

_READ_TRIES = 4


class Files:
    """`comfy.files`: what goes in and what comes out.

    `upload` and `save` return transfers: await them for their result, or iterate them
    first for their progress. At most `Settings.transfers` run at once.

    Example:
        >>> face = await comfy.files.upload("face.png")  # once, however often it is asked for
        >>> flow = flow.add("LoadImage", {"image": face})
        >>> async for progress in comfy.files.save("ComfyUI_00001_.png", "copies/first.png"):
        ...     print(progress)
    """

    def __init__(self, host: Host) -> None:
        """Use the session's HTTP client."""
        self._host = host
        self._uploader = Uploader(host)
        self._slots = asyncio.Semaphore(host.settings.transfers)

    # In.

    def upload(
        self,
        source: UploadSource,
        *,
        name: str | None = None,
        subfolder: str = "",
        type: Literal["input", "temp", "output"] = "input",
        overwrite: bool = False,
    ) -> Transfer[UploadedFile]:
        """Send a file to the server and return its handle, an input value for workflows.

        The same content is sent once per session. It is read from disk as it goes.

        Args:
            source: A path, bytes, a file opened in binary mode, an `OpenFile` or `UPath` of fsspec,
                a Pillow image, or a numpy array or tensor of a picture.
            name: Its name on the server; made from its content unless given. The server
                chooses another one when that is taken by another content. A folder may stand
                before it, as in `faces/anna.png`.
            subfolder: Below the server's folder.
            type: Into which of the server's folders.
            overwrite: Replace what has that name, and send it even if it was sent before.

        Raises:
            UploadTooLargeError: It is larger than the server, or a proxy before it, takes.
            OSError: The file cannot be read.
            TypeError: It is nothing that can be uploaded.
            ValueError: It is an array that is no picture, or a file opened as text.
            ComfyError: The server refuses or cannot be reached.
        """
        folder, leaf = split_name(name or "", subfolder)
        order = UploadOrder(leaf or None, folder, type, overwrite=overwrite)

        async def work(meter: Meter) -> UploadedFile:
            return await self._send(source, order, meter=meter)

        return Transfer(work, name=name or source_name(source))

    def upload_mask(
        self,
        mask: UploadSource,
        original: UploadedFile | Mapping[str, Any] | str,
        *,
        name: str | None = None,
        subfolder: str = "",
        type: Literal["input", "temp", "output"] = "input",
        overwrite: bool = False,
    ) -> Transfer[UploadedFile]:
        """Send a mask; the server joins its alpha with a picture that it has, and keeps both as one file.

        Where alpha is 0 is what is repainted: the mask that LoadImage gives is 1 - alpha. What has no
        alpha channel, a picture of mode L for one, would mask nothing, and is refused.

        Args:
            mask: As for `upload`; a picture with an alpha channel, of the same size as the original.
            original: The picture: a handle, a name among the inputs, or a mapping with
                `filename`, `subfolder` and `type`.
            name: As for `upload`.
            subfolder: As for `upload`.
            type: As for `upload`.
            overwrite: As for `upload`.

        Raises:
            ComfyError: As `upload`; ResponseError when the server has no such original.
            OSError: As `upload`.
            TypeError: As `upload`.
            ValueError: As `upload`; it has no alpha channel, or another size than an original that was
                uploaded as PNG or JPEG.

        Example:
            >>> from PIL import Image, ImageOps
            >>> face = await comfy.files.upload("face.png")
            >>> white = Image.new("L", face.pixels, 255)  # white is repainted
            >>> mask = Image.new("RGBA", white.size)
            >>> mask.putalpha(ImageOps.invert(white))
            >>> masked = await comfy.files.upload_mask(mask, face)
        """
        folder, leaf = split_name(name or "", subfolder)
        order = UploadOrder(leaf or None, folder, type, overwrite=overwrite, original=reference_of(original))
        pixels = original.pixels if isinstance(original, UploadedFile) else None

        async def work(meter: Meter) -> UploadedFile:
            return await self._send(
                mask, order, meter=meter, check=lambda payload: demand_mask(payload, mask, pixels)
            )

        return Transfer(work, name=name or source_name(mask))

    async def upload_inputs(self, workflow: Workflow) -> Workflow:
        """Upload every path, open file, picture and the like among a workflow's input values.

        Returns the workflow with the handles in their places; `submit` does this by itself.

        Raises:
            ComfyError: As `upload`, with node and input before its message.
            OSError: As `upload`, with node and input before its message.
            ValueError: As `upload`, with node and input before its message.
        """
        pending = workflow.uploads()
        unique = {id(value): (value, place) for place, value in pending.items()}
        sent = await together(
            [self._placed(value, workflow.graph, place) for value, place in unique.values()]
        )
        handles = dict(zip(unique, sent, strict=True))
        return workflow.with_inputs({place: handles[id(value)] for place, value in pending.items()})

    async def _placed(self, value: UploadSource, graph: Graph, place: tuple[str, str]) -> UploadedFile:
        """Upload what stands in an input, and name the place when that cannot be done."""
        try:
            return await self.upload(value)
        except (OSError, ValueError, UploadTooLargeError) as error:
            key, name = place
            told = f"node {graph[key].info(key)}, input {name!r}: "
            if isinstance(error, OSError) and error.errno is not None:
                error.strerror = told + (error.strerror or "")
            elif len(error.args) == 1:
                error.args = (told + str(error.args[0]),)
            raise

    async def sent_again(self, workflow: Workflow, places: Iterable[tuple[str, str]]) -> Workflow | None:
        """Send the files again that the server no longer has; internal, `submit` does this by itself.

        Args:
            workflow: With handles among its input values.
            places: The inputs, by node and name, that the server has refused.

        Returns:
            The workflow with new handles, or None when there was nothing to be sent again.

        Raises:
            ComfyError: As `upload`.
            OSError: As `upload`.
        """
        wanted = set(places)
        handles = {place: handle for place, handle in workflow.handles().items() if place in wanted}
        again: dict[tuple[str, str], UploadedFile] = {}
        for place, handle in handles.items():
            mine = isinstance(handle, UploadedFile) and handle.server == self._host.base_url
            if mine and is_repeatable(handle.source) and await self._uploader.is_gone(handle):
                again[place] = await self.upload(
                    handle.source, name=handle.name, subfolder=handle.subfolder, type=_kind(handle.type)
                )
        return workflow.with_inputs(again) if again else None

    async def _send(
        self,
        source: UploadSource,
        order: UploadOrder,
        *,
        meter: Meter,
        check: Callable[[Payload], None] | None = None,
    ) -> UploadedFile:
        """Prepare and check in a thread, and send when there is room."""
        self._host.check_loop()
        async with self._slots:
            payload = await prepared(source)
            with contextlib.closing(payload):
                if check is not None:
                    await in_thread(check, payload)
                return await self._uploader.send(payload, order, source=source, meter=meter)

    # Out.

    def url(
        self,
        filename: str,
        *,
        subfolder: str = "",
        type: str = "output",
        preview: str | None = None,
        channel: str | None = None,
        asset: str | None = None,
    ) -> str:
        """Return a file's address, without credentials; the arguments are those of `read`."""
        return self._host.api.file_url(_place(filename, subfolder, type, preview, channel, asset))

    async def read(
        self,
        filename: str,
        *,
        subfolder: str = "",
        type: str = "output",
        preview: str | None = None,
        channel: str | None = None,
        asset: str | None = None,
    ) -> bytes:
        """Return a file's bytes.

        Args:
            filename: Its name on the server; a folder may stand before it, as in `faces/anna.png`.
            subfolder: Below the server's folder.
            type: "output", "input" or "temp".
            preview: Take a smaller form of a picture: "webp", "jpeg" or "webp;80" with a quality.
            channel: Take only the channels "rgb" or "a" of a picture, as a PNG.
            asset: The id of its asset, by which API v2 knows files; `OutputFile.id`.

        Raises:
            NotFoundError: The server has no such file.
            NotComfyUIError: Something else came in its place, the page of a gateway for example.
            TransportError: It is larger than `Settings.max_body`: `open` and `save` take any size.
            ComfyError: The server refuses or cannot be reached.

        Example:
            >>> small = await comfy.files.read("ComfyUI_00001_.png", preview="webp;80")
            >>> small[:4]
            b'RIFF'
        """
        backoff = Backoff(first=0.2, cap=5.0)
        while True:
            try:
                async with (
                    self._slots,
                    self._opened(_place(filename, subfolder, type, preview, channel, asset)) as stream,
                ):
                    data = await stream.whole()
                demand_file(stream.answer, _sort(filename, preview, channel), head=data[:512])
            except (TransportError, ResponseError) as error:
                if not error.retryable or backoff.tries >= _READ_TRIES:
                    raise
            else:
                return data
            await self._host.settings.clock.sleep(backoff.next())

    async def open(
        self,
        filename: str,
        *,
        subfolder: str = "",
        type: str = "output",
        preview: str | None = None,
        channel: str | None = None,
        asset: str | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield a file's bytes as they come; the arguments are those of `read`.

        Raises:
            NotFoundError: The server has no such file.
            NotComfyUIError: Something else came in its place.
            ComfyError: It refuses, cannot be reached, or the connection broke on the way.

        Example:
            >>> size = 0
            >>> async for chunk in comfy.files.open("ComfyUI_00001_.png"):
            ...     size += len(chunk)
        """
        begun = False
        sort = _sort(filename, preview, channel)
        async with self._opened(_place(filename, subfolder, type, preview, channel, asset)) as stream:
            demand_file(stream.answer, sort)
            async for chunk in stream.chunks():
                if not begun:
                    demand_file(stream.answer, sort, head=chunk[:512])
                    begun = True
                yield chunk

    @contextlib.asynccontextmanager
    async def _opened(self, place: FilePlace) -> AsyncIterator[Stream]:
        """Request a file; compressed answers are of no use for pictures, and a danger."""
        await self._host.known_server()
        async with self._host.api.open_file(place, headers={"Accept-Encoding": "identity"}) as stream:
            yield stream

    def save(
        self,
        filename: str,
        path: str | os.PathLike[str],
        *,
        subfolder: str = "",
        type: str = "output",
        preview: str | None = None,
        channel: str | None = None,
        asset: str | None = None,
    ) -> Transfer[Path]:
        """Write a file to disk and return its path; the arguments are otherwise those of `read`.

        It is written under a temporary name first, goes on where it was when the connection
        breaks, and gets its name only when it is whole. A file of that name is replaced.

        Args:
            filename: Its name on the server.
            path: The new file's own name; missing folders are made.
            subfolder: As for `read`.
            type: As for `read`.
            preview: As for `read`.
            channel: As for `read`.
            asset: As for `read`.

        Raises:
            NotFoundError: The server has no such file.
            NotComfyUIError: Something else came in its place; nothing is written then.
            ComfyError: It refuses, or the connection broke again and again.
            OSError: The disk would not take it.
        """
        place = _place(filename, subfolder, type, preview, channel, asset)
        host, target = self._host, Path(path)

        async def work(meter: Meter) -> Path:
            await host.known_server()
            async with self._slots:
                sort = _sort(filename, preview, channel)
                ask = functools.partial(host.api.open_file, place)
                download = Download(ask, meter, clock=host.settings.clock, filename=sort, what=filename)
                return await download.run(target)

        return Transfer(work, name=filename)


def _place(
    filename: str, subfolder: str, type_: str, preview: str | None, channel: str | None, asset: str | None
) -> FilePlace:
    """Return where a file lies."""
    folder, leaf = split_name(filename, subfolder)
    return FilePlace(
        filename=leaf, subfolder=folder, type=type_, preview=preview, channel=channel, asset=asset
    )


def _sort(filename: str, preview: str | None, channel: str | None) -> str:
    """Return a name that says of what kind the answer is: previews and channels are made anew."""
    return filename if preview is None and channel is None else "preview.webp"


def _kind(type_: str) -> Literal["input", "temp", "output"]:
    """Return which of the server's folders a name means."""
    return "temp" if type_ == "temp" else "output" if type_ == "output" else "input"
