"""What `inputs`, `check` and `convert` do."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..types import counted
from ._connection import Connection, opened
from ._failure import EXIT_FAILED, problem_fields
from ._tables import choices_text, json_text, prose, range_text, short_text
from ._values import apply_values, demand_seeds, parse_settings, read_workflow
from ._words import in_a_terminal

if TYPE_CHECKING:
    from comfy_async import ComfySession, NodeCatalog, Workflow

    from ..workflow.check import Needs
    from ._report import Report

__all__ = ["Changed", "catalog_of", "check_workflow", "convert_workflow", "list_inputs"]

_WITHOUT_SERVER = (
    "Or work without a server, with its nodes in a file: --catalog object_info.json "
    "(`comfy-async nodes --save object_info.json` writes it while one runs)."
)


async def catalog_of(connection: Connection, path: Path | None) -> NodeCatalog:
    """Return the catalog of a file, else the server's.

    Raises:
        ComfyError: The file is no catalog, or the request failed.
        OSError: The file cannot be read.
    """
    from comfy_async import NodeCatalog

    if path is not None:
        return NodeCatalog.load(path)
    async with _asked(connection) as comfy:
        return await comfy.nodes.catalog()


@asynccontextmanager
async def _asked(connection: Connection) -> AsyncIterator[ComfySession]:
    """Connect, and say what works without a server when none answers.

    Raises:
        ComfyError: The request failed.
    """
    from comfy_async import ConnectError

    try:
        async with opened(connection) as comfy:
            yield comfy
    except ConnectError as error:
        error.hint = f"{error.hint} {_WITHOUT_SERVER}".lstrip()
        raise


async def list_inputs(
    workflow: Workflow, connection: Connection, report: Report, *, every: bool, catalog: Path | None
) -> int:
    """Print what can be set.

    Raises:
        ComfyError: It is no workflow, or the request failed.
        OSError: A file cannot be read.
    """
    known: NodeCatalog | None = None
    asked = catalog is not None or connection.server is not None or connection.cloud
    if asked or workflow.format == "editor":
        known = await catalog_of(connection, catalog)
        workflow = workflow.converted(known)
    found = workflow.inputs(known, every=every)
    items = [{"event": "input", "key": item.key, **dataclasses.asdict(item)} for item in found]
    rows = [
        (item.key, item.kind, item.title or item.class_type, short_text(item.value), _range(item))
        for item in found
    ]
    empty = "nothing that people usually change; --all lists every value"
    report.table(items, rows, empty=empty, whole=0)
    return 0


@dataclasses.dataclass(frozen=True, slots=True)
class Changed:
    """A workflow's place, and what is to be changed in it as `run` would.

    Attributes:
        source: A path, or `-` for stdin.
        settings: Each `KEY=VALUE`.
        seed: For every seed, None to leave them.
        prefer: Which is meant where a file carries both, "workflow" or "prompt".
    """

    source: str
    settings: Sequence[str] = ()
    seed: int | None = None
    prefer: str = "workflow"

    def load(self) -> Workflow:
        """Read it as it is."""
        return read_workflow(self.source, prefer=self.prefer)

    def made(self, workflow: Workflow, known: NodeCatalog) -> Workflow:
        """Return it with its changes.

        Raises:
            WorkflowError: It cannot be converted, or a name is unknown.
            UsageError: A value cannot be read.
        """
        if not self.settings and self.seed is None:
            return workflow
        workflow = apply_values(workflow.converted(known), parse_settings(self.settings), catalog=known)
        if self.seed is None:
            return workflow
        # A number that a class does not take is a finding like any other.
        return workflow.with_inputs(dict.fromkeys(demand_seeds(workflow, known), self.seed))


async def check_workflow(
    changed: Changed, connection: Connection, report: Report, *, catalog: Path | None, strict: bool
) -> int:
    """Print what is wrong, and return 1 when the server would refuse it.

    Raises:
        ComfyError: It is no workflow, a name is unknown, or the request failed.
        UsageError: A value cannot be read.
        OSError: A file cannot be read.
    """
    workflow = changed.load()
    if catalog is not None:
        known = await catalog_of(connection, catalog)
        workflow = changed.made(workflow, known)
        found, needs = workflow.check(known), workflow.needs(known)
    else:
        async with _asked(connection) as comfy:
            known = await comfy.nodes.catalog()
            workflow = changed.made(workflow, known)
            found = await comfy.check(workflow)
            needs = workflow.needs(known, replacements=await comfy.nodes.known_replacements())
    errors = sum(problem.severity == "error" for problem in found)
    warnings = len(found) - errors
    bad = errors or (strict and warnings)
    for problem in found:
        fields = {"event": "problem", **problem_fields(problem)}
        text = prose(f"{problem.severity}: {in_a_terminal(str(problem))}")
        report.item(fields, text, bad=problem.severity == "error")
    _report_needs(needs, report)
    told = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
    report.item(
        {"event": "checked", "ok": not bad, "errors": errors, "warnings": warnings},
        told if found else "nothing is wrong with it",
    )
    return EXIT_FAILED if bad else 0


def _report_needs(needs: Needs, report: Report) -> None:
    """Print what the server lacks, and the commands that would install it."""
    for missing in needs.classes:
        fields = {"event": "missing_class", **dataclasses.asdict(missing), "command": missing.command}
        report.item(fields, f"missing: {missing}")
    for model in needs.models:
        fields = {"event": "missing_model", **dataclasses.asdict(model), "command": model.command}
        report.item(fields, f"missing: {model}")
    if needs.commands:
        report.say("these install what is missing, where the server runs:")
        for command in needs.commands:
            report.item({"event": "install", "command": command}, f"  {command}")


async def convert_workflow(
    workflow: Workflow, connection: Connection, report: Report, *, catalog: Path | None, output: Path | None
) -> int:
    """Write the API format.

    Raises:
        ComfyError: It is no workflow, cannot be converted, or the request failed.
        OSError: A file cannot be read or written.
    """
    if workflow.format == "editor":
        workflow = workflow.converted(await catalog_of(connection, catalog))
    if output is not None:
        workflow.save(output)
    api = workflow.to_api()
    text = json_text(api, indent=2) if output is None else str(output)
    path = None if output is None else str(output)
    report.item({"event": "converted", "path": path, "nodes": len(api), "workflow": api}, text)
    return 0


def _range(item: Any) -> str:
    """Return type and limits as the catalog has them."""
    if item.choices:
        return f"one of {choices_text(item.choices)}"
    return " ".join(filter(None, [str(item.type), range_text(item.min, item.max)]))
