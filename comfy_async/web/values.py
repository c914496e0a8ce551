"""What a caller sent, made into what an app takes; a caller's text never becomes a path or a link."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from starlette.datastructures import UploadFile

from .._base.tasks import in_thread
from .._client.app import App
from .._client.foreign import foreign_problems
from ..workflow.apps import AppInput
from .answers import problem_fields
from .intake import FormText
from .kinds import ending_of

__all__ = ["problems_with", "values_of"]

_CHUNK: Final = 1 << 20
_NUMBERS: Final = frozenset({"INT", "FLOAT"})
_NOTHING: Final = object()
_LONGEST_NAME: Final = 200


class _WrongValueError(Exception):
    """A value that an input cannot have."""

    def __init__(self, message: str, *, status: int = 422, received: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.received = received


async def values_of(
    app: App, fields: Mapping[str, Any], folder: Path
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the values by name as `App.workflow` takes them, and by name what is wrong with the others.

    Files are put into the folder. A name that no input has is among the values, for the app to refuse.
    """
    values: dict[str, Any] = {}
    wrong: dict[str, dict[str, Any]] = {}
    for name, given in fields.items():
        if name not in app.inputs:
            values[name[:_LONGEST_NAME]] = None
            continue
        try:
            found = await _value(app.inputs[name], given, folder)
        except _WrongValueError as error:
            wrong[name] = _problem(app.inputs[name], error)
        else:
            if found is not _NOTHING:
                values[name] = found
    return values, wrong


def problems_with(
    app: App, values: Mapping[str, Any], wrong: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return all that is wrong with a request, in the order of `App.check`: names, then input by input."""
    found = [problem_fields(one) for one in foreign_problems(app.reading, values) if one.input not in wrong]
    order = {name: place for place, name in enumerate(app.inputs)}
    return sorted([*found, *wrong.values()], key=lambda one: order.get(one["input"], -1))


def _problem(item: AppInput, error: _WrongValueError) -> dict[str, Any]:
    """Return what is wrong with one input, in the shape of `Problem`."""
    return {
        "input": item.name,
        "node": None,
        "title": item.title,
        "type": "wrong_file" if error.status == 415 else "wrong_type",
        "message": str(error),
        "received": error.received,
        "nearest": [],
        "advice": "",
    }


async def _value(field: AppInput, given: Any, folder: Path) -> Any:
    """Return one value, `_NOTHING` for one that was left empty."""
    if field.upload is not None:
        return await _file(field, given, field.upload, folder)
    if isinstance(given, UploadFile):
        raise _WrongValueError("this input takes no file")
    if isinstance(given, FormText):
        is_empty = field.type in _NUMBERS and not given.strip()
        return _NOTHING if is_empty else field.parse(str(given))
    if isinstance(given, list) and isinstance(field.default, list) and all(map(_is_plain, given)):
        return given
    if isinstance(given, (dict, list)):
        # A list of two would be a link between nodes.
        raise _WrongValueError("lists and objects are no values here", received=type(given).__name__)
    return _NOTHING if given is None else given


async def _file(field: AppInput, given: Any, kind: str, folder: Path) -> Any:
    """Return where a file was put, under a random name.

    A text is never taken for one: it would name a file of this machine, or somebody else's on the ComfyUI.
    """
    if given is None or given == "" or (isinstance(given, str) and given == field.default):
        return _NOTHING
    if isinstance(given, UploadFile):
        head = await given.read(32)
        await given.seek(0)
        target = _target(head, kind, folder)
        await in_thread(_copy, given, target)
        return target
    if isinstance(given, str) and given.startswith("data:"):
        content = await in_thread(_decoded, given)
        target = _target(content[:32], kind, folder)
        await in_thread(target.write_bytes, content)
        return target
    raise _WrongValueError(
        f"this input takes the bytes of {_a(kind)}: a file of a form, or in JSON a data: URI",
        received=None if not isinstance(given, str) else given[:200],
    )


def _is_plain(value: object) -> bool:
    """Return whether this is a text, a number or a boolean."""
    return isinstance(value, (str, int, float))


def _target(head: bytes, kind: str, folder: Path) -> Path:
    """Return a new name for a file that begins so."""
    ending = ending_of(head, kind)
    if ending is None:
        raise _WrongValueError(f"the file is no {kind} that is known here", status=415)
    return folder / f"{secrets.token_hex(16)}{ending}"


def _a(kind: str) -> str:
    """Return a kind with its article."""
    return f"{'an' if kind[0] in 'ai' else 'a'} {kind}"


def _copy(upload: UploadFile, target: Path) -> None:
    """Write what was sent into a new file."""
    with target.open("xb") as file:
        while chunk := upload.file.read(_CHUNK):
            file.write(chunk)


def _decoded(uri: str) -> bytes:
    """Return the bytes in a `data:` URI."""
    head, comma, body = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        raise _WrongValueError("write it as data:image/png;base64,...")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise _WrongValueError("what follows `base64,` is no base64") from None
