"""The values of callers who are not to reach the server's disk: agents, and clients on the web.

What a server does with the name of a file is not known from here: releases before 0.33 open whatever it
leads to, `/etc/passwd` and `../../x.png` too, and node packs have ways of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..types import Problem, clipped
from ..workflow.apps import AppInput, AppReading

__all__ = ["PATH_PROBLEM", "foreign_problems"]

PATH_PROBLEM: Final = "path_not_allowed"
"""The type of the problem of a value that leads out of the server's folders."""

_ANNOTATION: Final = re.compile(r"\s?\[(?:input|output|temp)\]$")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
# Packs remove them before they look for the file.
_AROUND: Final = " \t\r\n\v\f\"'"
_HOW: Final = "Give the name of a file that the server has, or a data: URI."


def foreign_problems(reading: AppReading, values: Mapping[str, Any]) -> list[Problem]:
    """Return all that is wrong with a stranger's values, in the order of `App.check`."""
    paths = {one.input: one for one in _path_problems(reading, values)}
    others = [one for one in reading.problems(values)[1] if one.input not in paths]
    order = {name: place for place, name in enumerate(reading.inputs)}
    return sorted([*others, *paths.values()], key=lambda one: order.get(one.input or "", -1))


def _path_problems(reading: AppReading, values: Mapping[str, Any]) -> list[Problem]:
    """Return a problem for each value that leads out of the server's folders.

    Checked is every input whose value the server may resolve as a file: all but plain texts, numbers, and
    what is in a list that the server offers. What stands in the workflow itself may be given again.
    """
    return [
        Problem(
            node=None,
            title=item.title,
            input=name,
            type=PATH_PROBLEM,
            message=f"{name}: {clipped(text)} is a path, not the name of a file in the server's folders",
            received=text,
            advice=_HOW if item.upload else "",
        )
        for name, item in reading.inputs.items()
        if name in values and values[name] != item.default and _may_be_file(reading, item)
        for text in _leading_out(item, values[name])
    ]


def _may_be_file(reading: AppReading, item: AppInput) -> bool:
    """Say whether a server may resolve what this input gets as a file."""
    if item.upload is not None or item.type not in ("STRING", "INT", "FLOAT", "BOOLEAN"):
        return True
    graph, catalog = reading.flow.graph, reading.catalog
    specs = (catalog.input(graph[key].class_type, name, graph[key].inputs) for key, name in item.targets)
    # A text in which a pack expects a path has an option of that pack's editor, which completes paths.
    known = [spec for spec in specs if spec is not None]
    return any(spec.is_upload or "vhs_path_extensions" in spec.options for spec in known)


def _leading_out(item: AppInput, value: Any) -> Iterator[str]:
    """Yield the first text in a value that leads out, none for one that is offered or has the bytes in it."""
    offered = item.choices or ()
    for text in _texts(value):
        has_bytes = item.upload is not None and text[:5].lower() == "data:"
        if not has_bytes and text not in offered and _leads_out(text):
            yield text
            return


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a value that came as JSON."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one


def _leads_out(text: str) -> bool:
    """Say whether a name may lead a server out of its folders, whatever system it runs on."""
    whole = text.strip(_AROUND)
    # A server cuts one character more than the annotation has, whichever that is.
    names = {whole, whole[:-8], whole[:-7], whole[:-9]} if _ANNOTATION.search(whole) else {whole}
    return any(_is_path(name) for name in names)


def _is_path(name: str) -> bool:
    return (
        name.startswith(("/", "~"))
        or "\\" in name
        or "\0" in name
        or _DRIVE.match(name) is not None
        or _SCHEME.match(name) is not None
        or any(".." in part and not part.strip(". ") for part in name.split("/"))
    )
