"""Stores behind fsspec (extra `fsspec`): S3, GCS, SFTP and the like; it all blocks, so call it in a thread.

A file never stands half-written under its own name where the store can do so: S3 and GCS are sent
parts that they make a file of at the end; in any other store it is written under another name and
moved. A store that can do neither gets it under its own name, and it is removed again on failure.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from .places import StoredPlace, hide_password, is_stored, scheme_of
from .secrets import Secret, Veil
from .store_errors import as_os_error, keys_of, password_of

__all__ = ["CHUNK", "Draft", "Store", "opened_stored", "read_stored"]

CHUNK: Final = 1 << 20
# S3 takes 5 MiB and more, and 10,000 of them; GCS multiples of 256 KiB.
_BLOCK: Final = 8 << 20
# What makes a file of its parts at the end, and of nothing when it is discarded.
_COMMITS: Final = frozenset({"s3", "s3a", "gs", "gcs"})
# What has no folders: making one would make a bucket.
_FLAT: Final = _COMMITS | {"abfs", "abfss", "adl", "az", "memory", "oci", "oss"}


class Store:
    """A folder of a store, and what is to be known of it to write there.

    Attributes:
        fs: The file system, as fsspec calls it.
        path: The folder, as the file system wants it.
        url: The folder, for people: without a password.
    """

    def __init__(self, fs: Any, path: str, url: str, veil: Veil) -> None:
        """Belong to a file system."""
        self.fs = fs
        self.path = path
        self.url = url
        self._veil = veil
        found = fs.protocol
        self._protocols = frozenset((found,) if isinstance(found, str) else found)

    @classmethod
    def at(cls, place: Any, options: Secret[Mapping[str, Any]] | None) -> Store:
        """Return the store of a URL, or of an `OpenFile` or a `UPath`.

        Raises:
            ImportError: fsspec, or what it needs for this scheme, is not installed.
            OSError: The store refuses.
            ValueError: The scheme is unknown, or options are given beside an object that has its own.
        """
        veil = Veil(keys_of({} if options is None else options.reveal()))
        if is_stored(place):
            if options is not None:
                raise ValueError("storage_options go with a URL: an fsspec object has its own")
            veil.add(*keys_of(getattr(place.fs, "storage_options", None) or {}))
            url = hide_password(str(place.fs.unstrip_protocol(place.path)))
            return cls(_demand_blocking(place.fs), place.path, url, veil)
        veil.add(password_of(place))
        if "::" in place:
            raise ValueError(f"{veil(hide_password(place))!r} is a chain of file systems: name the last one")
        _demand_known(str(scheme_of(place)))
        from fsspec.core import url_to_fs

        try:
            fs, path = url_to_fs(place, **({} if options is None else options.reveal()))
        except Exception as error:
            raise as_os_error(error, hide_password(place), veil) from None
        return cls(fs, path, hide_password(place), veil)

    @property
    def commits(self) -> bool:
        """True when it makes a file of its parts at the end."""
        return bool(self._protocols & _COMMITS)

    @property
    def is_folder(self) -> bool:
        """True when the place is one: it is there, has a slash at its end, no ending, or is a bucket."""
        if self.url.endswith("/") or not PurePosixPath(self.path).suffix:
            return True
        is_bucket = bool(self._protocols & (_FLAT - {"memory"})) and "/" not in self.path.strip("/")
        with self.told(self.url):
            return is_bucket or bool(self.fs.isdir(self.path))

    def above(self) -> tuple[Store, str]:
        """Return the folder that the place is in, and its name there."""
        leaf = self.path.rpartition("/")[2]
        url = self.url[: len(self.url) - len(self.url.rpartition("/")[2])]
        return Store(self.fs, self.path[: len(self.path) - len(leaf)], url, self._veil), leaf

    def at_name(self, parts: tuple[str, ...]) -> tuple[str, str]:
        """Return path and URL of a file below the folder."""
        below = "/".join(parts)
        url = self.url if self.url.endswith("/") else f"{self.url}/"
        path = self.path if self.path.endswith("/") or not self.path else f"{self.path}/"
        return f"{path}{below}", f"{url}{below}"

    def has(self, path: str) -> bool:
        """Say whether anything has a name, by asking and not by what was once listed."""
        with self.told(path):
            self.fs.invalidate_cache(path.rpartition("/")[0])
            return bool(self.fs.exists(path))

    def holds(self, path: str, *, size: int, digest: str) -> bool:
        """Say whether a file holds exactly something; it is read when its size is the same."""
        with self.told(path):
            info = self.fs.info(path)
            if info.get("type") != "file" or info.get("size") != size:
                return False
            found = hashlib.sha256()
            with self.fs.open(path, "rb") as file:
                while chunk := file.read(CHUNK):
                    found.update(chunk)
            return found.hexdigest() == digest

    def probe(self) -> None:
        """Check that something can be written; leaves nothing behind.

        Raises:
            OSError: Nothing can.
        """
        draft = Draft(self, self.at_name((".comfy-async",))[0], overwrite=True)
        try:
            draft.write([b"-"])
            draft.send()
        finally:
            draft.discard()

    @contextlib.contextmanager
    def told(self, path: str) -> Iterator[None]:
        """Make an OSError of whatever the store's own library raises, without any key in it."""
        try:
            yield
        except Exception as error:
            raise as_os_error(error, self._shown(path), self._veil) from None

    def _shown(self, path: str) -> str:
        """Return a path for people."""
        rest = path[len(self.path) :].strip("/") if path.startswith(self.path) else ""
        return f"{self.url.rstrip('/')}/{rest}" if rest else self.url

    def __repr__(self) -> str:
        """Return the place, without options or credentials."""
        return f"<Store {self.url}>"


