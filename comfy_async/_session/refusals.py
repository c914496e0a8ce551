"""A server's refusal of a prompt, made readable: node, input, value, the nearest that it has."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from .._job.core import JobCore
from .._protocol.rejection import choices, nearest, problems
from ..errors import ComfyError, PromptRejectedError
from ..types import Problem, clipped
from ..workflow import NodeCatalog, Workflow
from ..workflow._keys import nearest as near_names
from .desk import Desk

__all__ = ["Refusals"]

_SHOWN = 5
_CHECK = "`await comfy.check(flow)` finds such things before anything is sent."
_CATALOG = (
    "This server lists no nodes: `comfy.nodes.use(NodeCatalog.load(path))`, saved from a ComfyUI with "
    "the same packs, lets `await comfy.check(flow)` find such things before anything is sent."
)

# Options of ComfyUI's command line that keep classes out of its lists (comfy/cli_args.py; PROTOCOL 7.6).
_SWITCHES = frozenset(
    {
        "--disable-all-custom-nodes",
        "--disable-api-nodes",
        "--disable-partner-nodes",
        "--disabled-nodes-config",
        "--offline",
    }
)


class Refusals:
    """Reads what a server refuses of one workflow; what its answer leaves out is requested."""

    def __init__(self, desk: Desk, workflow: Workflow) -> None:
        """Belong to a workflow that was sent."""
        self._desk = desk
        self._workflow = workflow

    async def rejection(self, body: Mapping[str, Any], job: JobCore) -> PromptRejectedError:
        """Return the error for a refused prompt."""
        error = body.get("error")
        if error is None and "message" in body:
            # Comfy Cloud's other error shape: {code, message} (PROTOCOL 1.6).
            error = {"type": body.get("code"), "message": body["message"]}
        node_errors = body.get("node_errors")
        found = await self._named_classes(self.complaints(error, node_errors, job))
        found = await self.with_nearest(found)
        return PromptRejectedError(
            f"{self._desk.base_url} refused the workflow",
            problems=found,
            hint=_way_out(found, _CHECK if self._knows_classes else _CATALOG),
            type=str(error.get("type") or "") if isinstance(error, Mapping) else "",
            node_errors=node_errors if isinstance(node_errors, Mapping) else {},
            prompt_id=job.prompt_id,
            server=self._desk.base_url,
        )

    def complaints(self, error: Any, node_errors: Any, job: JobCore) -> list[Problem]:
        """Read the server's answer, and name the links that it leaves out."""
        from ..workflow.check import loose_links, named

        return named(problems(error, node_errors, job.state.nodes), loose_links(self._workflow.graph))

    async def with_nearest(self, found: Iterable[Problem]) -> list[Problem]:
        """Add the nearest valid values where the answer left out a long list of them."""
        from ..workflow.check import file_advice, model_advice, muted_source

        done = []
        found = list(found)
        if any(map(_is_missing_class, found)):
            found = _perhaps_off(found, await self._switches())
        for problem in found:
            if problem.type == "value_not_in_list" and not problem.nearest and problem.input:
                problem = await self._with_choices(problem)
            elif _is_missing_class(problem) and not problem.nearest:
                problem = dataclasses.replace(problem, nearest=await self._near_classes(problem.class_type))
            if problem.type == "value_not_in_list" and problem.input and not problem.advice:
                folder = model_advice(self._workflow.drawn, problem.input, problem.received)
                problem = dataclasses.replace(problem, advice=folder)
            if problem.type == "required_input_missing" and problem.node and problem.input:
                muted = muted_source(self._workflow.drawn, problem.node, problem.input)
                problem = dataclasses.replace(problem, advice=problem.advice or muted)
            elif problem.type == "prompt_no_outputs":
                problem = dataclasses.replace(problem, advice=await self._off() or problem.advice)
            node = self._workflow.graph.get(problem.node or "")
            if problem.type in _OF_FILES and problem.input and node is not None and not problem.advice:
                info = await self._info(node.class_type) or {}
                problem = dataclasses.replace(problem, advice=file_advice(node, problem.input, info))
            done.append(problem)
        return done

    async def _named_classes(self, found: list[Problem]) -> list[Problem]:
        """Name the nodes whose class the server lacks; before 0.11.1 it says only that one is invalid."""
        vague = [problem for problem in found if problem.type == "invalid_prompt" and not problem.class_type]
        if not vague:
            return found
        nodes = self._workflow.nodes
        names = sorted({info.class_type for info in nodes.values()})
        known = await asyncio.gather(*map(self._info, names))
        lacking = {name for name, info in zip(names, known, strict=True) if info is not None and not info}
        missing = [
            dataclasses.replace(vague[0], node=key, title=info.title, class_type=info.class_type)
            for key, info in nodes.items()
            if info.class_type in lacking
        ]
        return [problem for problem in found if problem not in vague] + missing if missing else found

    async def _off(self) -> str:
        """Return which nodes of the editor file would make outputs if they were not muted or bypassed."""
        from ..workflow.check import muted_outputs

        drawn = self._workflow.drawn
        if drawn is None:
            return ""
        try:
            return muted_outputs(drawn, await self._desk.resources.nodes.catalog())
        except ComfyError:
            return ""

    async def _switches(self) -> list[str]:
        """Return the options by which the server leaves nodes out, none when it does not say."""
        try:
            options = (await self._desk.resources.system.stats()).system.argv
        except ComfyError:
            return []
        return sorted({option.partition("=")[0] for option in options} & _SWITCHES)

    async def _near_classes(self, class_type: str) -> tuple[str, ...]:
        """Return the classes that resemble one that the server lacks; advice is not worth an error."""
        try:
            return near_names(class_type, await self._desk.resources.nodes.catalog())
        except ComfyError:
            return ()

    async def _with_choices(self, problem: Problem) -> Problem:
        """Add the nearest values that there are, and what there is when none is near."""
        from ..workflow.check import model_advice

        info = await self._info(problem.class_type) or {}
        valid = [str(value) for value in _choices(info, problem.input or "")]
        close = nearest(problem.received, valid)
        if close or not valid:
            return dataclasses.replace(problem, nearest=close)
        more = f" and {len(valid) - _SHOWN} more" if len(valid) > _SHOWN else ""
        there = f"There are: {', '.join(valid[:_SHOWN])}{more}."
        folder = model_advice(self._workflow.drawn, problem.input or "", problem.received)
        return dataclasses.replace(problem, advice=f"{there} {folder}".strip())

    @property
    def _knows_classes(self) -> bool:
        """True unless the server lists no classes, and the session was given no catalog."""
        return self._desk.api.has_routes or bool(self._desk.resources.known_classes)

    async def _info(self, class_type: str) -> Mapping[str, Any] | None:
        """Ask for one class's spec, None when it cannot be asked for: advice is not worth an error."""
        if not self._desk.api.has_routes:
            # The catalog that the session was given, if any.
            known = await self._desk.resources.nodes.catalog() if self._knows_classes else NodeCatalog({})
            return known.get(class_type)
        try:
            return await self._desk.api.object_info(class_type)
        except ComfyError:
            return None


