"""What only the server's catalog can say about a refused prompt."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_async import ComfySession, Problem, PromptRejectedError

__all__ = ["with_nearest"]


async def with_nearest(error: PromptRejectedError, comfy: ComfySession) -> None:
    """Name the classes that resemble one that the server lacks; the catalog is fetched for that alone.

    Advice is not worth an error, so that without a catalog the refusal stays as it is.
    """
    from comfy_async import ComfyError

    from .._protocol.rejection import nearest

    if not any(map(_is_open, error.problems)):
        return
    try:
        catalog = await comfy.nodes.catalog()
    except ComfyError:
        return
    error.problems = tuple(
        dataclasses.replace(problem, nearest=nearest(problem.class_type, catalog))
        if _is_open(problem)
        else problem
        for problem in error.problems
    )


def _is_open(problem: Problem) -> bool:
    """Say whether this is a missing class of which nobody knows what was meant."""
    # Before 0.11.1 the server said of it what it says of any invalid prompt.
    missing = problem.type in {"missing_node_type", "invalid_prompt"} and bool(problem.class_type)
    return missing and not problem.nearest
