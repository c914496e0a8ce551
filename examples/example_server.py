"""What the examples share: the server to talk to, and the workflow to run.

`--server URL` or COMFY_LOCAL_URL name a ComfyUI. Without either a FakeComfy is started, which
implements the same protocol and paints stand-ins for pictures, so every example runs anywhere.

Needs `pip install 'comfy-async[testing]'`; with a ComfyUI plain `comfy-async` is enough.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from example_needs import needs

with needs("pip install comfy-async"):
    from comfy_async import ComfySession

WORKFLOWS = Path(__file__).parent / "workflows"
PORTRAIT = WORKFLOWS / "sd15_text2image_api.json"
PARTNER = WORKFLOWS / "partner_flux_ultra_api.json"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all examples have."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--server", default=os.environ.get("COMFY_LOCAL_URL"), help="the address of a ComfyUI")
    made.add_argument("--out", type=Path, default=Path("out"), help="the folder for the results")
    return made


@asynccontextmanager
async def server_url(url: str | None, **options: Any) -> AsyncIterator[str]:
    """Give the address of a server; without one it is a FakeComfy, with these options."""
    if url is not None:
        yield url
        return
    with needs("pip install 'comfy-async[testing]', or name a ComfyUI: --server URL"):
        from comfy_async.testing import FakeComfy
    async with FakeComfy(**{"step_seconds": 0.02, **options}) as fake:
        yield fake.url


@asynccontextmanager
async def open_session(url: str | None, **options: Any) -> AsyncIterator[ComfySession]:
    """Open a session with the server, or with a FakeComfy."""
    async with server_url(url) as address, ComfySession(address, **options) as comfy:
        yield comfy
