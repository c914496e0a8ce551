"""A dataset of a few hundred rows through four ComfyUI servers on Ray, and a contact sheet of it.

Needs `pip install 'comfy-async[ray,testing]'`, and addresses of ComfyUIs or its stand-ins.

    python examples/ray_dataset.py                              # four stand-ins, started here
    python examples/ray_dataset.py http://gpu1:8188 http://gpu2:8188 ...

Each worker of the fleet starts a server of its own and ends it; with addresses it takes those.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from typing import Any

from example_needs import needs

with needs(__doc__):
    import ray
    import ray.data
    from PIL import Image

    from comfy_async.ray import ComfyCommand, ComfyFleet, ComfyMapper

ROWS = 240
STAND_IN = ComfyCommand(
    argv=[sys.executable, "-m", "comfy_async.testing", "--port", "{port}", "--step-seconds", "0"]
)
WORKFLOW = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 48, "height": 48, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "ray"}},
}


def run_dataset(fleet: ComfyFleet) -> list[bytes]:
    """Run every row, print how far it is, and return the pictures in the order of the rows."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items([{"id": row, "color": row * 69_905 % (1 << 24)} for row in range(ROWS)])
    made = rows.map_batches(
        ComfyMapper,
        fn_constructor_args=(fleet, WORKFLOW),
        fn_constructor_kwargs={
            "inputs": {"color": "1.color"},
            "outputs": {"image": "2"},
            "errors": "column",
        },
        batch_size=24,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    pictures: dict[int, bytes] = {}
    for row in made.iter_rows():
        if row["error"]:
            print(f"row {row['id']}: {row['error']}")
        else:
            pictures[row["id"]] = row["image"]
        if len(pictures) % 48 == 0:
            print(f"{len(pictures)}/{ROWS} rows", flush=True)
    return [pictures[number] for number in sorted(pictures)]


def contact_sheet(pictures: list[bytes], columns: int = 20) -> Image.Image:
    """Return all pictures side by side."""
    sheet = Image.new("RGB", (columns * 50, -(-len(pictures) // columns) * 50), "white")
    for number, data in enumerate(pictures):
        sheet.paste(Image.open(io.BytesIO(data)), (number % columns * 50, number // columns * 50))
    return sheet


async def main(urls: list[str]) -> None:
    """Open the fleet, run the dataset beside the event loop, save the sheet."""
    servers: Any = urls or STAND_IN
    # A real ComfyUI takes a GPU: leave out `actor`, and Ray gives one to each worker.
    async with ComfyFleet(servers, size=4, actor=None if urls else {"num_gpus": 0}) as fleet:
        print(f"{fleet!r}: {', '.join(fleet.servers)}")
        pictures = await asyncio.to_thread(run_dataset, fleet)
    contact_sheet(pictures).save("contact_sheet.png")
    print(f"{len(pictures)} pictures are in contact_sheet.png")


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    asyncio.run(main(sys.argv[1:]))
