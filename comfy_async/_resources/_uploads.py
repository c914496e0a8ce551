"""What has been uploaded, and the sending of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .._base.tasks import together
from .._dialects.dialect import FilePlace, Upload
from ..errors import ComfyError, NotFoundError, UploadTooLargeError
from ._sources import Payload, UploadSource
from ._transfer import Meter
from .host import Host

if TYPE_CHECKING:
    from ..workflow import Workflow

__all__ = ["Check", "UploadOrder", "UploadedFile", "Uploader", "counted", "with_uploads"]

Check: TypeAlias = Callable[[Payload], None]
"""Raises for what must not be sent."""

_REMEMBERED: Final = 10_000
# After this long a remembered file is asked for once more: 1 request, a few hundred bytes.
_TRUSTED_S: Final = 10.0


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
        source: What was uploaded, so that it can be sent again, to another server too; None for a
            mask, which the server has joined with its picture.
        server: The base URL of the server that has it.
        asset: What the server's asset system says of it (0.34 and later), else None.
        reference: What stands for it in a workflow where a name does not do (API v2), else None.
        pixels: Width and height of a PNG or JPEG as it was uploaded, else None.

    Example:
        >>> face = await comfy.files.upload("face.png")
        >>> flow = flow.add("LoadImage", {"image": face}, title="Face")
    """

    name: str
    subfolder: str = ""
    type: str = "input"
    source: UploadSource = dataclasses.field(default=None, repr=False, compare=False)
    server: str = dataclasses.field(default="", repr=False, compare=False)
    asset: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False, compare=False)
    reference: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False, compare=False)
    pixels: tuple[int, int] | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def asset_id(self) -> str | None:
        """The id of its asset, None where the server keeps none."""
        found = (self.asset or {}).get("id")
        return found if isinstance(found, str) and found else None

    @property
    def name_for_input(self) -> str:
        """What LoadImage and its kind want: `faces/anna.png`, `anna.png [temp]`."""
        path = f"{self.subfolder}/{self.name}" if self.subfolder else self.name
        return path if self.type == "input" else f"{path} [{self.type}]"

    def __str__(self) -> str:
        """Return what LoadImage and its kind want."""
        return self.name_for_input


@dataclasses.dataclass(frozen=True, slots=True)
class UploadOrder:
    """How a file is to be sent.

    Attributes:
        name: Its name on the server, None for one made from its content.
        subfolder: The folder for it.
        type: "input", "temp" or "output".
        overwrite: Replace what has the name, and send it even if it was sent before.
        original: The picture that a mask is for; None for what is no mask.
    """

    name: str | None
    subfolder: str
    type: str
    overwrite: bool = False
    original: Mapping[str, str] | None = None

    @property
    def key(self) -> object:
        """What distinguishes it from others of the same content."""
        original = None if self.original is None else tuple(sorted(self.original.items()))
        return (self.name, self.subfolder, self.type, self.overwrite, original)


