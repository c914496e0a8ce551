"""What a test does to a running server: it waits, holds, closes gates, and defines classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ._books import Books
from ._core import Core
from ._gates import Gate
from ._scripts import ScriptError, scripted

__all__ = ["Steering"]


class Steering:
    """What a test does to a running server.

    Attributes:
        core: The parts of the server.
    """

    core: Core

    @property
    def books(self) -> Books:
        """What happened on the server."""
        return self.core.books

    async def wait_for(self, predicate: Callable[[Books], object]) -> None:
        """Wait until a condition on the records holds.

        Bound it with `asyncio.timeout` where it might never come true.

        Raises:
            Exception: Whatever the predicate raises.

        Example:
            >>> job = await comfy.submit(flow)
            >>> async with asyncio.timeout(10):
            ...     await fake.wait_for(lambda books: books.ended == 2)
        """
        await self.books.until(predicate)

    async def running(self, prompt_id: str | None = None) -> str:
        """Wait until a prompt runs, any when none is named, and return its id."""

        def found(_books: Books) -> bool:
            running = [item.prompt_id for item in self.core.queue.running]
            return bool(running) if prompt_id is None else prompt_id in running

        await self.books.until(found)
        return self.core.queue.running[0].prompt_id

    async def ended(self, prompt_id: str) -> None:
        """Wait until every accepted run of a prompt has ended, and its history is written."""
        await self.books.until(
            lambda books: bool(books.of(prompt_id)) and len(books.ends(prompt_id)) == len(books.of(prompt_id))
        )

    async def idle(self) -> None:
        """Wait until nothing runs and nothing is queued."""
        await self.books.until(lambda _books: self.core.queue.remaining == 0)

    def hold(self) -> None:
        """Start no more prompts, so that they stay pending; what runs goes on.

        Example:
            >>> fake.hold()
            >>> jobs = [await comfy.submit(flow.randomized(seed)) for seed in range(3)]
            >>> await comfy.queue.remaining()
            3
            >>> fake.release()
            >>> await fake.idle()
        """
        self.core.queue.hold()

    def release(self) -> None:
        """Start prompts again after `hold`."""
        self.core.queue.release()

    def gate(
        self,
        class_type: str | None = None,
        *,
        step: int | None = None,
        prompt_id: str | None = None,
        node: str | None = None,
    ) -> Gate:
        """Close a place in a run, where it will stand until the gate is opened.

        Args:
            class_type: The node's class, any when None. "history" stands for the
                place after the last event and before the history is written.
            step: Before which step of the node; before the node's work when None.
            prompt_id: Only in that run.
            node: Only at the node with that id.

        Example:
            >>> with fake.gate("VAEDecode") as gate:
            ...     job = await comfy.submit(flow)
            ...     prompt_id = await gate.reached()  # the sampler is done, nothing is decoded yet
            ...     print(fake.books.of(prompt_id)[0].executed[-1])
            3
        """
        return self.core.gates.close(class_type, step=step, prompt_id=prompt_id, node=node)

    def script(
        self,
        class_type: str,
        *,
        # what it is
        inputs: Mapping[str, Any] | None = None,
        optional: Mapping[str, Any] | None = None,
        outputs: Iterable[str] = (),
        is_output: bool | None = None,
        cached: bool = False,
        # what it does
        steps: int = 0,
        delay: float = 0.0,
        text: str | Iterable[str] = (),
        messages: Iterable[tuple[str, Any]] = (),
        output: Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]] | None = None,
        returns: Callable[[dict[str, Any]], Iterable[Any]] | None = None,
        expands: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        error: ScriptError = None,
        error_at: int | None = None,
    ) -> None:
        """Define a node class.

        Args:
            class_type: Its name; one of a built-in class replaces it.
            inputs: Its required inputs as type, or as type and options: `{"image": "IMAGE",
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0})}`; a list is a choice.
            optional: Its optional inputs.
            outputs: The types of its outputs.
            is_output: Whether it is an output node; by default when it has no outputs.
            cached: Whether an unchanged node is taken from the cache, as real ones are.
            steps: How many steps it reports; each takes `step_seconds`.
            delay: Seconds that it takes before its first step.
            text: Lines of progress text (binary frames of type 3).
            messages: Messages of any type to send, as `(type, data)`.
            output: What it shows, as the `output` of its `executed` event, or how that is made
                from its inputs: `{"images": [{"filename": ..., "subfolder": "", "type": "temp"}]}`.
            returns: How its outputs are made from its inputs; None for each when not given.
            expands: How a graph is made from its inputs that runs in its place, under ids such as
                `12.0.0.1`; `returns` may then give links such as `["1", 0]` to its nodes.
            error: How it fails: an exception, `("RuntimeError", "message")`, "oom" for the
                out-of-memory error of torch, or "blocked" for outputs that block what follows.
            error_at: After which step it fails; after the last when None.

        Example:
            >>> def shout(given):
            ...     return {"text": [given["text"].upper()]}
            >>> fake.script("Shout", inputs={"text": "STRING"}, output=shout)
            >>> result = await comfy.run({"1": {"class_type": "Shout", "inputs": {"text": "hello"}}})
            >>> result.texts
            ('HELLO',)
        """
        spec, function = scripted(
            class_type,
            inputs=inputs or {},
            optional=optional or {},
            outputs=tuple(outputs),
            is_output=is_output,
            steps=steps,
            delay=delay,
            text=[text] if isinstance(text, str) else list(text),
            messages=list(messages),
            output=output,
            returns=returns,
            expands=expands,
            error=error,
            error_at=error_at,
        )
        self.core.classes.add(spec, function, cached=cached)

    def fail_node(
        self,
        class_type: str,
        error: ScriptError | str = ("RuntimeError", "it was asked to fail"),
        *,
        error_at: int | None = None,
        count: int | None = None,
    ) -> None:
        """Make an existing class fail; its inputs, outputs and everything else stay as they are.

        Args:
            class_type: Its name.
            error: How it fails, as for `script`, or the message of a RuntimeError; "blocked" blocks what
                follows instead.
            error_at: After which of its steps; before it does anything when None.
            count: How many times, always when None; after that it does its work again.

        Raises:
            ValueError: There is no such class, or that is no way to fail.

        Example:
            >>> fake.fail_node("VAEDecode", "oom", count=1)
            >>> try:
            ...     await comfy.run(flow)
            ... except OutOfMemoryError as error:
            ...     print(error.title)
            VAE Decode
            >>> result = await comfy.run(flow)
        """
        self.core.classes.fail(class_type, error=error, error_at=error_at, count=count)
