"""A real Ray cluster on this machine, for all tests in tests/ray: started once, ended with them.

A plugin of tests/conftest.py: type checkers take one module of a name, and so one conftest.py.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from comfy_async.testing import FakeComfy

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"

# Ray's own modules: what they warn of is not ours.
RAY_WARNINGS = (
    "ignore::DeprecationWarning:ray",
    "ignore::FutureWarning:ray",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Ray's warnings pass where Ray runs, and nowhere else."""
    for item in items:
        if "tests/ray" in item.path.as_posix():
            for warning in RAY_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a cluster of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        ray.init(
            num_cpus=4,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=200 * 1024 * 1024,
            _node_ip_address="127.0.0.1",
        )
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture
async def fakes() -> AsyncIterator[Callable[..., Any]]:
    """Start servers in the process of the test, which can read their books."""
    async with AsyncExitStack() as stack:

        async def start(count: int = 2, **options: Any) -> list[FakeComfy]:
            return [await stack.enter_async_context(FakeComfy(**options)) for _ in range(count)]

        yield start
