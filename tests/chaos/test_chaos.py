"""A few hundred jobs under random faults; `chaos_harness.py` runs as many as you like."""

from __future__ import annotations

import pytest
from chaos_harness import chaos_round


@pytest.mark.parametrize("seed", range(1, 7))
async def test_every_job_ends_once_and_truly(seed: int) -> None:
    """Whatever breaks, each job ends in the one way that the server's books say."""
    report = await chaos_round(seed)
    assert report.problems == []
    assert sum(report.statuses.values()) == report.jobs
    assert report.faults > 0


@pytest.mark.parametrize("seed", [1, 2])
async def test_so_do_those_of_api_v2(seed: int) -> None:
    """Streams that drop, stall and lie, links that expire and lost answers included."""
    report = await chaos_round(seed, jobs=40, rate=20.0, dialect="api-v2")
    assert report.problems == []
    assert sum(report.statuses.values()) == report.jobs
    assert report.faults > 0
