"""Files that carry a prompt and an editor file: how the two differ, and edits carried from one to the other.

ComfyUI writes both into what it saves, and opens the editor file. The two need not match: of
ComfyUI's own example pictures, 65 have a prompt that differs from their converted editor file.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import UnknownInputError
from ..types import Problem, clipped
from ._nodes import Graph, Node
from ._values import is_link, plain

if TYPE_CHECKING:
    from .catalog import NodeCatalog

__all__ = ["PAIRED_HINT", "Pair", "carried_over", "differences"]

_log = logging.getLogger("comfy_async")

PAIRED_HINT = "`Workflow.load(..., prefer='prompt')` uses the file's prompt instead of its editor file."

_MOST_TOLD = 5


@dataclasses.dataclass(slots=True)
class Pair:
    """The prompt that a file carries beside its editor file; shared by all workflows made from the file.

    Attributes:
        prompt: The prompt as it is in the file.
        told: Whether it was logged that the two differ.
    """

    prompt: Graph
    told: bool = False

    def compare(self, converted: Graph, catalog: NodeCatalog) -> list[Problem]:
        """Return where the prompt differs from the converted editor file; this is logged once."""
        found = list(differences(self.prompt, converted, catalog))
        if found and not self.told:
            self.told = True
            more = f"\n  and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
            lines = "".join(f"\n  {problem}" for problem in found[:_MOST_TOLD])
            _log.warning(
                "the file's prompt differs from its workflow; the workflow is used, as in the editor. %s%s%s",
                PAIRED_HINT,
                lines,
                more,
            )
        return found


def differences(prompt: Graph, converted: Graph, catalog: NodeCatalog) -> Iterator[Problem]:
    """Yield, as warnings, the nodes and inputs in which two graphs differ.

    An input that only the converted graph has counts unless it is at its default, and an input
    that only the prompt has counts unless the server ignores it.
    """
    for key in dict.fromkeys([*prompt, *converted]):
        old, new = prompt.get(key), converted.get(key)
        if old is None or new is None or old.class_type != new.class_type:
            yield _differs(key, new or old, None, _what(old), _what(new))
            continue
        for name in dict.fromkeys([*old.inputs, *new.inputs]):
            before, after = old.inputs.get(name, _ABSENT), new.inputs.get(name, _ABSENT)
            if not _same(before, after) and not _needless(new, name, before, after, catalog):
                yield _differs(key, new, name, _shown(before), _shown(after))


def carried_over(prompt: Graph, edited: Graph, converted: Graph) -> Graph:
    """Return the converted editor file with the changes that were made to the prompt beside it.

    Raises:
        UnknownInputError: A changed node or input is not in the editor file.
    """
    if edited is prompt:
        return converted
    result = {key: node for key, node in converted.items() if key in edited or key not in prompt}
    for key, node in edited.items():
        before = prompt.get(key)
        if before is node:
            continue
        if before is None:
            if key in converted:
                raise _misfit(key, node, "it has another node with that id")
            result[key] = node
        else:
            result[key] = _patched(key, before, node, result.get(key))
    for key, node in result.items():
        for name, source, _ in node.links():
            if source not in result:
                raise _misfit(key, node, f"input {name!r} would be linked to the missing node {source!r}")
    return result


_ABSENT: Any = object()


def _patched(key: str, before: Node, after: Node, target: Node | None) -> Node:
    """Return the converted node with the inputs that were changed in the prompt's node."""
    if target is None or target.class_type != before.class_type:
        raise _misfit(key, before, "it has no such node")
    inputs = dict(target.inputs)
    for name in dict.fromkeys([*before.inputs, *after.inputs]):
        old, new = before.inputs.get(name, _ABSENT), after.inputs.get(name, _ABSENT)
        if old is new or (old is not _ABSENT and new is not _ABSENT and _same(old, new)):
            continue
        if new is _ABSENT:
            inputs.pop(name, None)
        elif old is not _ABSENT and name not in inputs:
            raise _misfit(key, before, f"that node has no input {name!r}")
        else:
            inputs[name] = new
    return target.replace(inputs)


def _misfit(key: str, node: Node, why: str) -> UnknownInputError:
    told = f"a change to node {node.info(key)} cannot be applied to the file's workflow: {why}"
    return UnknownInputError(told, hint=PAIRED_HINT)


def _differs(key: str, node: Node | None, name: str | None, before: str, after: str) -> Problem:
    return Problem(
        node=key,
        title="" if node is None else node.title,
        class_type="" if node is None else node.class_type,
        input=name,
        type="prompt_differs",
        message=f"the file's prompt has {before}, its workflow {after}",
        severity="warning",
    )


def _needless(node: Node, name: str, before: Any, after: Any, catalog: NodeCatalog) -> bool:
    """Return whether the server would run both values the same."""
    spec = catalog.input(node.class_type, name, node.inputs)
    if before is _ABSENT:
        return spec is not None and _same(spec.default, after)
    return after is _ABSENT and spec is None and node.class_type in catalog and not is_link(before)


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON: true is not 1, but 8 is 8.0."""
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _what(node: Node | None) -> str:
    return "no such node" if node is None else node.class_type


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else clipped(plain(value))
