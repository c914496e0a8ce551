"""What is sent: the workflow with its new values; and where it is kept when no server answers."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ._connection import Connection, UsageError
from ._later import submit_command
from ._values import apply_values, classes_of, parse_settings, question, read_workflow, seeded

if TYPE_CHECKING:
    from comfy_async import ComfySession, NodeCatalog, Workflow

    from ._interrupt import Interrupts
    from ._requests import SubmitRequest

__all__ = ["asked", "keep", "load", "partner_options", "place_to_keep", "prepared"]

_Request = TypeVar("_Request", bound="SubmitRequest")


def load(request: SubmitRequest) -> Workflow:
    """Read the workflow, from stdin when it is called `-`.

    Raises:
        WorkflowError: It is no workflow, or cannot be converted.
        UsageError: A value is asked for without a terminal.
        OSError: A file cannot be read.
    """
    workflow = read_workflow(request.workflow, prefer=request.prefer)
    if request.catalog is not None:
        workflow = workflow.converted(_catalog(request.catalog))
    if request.ask and not (sys.stdin.isatty() and request.workflow != "-"):
        raise UsageError("--ask needs a terminal to ask on; --set takes the value itself")
    return workflow


def _catalog(path: Path) -> NodeCatalog:
    """Read the classes of a file.

    Raises:
        WorkflowFormatError: They are none.
        OSError: It cannot be read.
    """
    from comfy_async import NodeCatalog

    return NodeCatalog.load(path)


def asked(workflow: Workflow, request: _Request, interrupts: Interrupts) -> _Request:
    """Ask for the values that are wanted, and return the request with them; nothing keeps a value.

    Raises:
        CancelledError: Ctrl-C was pressed.
        UnknownInputError: The workflow has no such node or input.
    """
    if not request.ask or workflow.format == "editor":
        return request
    answers = []
    for key in request.ask:
        answer = interrupts.ask(question(workflow, key))
        if answer:
            answers.append(f"{key}={answer}")
    return dataclasses.replace(request, settings=[*(request.settings or ()), *answers], ask=None)


async def prepared(
    comfy: ComfySession, workflow: Workflow, request: SubmitRequest, *, interrupts: Interrupts
) -> Workflow:
    """Return the workflow in API format with its new values.

    Raises:
        ComfyError: The request failed, or a name is unknown.
        UsageError: A value cannot be read.
    """
    if workflow.format == "editor":
        workflow = workflow.converted(await comfy.nodes.catalog())
    request = asked(workflow, request, interrupts)
    if not request.settings and request.seed is None and not request.randomize:
        return workflow
    return changed(workflow, request, await classes_of(comfy, workflow))


def changed(workflow: Workflow, request: SubmitRequest, catalog: NodeCatalog | None) -> Workflow:
    """Return a workflow in API format with its new values.

    Raises:
        UnknownInputError: A name is unknown, or an input does not take the value.
        UsageError: A value cannot be read.
    """
    workflow = apply_values(workflow, parse_settings(request.settings), catalog=catalog)
    return seeded(workflow, request.seed, randomize=request.randomize, catalog=catalog)


async def partner_options(comfy: ComfySession, *workflows: Workflow) -> dict[str, Any]:
    """Return the key for partner nodes, if there is one and any of the workflows has such nodes.

    A server sees every key that it is sent: none goes to one that does not need it.
    """
    key = os.environ.get("COMFY_API_KEY")
    if not key:
        return {}
    classes = sorted({info.class_type for workflow in workflows for info in workflow.nodes.values()})
    infos = await asyncio.gather(*map(comfy.nodes.info, classes), return_exceptions=True)
    wanted = any(getattr(info, "api_node", False) for info in infos)
    return {"partner_api_key": key} if wanted else {}


def keep(workflow: Workflow, request: SubmitRequest, connection: Connection, path: Path) -> str:
    """Write the prepared prompt to where it can be submitted from later; return the command for that.

    Raises:
        UnknownInputError: A name is unknown.
        UsageError: A value cannot be read.
        OSError: It cannot be written.
    """
    made = changed(workflow, request, None if request.catalog is None else _catalog(request.catalog))
    waiting = made.uploads()
    # Files go up when the job does: the kept prompt names them again.
    made = made.with_inputs({place: str(value) for place, value in waiting.items()})
    made.save(path)
    again = [f"{node}.{name}=@{value}" for (node, name), value in waiting.items()]
    return submit_command(path, request, connection, settings=again)


def place_to_keep(request: SubmitRequest) -> Path:
    """Return where a prepared prompt goes: `projects/<project>/workflows/<name>.json`, numbered."""
    from comfy_async._base.paths import fresh_path, safe_name

    if request.keep is not None:
        return request.keep
    stem = "workflow" if request.workflow == "-" else Path(request.workflow).stem
    folder = Path("projects", safe_name(request.project or "default"), "workflows")
    return fresh_path(folder, (f"{safe_name(stem)}.json",))
