"""The file of a recording: one JSON object a line, `t` in seconds, no secrets.

`sent` is a text frame of the client, `text` and `binary` (base64) are frames of the server, and
`http` is a request with its answer in `status`, `content_type` and `body` (or `body_base64`).
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from .._base.secrets import Veil, is_secret_name

__all__ = ["Entry", "RecordingWriter", "masked", "masked_path", "read_recording", "route_of"]

_HIDDEN: Final = "***"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One line of a recording.

    Attributes:
        t: Seconds since the recording began.
        frame: What the server sent on the socket, None for requests.
        method: A request's method, "" for frames.
        path: Its path with the query.
        asked: Its JSON body, None when it had none.
        status: The answer's status.
        content_type: The answer's type, "" when it had none.
        body: The answer's bytes.
    """

    t: float
    frame: str | bytes | None = None
    method: str = ""
    path: str = ""
    asked: Any = None
    status: int = 0
    content_type: str = ""
    body: bytes = b""


class RecordingWriter:
    """Appends lines to a recording; each is whole on disk before the next."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Begin a new file.

        Raises:
            OSError: It cannot be written.
        """
        self._file = Path(path).open("w", encoding="utf-8")
        self._began = time.monotonic()
        self._veil = Veil()

    def now(self) -> float:
        """Return seconds since the recording began."""
        return time.monotonic() - self._began

    def hide(self, secret: str) -> None:
        """Write this nowhere, wherever it may turn up."""
        self._veil.add(secret)

    def write(self, t: float, **fields: Any) -> None:
        """Write a line.

        Raises:
            OSError: The disk would not take it.
        """
        line = json.dumps({"t": round(t, 4), **fields}, ensure_ascii=False)
        self._file.write(f"{self._veil(line)}\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; twice is fine."""
        self._file.close()


def read_recording(path: str | os.PathLike[str]) -> list[Entry]:
    """Read a recording, in the order of time.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no recording; the line is named.
    """
    entries = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            fields = json.loads(line)
            entry = _entry(fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: no line of a recording") from error
        if entry is not None:
            entries.append(entry)
    # An answer is written when it is there, and stands under the time of its request.
    return sorted(entries, key=lambda entry: entry.t)


def route_of(path: str) -> str:
    """Return a path without `/api`, under which ComfyUI has every route a second time."""
    return path.removeprefix("/api") or "/"


def masked(value: Any) -> Any:
    """Return JSON with the values of keys and tokens hidden."""
    if isinstance(value, Mapping):
        return {
            name: _HIDDEN if is_secret_name(str(name)) and isinstance(inner, str) and inner else masked(inner)
            for name, inner in value.items()
        }
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def masked_path(path: str) -> str:
    """Return a path with the values of keys and tokens in its query hidden."""
    bare, mark, query = path.partition("?")
    if not mark:
        return path
    pairs = [
        (name, _HIDDEN if is_secret_name(name) else value)
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    return f"{bare}?{urlencode(pairs)}"


def _entry(fields: Mapping[str, Any]) -> Entry | None:
    """Read a line; None for what the client sent."""
    t = float(fields["t"])
    if "text" in fields:
        return Entry(t, str(fields["text"]))
    if "binary" in fields:
        return Entry(t, base64.b64decode(fields["binary"]))
    if "http" not in fields:
        return None
    asked, body = fields["http"], fields.get("body", "")
    kind = fields.get("content_type")
    if "body_base64" in fields:
        content = base64.b64decode(fields["body_base64"])
    elif isinstance(body, str) and "json" not in (kind or ""):
        content, kind = body.encode(), kind or "text/plain"
    else:
        content, kind = json.dumps(body).encode(), kind or "application/json"
    return Entry(
        t, None, asked["method"], asked["path"], asked.get("json"), int(fields["status"]), kind or "", content
    )
