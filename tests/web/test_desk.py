"""How many jobs, whose, and for how long: limits, memory, and jobs of an earlier life."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from session_tools import teach
from web_tools import offered, served, some_apps, until

from comfy_async import ComfyPool
from comfy_async.testing import FakeComfy
from comfy_async.web import Limits, routes


async def test_one_job_too_many(server: FakeComfy) -> None:
    """429 with Retry-After, for a large body before it is read; a place is free as soon as a job ends."""
    async with offered(server, limits=Limits(open_jobs=2, retry_seconds=7)) as web:
        server.hold()
        jobs = [await web.post("steps", seed=seed) for seed in range(2)]
        large = b"no JSON" + b" " * (1 << 20)
        for body in (b'{"seed": 1}', large):
            answer = await web.http.post(
                "/apps/steps", content=body, headers={"Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
            assert answer.headers["retry-after"] == "7"
        await web.http.delete(jobs[0]["links"]["self"])
        await web.post("steps", seed=3)


async def test_what_is_wrong_is_told_before_the_limit(server: FakeComfy) -> None:
    """A client that has all the jobs that it may have is told all the same that its input is wrong."""
    async with offered(server, limits=Limits(open_jobs_per_client=1)) as web:
        server.hold()
        await web.post("steps")
        error = (await web.post("steps", status=422, seed="x", sed=1))["error"]
        assert [one["input"] for one in error["problems"]] == ["sed", "seed"]
        assert (await web.post("steps", status=429))["error"]["code"] == "too_many_jobs"


async def test_nobody_takes_all_places(server: FakeComfy) -> None:
    """A limit for each caller, told by whatever the site says tells callers apart."""
    caller: dict[str, Any] = {"caller": lambda request: request.headers.get("x-user", "nobody")}
    async with offered(server, limits=Limits(open_jobs_per_client=1), **caller) as web:
        server.hold()
        anna, ben = {"x-user": "anna"}, {"x-user": "ben"}
        for headers, status in ((anna, 202), (anna, 429), (ben, 202)):
            answer = await web.http.post("/apps/steps", json={}, headers=headers)
            assert answer.status_code == status, answer.text
        labels = [item.extra_data["comfy_async_labels"] for item in server.core.queue.pending]
        assert sorted(one["client"] for one in labels) == ["anna", "ben"]
        assert {one["web_app"] for one in labels} == {"steps"}


async def test_a_refused_job_takes_no_place(fake: FakeComfy) -> None:
    """Neither one with wrong values nor one that the ComfyUI will not have."""
    async with offered(fake, limits=Limits(open_jobs=1)) as web:
        for _ in range(3):
            await web.post("paint", status=422, color="x")
        await web.ended(await web.post("paint"))


async def test_old_jobs_are_let_go_and_found_again(fake: FakeComfy) -> None:
    """Memory has a bound: what is beyond it is asked of the ComfyUI when somebody wants it."""
    async with offered(fake, limits=Limits(kept_jobs=2)) as web:
        jobs = [await web.post("paint", color=color) for color in range(5)]
        ends = [await web.ended(job) for job in jobs]
        await web.post("paint", color=9)
        asked = fake.books.count("GET", "/history/{prompt_id}")
        assert [await web.state(job) for job in jobs] == ends
        assert fake.books.count("GET", "/history/{prompt_id}") > asked
        picture = await web.http.get(ends[0]["outputs"][0]["href"])
        assert picture.content.startswith(b"\x89PNG")


async def test_many_who_ask_for_a_lost_job_make_one_look(fake: FakeComfy) -> None:
    """A hundred at once are one question."""
    async with offered(fake) as web:
        job = await web.post("paint")
        end = await web.ended(job)
    async with offered(fake) as web:
        asked = fake.books.count("GET", "/history/{prompt_id}")
        found = await asyncio.gather(*(web.state(job) for _ in range(100)))
        assert all(one["outputs"] == end["outputs"] for one in found)
        assert {one["status"] for one in found} == {"completed"}
        assert fake.books.count("GET", "/history/{prompt_id}") - asked <= 2


async def test_a_pool_runs_the_jobs_of_a_site(fake: FakeComfy) -> None:
    """The same over several servers; a job is found again on whichever has it."""
    teach(fake)
    async with FakeComfy() as second, ComfyPool([fake.url, second.url]) as pool:
        teach(second)
        async with served(routes(await some_apps(pool), pool)) as web:
            jobs = [await web.post("paint", color=color) for color in range(4)]
            ends = [await web.ended(job) for job in jobs]
            assert {end["status"] for end in ends} == {"completed"}
        async with served(routes(await some_apps(pool), pool)) as web:
            for end in ends:
                picture = await web.http.get(end["outputs"][0]["href"])
                assert picture.content.startswith(b"\x89PNG")


CHILD = """
import asyncio, sys
from comfy_async import ComfySession
from comfy_async.web import routes, serve

async def main(folder, comfy_url, port):
    async with ComfySession(comfy_url) as comfy, serve(routes(folder, comfy), port=int(port)) as url:
        print(url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def started(*arguments: str) -> asyncio.subprocess.Process:
    """Start a web process, and wait until it listens."""
    pipe = subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, *arguments, stdout=pipe)
    assert child.stdout is not None
    assert (await child.stdout.readline()).startswith(b"http://")
    return child


async def test_a_killed_web_process_finds_its_jobs(server: FakeComfy, tmp_path: Path, free_port: int) -> None:
    """The same addresses in the next process: one that runs, one that waits, one that is done."""
    import json

    from web_tools import PAINT, STEPS

    (tmp_path / "Paint.json").write_text(json.dumps(PAINT))
    (tmp_path / "Steps.json").write_text(json.dumps(STEPS))
    arguments = (str(tmp_path), server.url, str(free_port))
    gate = server.gate("Steps", step=3)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port}", trust_env=False) as http:
        first = await started(*arguments)
        done = (await http.post("/apps/paint", json={})).json()
        end = (await http.get(done["links"]["events"])).text
        assert '"completed"' in end
        runs = (await http.post("/apps/steps", json={})).json()
        await gate.reached()
        waits = (await http.post("/apps/paint", json={})).json()
        os.kill(first.pid, signal.SIGKILL)
        await first.wait()
        second = await started(*arguments)
        try:
            states = [(await http.get(job["links"]["self"])).json() for job in (done, runs, waits)]
            assert states[0]["status"] == "completed"
            assert [state["app"] for state in states] == ["paint", "steps", "paint"]
            async with http.stream("GET", runs["links"]["events"], timeout=60) as answer:
                lines = answer.aiter_lines()
                await until(lines, "event: state")
                gate.open()
                await until(lines, "event: end")
                assert '"completed"' in await until(lines, "data: ")
            picture = await http.get(states[0]["outputs"][0]["href"])
            assert picture.content.startswith(b"\x89PNG")
            assert "event: end" in (await http.get(waits["links"]["events"], timeout=60)).text
        finally:
            second.kill()
            await second.wait()
    assert server.books.started == 3
