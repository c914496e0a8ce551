"""The faults of a server, on request: one at a time."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

from ._core import Core
from ._messages import text_frame
from ._rules import Failure, Rule
from ._sockets import Connection, DropKind, TextBytes
from ._v2_faults import V2Faults

__all__ = ["SingleFaults"]

Refusal: TypeAlias = Literal[
    "insufficient_credits", "partner_disabled", "too_large", "payment_required", "queue_limit"
]

_REFUSALS: dict[Refusal, tuple[int, str, str]] = {
    "insufficient_credits": (402, "INSUFFICIENT_CREDITS", "There are not enough credits."),
    "partner_disabled": (403, "PARTNER_NODE_DISABLED", "The workspace does not allow this provider."),
    "too_large": (413, "WORKFLOW_TOO_LARGE", "The workflow is too large."),
    "payment_required": (429, "PAYMENT_REQUIRED", "The subscription is inactive."),
    "queue_limit": (429, "QUEUE_LIMIT", "Too many jobs are queued."),
}
_GOING_AWAY = 1001
_JPEG_START = b"\xff\xd8\xff\xe0"


class SingleFaults(V2Faults):
    """The faults on request, each by itself; `Faults` adds random ones."""

    def __init__(
        self, core: Core, *, go_down: Callable[..., Awaitable[None]], come_up: Callable[[], Awaitable[None]]
    ) -> None:
        """Serve one server; `FakeComfy.faults` is where to get them."""
        self._core = core
        self._go_down = go_down
        self._come_up = come_up

    # The sockets

    def drop_sockets(
        self,
        how: DropKind = "close",
        *,
        client_id: str | None = None,
        code: int = _GOING_AWAY,
        ends_after: float | None = None,
    ) -> int:
        """End sockets from the server's side, and return how many.

        Args:
            how: "close" sends a close frame, "cut" ends the TCP connection without one,
                "reset" resets it, and "half_open" makes the network vanish: the client gets
                nothing any more, not even a pong, and the server does not notice.
            client_id: Only this client's.
            code: The code of the close frame: 1009 for a message too big, 1011 for an
                internal error, and so on.
            ends_after: Seconds after which the server notices a half-open connection. Its
                handler then removes whatever stands under the client id, which may well be
                the client's next socket.

        Example:
            >>> result = await comfy.run(flow)
            >>> fake.faults.drop_sockets("close", code=1009)
            1
        """
        if how not in get_args(DropKind):
            raise ValueError(f"sockets are dropped by {', '.join(get_args(DropKind))}, not by {how!r}")
        found = self._connections(client_id)
        for connection in found:
            self._core.hub.drop(connection, how, code=code)
            if how == "half_open" and ends_after is not None:
                self._core.hub.call_later(ends_after, connection.reset)
        return len(found)

    def end_half_open(self) -> int:
        """Let the server notice all half-open connections now, and return how many there were."""
        found = [connection for connection in self._core.hub.connections if connection.half_open]
        for connection in found:
            connection.reset()
        return len(found)

    def deafen(self, client_id: str | None = None, *, later: float | None = None) -> None:
        """Forget a client's socket, now or in some seconds: it stays open, and receives nothing more."""
        ids = list(self._core.hub.registered) if client_id is None else [client_id]
        for sid in ids:
            self._core.hub.forget_later(sid, later or 0.0)

    def late_cleanup(self, seconds: float) -> None:
        """Let every handler end that long after its socket, as after a network that vanished.

        A client that has reconnected in between is then cut off by the handler of its old socket.
        """
        self._core.hub.cleanup_delay = seconds

    def stall(self) -> None:
        """Send nothing to any client any more, as when one client does not read; HTTP goes on."""
        self._core.hub.flowing.clear()

    def unstall(self) -> None:
        """Send what has gathered, and all that comes."""
        self._core.hub.flowing.set()

    def refuse_upgrades(self, status: int = 403, *, count: int | None = None) -> Rule:
        """Answer the next upgrades to a WebSocket with an error, all of them without a count."""
        return self.fail("GET", "/ws", status, count=count)

    def accept_and_close(self, count: int = 1, *, code: int = 1000) -> None:
        """Close the next sockets as soon as they have been greeted."""
        self._core.hub.closing_soon = count
        self._core.hub.closing_code = code

    # What they are sent

    def send_raw(self, client_id: str | None, payload: str | bytes, *, as_text: bool = False) -> None:
        """Send a frame of any content, after all that was sent so far.

        Args:
            client_id: To whom, None for everybody.
            payload: A text, or the bytes of a binary frame.
            as_text: Send bytes as a text frame, valid UTF-8 or not.
        """
        if as_text and isinstance(payload, bytes):
            payload = TextBytes(payload)
        self._core.hub.post(payload, client_id)

    def send_huge(self, size: int, *, client_id: str | None = None, as_text: bool = False) -> None:
        """Send a frame of about so many bytes: a preview, or an event of an unknown type."""
        if as_text:
            self.send_raw(client_id, text_frame("huge", {"filling": "x" * size}))
        else:
            self.send_raw(client_id, struct.pack(">II", 1, 1) + _JPEG_START + bytes(size))

    def send_truncated(self, client_id: str | None = None) -> int:
        """Send binary frames that end too early, one of each kind; returns how many."""
        frames = [
            b"",
            b"\x00\x00",
            struct.pack(">I", 1),
            struct.pack(">I", 3) + b"\x00",
            struct.pack(">II", 3, 200) + b"12",
            struct.pack(">II", 4, 5000) + b'{"node_id": "3"',
            struct.pack(">II", 4, 9) + b'{"node_id' + _JPEG_START,
        ]
        for payload in frames:
            self.send_raw(client_id, payload)
        return len(frames)

    def send_invalid_text(self, client_id: str | None = None) -> int:
        """Send a text frame that is no UTF-8; returns how many frames that were."""
        self.send_raw(client_id, b'{"type": "status", "data": "\xff\xfe"}', as_text=True)
        return 1

    def send_wrong_shapes(self, client_id: str | None = None) -> int:
        """Send JSON that is no message, or a message of a known type with other data; returns how many."""
        payloads = [
            "",
            "not json",
            "null",
            "[1, 2]",
            '"executing"',
            "{}",
            '{"type": 5, "data": {}}',
            '{"type": "executing"}',
            '{"type": "executing", "data": []}',
            '{"type": "progress", "data": {"value": "many", "max": null, "node": 3, "prompt_id": 7}}',
            '{"type": "progress_state", "data": {"prompt_id": "x", "nodes": [1, 2]}}',
            '{"type": "executed", "data": {"node": {}, "output": "none", "prompt_id": null}}',
            '{"type": "status", "data": {"status": {"exec_info": null}}}',
        ]
        for payload in payloads:
            self.send_raw(client_id, payload)
        return len(payloads)

    # The requests

    def delay(
        self,
        method: str,
        path: str,
        seconds: float,
        *,
        count: int | None = None,
        probability: float = 1.0,
        seed: int | None = None,
        after_effect: bool = False,
    ) -> Rule:
        """Let requests wait before they are handled, or let their answers wait.

        Args:
            method: Their method, `*` for any.
            path: A pattern for their path, without prefix and /api: `/history/*`, `*`.
            seconds: How long; `rule.cancel()` ends it sooner.
            count: How many of them, all when None.
            probability: What part of them, by a chance of the rule's own.
            seed: What makes that chance the same every time.
            after_effect: The server does its work at once, and its answer comes late: events of a
                prompt come by the socket before its POST is answered.

        Example:
            >>> rule = fake.faults.delay("POST", "/prompt", 60, after_effect=True)
            >>> submitting = asyncio.create_task(comfy.submit(flow))
            >>> await fake.wait_for(lambda books: books.ended == 1)
            >>> rule.cancel()
            >>> job = await submitting  # the run was over before its id was told
        """
        return self._core.rules.add(
            Rule(
                method,
                path,
                seconds=seconds,
                count=count,
                probability=probability,
                seed=seed,
                after_effect=after_effect,
            )
        )

    def fail(
        self,
        method: str,
        path: str,
        failure: Failure = 503,
        *,
        count: int | None = None,
        probability: float = 1.0,
        seed: int | None = None,
        after_effect: bool = False,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Rule:
        """Let requests fail.

        Args:
            method: Their method, `*` for any.
            path: A pattern for their path, as for `delay`; only `/ws` itself means the socket.
            failure: A status, "reset" for a connection that breaks, "hang" for no answer at
                all, "html" for the error page of a proxy.
            count: How many of them, all when None.
            probability: What part of them, by a chance of the rule's own.
            seed: What makes that chance the same every time.
            after_effect: The server does its work (it queues the prompt, say) and only the
                answer is lost.
            json: The body of a status.
            headers: More headers, such as Retry-After.

        Example:
            >>> rule = fake.faults.fail("GET", "/history/*", 503, count=2)
            >>> rule = fake.faults.fail("POST", "/prompt", "reset", count=1, after_effect=True)
            >>> result = await comfy.run(flow)  # all the same
        """
        rule = Rule(
            method,
            path,
            failure=failure,
            after_effect=after_effect,
            count=count,
            probability=probability,
            seed=seed,
            json=json,
            headers=headers or {},
        )
        return self._core.rules.add(rule)

    def refuse_prompts(self, reason: Refusal, *, count: int | None = None, retry_after: str = "1") -> Rule:
        """Refuse prompts as the cloud does, for a reason that has nothing to do with the graph.

        Args:
            reason: "queue_limit" may be tried again.
            count: How many prompts, all when None.
            retry_after: When a "queue_limit" may be tried again: seconds, or an HTTP date.
        """
        status, kind, message = _REFUSALS[reason]
        error: dict[str, Any] = {"type": kind, "message": message, "details": ""}
        if reason == "partner_disabled":
            error |= {"class_types": ["FluxProUltraImageNode"], "providers": ["bfl"]}
        headers = {"Retry-After": retry_after} if reason == "queue_limit" else {}
        body = {"error": error, "node_errors": {}}
        return self.fail("POST", "/prompt", status, count=count, json=body, headers=headers)

    # The work

    def slow_history(self, seconds: float) -> None:
        """Write the history that long after execution_success, from the next end on."""
        self._core.pace.history_delay = seconds

    def miss_cancels(self, count: int = 1) -> None:
        """Accept the next interrupts of running jobs without doing anything."""
        self._core.missed_cancels = count

    def fail_runs(self, kind: str = "Exception", message: str = "it failed", *, count: int = 1) -> None:
        """Let the next runs fail outside of any node, as newer servers do: their error names none.

        Args:
            kind: The type that is sent, such as `ModelNotPermittedError`.
            message: The message that is sent.
            count: How many runs.
        """
        self._core.doomed.extend([(kind, message)] * count)

    def lose_queue(self) -> int:
        """Forget all pending prompts without any message, and return how many."""
        lost, self._core.queue.pending = self._core.queue.pending, []
        for item in lost:
            self._core.books.end(item.record, "lost")
        return len(lost)

    # The server

    async def restart(self, *, history: bool = True, down_for: float | None = None) -> None:
        """Go away and come back on the same port: the queue and the running job are lost.

        Args:
            history: Keep the history; a real server forgets it.
            down_for: Seconds without a server; None comes back at once.

        Example:
            >>> await fake.faults.restart(history=True, down_for=0.1)
            >>> result = await comfy.run(flow)
        """
        await self.go_down(history=history)
        if down_for:
            await asyncio.sleep(down_for)
        await self.come_up()

    async def go_down(self, *, history: bool = True) -> None:
        """Go away: every connection breaks and new ones are refused, until `come_up`."""
        await self._go_down(history=history)

    async def come_up(self) -> None:
        """Come back on the same port; nothing happens when it is up."""
        await self._come_up()

    async def heal(self) -> None:
        """End all faults: no rules, no stall, no delays, the server up."""
        self.clear()
        await self.come_up()

    def clear(self) -> None:
        """End all rules and settings; what is broken stays broken."""
        self._core.rules.clear()
        self.unstall()
        self.late_cleanup(0.0)
        self.slow_history(0.0)
        self.accept_and_close(0)
        self.miss_cancels(0)
        self._core.doomed.clear()
        self.mend_v2()

    def _connections(self, client_id: str | None) -> list[Connection]:
        """Return the open sockets of a client, or all."""
        return [
            connection
            for connection in self._core.hub.connections
            if client_id is None or connection.sid == client_id
        ]
