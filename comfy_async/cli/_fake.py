"""`comfy-async fake-server`: a FakeComfy until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ._connection import fake_server
from ._interrupt import Interrupts
from ._report import Report

__all__ = ["serve"]


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
