"""A real Ray cluster on this machine, and two workers on it that most tests in tests/ray share.

A plugin of tests/conftest.py: type checkers take one module of a name, and so one conftest.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from comfy_async import Settings
from comfy_async.testing import FakeComfy, FastClock

# No reports, no token in the user's home, and actors without a GPU keep the environment as it is.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
# Ray's workers give way to everything else by default: on a busy machine they would hardly run.
os.environ["RAY_worker_niceness"] = "0"

# ray/data/context.py, DataContext: while it is made it sets settings of its own that it has deprecated.
RAY_WARNINGS = (
    "ignore:`use_push_based_shuffle` is deprecated:DeprecationWarning",
    "ignore:`use_polars` is deprecated:DeprecationWarning",
    "ignore:`use_arrow_tensor_v2` is deprecated:DeprecationWarning",
)

# The pauses of a worker's session, which looks twice for a lost job, cost a tenth.
QUICK = Settings(clock=FastClock(10))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Ray's own warnings pass where Ray Data runs, and nowhere else."""
    for item in items:
        if item.path.name in ("test_ray_data.py", "test_ray_guide.py", "test_ray_names.py"):
            for warning in RAY_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of its own, of a machine that says that it has two GPUs."""
    import ray

    # Where this file says who runs the cluster, Ray does not ask the clouds' metadata addresses.
    home = tmp_path_factory.mktemp("home")
    (home / "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        context: Any = ray.init(
            num_cpus=4,
            num_gpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=200 * 1024 * 1024,
        )
    yield context.address_info["address"]
    ray.shutdown()


@pytest.fixture
async def fakes() -> AsyncIterator[Callable[..., Any]]:
    """Start servers in the process of the test, which can read their books."""
    async with AsyncExitStack() as stack:

        async def start(count: int = 2, **options: Any) -> list[FakeComfy]:
            return [await stack.enter_async_context(FakeComfy(**options)) for _ in range(count)]

        yield start


@dataclasses.dataclass(frozen=True)
class Hand:
    """A worker that many tests use, one after the other, and where it looks for its server."""

    worker: Any
    port: int


@pytest.fixture(scope="session")
def crew(cluster: str) -> list[Hand]:
    """Two workers: a process that imports Ray takes a second to start."""
    import ray

    from comfy_async.ray import ComfyWorker

    actor = ray.remote(ComfyWorker).options(num_cpus=0, max_restarts=-1, max_concurrency=1000)
    return [
        Hand(actor.remote(f"http://127.0.0.1:{port}", session={"settings": QUICK}), port)
        for port in (_quiet_port(), _quiet_port())
    ]


@pytest.fixture
def team(crew: list[Hand]) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Open a fleet of the shared workers, and give them servers of the test's own."""

    @asynccontextmanager
    async def start(count: int = 1, *, server: dict[str, Any] | None = None, **options: Any) -> Any:
        from comfy_async.ray import ComfyFleet

        hands = crew[:count]
        async with AsyncExitStack() as stack:
            servers = [
                await stack.enter_async_context(FakeComfy(port=hand.port, **server or {})) for hand in hands
            ]
            fleet = ComfyFleet(workers=[hand.worker for hand in hands], **options)
            await stack.enter_async_context(fleet)
            yield (fleet, *servers)
            await fleet.aclose()
            await asyncio.gather(*(_let_go(hand.worker) for hand in hands))

    return start


async def _let_go(worker: Any) -> None:
    """Close the worker's session: the next test finds it as if it were new."""
    import ray

    while True:
        try:
            await worker.stop.remote()
            return
        except ray.exceptions.RayActorError:
            # It was killed, and is being started again.
            await asyncio.sleep(0.1)


def painted(checkpoint: str, seed: int) -> dict[str, Any]:
    """Return a small graph that needs a model."""
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": f"seed {seed}", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 16, "height": 16, "batch_size": 1}},
        "4": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["2", 0],
                "latent_image": ["3", 0],
                "seed": seed,
                "steps": 2,
                "cfg": 7.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
            },
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "painted"}},
    }


def _quiet_port() -> int:
    """Return a free port that no connection is given as its own end while nobody listens there."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
