"""HTTP by httpx, and nothing of httpx beyond this module: its errors become ours here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import httpx

from .._base.hooks import NO_HOOKS, Hooks
from .._base.json import parse_large_json
from .._base.secrets import Secret, Veil
from ..errors import AuthError, ComfyError
from .address import Address
from .answers import Answer, error_of
from .auth import Auth
from .body import LARGE_BODY, Stream, answer_of, read_whole
from .foreign import translated
from .links import Root, leads_home, url_of
from .options import Handshake, HttpOptions, known_authorities, trust
from .proxy import Proxy
from .retries import Retries
from .sender import Sender
from .told import tell_of_file, told
from .unpack import ACCEPTED

__all__ = ["HttpClient", "HttpOptions", "Stream"]

USER_AGENT: Final = "comfy-async"
_IDLE_S: Final = 30.0
_IDLE_SHARE: Final = 2 / 3
# Shorter values of cookies are settings, and as words too common to be hidden.
_SHORTEST_COOKIE: Final = 8


class HttpClient:
    """One HTTP client with one address, one set of credentials and one cookie jar."""

    def __init__(
        self,
        address: Address,
        *,
        auth: Auth,
        headers: Mapping[str, str] | None = None,
        verify: bool | str | ssl.SSLContext = True,
        trust_env: bool = True,
        proxy: str | Secret[str] | None = None,
        options: HttpOptions | None = None,
        transport: Any = None,
    ) -> None:
        """Prepare the client; nothing is opened yet. `transport` is an injected httpx transport.

        Raises:
            ConnectError: The proxy that the settings or the environment name cannot be used.
            ValueError: A header cannot be sent.
        """
        self.address = address
        # Custom headers may hold keys (`X-Whatever-Token`): they stay at home like credentials.
        self.auth = Auth(headers) + auth if headers else auth
        self.prefix = ""
        # Comfy Cloud's socket wants the key in its query (PROTOCOL 4).
        self.key_in_query = False
        self.options = options or HttpOptions()
        self.ssl_context = trust(verify)
        self.proxy = self._chosen_proxy(Secret.of(proxy), trust_env=trust_env)
        del proxy
        self.veil = Veil([*self.auth.secrets(), *(self.proxy.secrets if self.proxy else ())])
        # httpcore 1.0.9 loses a place in its pool for good when a request is cancelled, by a limit of
        # time perhaps, before it is sent (encode/httpcore 1093): the limit is kept here, not there.
        self._lines = asyncio.Semaphore(self.options.max_connections)
        self._renewing = asyncio.Lock()
        self.renewals = 0
        self.hooks: Hooks = NO_HOOKS
        self._client = self._make_client(transport)

    def _chosen_proxy(self, given: Secret[str] | None, *, trust_env: bool) -> Proxy | None:
        """Return the proxy to go through, if any: the one that is given, or the environment's."""
        if given:
            return Proxy.of(given, server=self.address.base)
        return self.address.environment_proxy() if trust_env else None

    def _make_client(self, transport: httpx.AsyncBaseTransport | None) -> Sender:
        """Build what sends, over one transport."""
        inner = transport or httpx.AsyncHTTPTransport(
            verify=known_authorities() if self.ssl_context is True else self.ssl_context,
            trust_env=False,
            proxy=self.proxy.url.reveal() if self.proxy else None,
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=None,
                keepalive_expiry=self._idle_seconds,
            ),
        )
        return Sender(
            inner,
            address=self.address,
            auth=self.auth,
            headers={"Accept-Encoding": ACCEPTED, "Connection": "keep-alive", "User-Agent": USER_AGENT},
        )

    @property
    def _idle_seconds(self) -> float:
        """How long an idle connection is kept: less than a request may take.

        A server that vanishes silently leaves dead connections behind. When the first request on one of them
        has timed out, all that were idle meanwhile are too old, and the next request opens a new one, instead
        of waiting as long for each of them.
        """
        return min(_IDLE_S, self.options.request_seconds * _IDLE_SHARE)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @property
    def cookies(self) -> str:
        """The cookies for our own host as one header value, "" when there are none."""
        request = httpx.Request("GET", self.address.http("/"))
        self._client.cookies.set_cookie_header(request)
        return str(request.headers.get("cookie", ""))

    async def handshake(self, path: str, **query: str) -> Handshake:
        """Return what opens a WebSocket at a route of this server.

        Raises:
            AuthError: The callback for renewing credentials has failed.
        """
        auth = await self.credentials()
        headers = Secret(auth.headers)
        if self.cookies:
            headers.reveal()["Cookie"] = self.cookies
        self._learn_cookies()
        return Handshake(
            url=Secret(self.address.websocket(path, **query, **auth.params, **self._token())),
            headers=headers,
            server=self.address.base,
            ssl_context=self.ssl_context,
            proxy=self.proxy,
            veil=self.veil,
        )

    def _token(self) -> dict[str, str]:
        """Return the key for the query of the socket, where it has to stand there."""
        if not self.key_in_query:
            return {}
        headers = self.auth.headers
        return {"token": headers.get("X-API-Key") or headers.get("Authorization", "").removeprefix("Bearer ")}

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | Secret[bytes] | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
        expect: Sequence[int] = (),
        root: Root = False,
        retry: bool = False,
        max_body: int | None = None,
    ) -> Answer:
        """Send a request and read the whole answer.

        Args:
            method: GET, POST and so on.
            path: The route, for example `/prompt`; the `/api` prefix is added when there is one. Or a
                link that an answer holds, with `root="origin"`.
            params: The query.
            json: A body to encode as JSON.
            content: A body as bytes, held as a secret when there is a key in it, or as something
                that yields it anew at each iteration.
            headers: Further headers.
            seconds: The limit for the whole exchange, None for the session's; `math.inf` leaves
                only the session's limit for each single read and write.
            expect: Error statuses to return instead of raising.
            root: True for routes that live outside `/api`; "origin" for a link, which is resolved
                against our origin and must stay there.
            retry: Try again after a transient failure; only for what is safe to repeat.
            max_body: How large the answer may be, None for the session's limit.

        Raises:
            ConnectError: No server answers.
            RequestTimeoutError: It took too long.
            TransportError: The connection broke.
            ResponseError: An error status that is not expected, by kind.
            NotComfyUIError: A link leads to another host.
        """
        limit = self.options.request_seconds if seconds is None else seconds
        request = self._client.request(
            method,
            url_of(self.address, path, params, root=root, prefix=self.prefix),
            json=json,
            content=content.reveal() if isinstance(content, Secret) else content,
            headers=headers,
            timeout=self._timeout(limit),
        )
        retries = Retries() if retry else None
        while True:
            try:
                return await self._attempt(request, path, limit, expect=expect, max_body=max_body)
            except ComfyError as error:
                pause = None if retries is None else retries.pause(error)
                if pause is None:
                    raise
            await self.options.sleep(pause)

    async def _attempt(
        self,
        request: httpx.Request,
        path: str,
        seconds: float,
        *,
        expect: Sequence[int],
        max_body: int | None,
    ) -> Answer:
        """Send once, or twice when credentials that can be renewed are refused."""
        auth = await self.credentials()
        used = self.renewals
        answer = await self._exchange(request, path, seconds, max_body=max_body)
        if answer.status == 401 and auth.renews:
            await self.credentials(refused=used)
            answer = await self._exchange(request, path, seconds, max_body=max_body)
        if answer.status >= 400 and answer.status not in expect:
            raise error_of(answer, request.url.params)
        if 300 <= answer.status < 400:
            raise answer.leads_elsewhere()
        return answer

    async def credentials(self, *, refused: int | None = None) -> Auth:
        """Return the credentials, renewed when need be; the callback is called once for all callers.

        Args:
            refused: The server has refused the credentials of this many renewals.

        Raises:
            AuthError: The callback for renewing has failed.
        """
        if not self.auth.renews:
            return self.auth
        async with self._renewing:
            if self.auth.is_empty or refused == self.renewals:
                try:
                    await self.auth.renew()
                except Exception as error:
                    # What it says may hold a credential: only its kind is repeated.
                    raise AuthError(
                        f"the credentials for {self.address.base} could not be renewed: "
                        f"{type(error).__name__}",
                        hint="The cause says what the callback raised; renew the credentials by hand.",
                        server=self.address.base,
                    ) from error
                self.renewals += 1
                self.veil.add(*self.auth.secrets())
        return self.auth

    def _learn_cookies(self) -> None:
        """Mask the server's cookies too: one may be a login."""
        values = (cookie.value for cookie in self._client.cookies.jar)
        self.veil.add(*(value for value in values if value and len(value) >= _SHORTEST_COOKIE))

    def _translated(
        self, method: str, path: str, seconds: float | None = None
    ) -> AbstractContextManager[None]:
        """Return what turns httpx's errors into ours, around a request."""
        return translated(method, path, self.address.base, seconds=seconds, veil=self.veil, proxy=self.proxy)

    async def get_json(self, path: str, **options: Any) -> Any:
        """GET a route and return its decoded body; large ones are decoded in a thread.

        Raises:
            NotComfyUIError: The body is no JSON.
            ComfyError: As `request`.
        """
        answer = await self.request("GET", path, **options)
        if len(answer.body) < LARGE_BODY:
            return answer.json()
        try:
            return await asyncio.to_thread(parse_large_json, answer.body)
        except ValueError:
            raise answer.no_json() from None

    def _timeout(self, seconds: float) -> httpx.Timeout:
        """Return httpx's limits for each step of an exchange that may take this long."""
        step = self.options.request_seconds if math.isinf(seconds) else seconds
        return httpx.Timeout(step, connect=min(step, self.options.connect_seconds), pool=None)

    async def _exchange(
        self, request: httpx.Request, path: str, seconds: float, *, max_body: int | None = None
    ) -> Answer:
        """Send one request, follow redirects within the own origin, and read the body up to the limit."""
        with self._translated(request.method, path, seconds):
            async with asyncio.timeout(None if math.isinf(seconds) else seconds), self._lines:
                response = await self._send(request, path)
                try:
                    return await self._read(response, request.method, path, max_body=max_body)
                finally:
                    await response.aclose()

    async def _send(self, request: httpx.Request, path: str, *, abroad: bool = False) -> httpx.Response:
        """Send, following redirects of GET within the own origin, or `abroad` to others too."""
        sending = self._client.send(request, veil=self.veil, abroad=abroad)
        return await told(self.hooks, sending, request.method, path, self.address.base)

    def is_home(self, link: object) -> bool:
        """Say whether a link of an answer stays with our own origin."""
        return leads_home(self.address, link)

    def _answer(self, response: httpx.Response, method: str, path: str) -> Answer:
        """Return an answer whose body is still to be read."""
        self._learn_cookies()
        return answer_of(response, method, path, self.address.base, self.veil)

    async def _read(
        self, response: httpx.Response, method: str, path: str, *, max_body: int | None = None
    ) -> Answer:
        """Return an answer with its body."""
        answer = self._answer(response, method, path)
        limit = self.options.max_body if max_body is None else max_body
        return await read_whole(response, answer, max_body=limit)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Sequence[int] = (),
        root: Root = False,
        read_seconds: float | None = None,
        file: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Stream]:
        """Request a route and yield its body as it comes.

        A redirect to another host (Comfy Cloud's signed URLs) is followed without credentials, and so
        is a link there, with `root="anywhere"`. Hooks are called for a `file`, with its place.

        Raises:
            ComfyError: As `request`; no limit holds for the whole, only for each read: that of the
                session, or `read_seconds`.
        """
        timeout = self._timeout(math.inf)
        if read_seconds is not None:
            write, connect = timeout.write, timeout.connect
            timeout = httpx.Timeout(write, connect=connect, read=read_seconds, pool=None)
        url = url_of(self.address, path, params, root=root, prefix=self.prefix)
        request = self._client.request(
            method, url, json=json, content=content, headers=headers, timeout=timeout
        )
        # A signed link has its signature in the query.
        path = path if root in (True, False) else request.url.path
        async with self._lines:
            response = await self._opened(request, path)
            try:
                if response.status_code >= 400 and response.status_code not in expect:
                    with self._translated(method, path):
                        async with asyncio.timeout(self.options.request_seconds):
                            answer = await self._read(response, method, path)
                    raise error_of(answer, params)
                answer = self._answer(response, method, path)
                if 300 <= answer.status < 400:
                    raise answer.leads_elsewhere()
                guard = functools.partial(self._translated, method, path)
                stream = Stream(response, answer, max_body=self.options.max_body, guard=guard)
                try:
                    yield stream
                finally:
                    if file is not None:
                        tell_of_file(self.hooks, self.address.base, path, params=file, body=stream)
            finally:
                await response.aclose()

    async def _opened(self, request: httpx.Request, path: str) -> httpx.Response:
        """Return an answer to be streamed; refused credentials are renewed once."""
        auth = await self.credentials()
        used = self.renewals
        method = request.method
        with self._translated(method, path):
            response = await self._send(request, path, abroad=True)
        if response.status_code == 401 and auth.renews:
            await response.aclose()
            await self.credentials(refused=used)
            with self._translated(method, path):
                response = await self._send(request, path, abroad=True)
        return response
