"""What httpx raises becomes ours: every class of it, with nothing of a URL's query in the words."""

from __future__ import annotations

import httpx
import pytest
import respx

from comfy_async import ComfyError, ConnectError, NotComfyUIError, RequestTimeoutError, TransportError
from comfy_async._transport.address import Address
from comfy_async._transport.auth import Auth
from comfy_async._transport.http import HttpClient

URL = "http://gpu.example:8188"
PRIVATE = {"filename": "private.png"}


async def streamed(http: HttpClient) -> None:
    """Open a stream and read nothing."""
    async with http.stream("/x", params=PRIVATE):
        pass


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (httpx.ConnectError("refused"), ConnectError),
        (httpx.ConnectTimeout("slow"), ConnectError),
        (httpx.ProxyError("403"), ConnectError),
        (httpx.ReadTimeout("slow"), RequestTimeoutError),
        (httpx.WriteTimeout("slow"), RequestTimeoutError),
        (httpx.PoolTimeout("slow"), RequestTimeoutError),
        (httpx.ReadError("reset"), TransportError),
        (httpx.WriteError("reset"), TransportError),
        (httpx.CloseError("reset"), TransportError),
        (httpx.RemoteProtocolError("odd"), TransportError),
        (httpx.LocalProtocolError("odd"), TransportError),
        (httpx.UnsupportedProtocol("gopher"), TransportError),
        (httpx.DecodingError("gzip"), TransportError),
        (httpx.TooManyRedirects("many"), NotComfyUIError),
        (httpx.InvalidURL("bad"), NotComfyUIError),
    ],
)
@pytest.mark.parametrize("how", ["request", "stream"])
async def test_each_error(raised: Exception, becomes: type[ComfyError], how: str) -> None:
    """Each error of httpx is one of ours, with its cause, and names server and path."""
    with respx.mock() as router:
        router.get(url__startswith=URL).mock(side_effect=raised)
        http = HttpClient(Address.parse(URL), auth=Auth.query("s3cret"), trust_env=False)
        ask = http.request("GET", "/x", params=PRIVATE) if how == "request" else streamed(http)
        with pytest.raises(ComfyError) as caught:
            await ask
        await http.aclose()
    error = caught.value
    assert type(error) is becomes
    assert error.server == URL
    assert error.__cause__ is raised
    assert "s3cret" not in str(error)
    assert "private" not in str(error)


async def test_foreign_errors_pass() -> None:
    """What is no error of httpx's, a bug or a cancellation, is not dressed up as the network's."""
    with respx.mock() as router:
        router.get(url__startswith=URL).mock(side_effect=ZeroDivisionError("bug"))
        http = HttpClient(Address.parse(URL), auth=Auth(), trust_env=False)
        with pytest.raises(ZeroDivisionError):
            await http.request("GET", "/x")
        await http.aclose()


@pytest.mark.parametrize("where", ["http://127.0.0.1:9", "https://gpu.example"])
def test_the_way_out_of_a_connect_error(where: str) -> None:
    """On this machine the hint starts a server, elsewhere it looks at the address, for TLS at the CA."""
    from comfy_async._transport.foreign import connect_error

    error = connect_error(where, OSError("refused"))
    assert ("main.py --port 9" in str(error)) == ("127" in where)
    assert "private CA" in str(connect_error(where, OSError("SSL: CERTIFICATE_VERIFY_FAILED")))
