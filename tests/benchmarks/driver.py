"""One client, called as its documentation says, told what to run by JSON lines on stdin.

    python tests/benchmarks/driver.py NAME URL

Runs in the client's own virtual environment, so it imports nothing of ours but `graphs`, and
every client only inside the class that drives it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Graph = dict[str, Any]


class CannotSayError(Exception):
    """A client has no way to say this graph."""


class Ours:
    """comfy_async: one session for everything."""

    async def start(self, url: str) -> None:
        """Open the session."""
        from comfy_async import ComfySession

        self.session = await ComfySession(url).connect()

    async def run(self, graph: Graph) -> int:
        """Return the number of images."""
        return len((await self.session.run(graph)).images)


class ApiSimplified:
    """comfy_api_simplified: blocking, so a thread for each prompt."""

    async def start(self, url: str) -> None:
        """Make the wrapper."""
        from comfy_api_simplified import ComfyApiWrapper  # type: ignore[import-not-found]

        self.wrapper = ComfyApiWrapper(url)

    async def run(self, graph: Graph) -> int:
        """Return the number of images."""
        return len(await asyncio.to_thread(self.wrapper.queue_and_wait_images, graph, "Save Image"))


class WorkflowClient:
    """comfyui-workflow-client: a client for each concurrent prompt, and a file to construct it."""

    async def start(self, url: str) -> None:
        """Remember the address."""
        self.address = urlsplit(url).netloc

    async def run(self, graph: Graph) -> int:
        """Return the number of images."""
        from comfyuiclient import ComfyUIClientAsync  # type: ignore[import-not-found]

        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(graph, file)
            file.flush()
            client = ComfyUIClientAsync(self.address, file.name)
            await client.connect()
            try:
                images, _ = await client.get_images(graph)
            finally:
                await client.close()
        return sum(len(each) if isinstance(each, list) else 1 for each in images.values() if each)


class Xy:
    """comfyui-xy: polls every second."""

    async def start(self, url: str) -> None:
        """Open the client."""
        from comfyui_xy import AsyncComfyUiClient  # type: ignore[import-not-found]

        self.client = await AsyncComfyUiClient(url, raise_on_error=True).__aenter__()

    async def run(self, graph: Graph) -> int:
        """Return the number of outputs."""
        outputs = await self.client.process_workflow(graph)
        return len(outputs or ())


class ApiClient:
    """comfy-api-client by its http tracker, the one that works."""

    async def start(self, url: str) -> None:
        """Open the client."""
        from comfy_api_client import create_client  # type: ignore[import-not-found]

        # Held, or it would be closed when it is collected.
        self.context = create_client(url, start_state_tracker="http")
        self.client = await self.context.__aenter__()

    async def run(self, graph: Graph) -> int:
        """Return the number of images."""
        result = await (await self.client.submit_workflow(graph)).future
        return len(getattr(result, "output_images", None) or ())


class Sdk:
    """comfy-sdk, through a comfy-api-proxy of its own."""

    async def start(self, url: str) -> None:
        """Start the proxy and open the client."""
        port = 20000 + os.getpid() % 20000
        proxy = Path(sys.executable).with_name("comfy-api-proxy")
        self.proxy = subprocess.Popen(  # noqa: ASYNC220 - it is over in a moment
            [proxy, "run", "--comfyui", url, "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        os.environ["COMFY_BASE_URL"] = f"http://127.0.0.1:{port}"
        for _ in range(150):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        from comfy_sdk import AsyncComfy  # type: ignore[import-not-found]

        self.client = await AsyncComfy().__aenter__()

    async def run(self, graph: Graph) -> int:
        """Return the number of outputs."""
        job = await self.client.run(self.client.workflows.from_json(graph))
        return len(job.outputs)

    def stop(self) -> None:
        """End the proxy."""
        self.proxy.terminate()
        self.proxy.wait()


class SdkDirect(Sdk):
    """comfy-sdk, with the URL of a proxy that runs."""

    async def start(self, url: str) -> None:
        """Open the client."""
        os.environ["COMFY_BASE_URL"] = url
        from comfy_sdk import AsyncComfy

        self.client = await AsyncComfy().__aenter__()

    def stop(self) -> None:
        """The proxy is somebody else's."""


class Script:
    """comfy-script: its own node objects instead of a graph."""

    async def start(self, url: str) -> None:
        """Load the server's nodes."""
        import comfy_script.runtime as runtime  # type: ignore[import-not-found]

        self.runtime = runtime
        await runtime._load(url)

    async def run(self, graph: Graph) -> int:
        """Return the number of images; only chains of one image can be said this way."""
        from comfy_script.runtime.node import nodes  # type: ignore[import-not-found]

        if "8" in graph:
            raise CannotSayError("its nodes cannot link to one that does not exist")
        inputs = graph["1"]["inputs"]
        value = nodes["EmptyImage"](inputs["width"], inputs["height"], inputs["batch_size"], inputs["color"])
        if "2" in graph:
            value = nodes[graph["2"]["class_type"]](value)
        task = await self.runtime.queue._put(nodes["SaveImage"](value, "bench"), "source")
        results = await task
        if results is None:
            return 0
        return sum(len(result._image_infos) if hasattr(result, "_image_infos") else 1 for result in results)


