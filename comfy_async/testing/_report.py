"""What a running node can tell, and where it can be stopped."""

from __future__ import annotations

import asyncio
from typing import Any

from ._context import Interrupted
from ._core import Core
from ._messages import image_frame, image_with_metadata_frame, progress_text_frame, text_frame
from ._progress import Place, ProgressBoard

__all__ = ["NodeReport"]


class NodeReport:
    """What a running node can tell, and where it can be stopped."""

    def __init__(self, core: Core, board: ProgressBoard, *, place: Place, class_type: str) -> None:
        """Report for one node of one run."""
        self._core = core
        self._board = board
        self._place = place
        self._class_type = class_type

    def checkpoint(self) -> None:
        """Raise Interrupted when an interrupt is pending, and consume it.

        Raises:
            Interrupted: Somebody asked for it.
        """
        if self._core.interrupting:
            self._core.interrupting = False
            raise Interrupted

    async def step(self, number: int, *, seconds: float | None = None) -> None:
        """Spend the time of a step, and wait at its gate."""
        seconds = self._core.pace.step_seconds if seconds is None else seconds
        if seconds > 0:
            await asyncio.sleep(seconds)
        await self._core.gates.pass_by(
            self._class_type, step=number, prompt_id=self._board.prompt_id, node=self._place.node
        )

    async def progress(self, value: float, maximum: float, image: tuple[str, bytes] | None = None) -> None:
        """Report a step, with a preview in the form that the client negotiated.

        Raises:
            Interrupted: Somebody asked for it.
        """
        self.checkpoint()
        hub, sid = self._core.hub, self._core.client_id
        prompt_id = self._board.prompt_id
        self._board.update(self._place, value, maximum)
        modern = hub.supports(sid, "supports_preview_metadata")
        if image is not None and modern:
            metadata = self._place.ids(prompt_id)
            frame = image_with_metadata_frame(*image, metadata=metadata)
            hub.post(frame, sid)
        data = {"value": value, "max": maximum, "prompt_id": prompt_id, "node": self._place.node}
        hub.post(text_frame("progress", data), sid)
        if image is not None and not modern:
            hub.post(image_frame(*image), sid)
        await asyncio.sleep(0)

    def text(self, message: str) -> None:
        """Show a line of text under the node."""
        self._core.hub.post(progress_text_frame(self._place.node, message), self._core.client_id)

    def send(self, event: str, data: Any) -> None:
        """Send a message of any type to the client."""
        self._core.hub.post(text_frame(event, data), self._core.client_id)
