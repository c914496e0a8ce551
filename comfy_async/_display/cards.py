"""The rich reprs: a session, a job, a result, a workflow, problems and node classes as HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from .._base.secrets import Veil, is_secret_name
from .._client.session import engine_of
from .._job.job import core_of, handle
from ..errors import ComfyError, JobCancelledError, JobFailedError
from ..types import counted, duration_text
from .html import (
    advice,
    bar,
    box,
    card,
    chip,
    headline,
    line,
    prose,
    table,
    text,
)
from .media import linked

if TYPE_CHECKING:
    from .._client.session import ComfySession
    from .._job.job import Job
    from .._job.result import JobResult
    from ..types import Problem
    from ..workflow import Workflow
    from ..workflow.catalog import NodeCatalog, NodeClass
    from ..workflow.check import Needs

__all__ = [
    "catalog_card",
    "classes_card",
    "error_box",
    "error_card",
    "job_card",
    "job_parts",
    "needs_card",
    "problem_card",
    "problems_card",
    "result_card",
    "result_parts",
    "session_card",
    "workflow_card",
]

_ROWS: Final = 200
_VALUE: Final = 160
_SHOWN: Final = 24


def job_parts(job: Job, *, veil: Veil) -> list[str]:
    """Return the state of a job: what it does, how far it is, which node runs."""
    progress = job.progress
    right = [f"{int(progress.fraction * 100)} %"] if job.status in ("running", "completed", "failed") else []
    if progress.eta is not None and job.status == "running":
        right.append(f"{duration_text(progress.eta)} to go")
    parts = [
        headline(
            chip(job.status),
            _waiting(job) if job.status == "pending" else "",
            detail=f"job {job.prompt_id[:8]}",
            right=", ".join(right),
        ),
        bar(progress.fraction, job.status),
    ]
    if progress.node is not None and not job.done:
        rest = [f"node {progress.node}"]
        if progress.steps > 1:
            rest.insert(0, f"step {progress.step:g} of {progress.steps:g}")
        if progress.total:
            rest.append(f"{progress.done} of {progress.total} nodes done")
        if progress.activity:
            rest.insert(0, f"{progress.activity}, {duration_text(progress.activity_seconds)}")
        parts.append(line(progress.title or progress.node, " · ".join(rest)))
    if job.error is not None:
        parts.append(error_box(job.error, veil=veil))
    parts += [box("", veil(problem), note=True) for problem in job.node_errors]
    return parts


def job_card(job: Job) -> str:
    """Return a job as it is at this moment, with what it made once `show()` has fetched that."""
    parts = job_parts(job, veil=core_of(job).owner.veil)
    result = core_of(job).made
    if result is not None and result.shown is not None:
        parts += [*result_parts(result), result.shown]
    elif job.status == "completed":
        parts.append(advice("`await job.show()` shows what it made."))
    return card(*parts)


def error_box(error: Exception, *, veil: Veil) -> str:
    """Return what went wrong: the node, the message, the advice, and the server's traceback folded."""
    message = veil(error.args[0] if error.args else type(error).__name__)
    hint = veil(getattr(error, "hint", ""))
    if isinstance(error, JobFailedError):
        place = error.title or error.class_type or "the run"
        if error.node is not None:
            place = f"{place} (node {error.node})"
        said = f"{error.exception_type}: {error.exception_message}" if error.exception_type else message
        # The traceback is right below, so there is no need to say where it is.
        hint = "" if "error.traceback" in hint else hint
        return box(place, veil(said), advice=hint, more=veil(error.traceback))
    problems = getattr(error, "problems", ())
    title = "" if isinstance(error, JobCancelledError) else type(error).__name__
    note = isinstance(error, JobCancelledError)
    return box(title, message, items=map(veil, problems), advice=hint, note=note)


def error_card(error: ComfyError) -> str:
    """Return the card of an error."""
    return card(error_box(error, veil=Veil([])))


