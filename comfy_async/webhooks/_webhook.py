"""The hook that notifies another server of what becomes of jobs."""

from __future__ import annotations

import asyncio
import re
import ssl
import uuid
import weakref
from collections.abc import Iterable, Mapping
from typing import Final

from .._base.clock import Clock
from .._base.secrets import Secret
from .._job.job import Job
from .._transport.post import Poster, place_of, trust_for
from ..events import BaseEvent, Cancelled, Completed, Failed, Lost
from ._body import about_end, about_event
from ._sender import Message, Sender
from ._signing import keys_of

__all__ = ["Webhook"]

_ENDS: Final[tuple[type[BaseEvent], ...]] = (Completed, Failed, Cancelled, Lost)
# A session waits five seconds for its hooks.
_CLOSING_S: Final = 4.0


class Webhook:
    """A hook that sends a POST for each job that ends: `ComfySession(url, hooks=[Webhook(...)])`.

    The body is JSON: `type` (`job.completed`, `job.failed`, `job.cancelled`, `job.lost`), `timestamp`
    and `data` with the job's id, status, server, labels, outputs by name and URL, or its error. No
    prompt and no key is in it. It is signed as Standard Webhooks has it; receivers call `verify_webhook`.

    What is not answered with a 2xx is sent again with growing pauses, the same message under the
    same `webhook-id`; redirects are not followed. Jobs never wait for it. When the session is closed
    it has four seconds for what is left, and the log says what was not delivered.

    Args:
        url: Where to; it is kept out of every log but for its host.
        secret: What it is signed with: `whsec_` and base64, or any text or bytes. Several sign by each of
            them, while the secret is being replaced. None sends without a signature.
        events: Which events are sent: the four ends, or others of `comfy_async`, such as `Started`.
        headers: Further headers.
        verify: False, a CA file, or an SSLContext.
        trust_env: Take proxies from the environment.
        attempts: How often a message is sent at the most.
        limit: Messages under way at once; more are dropped, and the log says so.
        request_seconds: How long one attempt may take.
        clock: What measures pauses; for tests.

    Example:
        >>> from comfy_async.webhooks import Webhook
        >>> webhook = Webhook("https://example.org/comfy", secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
        >>> webhook
        <Webhook https://example.org, signed>
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | bytes | Iterable[str | bytes] | None = None,
        # What is told.
        events: Iterable[type[BaseEvent]] = _ENDS,
        # How to get there.
        headers: Mapping[str, str] | None = None,
        verify: bool | str | ssl.SSLContext = True,
        trust_env: bool = True,
        # How much is tried.
        attempts: int = 10,
        limit: int = 1000,
        request_seconds: float = 15.0,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is sent.

        Raises:
            ValueError: The URL, the secret, a number or a class of events is invalid.
            OSError: The CA file cannot be read.
        """
        self._url, self._keys = Secret(url), keys_of(secret)
        # Some show the locals of every frame of a traceback.
        del url, secret
        if attempts < 1 or limit < 1:
            raise ValueError(f"attempts and limit are 1 or more, not {attempts} and {limit}")
        self._kinds = {kind: _type_of(kind) for kind in events}
        self._headers = Secret(dict(headers or {}))
        self._request_seconds = request_seconds
        self._attempts, self._limit = attempts, limit
        self._clock = clock or Clock()
        self._senders: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Sender] = (
            weakref.WeakKeyDictionary()
        )
        self._shown = place_of(self._url)
        # Now, and not at the first end of a job, in the middle of everything.
        self._trusted, self._trust_env = trust_for(self._url, verify), trust_env

    def on_event(self, job: Job, event: BaseEvent) -> None:
        """Send the requested events; ends are sent with their results, by `on_end`."""
        kind = self._kinds.get(type(event))
        if kind is not None and not event.terminal:
            self._send(job, *about_event(job, event, kind))

    def on_end(self, job: Job) -> None:
        """Send how a job has ended."""
        if f"job.{job.status}" in self._kinds.values():
            self._send(job, *about_end(job, self._clock.unix()))

    async def before_close(self) -> None:
        """Deliver what is left, in bounded time."""
        sender = self._senders.pop(asyncio.get_running_loop(), None)
        if sender is not None:
            await sender.finish(_CLOSING_S)

    def _send(self, job: Job, kind: str, body: bytes) -> None:
        """Begin to deliver a message."""
        loop = asyncio.get_running_loop()
        sender = self._senders.get(loop)
        if sender is None:
            sender = self._senders[loop] = Sender(
                self._poster(),
                keys=self._keys,
                headers=self._headers.reveal(),
                limit=self._limit,
                attempts=self._attempts,
                clock=self._clock,
            )
        sender.send(Message(f"msg_{uuid.uuid4().hex}", f"{kind} of {job.prompt_id}", body))

    def _poster(self) -> Poster:
        """Return the sender."""
        return Poster(
            self._url, trusted=self._trusted, trust_env=self._trust_env, seconds=self._request_seconds
        )

    def __repr__(self) -> str:
        """Return where it sends to, and whether that is signed."""
        return f"<Webhook {self._shown}, {'signed' if self._keys else 'unsigned'}>"


def _type_of(kind: type[BaseEvent]) -> str:
    """Return the type of a class of events.

    Raises:
        ValueError: It is none, or its events come by the thousand.
    """
    if not (isinstance(kind, type) and issubclass(kind, BaseEvent)):
        raise ValueError(f"events is a list of classes of events such as Started, not of {kind!r}")
    if kind.lossy:
        raise ValueError(f"{kind.__name__} comes by the thousand: no receiver wants a POST for each")
    return "job." + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
