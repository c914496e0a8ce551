"""Several servers behind one pool: each job goes where there is the least to do.

Needs `pip install 'comfy-async[testing]'`, and ComfyUIs (`--servers URL ...`) or three stand-ins.

    python examples/several_servers.py --servers http://a:8188 http://b:8188
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

from example_server import PORTRAIT, parser, server_url

from comfy_async import ComfyPool, JobError, Workflow


async def main() -> None:
    """Share a dozen jobs between the servers, and count who did how many."""
    arguments = parser(__doc__)
    arguments.add_argument("--servers", nargs="+", default=[])
    arguments.add_argument("--jobs", type=int, default=12)
    options = arguments.parse_args()

    async with AsyncExitStack() as stack:
        urls = options.servers or [await stack.enter_async_context(server_url(None)) for _ in range(3)]
        pool = await stack.enter_async_context(ComfyPool(urls))
        portrait = Workflow.load(PORTRAIT).with_inputs({"3.steps": 5})
        variants = [portrait.with_inputs({"3.seed": seed}) for seed in range(options.jobs)]
        done: Counter[str] = Counter()
        async with pool.map(variants) as finished:
            async for job in finished:
                try:
                    await (await job).save(options.out)
                except JobError as error:
                    print(f"job {job.index}: {error}")
                    continue
                done[job.ref["server"]] += 1
                print(finished.progress)
        for url, count in done.items():
            print(f"{url} did {count}")


if __name__ == "__main__":
    asyncio.run(main())
