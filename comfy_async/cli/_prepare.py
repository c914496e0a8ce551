"""What is sent: the workflow with its new values; and what becomes of it when nobody answers."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._connection import UsageError
from ._values import apply_values, question, seeded

if TYPE_CHECKING:
    from comfy_async import ComfySession, NodeCatalog, Workflow

    from ._interrupt import Interrupts

__all__ = ["RunRequest", "asked", "changed", "kept", "load", "partner_options", "prepared"]

_PREVIEWS = ("auto", "latent2rgb", "taesd", "none", "default")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What `run` and `submit` were asked for."""

    workflow: str
    settings: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    seed: int | None = None
    randomize: bool = False
    catalog: Path | None = None
    project: str = "default"
    keep: Path | None = None
    out: Path | None = None
    show: bool = False
    fake: bool = False
    step_seconds: float = 0.05
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def load(request: RunRequest) -> Workflow:
    """Read the workflow, from stdin when it is called `-`.

    Raises:
        WorkflowError: It is no workflow, or cannot be converted.
        UsageError: A value is asked for where nobody can answer.
        OSError: A file cannot be read.
    """
    from comfy_async import NodeCatalog, Workflow

    workflow = Workflow.load(sys.stdin.read() if request.workflow == "-" else Path(request.workflow))
    if request.catalog is not None:
        workflow = workflow.converted(NodeCatalog.load(request.catalog))
    if request.options.get("previews", "none") not in _PREVIEWS:
        raise UsageError(f"--previews takes {', '.join(_PREVIEWS)}")
    if request.ask and not (sys.stdin.isatty() and request.workflow != "-"):
        raise UsageError("--ask needs a terminal to ask on; --set takes the value itself")
    return workflow


def asked(workflow: Workflow, request: RunRequest, interrupts: Interrupts) -> RunRequest:
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
    return dataclasses.replace(request, settings=(*request.settings, *answers), ask=())


async def prepared(
    comfy: ComfySession, workflow: Workflow, request: RunRequest, *, interrupts: Interrupts
) -> Workflow:
    """Return the workflow in API format with its new values.

    Raises:
        ComfyError: The server cannot be asked, or a name is unknown.
        UsageError: A value cannot be read.
    """
    from comfy_async import UnknownInputError

    if workflow.format == "editor":
        workflow = workflow.converted(await comfy.nodes.catalog())
    request = asked(workflow, request, interrupts)
    try:
        return changed(workflow, request)
    except UnknownInputError as error:
        # An export leaves out optional inputs: only the class knows that it has them.
        try:
            catalog = await comfy.nodes.catalog()
        except Exception:
            raise error from None
        return changed(workflow, request, catalog=catalog)


def changed(workflow: Workflow, request: RunRequest, *, catalog: NodeCatalog | None = None) -> Workflow:
    """Return a workflow in API format with its new values.

    Raises:
        UnknownInputError: A name is unknown.
        UsageError: A value cannot be read.
    """
    workflow = apply_values(workflow, request.settings, catalog=catalog)
    return seeded(workflow, request.seed, randomize=request.randomize)


async def partner_options(comfy: ComfySession, workflow: Workflow) -> dict[str, Any]:
    """Return the key for partner nodes, if there is one and the workflow has such nodes.

    A server sees every key that it is sent: none goes to one that does not need it.
    """
    key = os.environ.get("COMFY_API_KEY")
    if not key:
        return {}
    classes = sorted({info.class_type for info in workflow.nodes.values()})
    infos = await asyncio.gather(*map(comfy.nodes.info, classes), return_exceptions=True)
    wanted = any(getattr(info, "api_node", False) for info in infos)
    return {"partner_api_key": key} if wanted else {}


def kept(workflow: Workflow, request: RunRequest) -> tuple[Path, str] | None:
    """Write the prepared prompt where it can be submitted from later; return path and command.

    None when it cannot be prepared without the server: its file is all there is to keep.

    Raises:
        UnknownInputError: A name is unknown.
        UsageError: A value cannot be read.
        OSError: It cannot be written.
    """
    if workflow.format == "editor":
        return None
    made = changed(workflow, request)
    waiting = made.uploads()
    # Files go up when the job does: the kept prompt names them again.
    made = made.with_inputs({place: str(value) for place, value in waiting.items()})
    path = made.save(request.keep or _place(request))
    again = [f"--set {shlex.quote(f'{node}.{name}=@{value}')}" for (node, name), value in waiting.items()]
    return path, " ".join(["comfy-async submit", shlex.quote(str(path)), *again])


def _place(request: RunRequest) -> Path:
    """Return `projects/<project>/workflows/<name>.json`, numbered when there is one already."""
    from comfy_async._paths import fresh_path, safe_name

    stem = "workflow" if request.workflow == "-" else Path(request.workflow).stem
    folder = Path("projects", safe_name(request.project), "workflows")
    return fresh_path(folder, (f"{safe_name(stem)}.json",))
