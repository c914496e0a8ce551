"""Upload and download of a large file: how flat the memory stays, and how fast it is against bare httpx.

Run it with `python tests/benchmarks/bench_files.py [--size 1024]` (MiB). The server is a process of its
own that does the least a server can, so that the client's own work shows. Rounds of both take turns;
the ratio is the median of the pairs. Target: 0.9 of a bare httpx stream that does the same job.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from comfy_async import ComfySession

_CHUNK = 1 << 18
_STATS = json.dumps({"system": {"comfyui_version": "0.33.0"}, "devices": []}).encode()


async def _serve(size: int) -> None:
    """Give everybody `size` bytes, and swallow what is uploaded."""
    block = os.urandom(_CHUNK)

    async def answer(writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                left = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                while left:
                    left -= len(await reader.read(min(left, _CHUNK)))
                if b"/view" in head:
                    writer.write(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: %d\r\n\r\n' % size)
                    for _ in range(size // _CHUNK):
                        writer.write(block)
                        await writer.drain()
                elif b"upload" in head:
                    await answer(writer, b'{"name": "big.bin", "subfolder": "", "type": "input"}')
                else:
                    await answer(writer, _STATS if b"stats" in head else b"{}")
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 20)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


async def _bare_upload(client: httpx.AsyncClient, path: Path) -> None:
    """What a program with nothing but httpx does: its own multipart stream."""
    with path.open("rb") as file:
        (await client.post("/upload/image", files={"image": ("big.bin", file)})).raise_for_status()


async def _bare_download(client: httpx.AsyncClient, path: Path) -> None:
    """What a program with nothing but httpx does: write each chunk as it comes."""
    async with client.stream("GET", "/view") as response:
        with path.open("wb") as file:
            async for chunk in response.aiter_bytes():
                file.write(chunk)


async def _seconds(work: Callable[[], Awaitable[object]]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    await work()
    return time.perf_counter() - begin


@contextlib.contextmanager
def _server(size: int) -> Iterator[str]:
    """Run the server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(size)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()


def _fill(path: Path, size: int) -> None:
    """Write a file that nothing can compress."""
    with path.open("wb") as file:
        for _ in range(size // _CHUNK):
            file.write(os.urandom(_CHUNK))


def _peak() -> float:
    """The largest size of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _ours(comfy: ComfySession, source: Path, target: Path) -> tuple[float, float]:
    """Return how long the library takes, up and down."""
    return (
        await _seconds(lambda: comfy.files.upload(source, name="big.bin", overwrite=True)),
        await _seconds(lambda: comfy.files.save("big.bin", target)),
    )


async def _bare(url: str, source: Path, target: Path) -> tuple[float, float]:
    """Return how long httpx alone takes."""
    async with httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as client:
        return (
            await _seconds(lambda: _bare_upload(client, source)),
            await _seconds(lambda: _bare_download(client, target)),
        )


async def measure(size: int, rounds: int) -> dict[str, Any]:
    """Measure both directions, the library and bare httpx in turns, each first as often as the other."""
    pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "big.bin"), Path(folder, "out.bin")
        await asyncio.to_thread(_fill, source, size)
        with _server(size) as url:
            async with ComfySession(url) as comfy:
                await comfy.files.upload(b"warm", overwrite=True)
                before = _peak()
                await _ours(comfy, source, target)
                grown = _peak() - before
                for turn in range(rounds):
                    if turn % 2:
                        bare = await _bare(url, source, target)
                    ours = await _ours(comfy, source, target)
                    assert os.stat(target).st_size == size
                    if not turn % 2:
                        bare = await _bare(url, source, target)
                    pairs.append((ours, bare))
    return {
        "size_mib": size / (1 << 20),
        "memory_grown_mib": round(grown, 1),
        **{
            name: {
                "ratios": [bare[way] / ours[way] for ours, bare in pairs],
                "mb_per_s": round(statistics.median(size / ours[way] / 1e6 for ours, _ in pairs)),
            }
            for way, name in enumerate(("upload", "download"))
        },
    }


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(_serve(options.serve))
    else:
        print(json.dumps(asyncio.run(measure(options.size << 20, options.rounds))))


if __name__ == "__main__":
    main()
