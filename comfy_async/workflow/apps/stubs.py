"""Apps as typed functions: a module that runs them, and a stub with their signatures."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .._stubs import doc, literal
from ..catalog import NodeCatalog
from .parts import AppInput
from .reading import AppReading

__all__ = ["write_app_stubs"]

_MOST_CHOICES: Final = 400

_TYPES: Final = {"STRING": "str", "INT": "int", "FLOAT": "float", "BOOLEAN": "bool"}

_RUNTIME: Final = '''"""Workflows as functions, typed by the .pyi beside it. Written by comfy-async."""

import functools
import gzip
import json
from pathlib import Path

from comfy_async import App, NodeCatalog

__all__ = {names}


@functools.cache
def _kept():
    """Return the apps as they were when this was written."""
    with gzip.open(Path(__file__).with_name("{data}"), "rt", encoding="utf-8") as file:
        kept = json.load(file)
    kept["catalog"] = NodeCatalog(kept["catalog"], editor=kept["editor"])
    return kept


@functools.cache
def _app(name):
    kept = _kept()["apps"][name]
    inputs = {{key: [tuple(place) for place in places] for key, places in kept["inputs"].items()}}
    return App.load(
        kept["workflow"],
        _kept()["catalog"],
        inputs=inputs,
        outputs=kept["outputs"],
        name=name,
        description=kept["description"],
    )
'''

_FUNCTION: Final = '''

def {name}_app():
    """Return the app."""
    return _app("{name}")


async def {name}_job(comfy, /, **values):
    """Submit it and return its job."""
    return await _app("{name}").on(comfy).submit(**values)


async def {name}(comfy, /, **values):
    """Run it and return the result."""
    return await _app("{name}").on(comfy)(**values)
'''

_HEAD: Final = '''"""Workflows as functions. Written by comfy-async; rewrite it when they change."""

import os
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

from comfy_async import App, ComfyPool, ComfySession, Job, JobResult
from comfy_async.ray import ComfyFleet

class _Readable(Protocol):
    """An open file."""

    @property
    def read(self) -> Callable[..., bytes]: ...

class _Picture(Protocol):
    """A Pillow image."""

    @property
    def mode(self) -> str: ...
    @property
    def save(self) -> Callable[..., None]: ...

class _Array(Protocol):
    """An array of a picture."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...

class _Uploaded(Protocol):
    """A file that the server has."""

    @property
    def name_for_input(self) -> str: ...

_File: TypeAlias = str | bytes | os.PathLike[str] | _Readable | _Uploaded
_Image: TypeAlias = _File | _Picture | _Array
_Comfy: TypeAlias = ComfySession | ComfyPool | ComfyFleet
'''


def write_app_stubs(
    apps: Mapping[str, tuple[AppReading, str]],
    folder: str | os.PathLike[str],
    *,
    module: str = "comfy_apps",
) -> list[Path]:
    """Write a module with a typed function for each app: `await portrait(comfy, prompt="a fox")`.

    For each app there are also `portrait_job`, which submits and returns the job, and
    `portrait_app`, which returns the app. The workflows are kept beside the module.

    Args:
        apps: The apps by name, each with a sentence about it.
        folder: The folder to write into; it is created when it does not exist.
        module: The module's name.

    Returns:
        The paths of the module and its stub; the workflows are beside them, as `comfy_apps.json.gz`.

    Raises:
        OSError: A file cannot be written.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    runtime, stub, data = (target / f"{module}{ending}" for ending in (".py", ".pyi", ".json.gz"))
    content = json.dumps(_kept(apps)).encode()
    # Without a time stamp, equal apps are written as equal files.
    data.write_bytes(gzip.compress(content, mtime=0))
    names = [f"{name}{ending}" for name in apps for ending in ("", "_app", "_job")]
    head = _RUNTIME.format(names=json.dumps(names), data=data.name)
    runtime.write_text(head + "".join(_FUNCTION.format(name=name) for name in apps), encoding="utf-8")
    stub.write_text("".join(_lines(apps)), encoding="utf-8", errors="backslashreplace")
    return [runtime, stub]


def _kept(apps: Mapping[str, tuple[AppReading, str]]) -> dict[str, Any]:
    """Return the data that the module loads."""
    readings = [reading for reading, _ in apps.values()]
    catalogs = [reading.catalog for reading in readings]
    return {
        "editor": next((catalog.editor for catalog in catalogs if catalog.editor), None),
        "catalog": {name: entry for reading in readings for name, entry in _classes(reading)},
        "apps": {name: _one(reading, told) for name, (reading, told) in apps.items()},
    }


def _one(reading: AppReading, description: str) -> dict[str, Any]:
    drawn = reading.flow.drawn
    return {
        "workflow": reading.flow.to_api() if drawn is None else drawn,
        "inputs": {name: item.targets for name, item in reading.inputs.items()},
        "outputs": {name: item.node for name, item in reading.outputs.items()},
        "description": description,
    }


def _classes(reading: AppReading) -> Iterator[tuple[str, Any]]:
    """Return the catalog's entries of the classes in a workflow and its editor file."""
    catalog: NodeCatalog = reading.catalog
    used = {node.class_type for node in reading.flow.graph.values()} | set(_types(reading.flow.drawn))
    return ((name, catalog[name]) for name in sorted(used) if name in catalog)


def _types(drawn: Any) -> Iterator[str]:
    """Yield the classes that an editor file names, including those in subgraphs."""
    waiting = [drawn]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            if isinstance(item.get("type"), str):
                yield item["type"]
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _lines(apps: Mapping[str, tuple[AppReading, str]]) -> Iterator[str]:
    yield _HEAD
    for name, (reading, told) in apps.items():
        items = sorted(reading.inputs.values(), key=lambda item: not item.required)
        parameters = "".join(f"    {item.name}: {_type(item)}{_default(item)},\n" for item in items)
        star = f"    *,\n{parameters}" if parameters else ""
        head = f"(\n    comfy: _Comfy,\n    /,\n{star})"
        yield f"\ndef {name}_app() -> App: ...\n"
        yield f"async def {name}_job{head} -> Job: ...\n"
        yield f"async def {name}{head} -> JobResult:\n    {doc(_told(told, items))}\n"


def _type(item: AppInput) -> str:
    """Return the annotation of a parameter."""
    if item.upload is not None:
        return "_Image" if item.upload == "image" else "_File"
    if item.choices is not None:
        plain = all(isinstance(choice, str | int) for choice in item.choices)
        if not plain or len(item.choices) > _MOST_CHOICES:
            return "Any"
        listed = f"Literal[{', '.join(dict.fromkeys(map(literal, item.choices)))}]"
        return f"list[{listed}]" if isinstance(item.default, list) else listed
    kind = _TYPES.get(item.type, "str" if item.type == "COMBO" else "Any")
    return f'{kind} | Literal["random"]' if item.is_seed else kind


def _default(item: AppInput) -> str:
    if item.required:
        return ""
    value = item.default
    short = isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 80)
    return f" = {literal(value)}" if short else " = ..."


def _told(description: str, items: list[AppInput]) -> str:
    ranged = (item for item in items if item.minimum is not None or item.maximum is not None)
    lines = [description, *(f"{item.name}: {item.minimum} to {item.maximum}" for item in ranged)]
    return "\n    ".join(line.strip() for line in lines if line.strip())
