"""A server that repeats what it was sent: no key of the session gets into an error, a log, or a local."""

from __future__ import annotations

import asyncio
import base64
import copy
import html
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from raw_server import RawRequest, raw_server, reply
from session_tools import picture

from comfy_async import Auth, ComfyError, ComfySession, Settings, SubmitUnknownError
from comfy_async._base.clock import Clock
from comfy_async._base.secrets import chain_of
from comfy_async._client.session import engine_of

KEYS = {
    "bearer": "B3arer/aaaa+aaaa",
    "query": "Qu3ry&bbbb=bbbb",
    "header": "H3ader-cccccccc",
    "cookie": "C00kie-dddddddd",
    "partner": 'P4rtner"eeee\\eee',
    "password": "Pa55word:ffff",
}


class QuickClock(Clock):
    """Pauses take no time."""

    async def sleep(self, seconds: float) -> None:
        """Let others have a turn."""
        await asyncio.sleep(0)


def leaks(text: str) -> list[str]:
    """The names of the keys that stand in a text, in whatever form."""
    forms: list[Callable[[str], str]] = [
        str,
        lambda key: quote(key, safe=""),
        lambda key: json.dumps(key)[1:-1],
        html.escape,
        lambda key: base64.b64encode(key.encode()).decode().rstrip("=")[:-1],
        lambda key: repr(key)[1:-1],
    ]
    return [name for name, key in KEYS.items() if any(form(key) in text for form in forms)]


def session(url: str, **options: Any) -> ComfySession:
    """A session that carries every one of the keys."""
    comfy = ComfySession(
        f"{url}?token={quote(KEYS['query'], safe='')}",
        auth=Auth.bearer(KEYS["bearer"]),
        headers={"X-Gateway": KEYS["header"]},
        partner_api_key=KEYS["partner"],
        settings=Settings(request_seconds=5, submit_seconds=0.1, clock=QuickClock(), **options),
    )
    engine_of(comfy).http._client.cookies.set("session", KEYS["cookie"], domain="127.0.0.1")
    return comfy


def echoed(request: RawRequest) -> str:
    """All that was sent, as some servers repeat it, and in forms of which gateways are fond."""
    sent = f"{request.target} {request.headers} {request.body.decode()}"
    return f"{sent} {quote(sent, safe='')} {html.escape(sent)} {base64.b64encode(sent.encode()).decode()}"


def said(error: BaseException) -> str:
    """All that an error shows: words, fields, pickle, causes, and the locals of the library's frames."""
    parts = [str(error), repr(error), repr(vars(error)), str(pickle.dumps(error))]
    lines = traceback.TracebackException.from_exception(error, capture_locals=False)
    parts += list(lines.format())
    for one in chain_of(error):
        place = one.__traceback__
        while place is not None:
            if "/tests/" not in place.tb_frame.f_code.co_filename:
                parts.append(f"{place.tb_frame.f_code.co_qualname}: {shown(place.tb_frame.f_locals)}")
            place = place.tb_next
    return "\n".join(parts)


def shown(values: dict[str, Any]) -> str:
    """Locals as rich shows them: containers and dataclasses opened, everything by its repr."""
    return repr({name: dict(v) if isinstance(v, dict) else v for name, v in values.items()})


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/html"])
@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500, 503])
async def test_a_server_that_repeats_the_request(status: int, kind: str) -> None:
    """Whatever the status and the form, neither the error nor anything that hangs on it holds a key."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        text = echoed(request)
        if kind == "application/json":
            error = {"type": text[:200], "message": text, "details": text, "extra_info": {"a": [text]}}
            node = {"class_type": text, "errors": [{"type": "x", "message": text, "details": text}]}
            text = json.dumps({"error": error, "node_errors": {"1": node}})
        writer.write(reply(text.encode(), status=status, type_=kind))

    async with raw_server(answer) as server, session(server.url) as comfy:
        for attempt in (
            comfy.submit(picture()),
            comfy.queue.clear(),
            comfy.files.read("x.png"),
            comfy.files.upload(b"x"),
            comfy.userdata.get("x"),
        ):
            with pytest.raises(ComfyError) as caught:
                await attempt
            assert leaks(said(caught.value)) == []
    # The test is worth something only if the keys have been sent.
    assert KEYS["partner"] in json.loads(server.of("/api/prompt")[0].body)["extra_data"].values()
    assert leaks(echoed(server.of("/api/prompt")[0])) == ["bearer", "query", "header", "cookie", "partner"]


async def test_an_outcome_that_stays_unknown() -> None:
    """`SubmitUnknownError` repeats the server's words, without the keys in them."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(f"no: {echoed(request)}".encode(), status=500))

    async with raw_server(answer) as server, session(server.url) as comfy:
        with pytest.raises(SubmitUnknownError, match="no: ") as caught:
            await comfy.submit(picture())
    assert leaks(said(caught.value)) == []


