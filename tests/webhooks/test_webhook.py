"""Webhooks: what is sent for which job, how often it is tried, and what holds nobody up."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from receiver_tools import Receiver, receiving
from session_tools import eventually, fast, graph, library_tasks, picture

from comfy_async import JobFailedError, NodeFinished, Progress, Started
from comfy_async.testing import FakeComfy, FastClock
from comfy_async.webhooks import Webhook, _webhook, verify_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT = "a new secret of some length"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of its own for each test."""
    async with receiving() as one:
        yield one


def quick(receiver: Receiver, **options: Any) -> Webhook:
    """Return a webhook whose pauses last a hundredth."""
    return Webhook(receiver.url, clock=FastClock(1000), **{"secret": SECRET, **options})


def messages(receiver: Receiver) -> list[dict[str, Any]]:
    """Return what has come."""
    return [json.loads(body) for _, body in receiver.came]


async def test_a_completed_job(fake: FakeComfy, receiver: Receiver) -> None:
    """Signed, with the outputs by name and URL, under an id of its own."""
    async with fake.session(hooks=[Webhook(receiver.url, secret=SECRET)]) as comfy:
        result = await comfy.run(picture())
    ((headers, body),) = receiver.came
    message = verify_webhook(headers, body, SECRET)
    assert message["type"] == "job.completed"
    assert message["timestamp"].endswith("Z")
    (file,) = result.files
    assert message["data"] == {
        "id": result.prompt_id,
        "status": "completed",
        "server": fake.url,
        "index": None,
        "labels": {},
        "duration": message["data"]["duration"],
        "outputs": [
            {
                "node": "2",
                "title": "Keep it",
                "kind": "image",
                "filename": file.filename,
                "subfolder": "",
                "type": "output",
                "url": file.url,
            }
        ],
    }
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"].startswith("msg_")


async def test_a_failed_job(server: FakeComfy, receiver: Receiver) -> None:
    """With the error, its words, and the node."""
    async with server.session(hooks=[quick(receiver)]) as comfy:
        with pytest.raises(JobFailedError):
            await comfy.run(graph(last="Break"))
    (message,) = messages(receiver)
    assert message["type"] == "job.failed"
    error = message["data"]["error"]
    assert (error["type"], error["node"], error["class_type"]) == ("JobFailedError", "2", "Break")
    assert error["exception_type"] == "RuntimeError"
    assert "broken" in error["message"]


async def test_no_key_and_no_prompt(fake: FakeComfy, receiver: Receiver) -> None:
    """Not even where the server repeats a key in its error; the URL's token is no header and no log."""
    key = "sk-partner-0123456789abcdef"
    fake.script("Fail", inputs={"text": "STRING"}, is_output=True, error=("ValueError", f"bad key {key}"))
    async with fake.session(hooks=[quick(receiver)], partner_api_key=key) as comfy:
        with pytest.raises(JobFailedError):
            await comfy.run({"1": {"class_type": "Fail", "inputs": {"text": "a unicorn"}}})
    ((headers, body),) = receiver.came
    assert key not in body.decode()
    assert key not in str(headers)
    assert b"unicorn" not in body


async def test_other_events(server: FakeComfy, receiver: Receiver) -> None:
    """Those that are asked for, and no others."""
    webhook = quick(receiver, events=[Started, NodeFinished])
    async with server.session(hooks=[webhook]) as comfy:
        await comfy.run(graph())
    found = messages(receiver)
    assert sorted(message["type"] for message in found) == [
        "job.node_finished",
        "job.node_finished",
        "job.started",
    ]
    nodes = {message["data"]["node"] for message in found if message["type"] == "job.node_finished"}
    assert nodes == {"1", "2"}


async def test_a_refusal_is_tried_again(fake: FakeComfy, receiver: Receiver) -> None:
    """The same message under the same id, each time signed anew."""
    receiver.answers = [500, 404, 429]
    receiver.extra = {"Retry-After": "1"}
    async with fake.session(hooks=[quick(receiver)]) as comfy:
        await comfy.run(picture())
        await receiver.count(4)
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 1
    assert len({body for _, body in receiver.came}) == 1
    for headers, body in receiver.came:
        verify_webhook(headers, body, SECRET, tolerance=1e9)