_OF_FILES = frozenset({"custom_validation_failed", "value_not_in_list"})

_WAYS_OUT = {
    "required_input_missing": "Give {} a value, or link it to a node that gives what it takes.",
    "return_type_mismatch": "Link {} to an output of the type that it takes.",
    "exception_during_inner_validation": "Link {} to a node that is there, or take the input away.",
    "exception_during_validation": "Link {} to a node that is there, or take the input away.",
    "value_smaller_than_min": "Set {} to a value within its range.",
    "value_bigger_than_max": "Set {} to a value within its range.",
    "invalid_input_type": "Set {} to a value of the type that it takes.",
    "value_not_in_list": "Set {} to a value that the server has, or put there what it lacks.",
}


def _way_out(found: Iterable[Problem], otherwise: str) -> str:
    """Return how to mend the first problem; otherwise what finds such things, and where that is unknown."""
    first = next(iter(found), Problem())
    if first.advice and not first.advice.startswith(_CHOICES):
        return first.advice
    if first.node is not None and first.input is not None:
        place = f"{first.node}.{first.input}"
        if first.nearest:
            return f"Set {place} to {clipped(first.nearest[0])}, for example."
        is_link = first.type not in _OF_EXCEPTIONS or first.message.startswith(_LINKS)
        if first.type in _WAYS_OUT and is_link and otherwise is not _CATALOG:
            return _WAYS_OUT[first.type].format(place)
    return otherwise


_OF_EXCEPTIONS = frozenset({"exception_during_inner_validation", "exception_during_validation"})
# What an input takes is no way out by itself.
_CHOICES = ("It takes ", "There are: ")
_LINKS = ("it is linked to node", "a link leads to a node")


def _choices(info: Mapping[str, Any], name: str) -> Iterable[object]:
    """Return what an input of a class may be."""
    inputs = info.get("input")
    for group in inputs.values() if isinstance(inputs, Mapping) else ():
        if isinstance(group, Mapping) and name in group:
            return choices(group[name])
    return ()


def _perhaps_off(found: Iterable[Problem], switches: list[str]) -> list[Problem]:
    """Add to missing classes that they may be installed and switched off."""
    told = f" Or it is switched off: this server was started with {', '.join(switches)}." if switches else ""
    return [
        dataclasses.replace(problem, advice=f"{problem.advice}{told}".strip())
        if _is_missing_class(problem)
        else problem
        for problem in found
    ]


def _is_missing_class(problem: Problem) -> bool:
    """Say whether the server lacks the node's class; before 0.11.1 it said so as of any invalid prompt."""
    return problem.type in {"missing_node_type", "invalid_prompt"} and bool(problem.class_type)
