"""A client for FakeComfy that knows nothing: httpx, websockets, and a few graphs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import websockets

from comfy_async.testing import FakeComfy

Graph = dict[str, Any]


def text_graph(value: str = "hello") -> Graph:
    """Return the smallest graph: a text that is shown."""
    return {
        "1": {"class_type": "PrimitiveString", "inputs": {"value": value}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }


def image_graph(color: int = 255, **save: Any) -> Graph:
    """Return a graph that saves one small image."""
    size = {"width": 16, "height": 12, "batch_size": 1, "color": color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "small"} | save},
    }


def sampler_graph(steps: int = 3, seed: int = 1) -> Graph:
    """Return an SD1.5 graph of 64x64 pixels."""
    return {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                **{"seed": seed, "steps": steps, "cfg": 8, "sampler_name": "euler", "scheduler": "normal"},
                **{"denoise": 1, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]},
                "latent_image": ["5", 0],
            },
        },
        "4": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"},
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "hills", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "sd"}},
    }


class Socket:
    """A WebSocket that hands out decoded messages, and bytes as they are."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        """Wrap an open one."""
        self.connection = connection

    async def next(self) -> Any:
        """Return the next frame."""
        raw = await self.connection.recv()
        return json.loads(raw) if isinstance(raw, str) else raw

    async def until(self, kind: str) -> list[Any]:
        """Return frames up to the first message of a type; `end` is the end marker."""
        frames = []
        while True:
            frames.append(await self.next())
            if isinstance(frames[-1], dict):
                data = frames[-1]["data"]
                is_end = frames[-1]["type"] == "executing" and data["node"] is None
                if frames[-1]["type"] == kind or (kind == "end" and is_end):
                    return frames

    async def hears_nothing(self) -> bool:
        """Whether no frame comes within a moment; pings are answered all the while."""
        try:
            async with asyncio.timeout(0.05):
                await self.connection.recv()
        except TimeoutError:
            return True
        return False


class Bare:
    """One client of one server."""

    def __init__(self, fake: FakeComfy, http: httpx.AsyncClient) -> None:
        """Use this server."""
        self.fake = fake
        self.http = http

    async def post(self, graph: Graph, **body: Any) -> httpx.Response:
        """Post a prompt and return the answer."""
        return await self.http.post("/prompt", json={"prompt": graph, **body})

    async def submit(self, graph: Graph, **body: Any) -> str:
        """Post a prompt that is taken, and return its id."""
        answer = await self.post(graph, **body)
        assert answer.status_code == 200, answer.text
        prompt_id: str = answer.json()["prompt_id"]
        return prompt_id

    async def run(self, graph: Graph, **body: Any) -> dict[str, Any]:
        """Run a prompt to its end and return its history entry."""
        prompt_id = await self.submit(graph, **body)
        await self.fake.ended(prompt_id)
        entry: dict[str, Any] = (await self.get(f"/history/{prompt_id}"))[prompt_id]
        return entry

    async def get(self, path: str) -> Any:
        """Return the JSON under a path."""
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @asynccontextmanager
    async def socket(
        self, client_id: str = "me", *, negotiates: bool = True, greeting: bool = False
    ) -> AsyncIterator[Socket]:
        """Open a WebSocket; with `greeting` its first frames are left to be read."""
        address = self.fake.url.replace("http", "ws", 1) + f"/ws?clientId={client_id}"
        async with websockets.connect(address, close_timeout=1, max_size=None) as connection:
            socket = Socket(connection)
            if negotiates:
                flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
                await connection.send(json.dumps(flags))
            if not greeting:
                await socket.until("feature_flags" if negotiates else "status")
            yield socket


@asynccontextmanager
async def bare(**options: Any) -> AsyncIterator[Bare]:
    """Start a server with these options, and a client."""
    async with (
        FakeComfy(**options) as fake,
        httpx.AsyncClient(base_url=fake.url, timeout=5, verify=False) as http,
    ):
        yield Bare(fake, http)
