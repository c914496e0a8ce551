"""Where files go: what of a text is a URL, and where a pattern for names begins in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final, Protocol, TypeGuard
from urllib.request import url2pathname

__all__ = ["StoredPlace", "hide_password", "is_stored", "on_this_machine", "said", "scheme_of", "where"]

# Two characters at least: `C:\x` and `C://x` are drives. RFC 3986 allows these.
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)://")
_LOCAL: Final = frozenset({"file", "local"})
_PASSWORD: Final = re.compile(r"(?<=://)([^/?#@:]*)(:[^/@]*)?@")


class StoredPlace(Protocol):
    """A place of fsspec itself: an `OpenFile`, or a `UPath`."""

    @property
    def fs(self) -> Any:
        """Its file system."""
        ...

    @property
    def path(self) -> str:
        """Where it is there."""
        ...


def scheme_of(place: object) -> str | None:
    """Return the scheme of a text that is a URL, `scheme://...`; None for everything else.

    `C:\\x`, `with:colon.png` and `folder/s3://x` are local names. A path object is always local.
    """
    match = _URL.match(place) if isinstance(place, str) else None
    return match[1].lower() if match else None


def is_stored(place: object) -> TypeGuard[StoredPlace]:
    """Say whether something is a place of fsspec itself: an `OpenFile`, or a `UPath`.

    They are told by what they have, so that fsspec is not imported.
    """
    if isinstance(place, str | bytes | os.PathLike | type):
        return False
    fs, path = getattr(place, "fs", None), getattr(place, "path", None)
    return isinstance(path, str) and callable(getattr(fs, "open", None)) and hasattr(fs, "protocol")


def where(place: str | os.PathLike[str] | StoredPlace, options: object = None) -> Path | None:
    """Return the path on this machine, of a `file://` URL too; None for what is in a store.

    Args:
        place: A path, a text, or an object of fsspec.
        options: What was given for a store.

    Raises:
        ValueError: A `file://` URL names another machine, a path object was made of a URL, or options
            are given for a file on this machine.
        TypeError: It is no place.
    """
    scheme = scheme_of(place)
    if is_stored(place) or (scheme is not None and scheme not in _LOCAL):
        return None
    if not isinstance(place, str | os.PathLike):
        raise TypeError(f"a {type(place).__name__} is no place: give a path, a URL, an OpenFile or a UPath")
    if options is not None:
        raise ValueError("storage_options are for URLs of stores, not for files on this machine")
    if isinstance(place, str):
        return Path(place) if scheme is None else _of_file_url(place)
    return _demand_no_url(Path(place))


def on_this_machine(place: str | os.PathLike[str], what: str) -> Path:
    """Return the path of what only this machine's disk can hold, such as a file that is locked.

    Args:
        place: A path, or a `file://` URL.
        what: Its name in the message.

    Raises:
        ValueError: It is in a store, or on another machine.
        TypeError: It is no place.
    """
    path = where(place)
    if path is None:
        named = repr(hide_password(place)) if isinstance(place, str) else f"a {type(place).__name__}"
        raise ValueError(f"{what} is a file on this machine: {named} is a place in a store")
    return path


def _of_file_url(place: str) -> Path:
    """Return the path of `file:///...`, which may have percent escapes (RFC 8089).

    Raises:
        ValueError: It names another machine.
    """
    rest = place.partition("://")[2]
    host, slash, below = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise ValueError(f"{place!r} names another machine, {host!r}: this one's files are file:///...")
    return Path(url2pathname(f"/{below}"))


def said(place: object, path: Path) -> str:
    """Return a path with the slash at its end that it was given, also within a `file://` URL."""
    text = os.fspath(place) if isinstance(place, str | os.PathLike) else str(path)
    if scheme_of(place) is None:
        return text
    return f"{path}{os.sep}" if text.endswith("/") else str(path)


def hide_password(url: str) -> str:
    """Return a URL without a password; the user stays."""
    return _PASSWORD.sub(lambda found: f"{found[1]}@", url)


def _demand_no_url(path: Path) -> Path:
    """Return a path; refuse `Path("s3://bucket/x")`, which has become the folder `s3:` here.

    Raises:
        ValueError: It is one.
    """
    first: Any = path.parts[0] if path.parts else ""
    if _URL.fullmatch(f"{first}//") and len(path.parts) > 1 and not os.path.isdir(first):
        raise ValueError(f"{str(path)!r} is a path, and a path holds no URL: give the text '{first}//...'")
    return path