class Draft:
    """A file that is being written: it gets its name by `commit`, and is gone by `discard`.

    Attributes:
        path: Its name to be.
        size: Bytes so far.
    """

    def __init__(self, store: Store, path: str, *, overwrite: bool) -> None:
        """Begin to write.

        Raises:
            OSError: The store would not take it.
        """
        self.path = path
        self.size = 0
        self._store = store
        self._digest = hashlib.sha256()
        self._overwrite = overwrite
        folder, _, leaf = path.rpartition("/")
        beside = path[: len(path) - len(leaf)]
        self._at = path if store.commits else f"{beside}{leaf[:60]}.{secrets.token_hex(4)}.part"
        self._file: Any = None
        with store.told(path):
            self._file = self._opened(folder)

    def _opened(self, folder: str) -> Any:
        """Open what is written to."""
        fs = self._store.fs
        if self._store.commits:
            return self._exclusive()
        if folder and not self._store._protocols & _FLAT:
            with contextlib.suppress(NotImplementedError):
                fs.makedirs(folder, exist_ok=True)
        return fs.open(self._at, "wb", block_size=_BLOCK)

    def _exclusive(self) -> Any:
        """Open a file of parts; where the library can, it becomes none when another has its name by then."""
        fs = self._store.fs
        options = {"block_size": _BLOCK, "autocommit": False}
        if not self._overwrite:
            # Before 2025 neither s3fs nor gcsfs knew this.
            with contextlib.suppress(NotImplementedError, ValueError):
                return fs.open(self.path, "xb", **options)
        return fs.open(self.path, "wb", **options)

    def write(self, chunks: list[bytes]) -> None:
        """Write further bytes.

        Raises:
            OSError: The store would not take them.
        """
        data = b"".join(chunks)
        self._digest.update(data)
        self.size += len(data)
        with self._store.told(self.path):
            self._file.write(data)

    @property
    def digest(self) -> str:
        """What tells its content from others."""
        return self._digest.hexdigest()

    def send(self) -> None:
        """Send what is not sent yet; it has no name by that.

        Raises:
            OSError: The store would not take it.
        """
        with self._store.told(self.path):
            self._file.close()

    def commit(self) -> None:
        """Give it its name, and check that it is whole there.

        Raises:
            FileExistsError: Another has that name by now.
            OSError: The store would not do it.
        """
        store = self._store
        self.send()
        with store.told(self.path):
            if store.commits:
                self._file.commit()
            else:
                self._move()
            self._file = None
            store.fs.invalidate_cache(self.path.rpartition("/")[0])
            found = store.fs.info(self.path).get("size")
            if found is not None and found != self.size:
                raise OSError(errno.EIO, f"{self.size} bytes were written, and {found} are there")

    def _move(self) -> None:
        """Move the whole file to its name."""
        fs = self._store.fs
        if not self._overwrite and fs.exists(self.path):
            raise FileExistsError(errno.EEXIST, "it is there")
        if _moves(fs):
            if self._overwrite and fs.exists(self.path):
                # FTP servers, WebHDFS and others move onto nothing.
                with contextlib.suppress(Exception):
                    fs.mv(self._at, self.path)
                    return
                fs.rm_file(self.path)
            fs.mv(self._at, self.path)
            return
        try:
            # `mv` and `copy` of fsspec take brackets and stars in a name for a pattern.
            fs.cp_file(self._at, self.path)
        except NotImplementedError:
            self._copy()
        with contextlib.suppress(Exception):
            fs.rm_file(self._at)

    def _copy(self) -> None:
        """Write it once more, under its own name: the store can neither move nor copy."""
        fs = self._store.fs
        try:
            with fs.open(self._at, "rb") as source, fs.open(self.path, "wb", block_size=_BLOCK) as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
        except BaseException:
            with contextlib.suppress(Exception):
                fs.rm_file(self.path)
            raise

    def discard(self) -> None:
        """Discard what was written; never raises, and a second call does nothing."""
        file, self._file = self._file, None
        if file is None:
            return
        fs = self._store.fs
        if self._store.commits:
            with contextlib.suppress(Exception):
                file.discard()
            with contextlib.suppress(Exception):
                # Else the garbage collector would send the rest of it.
                file.closed = True
            return
        with contextlib.suppress(Exception):
            file.close()
        with contextlib.suppress(Exception):
            fs.rm_file(self._at)


