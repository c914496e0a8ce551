"""A FakeComfy in this process: for `fake-server` until Ctrl-C, for `--fake` as long as the command lives."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._connection import MissingExtraError
from ._interrupt import Interrupts
from ._report import Report

if TYPE_CHECKING:
    from comfy_async.testing import FakeComfy

    from ._requests import AppRequest, BatchRequest, RunRequest

__all__ = ["embedded", "fake_server", "serve"]


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


async def serve(options: Mapping[str, Any], report: Report, interrupts: Interrupts) -> int:
    """Serve until the first signal, clean up, and return 0.

    Raises:
        MissingExtraError: The extra `testing` is not installed.
        OSError: The port is taken.
    """
    fake = fake_server(**options)
    interrupts.last_words.append(fake.folders.remove)
    async with fake:
        report.item({"event": "listening", "url": fake.url, "host": fake.host, "port": fake.port}, fake.url)
        report.say("FakeComfy listens there; Ctrl-C stops it")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not interrupts.asked:
                raise
    return 0
