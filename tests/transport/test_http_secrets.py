"""Nothing that is secret is ever shown: everything is run at debug level, and what was said is searched."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from raw_server import RawRequest, raw_server, reply
from session_tools import picture

from comfy_async import ComfyError, ComfySession, PartnerNodeError, Settings, Workflow
from comfy_async._client.session import engine_of
from comfy_async._transport.auth import Auth
from comfy_async.testing import FakeComfy
from comfy_async.testing._auth import Gatekeeper

SECRETS = {
    "key": "K3y-aaaaaaaaaaaa",
    "token": "T0ken-bbbbbbbbbb",
    "query": "Qu3ry-cccccccccc",
    "header": "H3ader-dddddddddd",
    "cookie": "C00kie-eeeeeeeeee",
    "partner": "P4rtner-ffffffff",
    "user": "Us3r-gggggggggggg",
}


class Heard(logging.Handler):
    """Everything that anybody logs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = io.StringIO()
        self.names: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep message, arguments and traceback."""
        self.names.add(record.name)
        self.text.write(f"{record.name} {record.getMessage()} {record.args!r}\n")
        if record.exc_info and record.exc_info[1]:
            self.text.write("".join(traceback.format_exception(record.exc_info[1])))


@pytest.fixture
def heard() -> Any:
    """Listen to every logger at debug level."""
    handler = Heard()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


def leaks(text: str) -> list[str]:
    """The names of the secrets that stand in a text."""
    return [name for name, secret in SECRETS.items() if secret in text]


@pytest.fixture
async def guarded() -> AsyncIterator[FakeComfy]:
    """A server that wants every one of the secrets."""
    keeper = Gatekeeper(headers={"X-API-Key": SECRETS["key"], "X-Gateway": SECRETS["header"]})
    async with FakeComfy(auth=keeper) as fake:
        yield fake


def session(fake: FakeComfy) -> ComfySession:
    """A session that carries every one of the secrets."""
    url = fake.url.replace("http://", f"http://anna:{SECRETS['user']}@")
    comfy = ComfySession(
        f"{url}?token={SECRETS['query']}",
        api_key=SECRETS["key"],
        headers={"X-Gateway": SECRETS["header"]},
        auth=Auth({"X-Token": SECRETS["token"]}),
        partner_api_key=SECRETS["partner"],
        settings=Settings(request_seconds=5),
    )
    engine_of(comfy).http._client.cookies.set("session", SECRETS["cookie"], domain="127.0.0.1")
    return comfy


async def enter(session: ComfySession) -> None:
    """Open a session and close it."""
    async with session:
        pass


async def test_a_whole_life_says_no_secret(guarded: FakeComfy, heard: Heard, tmp_path: Path) -> None:
    """Runs, failures, files, drops and polling at debug level: no repr, event, ref or log holds a secret."""
    shown: list[str] = []
    guarded.script("Partner", is_output=True, error=("Exception", "Unauthorized: Please login first"))
    async with session(guarded) as comfy:
        events = comfy.events()
        job = await comfy.submit(Workflow.load(picture()))
        async for event in job:
            shown += [repr(event), repr(event.raw)]
        result = await job
        shown += [repr(job), json.dumps(job.ref), repr(result), json.dumps(result.to_dict())]
        shown += [str(result.images[0].url), *map(str, await result.save(tmp_path))]
        shown += [repr(await comfy.files.upload(b"x")), comfy.files.url("a.png")]
        shown += [repr(await comfy.queue.snapshot()), repr(await comfy.system.stats())]
        shown += [repr([page async for page in comfy.history.page()])]
        shown += [repr(await comfy.nodes.catalog(cache=tmp_path))]
        with pytest.raises(PartnerNodeError) as caught:
            await comfy.run({"1": {"class_type": "Partner", "inputs": {}}})
        shown += said(caught.value)
        guarded.faults.drop_sockets("reset")
        await comfy.run(picture(2))
        guarded.faults.fail("GET", "/queue", 500, count=1)
        with pytest.raises(ComfyError) as failed:
            await comfy.queue.snapshot()
        shown += said(failed.value)
        shown += [
            repr(comfy),
            repr(comfy.connection),
            repr(comfy.server),
            repr(comfy.settings),
            comfy.base_url,
        ]
        http = engine_of(comfy).http
        shown += [repr(http.auth), repr(http.address), str(vars(http).keys())]
        await events.aclose()
    shown += [path.read_text("latin-1") for path in files_below(tmp_path)]
    assert leaks("\n".join(shown)) == []
    assert leaks(heard.text.getvalue()) == []
    # The scan is worth something only if the talkative ones have talked.
    assert {"httpx", "httpcore.http11"} <= heard.names


def files_below(folder: Path) -> list[Path]:
    """Every file in a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def said(error: BaseException) -> list[str]:
    """All that an error shows: words, fields, pickle, and its causes with their tracebacks."""
    return [
        str(error),
        repr(error),
        repr(vars(error)),
        repr(pickle.dumps(error)),
        "".join(traceback.format_exception(error)),
    ]


async def test_refusals_say_no_secret(guarded: FakeComfy, heard: Heard) -> None:
    """Refused credentials are not repeated, by HTTP nor by the socket."""
    guarded.core.gatekeeper = Gatekeeper(bearer="another")
    with pytest.raises(ComfyError) as caught:
        await enter(session(guarded))
    assert leaks("\n".join(said(caught.value))) == []
    guarded.core.gatekeeper = None
    async with session(guarded) as comfy:
        guarded.faults.refuse_upgrades(401)
        await comfy.run(picture())
        assert comfy.connection.state == "refused"
        assert leaks(repr(comfy.connection)) == []
    assert leaks(heard.text.getvalue()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://comfy.invalid"])
async def test_no_connection_says_no_secret(url: str, heard: Heard) -> None:
    """Where nobody answers the error names the server, without what its URL held."""
    full = url.replace("//", "//anna:" + SECRETS["user"] + "@") + "?token=" + SECRETS["query"]
    with pytest.raises(ComfyError) as caught:
        await enter(ComfySession(full))
    assert leaks("\n".join(said(caught.value))) == []
    assert leaks(heard.text.getvalue()) == []


async def test_broken_answers_say_no_secret(heard: Heard) -> None:
    """Cookies and places that a server hands out, and broken answers, are not logged either."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        if request.path.endswith("/view"):
            where = f"{elsewhere.url}/file?signature={SECRETS['token']}"
            writer.write(reply(b"", status=302, location=where, set_cookie=f"session={SECRETS['cookie']}"))
        else:
            writer.write(reply(b"{}", content_length=99, set_cookie=f"a={SECRETS['cookie']}"))

    async def bucket(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"\x89PNG", content_type="image/png"))

    async with (
        raw_server(bucket) as elsewhere,
        raw_server(answer) as server,
        ComfySession(server.url) as comfy,
    ):
        assert await comfy.files.read("x.png") == b"\x89PNG"
        with contextlib.suppress(ComfyError):
            await comfy.queue.snapshot()
        assert SECRETS["token"] in elsewhere.requests[0].target
    assert leaks(heard.text.getvalue()) == []


async def test_others_log_as_before(heard: Heard) -> None:
    """What other code of the same process asks by httpx is logged as it always was."""
    import httpx

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"{}"))

    async with raw_server(answer) as server:
        async with ComfySession(server.url):
            pass
        async with httpx.AsyncClient() as other:
            await other.get(f"{server.url}/other?q=visible")
    assert "q=visible" in heard.text.getvalue()
