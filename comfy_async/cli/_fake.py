"""A FakeComfy in this process: for `fake-server` until Ctrl-C, for `--fake` as long as the command lives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ._connection import MissingExtraError, UsageError
from ._interrupt import Interrupts
from ._report import Report

if TYPE_CHECKING:
    from comfy_async.testing import FakeComfy

    from ._requests import AppRequest, BatchRequest, RunRequest

__all__ = ["embedded", "fake_server", "let_fail", "serve"]


def fake_server(**options: Any) -> FakeComfy:
    """Return a FakeComfy, not yet started.

    Raises:
        MissingExtraError: The extra `testing` is not installed.
    """
    try:
        from comfy_async.testing import FakeComfy
    except ImportError as error:
        raise MissingExtraError(str(error)) from error
    return FakeComfy(**options)


def embedded(
    request: RunRequest | AppRequest | BatchRequest, report: Report, interrupts: Interrupts
) -> FakeComfy | None:
    """Return the server that --fake asks for, if any, and register its clean-up.

    Raises:
        MissingExtraError: The extra `testing` is not installed.
    """
    fake = fake_server(step_seconds=request.step_seconds) if request.fake else None
    if fake is not None:
        interrupts.last_words.append(fake.folders.remove)
    interrupts.last_words.append(report.restore)
    interrupts.on_ask = lambda: report.note("cancelling; Ctrl-C again leaves at once")
    return fake


def let_fail(fake: FakeComfy, failing: Iterable[str]) -> None:
    """Let classes fail as `--fail CLASS=HOW` says.

    Raises:
        ValueError: One says nothing, or there is no such class.
    """
    for text in failing:
        name, _, how = text.partition("=")
        if not name or not how:
            raise ValueError(f'--fail takes CLASS=oom, =blocked or ="a message", not {text!r}')
        error: Any = how if how in ("oom", "blocked") else ("RuntimeError", how)
        fake.fail_node(name, error)


async def serve(
    options: Mapping[str, Any], report: Report, interrupts: Interrupts, *, failing: Iterable[str] = ()
) -> int:
    """Serve until the first signal, clean up, and return 0.

    Raises:
        MissingExtraError: The extra `testing` is not installed.
        UsageError: There is no such dialect, or no such class to fail.
        OSError: The port is taken.
    """
    try:
        fake = fake_server(**options)
        let_fail(fake, failing)
    except ValueError as error:
        raise UsageError(str(error)) from error
    interrupts.last_words.append(fake.folders.remove)
    async with fake:
        fields = {"event": "listening", "url": fake.url, "host": fake.host, "port": fake.port}
        if fake.dialect != "comfyui":
            fields |= {"dialect": fake.dialect, "api_key": fake.api_key}
        report.item(fields, fake.url)
        if fake.dialect != "comfyui":
            report.say(f"clients take --dialect {fake.dialect} --api-key {fake.api_key}")
        report.say("FakeComfy listens there; Ctrl-C stops it")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not interrupts.asked:
                raise
    return 0
