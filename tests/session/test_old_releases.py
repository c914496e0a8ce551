"""Sessions with servers that choose the ids, up to 0.3.44: nothing twice, nothing lost, nothing invented."""

from __future__ import annotations

import logging

import pytest
from session_tools import picture, served

VERSIONS = ["0.3.10", "0.3.44"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_lost_answer(version: str) -> None:
    """The prompt was queued under an id of the server's own: it is found by its mark, and not sent again."""
    async with served(version=version) as (fake, comfy):
        fake.faults.fail("POST", "/prompt", "reset", count=1, after_effect=True)
        result = await comfy.run(picture())
        assert len(result.images) == 1
        assert [record.end for record in fake.books.accepted] == ["success"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_run_is_whole_and_quiet(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its picture is there, nothing is missing, and nobody is said to share the client_id."""
    async with served(version=version) as (_, comfy):
        with caplog.at_level(logging.WARNING, "comfy_async"):
            result = await comfy.run(picture())
        assert len(result.images) == 1
        assert result.missing == ()
        assert caplog.records == []
