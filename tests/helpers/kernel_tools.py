"""A real Jupyter kernel to run cells in, and what it displayed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

START = """
from comfy_async import *
comfy = await ComfySession({url!r}, previews="latent2rgb", partner_api_key="s3cret-partner-key").connect()
"""
"""The first cell: a session that is kept over the cells."""


class Cell:
    """What one cell gave.

    Attributes:
        frames: Every HTML that was displayed, updates too, in order.
        screens: By display id (or a running number), what stands there at the end.
        printed: What it printed.
        widgets: How often a widget was displayed.
        error: The name of the error that ended it, "" when none did.
        traceback: What it showed of it.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.frames: list[str] = []
        self.screens: dict[str, str] = {}
        self.printed = ""
        self.widgets = 0
        self.error = ""
        self.traceback = ""

    def take(self, message: dict[str, Any]) -> None:
        """Take in a message of the kernel."""
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            self.printed += content["text"]
        elif kind == "error":
            self.error = content["ename"]
            self.traceback = "\n".join(content["traceback"])
        elif "application/vnd.jupyter.widget-view+json" in content.get("data", {}):
            self.widgets += 1
        elif "text/html" in content.get("data", {}):
            html = content["data"]["text/html"]
            name = content.get("transient", {}).get("display_id") or f"output {len(self.screens)}"
            if kind == "update_display_data":
                assert name in self.screens, "an update for something that was never displayed"
            self.frames.append(html)
            self.screens[name] = html

    @property
    def last(self) -> str:
        """The last frame so far, "" before the first."""
        return self.frames[-1] if self.frames else ""

    @property
    def html(self) -> str:
        """What stands there at the end, of a cell with one output."""
        (screen,) = self.screens.values()
        return screen


class Kernel:
    """A kernel that runs cells one after the other."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        """Use a running one."""
        self.manager = manager
        self.client = client

    def run(
        self,
        code: str,
        *,
        seeing: Callable[[Cell], object] | None = None,
        then: Callable[[], object] | None = None,
    ) -> Cell:
        """Run a cell to its end.

        Args:
            code: The cell.
            seeing: What the cell must have shown for `then`.
            then: Called once, while the cell runs.
        """
        cell = Cell()
        waiting = [then] if then is not None else []

        def hook(message: dict[str, Any]) -> None:
            cell.take(message)
            if waiting and seeing is not None and seeing(cell):
                waiting.pop()()

        self.client.execute_interactive(code, output_hook=hook, timeout=60, allow_stdin=False)
        assert not waiting, "what the test waited for was never shown"
        return cell

    def tell(self, widget: str, **data: Any) -> None:
        """Send a widget what a page would send it, between two cells: a press, or what was typed."""
        content = {"comm_id": widget, "data": data}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def restart(self) -> None:
        """Lose everything."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=60)


@contextlib.contextmanager
def kernel() -> Iterator[Kernel]:
    """Run a kernel while the block lasts."""
    # The sockets lie beside the connection file; a path of pytest's may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        manager = KernelManager(
            kernel_name="python3", transport="ipc", connection_file=f"{folder}/kernel.json"
        )
        manager.start_kernel()
        client = manager.client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=60)
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel()
            manager.cleanup_resources()
