"""Partner nodes, with the key of the user who asks: never one key for everybody by accident.

Needs `pip install 'comfy-async[testing]'`, and a ComfyUI with keys for its partner nodes or its stand-in.

    COMFY_KEY_ANNA=... COMFY_KEY_BEN=... python examples/partner_nodes.py --server http://127.0.0.1:8188
"""

from __future__ import annotations

import asyncio
import os

from example_needs import needs
from example_server import PARTNER, parser

from comfy_async import ComfySession, PartnerNodeError, ProgressText, Workflow

with needs(__doc__):
    from comfy_async.testing import FakeComfy


class Studio:
    """An app with many users and one session; each user pays with a key of their own."""

    def __init__(self, comfy: ComfySession, keys: dict[str, str]) -> None:
        """Keep the keys on your own server, never in a browser."""
        self.comfy = comfy
        self.keys = keys
        self.workflow = Workflow.load(PARTNER)

    async def draw(self, user: str, prompt: str) -> str:
        """Draw for a user and return what became of it."""
        variant = self.workflow.randomized().with_inputs({"11.prompt": prompt})
        # The key travels with this one prompt: it is in no event, no repr and no history.
        job = await self.comfy.submit(variant, partner_api_key=self.keys.get(user))
        async for event in job:
            if isinstance(event, ProgressText):
                print(f"{user}: {event.text}")
        try:
            result = await job
        except PartnerNodeError as error:
            return f"{user}: {error.reason}: {error.hint}"
        return f"{user}: {result.images[0].filename}"


def stand_in() -> FakeComfy:
    """Return a server whose partner node knows two keys, and one of them has no credits."""
    fake = FakeComfy()

    def paid(_values: dict[str, object]) -> list[object]:
        key = fake.books.accepted[-1].secrets.get("api_key_comfy_org")
        if key is None:
            raise RuntimeError("Unauthorized: Please login first to use this node.")
        if key == "key-of-ben":
            raise RuntimeError("Payment Required: Please add credits to your account to use this node.")
        return [["1", 0]]

    def painted(_values: dict[str, object]) -> dict[str, object]:
        inputs = {"width": 64, "height": 64, "batch_size": 1, "color": 0x336699}
        return {"1": {"class_type": "EmptyImage", "inputs": inputs}}

    told = ["Status: Pending", "Price: $0.06"]
    fake.script("FluxProUltraImageNode", outputs=["IMAGE"], text=told, returns=paid, expands=painted)
    return fake


async def main() -> None:
    """Let three users draw: one can pay, one cannot, one never logged in."""
    options = parser(__doc__).parse_args()
    if options.server:
        keys = {name: os.environ.get(f"COMFY_KEY_{name.upper()}", "") for name in ("anna", "ben")}
        async with ComfySession(options.server) as comfy:
            await everybody(Studio(comfy, keys))
        return
    async with stand_in() as fake, fake.session() as comfy:
        await everybody(Studio(comfy, {"anna": "key-of-anna", "ben": "key-of-ben"}))


async def everybody(studio: Studio) -> None:
    """Run a workflow with the key of each user."""
    for user in ("anna", "ben", "cleo"):
        print(await studio.draw(user, f"a picture for {user}"))


if __name__ == "__main__":
    asyncio.run(main())
