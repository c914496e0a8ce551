"""Arguments that nobody can mean are refused where they are given."""

from __future__ import annotations

from typing import Any

import pytest
from session_tools import picture

from comfy_async import ComfyPool, ComfySession
from comfy_async.testing import FakeComfy

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "options", [{"transport": "pol"}, {"connect": "lasy"}, {"previews": "never"}, {"trust_env": "no"}]
)
def test_unknown_words(options: dict[str, Any]) -> None:
    """The option, what it may be, and what it is."""
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name} is .*not {value!r}"):
        ComfySession(URL, **options)


@pytest.mark.parametrize("url", ["", "  "])
def test_an_empty_address(url: str) -> None:
    """An unset variable is not the default: somebody else may listen there."""
    with pytest.raises(ValueError, match="URL is empty"):
        ComfySession(url)
    with pytest.raises(ValueError, match="URL is empty"):
        ComfyPool([url])


def test_a_pool_of_one_text() -> None:
    """Its letters are no addresses."""
    with pytest.raises(ValueError, match="a list of addresses"):
        ComfyPool(URL)
    with pytest.raises(ValueError, match="connect is"):
        ComfyPool([URL], connect="lasy")  # type: ignore[arg-type]


async def test_arguments_that_submit_does_not_have(fake: FakeComfy, comfy: ComfySession) -> None:
    """They are named, and a time limit has its own way."""
    options: dict[str, Any] = {"timeout": 5}
    with pytest.raises(TypeError, match=r"no argument 'timeout': `async with asyncio\.timeout"):
        await comfy.run(picture(), **options)
    options = {"sed": 5}
    with pytest.raises(TypeError, match="no argument 'sed'$"):
        await comfy.run(picture(), **options)
    assert not fake.books.accepted


async def test_ways_for_the_fake_to_fail(fake: FakeComfy, comfy: ComfySession) -> None:
    """A text is a message; what is no way to fail, or to drop a socket, is refused."""
    fake.fail_node("SaveImage", "it broke", count=1)
    with pytest.raises(Exception, match="it broke"):
        await comfy.run(picture())
    wrong: Any
    for wrong in (5, ("one",), ("one", 2)):
        with pytest.raises(ValueError, match="a node fails with"):
            fake.fail_node("SaveImage", wrong)
    wrong = "rest"
    with pytest.raises(ValueError, match="not by 'rest'"):
        fake.faults.drop_sockets(wrong)
