"""Text to image, with progress while it runs.

Needs `pip install 'comfy-async[testing]'`, and a ComfyUI (`--server URL`) or its stand-in.

    python examples/text_to_image.py "a lighthouse at dawn"
"""

from __future__ import annotations

import asyncio

from example_server import PORTRAIT, open_session, parser

from comfy_async import JobFailedError, NodeFinished, Preview, Progress, Workflow


async def main() -> None:
    """Run the workflow, show how far it is, and save what it made."""
    arguments = parser(__doc__)
    arguments.add_argument("prompt", nargs="?", default="a lighthouse at dawn")
    options = arguments.parse_args()

    portrait = Workflow.load(PORTRAIT).randomized().with_inputs({"6.text": options.prompt})
    async with open_session(options.server, previews="latent2rgb") as comfy:
        job = await comfy.submit(portrait)
        previews = 0
        async for event in job:
            match event:
                case Progress():
                    print(f"\r{job.progress}    ", end="", flush=True)
                case Preview():
                    previews += 1
                case NodeFinished(title=title):
                    print(f"\rfinished {title}    ")
        try:
            result = await job
        except JobFailedError as error:
            print(f"{error.title} failed: {error}")
            raise SystemExit(1) from None
        print(f"{previews} previews, {result.duration:.1f} s")
        for path in await result.save(options.out):
            print(path)


if __name__ == "__main__":
    asyncio.run(main())
