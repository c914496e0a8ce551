"""A FakeComfy that speaks API v2, and a client for it that knows nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import httpx
from v2_scenarios import Tape

from comfy_async.testing import FakeComfy, Gate


def bearer(fake: FakeComfy) -> dict[str, str]:
    """Return the header with the key."""
    return {"Authorization": f"Bearer {fake.api_key}"}


@asynccontextmanager
async def client(fake: FakeComfy) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key."""
    async with httpx.AsyncClient(base_url=fake.url, headers=bearer(fake), trust_env=False) as http:
        yield http


class FakeStage:
    """Holds slow jobs at their first resizing."""

    big = 16

    def __init__(self, fake: FakeComfy) -> None:
        """Close the way."""
        self._fake = fake
        self._gate: Gate | None = None

    async def __aenter__(self) -> FakeStage:
        """Hold."""
        self._gate = self._fake.gate("ImageScale")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let all run."""
        await self.go()

    async def busy(self, tape: Tape, job: dict[str, Any]) -> None:
        """Wait until a slow job stands there."""
        assert self._gate is not None
        assert await self._gate.reached() == job["id"]

    async def go(self) -> None:
        """Let it run."""
        assert self._gate is not None
        self._gate.open()
        await asyncio.sleep(0)
