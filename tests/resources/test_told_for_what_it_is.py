"""Proxies that decode paths, and servers with users: told for what they are."""

from __future__ import annotations

import asyncio
import json

import pytest
from raw_server import RawRequest, raw_server, reply

from comfy_async import ComfyError, ComfySession
from comfy_async.testing import FakeComfy


@pytest.mark.parametrize("status", [404, 405])
async def test_a_proxy_that_decodes_slashes(status: int) -> None:
    """nginx in front of nginx asks for another route: the hint says what to write there."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        body = b"404: Not Found" if status == 404 else b"405: Method Not Allowed"
        writer.write(reply(body, status=status))

    async with raw_server(answer) as server, ComfySession(server.url) as comfy:
        for attempt in (comfy.userdata.get("workflows/x.json"), comfy.nodes.info("pack/Node")):
            with pytest.raises(ComfyError, match="%2F.*proxy_pass"):
                await attempt
        with pytest.raises(ComfyError) as caught:
            await comfy.userdata.get("x.json")
        assert "proxy_pass" not in str(caught.value)


async def test_a_missing_file_is_just_missing() -> None:
    """ComfyUI's own answer for a file that is not there blames no proxy."""
    async with FakeComfy() as fake, fake.session() as comfy:
        with pytest.raises(ComfyError) as caught:
            await comfy.userdata.get("workflows/none.json")
        assert "proxy_pass" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_a_server_with_users(status: int) -> None:
    """Without a user it says who there are and how to say which, and nothing of API keys."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        if request.path.endswith("/users"):
            users = {"storage": "server", "users": {"anna_1": "Anna"}}
            writer.write(reply(json.dumps(users).encode(), type_="application/json"))
        elif "comfy-user" in request.headers:
            writer.write(reply(b"[]", type_="application/json"))
        else:
            writer.write(reply(b"500 Internal Server Error", status=status))

    async with raw_server(answer) as server, ComfySession(server.url) as comfy:
        for ask in (
            comfy.userdata.list,
            lambda: comfy.userdata.put("x.json", "{}"),
            comfy.settings_store.all,
        ):
            with pytest.raises(ComfyError, match=r"anna_1 \(Anna\).*as_user.*comfy-user") as caught:
                await ask()
            assert "api_key" not in str(caught.value)
        assert await comfy.userdata.as_user("anna_1").list() == ()


async def test_a_server_with_one_user() -> None:
    """Where there are no users nothing is said of them."""
    async with FakeComfy() as fake, fake.session() as comfy:
        fake.faults.fail("GET", "/userdata", 500, count=1)
        with pytest.raises(ComfyError) as caught:
            await comfy.userdata.list()
        assert "as_user" not in str(caught.value)
