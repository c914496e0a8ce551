"""A batch over prompts and seeds, four at a time, with a contact sheet of all of it.

Needs `pip install 'comfy-async[testing]'`, and a ComfyUI (`--server URL`) or its stand-in.

    python examples/batch_contact_sheet.py --seeds 3
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from example_needs import needs
from example_server import PORTRAIT, open_session, parser

from comfy_async import JobError, Workflow

with needs(__doc__):
    from PIL import Image, ImageDraw

PROMPTS = ("a lighthouse at dawn", "a fox in the snow", "a glass bottle galaxy")
TILE = 192


async def main() -> None:
    """Run every prompt with every seed; what fails leaves its tile empty."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=2)
    options = arguments.parse_args()

    portrait = Workflow.load(PORTRAIT)
    cells = [(prompt, seed) for prompt in PROMPTS for seed in range(options.seeds)]
    variants = [
        portrait.with_inputs({"6.text": prompt, "3.seed": seed, "3.steps": 4}) for prompt, seed in cells
    ]
    sheet = Image.new("RGB", (TILE * options.seeds, TILE * len(PROMPTS)), "white")
    async with open_session(options.server) as comfy:
        # `results` is a journal: a second run after a crash does not repeat what is in it.
        async with comfy.map(variants, limit=4) as finished:
            async for job in finished:
                assert job.index is not None
                row, column = divmod(job.index, options.seeds)
                try:
                    picture = await (await job).images[0].image()
                except JobError as error:
                    print(f"{cells[job.index]}: {error}")
                    continue
                sheet.paste(picture.convert("RGB").resize((TILE, TILE)), (column * TILE, row * TILE))
                print(finished.progress)
    print(write(sheet, options.out, seeds=options.seeds))


def write(sheet: Image.Image, folder: Path, *, seeds: int) -> Path:
    """Put the prompts below their rows, and save the sheet."""
    draw = ImageDraw.Draw(sheet)
    for row, prompt in enumerate(PROMPTS):
        draw.rectangle((0, (row + 1) * TILE - 18, TILE * seeds, (row + 1) * TILE), fill="white")
        draw.text((4, (row + 1) * TILE - 15), prompt, fill="black")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "contact_sheet.png"
    sheet.save(path)
    return path


if __name__ == "__main__":
    asyncio.run(main())
