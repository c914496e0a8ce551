"""What can be uploaded: paths, bytes, open files, pictures and arrays, made ready to send."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, Protocol, TypeAlias

from .._base.paths import safe_name
from .._base.places import StoredPlace, is_stored
from .._base.stores import opened_stored
from .._base.tasks import in_thread, look_at, to_the_end
from ._headers import pixels_of
from ._pictures import png_of_array, png_of_picture

__all__ = ["Payload", "UploadSource", "prepare", "prepared"]

UploadSource: TypeAlias = Any
"""A path, bytes, a file object or one of fsspec, a Pillow image, or a numpy array or tensor of a picture."""

CHUNK: Final = 1 << 20
# Beyond this size a file is told by its ends and some places between: reading it twice would
# take as long as sending it.
SAMPLED_FROM: Final = 64 << 20
_SAMPLES: Final = 16

_SIGNATURES: Final = (
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"GIF8", ".gif"),
    (8, b"WEBP", ".webp"),
    (8, b"WAVE", ".wav"),
    (8, b"AVI ", ".avi"),
    (4, b"ftypavif", ".avif"),
    (4, b"ftypM4A", ".m4a"),
    (4, b"ftypqt", ".mov"),
    (4, b"ftyp", ".mp4"),
    (0, b"\x1aE\xdf\xa3", ".webm"),
    (0, b"fLaC", ".flac"),
    (0, b"OggS", ".ogg"),
    (0, b"ID3", ".mp3"),
    (0, b"\xff\xfb", ".mp3"),
    (0, b"BM", ".bmp"),
    (0, b"II*\x00", ".tiff"),
    (0, b"MM\x00*", ".tiff"),
    (0, b"glTF", ".glb"),
)


class _Opener(Protocol):
    """Opens the same bytes anew at each call."""

    def __call__(self) -> BinaryIO:
        """Return a file object that stands at the first byte."""
        ...


class Payload:
    """Bytes that wait to be sent: their size, a name made from them, and a way to read them.

    Attributes:
        size: In bytes.
        digest: The hash of the content, as hex digits.
        key: By which the session remembers it; more than the digest for large files.
        stem: The file's own name without its ending, "" when it has none.
        ending: With the dot.
        pixels: Width and height of a PNG or JPEG, else None.
    """

    __slots__ = ("_close", "_open", "digest", "ending", "key", "pixels", "size", "stem")

    def __init__(
        self,
        opener: _Opener,
        *,
        stem: str,
        ending: str,
        identity: object = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Read what is to be known of the content; blocks. `close` drops a copy of it."""
        self._open = opener
        self._close = close
        with opener() as file:
            self.size = file.seek(0, io.SEEK_END)
            file.seek(0)
            head = file.read(16)
            self.digest, whole = _digest(file, self.size)
            self.pixels = pixels_of(file)
        self.key: object = self.digest if whole else (self.digest, identity)
        self.stem = stem
        self.ending = ending or _ending(head)

    @property
    def name(self) -> str:
        """A name made from the content: the same content has the same name."""
        mark = self.digest[:16]
        return safe_name(f"{self.stem[:80]}-{mark}{self.ending}" if self.stem else f"{mark}{self.ending}")

    def blake3(self) -> str | None:
        """Return the content's hash as API v2 names it, None where blake3 is not installed; blocks."""
        try:
            from blake3 import blake3
        except ImportError:
            return None
        made = blake3()
        with self._open() as file:
            while chunk := file.read(CHUNK):
                made.update(chunk)
        return f"blake3:{made.hexdigest()}"

    def opened(self) -> BinaryIO:
        """Return a file object that stands at the first byte."""
        return self._open()

    def close(self) -> None:
        """Drop a copy that was made because the source cannot be read twice."""
        self._close()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content from its beginning, read in a thread a chunk ahead."""
        if self.size <= CHUNK:
            yield await in_thread(self._read_all)
            return
        # Opened and closed around all threads: each ends before anything here does.
        with contextlib.ExitStack() as opened:
            file = await in_thread(lambda: opened.enter_context(self._open()))
            ahead = _reading(file)
            try:
                while chunk := await ahead:
                    ahead = _reading(file)
                    yield chunk
            finally:
                await to_the_end([ahead])

    def _read_all(self) -> bytes:
        """Return the whole content."""
        with self._open() as file:
            return file.read()


def _reading(file: BinaryIO) -> asyncio.Task[bytes]:
    """Begin to read the next chunk; cancelled or not, it is done when the thread is."""
    task = asyncio.create_task(in_thread(file.read, CHUNK), name="comfy_async read")
    task.add_done_callback(look_at)
    return task


class _Shared(io.RawIOBase):
    """A view of a caller's file from an offset on; closing it leaves the file open."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        """Begin at `start`."""
        self._file = file
        self._start = start
        file.seek(start)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move, counted from the beginning of the view."""
        place = self._start + offset if whence == io.SEEK_SET else offset
        return self._file.seek(place, whence) - self._start


def prepare(source: UploadSource) -> Payload:
    """Make something ready to send; reads and encodes, so call it in a thread.

    Raises:
        OSError: The file cannot be read.
        TypeError: It is nothing that can be uploaded.
        ValueError: It is an array that is no picture, a picture that no PNG holds, or a file opened as text.
    """
    if isinstance(source, str | os.PathLike):
        return _of_path(Path(source))
    if is_stored(source):
        return _of_stored(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _of_bytes(bytes(source))
    if callable(getattr(source, "save", None)) and hasattr(source, "mode"):
        return _of_bytes(png_of_picture(source))
    if hasattr(source, "shape") and hasattr(source, "dtype"):
        return _of_bytes(png_of_array(source))
    if callable(getattr(source, "read", None)):
        return _of_file(source)
    raise TypeError(
        f"a {type(source).__name__} cannot be uploaded: pass a path, bytes, a file opened in binary mode, "
        "a file of fsspec, a Pillow image or a numpy array"
    )


async def prepared(source: UploadSource) -> Payload:
    """`prepare` in a thread; the copy that it makes is closed even if the caller was cancelled.

    A cancelled caller leaves at once: a pipe may stay silent for ever.

    Raises:
        OSError: As `prepare`.
        TypeError: As `prepare`.
        ValueError: As `prepare`.
    """
    lock, left, made = threading.Lock(), False, None

    def work() -> None:
        nonlocal made
        payload = prepare(source)
        with lock:
            if not left:
                made = payload
                return
        payload.close()

    try:
        await asyncio.to_thread(work)
    except BaseException:
        # The thread may have ended already: whoever comes second closes.
        with lock:
            left = True
        if made is not None:
            made.close()
        raise
    assert made is not None
    return made


def _of_path(path: Path) -> Payload:
    """Take a file on disk."""
    stat = path.stat()
    identity = (os.path.realpath(path), stat.st_mtime_ns, stat.st_size)
    return Payload(lambda: path.open("rb"), stem=path.stem, ending=path.suffix.lower(), identity=identity)


def _of_bytes(data: bytes) -> Payload:
    """Take bytes as they are."""
    return Payload(lambda: io.BytesIO(data), stem="", ending="", identity=object())


def _of_file(file: Any) -> Payload:
    """Take an open file from where it stands; one that cannot be read twice is copied first."""
    named = getattr(file, "name", None)
    path = Path(named) if isinstance(named, str) and not named.startswith("<") else Path()
    if not isinstance(file.read(0), bytes):
        raise ValueError("the file was opened as text: open it in binary mode")
    close: Callable[[], None] = lambda: None  # noqa: E731
    try:
        start = file.tell()
        file.seek(start)
    except (AttributeError, OSError):
        file, start = _copied(file), 0
        close = file.close

    def opener() -> BinaryIO:
        return _Shared(file, start)  # type: ignore[return-value]

    return Payload(opener, stem=path.stem, ending=path.suffix.lower(), identity=object(), close=close)


def _of_stored(place: StoredPlace) -> Payload:
    """Take a file of fsspec: copied, since asking for it twice takes as long as sending it."""
    with opened_stored(place) as file:
        copy = _copied(file)
    path = PurePosixPath(place.path)
    return Payload(
        lambda: _Shared(copy, 0),  # type: ignore[arg-type]
        stem=path.stem,
        ending=path.suffix.lower(),
        identity=object(),
        close=copy.close,
    )


def _copied(file: Any) -> BinaryIO:
    """Copy a stream that cannot go back: into memory, a large one onto disk."""
    copy = tempfile.SpooledTemporaryFile(max_size=SAMPLED_FROM)
    try:
        while chunk := file.read(CHUNK):
            copy.write(chunk)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy  # type: ignore[return-value]


def _digest(file: BinaryIO, size: int) -> tuple[str, bool]:
    """Return a hash, and whether it is of the whole content."""
    digest = hashlib.sha256(str(size).encode())
    whole = size <= SAMPLED_FROM
    for start in _places(size, whole=whole):
        file.seek(start)
        digest.update(file.read(CHUNK))
    return digest.hexdigest(), whole


def _places(size: int, *, whole: bool) -> Iterator[int]:
    """Yield where to read a chunk."""
    if whole:
        yield from range(0, size, CHUNK)
        return
    for count in range(_SAMPLES):
        yield (size - CHUNK) * count // (_SAMPLES - 1)


def _ending(head: bytes) -> str:
    """Tell a file's ending by its first bytes."""
    for place, mark, ending in _SIGNATURES:
        if head[place : place + len(mark)] == mark:
            return ending
    return ".bin"
