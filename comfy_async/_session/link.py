"""The session's one WebSocket: opened, kept, watched and opened again.

Only one task reads it. It never waits for a consumer, since the server sends to all its sockets
from one loop: a client that does not read would stall everybody (PROTOCOL 0.8).
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from .._base.backoff import Backoff
from .._base.clock import Clock
from .._base.settings import Settings
from .._protocol.decode import decode_binary, decode_text
from .._transport.foreign import SocketClosedError
from .._transport.http import HttpClient
from ..errors import AuthError, HandshakeError, TransportError
from ..events import (
    BaseEvent,
    Failed,
    FeatureFlags,
    LogEntries,
    MalformedFrame,
    NodeBlocked,
    ProgressText,
    StatusChanged,
    UnknownEvent,
)

if TYPE_CHECKING:
    from .._transport.socket import Socket

__all__ = ["Link", "LinkState", "Listener"]

LinkState: TypeAlias = Literal["idle", "connecting", "hearing", "down", "refused", "deaf", "closed"]

_log = logging.getLogger("comfy_async")

# Must be the first message: only then do previews come with their job and node (PROTOCOL 0.9).
_HELLO: Final = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})

# A server before 0.3.45 never answers the hello; its first `status` has to do.
_FLAGS_WAIT_S: Final = 1.0
# A server that restarts is not worth a line; one that opens no socket for longer is.
_WORTH_TELLING_S: Final = 4.0
# Hearing for this long proves that the server does not just accept and close.
_STABLE_S: Final = 5.0
_UNAUTHORIZED: Final = 401
_REFUSALS: Final = frozenset({401, 403})
# What a proxy's rules say to CONNECT; 502 and the like are of the moment.
_PROXY_REFUSALS: Final = frozenset({403, 405, 407})
_ABOUT_THE_LINK: Final = frozenset({FeatureFlags, MalformedFrame})
_FREE_TEXTS: Final = frozenset({Failed, NodeBlocked, LogEntries, ProgressText, UnknownEvent})


class Listener(Protocol):
    """What receives the link's events."""

    def take(self, event: BaseEvent) -> None:
        """An event came."""
        ...

    def up(self) -> None:
        """The socket is known to receive messages."""
        ...

    def down(self, reason: str) -> None:
        """It receives no more messages."""
        ...

    def wanted(self) -> bool:
        """Return whether there is anything to connect for."""
        ...


