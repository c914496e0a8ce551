"""Resume after a crash: what was submitted is picked up, and nothing runs twice.

Needs `pip install 'comfy-async[testing]'`, and a ComfyUI (`--server URL`) or its stand-in.

    python examples/resume_after_crash.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from example_server import PORTRAIT, parser, server_url

from comfy_async import ComfySession, JobLostError, Workflow


async def first_life(url: str, note: Path) -> None:
    """Submit a job, note where it is, and crash."""
    async with ComfySession(url) as comfy:
        job = await comfy.submit(Workflow.load(PORTRAIT).randomized())
        # The ref is small JSON without secrets: put it into your database beside the order.
        await asyncio.to_thread(note.write_text, json.dumps(job.ref))
        print(f"submitted {job.prompt_id}, and now the power fails", flush=True)
        os._exit(1)


async def second_life(url: str, note: Path, out: Path) -> None:
    """Pick the job up, wherever it stands by now, and save its result."""
    reference = json.loads(await asyncio.to_thread(note.read_text))
    async with ComfySession(url) as comfy:
        job = await comfy.attach(reference)
        print(f"picked up {job.prompt_id}: {job.status}")
        try:
            result = await job
        except JobLostError as error:
            raise SystemExit(f"it must be submitted again: {error}") from None
        for path in await result.save(out):
            print(path)


async def main() -> None:
    """Run the batch twice: the first time in a process that is killed."""
    arguments = parser(__doc__)
    arguments.add_argument("--crash", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.crash:
        await first_life(options.server, options.crash)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    note = options.out / "job.json"
    async with server_url(options.server) as url:
        command = [sys.executable, __file__, "--server", url, "--crash", str(note)]
        crashed = await asyncio.create_subprocess_exec(*command)
        await crashed.wait()
        await second_life(url, note, options.out)


if __name__ == "__main__":
    asyncio.run(main())
