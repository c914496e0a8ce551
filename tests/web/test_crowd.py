"""Two hundred clients at once: no event lost, memory with a bound, 429 beyond the bound."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from session_tools import teach
from web_tools import Web, offered, until

from comfy_async.testing import FakeComfy
from comfy_async.web import Limits, hub

CROWD = 200
PLACES = 150


async def one_client(web: Web, number: int) -> list[str]:
    """Post a job as somebody of its own, and read it to its end; some break off and come back."""
    headers = {"x-user": str(number)}
    answer = await web.http.post("/apps/steps", json={"seed": number}, headers=headers)
    if answer.status_code == 429:
        assert int(answer.headers["retry-after"]) > 0
        return ["429"]
    assert answer.status_code == 202, answer.text
    job = answer.json()
    seen: list[str] = []
    if number % 3 == 0:
        seen += await first_part(web, job["links"]["events"], random.Random(number).randint(1, 4))
    after = {"Last-Event-ID": seen[-1]} if seen else {}
    query = "" if seen else "?since=0"
    answer = await web.http.get(job["links"]["events"] + query, headers=after, timeout=200)
    seen += [line.removeprefix("id: ") for line in answer.text.split("\n") if line.startswith("id: ")]
    assert "event: end" in answer.text
    return seen


async def first_part(web: Web, path: str, most: int) -> list[str]:
    """Read some milestones from the beginning, and cut the connection."""
    seen: list[str] = []
    async with web.http.stream("GET", f"{path}?since=0", timeout=200) as answer:
        lines = answer.aiter_lines()
        while len(seen) < most:
            line = await until(lines, ": ")
            if line.startswith("event: end"):
                break
            if line.startswith("id: "):
                seen.append(line.removeprefix("id: "))
    return seen


async def test_a_crowd(fake: FakeComfy) -> None:
    """Who got a place gets every milestone once and in order, and the others are told to wait."""
    teach(fake, steps=3)
    limits = Limits(open_jobs=PLACES, open_jobs_per_client=1, kept_jobs=20, retry_seconds=3)
    caller: dict[str, Any] = {"caller": lambda request: request.headers["x-user"]}
    async with offered(fake, client={"timeout": 200}, limits=limits, **caller) as web:
        fake.hold()
        clients = [asyncio.create_task(one_client(web, number)) for number in range(CROWD)]
        # Nothing has ended yet: so many got a place, and no more.
        await fake.wait_for(lambda books: fake.core.queue.remaining == PLACES)
        fake.release()
        told = await asyncio.gather(*clients)
        refused = [seen for seen in told if seen == ["429"]]
        assert len(refused) == CROWD - PLACES
        for seen in told:
            if seen != ["429"]:
                # queued, started, cached, two nodes that start and finish
                assert [int(id.partition("-")[2]) for id in seen] == list(range(1, 8))
        assert fake.books.ended == PLACES
        # The next one sweeps up; nobody reads any more.
        answer = await web.http.post("/apps/paint", json={}, headers={"x-user": "late"})
        assert answer.status_code == 202
        assert len(web.site.jobs) <= 20 + 1
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("comfy_async web ev")]


async def test_a_reader_who_takes_nothing_costs_little(server: FakeComfy) -> None:
    """Of what it does not read the newest of each kind is kept; with many milestones it must come again."""
    async with server.session(previews="latent2rgb") as comfy:
        server.hold()
        job = await comfy.submit(
            {
                "1": {"class_type": "Steps", "inputs": {"seed": 1}},
                "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
            }
        )
        one = hub.Hub(job, epoch="e")
        slow, quick = await one.join(after="0", most=3), await one.join(after="0", most=1000)
        server.release()
        await job
        while not quick.over:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert slow.behind
        assert slow.take() == b""
        text = quick.take().decode()
        assert text.count("event: node_finished") == 2
        # Ten steps, each with its state: one message.
        assert text.count("event: progress") == 1
        assert not quick.behind
        one.leave(slow)
        one.leave(quick)
