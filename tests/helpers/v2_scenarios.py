"""What is asked of a server that speaks API v2: to record a real one, and to hold FakeComfy to it.

The recordings in tests/data/v2_*.jsonl are of comfy-api-proxy 0.1.6 in front of ComfyUI 0.33.0, both
started anew. To make them again: `python tests/helpers/v2_scenarios.py http://127.0.0.1:8189 FOLDER`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
from PIL import Image

Graph = dict[str, Any]

UNKNOWN = "00000000-0000-4000-8000-000000000000"
_KEPT_HEADERS = ("content-type", "content-range", "location", "retry-after")


class Stage(Protocol):
    """What keeps a job running for as long as a scenario needs it to.

    Attributes:
        big: The width of a picture that takes a while.
    """

    big: int

    async def busy(self, tape: Tape, job: dict[str, Any]) -> None:
        """Wait until a slow job runs."""

    async def go(self) -> None:
        """Let slow jobs run to their end."""


class Tape:
    """Requests and what came of them.

    Attributes:
        lines: All of it, in the order in which it was heard.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        """Begin an empty one."""
        self.lines: list[dict[str, Any]] = []
        self._http = http
        self._start = time.monotonic()
        self._streams = 0

    async def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and note it; returns its JSON."""
        answer = await self._http.request(method, path, **options)
        asked = {"method": method, "path": path, **{key: _plain(value) for key, value in options.items()}}
        body: Any = None
        if "json" in answer.headers.get("content-type", ""):
            body = answer.json()
        elif answer.content:
            body = {"bytes": len(answer.content), "sha256": hashlib.sha256(answer.content).hexdigest()}
        headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        self._note({"http": asked, "status": answer.status_code, "headers": headers, "body": body})
        return body

    async def submit(self, workflow: Graph, **options: Any) -> dict[str, Any]:
        """Submit a job that is taken."""
        job: dict[str, Any] = await self.request(
            "POST", "/api/v2/jobs", json={"workflow": workflow}, **options
        )
        return job

    async def follow(self, job: dict[str, Any], *, begun: asyncio.Event | None = None) -> None:
        """Note every event of a job, until its stream ends."""
        self._streams += 1
        number = self._streams
        url = job["urls"]["events"]
        async with self._http.stream("GET", url, timeout=120) as answer:
            self._note({"stream": number, "path": url, "status": answer.status_code})
            name, data = "", list[str]()
            async for line in answer.aiter_lines():
                if line.startswith(":"):
                    self._note({"stream": number, "comment": line})
                elif line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data.append(line.removeprefix("data: "))
                elif not line and name:
                    self._note({"stream": number, "event": name, "data": json.loads("\n".join(data))})
                    name, data = "", []
                    if begun is not None:
                        begun.set()
        self._note({"stream": number, "end": True})

    async def ended(self, job: dict[str, Any]) -> None:
        """Wait for the end of a job, and note how it stands then."""
        while True:
            answer = (await self._http.get(job["urls"]["self"])).json()
            if answer["status"] not in ("queued", "running", "canceling"):
                break
            await self.pause()
        await self.request("GET", job["urls"]["self"])

    async def pause(self) -> None:
        """Let the server work before it is asked again."""
        await asyncio.sleep(0.05)

    async def status(self, job: dict[str, Any]) -> str:
        """Return how a job stands, without noting it."""
        found: str = (await self._http.get(job["urls"]["self"])).json()["status"]
        return found

    def _note(self, line: dict[str, Any]) -> None:
        self.lines.append({"t": round(time.monotonic() - self._start, 4), **line})


def _plain(value: Any) -> Any:
    """Return an option of a request as JSON has it."""
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def image_graph(color: int = 255, *, size: int = 16, save: str = "SaveImage") -> Graph:
    """Return a graph that makes one small picture of three nodes."""
    saved: Graph = {"images": ["2", 0]}
    if save == "SaveImage":
        saved["filename_prefix"] = "v2/small"
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": size, "height": size, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": save, "inputs": saved},
    }


def slow_graph(big: int, color: int) -> Graph:
    """Return a graph that takes a while where `big` is big."""
    scale = {"image": ["1", 0], "upscale_method": "lanczos", "width": big, "height": big, "crop": "disabled"}
    down = {"image": ["2", 0], "upscale_method": "lanczos", "width": 16, "height": 16, "crop": "disabled"}
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 16, "height": 16, "batch_size": 2, "color": color},
        },
        "2": {"class_type": "ImageScale", "inputs": scale},
        "3": {"class_type": "ImageScale", "inputs": down},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "v2/slow"}},
    }


def picture(color: tuple[int, int, int]) -> bytes:
    """Return a small PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, format="PNG")
    return buffer.getvalue()


