"""What has been uploaded, and the sending of it."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import weakref
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from .._transport.multipart import Multipart
from ..errors import NotFoundError, UploadTooLargeError
from ._sources import Payload, UploadSource
from ._transfer import Meter
from .host import Host

__all__ = ["UploadedFile", "Uploader", "counted"]

_REMEMBERED: Final = 10_000


async def counted(payload: Payload, meter: Meter) -> AsyncIterator[bytes]:
    """Yield a payload's content from its beginning, and count what has gone."""
    meter.total = payload.size
    meter.restart()
    async for chunk in payload.chunks():
        yield chunk
        meter.add(len(chunk))


@dataclasses.dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file on the server, to be used as an input value of a workflow.

    Attributes:
        name: The name that the server gave it.
        subfolder: The folder below the server's own, "" when there is none.
        type: "input", "temp" or "output".
        source: What was uploaded, so that it can be sent to another server too.
        server: The base URL of the server that has it.

    Example:
        >>> face = await comfy.files.upload("face.png")
        >>> flow = flow.add("LoadImage", {"image": face}, title="Face")
    """

    name: str
    subfolder: str = ""
    type: str = "input"
    source: UploadSource = dataclasses.field(default=None, repr=False, compare=False)
    server: str = dataclasses.field(default="", repr=False, compare=False)

    @property
    def name_for_input(self) -> str:
        """What LoadImage and its kind want: `faces/anna.png`, `anna.png [temp]`."""
        path = f"{self.subfolder}/{self.name}" if self.subfolder else self.name
        return path if self.type == "input" else f"{path} [{self.type}]"

    def __str__(self) -> str:
        """Return what LoadImage and its kind want."""
        return self.name_for_input


class Uploader:
    """Sends files, each content once per session."""

    def __init__(self, host: Host) -> None:
        """Use the session's HTTP client."""
        self._host = host
        # Without their sources: a session that lives long must not keep every picture alive.
        self._sent: dict[object, UploadedFile] = {}
        self._sending: weakref.WeakValueDictionary[object, asyncio.Lock] = weakref.WeakValueDictionary()
        self._limit: int | None = None
        self._asked = False

    async def send(
        self,
        route: str,
        payload: Payload,
        fields: Mapping[str, str],
        *,
        name: str | None,
        source: UploadSource,
        meter: Meter,
        again: bool,
    ) -> UploadedFile:
        """Send a file unless the session has sent it already; two at once become one.

        Raises:
            UploadTooLargeError: It is larger than the server takes.
            ComfyError: The server refuses or cannot be reached.
        """
        key = (route, payload.key, name, *sorted(fields.items()))
        lock = self._sending.setdefault(key, asyncio.Lock())
        async with lock:
            known = self._sent.get(key)
            if known is not None and not again:
                return dataclasses.replace(known, source=source)
            await self._check_size(payload.size, route)
            answer = await self._post(route, payload, fields, filename=name or payload.name, meter=meter)
            made = UploadedFile(
                str(answer.get("name") or name or payload.name),
                str(answer.get("subfolder") or ""),
                str(answer.get("type") or fields.get("type", "input")),
                server=self._host.base_url,
            )
            # The server empties its temp folder whenever it starts.
            if made.type != "temp":
                self._sent[key] = made
                if len(self._sent) > _REMEMBERED:
                    del self._sent[next(iter(self._sent))]
            return dataclasses.replace(made, source=source)

    async def _post(
        self, route: str, payload: Payload, fields: Mapping[str, str], *, filename: str, meter: Meter
    ) -> Mapping[str, Any]:
        """Send one file as multipart, read from disk as it goes."""
        body = Multipart(
            fields,
            field="image",
            filename=filename,
            size=payload.size,
            chunks=lambda: counted(payload, meter),
        )
        http = self._host.http
        try:
            answer = await http.request(
                "POST",
                route,
                content=body,
                headers=body.headers,
                seconds=math.inf,
                # The same content under the same name is no second file (server.py, image_upload);
                # a mask is, once it is joined with its picture.
                retry=route == "/upload/image",
            )
        except UploadTooLargeError as error:
            error.size = payload.size
            error.limit = error.limit or self._limit
            raise
        return answer.json_object()

    async def _check_size(self, size: int, route: str) -> None:
        """Compare with the server's limit before a byte is sent.

        Raises:
            UploadTooLargeError: It is larger.
        """
        limit = await self._max_size()
        if limit is not None and size > limit:
            raise UploadTooLargeError(
                f"the upload has {size:,} bytes, {self._host.base_url} takes {limit:,}",
                hint="Start ComfyUI with a larger --max-upload-size (megabytes).",
                limit=limit,
                size=size,
                method="POST",
                path=route,
                server=self._host.base_url,
            )

    async def _max_size(self) -> int | None:
        """Return the server's limit in bytes; asked for once, None when it does not say."""
        known = self._host.server.max_upload_size
        if known is None and not self._asked:
            await self._host.known_server()
            try:
                features = await self._host.http.get_json("/features", retry=True)
            except NotFoundError:
                features = {}
            self._asked = True
            if isinstance(features, dict) and features:
                self._host.api.learn(features)
            known = self._host.server.max_upload_size
        self._limit = known
        return known
