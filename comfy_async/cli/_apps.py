"""What `app` does: a workflow's inputs and outputs by name, and a run with values for them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from ._app_options import given_values, takes_text
from ._connection import Connection, UsageError, opened
from ._fake import embedded
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._out import demand_names
from ._prepare import partner_options
from ._run import brought_home, demand_output
from ._tables import prose, short_text
from ._values import read_workflow
from ._watch import tell
from ._workflows import catalog_of

if TYPE_CHECKING:
    from comfy_async import App, ComfySession, NodeCatalog

    from ._report import Report
    from ._requests import AppRequest

__all__ = ["run_app", "show_app"]


async def show_app(request: AppRequest, words: Sequence[str], connection: Connection, report: Report) -> int:
    """Print what an app takes and gives.

    Raises:
        ComfyError: It is no workflow, or the request failed.
        UsageError: There are unknown arguments.
        OSError: A file cannot be read.
    """

    if request.action is not None or words:
        told = " ".join(filter(None, [request.action, *words]))
        raise UsageError(f"after the workflow comes `run` or nothing, not {told!r}")
    catalog: NodeCatalog
    if request.fake and request.catalog is None:
        catalog = await _fake_catalog()
    else:
        catalog = await catalog_of(connection, request.catalog)
    _print(_loaded(request, catalog), report)
    return 0


async def _fake_catalog() -> NodeCatalog:
    """Return what an embedded server can run."""
    from ._fake import fake_server

    async with opened(Connection(), fake=fake_server()) as comfy:
        return await comfy.nodes.catalog()


def _loaded(request: AppRequest, catalog: NodeCatalog) -> App:
    """Read the app.

    Raises:
        ComfyError: It is no workflow, or a place of the mapping is not in it.
        UsageError: An option is invalid.
        OSError: The file cannot be read.
    """
    from comfy_async import App

    assert request.workflow is not None
    return App.load(
        read_workflow(request.workflow, prefer=request.prefer),
        catalog,
        inputs=_mapping("--name", request.names, "NAME=NODE.INPUT"),
        outputs=_mapping("--output", request.outputs, "NAME=NODE"),
        name=None if request.workflow == "-" else _stem(request.workflow),
    )


def _stem(path: str) -> str:
    """Return the name of a file as that of an app."""
    from ..workflow.apps import name_of

    return name_of(path)


def _mapping(option: str, texts: Iterable[str] | None, form: str) -> dict[str, Any] | None:
    """Return the `NAME=PLACE` options, None when there are none; a name that is given twice has both.

    Raises:
        UsageError: One has no `=`.
    """
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, place = text.partition("=")
        if not equals or not name.strip() or not place:
            raise UsageError(f"{option} takes {form}, not {text!r}")
        found.setdefault(name.strip(), []).append(place)
    if option == "--output":
        found = {name: places[-1] for name, places in found.items()}
    return found or None


def _print(app: App, report: Report) -> None:
    """Print an app: what it takes, what it gives, and what it names and does not have."""
    report.item(
        {"event": "app", "name": app.name, "description": app.description, "schema": app.json_schema()},
        prose(f"{app.name}: {app.description}"),
    )
    items = [
        {"event": "app_input", "key": f"{item.node}.{item.input}", **dataclasses.asdict(item)}
        for item in app.inputs.values()
    ]
    rows = [
        (
            item.name,
            item.upload or item.type.lower(),
            "required" if item.required else short_text("" if item.default is None else item.default),
            takes_text(item) if item.upload is None else "",
            f"{item.node}.{item.input}",
        )
        for item in app.inputs.values()
    ]
    report.say("inputs:")
    report.table(items, rows, empty="it takes nothing", whole=0)
    report.say("outputs:")
    outputs = app.outputs.values()
    report.table(
        [{"event": "app_output", **dataclasses.asdict(item)} for item in outputs],
        [(item.name, item.type, item.title or item.class_type, item.node) for item in outputs],
        empty="it gives nothing",
        whole=0,
    )
    for lost in app.unresolved:
        report.item({"event": "unresolved", **dataclasses.asdict(lost)}, f"unresolved: {lost}", bad=True)


async def run_app(
    request: AppRequest,
    words: Sequence[str],
    connection: Connection,
    *,
    report: Report,
    interrupts: Interrupts,
) -> int:
    """Run an app with the values on the command line, and return the exit code.

    Raises:
        ComfyError: A value is wrong, or it could not be brought to the server.
        UsageError: An option is invalid.
        OSError: A file cannot be read or written.
    """
    await demand_output(request)
    fake = embedded(request, report, interrupts)
    try:
        async with AsyncExitStack() as stack:
            comfy = await stack.enter_async_context(opened(connection, fake=fake))
            app = await _app_of(request, comfy)
            values = given_values(
                app, words, command=f"comfy-async app {request.workflow} run", taken=_taken()
            )
            if values is None:
                return 0
            return await _run(
                app.on(comfy), values, request, connection, report=report, interrupts=interrupts
            )
    except asyncio.CancelledError:
        if not interrupts.asked:
            raise
        report.interrupted()
        return EXIT_INTERRUPTED


async def _app_of(request: AppRequest, comfy: ComfySession) -> App:
    """Return the app as the server, or the file of its nodes, knows it."""
    from comfy_async import NodeCatalog

    known = request.catalog
    return _loaded(request, await comfy.nodes.catalog() if known is None else NodeCatalog.load(known))


async def _run(
    app: App,
    values: dict[str, Any],
    request: AppRequest,
    connection: Connection,
    *,
    report: Report,
    interrupts: Interrupts,
) -> int:
    """Run it and report how it ended."""
    comfy: Any = app.client
    made = app.workflow(**values)
    demand_names(request.out, made)
    options = await partner_options(comfy, made)
    job = await app.on(comfy, previews="none", **options).submit(**values)
    outcome = await brought_home(comfy, job, request, connection, report=report, interrupts=interrupts)
    return tell(outcome, report)


def _taken() -> frozenset[str]:
    """Return the options that every app has, which no input can have."""
    from typer.main import get_command

    from ._base import app

    # A group's command, whose options are what the shell's words meant before an app was read.
    commands: Any = getattr(get_command(app), "commands", {})
    known = {name for parameter in commands["app"].params for name in parameter.opts}
    return frozenset({*known, "--help"})
