"""Node classes that a test defines, and those that it makes fail."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

from ._context import Blocked, NodeContext, NodeError, NodeFunction, Outcome, Reporter
from ._specs import InputSpec, NodeSpec

__all__ = ["ScriptError", "checked_error", "failing", "scripted"]

ScriptError: TypeAlias = BaseException | tuple[str, str] | Literal["oom", "blocked"] | None

_OUT_OF_MEMORY = NodeError("torch.OutOfMemoryError", "Allocation on device")


def scripted(
    class_type: str,
    *,
    inputs: Mapping[str, Any],
    optional: Mapping[str, Any],
    outputs: tuple[str, ...],
    is_output: bool | None,
    steps: int,
    delay: float,
    text: list[str],
    messages: list[tuple[str, Any]],
    output: Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]] | None,
    returns: Callable[[dict[str, Any]], Iterable[Any]] | None,
    expands: Callable[[dict[str, Any]], dict[str, Any]] | None,
    error: ScriptError,
    error_at: int | None,
) -> tuple[NodeSpec, NodeFunction]:
    """Return the declaration and the code of a class; the arguments are `FakeComfy.script`'s."""
    spec = NodeSpec(
        class_type,
        class_type,
        "scripted",
        {name: _input(declared) for name, declared in inputs.items()},
        outputs,
        optional={name: _input(declared) for name, declared in optional.items()},
        module="custom_nodes.scripted",
        is_output=not outputs if is_output is None else is_output,
    )

    async def run(context: NodeContext, values: dict[str, Any]) -> Outcome:
        if delay > 0:
            await asyncio.sleep(delay)
        for event, data in messages:
            context.report.send(event, data)
        for line in text:
            context.report.text(line)
        for number in range(1, steps + 1):
            await context.report.step(number)
            await context.report.progress(number, steps)
            if number == error_at:
                _fail(error)
        if error == "blocked":
            return Outcome((Blocked(f"{class_type} blocks what follows"),) * len(outputs))
        _fail(error)
        shown = output(values) if callable(output) else output
        results = (None,) * len(outputs) if returns is None else tuple(returns(values))
        expansion = None if expands is None else expands(values)
        return Outcome(results, None if shown is None else dict(shown), expansion)

    return spec, run


def failing(
    spec: NodeSpec, function: NodeFunction, *, error: ScriptError, error_at: int | None, count: int | None
) -> NodeFunction:
    """Return the code of a class that does its work and fails, so many times; the rest as before."""
    failed = 0

    async def run(context: NodeContext, values: dict[str, Any]) -> Outcome:
        nonlocal failed
        if count is not None and failed >= count:
            return await function(context, values)
        failed += 1
        if error == "blocked":
            return Outcome((Blocked(f"{spec.name} blocks what follows"),) * len(spec.outputs))
        if error_at is not None:
            report = _FailingReport(context.report, error, error_at)
            await function(dataclasses.replace(context, report=report), values)
        _fail(error)
        return Outcome()

    return run


class _FailingReport:
    """A node's way to report that fails after a step; the rest goes where it went before."""

    def __init__(self, inner: Reporter, error: ScriptError, error_at: int) -> None:
        self._inner = inner
        self._error: ScriptError = error
        self._error_at = error_at
        self.checkpoint = inner.checkpoint
        self.step = inner.step
        self.text = inner.text
        self.send = inner.send

    async def progress(self, value: float, maximum: float, image: tuple[str, bytes] | None = None) -> None:
        """Report a step, and fail after the one that was named."""
        await self._inner.progress(value, maximum, image)
        if value >= self._error_at:
            _fail(self._error)


def _input(declared: Any) -> InputSpec:
    """Return an input that was given as a type, a list of choices, or a type with options."""
    return declared if isinstance(declared, tuple) else (declared,)


def checked_error(error: ScriptError | str) -> ScriptError:
    """Return how a node fails; a text is the message of a RuntimeError, as `fake-server --fail` has it.

    Raises:
        ValueError: It is none of what `ScriptError` names.
    """
    if error is None or isinstance(error, BaseException):
        return error
    if isinstance(error, str):
        named: dict[str, ScriptError] = {"oom": "oom", "blocked": "blocked"}
        return named.get(error, ("RuntimeError", error))
    if isinstance(error, tuple) and len(error) == 2 and all(isinstance(part, str) for part in error):
        return error
    raise ValueError(
        f"a node fails with an exception, (kind, message), a message, 'oom' or 'blocked', not with {error!r}"
    )


def _fail(error: ScriptError) -> None:
    """Raise what a script fails with, if it does.

    Raises:
        BaseException: What was asked for.
    """
    if error is None or error == "blocked":
        return
    if error == "oom":
        raise _OUT_OF_MEMORY
    if isinstance(error, BaseException):
        raise error
    kind, message = error
    raise NodeError(kind, message)
