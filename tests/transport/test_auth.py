"""Credentials: every way to give them, joined, renewed, and never shown."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from session_tools import picture

from comfy_async import ComfySession
from comfy_async._client.session import engine_of
from comfy_async._transport.auth import Auth, make_auth
from comfy_async.testing import FakeComfy
from comfy_async.testing._auth import Gatekeeper

SECRET = "s3cret"
BASIC = "Basic " + base64.b64encode(b"anna:s3cret").decode()


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        (None, {}),
        ("s3cret", {"Authorization": "Bearer s3cret"}),
        (("anna", "s3cret"), {"Authorization": BASIC}),
        ({"X-Token": " s3cret\n"}, {"X-Token": "s3cret"}),
        (Auth.api_key("s3cret"), {"X-API-Key": "s3cret"}),
    ],
)
def test_what_people_pass(given: Any, headers: dict[str, str]) -> None:
    """None, a token, a pair, headers and an Auth are all understood."""
    assert make_auth(given).headers == headers
    assert make_auth(given).is_empty == (not headers)


@pytest.mark.parametrize("bad", [7, ("a", "b", "c"), ["x"], b"bytes"])
def test_what_is_no_auth(bad: Any) -> None:
    """Anything else is a TypeError that does not repeat it."""
    with pytest.raises(TypeError, match="bearer token"):
        make_auth(bad)


@pytest.mark.parametrize("bad", ["", "  ", "two\r\nX-Evil: 1", "gr\u2028x", "\x00"])
def test_what_no_header_holds(bad: str) -> None:
    """A key that would break the request is refused without being repeated."""
    with pytest.raises(ValueError, match="cannot be sent") as caught:
        Auth.api_key(bad)
    assert bad.strip() == "" or bad not in str(caught.value)


def test_joined() -> None:
    """The right one wins where both speak, and both keep the rest."""
    joined = Auth({"A": "1", "B": "1"}) + Auth({"B": "2"}, {"token": "t"})
    assert joined.headers == {"A": "1", "B": "2"}
    assert joined.params == {"token": "t"}


async def test_renewed_joins_what_stands() -> None:
    """Fresh credentials come beside headers that stand, and replace their own predecessors."""
    fresh = iter([{"X-Old": "1"}, "token"])

    async def renew() -> Any:
        return next(fresh)

    auth = Auth({"X-Gateway": "g"}) + Auth.renewing(renew)
    assert auth.renews
    assert auth.is_empty
    await auth.renew()
    assert auth.headers == {"X-Gateway": "g", "X-Old": "1"}
    await auth.renew()
    assert auth.headers == {"X-Gateway": "g", "Authorization": "Bearer token"}
    assert not auth.is_empty
    assert not await Auth().renew()
    assert (Auth({"Y": "y"}) + auth).headers["Authorization"] == "Bearer token"


def test_repr_names_no_value() -> None:
    """What is sent is named, its value never."""
    auth = Auth.bearer(SECRET) + Auth.query(SECRET) + Auth({"X-Key": SECRET})
    assert repr(auth) == "<Auth headers: Authorization, X-Key; query: token>"
    assert repr(Auth()) == "<Auth none>"

    async def renew() -> str:
        return SECRET

    assert repr(Auth.renewing(renew)) == "<Auth renewing>"


KEEPERS: dict[str, tuple[Gatekeeper, dict[str, Any]]] = {
    "bearer": (Gatekeeper(bearer=SECRET), {"auth": SECRET}),
    "basic": (Gatekeeper(basic=("anna", SECRET)), {"auth": ("anna", SECRET)}),
    "api key": (Gatekeeper(headers={"X-API-Key": SECRET}), {"api_key": SECRET}),
    "headers": (Gatekeeper(headers={"X-A": "a", "X-B": SECRET}), {"headers": {"X-A": "a", "X-B": SECRET}}),
    "token in the query": (Gatekeeper(token=SECRET), {"auth": Auth.query(SECRET)}),
}


@pytest.mark.parametrize("kind", KEEPERS)
async def test_one_auth_for_both(kind: str) -> None:
    """HTTP and the socket pass the same gate with the same credentials."""
    keeper, options = KEEPERS[kind]
    async with FakeComfy(auth=keeper) as fake, fake.session(**options) as comfy:
        result = await comfy.run(picture())
        assert await result.images[0].read()
        assert comfy.connection.state == "hearing"
        assert SECRET not in repr(comfy)


async def test_credentials_in_the_url() -> None:
    """`user:password@` and `?token=` in the URL are credentials, and are kept out of `base_url`."""
    async with FakeComfy(auth=Gatekeeper(basic=("anna", "s3:c/r@t"))) as fake:
        url = fake.url.replace("http://", "http://anna:s3%3Ac%2Fr%40t@")
        async with ComfySession(url) as comfy:
            await comfy.run(picture())
            assert comfy.base_url == fake.url
    async with FakeComfy(auth=Gatekeeper(token=SECRET)) as fake:
        async with ComfySession(f"{fake.url}/?token={SECRET}") as comfy:
            await comfy.run(picture())
            assert comfy.connection.state == "hearing"
            assert comfy.base_url == fake.url


async def test_cookies_are_shared_with_the_socket() -> None:
    """A login that sets a cookie opens the socket too."""
    async with FakeComfy(auth=Gatekeeper(cookies={"session": SECRET})) as fake:
        async with fake.session(connect="lazy") as comfy:
            engine_of(comfy).http._client.cookies.set("session", SECRET, domain="127.0.0.1")
            await comfy.run(picture())
            assert comfy.connection.state == "hearing"


async def test_token_that_expires() -> None:
    """When a token has expired both HTTP and a new socket come with a fresh one."""
    tokens = iter(["one", "two", "three"])

    async def renew() -> str:
        token = next(tokens)
        fake.core.gatekeeper = Gatekeeper(bearer=token)
        return token

    async with FakeComfy() as fake:
        fake.core.gatekeeper = Gatekeeper(bearer="one")
        async with fake.session(auth=Auth.renewing(renew)) as comfy:
            await comfy.run(picture(1))
            fake.core.gatekeeper = Gatekeeper(bearer="expired")
            await comfy.run(picture(2))
            assert next(tokens) == "three"
