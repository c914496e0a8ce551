"""Labels of a fleet's jobs; and that a key is refused."""

from __future__ import annotations

from typing import Any

import pytest
from session_tools import picture

from comfy_async import UnsupportedError
from comfy_async.ray import ComfyFleet

pytestmark = pytest.mark.usefixtures("cluster")

SEVEN = {"user": "7"}


async def test_labels_go_along(team: Any) -> None:
    """The server has them, the job, its ref, and whoever attaches by that."""
    async with team() as (fleet, fake):
        job = await fleet.submit(picture(1), labels=SEVEN)
        await job
        assert job.labels == job.ref["labels"] == SEVEN
        assert fake.books.accepted[0].extra_data["comfy_async_labels"] == SEVEN
        async with ComfyFleet(fake.url) as later:
            found = await later.attach(job.ref)
            await found
            assert found.labels == SEVEN
        async with fleet.map([picture(2)], labels=SEVEN) as finished:
            assert [job.labels async for job in finished] == [SEVEN]


async def test_a_key_is_refused(team: Any) -> None:
    """A fleet cannot hold a job to a key, and says what to do; nothing is posted."""
    async with team() as (fleet, fake):
        with pytest.raises(UnsupportedError, match="cannot hold a job to a key"):
            await fleet.submit(picture(1), key="order-12")
        assert not fake.books.accepted