class Link:
    """Owns the socket.

    Attributes:
        listener: What receives its events, and is called for what happens to it.
        state: Where it stands.
        reason: Why it receives no messages, "" while it does.
        reconnects: How often it was opened again with success.
        last_heard: When the latest frame came, on the monotonic clock; None before.
        frames: How many frames came.
        malformed: How many of them could not be read.
    """

    listener: Listener

    def __init__(self, http: HttpClient, client_id: str, settings: Settings) -> None:
        """Prepare; nothing is opened. Set `listener` before it is started."""
        self.state: LinkState = "idle"
        self.reason = ""
        self.reconnects = 0
        self.last_heard: float | None = None
        self.frames = 0
        self.malformed = 0
        self._http = http
        self._client_id = client_id
        self._settings = settings
        self._clock: Clock = settings.clock
        self._backoff = Backoff(first=settings.reconnect_first, cap=settings.reconnect_cap)
        self._path = "/ws"
        self._task: asyncio.Task[None] | None = None
        self._socket: Socket | None = None
        self._settled = asyncio.Event()
        self._text_has_prompt_id = False
        self._was_up = False
        self._renewed = False
        self._used_renewals = 0
        self._up_at = 0.0
        self._frames_at_up = 0
        self._closed_to_us_since: float | None = None
        self._told = False

    @property
    def frames_since_up(self) -> int:
        """How many frames came since the socket was last known to receive messages."""
        return self.frames - self._frames_at_up

    @property
    def hearing(self) -> bool:
        """True while the socket is open and known to receive messages."""
        return self.state == "hearing"

    def start(self) -> None:
        """Connect in the background unless that is under way."""
        if self.state not in {"closed", "refused", "deaf"} and (self._task is None or self._task.done()):
            self._settled.clear()
            self.state = "connecting"
            self._task = asyncio.create_task(self._run(), name=f"comfy_async socket {self._client_id[:8]}")

    async def settled(self, seconds: float) -> bool:
        """Wait until the socket receives messages, or cannot; return whether it does."""
        self.start()
        if self.state in {"connecting", "down"}:
            await self._clock.wait(self._settled, seconds)
        return self.hearing

    def drop(self, reason: str) -> None:
        """Close a socket that is open but silent; the task then opens another."""
        if self._socket is not None and self.state == "hearing":
            self._down(reason)
            self._socket.expel()

    def give_up(self, reason: str) -> None:
        """Stop connecting for good: polling goes on."""
        self.listener.down(reason)
        self.state, self.reason = "deaf", reason
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """End the reader and the socket."""
        self.state = "closed"
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._settled.set()

    async def _run(self) -> None:
        """Connect, read until the end, pause, connect again, as long as there is a listener."""
        try:
            while True:
                await self._attempt()
                if self.state == "refused":
                    return
                if self.listener.wanted():
                    await self._clock.sleep(self._backoff.next())
                if not self.listener.wanted():
                    self.state = "idle"
                    return
        finally:
            self._settled.set()

    async def _attempt(self) -> None:
        """Hold one connection from its opening to its end; never raises for what the other side does."""
        self.state = "connecting"
        try:
            socket = await self._dial()
        except HandshakeError as error:
            await self._refused(error)
            return
        except TransportError as error:
            self._failed(str(error.args[0]))
            if self._http.proxy is not None or isinstance(error.__cause__, TimeoutError):
                # Requests may well get through: else the poller says that the server is away.
                self._tell(str(error.args[0]))
            return
        except AuthError as error:
            # The callback that renews credentials is the user's own.
            self._failed(str(error.args[0]))
            return
        except Exception as error:
            _log.exception("the WebSocket could not be opened")
            self._failed(f"{type(error).__name__} while the WebSocket was opened")
            return
        self._socket = socket
        reason = "the reader stopped"
        try:
            await socket.send(_HELLO)
            reason = await self._read(socket)
        except SocketClosedError as error:
            reason = str(error)
        finally:
            # The old socket is closed to the end before another is dialled: its handler's
            # `finally` on the server would otherwise deafen the new one (PROTOCOL 0.1).
            await asyncio.shield(socket.close())
            self._socket = None
            self._failed(reason)

    async def _dial(self) -> Socket:
        """Open a connection with the same credentials, cookies and proxy as HTTP."""
        # A quarter of the time that importing the session took, and not every session has a socket.
        from .._transport.socket import Socket

        handshake = await self._http.handshake(self._path, clientId=self._client_id)
        self._used_renewals = self._http.renewals
        return await Socket.open(
            handshake,
            connect_seconds=self._settings.connect_seconds,
            max_size=self._settings.max_frame,
        )

    async def _renew(self) -> bool:
        """Ask for new credentials, once before a refusal counts; the callback is the user's own."""
        self._renewed = True
        if not self._http.auth.renews:
            return False
        try:
            await self._http.credentials(refused=self._used_renewals)
        except AuthError as error:
            _log.warning("the WebSocket: %s", error.args[0])
        return True

    async def _read(self, socket: Socket) -> str:
        """Hand over every frame until the connection closes; return why it did."""
        clock = self._clock
        flags_timer: asyncio.TimerHandle | None = None
        try:
            while True:
                frames = await socket.receive()
                # They came together: the clock is read once for all.
                now = clock.unix()
                self.last_heard = clock.monotonic()
                for raw in frames:
                    if raw[:1] == b"\0":
                        event = decode_binary(raw, now, text_has_prompt_id=self._text_has_prompt_id)
                    else:
                        event = decode_text(raw, now)
                    if type(event) in _FREE_TEXTS:
                        event = self._veiled(raw, event, now)
                    self.frames += 1
                    if self.state != "hearing":
                        flags_timer = self._prove(event, flags_timer)
                    if type(event) in _ABOUT_THE_LINK:
                        self._note(event)
                    self._deliver(event)
        except SocketClosedError as error:
            return str(error)
        finally:
            if flags_timer is not None:
                flags_timer.cancel()

    def _veiled(self, raw: bytes, event: BaseEvent, now: float) -> BaseEvent:
        """Return an event with the keys in its text masked: a node's error may repeat its inputs."""
        veiled = self._http.veil.data(raw)
        if veiled == raw:
            return event
        if raw[:1] == b"\0":
            return decode_binary(veiled, now, text_has_prompt_id=self._text_has_prompt_id)
        return decode_text(veiled, now)

    def _note(self, event: BaseEvent) -> None:
        """Take in what a frame says about the connection itself."""
        if isinstance(event, MalformedFrame):
            self.malformed += 1
        elif isinstance(event, FeatureFlags):
            self._text_has_prompt_id = event.flags.get("supports_progress_text_metadata") is True

    def _deliver(self, event: BaseEvent) -> None:
        """Pass an event on; an error in what takes it does not end the reader."""
        try:
            self.listener.take(event)
        except Exception:
            _log.exception("%r could not be processed", event)

    def _prove(self, event: BaseEvent, timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
        """Take a sign that the server has registered this very socket."""
        if self.state != "connecting":
            return timer
        if isinstance(event, FeatureFlags):
            self._up()
        elif isinstance(event, StatusChanged) and timer is None:
            return asyncio.get_running_loop().call_later(_FLAGS_WAIT_S, self._up)
        return timer

    def _up(self) -> None:
        """The socket is known to receive messages."""
        if self.state == "connecting":
            self.state, self.reason = "hearing", ""
            self._frames_at_up = self.frames
            self._up_at = self._clock.monotonic()
            if self._was_up:
                self.reconnects += 1
            self._was_up = True
            self._renewed = False
            self._closed_to_us_since, self._told = None, False
            self._settled.set()
            self.listener.up()

    def _down(self, reason: str) -> None:
        """The socket receives no more messages; reported once for each time that it did."""
        self.state, self.reason = "down", reason
        self._settled.clear()
        if self._clock.monotonic() - self._up_at >= _STABLE_S:
            self._backoff.reset()
        self.listener.down(reason)

    def _failed(self, reason: str) -> None:
        """An attempt has ended; the next one waits for its pause."""
        if self.state == "hearing":
            self._down(reason)
        elif self.state == "connecting":
            self.state, self.reason = "down", reason
            self._settled.set()

    def _tell(self, why: str, *, at_once: bool = False) -> None:
        """Log, once until a socket has opened, that none does although somebody answers."""
        now = self._clock.monotonic()
        if self._closed_to_us_since is None:
            self._closed_to_us_since = now
        if not self._told and (at_once or now - self._closed_to_us_since >= _WORTH_TELLING_S):
            self._told = True
            _log.warning("%s; polling instead", why)

    async def _refused(self, error: HandshakeError) -> None:
        """The upgrade was refused: for good when the credentials are, else try the other path later."""
        # What importing the session did without: see `_dial`.
        from .._transport.socket import ProxyHandshakeError

        why = str(error.args[0])
        if isinstance(error, ProxyHandshakeError):
            if error.status in _PROXY_REFUSALS:
                self.state, self.reason = "refused", why
                self._settled.set()
            else:
                self._failed(why)
            self._tell(why, at_once=True)
            return
        if error.status == _UNAUTHORIZED and not self._renewed and await self._renew():
            self._failed(why)
            return
        if error.status in _REFUSALS:
            self.state, self.reason = "refused", why
            self._settled.set()
            self._tell(why, at_once=True)
            return
        if error.status == 404:
            self._path = "/api/ws" if self._path == "/ws" else "/ws"
        self._failed(why)
        self._tell(why)
