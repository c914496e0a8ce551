"""What the tests of pools share: several servers, a fast clock, graphs, and the servers' books."""

from __future__ import annotations

import collections
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import session_tools
from session_tools import graph

from comfy_async import ComfyPool, PoolServer, Settings
from comfy_async.testing import FakeComfy, FastClock

FACTOR = 20


def teach(fake: FakeComfy, *, steps: int = 2) -> FakeComfy:
    """Teach a server steps, a text that it shows, and two ways to fail."""
    fake.script("Hungry", inputs={"value": "VALUE"}, is_output=True, output={"text": ["fed"]})
    return session_tools.teach(fake, steps=steps)


def model_graph(model: str, seed: int = 1) -> dict[str, Any]:
    """Return a graph that loads a model."""
    made = graph(seed)
    made["3"] = {"class_type": "Loader", "inputs": {"ckpt_name": model, "seed": seed}}
    return made


def teach_models(fake: FakeComfy, *names: str) -> None:
    """Let a server have these models and no others."""
    fake.script(
        "Loader", inputs={"ckpt_name": list(names), "seed": "INT"}, is_output=True, output={"text": names[:1]}
    )


def fast(**options: Any) -> Settings:
    """Return settings whose pauses last a twentieth."""
    return Settings(clock=FastClock(FACTOR), **options)


@asynccontextmanager
async def fakes(count: int = 2, **options: Any) -> AsyncIterator[list[FakeComfy]]:
    """Run several servers; at the end nobody is connected any more."""
    async with AsyncExitStack() as stack:
        made = [teach(await stack.enter_async_context(FakeComfy(**options))) for _ in range(count)]
        yield made


def pool_of(servers: Iterable[FakeComfy], **options: Any) -> ComfyPool:
    """Return a pool in a hurry."""
    options.setdefault("settings", fast())
    options.setdefault("away_seconds", 4.0)
    return ComfyPool([fake.url for fake in servers], **options)


def state(pool: ComfyPool, fake: FakeComfy) -> PoolServer:
    """Return what the pool says about a server."""
    return next(server for server in pool.servers if server.url == fake.url)


def runs(*servers: FakeComfy) -> collections.Counter[str]:
    """Return how many prompts ended how."""
    return collections.Counter(
        str(record.end) for fake in servers for record in fake.books.accepted if record.started
    )


def successes(*servers: FakeComfy) -> int:
    """Return how many runs came to a good end, on all servers."""
    return runs(*servers)["success"]