def result_parts(result: JobResult) -> list[str]:
    """Return the facts of a result: what it is made of, and its texts."""
    # What only the socket carried has no address; all else stays on the server until it is saved.
    there = " on the server" if any(file.url for file in result.files) else ""
    made = [f"{counted(len(result.files), 'file')}{there}", f"{result.duration:.1f} s"]
    if result.cached_nodes:
        made.append(f"{counted(len(result.cached_nodes), 'node')} from the cache")
    parts = [line("", " · ".join(made))]
    parts += [f"<pre>{text(found)}</pre>" for found in result.texts[:_SHOWN]]
    if result.missing:
        nodes = ", ".join(result.missing)
        parts.append(box("", f"Images of {nodes} may be lost: only the socket carries them.", note=True))
    return parts


def result_card(result: JobResult) -> str:
    """Return a gallery: the pictures themselves once `show()` has fetched them, their addresses before."""
    known = result.shown
    shelf = known if known is not None else f'<div class="ca-shelf">{_addresses(result)}</div>'
    return card(
        headline(chip("completed"), "", detail=f"job {result.prompt_id[:8]}"), *result_parts(result), shelf
    )


def session_card(session: ComfySession) -> str:
    """Return the address of a session, and the state of its connection."""
    connection, server = session.connection, session.server
    state = "closed" if engine_of(session).closed else connection.state
    # The socket is dialled for the first job; until then "idle" would sound as if something were missing.
    known = "ready" if state == "idle" and server.version else state
    rows = [["Server", text(server.version and f"ComfyUI {server.version}")]] if server.version else []
    rows += [["Device", text(device.get("name", "?"))] for device in server.devices]
    jobs = [handle(core) for core in engine_of(session).jobs]
    rows.append(["Jobs", text(f"{len(jobs)} open") if jobs else "none open"])
    rows += [["", f"{chip(job.status)} {text(job.progress)}"] for job in jobs[:_SHOWN]]
    if connection.polling:
        rows.append(["News", text(f"by polling: {connection.reason or 'no socket'}")])
    if connection.reconnects:
        rows.append(["Reconnects", text(connection.reconnects)])
    return card(headline(chip(known), session.base_url), table(("", ""), rows))


def workflow_card(workflow: Workflow) -> str:
    """Return the nodes of a workflow with their values; keys among these are hidden."""
    if workflow.format == "editor":
        detail = f"{counted(len(workflow), 'node')} in the editor's format; submit() converts it"
        return card(headline(chip("editor"), "Workflow", detail=detail))
    rows = []
    for key, info in list(workflow.nodes.items())[:_ROWS]:
        named = text(info.title or info.class_type)
        small = (
            f'<br><span class="ca-dim">{text(info.class_type)}</span>'
            if info.title != info.class_type
            else ""
        )
        rows.append([text(key), f"{named}{small}", _values(workflow, key)])
    rest = (
        f"the first {_ROWS} of {len(workflow)} nodes" if len(workflow) > _ROWS else f"{len(workflow)} nodes"
    )
    return card(headline(chip("api"), "Workflow", detail=rest), table(("Node", "Title", "Inputs"), rows))


def problem_card(problem: Problem) -> str:
    """Return one problem as a table of one row."""
    return problems_card([problem])


def problems_card(problems: Sequence[Problem]) -> str:
    """Return a list of problems as a table."""
    if not problems:
        return card(headline(chip("sound", "completed"), "Nothing is wrong with it."))
    rows = []
    for problem in problems[:_ROWS]:
        where = f"{problem.title or problem.class_type or 'the workflow'}"
        place = f" · node {problem.node}" if problem.node is not None else ""
        name = f"<br>{text(problem.input)}" if problem.input else ""
        nearest = f"<br>nearest: {text(', '.join(problem.nearest))}" if problem.nearest else ""
        todo = f'<br><span class="ca-dim">{prose(problem.advice)}</span>' if problem.advice else ""
        rows.append(
            [
                chip(problem.severity),
                f'<b>{text(where)}</b><span class="ca-dim">{text(place)}</span>{name}',
                f"{text(problem.message)}{nearest}{todo}",
            ]
        )
    return card(table(("", "Where", "What, and what to do"), rows))


