"""From what people pass to a workflow that can be sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import PromptRejectedError
from .workflow import Workflow

if TYPE_CHECKING:
    from ._session import ComfySession

__all__ = ["WorkflowLike", "as_workflow", "prepare"]

WorkflowLike: TypeAlias = Workflow | Mapping[str, Any] | str | bytes | os.PathLike[str]


def as_workflow(workflow: Any) -> Workflow:
    """Return a workflow, loaded if need be.

    Raises:
        WorkflowFormatError: It is none, or damaged.
        OSError: The file cannot be read.
    """
    return workflow if isinstance(workflow, Workflow) else Workflow.load(workflow)


async def prepare(session: ComfySession, workflow: WorkflowLike, *, check: bool) -> Workflow:
    """Return a workflow that can be sent: loaded, converted, its files uploaded, checked.

    Raises:
        WorkflowError: It is no workflow, or cannot be converted; nothing was sent.
        PromptRejectedError: The check found what the server would refuse.
        ComfyError: The server cannot be asked, or refuses a file.
    """
    made = as_workflow(workflow)
    if made.format == "editor":
        made = made.converted(await session.nodes.catalog())
    if made.uploads():
        made = await session.files.upload_inputs(made)
    if check:
        await _demand_sound(session, made)
    return made


async def _demand_sound(session: ComfySession, workflow: Workflow) -> None:
    """Raise the errors that `check` finds, as the server would."""
    found = [problem for problem in await session.check(workflow) if problem.severity == "error"]
    if found:
        raise PromptRejectedError(
            "the workflow would be refused; nothing was sent",
            problems=found,
            type="checked",
            server=session.base_url,
        )
