"""A workflow in Python code that editors complete and type checkers check.

Needs `pip install 'comfy-async[testing]'`, and a ComfyUI (`--server URL`) or its stand-in.

    python examples/typed_nodes.py --stubs typed

writes the server's nodes as the module `comfy_nodes` into that folder (`comfy-async nodes --stubs`
does the same), and builds a graph by it. What mypy refuses in such code is refused when it runs too.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

from example_server import open_session, parser

from comfy_async import Workflow, WorkflowError
from comfy_async.workflow.build import write_stubs


def build(nodes: Any) -> Workflow:
    """Return a graph: nodes are calls, inputs keywords, outputs values."""
    graph = nodes.Nodes()
    model, clip, vae = graph.CheckpointLoaderSimple(ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    samples = graph.KSampler(
        model=model,
        positive=graph.CLIPTextEncode(text="a lighthouse at dawn", clip=clip),
        negative=graph.CLIPTextEncode(text="blurry", clip=clip),
        latent_image=graph.EmptyLatentImage(width=512, height=512),
        steps=8,
    )
    graph.SaveImage(images=graph.VAEDecode(samples=samples, vae=vae), filename_prefix="typed")
    built: Workflow = graph.workflow()
    return built


def mistake(nodes: Any) -> str:
    """Return what is said to a node of several outputs where one is wanted: mypy says it too."""
    graph = nodes.Nodes()
    loader = graph.CheckpointLoaderSimple(ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    try:
        graph.CLIPTextEncode(text="a", clip=loader)
    except WorkflowError as error:
        return str(error)
    raise AssertionError("a loader is no CLIP")


async def main() -> None:
    """Write the stubs, build by them, and run what was built."""
    arguments = parser(__doc__)
    arguments.add_argument("--stubs", type=Path, default=Path("typed"), help="the folder for comfy_nodes")
    options = arguments.parse_args()

    async with open_session(options.server) as comfy:
        written = write_stubs(await comfy.nodes.catalog(), options.stubs)
        print("wrote", *(path.name for path in written))
        sys.path.insert(0, str(options.stubs))
        nodes = importlib.import_module("comfy_nodes")
        print(mistake(nodes))
        result = await comfy.run(build(nodes))
        for path in await result.save(options.out):
            print(path)


if __name__ == "__main__":
    asyncio.run(main())