def needs_card(needs: Needs) -> str:
    """Return what a server lacks as a table, and the commands that install it."""
    if not needs:
        return card(headline(chip("complete", "completed"), "The server has all that it needs."))
    rows = [
        [
            f"<b>{text(missing.class_type)}</b>",
            text(f"nodes {', '.join(missing.nodes)}"),
            text(" ".join([missing.pack or "an unknown pack", missing.version])),
            _command(missing.command),
        ]
        for missing in needs.classes
    ]
    rows += [
        [
            f"<b>{text(model.name)}</b>",
            text(", ".join(f"{node}.{name}" for node, name in model.places)),
            text(f"models/{model.folder}" if model.folder else "an unknown folder"),
            _command(model.command),
        ]
        for model in needs.models
    ]
    return card(table(("Missing", "Wanted by", "From", "What installs it"), rows))


def _command(command: str) -> str:
    """Return a command to copy, or that there is none."""
    return f"<code>{text(command)}</code>" if command else '<span class="ca-dim">not known</span>'


def classes_card(classes: Sequence[NodeClass]) -> str:
    """Return node classes as a table: what a catalog search found."""
    rows = [
        [
            f'<b>{text(node.display_name)}</b><br><span class="ca-dim">{text(node.name)}</span>',
            text(", ".join(spec.name for spec in node.inputs)),
            text(", ".join(spec.type for spec in node.outputs)),
            text(node.category),
        ]
        for node in classes[:_ROWS]
    ]
    return card(
        line(counted(len(classes), "class", "classes")),
        table(("Class", "Inputs", "Outputs", "Category"), rows) if rows else "",
    )


def catalog_card(catalog: NodeCatalog) -> str:
    """Return how much a server can run, and how to look for it."""
    modules: dict[str, int] = {}
    for name in catalog:
        module = catalog.node(name).python_module.partition(".")
        pack = module[2] if module[0] == "custom_nodes" else module[0]
        modules[pack or "other"] = modules.get(pack or "other", 0) + 1
    rows = [[text(pack), text(count)] for pack, count in sorted(modules.items(), key=lambda row: -row[1])]
    return card(
        line(counted(len(catalog), "class", "classes"), "catalog.search('words') finds some"),
        table(("", ""), rows[:12]),
    )


def _waiting(job: Job) -> str:
    """Return where in the queue a pending job is."""
    before = job.queue_position
    if before is None:
        return "in the queue"
    return "next in the queue" if before == 0 else f"{before} before it in the queue"


def _addresses(result: JobResult) -> str:
    """Return the first files by their addresses."""
    more = f'<div class="ca-line ca-dim">and {len(result.files) - _SHOWN} more</div>'
    return "".join(map(linked, result.files[:_SHOWN])) + (more if len(result.files) > _SHOWN else "")


def _values(workflow: Workflow, node: str) -> str:
    """Return the inputs of a node as text, links by the title of where they come from."""
    parts = []
    for name in _input_names(workflow, node):
        value = workflow.get(node, name)
        if is_secret_name(name) and isinstance(value, str) and value:
            shown = "•••"
        elif isinstance(value, list) and len(value) == 2 and str(value[0]) in workflow.nodes:
            source = workflow.nodes[str(value[0])]
            shown = f"← {source.title or source.class_type}"
        else:
            shown = _plain(value)
        parts.append(f'<span class="ca-dim">{text(name)}</span> {text(shown, limit=_VALUE)}')
    return "<br>".join(parts)


def _input_names(workflow: Workflow, node: str) -> Iterable[str]:
    """Return the names of a node's inputs in order."""
    return workflow.graph[node].inputs


def _plain(value: Any) -> str:
    """Return a value as people write it."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)