def load_graph(image: Any) -> Graph:
    """Return a graph that loads, inverts and saves a picture."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "v2/loaded"}},
    }


def reference(asset: dict[str, Any]) -> dict[str, Any]:
    """Return what stands in a graph for an asset."""
    return {"__type": "core/ASSET", "info": {"id": asset["id"]}}


async def upload(tape: Tape, data: bytes, name: str, **fields: str) -> Any:
    """Upload a file."""
    form = {"content_type": "image/png", "file_path": name, **fields}
    return await tape.request(
        "POST", "/api/v2/assets", data=form, files={"file": (Path(name).name, data, "image/png")}
    )


async def followed(tape: Tape, job: dict[str, Any]) -> asyncio.Task[None]:
    """Follow a job in a task, which has heard something when this returns."""
    begun = asyncio.Event()
    following = asyncio.create_task(tape.follow(job, begun=begun))
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait([following, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return following


async def normal(tape: Tape, stage: Stage) -> None:
    """A job that is followed from before it runs: another one runs first."""
    slow = await tape.submit(slow_graph(stage.big, 1))
    await stage.busy(tape, slow)
    job = await tape.submit(image_graph(11))
    await tape.request("GET", job["urls"]["self"])
    following = await followed(tape, job)
    await stage.go()
    await following
    await tape.ended(job)
    await tape.request("GET", job["urls"]["self"] + "/workflow")
    await tape.follow(job)
    await tape.ended(slow)


async def slow(tape: Tape, stage: Stage) -> None:
    """A job that is followed while it runs."""
    job = await tape.submit(slow_graph(stage.big, 2))
    await stage.busy(tape, job)
    await tape.request("GET", job["urls"]["self"])
    following = await followed(tape, job)
    await stage.go()
    await following
    await tape.ended(job)


async def cached(tape: Tape, stage: Stage) -> None:
    """The same graph twice: the second run is over at once."""
    await stage.go()
    for _ in range(2):
        job = await tape.submit(image_graph(22))
        await tape.ended(job)
    await tape.follow(job)


async def failing(tape: Tape, stage: Stage) -> None:
    """A file that is no picture lets a node fail while it runs."""
    await stage.go()
    broken = await upload(tape, b"this is no picture", "v2_broken.png")
    job = await tape.submit(load_graph(reference(broken)))
    await tape.ended(job)
    await tape.follow(job)


async def canceled_running(tape: Tape, stage: Stage) -> None:
    """A running job is cancelled, twice, and once more after its end."""
    job = await tape.submit(slow_graph(stage.big, 3))
    await stage.busy(tape, job)
    following = await followed(tape, job)
    await tape.request("POST", job["urls"]["cancel"])
    await tape.request("POST", job["urls"]["cancel"])
    await tape.request("GET", job["urls"]["self"])
    await stage.go()
    await following
    await tape.ended(job)
    await tape.request("POST", job["urls"]["cancel"])
    await tape.follow(job)


async def canceled_queued(tape: Tape, stage: Stage) -> None:
    """A waiting job is cancelled; what its open stream hears comes with the next keepalive."""
    slow = await tape.submit(slow_graph(stage.big, 4))
    await stage.busy(tape, slow)
    job = await tape.submit(image_graph(44))
    behind = await tape.submit(image_graph(45))
    await tape.request("GET", behind["urls"]["self"])
    await tape.request("POST", job["urls"]["cancel"])
    await tape.request("GET", job["urls"]["self"])
    await tape.request("POST", job["urls"]["cancel"])
    await tape.follow(job)
    await tape.request("GET", behind["urls"]["self"])
    await tape.request("POST", slow["urls"]["cancel"])
    await stage.go()
    await tape.ended(slow)
    await tape.ended(behind)


async def rejected(tape: Tape, stage: Stage) -> None:
    """Everything that POST refuses."""
    await stage.go()
    good, post = image_graph(55), "/api/v2/jobs"
    bad = image_graph(56)
    bad["1"]["inputs"]["width"] = 0
    bad["2"]["inputs"] = {}
    await tape.request("POST", post, json={"workflow": bad})
    await tape.request(
        "POST", post, json={"workflow": {"7": {"class_type": "NoSuchNode", "inputs": {"x": 1}}}}
    )
    await tape.request("POST", post, json={"workflow": {"1": good["1"]}})
    await tape.request("POST", post, json={"workflow": {}})
    await tape.request("POST", post, json={"workflow": {"nodes": [], "links": [], "version": 0.4}})
    await tape.request("POST", post, json={})
    await tape.request("POST", post, content=b"{", headers={"Content-Type": "application/json"})
    await tape.request("POST", post, json={"workflow": good, "webhook_url": "http://127.0.0.1/hook"})
    await tape.request("POST", post, json={"workflow": good, "inputs": {}})
    await tape.request("POST", post, json={"workflow": good, "extra_data": {"preview_method": "auto"}})
    await tape.request("POST", post, json={"workflow": good, "extra_data": {"api_key_comfy_org": 5}})
    lost = {"__type": "core/ASSET", "info": {"id": UNKNOWN}}
    await tape.request("POST", post, json={"workflow": load_graph(lost)})
    await tape.request("POST", post, json={"workflow": load_graph({"__type": "core/ASSET"})})


async def keys(tape: Tape, stage: Stage) -> None:
    """A key is good for one job, and free again after a refusal."""
    await stage.go()
    bad = {"1": {"class_type": "NoSuchNode", "inputs": {}}}
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    await tape.submit(bad, headers=headers)
    job = await tape.submit(image_graph(66), headers=headers)
    await tape.submit(image_graph(66), headers=headers)
    await tape.submit(bad, headers=headers)
    await tape.submit(image_graph(67), headers={"Idempotency-Key": ""})
    await tape.submit(image_graph(67), headers={"Idempotency-Key": "x" * 256})
    await tape.ended(job)


async def partly(tape: Tape, stage: Stage) -> None:
    """Of two outputs one is not valid: nothing is said of it."""
    await stage.go()
    graph = image_graph(77)
    graph["9"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}
    job = await tape.submit(graph)
    await tape.ended(job)


async def temporary(tape: Tape, stage: Stage) -> None:
    """PreviewImage writes a temporary file."""
    await stage.go()
    job = await tape.submit(image_graph(88, save="PreviewImage"))
    await tape.ended(job)
    await tape.follow(job)


async def assets(tape: Tape, stage: Stage) -> None:
    """A file is uploaded, found, read in part, used, and deleted."""
    await stage.go()
    data = picture((200, 10, 20))
    await upload(tape, data, "v2_red.png", expected_hash="blake3:" + "0" * 64)
    asset = await upload(tape, data, "input/v2/red.png", tags="input", expires_in="3600")
    await upload(tape, data, "v2_again.png", expected_hash=asset["hash"])
    await tape.request("GET", f"/api/v2/assets/{asset['id']}")
    await tape.request("HEAD", f"/api/v2/assets/by-hash/{asset['hash']}")
    await tape.request("HEAD", f"/api/v2/assets/by-hash/blake3:{'1' * 64}")
    await tape.request(
        "POST", "/api/v2/assets/from-hash", json={"hash": asset["hash"], "file_path": "other.png"}
    )
    await tape.request("POST", "/api/v2/assets/from-hash", json={"hash": "blake3:" + "1" * 64})
    await tape.request("POST", "/api/v2/assets/from-hash", json={})
    await tape.request("GET", asset["url"])
    await tape.request("GET", asset["url"], headers={"Range": "bytes=8-15"})
    await tape.request("GET", asset["url"], headers={"Range": "bytes=100000-"})
    job = await tape.submit(load_graph(reference(asset)))
    await tape.ended(job)
    await tape.request("DELETE", f"/api/v2/assets/{asset['id']}")
    await tape.request("DELETE", f"/api/v2/assets/{asset['id']}")
    await tape.request("GET", f"/api/v2/assets/{asset['id']}")
    await tape.request("GET", asset["url"])
    await tape.submit(load_graph(reference(asset)))


async def bad_uploads(tape: Tape, stage: Stage) -> None:
    """Uploads that are refused."""
    await stage.go()
    data = picture((1, 2, 3))
    post = "/api/v2/assets"
    await tape.request("POST", post, json={})
    await tape.request("POST", post, data={"file_path": "x.png"}, files={"other": ("x.txt", b"text")})
    await tape.request("POST", post, files={"file": ("x.png", data, "image/png")})
    await tape.request("POST", post, data={"file_path": "../x.png"}, files={"file": ("x.png", data)})
    await upload(tape, data, "v2/x.png")
    await upload(tape, data, "models/checkpoints/x.safetensors")


async def outputs(tape: Tape, stage: Stage) -> None:
    """An output is an asset: its record, its bytes, and as an input of another job."""
    await stage.go()
    job = await tape.submit(image_graph(99))
    await tape.ended(job)
    output = (await tape.request("GET", job["urls"]["self"]))["outputs"][0]
    await tape.request("GET", f"/api/v2/assets/{output['id']}")
    await tape.request("GET", output["url"], headers={"Range": "bytes=0-7"})
    await tape.request("DELETE", f"/api/v2/assets/{output['id']}")
    await tape.submit(load_graph(reference(output)))


async def unknown(tape: Tape, stage: Stage) -> None:
    """Ids that nobody gave out, and some that are none."""
    await stage.go()
    for job_id in (UNKNOWN, "no-uuid"):
        await tape.request("GET", f"/api/v2/jobs/{job_id}")
        await tape.request("GET", f"/api/v2/jobs/{job_id}/events")
        await tape.request("GET", f"/api/v2/jobs/{job_id}/workflow")
        await tape.request("POST", f"/api/v2/jobs/{job_id}/cancel")
        await tape.request("GET", f"/api/v2/assets/{job_id}")
        await tape.request("GET", f"/api/v2/assets/{job_id}/content")
        await tape.request("DELETE", f"/api/v2/assets/{job_id}")


async def listed(tape: Tape, stage: Stage) -> None:
    """The list that only the proxy serves, with the label that it takes along."""
    await stage.go()
    body = {"workflow": image_graph(111), "metadata": "a label", "priority": 3}
    job = await tape.request("POST", "/api/v2/jobs", json=body)
    await tape.ended(job)
    await tape.request("GET", "/api/v2/jobs?limit=1")
    await tape.request("GET", "/api/v2/jobs?limit=0")
    await tape.request("GET", "/api/v2/jobs?limit=x")
    await tape.request("GET", "/api/v2/jobs?status=nothing")


async def crowded(tape: Tape, stage: Stage) -> None:
    """Eight streams are open, and the ninth is refused."""
    job = await tape.submit(slow_graph(stage.big, 12))
    await stage.busy(tape, job)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(_open(tape, job))
        await tape.request("GET", job["urls"]["events"])
        await stage.go()
    await tape.ended(job)


@contextlib.asynccontextmanager
async def _open(tape: Tape, job: dict[str, Any]) -> AsyncIterator[None]:
    """Follow a job inside a block; nothing is noted of it."""
    silent = Tape(tape._http)
    following = await followed(silent, job)
    yield
    await following


Scenario = Callable[[Tape, Stage], Awaitable[None]]

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        normal,
        slow,
        cached,
        failing,
        canceled_running,
        canceled_queued,
        rejected,
        keys,
        partly,
        temporary,
        assets,
        bad_uploads,
        outputs,
        unknown,
        listed,
        crowded,
    )
}


class RealStage:
    """A real server, which takes its time by itself."""

    big = 3500

    async def busy(self, tape: Tape, job: dict[str, Any]) -> None:
        """Wait until a job runs."""
        while await tape.status(job) == "queued":
            await tape.pause()

    async def go(self) -> None:
        """Nothing holds it."""


async def record(url: str, folder: Path, names: list[str]) -> None:
    """Run scenarios against a real server, and write what it says."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
        for name in names or SCENARIOS:
            tape = Tape(http)
            await SCENARIOS[name](tape, RealStage())
            text = "".join(json.dumps(line) + "\n" for line in tape.lines)
            (folder / f"v2_{name}.jsonl").write_text(text)


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
