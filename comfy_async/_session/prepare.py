"""From what callers pass to a workflow that can be sent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from .._base.places import StoredPlace, is_stored
from .._base.tasks import in_thread
from .._dialects.dialect import FilePlace as AtPlace
from ..errors import PromptRejectedError, WorkflowError
from ..workflow import NodeCatalog, ProblemList, Workflow
from .desk import Desk

if TYPE_CHECKING:
    from ..workflow.check import FilePlace, Loose

__all__ = ["WorkflowLike", "as_workflow", "check_with", "loaded", "prepare"]

WorkflowLike: TypeAlias = Workflow | Mapping[str, Any] | str | bytes | os.PathLike[str] | StoredPlace


def as_workflow(workflow: Any) -> Workflow:
    """Return a workflow, loaded if need be.

    Raises:
        WorkflowFormatError: It is no workflow, or damaged.
        OSError: The file cannot be read.
    """
    return workflow if isinstance(workflow, Workflow) else Workflow.load(workflow)


async def loaded(workflow: Any) -> Workflow:
    """Return a workflow, loaded if need be; what lies in a store blocks a thread, and not the loop.

    Raises:
        WorkflowFormatError: It is no workflow, or damaged.
        OSError: The file cannot be read.
    """
    return await in_thread(as_workflow, workflow) if is_stored(workflow) else as_workflow(workflow)


async def prepare(desk: Desk, workflow: WorkflowLike, *, check: bool, whole: bool = True) -> Workflow:
    """Return a workflow that can be sent: loaded, converted, its files uploaded, checked.

    With `whole`, for a server that accepts workflows in part and does not say so, what it would leave
    out is found here, all of it where its nodes are known.

    Raises:
        WorkflowError: It is no workflow, or cannot be converted; nothing was sent.
        PromptRejectedError: The check found what the server would refuse.
        ComfyError: A request failed, or the server refuses a file.
    """
    from ..workflow.check import loose_links

    made = await loaded(workflow)
    if made.format == "editor" or made.carries_both:
        made = made.converted(await desk.resources.nodes.catalog())
    if made.uploads():
        made = await desk.resources.files.upload_inputs(made)
    if check or (whole and desk.api.hides_partial and desk.resources.known_classes):
        await _demand_sound(desk, made)
    elif loose := loose_links(made.graph):
        if desk.api.has_routes or desk.resources.known_classes:
            await _demand_harmless(desk, made, loose)
        elif whole and desk.api.hides_partial:
            raise _loose(desk, made, loose)
    return made


async def check_with(desk: Desk, workflow: WorkflowLike) -> ProblemList:
    """Return what this server would find wrong with a workflow, before anything is queued.

    Raises:
        WorkflowError: It is no workflow, or cannot be converted.
        ComfyError: The request failed.
    """
    from ..workflow.check import settled, stale_classes, unseen_files

    nodes, flow = desk.resources.nodes, await loaded(workflow)
    catalog, replaced = await nodes.catalog(), await nodes.known_replacements()
    found = flow.check(catalog, replacements=replaced)
    if stale := stale_classes(found):
        # Uploads, models and packs that came after the catalog was read are in none of its lists.
        found = flow.check(await nodes.read_again(stale), replacements=replaced)
    if unseen := unseen_files(found):
        known = await asyncio.gather(*(_is_there(desk, place) for place in unseen.values()))
        there = dict(zip(unseen, known, strict=True))
        found = ProblemList(
            settled(
                found,
                absent={value for value, is_there in there.items() if is_there is False},
                present={value for value, is_there in there.items() if is_there},
            )
        )
    return found


async def _is_there(desk: Desk, place: FilePlace) -> bool | None:
    """Return whether the server has a file that is in no list; None when it does not say."""
    filename, subfolder, kind = place
    return await desk.api.has_file(AtPlace(filename=filename, subfolder=subfolder, type=kind))


async def _demand_harmless(desk: Desk, workflow: Workflow, loose: Loose) -> None:
    """Keep a link from the server that would end its worker thread, so that nobody's prompts run any more.

    Only by the classes such a link can be distinguished from one that the server refuses or ignores,
    and they are requested only now that there is a link that leads nowhere.
    """
    from ..workflow.check import deadly_links, undeclared_links

    nodes = workflow.nodes
    catalog = await _classes(desk, {nodes[key].class_type for key, _, _ in loose})
    if not undeclared_links(workflow.graph, loose, catalog):
        return
    found = deadly_links(workflow.graph, await _classes(desk, {info.class_type for info in nodes.values()}))
    if found:
        raise WorkflowError(
            "the server would accept this workflow and then run nothing any more; nothing was sent",
            problems=found,
            server=desk.base_url,
        )


def _loose(desk: Desk, workflow: Workflow, loose: Loose) -> PromptRejectedError:
    """Return the error for links to nowhere, where the server leaves out what depends on one."""
    from ..workflow.check import problems_of_loose

    return PromptRejectedError(
        "the server would leave out a part of the workflow without saying so; nothing was sent",
        problems=problems_of_loose(workflow.graph, loose),
        type="checked",
        hint='`on_partial="keep"` runs what can be run.',
        server=desk.base_url,
    )


async def _classes(desk: Desk, names: set[str]) -> NodeCatalog:
    """Return what the server says of some classes: for all of them it needs seconds, or many."""
    if not desk.api.tells_single_classes:
        return await desk.resources.nodes.catalog()
    known = await asyncio.gather(*map(desk.api.object_info, names))
    return NodeCatalog({name: info for name, info in zip(names, known, strict=True) if info})


async def _demand_sound(desk: Desk, workflow: Workflow) -> None:
    """Raise the errors that `check` finds, as the server would."""
    found = [problem for problem in await check_with(desk, workflow) if problem.severity == "error"]
    if found:
        raise PromptRejectedError(
            "the workflow would be refused; nothing was sent",
            problems=found,
            type="checked",
            server=desk.base_url,
        )
