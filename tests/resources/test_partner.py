"""Partner nodes: whose key goes where, what comes back, and the failures that are told apart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from session_tools import picture

from comfy_async import (
    ComfySession,
    JobFailedError,
    OutOfMemoryError,
    PartnerNodeError,
    ProgressText,
    PromptRejectedError,
    Settings,
)
from comfy_async.testing import FakeComfy

LOGIN = "Unauthorized: Please login first to use this node.\n\nTips: ..."
CREDITS = "Payment Required: Please add credits to your account to use this node."
ACCOUNT = "There is a problem with your account. Please contact support@comfy.org."
RATE = "Rate Limit Exceeded: The server returned 429 after all retry attempts."
API = "API Error: the picture was moderated (Type: moderation_blocked)"


def graph(number: int = 0) -> dict[str, Any]:
    """A graph with a partner node."""
    return {
        "5": {
            "class_type": "FluxProImageNode",
            "inputs": {"seed": number},
            "_meta": {"title": "Flux Pro"},
        }
    }


def teach(fake: FakeComfy, **options: Any) -> None:
    """Let the server have a partner node."""
    fake.script("FluxProImageNode", inputs={"seed": "INT"}, is_output=True, **options)


@pytest.mark.parametrize(
    ("text", "reason", "retryable", "words"),
    [
        (LOGIN, "login", False, "partner_api_key"),
        (CREDITS, "credits", False, "credits"),
        (ACCOUNT, "account", False, "support"),
        (RATE, "rate_limit", True, "later"),
        (API, "api", False, "moderated"),
    ],
)
@pytest.mark.parametrize("transport", ["auto", "poll"])
async def test_failures(
    fake: FakeComfy, transport: Any, text: str, reason: str, retryable: bool, words: str
) -> None:
    """What the service refuses is its own error with its reason, heard or found by polling."""
    teach(fake, error=("Exception", text))
    async with fake.session(transport=transport) as comfy:
        with pytest.raises(PartnerNodeError, match="Flux Pro") as caught:
            await comfy.run(graph())
    error = caught.value
    assert (error.reason, error.retryable) == (reason, retryable)
    assert (error.node, error.title, error.class_type) == ("5", "Flux Pro", "FluxProImageNode")
    assert error.exception_message == text
    assert words in str(error)


@pytest.mark.parametrize("text", ["Please login first", "402", "an API Error", "Rate limit"])
async def test_other_words_are_other_errors(fake: FakeComfy, comfy: ComfySession, text: str) -> None:
    """A node's own message that only resembles those is a plain failure."""
    teach(fake, error=("RuntimeError", text))
    with pytest.raises(JobFailedError) as caught:
        await comfy.run(graph())
    assert type(caught.value) is JobFailedError
    teach(fake, error="oom")
    with pytest.raises(OutOfMemoryError):
        await comfy.run(graph(1))


async def test_keys_of_many_users(fake: FakeComfy) -> None:
    """Each job carries its own user's key, and the session's where none is named."""
    teach(fake)
    async with fake.session(partner_api_key="house") as comfy:
        keys = {f"user{n}": f"key{n}" for n in range(4)}
        jobs = {
            user: await comfy.submit(graph(n), partner_api_key=key)
            for n, (user, key) in enumerate(keys.items())
        }
        own = await comfy.submit(graph(9))
        await asyncio.gather(own.result(), *(job.result() for job in jobs.values()))
    for user, job in jobs.items():
        assert secrets_of(fake, job.prompt_id) == {"api_key_comfy_org": keys[user]}
    assert secrets_of(fake, own.prompt_id) == {"api_key_comfy_org": "house"}


def secrets_of(fake: FakeComfy, prompt_id: str) -> dict[str, str]:
    """What the server was told in confidence with a prompt."""
    (record,) = fake.books.of(prompt_id)
    return dict(record.secrets)


async def test_tokens_go_along(fake: FakeComfy, comfy: ComfySession) -> None:
    """A login token is passed by `extra_data`."""
    teach(fake)
    job = await comfy.submit(graph(), extra_data={"auth_token_comfy_org": "jwt"})
    await job
    assert secrets_of(fake, job.prompt_id) == {"auth_token_comfy_org": "jwt"}


async def test_no_key_unasked(fake: FakeComfy, comfy: ComfySession) -> None:
    """Nobody's key is sent when none was given."""
    job = await comfy.submit(picture())
    await job
    assert secrets_of(fake, job.prompt_id) == {}


async def test_key_is_kept_nowhere(fake: FakeComfy) -> None:
    """The key is in no history, queue, ref, result or repr."""
    teach(fake)
    async with fake.session(partner_api_key="P4rtner", settings=Settings()) as comfy:
        with fake.gate("FluxProImageNode"):
            job = await comfy.submit(graph())
            shown = [repr(await comfy.queue.snapshot()), repr(job), repr(comfy), repr(job.ref)]
        result = await job
        await fake.ended(job.prompt_id)
        shown += [repr(result.to_dict()), repr(await comfy.history.get(job.prompt_id))]
    assert "P4rtner" not in "".join(shown)


async def test_usage_source(fake: FakeComfy) -> None:
    """The server is told who asks, so that usage is counted under the right name."""
    import httpx

    sources: list[str | None] = []

    class Noting(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/prompt") and request.method == "POST":
                sources.append(request.headers.get("Comfy-Usage-Source"))
            return await super().handle_async_request(request)

    async with fake.session(settings=Settings(http_transport=Noting())) as comfy:
        await comfy.run(picture())
    assert sources == ["comfy-async"]


async def test_status_and_cost_are_events(fake: FakeComfy, comfy: ComfySession) -> None:
    """What a partner node says of status and price comes as texts of its node."""
    teach(fake, text=["Status: Queued", "Status: Completed\nPrice: 4 credits\nTime elapsed: 3s"])
    job = await comfy.submit(graph())
    texts = [event async for event in job if isinstance(event, ProgressText)]
    assert [text.node for text in texts] == ["5", "5"]
    assert "Price: 4 credits" in texts[-1].text


async def test_partner_nodes_switched_off(comfy: ComfySession) -> None:
    """A server without partner nodes knows no such class."""
    with pytest.raises(PromptRejectedError) as caught:
        await comfy.run(graph())
    assert caught.value.problems[0].type == "missing_node_type"
