"""HTTP by httpx, and nothing of httpx beyond this module: its errors become ours here."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal

import httpx

from .._base.json import parse_json
from ..errors import AuthError, ComfyError, SessionClosedError, TransportError
from .address import Address, origin_of
from .answers import Answer, error_of
from .auth import Auth
from .foreign import CredentialTransport, translated
from .quiet import quietly
from .retries import Retries

__all__ = ["HttpClient", "Stream"]

USER_AGENT: Final = "comfy-async"
_LARGE_BODY: Final = 512 * 1024
_ERROR_BODY: Final = 1024 * 1024
_MAX_REDIRECTS: Final = 5


class Stream:
    """An answer whose body is still to come."""

    def __init__(self, response: httpx.Response, answer: Answer) -> None:
        """Wrap an open response."""
        self._response = response
        self.answer = answer

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            TransportError: The connection broke before the body was whole.
        """
        with translated(self.answer.method, self.answer.path, self.answer.server):
            plain = "content-encoding" not in self._response.headers
            body = self._response.aiter_raw() if plain else self._response.aiter_bytes()
            async for chunk in body:
                yield chunk


@dataclasses.dataclass(frozen=True, slots=True)
class HttpOptions:
    """How requests are made; durations in seconds, sizes in bytes."""

    request_seconds: float = 30.0
    connect_seconds: float = 10.0
    max_body: int = 1 << 30
    max_connections: int = 32
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


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
        proxy: str | None = None,
        options: HttpOptions | None = None,
        transport: Any = None,
    ) -> None:
        """Prepare the client; nothing is opened yet. `transport` is an injected httpx transport."""
        self.address = address
        # Custom headers may hold keys (`X-Whatever-Token`): they stay at home like credentials.
        self.auth = Auth(headers) + auth if headers else auth
        self.prefix = ""
        self.dialect: Literal["local", "cloud"] = "cloud" if address.is_cloud else "local"
        self.options = options or HttpOptions()
        self.ssl_context = _ssl_context(verify)
        self.proxy = proxy or (address.environment_proxy() if trust_env else None)
        # httpcore 1.0.9 loses a place in its pool for good when a request is cancelled, by a limit of
        # time perhaps, before it is sent (encode/httpcore 1093): the limit is kept here, not there.
        self._lines = asyncio.Semaphore(self.options.max_connections)
        self._renewing = asyncio.Lock()
        self.renewals = 0
        self._client = self._make_client(transport)

    def _make_client(self, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
        """Build the client over one transport that keeps the credentials."""
        inner = transport or httpx.AsyncHTTPTransport(
            verify=self.ssl_context,
            trust_env=False,
            proxy=self.proxy,
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=None,
                keepalive_expiry=30.0,
            ),
        )
        return httpx.AsyncClient(
            headers={"User-Agent": USER_AGENT},
            trust_env=False,
            timeout=httpx.Timeout(
                self.options.request_seconds, connect=self.options.connect_seconds, pool=None
            ),
            transport=CredentialTransport(inner, self.auth, self.address.origin),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @property
    def cookies(self) -> str:
        """The cookies for our own host as one header value, "" when there are none."""
        request = httpx.Request("GET", self.address.http("/"))
        self._client.cookies.set_cookie_header(request)
        return str(request.headers.get("cookie", ""))

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
        expect: Sequence[int] = (),
        root: bool = False,
        retry: bool = False,
    ) -> Answer:
        """Send a request and read the whole answer.

        Args:
            method: GET, POST and so on.
            path: The route, for example `/prompt`; the `/api` prefix is added when there is one.
            params: The query.
            json: A body to encode as JSON.
            content: A body as bytes, or as something that yields it anew at each iteration.
            headers: Further headers.
            seconds: The limit for the whole exchange, None for the session's; `math.inf` leaves
                only the session's limit for each single read and write.
            expect: Error statuses to return instead of raising.
            root: True for routes that live outside `/api`.
            retry: Try again when the failure may pass; only for what is safe to repeat.

        Raises:
            ConnectError: Nobody answers.
            RequestTimeoutError: It took too long.
            TransportError: The connection broke.
            ResponseError: An error status that is not expected, by kind.
        """
        limit = self.options.request_seconds if seconds is None else seconds
        request = self._client.build_request(
            method,
            self.address.http(path if root else f"{self.prefix}{path}"),
            params=params,
            json=json,
            content=content,
            headers=headers,
            timeout=self._timeout(limit),
        )
        retries = Retries() if retry else None
        while True:
            try:
                return await self._attempt(request, path, limit, expect)
            except ComfyError as error:
                pause = None if retries is None else retries.pause(error)
                if pause is None:
                    raise
            await self.options.sleep(pause)

    async def _attempt(
        self, request: httpx.Request, path: str, seconds: float, expect: Sequence[int]
    ) -> Answer:
        """Send once, or twice when credentials that can be renewed are refused."""
        auth = await self.credentials()
        used = self.renewals
        answer = await self._exchange(request, path, seconds)
        if answer.status == 401 and auth.renews:
            await self.credentials(refused=used)
            answer = await self._exchange(request, path, seconds)
        if answer.status >= 400 and answer.status not in expect:
            raise error_of(answer, request.url.params)
        if 300 <= answer.status < 400:
            raise answer.leads_elsewhere()
        return answer

    async def credentials(self, *, refused: int | None = None) -> Auth:
        """Return the credentials, renewed when need be; however many ask, the callback is asked once.

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
        return self.auth

    async def get_json(self, path: str, **options: Any) -> Any:
        """GET a route and return its decoded body; large ones are decoded in a thread.

        Raises:
            NotComfyUIError: The body is no JSON.
            ComfyError: As `request`.
        """
        answer = await self.request("GET", path, **options)
        if len(answer.body) < _LARGE_BODY:
            return answer.json()
        try:
            return await asyncio.to_thread(parse_json, answer.body)
        except ValueError:
            raise answer.not_comfyui("the answer is no JSON") from None

    def _timeout(self, seconds: float) -> httpx.Timeout:
        """Return httpx's limits for each step of an exchange that may take this long."""
        step = self.options.request_seconds if math.isinf(seconds) else seconds
        return httpx.Timeout(step, connect=min(step, self.options.connect_seconds), pool=None)

    async def _exchange(self, request: httpx.Request, path: str, seconds: float) -> Answer:
        """Send one request, follow redirects at home, and read the body up to the limit."""
        server = self.address.base
        with translated(request.method, path, server, seconds):
            async with asyncio.timeout(None if math.isinf(seconds) else seconds), self._lines:
                response = await self._send(request)
                try:
                    body = await self._read(response, path)
                finally:
                    await response.aclose()
        return _answer(response, request.method, path, server, body)

    async def _send(self, request: httpx.Request, *, abroad: bool = False) -> httpx.Response:
        """Send, following redirects of GET at home, or `abroad` too.

        The credentials stay at home in any case (see CredentialTransport).
        """
        if self._client.is_closed:
            raise SessionClosedError(
                f"the session with {self.address.base} was closed", server=self.address.base
            )
        for _ in range(_MAX_REDIRECTS):
            with quietly():
                response = await self._client.send(request, stream=True)
            target = response.next_request
            if target is None or request.method != "GET" or not (abroad or self._is_home(target)):
                return response
            await response.aclose()
            if not self._is_home(target):
                # A cookie jar knows no ports: another server on the same host would get them.
                target.headers.pop("cookie", None)
            request = target
        raise TransportError(
            f"{request.url.path} redirects too often", server=self.address.base, retryable=False
        )

    def _is_home(self, request: httpx.Request) -> bool:
        """True when the request goes to our own origin."""
        return origin_of(str(request.url)) == self.address.origin

    async def _read(self, response: httpx.Response, path: str) -> bytes:
        """Read a body that may not be endless."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if response.status_code >= 400 and size > _ERROR_BODY:
                break
            if size > self.options.max_body:
                raise TransportError(
                    f"the answer to {path} is larger than {self.options.max_body} bytes",
                    hint="Raise `Settings.max_body` if that is what you want.",
                    server=self.address.base,
                    retryable=False,
                )
            chunks.append(chunk)
        return b"".join(chunks)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Sequence[int] = (),
        root: bool = False,
    ) -> AsyncIterator[Stream]:
        """GET a route and hand out its body as it comes.

        A redirect to another host (Comfy Cloud's signed URLs) is followed without credentials.

        Raises:
            ComfyError: As `request`; no limit holds for the whole, only for each read.
        """
        request = self._client.build_request(
            "GET",
            self.address.http(path if root else f"{self.prefix}{path}"),
            params=params,
            headers=headers,
        )
        async with self._lines:
            response = await self._opened(request, path)
            try:
                if response.status_code >= 400 and response.status_code not in expect:
                    with translated("GET", path, self.address.base):
                        async with asyncio.timeout(self.options.request_seconds):
                            body = await self._read(response, path)
                    raise error_of(_answer(response, "GET", path, self.address.base, body), params)
                yield Stream(response, _answer(response, "GET", path, self.address.base, b""))
            finally:
                await response.aclose()

    async def _opened(self, request: httpx.Request, path: str) -> httpx.Response:
        """Return an answer to be streamed; refused credentials are renewed once."""
        auth = await self.credentials()
        used = self.renewals
        with translated("GET", path, self.address.base):
            response = await self._send(request, abroad=True)
        if response.status_code == 401 and auth.renews:
            await response.aclose()
            await self.credentials(refused=used)
            with translated("GET", path, self.address.base):
                response = await self._send(request, abroad=True)
        return response


def _answer(response: httpx.Response, method: str, path: str, server: str, body: bytes) -> Answer:
    """Return a response without anything of httpx in it."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, body, method, path, server)


def _ssl_context(verify: bool | str | ssl.SSLContext) -> ssl.SSLContext | bool:
    """Return what httpx and websockets both take: one context for both."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, str):
        return ssl.create_default_context(cafile=verify)
    return verify