class Uploader:
    """Sends files, each content once per session."""

    def __init__(self, host: Host) -> None:
        """Use the session's HTTP client."""
        self._host = host
        # Without their sources: a session that lives long must not keep every picture alive.
        self._sent: dict[object, UploadedFile] = {}
        # When each was last known to be there: a folder may be emptied, a container replaced.
        self._seen: dict[object, float] = {}
        self._sending: weakref.WeakValueDictionary[object, asyncio.Lock] = weakref.WeakValueDictionary()
        self._limit: int | None = None
        self._asked = False

    async def send(
        self, payload: Payload, order: UploadOrder, *, source: UploadSource, meter: Meter
    ) -> UploadedFile:
        """Send a file unless the session has sent it already; two at once become one.

        Raises:
            UploadTooLargeError: It is larger than the server takes.
            ComfyError: The server refuses or cannot be reached.
        """
        key = (payload.key, order.key)
        lock = self._sending.setdefault(key, asyncio.Lock())
        async with lock:
            kept = source if order.original is None else None
            known = self._sent.get(key)
            if known is not None and not order.overwrite and await self._still_there(key, known):
                return dataclasses.replace(known, source=kept)
            await self._check_size(payload.size, order)
            answer = await self._post(payload, order, meter=meter)
            made = UploadedFile(
                str(answer.get("name") or order.name or payload.name),
                str(answer.get("subfolder") or ""),
                str(answer.get("type") or order.type),
                server=self._host.base_url,
                asset=asset if isinstance(asset := answer.get("asset"), Mapping) else None,
                reference=ref if isinstance(ref := answer.get("reference"), Mapping) else None,
                pixels=payload.pixels,
            )
            if (tell := self._host.hooks.on_transfer) is not None:
                tell(made.server, "upload", made.name_for_input, meter.done, meter.progress().seconds)
            # The server empties its temp folder whenever it starts.
            if made.type != "temp":
                self._sent[key] = made
                self._seen[key] = self._host.settings.clock.monotonic()
                if len(self._sent) > _REMEMBERED:
                    self._forget(next(iter(self._sent)))
            return dataclasses.replace(made, source=kept)

    async def is_gone(self, file: UploadedFile) -> bool:
        """Return whether the server has answered that it has no such file; False when the request failed.

        What was remembered of it is forgotten then.
        """
        place = FilePlace(filename=file.name, subfolder=file.subfolder, type=file.type, asset=file.asset_id)
        try:
            there = await self._host.api.has_file(place)
        except ComfyError:
            return False
        if there is not False:
            return False
        for key in [key for key, known in self._sent.items() if known == file]:
            self._forget(key)
        return True

    async def _still_there(self, key: object, known: UploadedFile) -> bool:
        """Forget at times what is remembered, so that it is checked."""
        now = self._host.settings.clock.monotonic()
        if now - self._seen.get(key, now) < _TRUSTED_S:
            return True
        if await self.is_gone(known):
            return False
        self._seen[key] = now
        return True

    def _forget(self, key: object) -> None:
        """Send it again at the next request for it."""
        self._sent.pop(key, None)
        self._seen.pop(key, None)

    async def _post(self, payload: Payload, order: UploadOrder, *, meter: Meter) -> Mapping[str, Any]:
        """Send one file, read from disk as it goes."""
        file = Upload(
            filename=order.name or payload.name,
            subfolder=order.subfolder,
            type=order.type,
            size=payload.size,
            chunks=lambda: counted(payload, meter),
            content_hash=payload.blake3,
            overwrite=order.overwrite,
            original=order.original,
        )
        try:
            return await self._host.api.upload(file)
        except UploadTooLargeError as error:
            error.size = payload.size
            error.limit = error.limit or self._limit
            raise

    async def _check_size(self, size: int, order: UploadOrder) -> None:
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
                path="/upload/image" if order.original is None else "/upload/mask",
                server=self._host.base_url,
            )

    async def _max_size(self) -> int | None:
        """Return the server's limit in bytes; requested once, None when it does not say."""
        known = self._host.server.max_upload_size
        if known is None and not self._asked:
            await self._host.known_server()
            if not self._host.api.has_routes:
                self._asked = True
                return None
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


async def with_uploads(
    workflow: Workflow, upload: Callable[[UploadSource], Awaitable[UploadedFile]]
) -> Workflow:
    """Upload every value of a workflow that is a file, each once, and return it with the handles.

    Raises:
        ComfyError: As the upload, with node and input before its message.
        OSError: As the upload, with node and input before its message.
        ValueError: As the upload, with node and input before its message.
    """
    pending = workflow.uploads()
    unique = {id(value): (value, place) for place, value in pending.items()}

    async def placed(value: UploadSource, key: str, name: str) -> UploadedFile:
        with _naming(f"node {workflow.graph[key].info(key)}, input {name!r}: "):
            return await upload(value)

    sent = await together([placed(value, *place) for value, place in unique.values()])
    handles = dict(zip(unique, sent, strict=True))
    return workflow.with_inputs({place: handles[id(value)] for place, value in pending.items()})


@contextlib.contextmanager
def _naming(place: str) -> Iterator[None]:
    """Begin the message of what cannot be uploaded with its place in the workflow."""
    try:
        yield
    except (OSError, ValueError, UploadTooLargeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            error.strerror = place + (error.strerror or "")
        elif len(error.args) == 1:
            error.args = (place + str(error.args[0]),)
        raise