class Cli:
    """comfy-cli: a process for each prompt, of which the machine bears a few at once."""

    at_once = 4

    async def start(self, url: str) -> None:
        """Turn its telemetry off."""
        self.command = str(Path(sys.executable).with_name("comfy"))
        self.url = urlsplit(url)
        await self._call("--skip-prompt", "tracking", "disable")

    async def _call(self, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            self.command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            out, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, out.decode()

    async def run(self, graph: Graph) -> int:
        """Return the number of outputs."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(graph, file)
            file.flush()
            address = ["--host", str(self.url.hostname), "--port", str(self.url.port)]
            code, out = await self._call(
                "--json", "run", "--workflow", file.name, *address, "--wait", "--timeout", "15"
            )
        if code != 0:
            raise RuntimeError(f"exit code {code}: {out[-300:]}")
        envelope = json.loads(out.strip().splitlines()[-1])
        return len((envelope.get("data") or {}).get("outputs") or ())


CLIENTS: dict[str, type[Any]] = {
    "comfy_async": Ours,
    "comfy_api_simplified": ApiSimplified,
    "comfyui-workflow-client": WorkflowClient,
    "comfyui-xy": Xy,
    "comfy-api-client": ApiClient,
    "comfy-sdk": Sdk,
    "comfy-sdk on API v2": SdkDirect,
    "comfy-script": Script,
    "comfy-cli": Cli,
}


class Driver:
    """Runs graphs with one client."""

    def __init__(self, client: Any) -> None:
        """Drive this client."""
        self.client = client
        self.begun: list[asyncio.Task[dict[str, Any]]] = []

    async def one(self, graph: Graph, limit: float = 30.0) -> dict[str, Any]:
        """Run a graph and say how it went and when."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit) as timer:
                images = await self.client.run(graph)
            outcome: dict[str, Any] = {"outcome": "completed", "images": images}
        except BaseException as error:
            if isinstance(error, TimeoutError) and timer.expired():
                outcome = {"outcome": "hung", "error": f"nothing within {limit:g} s"}
            elif isinstance(error, CannotSayError):
                outcome = {"outcome": "cannot", "error": str(error)}
            else:
                outcome = {"outcome": "raised", "error": f"{type(error).__name__}: {error}"[:300]}
        return {**outcome, "began": began, "at": time.monotonic()}

    async def sequence(self, graphs: list[Graph], limit: float = 30.0) -> list[dict[str, Any]]:
        """Run graphs one after the other; what hangs once is not tried again."""
        done = []
        for graph in graphs:
            done.append(await self.one(graph, limit))
            if done[-1]["outcome"] == "hung":
                break
        return done

    async def many(self, graphs: list[Graph], limit: float = 60.0) -> dict[str, Any]:
        """Run graphs all at once, and say what that took."""
        cpu, wall = _cpu(), time.monotonic()
        room = asyncio.Semaphore(getattr(self.client, "at_once", len(graphs)))

        async def one(graph: Graph) -> dict[str, Any]:
            async with room:
                return await self.one(graph, limit)

        results = await asyncio.gather(*(one(graph) for graph in graphs))
        return {"results": results, "cpu": _cpu() - cpu, "wall": time.monotonic() - wall}

    async def begin(self, graphs: list[Graph], limit: float = 30.0) -> dict[str, Any]:
        """Start graphs without waiting."""
        self.begun = [asyncio.create_task(self.one(graph, limit)) for graph in graphs]
        await asyncio.sleep(0)
        return {}

    async def finish(self) -> list[dict[str, Any]]:
        """Wait for what was begun."""
        return list(await asyncio.gather(*self.begun))


def _cpu() -> float:
    """Return the CPU seconds of this process and of those that it ran."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


async def main() -> None:
    """Serve until stdin closes; leave without waiting for threads that hang."""
    name, url = sys.argv[1:]
    # Clients print; the answers have a channel of their own.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(256))
    client = CLIENTS[name]()
    driver = Driver(client)
    try:
        async with asyncio.timeout(60):
            await client.start(url)
        print("ready", file=channel, flush=True)
    except Exception as error:
        print(f"cannot start: {type(error).__name__}: {error}".replace("\n", " "), file=channel, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        answer = await getattr(driver, request.pop("do"))(**request)
        print(json.dumps(answer), file=channel, flush=True)
    if hasattr(client, "stop"):
        client.stop()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