@pytest.mark.parametrize("broken", ["status line", "header", "length", "type", "reason", "location", "close"])
async def test_where_else_a_server_may_repeat_it(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    """In a broken answer's own bytes, in its reason phrase, its type, or where it redirects to."""
    caplog.set_level(logging.DEBUG)

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        key = request.headers["authorization"].removeprefix("Bearer ").encode()
        lines = {
            "status line": b"HTTP/1.1 2x0 " + key + b"\r\n\r\n",
            "header": b"HTTP/1.1 200 OK\r\n" + key + b"\xff\x00: \x00\r\n\r\n",
            "length": b"HTTP/1.1 200 OK\r\nContent-Length: " + key + b"\r\n\r\n",
            "type": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: " + key + b"\r\n\r\n",
            "reason": b"HTTP/1.1 500 " + key + b"\r\nContent-Length: 0\r\n\r\n",
            "location": b"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: http://x."
            + key.replace(b"/", b"")
            + b".invalid/"
            + key
            + b"\r\n\r\n",
            "close": b"",
        }
        writer.write(lines[broken])

    async with raw_server(answer) as server, session(server.url) as comfy:
        with pytest.raises(ComfyError) as caught:
            await comfy.queue.snapshot()
    assert leaks(said(caught.value)) == []
    assert leaks(caplog.text) == []


async def test_nobody_listens() -> None:
    """Neither frames of ours nor of the libraries keep headers or URLs with keys in them."""
    for url in ("http://127.0.0.1:9", "http://comfy.invalid:8188"):
        with pytest.raises(ComfyError) as caught:
            async with session(url):
                pass
        assert leaks(said(caught.value)) == []


async def test_a_limit_of_time() -> None:
    """Nor do those of a request that the caller's own time limit has cut off."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_server(answer) as server:
        comfy = session(server.url)
        await comfy.connect()
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.2):
                await comfy.queue.snapshot()
        assert leaks(said(caught.value)) == []
        await comfy.aclose()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Auth.bearer(f"{KEYS['bearer']}\n\x00x"),
        lambda: Auth.api_key(f"{KEYS['bearer']}é"),
        lambda: Auth({"X-Key": [KEYS["header"]]}),  # type: ignore[dict-item]
        lambda: Auth.query(f"{KEYS['query']}\x00"),
        lambda: Auth({"X-Key": f"{KEYS['header']}\n"}),
        lambda: Auth({"X-Key": KEYS["header"], "bad name": "x"}),
        lambda: ComfySession(f"http://u:{KEYS['password']}@h:port"),
        lambda: ComfySession(f"nothing://u:{KEYS['password']}@h"),
    ],
)
def test_what_cannot_be_sent(make: Callable[[], object]) -> None:
    """A credential that is refused at once is not repeated, nor left in the frames that refused it."""
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert leaks("\n".join([str(caught.value), *locals_of(caught.value, "auth.py", "address.py")])) == []


def locals_of(error: BaseException, *files: str) -> list[str]:
    """The locals of the frames of some files, in an error's traceback."""
    place, found = error.__traceback__, []
    while place is not None:
        if place.tb_frame.f_code.co_filename.endswith(files):
            found.append(f"{place.tb_frame.f_code.co_qualname}: {shown(place.tb_frame.f_locals)}")
        place = place.tb_next
    return found


def test_pickles_hold_no_key() -> None:
    """An `Auth`, and settings with a proxy's password, are no part of a pickle; settings without are."""
    auth = Auth.bearer(KEYS["bearer"]) + Auth.query(KEYS["query"])
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(auth)
    assert copy.copy(auth).headers == auth.headers
    settings = Settings(proxy=f"http://u:{quote(KEYS['password'])}@proxy:3128")
    assert leaks(repr(settings)) == []
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(settings)
    plain = Settings(proxy="http://proxy:3128", poll_min=0.25)
    twin = pickle.loads(pickle.dumps(plain))
    assert (twin.proxy, twin.poll_min) == ("http://proxy:3128", 0.25)


async def test_what_succeeds_is_as_it_came() -> None:
    """What succeeds is not touched: the data of an answer may well hold what a key looks like."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(KEYS["bearer"].encode(), type_="application/octet-stream"))

    async with raw_server(answer) as server, session(server.url) as comfy:
        assert await comfy.userdata.get("notes.txt") == KEYS["bearer"].encode()
        assert await comfy.files.read("x.png") == KEYS["bearer"].encode()
