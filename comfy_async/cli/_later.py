"""Commands to go on with later: the same server and the same options, and never a secret."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from ._connection import Connection
    from ._out import OutPlace
    from ._requests import SubmitRequest

__all__ = ["cancel_command", "server_words", "submit_command", "wait_command", "waited_place", "withheld"]


def submit_command(
    path: Path, request: SubmitRequest, connection: Connection, *, settings: Iterable[str] = ()
) -> str:
    """Return the command that submits a kept prompt, and saves its files when that was wanted."""
    words = ["comfy-async", "submit", str(path)]
    for setting in settings:
        words += ["--set", setting]
    for label in request.labels or ():
        words += ["--label", label]
    if request.key is not None:
        words += ["--key", request.key]
    words += [flag for flag, given in (("--front", request.front), ("--partial", request.partial)) if given]
    command = shlex.join(words + server_words(connection))
    out: OutPlace | None = getattr(request, "out", None)
    if out is None:
        return command
    # What submit prints names the server, so that the other side of the pipe finds it.
    waiting = ["comfy-async", "wait", "-", "--out", waited_place(out), *_flags(connection)]
    return f"{command} | {shlex.join(waiting)}"


def waited_place(out: OutPlace) -> str:
    """Return what `wait --out` takes of this: it knows neither seeds nor inputs of what others submitted."""
    names = out.pattern()
    return out.folder if names is not None and names.wants_workflow else str(out)


def wait_command(prompt_id: str, connection: Connection, *, out: object = "DIR") -> str:
    """Return the command that fetches what a job made."""
    return shlex.join(["comfy-async", "wait", prompt_id, "--out", str(out), *server_words(connection)])


def cancel_command(prompt_id: str, connection: Connection) -> str:
    """Return the command that stops a job."""
    return shlex.join(["comfy-async", "cancel", prompt_id, *server_words(connection)])


def server_words(connection: Connection) -> list[str]:
    """Return the options that lead to the same server, without anything that must stay secret."""
    words = ["--server", _bare(connection.server)] if connection.server is not None else []
    return words + _flags(connection)


def _flags(connection: Connection) -> list[str]:
    """Return the options of the connection besides the address."""
    flags = (("--cloud", connection.cloud), ("--insecure", connection.insecure))
    dialect = [] if connection.dialect == "auto" else ["--dialect", connection.dialect]
    return [*(flag for flag, given in flags if given), *dialect]


def withheld(connection: Connection) -> str:
    """Say which options were left out since they hold secrets, "" when none was."""
    given = [
        word
        for word, is_given in (
            ("--api-key", connection.api_key),
            ("--header", connection.header),
            (
                "the credentials of the URL",
                connection.server and _bare(connection.server) != connection.server,
            ),
        )
        if is_given
    ]
    return f"with {' and '.join(given)} as before" if given else ""


def _bare(url: str) -> str:
    """Return an address without credentials, neither before the host nor in the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
