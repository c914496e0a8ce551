"""File systems for the tests of stores: fsspec's own in memory, and ones that fail, stall or lack things."""

from __future__ import annotations

import importlib
import io
import threading
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

__all__ = ["Faults", "FaultyFileSystem", "PartsFileSystem", "files_in", "store"]


class Faults:
    """What the file systems of a test do wrong, and what they were asked.

    Attributes:
        write_error: Raised by the n-th write from now on, counted from 0.
        stall: Writes wait for it when it is there.
        stalled: Set as soon as one waits.
        lacks: Names of operations that they do not have.
        commit_error: Raised when a file of parts is to become one.
        before_commit: Called right before that.
        calls: What they were asked, in order.
        threads: The threads that asked.
    """

    def __init__(self) -> None:
        self.write_error: tuple[int, Exception] | None = None
        self.stall: threading.Event | None = None
        self.stalled = threading.Event()
        self.lacks: set[str] = set()
        self.commit_error: Exception | None = None
        self.before_commit: Any = None
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.written = 0
        self.largest = 0

    def write(self, data: bytes) -> None:
        """Something is written."""
        self.calls.append("write")
        self.threads.add(threading.get_ident())
        self.largest = max(self.largest, len(data))
        if self.stall is not None:
            self.stalled.set()
            self.stall.wait(30)
        count, self.written = self.written, self.written + 1
        if self.write_error is not None and count == self.write_error[0]:
            raise self.write_error[1]


FAULTS = Faults()


class _File(MemoryFile):  # type: ignore[misc]
    """A file in memory whose writes can go wrong."""

    def write(self, data: bytes) -> int:
        FAULTS.write(data)
        return int(super().write(data))


class FaultyFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A store without a move of its own, `faulty://`."""

    protocol = "faulty"
    store: dict[str, Any] = {}
    pseudo_dirs: list[str] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("faulty://", "memory://")))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        FAULTS.calls.append(f"open {mode}")
        if "open" in FAULTS.lacks and mode != "rb":
            raise NotImplementedError
        if mode == "wb":
            made = _File(self, self._strip_protocol(path), None)
            made.commit()
            return made
        return super()._open(path, mode, **kwargs)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        FAULTS.calls.append("copy")
        if "copy" in FAULTS.lacks:
            raise NotImplementedError
        super().cp_file(path1, path2, **kwargs)


class MovingFileSystem(FaultyFileSystem):
    """A store that moves in one step, and onto nothing, `moving://`."""

    protocol = "moving"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("moving://", "memory://")))

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        FAULTS.calls.append("move")
        if path2 in self.store:
            raise OSError("it moves onto nothing")
        self.store[path2] = self.store.pop(path1)


class _Parts(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is sent in parts, as S3's: it is none before `commit`."""

    def _initiate_upload(self) -> None:
        self.parts: list[bytes] = []
        self.fs.open_uploads.add(id(self))

    def _upload_chunk(self, final: bool = False) -> bool:
        data = self.buffer.getvalue()
        FAULTS.write(data)
        self.parts.append(data)
        return True

    def commit(self) -> None:
        if FAULTS.before_commit is not None:
            FAULTS.before_commit()
        if FAULTS.commit_error is not None:
            raise FAULTS.commit_error
        if "x" in self.mode and self.path in self.fs.files:
            raise OSError("An error occurred (PreconditionFailed): At least one of the pre-conditions failed")
        self.fs.files[self.path] = b"".join(self.parts)
        self.fs.open_uploads.discard(id(self))

    def discard(self) -> None:
        FAULTS.calls.append("discard")
        self.fs.open_uploads.discard(id(self))


class PartsFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """A store that makes files of parts, `s3://` for a test."""

    protocol = ("s3", "s3a")
    cachable = False
    files: dict[str, bytes] = {}
    open_uploads: set[int] = set()

    def _open(
        self, path: str, mode: str = "rb", block_size: Any = None, autocommit: bool = True, **kw: Any
    ) -> Any:
        FAULTS.calls.append(f"open {mode}")
        if mode == "rb":
            return io.BytesIO(self.files[path])
        if mode == "xb" and "xb" in FAULTS.lacks:
            raise NotImplementedError("File mode not supported")
        return _Parts(self, path, mode, block_size=block_size, autocommit=autocommit)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if path in self.files:
            return {"name": path, "size": len(self.files[path]), "type": "file"}
        if any(name.startswith(f"{path.rstrip('/')}/") for name in self.files):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        raise AssertionError("that would make a bucket")


@pytest.fixture
def store() -> Iterator[Faults]:
    """Empty stores: `memory://`, `faulty://`, `moving://` and `s3://`; and what they are to do wrong."""
    kinds = [("faulty", FaultyFileSystem), ("moving", MovingFileSystem), ("s3", PartsFileSystem)]
    registry: dict[str, Any] = importlib.import_module("fsspec.registry")._registry
    before = dict(registry)
    for name, kind in kinds:
        fsspec.register_implementation(name, kind, clobber=True)
    _empty()
    FAULTS.__init__()  # type: ignore[misc]
    yield FAULTS
    _empty()
    registry.clear()
    registry.update(before)


def _empty() -> None:
    """Empty all stores."""
    for kind in (MemoryFileSystem, FaultyFileSystem):
        kind.store.clear()
        kind.pseudo_dirs[:] = [""]
    PartsFileSystem.files.clear()
    PartsFileSystem.open_uploads.clear()


def files_in(kind: Any = MemoryFileSystem) -> dict[str, bytes]:
    """Return what is in a store, by path."""
    if kind is PartsFileSystem:
        return dict(sorted(kind.files.items()))
    return {path: file.getvalue() for path, file in sorted(kind.store.items())}
