"""What the log says at each level, held against the guide's table and against runs that go wrong."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from doc_tools import GUIDES, PICTURE, ROOT

from comfy_async import ComfyPool, ComfySession, Reconnected, Settings
from comfy_async.testing import FakeComfy

GUIDE = (GUIDES / "operations.md").read_text("utf-8")

# What the guide says of each level, and the messages that are meant, as `file: message`.
SAID = {
    ("ERROR", "something unforeseen"): r".*",
    ("WARNING", "an address that ends in a route"): r"comfyui: .*some of its routes are not found",
    ("WARNING", "a refused WebSocket"): r"link: %s; polling instead",
    ("WARNING", "a stalled server"): r"socket_health: .*the server is stalled",
    ("WARNING", "a `client_id` in use twice"): r"socket_health: %s$",
    ("WARNING", "credentials that cannot be renewed"): r"link: the WebSocket: %s",
    (
        "WARNING",
        "a job without news for ten minutes",
    ): r"concerns: (job %s is %s, and )?no news (of it )?came",
    ("WARNING", "a job that may still run or run twice"): r".*may (still run|run twice)",
    ("WARNING", "a results file that has none of the jobs asked for"): r"journal: %s has results",
    ("WARNING", "a damaged line of one that runs again"): r"journal: %s, line %d",
    ("WARNING", "an old server that can only interrupt whatever runs"): r"comfyui: ComfyUI %s can only",
    ("WARNING", "a file that carries a prompt and another workflow"): r"_pairs: ",
    ("WARNING", "values of another version of ComfyUI that are left out"): r"refusals: ",
    ("WARNING", "a picture whose values are clipped"): r"_pictures: ",
    ("WARNING", "a mask that masks nothing"): r"_masks: the mask masks nothing",
    ("WARNING", "of a fleet, what becomes of its workers"): r"(_carrier|_engine|_member|_command): ",
    ("WARNING", "a job that will not stop"): r"cancel: job %s is still %s",
    ("WARNING", "a server that is away or back or runs nothing"): r"concerns: %s (does not|answers|accepts)",
    ("WARNING", "a server of a pool that gets no jobs"): r"member: pool: %s is back",
    (
        "WARNING",
        "a hook that blocks the event loop or is not done in time",
    ): r"hooks: (the hook %s blocked|%d)",
    ("WARNING", "a webhook that is not delivered"): r"_sender: webhook %s: ",
    (
        "WARNING",
        "one that is paused or whose control file is damaged",
    ): r"gate: (%s is paused|the control file)",
    ("WARNING", "a store that does not answer"): r"storing: %s does not answer",
    (
        "WARNING",
        "jobs whose labels a server does not give",
    ): r"(jobs: %d jobs at %s do not|api: %s keeps no labels)",
    ("WARNING", "the job of a `key` that is gone or does not come"): r"keys: key %r",
    ("WARNING", "a file in a folder of apps that is no app"): r"folder: %s is no app",
    ("WARNING", "apps that are not offered yet"): r"toolbox: the apps",
    ("WARNING", "of a site, workflows that it does not offer"): r"apps: web: %s is not offered",
    ("INFO", "it opens a silent socket anew"): r"socket_health: the socket is silent",
    ("INFO", "sends an unanswered prompt again"): r"submission: prompt %s did not arrive",
    ("INFO", "lets a batch wait"): r"(items: workflow %s of the batch|batch: a batch) waits",
    ("INFO", "sends lost uploads again"): r"submission: %s had lost files",
    ("INFO", "what the library does about it by itself"): r"_carrier: ",
    ("INFO", "waits for a busy server of API v2"): r"submission: %s is busy",
    ("INFO", "polls a job that has no stream"): r"streams: .*(is polled|polling instead)",
    ("INFO", "says which choices of a site may be outdated"): r"site: web: ",
    ("DEBUG", "which readers of a site leave"): r"(stream|hub): web: ",
    ("DEBUG", "why a stream of API v2 broke"): r"streams: ",
    ("DEBUG", "which server of a pool gets a job"): r"\w+: pool: ",
}


def logged() -> Iterator[tuple[str, str]]:
    """Yield the level and the message of every call of the logger in the source."""
    for path in sorted((ROOT / "comfy_async").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(ast.Name("_log"), method), args=[ast.Constant(str(message)), *_]
                ):
                    level = {"exception": "ERROR"}.get(method, method.upper())
                    yield level, f"{path.stem}: {message}"


def test_the_levels_of_the_log() -> None:
    """Every message is told of in the row of its level, and every row tells of a message."""
    table = dict(re.findall(r"^\| `([A-Z]+)` \| (.*) \|$", GUIDE, re.MULTILINE))
    found = list(logged())
    assert len(found) > 20
    assert {level for level, _ in found} == set(table)
    for (level, words), pattern in SAID.items():
        assert words in table[level]
        assert any(level == used and re.match(pattern, message) for used, message in found), words
    for level, message in found:
        patterns = [pattern for (of, _), pattern in SAID.items() if of == level]
        assert any(re.match(pattern, message) for pattern in patterns), (level, message)


class Heard(logging.Handler):
    """Keeps what is logged, and lets a test wait for it."""

    def __init__(self) -> None:
        """Hear every level."""
        super().__init__(logging.DEBUG)
        self.lines: list[tuple[str, str]] = []
        self.first = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append((record.levelname, record.getMessage()))
        self.first.set()


@pytest.fixture
async def heard() -> AsyncIterator[Heard]:
    """What the library logs during the test."""
    handler, logger = Heard(), logging.getLogger("comfy_async")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


class OddTransport(httpx.AsyncHTTPTransport):
    """The network, but one route raises what no network raises."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, or raise.

        Raises:
            ZeroDivisionError: It is the poller's question.
        """
        if request.url.path.endswith("/jobs"):
            raise ZeroDivisionError
        return await super().handle_async_request(request)


async def held_run(fake: FakeComfy, settings: Settings, trouble: str, heard: Heard) -> None:
    """Run a prompt that has some trouble, and hold it until something was logged or its socket is back."""
    if trouble == "refused":
        fake.faults.refuse_upgrades(403)
    elif trouble == "unanswered":
        fake.faults.fail("POST", "/prompt", "reset", count=1)
    async with fake.session(settings=settings) as comfy:
        with fake.gate("SaveImage") as gate:
            job = await comfy.submit(PICTURE)
            await gate.reached()
            if trouble == "dropped":
                fake.faults.drop_sockets("reset")
                async for event in job:
                    if isinstance(event, Reconnected):
                        break
            else:
                if trouble == "deaf":
                    fake.faults.deafen()
                    # The queue changes, and the socket does not hear of it.
                    await comfy.submit(PICTURE)
                async with asyncio.timeout(60):
                    await heard.first.wait()
        await job


@pytest.mark.parametrize(
    ("trouble", "level", "words"),
    [
        ("refused", "WARNING", "refused the WebSocket with status 403"),
        ("quiet", "WARNING", "no news of it came"),
        ("deaf", "INFO", "the socket is silent"),
        ("unanswered", "INFO", "sending it again"),
        ("odd", "ERROR", "unforeseen"),
        ("dropped", "", ""),
    ],
)
async def test_a_run_in_trouble(trouble: str, level: str, words: str, fake: FakeComfy, heard: Heard) -> None:
    """Each trouble is logged at the level that the guide names; a socket that drops is not."""
    settings = {
        "quiet": Settings(quiet_seconds=0.01, look_every=0.05),
        "odd": Settings(http_transport=OddTransport(), look_every=0.05),
        "deaf": Settings(look_every=0.2),
    }.get(trouble, Settings())
    await held_run(fake, settings, trouble, heard)
    assert {told for told, _ in heard.lines} == ({level} if level else set())
    assert all(words in message for _, message in heard.lines)


async def test_a_normal_run_logs_nothing(comfy: ComfySession, heard: Heard) -> None:
    """Neither a job nor a batch in which all goes well, at any level."""
    await comfy.run(PICTURE)
    async with comfy.map([PICTURE], limit=1) as finished:
        async for job in finished:
            await job
    assert heard.lines == []
    assert "A normal run logs nothing" in " ".join(GUIDE.split())


async def test_a_batch_that_waits(fake: FakeComfy, comfy: ComfySession, heard: Heard) -> None:
    """A server that takes no more prompts for now is waited for, at INFO."""
    fake.faults.refuse_prompts("queue_limit", count=1, retry_after="0")
    async with comfy.map([PICTURE]) as finished:
        async for job in finished:
            await job
    assert [level for level, _ in heard.lines] == ["INFO"]
    assert heard.lines[0][1].startswith("workflow 0 of the batch waits")


async def test_a_pool_at_work(fake: FakeComfy, heard: Heard) -> None:
    """A pool says which server gets a job, at DEBUG."""
    async with ComfyPool([fake.url]) as pool:
        await pool.run(PICTURE)
    assert {level for level, _ in heard.lines} == {"DEBUG"}
    assert any(fake.url in message for _, message in heard.lines)
