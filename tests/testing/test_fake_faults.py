"""Everything that can go wrong does so on request, and nothing else does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import uuid
from typing import Any

import httpx
import pytest
import websockets
from bare_client import Bare, Socket, bare, sampler_graph, text_graph

from comfy_async.testing import FakeComfy


async def code_of_the_end(socket: Socket) -> int | None:
    """Read until the socket is closed and return the code of the close frame, None without one."""
    try:
        while True:
            await socket.next()
    except websockets.ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


@pytest.mark.parametrize(("how", "code"), [("close", 1011), ("cut", None), ("reset", None)])
async def test_dropped_sockets(how: Any, code: int | None) -> None:
    """Only the named client loses its socket, and in the way that was asked for."""
    async with bare() as client, client.socket("me") as me, client.socket("other") as other:
        assert client.fake.faults.drop_sockets(how, client_id="me", code=1011) == 1
        assert await code_of_the_end(me) == code
        await client.fake.wait_for(lambda books: books.sockets_now == 1)
        await client.run(text_graph(), client_id="other")
        await other.until("end")


async def test_a_half_open_socket_looks_alive_to_the_server() -> None:
    """No pong comes, the server still counts it, and its late end deafens the next socket."""
    async with bare() as client, client.socket() as first:
        client.fake.faults.drop_sockets("half_open")
        pong = asyncio.ensure_future(await first.connection.ping())
        await client.run(text_graph(), client_id="me")
        assert await first.hears_nothing()
        assert not pong.done()
        pong.cancel()
        assert client.fake.books.sockets_now == 1
        async with client.socket() as second:
            assert client.fake.faults.end_half_open() == 1
            await client.fake.wait_for(lambda books: books.sockets_now == 1)
            await client.run(text_graph(), client_id="me")
            assert await second.hears_nothing()


async def test_a_half_open_socket_ends_after_its_time() -> None:
    """`ends_after` lets the server notice by itself."""
    async with bare() as client, client.socket():
        client.fake.faults.drop_sockets("half_open", ends_after=0.01)
        await client.fake.wait_for(lambda books: books.sockets_now == 0)


@pytest.mark.parametrize("later", [None, 0.01])
async def test_deafened(later: float | None) -> None:
    """A deafened socket stays open, answers pings, and hears nothing any more."""
    async with bare() as client, client.socket() as socket, client.socket("other") as other:
        client.fake.faults.deafen("me", later=later)
        if later is not None:
            await client.fake.wait_for(lambda _: "me" not in client.fake.core.hub.registered)
        await client.run(text_graph(), client_id="me")
        assert await socket.hears_nothing()
        await (await socket.connection.ping())
        assert (await other.next())["type"] == "status"
        client.fake.faults.deafen()
        assert not client.fake.core.hub.registered


async def test_late_cleanup_deafens_a_client_that_closed_its_old_socket_first() -> None:
    """The handler of the old socket ends after the new one was opened, and removes it."""
    async with bare() as client:
        # Longer than a busy machine takes to open the second socket.
        client.fake.faults.late_cleanup(0.3)
        async with client.socket():
            pass
        await client.fake.wait_for(lambda books: books.sockets_now == 0)
        async with client.socket() as second:
            await client.fake.wait_for(lambda _: not client.fake.core.hub.registered)
            await client.run(text_graph(), client_id="me")
            assert await second.hears_nothing()


async def test_a_stall_stops_events_to_all_and_loses_none() -> None:
    """HTTP goes on during a stall, and what gathered comes afterwards in order."""
    async with bare() as client, client.socket() as socket:
        client.fake.faults.stall()
        await client.run(text_graph(), client_id="me")
        assert await socket.hears_nothing()
        client.fake.faults.unstall()
        frames = await socket.until("end")
    assert [frame["type"] for frame in frames][:4] == [
        "status",
        "status",
        "execution_start",
        "execution_cached",
    ]


async def test_one_client_that_does_not_read_stalls_all() -> None:
    """The publish loop awaits every send, as the real one does."""
    async with bare() as client, client.socket("other") as other:
        host, port = client.fake.host, client.fake.port
        _, writer = await asyncio.open_connection(host, port, limit=1)
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        upgrade = (
            f"GET /ws?clientId=lazy HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        )
        writer.write(f"{upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        await client.fake.wait_for(lambda books: books.sockets_now == 2)
        client.fake.faults.send_huge(64 << 20, client_id="lazy")
        await client.run(text_graph(), client_id="other")
        assert await other.hears_nothing()
        writer.close()
        await writer.wait_closed()
        await other.until("end")


async def test_refused_upgrades() -> None:
    """The next upgrades get the status, and then sockets open again."""
    async with bare() as client:
        client.fake.faults.refuse_upgrades(403, count=2)
        for _ in range(2):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with client.socket():
                    pass
            assert refused.value.response.status_code == 403
        async with client.socket():
            pass


async def test_accept_and_close() -> None:
    """Sockets are greeted and closed, as many as asked for."""
    async with bare() as client:
        client.fake.faults.accept_and_close(2, code=1009)
        for _ in range(2):
            async with client.socket(greeting=True, negotiates=False) as socket:
                assert (await socket.next())["type"] == "status"
                assert await code_of_the_end(socket) == 1009
        async with client.socket():
            pass


async def test_strange_frames_arrive_as_they_are() -> None:
    """Truncated, misshapen, huge and undecodable frames reach the client in order."""
    async with bare() as client, client.socket() as socket:
        faults = client.fake.faults
        count = faults.send_truncated("me") + faults.send_wrong_shapes("me")
        frames = [await socket.connection.recv(decode=False) for _ in range(count)]
        assert len(frames) == count
        faults.send_raw("me", "a text")
        faults.send_raw("me", b"bytes")
        faults.send_huge(3_000_000, client_id="me")
        faults.send_huge(2_000_000, client_id="me", as_text=True)
        assert faults.send_invalid_text("me") == 1
        received = [await socket.connection.recv(decode=False) for _ in range(5)]
    assert received[:2] == [b"a text", b"bytes"]
    assert [len(frame) > 2_000_000 for frame in received[2:4]] == [True, True]
    with pytest.raises(UnicodeDecodeError):
        received[4].decode()


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("failure", [503, "reset", "html"])
async def test_a_failing_submit(failure: Any, after_effect: bool) -> None:
    """The answer is lost either before or after the prompt was queued, once."""
    prompt_id = str(uuid.uuid4())
    async with bare() as client:
        client.fake.faults.fail("POST", "/prompt", failure, count=1, after_effect=after_effect)
        if failure == "reset":
            with pytest.raises(httpx.ReadError):
                await client.post(text_graph(), prompt_id=prompt_id)
        else:
            answer = await client.post(text_graph(), prompt_id=prompt_id)
            assert answer.status_code == (503 if failure == 503 else 502)
            assert ("<html>" in answer.text) == (failure == "html")
        assert len(client.fake.books.of(prompt_id)) == after_effect
        await client.run(text_graph(), prompt_id=prompt_id)
        assert client.fake.books.starts(prompt_id) == 1 + after_effect


async def test_rules_meet_what_they_name() -> None:
    """Method, pattern and /api are understood, a socket is only meant by its own path."""
    async with bare() as client:
        rule = client.fake.faults.fail(
            "GET", "/history/*", 500, json={"oh": "no"}, headers={"Retry-After": "7"}
        )
        for path in ("/history/x", "/api/history/y"):
            answer = await client.http.get(path)
            assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (
                500,
                {"oh": "no"},
                "7",
            )
        assert (await client.http.get("/history")).status_code == 200
        assert rule.hits == 2
        rule.cancel()
        assert (await client.http.get("/history/x")).status_code == 200
        client.fake.faults.fail("*", "*", 500)
        async with client.socket():
            assert (await client.http.get("/queue")).status_code == 500
        await client.fake.faults.heal()
        assert (await client.http.get("/queue")).status_code == 200


async def test_a_seed_gives_the_same_choices() -> None:
    """A rule with a probability and a seed meets the same requests every time."""
    choices = []
    for _ in range(2):
        async with bare() as client:
            client.fake.faults.fail("GET", "/prompt", probability=0.5, seed=3)
            choices.append([(await client.http.get("/prompt")).status_code for _ in range(20)])
    assert choices[0] == choices[1]
    assert set(choices[0]) == {200, 503}


async def test_a_delay_holds_up_one_request_only() -> None:
    """Others are answered while one waits, and ending the rule lets it go."""
    async with bare() as client:
        rule = client.fake.faults.delay("GET", "/queue", 60, count=1)
        waiting = asyncio.create_task(client.http.get("/queue"))
        await client.fake.wait_for(lambda books: books.count("GET", "/queue") == 1)
        assert (await client.http.get("/queue")).status_code == 200
        assert not waiting.done()
        rule.cancel()
        assert (await waiting).status_code == 200
        client.fake.faults.delay("GET", "/queue", 0.01)
        await client.http.get("/queue")


async def test_a_request_that_hangs_is_let_go_at_the_end() -> None:
    """No answer comes, and stopping the server does not wait for anybody."""
    async with FakeComfy() as fake, httpx.AsyncClient(base_url=fake.url, verify=False) as http:
        fake.faults.fail("GET", "/queue", "hang", count=1)
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/queue", timeout=0.05)
        fake.faults.fail("GET", "/queue", "hang", count=1)
        hanging = asyncio.create_task(http.get("/queue", timeout=60))
        await fake.wait_for(lambda books: books.count("GET", "/queue") == 2)
        await fake.stop()
        with pytest.raises(httpx.TransportError):
            await hanging


@pytest.mark.parametrize("history", [True, False])
async def test_a_restart_loses_what_was_queued(history: bool) -> None:
    """The running and the pending job are lost, the port is the same, the history may stay."""
    async with bare() as client, client.socket() as socket:
        done = await client.submit(text_graph())
        await client.fake.ended(done)
        url = client.fake.url
        with client.fake.gate("KSampler", step=1) as gate:
            running = await client.submit(sampler_graph())
            await gate.reached()
            pending = await client.submit(text_graph("pending"))
            await client.fake.faults.restart(history=history, down_for=0.01)
        assert await code_of_the_end(socket) is None
        assert client.fake.url == url
        assert list(await client.get("/history")) == [done] * history
        assert client.fake.books.of(done)[0].forgotten is not history
        assert await client.get("/queue") == {"queue_running": [], "queue_pending": []}
        assert [client.fake.books.ends(prompt_id) for prompt_id in (running, pending)] == [["lost"], ["lost"]]
        await client.run(text_graph())
        assert client.fake.books.accepted[-1].executed == ["1", "2"]


@pytest.mark.parametrize("turns", range(1, 8))
async def test_a_restart_that_is_cut_off_leaves_nothing_half_dead(turns: int) -> None:
    """Cancelled wherever it stands, it has lost the running prompt or left it alone, and can come up."""
    async with bare() as client:
        with client.fake.gate("KSampler", step=1) as gate:
            running = await client.submit(sampler_graph())
            await gate.reached()
            restarting = asyncio.create_task(client.fake.faults.restart())
            for _ in range(turns):
                await asyncio.sleep(0)
            restarting.cancel()
            await asyncio.wait([restarting])
            await client.fake.faults.heal()
        assert client.fake.books.ends(running) == ["lost"]
        assert await client.get("/queue") == {"queue_running": [], "queue_pending": []}
        await client.run(text_graph())


async def test_while_the_server_is_down_nobody_answers() -> None:
    """Connections are refused until it comes up, and coming up twice is fine."""
    async with bare() as client:
        await client.fake.faults.go_down()
        with pytest.raises(httpx.ConnectError):
            await client.http.get("/prompt")
        await client.fake.faults.come_up()
        await client.fake.faults.come_up()
        assert (await client.http.get("/prompt")).status_code == 200


@pytest.mark.parametrize("turns", range(6))
async def test_who_connects_while_it_goes_down_is_cut_off(turns: int) -> None:
    """At whichever turn of the loop: no answer comes from a server that is down, and no socket stays open."""
    async with bare() as client:
        with socket.create_connection(("127.0.0.1", client.fake.port)) as caller:
            caller.setblocking(False)
            caller.send(b"GET /prompt HTTP/1.1\r\nHost: x\r\n\r\n")
            for _ in range(turns):
                await asyncio.sleep(0)
            await client.fake.faults.go_down()
            with contextlib.suppress(ConnectionError):
                assert await asyncio.get_running_loop().sock_recv(caller, 100) == b""
        gc.collect()
        await client.fake.faults.come_up()
        assert (await client.http.get("/prompt")).status_code == 200


async def test_a_delayed_submit_does_not_survive_a_restart() -> None:
    """What was asked of the server before is not done by its successor."""
    async with bare() as client:
        client.fake.faults.delay("POST", "/prompt", 0.05, count=1)
        posting = asyncio.create_task(client.post(text_graph()))
        await client.fake.wait_for(lambda books: books.count("POST", "/prompt") == 1)
        await client.fake.faults.restart()
        with pytest.raises(httpx.TransportError):
            await posting
        await asyncio.sleep(0.1)
        assert client.fake.books.accepted == []


async def test_a_lost_queue_says_nothing() -> None:
    """Pending prompts are gone without a status, an event or a history entry."""
    async with bare() as client, client.socket() as socket:
        client.fake.hold()
        prompt_id = await client.submit(text_graph(), client_id="me")
        assert (await socket.next())["type"] == "status"
        assert client.fake.faults.lose_queue() == 1
        assert await socket.hears_nothing()
        assert client.fake.books.ends(prompt_id) == ["lost"]
        assert (await client.http.get(f"/api/jobs/{prompt_id}")).status_code == 404


async def test_a_missed_cancel() -> None:
    """The server says that it cancelled, and the job completes all the same."""
    async with bare() as client:
        with client.fake.gate("KSampler", step=1) as gate:
            prompt_id = await client.submit(sampler_graph())
            await gate.reached()
            client.fake.faults.miss_cancels()
            answer = await client.http.post(f"/api/jobs/{prompt_id}/cancel")
            assert answer.json() == {"cancelled": True}
        await client.fake.ended(prompt_id)
        assert client.fake.books.ends(prompt_id) == ["success"]
        assert client.fake.books.accepted[0].interrupts == 1


async def test_a_slow_history() -> None:
    """`slow_history` changes the delay of a running server."""
    async with bare() as client:
        client.fake.faults.slow_history(0.03)
        await client.run(text_graph())
        record = client.fake.books.accepted[0]
    assert record.ended_at - record.finished_at >= 0.03


async def submit_for_a_while(client: Bare, count: int) -> list[str]:
    """Submit prompts through whatever happens; returns the ids that were tried."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for prompt_id in ids:
        try:
            await client.post(sampler_graph(seed=len(prompt_id)), prompt_id=prompt_id)
        except httpx.TransportError:
            await asyncio.sleep(0.01)
    return ids


