"""A driver in a process of its own, to be killed: runs workflows by a fleet with a results file."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import ray

from comfy_async.ray import ComfyFleet


async def main() -> None:
    """Do as the second argument says, on the cluster of the first."""
    order = json.loads(sys.argv[2])
    async with ComfyFleet(order["urls"]) as fleet:
        async with fleet.map(order["graphs"], results=order["results"]) as finished:
            async for job in finished:
                sys.stdout.write(f"{job.index} {job.status}\n")


ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
asyncio.run(main())
