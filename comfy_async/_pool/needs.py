"""What a workflow needs of a server: node classes, values, models; and what a refusal says it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from ..errors import ConversionError, PromptRejectedError, UploadTooLargeError
from ..types import Problem
from ..workflow import Workflow

__all__ = ["Need", "lacks", "models_of", "needs_of", "worst_first"]

Need: TypeAlias = tuple[str, ...]
"""`(class,)`, or `(class, input, value)` for a value that has to be in the server's list."""

# folder_paths.py, supported_pt_extensions, and what the common packs add.
_MODEL_ENDINGS: Final = (
    ".safetensors",
    ".ckpt",
    ".pt",
    ".pt2",
    ".pth",
    ".bin",
    ".sft",
    ".gguf",
    ".onnx",
    ".pkl",
    ".engine",
)
# Servers before missing_node_type was a word of its own say invalid_prompt.
_NO_SUCH_CLASS: Final = frozenset({"missing_node_type", "invalid_prompt"})
_NO_SUCH_VALUE: Final = frozenset({"value_not_in_list"})


def needs_of(workflow: Workflow) -> frozenset[Need]:
    """Return all that a server might lack; of an editor file nothing is known before it is converted."""
    if workflow.format != "api":
        return frozenset()
    found: set[Need] = set()
    for node in workflow.graph.values():
        found.add((node.class_type,))
        for name, value in node.inputs.items():
            if isinstance(value, str):
                found.add((node.class_type, name, value))
    return frozenset(found)


def models_of(needs: Iterable[Need]) -> frozenset[str]:
    """Return the model files among what a workflow needs."""
    return frozenset(need[2] for need in needs if len(need) == 3 and need[2].lower().endswith(_MODEL_ENDINGS))


def lacks(error: Exception) -> frozenset[Need] | None:
    """Return what a server lacks by its own refusal, None when another server would refuse as well.

    A refusal is the workflow's own fault unless each of its problems is a class, a value of a
    list, or a file that this server does not have. An empty set means "not here", for this
    workflow only.
    """
    if isinstance(error, (ConversionError, UploadTooLargeError)):
        return frozenset()
    if not isinstance(error, PromptRejectedError) or not error.problems:
        return None
    found: set[Need] = set()
    for problem in error.problems:
        if problem.severity != "error" or _is_missing_file(problem):
            continue
        need = _need(problem)
        if need is None:
            return None
        found.add(need)
    return frozenset(found)


def _need(problem: Problem) -> Need | None:
    """Return what one problem says is lacking, None when it says something else."""
    name, value = problem.input, problem.received
    if problem.type in _NO_SUCH_CLASS:
        class_type = problem.class_type or (value if isinstance(value, str) else "")
        return (class_type,) if class_type or "does not exist" in problem.message else None
    if problem.type in _NO_SUCH_VALUE and name is not None and isinstance(value, str):
        return problem.class_type, name, value
    return None


def _is_missing_file(problem: Problem) -> bool:
    """Say whether a node's own check complains of a file that is not there (nodes.py, LoadImage)."""
    text = problem.message
    return problem.type == "custom_validation_failed" and "Invalid" in text and "file" in text


def worst_first(errors: Iterable[Exception]) -> list[Exception]:
    """Sort refusals: the one that names the fewest problems comes last, it is the nearest miss."""
    return sorted(errors, key=lambda error: -len(getattr(error, "problems", ())))
