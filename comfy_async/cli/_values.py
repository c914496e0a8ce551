"""`--set 6.text="a cat"`: from what stands on the command line to values of inputs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ._connection import UsageError
from ._tables import short_text

if TYPE_CHECKING:
    from comfy_async import ComfySession, NodeCatalog, Workflow

    from ..workflow._inputs import WorkflowInput

__all__ = [
    "apply_values",
    "classes_of",
    "demand_seeds",
    "parse_settings",
    "question",
    "read_text",
    "read_workflow",
    "seeded",
    "seeds_of",
]

_ABSENT: Final = object()
_TEXTS: Final = frozenset({"STRING", "BOOLEAN", "COMBO"})
"""Types whose texts are no JSON; what a text means to them is the library's to say."""


def parse_settings(texts: Iterable[str] | None) -> dict[str, str]:
    """Return keys and values of each `KEY=VALUE`; of a key that is given twice the last value.

    Raises:
        UsageError: One has no `=`, or no dot in the key.
    """
    found = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise UsageError(f"--set takes NODE.INPUT=VALUE, for example 6.text='a cat', not {text!r}")
        found[key.strip()] = value
    return found


async def classes_of(comfy: ComfySession, *workflows: Workflow) -> NodeCatalog:
    """Return the classes of workflows in API format, as far as the server has them.

    Some small answers in the place of the whole catalog, which weighs megabytes.
    """
    from comfy_async import NodeCatalog

    from ..workflow.catalog import NodeClass

    names = sorted({info.class_type for workflow in workflows for info in workflow.nodes.values()})
    found = await asyncio.gather(*map(comfy.nodes.info, names), return_exceptions=True)
    return NodeCatalog({info.name: info.raw for info in found if isinstance(info, NodeClass)})


def apply_values(
    workflow: Workflow,
    values: Mapping[str, str],
    *,
    source: str = "",
    catalog: NodeCatalog | None = None,
) -> Workflow:
    """Return the workflow with every value in place.

    Args:
        workflow: A workflow in API format.
        values: A text for each `NODE.INPUT`.
        source: Where they stand, for an error to name it: a file, an option.
        catalog: What the classes declare; with it also inputs that the workflow lacks can be set.

    Raises:
        UsageError: A value's file cannot be read.
        UnknownInputError: No node or input has that name, more than one has, or it does not take the value.
    """
    from comfy_async import UnknownInputError

    where = f"{source}: " if source else ""
    try:
        kinds = {item.key: item.kind for item in workflow.inputs(every=True)}
        changes = {key: _read(workflow, key, text, kinds, catalog) for key, text in values.items()}
        return workflow.with_inputs(changes, catalog=catalog)
    except UsageError as error:
        raise UsageError(f"{where}{error}") from error
    except UnknownInputError as error:
        error.args = (f"{where}{error.args[0]}", *error.args[1:])
        raise


def seeds_of(workflow: Workflow, catalog: NodeCatalog | None = None) -> list[WorkflowInput]:
    """Return the seeds of a workflow; with a catalog each has its range."""
    return [item for item in workflow.inputs(catalog) if item.kind == "seed"]


def demand_seeds(workflow: Workflow, catalog: NodeCatalog | None = None) -> list[str]:
    """Return the keys of the seeds.

    Raises:
        UsageError: There is none.
    """
    found = [item.key for item in seeds_of(workflow, catalog)]
    if not found:
        raise UsageError("this workflow has no seed; `comfy-async inputs` lists what it has")
    return found


def seeded(
    workflow: Workflow, seed: int | None, *, randomize: bool, catalog: NodeCatalog | None = None
) -> Workflow:
    """Return the workflow with this number in every seed, or with new random seeds.

    Raises:
        UsageError: Both were asked for, or there is no seed in it.
        UnknownInputError: A class does not take the number.
    """
    if seed is not None and randomize:
        raise UsageError("--seed and --randomize exclude each other")
    if seed is None and not randomize:
        return workflow
    demand_seeds(workflow, catalog)
    return workflow.randomized(catalog=catalog) if seed is None else workflow.with_seed(seed, catalog=catalog)


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


def _read(
    workflow: Workflow, key: str, text: str, kinds: Mapping[str, str], catalog: NodeCatalog | None
) -> Any:
    """Read one value: `@file`, JSON where no text stands or belongs, else text.

    Raises:
        UsageError: The file is not there, or is no text.
    """
    place, existing = _existing(workflow, key)
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@"):
        return _from_file(Path(text[1:]).expanduser(), kinds.get(place, "other"))
    if isinstance(existing, str | bool) or (existing is _ABSENT and _takes_texts(workflow, place, catalog)):
        return text
    try:
        value = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return text
    # What was wrapped stays what it is; a bare list is wrapped by with_inputs.
    return dict(value) if isinstance(value, Mapping) else value


def _refused(word: str) -> Any:
    """Refuse NaN and the like: they are no JSON.

    Raises:
        ValueError: Always.
    """
    raise ValueError(word)


def _takes_texts(workflow: Workflow, place: str, catalog: NodeCatalog | None) -> bool:
    """Return whether the class declares that an input takes texts; False when that is unknown."""
    from comfy_async import UnknownInputError

    node, _, name = place.partition(".")
    try:
        (info, *_) = workflow.find(node)
    except (UnknownInputError, ValueError):
        # with_inputs says so, and names what comes near.
        return False
    spec = None if catalog is None else catalog.input(info.class_type, name)
    return spec is not None and (spec.type in _TEXTS or bool(spec.choices))


def _from_file(path: Path, kind: str) -> Any:
    """Return a file to upload, or for a prompt the text in it.

    Raises:
        UsageError: There is no such file, or it is no text.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path} (a value that begins with @ is written @@...)")
    return read_text(path).rstrip("\n") if kind == "text" else path


def read_workflow(source: str, *, prefer: str = "workflow") -> Workflow:
    """Read a workflow from a path, or from stdin when it is called `-`.

    Args:
        source: The path.
        prefer: Which is meant where a file carries both, "workflow" or "prompt".

    Raises:
        UsageError: There is no such choice.
        WorkflowFormatError: It is no workflow.
        OSError: It cannot be read.
    """
    from comfy_async import Workflow

    if prefer not in ("workflow", "prompt"):
        raise UsageError(f"--prefer takes workflow or prompt, not {prefer!r}")
    # As bytes: a shell's encoding is not that of JSON.
    found: Any = sys.stdin.buffer.read() if source == "-" else Path(source)
    return Workflow.load(found, prefer="prompt" if prefer == "prompt" else "workflow")


def read_text(path: Path, *, newline: str | None = None) -> str:
    """Return the text of a file in UTF-8, without the mark that some editors begin it with.

    Args:
        path: The file.
        newline: None makes every line end a plain one, "" keeps them.

    Raises:
        UsageError: It is in another encoding, or no text.
        OSError: It cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8 (byte {error.start}); save it as UTF-8") from error