@pytest.mark.parametrize("status", [302, 308, 410])
async def test_what_is_not_tried_again(
    fake: FakeComfy, receiver: Receiver, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """A redirect is not followed: signature and token are for one address. Gone is gone."""
    receiver.answers = [status]
    receiver.extra = {"Location": "/elsewhere"}
    async with fake.session(hooks=[quick(receiver)]) as comfy:
        await comfy.run(picture())
        await receiver.count(1)
    assert len(receiver.came) == 1
    assert receiver.paths == ["/hook/T0KEN-0123456789"]
    assert f"was not delivered: it answered {status}" in caplog.text


async def test_it_gives_up(fake: FakeComfy, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """After so many attempts, with a word in the log."""
    receiver.answers = [500] * 9
    async with fake.session(hooks=[quick(receiver, attempts=3)]) as comfy:
        result = await comfy.run(picture())
        await eventually(lambda: "was not delivered" in caplog.text)
    assert len(receiver.came) == 3
    assert f"job.completed of {result.prompt_id} was not delivered: it answered 500" in caplog.text


async def test_a_dead_receiver_holds_nobody_up(
    server: FakeComfy, free_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens: jobs run as ever, and closing says what was not delivered, without the URL's token."""
    monkeypatch.setattr(_webhook, "_CLOSING_S", 0.05)
    webhook = Webhook(f"http://127.0.0.1:{free_port}/T0KEN-0123456789", secret=SECRET)
    async with server.session(hooks=[webhook]) as comfy:
        results = [await comfy.run(graph(number)) for number in range(7)]
    assert [result.texts for result in results] == [("shown",)] * 7
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    (line,) = [text for text in told if text.startswith("webhook")]
    assert line.startswith(
        f"webhook http://127.0.0.1:{free_port}: not delivered when the session was closed:"
    )
    assert line.endswith("and 2 more")
    assert "T0KEN" not in caplog.text
    assert not library_tasks()


async def test_a_receiver_that_hangs(
    server: FakeComfy, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the request and never answers: closing waits for a moment only."""
    monkeypatch.setattr(_webhook, "_CLOSING_S", 0.05)
    receiver.answers = ["hang"]
    async with server.session(hooks=[quick(receiver)]) as comfy:
        await comfy.run(graph())
        await receiver.count(1)
    assert "not delivered when the session was closed: job.completed of" in caplog.text


async def test_a_receiver_that_is_too_slow(fake: FakeComfy, receiver: Receiver) -> None:
    """An attempt has its limit; the next one may be answered."""
    receiver.answers = ["hang"]
    async with fake.session(hooks=[quick(receiver, request_seconds=1.0)]) as comfy:
        await comfy.run(picture())
        await receiver.count(2)
    assert len(receiver.came) == 2


async def test_too_many_are_dropped(
    server: FakeComfy, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded, and the log says so once."""
    monkeypatch.setattr(_webhook, "_CLOSING_S", 0.05)
    receiver.answers = ["hang"] * 9
    async with server.session(hooks=[quick(receiver, limit=2)]) as comfy:
        for number in range(4):
            await comfy.run(graph(number))
        await receiver.count(2)
    full = [record for record in caplog.records if "further ones are dropped" in record.getMessage()]
    assert len(full) == 1
    assert len(receiver.came) == 2


async def test_what_is_left_is_sent_at_the_end(server: FakeComfy, receiver: Receiver) -> None:
    """A session that is closed at once delivers first, and a later one begins anew."""
    webhook = quick(receiver)
    for count in (1, 2):
        async with server.session(hooks=[webhook]) as comfy:
            await comfy.run(graph(count))
        assert len(receiver.came) == count


async def test_a_secret_that_is_being_replaced(fake: FakeComfy, receiver: Receiver) -> None:
    """Signed by both: a receiver with either believes it."""
    async with fake.session(hooks=[quick(receiver, secret=[NEXT, SECRET])]) as comfy:
        await comfy.run(picture())
    ((headers, body),) = receiver.came
    for secret in (NEXT, SECRET):
        verify_webhook(headers, body, secret, tolerance=1e9)


async def test_without_a_secret(fake: FakeComfy, receiver: Receiver) -> None:
    """Nothing is signed, and the repr says so; further headers go along."""
    webhook = Webhook(receiver.url, headers={"X-Team": "pictures"})
    async with fake.session(hooks=[webhook]) as comfy:
        await comfy.run(picture())
    ((headers, _),) = receiver.came
    assert "webhook-signature" not in headers
    assert headers["X-Team"] == "pictures"
    assert repr(webhook).endswith("unsigned>")


async def test_nothing_of_the_url_is_logged(
    fake: FakeComfy, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """httpx logs every URL at INFO: not this one's path and query."""
    with caplog.at_level(logging.DEBUG):
        async with fake.session(hooks=[Webhook(receiver.url, secret=SECRET)]) as comfy:
            await comfy.run(picture())
    # The receiver's own log is its own affair.
    told = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("aiohttp"))
    assert "HTTP Request: POST" in told
    assert "T0KEN" not in told
    assert "QUERY" not in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "ftp://example.org/hook-T0KEN"}, "not one of scheme 'ftp'"),
        ({"url": "https://"}, "must be http"),
        ({"url": "http://host:port/"}, "cannot be read"),
        ({"secret": "short"}, "16 bytes or more"),
        ({"attempts": 0}, "1 or more"),
        ({"limit": 0}, "1 or more"),
        ({"events": [Progress]}, "comes by the thousand"),
        ({"events": ["completed"]}, "classes of events"),
    ],
)
def test_what_makes_no_sense(options: dict[str, Any], words: str) -> None:
    """It is refused when the webhook is made, and the URL is not repeated."""
    url = options.pop("url", "https://example.org/hook-T0KEN")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Webhook(url, **options)
    assert words in str(caught.value)
    assert "T0KEN" not in str(caught.value)


async def test_a_map_sends_one_for_each(server: FakeComfy, receiver: Receiver) -> None:
    """With its place; as many at once as there are lines, and none lost."""
    async with fast(server, hooks=[quick(receiver)]) as comfy:
        async with comfy.map([graph(number) for number in range(12)], limit=6) as finished:
            assert len([job async for job in finished]) == 12
    assert sorted(message["data"]["index"] for message in messages(receiver)) == list(range(12))
