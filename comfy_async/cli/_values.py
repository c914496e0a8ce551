"""`--set 6.text="a cat"`: from what stands on the command line to values of inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._connection import UsageError
from ._tables import short_text

if TYPE_CHECKING:
    from comfy_async import NodeCatalog, Workflow

__all__ = ["apply_values", "question", "seeded"]

_ABSENT = object()


def _split(text: str) -> tuple[str, str]:
    """Return key and value of `KEY=VALUE`.

    Raises:
        UsageError: It has no `=`, or no dot in the key.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or "." not in key:
        raise UsageError(f"--set takes NODE.INPUT=VALUE, for example 6.text='a cat', not {text!r}")
    return key, value


def apply_values(
    workflow: Workflow, settings: Iterable[str], *, catalog: NodeCatalog | None = None
) -> Workflow:
    """Return the workflow with every `KEY=VALUE` in place; a catalog knows inputs that it lacks.

    Raises:
        UsageError: A setting cannot be read, or its file is not there.
        UnknownInputError: No node or input has that name, or more than one.
    """
    changes: dict[str, Any] = {}
    kinds = {item.key: item.kind for item in workflow.inputs(every=True)}
    for setting in settings:
        key, text = _split(setting)
        node, existing = _existing(workflow, key)
        changes[key] = _value(text, existing, kinds.get(node, "other"))
    return workflow.with_inputs(changes, catalog=catalog)


def seeded(workflow: Workflow, seed: int | None, *, randomize: bool) -> Workflow:
    """Return the workflow with this number in every seed, or with seeds drawn anew.

    Raises:
        UsageError: Both were asked for, or there is no seed in it.
    """
    if seed is None and not randomize:
        return workflow
    if seed is not None and randomize:
        raise UsageError("--seed and --randomize exclude each other")
    seeds = [item.key for item in workflow.inputs() if item.kind == "seed"]
    if not seeds:
        raise UsageError("this workflow has no seed; `comfy-async inputs` lists what it has")
    if randomize:
        return workflow.randomized()
    return workflow.with_inputs(dict.fromkeys(seeds, seed))


def question(workflow: Workflow, key: str) -> str:
    """Return how to ask for a value: `positive prompt` where the node feeds that, else its place.

    Raises:
        UnknownInputError: The workflow has no such node or input.
    """
    place, existing = _existing(workflow, key)
    if existing is _ABSENT:
        # The library's error names what comes near.
        workflow.with_inputs({key: ""})
    node, _, name = place.partition(".")
    info = workflow.nodes[node]
    fed = {
        field
        for inputs in (entry["inputs"] for entry in workflow.to_api().values())
        for field, value in inputs.items()
        if isinstance(value, list) and value[:1] == [node] and field in {"positive", "negative"}
    }
    label = f"{fed.pop()} prompt" if len(fed) == 1 else f"{info.title or info.class_type} {name}"
    return f"{label} [{short_text(existing)}]: " if existing not in (_ABSENT, "") else f"{label}: "


def _existing(workflow: Workflow, key: str) -> tuple[str, Any]:
    """Return `id.input` and the value that stands there, tried at every dot as with_inputs does."""
    from comfy_async import UnknownInputError

    for place, letter in enumerate(key):
        if letter != ".":
            continue
        node, name = key[:place], key[place + 1 :]
        try:
            value = workflow.get(node, name)
        except UnknownInputError:
            continue
        return f"{workflow.find(node)[0].id}.{name}", value
    return key, _ABSENT


def _value(text: str, existing: Any, kind: str) -> Any:
    """Read one value: `@file`, JSON where no text stands now, else text."""
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@"):
        return _from_file(Path(text[1:]).expanduser(), kind)
    if isinstance(existing, str):
        return text
    if isinstance(existing, bool) and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # What was wrapped stays what it is; a bare list is wrapped by with_inputs.
    return dict(value) if isinstance(value, Mapping) else value


def _from_file(path: Path, kind: str) -> Any:
    """Return a file to upload, or for a prompt the text in it.

    Raises:
        UsageError: There is no such file, or it is no text.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path} (a value that begins with @ is written @@...)")
    if kind != "text":
        return path
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text, and this input takes a prompt") from error
