"""What a node's code gets to see of the server while it runs."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from PIL import Image

from ._folders import Folders

__all__ = ["Blocked", "Interrupted", "Latent", "NodeContext", "NodeError", "Outcome", "Workshop"]

T = TypeVar("T")

_PIXELS_DONE_INLINE = 128 * 128


class Interrupted(Exception):  # noqa: N818 - it is no error, and named as ComfyUI's messages name it
    """The run was interrupted."""


class NodeError(Exception):
    """A failure that is shown under a type of its own, such as `torch.OutOfMemoryError`."""

    def __init__(self, kind: str, message: str) -> None:
        """Remember the type and the message that clients are to see."""
        super().__init__(message)
        self.kind = kind


@dataclasses.dataclass(frozen=True, slots=True)
class Blocked:
    """An output that keeps what depends on it from running (ComfyUI's ExecutionBlocker).

    Attributes:
        message: Sent once, by the first node that would have used it; None sends nothing.
    """

    message: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a node returns.

    Attributes:
        outputs: Its outputs by slot; links into the expansion, when there is one.
        ui: What it shows (the `executed` output).
        expansion: A graph that runs in its place.
    """

    outputs: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None
    expansion: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Latent:
    """A stand-in for latent images: their size, and what they will show once they are decoded.

    Attributes:
        scene: What was sampled.
        pictures: What was encoded, as long as nothing was sampled of it.
        source: Which pictures and masks went in: a sampler shows something else for others.
    """

    size: tuple[int, int]
    batch: int
    channels: int
    scene: Any = None
    pictures: Images | None = None
    source: str = ""


class Workshop:
    """A thread for work that would block the event loop; made when first used."""

    def __init__(self) -> None:
        """Make a workshop without a thread yet."""
        self._pool: ThreadPoolExecutor | None = None

    async def do(self, pixels: int, work: Callable[..., T], *args: Any) -> T:
        """Do some work here and now when it is small, else in the thread."""
        if pixels <= _PIXELS_DONE_INLINE:
            return work(*args)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="fake-comfy")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def close(self) -> None:
        """End the thread, once it has done what it is doing."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


class Reporter(Protocol):
    """What the executor offers to a running node."""

    def checkpoint(self) -> None:
        """Raise Interrupted when an interrupt is pending."""

    async def progress(self, value: float, maximum: float, image: tuple[str, bytes] | None = None) -> None:
        """Report a step, with a preview as format and bytes."""

    async def step(self, number: int, *, seconds: float | None = None) -> None:
        """Spend the time of a step, and wait at its gate."""

    def text(self, message: str) -> None:
        """Show a line of text under the node."""

    def send(self, event: str, data: Any) -> None:
        """Send a message of any type to the client."""


@dataclasses.dataclass(slots=True)
class NodeContext:
    """One node's view of the run it is part of.

    Attributes:
        previews: Whether the run asked for previews while sampling.
    """

    node_id: str
    prompt: dict[str, Any]
    extra_data: dict[str, Any]
    folders: Folders
    workshop: Workshop
    report: Reporter
    previews: bool


NodeFunction = Callable[[NodeContext, dict[str, Any]], Awaitable[Outcome]]
Images = list[Image.Image]
"""A batch of RGB (or RGBA) pictures of one size, as IMAGE."""