@contextlib.contextmanager
def opened_stored(place: StoredPlace) -> Iterator[Any]:
    """Open an `OpenFile` or a `UPath` for reading in binary, while the block lasts.

    Raises:
        OSError: The store has no such file, or does not give it; in the block too.
    """
    store = Store.at(place, None)
    with (
        store.told(store.path),
        store.fs.open(store.path, "rb", compression=getattr(place, "compression", None)) as file,
    ):
        yield file


def read_stored(place: StoredPlace, *, most: int | None = None) -> tuple[bytes, str]:
    """Return the content of an `OpenFile` or a `UPath`, a byte more than the most at most, and its path.

    Raises:
        OSError: The store has no such file, or does not give it.
    """
    with opened_stored(place) as file:
        return bytes(file.read(-1 if most is None else most + 1)), place.path


def _demand_known(scheme: str) -> None:
    """Check that there is a file system for a scheme, before anything else is done.

    Raises:
        ImportError: fsspec, or what it needs for this scheme, is not installed.
        ValueError: The scheme is unknown.
    """
    try:
        from fsspec.registry import get_filesystem_class, known_implementations
    except ImportError as error:
        raise ImportError(f"{scheme}:// needs fsspec: pip install 'comfy-async[fsspec]'") from error
    try:
        get_filesystem_class(scheme)
    except ValueError:
        known = ", ".join(f"{name}://" for name in ("s3", "gs", "az", "sftp", "memory", "file"))
        raise ValueError(f"unknown scheme {scheme}://; fsspec knows {known} and more") from None
    except ImportError as error:
        package = str(known_implementations.get(scheme, {}).get("class", "")).partition(".")[0]
        name = "" if package in ("", "fsspec") else package
        way = f"pip install 'comfy-async[fsspec]' {name}" if name else str(error)
        raise ImportError(f"{scheme}:// needs {name or 'more than is installed'}: {way}") from error


def _demand_blocking(fs: Any) -> Any:
    """Return a file system that can be called from a thread.

    Raises:
        ValueError: It was made for one event loop.
    """
    if getattr(fs, "asynchronous", False):
        raise ValueError("the file system was made with asynchronous=True: make it without")
    return fs


def _moves(fs: Any) -> bool:
    """Say whether a file system has a move of its own, which is one step."""
    from fsspec.spec import AbstractFileSystem

    return getattr(type(fs), "mv", None) not in (None, AbstractFileSystem.mv)
