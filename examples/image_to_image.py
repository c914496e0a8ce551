"""Image to image: upload a picture, scale and invert it on the server, fetch the result.

Needs `pip install 'comfy-async[testing]'`, and a ComfyUI (`--server URL`) or its stand-in.

    python examples/image_to_image.py face.jpg
"""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from example_needs import needs
from example_server import open_session, parser

from comfy_async import UploadTooLargeError, Workflow


def workflow() -> Workflow:
    """Build the graph in Python: nodes are calls, inputs are keywords, outputs are values."""
    graph = Workflow.build()
    picture = graph.LoadImage(image="example.png", _title="The picture")
    small = graph.ImageScale(image=picture, upscale_method="lanczos", width=256, height=256, crop="center")
    graph.SaveImage(images=graph.ImageInvert(image=small), filename_prefix="inverted")
    return graph.workflow()


def drawn() -> bytes:
    """Draw a picture to upload, for those who name none."""
    with needs(__doc__):
        from PIL import Image

    content = io.BytesIO()
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(content, "PNG")
    return content.getvalue()


async def main() -> None:
    """Upload, run, save."""
    arguments = parser(__doc__)
    arguments.add_argument("picture", nargs="?", type=Path)
    options = arguments.parse_args()

    async with open_session(options.server) as comfy:
        upload = comfy.files.upload(options.picture or drawn(), name="picture.png")
        async for progress in upload:
            print(progress)
        try:
            face = await upload
        except UploadTooLargeError as error:
            raise SystemExit(f"{error.size} bytes are too many for this server: {error.limit}") from None
        # submit() would upload a path among the values by itself; a handle can be used many times.
        result = await comfy.run(workflow().with_inputs({"The picture.image": face}))
        for file in result.images:
            picture = await file.image()
            print(file.filename, picture.size)
        await result.save(options.out)


if __name__ == "__main__":
    asyncio.run(main())