async def test_chaos_ends_every_run_exactly_once() -> None:
    """Whatever happens, every prompt that was accepted has one end in the books."""
    async with bare(step_seconds=0.001) as client:
        async with client.fake.faults.chaos(seed=11, rate=100) as chaos:
            await submit_for_a_while(client, 60)
        await client.fake.idle()
        assert len(chaos.log) > 5
        assert client.fake.books.accepted
        assert all(record.end is not None for record in client.fake.books.accepted)
        assert client.fake.books.ended == len(client.fake.books.accepted)
        assert (await client.http.get("/prompt")).status_code == 200
        async with client.socket():
            pass


async def test_a_seed_replays_its_chaos() -> None:
    """The same seed gives the same faults at the same times, another one does not."""
    logs = []
    for seed in (5, 5, 6):
        async with bare() as client, client.fake.faults.chaos(seed=seed, rate=300) as chaos:
            await asyncio.sleep(0.15)
        logs.append([(round(at, 9), kind, details) for at, kind, details in chaos.log])
    shared = min(map(len, logs))
    assert shared > 3
    assert logs[0][:shared] == logs[1][:shared]
    assert logs[0][:shared] != logs[2][:shared]


async def test_chaos_of_chosen_kinds() -> None:
    """Only the kinds that were asked for happen."""
    async with bare() as client, client.fake.faults.chaos(1, rate=500, kinds=["stall", "garbage"]) as chaos:
        await asyncio.sleep(0.05)
    assert {kind for _, kind, _ in chaos.log} <= {"stall", "garbage"}
