"""A driver in a process of its own, to be killed: runs workflows by a fleet with a results file."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import ray

from comfy_async.ray import ComfyCommand, ComfyFleet


async def main() -> None:
    """Do as the second argument says, on the cluster of the first."""
    order = json.loads(sys.argv[2])
    if "urls" in order:
        fleet = ComfyFleet(order["urls"])
    else:
        command = ComfyCommand(argv=[sys.executable, "serve.py", "{port}"], cwd=order["folder"])
        fleet = ComfyFleet(command, size=1, actor={"num_gpus": 0})
    async with fleet:
        async with fleet.map(order["graphs"], results=order["results"]) as finished:
            async for job in finished:
                sys.stdout.write(f"{job.index} {job.status}\n")


ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
asyncio.run(main())
