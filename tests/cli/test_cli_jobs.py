"""`submit`, `watch`, `wait`, `cancel`, `queue` and `history`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy_async import Workflow
from comfy_async.testing import FakeComfy

UNKNOWN = "11111111-aaaa-4aaa-8aaa-111111111111"


async def test_submit_prints_a_ref(cli: Any, small: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """What submit prints is what watch, wait and cancel take: in a file, as text, or as a bare id."""
    done = await cli("submit", small)
    ref = json.loads(done.out)
    path = tmp_path / "job.json"
    path.write_text(done.out)

    assert done.code == 0
    assert ref == {
        "prompt_id": ref["prompt_id"],
        "client_id": ref["client_id"],
        "server": fake.url,
        "detached": True,
    }
    for word in (path, done.out, ref["prompt_id"]):
        waited = await cli("wait", word)
        assert waited.code == 0
        assert "small_00001_.png" in waited.out


async def test_submit_json_has_the_nodes_too(cli: Any, small: Path) -> None:
    """--json is the ref and the nodes, in one line."""
    done = await cli("submit", small, "--json")

    (line,) = done.objects
    fields = {"event", "prompt_id", "server", "client_id", "queue_position", "nodes", "detached"}
    assert line.keys() == fields
    assert [node["title"] for node in line["nodes"]] == ["Canvas", "SaveImage"]


async def test_submit_goes_where_it_was_told(cli: Any, small: Path, fake: FakeComfy) -> None:
    """--front is a place in the queue."""
    fake.hold()
    first = json.loads((await cli("submit", small)).out)
    second = json.loads((await cli("submit", small, "--front")).out)
    listed = await cli("queue", "--json")
    fake.release()
    await fake.idle()

    waiting = [item["prompt_id"] for item in listed.objects if item["status"] == "pending"]
    assert waiting == [second["prompt_id"], first["prompt_id"]]


async def test_watch_of_a_ref_is_live(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """With what submit printed, the steps come by the socket, under the client_id of the ref."""
    with fake.gate("KSampler", step=2) as gate:
        ref = (await cli("submit", sd15)).out
        await gate.reached()
        child = await cli.start("watch", ref, "--json", "--out", tmp_path)
        attached = await child.until("attached")
        await fake.wait_for(lambda books: books.sockets_now == 1)
    done = await child.done()

    assert attached.keys() == {"event", "prompt_id", "server", "status"}
    assert done.code == 0
    assert done.of("saved")[0]["filename"] == "ComfyUI_00001_.png"
    assert done.objects[-1]["event"] == "completed"


async def test_watch_takes_stdin(cli: Any, small: Path) -> None:
    """`submit | watch -` is a pipe."""
    ref = (await cli("submit", small)).out
    done = await cli("watch", "-", input=ref)

    assert done.code == 0
    assert "small_00001_.png" in done.out


async def test_ctrl_c_leaves_a_watched_job_running(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """Whoever only watches does not own the job."""
    with fake.gate("KSampler", step=2) as gate:
        ref = json.loads((await cli("submit", sd15)).out)
        await gate.reached()
        child = await cli.start("watch", ref["prompt_id"], "--json")
        await child.until("attached")
        child.interrupt()
        done = await child.done()
    await fake.ended(ref["prompt_id"])

    assert done.code == 130
    assert "goes on" in done.err
    assert fake.books.ends(ref["prompt_id"]) == ["success"]


async def test_wait_for_several(cli: Any, small: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """One failed job among good ones: all are told, the exit code is 1; JSON has ends only."""
    fake.script("Boom", error=RuntimeError("it broke"))
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({"1": {"class_type": "Boom", "inputs": {}}}))
    refs = tmp_path / "refs.jsonl"
    refs.write_text((await cli("submit", small)).out + (await cli("submit", bad)).out)
    done = await cli("wait", refs, "--json", "--out", tmp_path / "out")

    assert done.code == 1
    assert {item["event"] for item in done.objects} == {"saved", "completed", "failed"}


async def test_wait_has_a_limit(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """--timeout stops the waiting, not the job."""
    with fake.gate("KSampler", step=2) as gate:
        ref = json.loads((await cli("submit", sd15)).out)
        await gate.reached()
        done = await cli("wait", ref["prompt_id"], "--timeout", 0.2, "--json")
    await fake.ended(ref["prompt_id"])

    assert done.code == 1
    assert done.objects[0]["error"]["code"] == "wait_timeout"
    assert done.objects[0]["error"]["prompt_ids"] == [ref["prompt_id"]]
    assert fake.books.ends(ref["prompt_id"]) == ["success"]


async def test_cancel_waiting_and_unknown(cli: Any, small: Path, fake: FakeComfy) -> None:
    """A waiting job is taken out; one that nobody knows is no success."""
    fake.hold()
    ref = (await cli("submit", small)).out
    good = await cli("cancel", ref, "--json")
    bad = await cli("cancel", UNKNOWN, "--json")

    assert good.code == 0
    assert good.objects == [
        {"event": "cancel", "prompt_id": json.loads(ref)["prompt_id"], "status": "cancelled"}
    ]
    assert bad.code == 1
    assert bad.objects[0]["error"]["code"] == "prompt_not_found"
    assert fake.books.accepted[0].end == "deleted"


async def test_cancel_after_the_end_tells_the_truth(cli: Any, small: Path) -> None:
    """A job that had completed stays completed."""
    ref = (await cli("submit", small)).out
    await cli("wait", ref)
    done = await cli("cancel", ref)

    assert done.code == 0
    assert done.out.split() == [json.loads(ref)["prompt_id"], "completed"]


async def test_queue_lists_and_clears(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """What runs and what waits, in order; --clear asks first."""
    with fake.gate("KSampler", step=2) as gate:
        for seed in (1, 2):
            await cli("submit", sd15, "--seed", seed)
        await gate.reached()
        lines = await cli("queue", "--json")
        plain = await cli("queue")
        refused = await cli("queue", "--clear", input="n\n")
        cleared = await cli("queue", "--clear", "--yes", "--json")
    await fake.idle()
    empty = await cli("queue")

    fields = {"event", "prompt_id", "status", "position", "number", "nodes", "client_id", "create_time"}
    fields |= {"labels"}
    assert [item.keys() for item in lines.objects] == [fields, fields]
    assert [item["status"] for item in lines.objects] == ["running", "pending"]
    assert "8 nodes" in plain.out
    assert refused.code == 1
    assert cleared.objects == [{"event": "cleared", "remaining": 1}]
    assert "empty" in empty.err


async def test_history(cli: Any, small: Path, fake: FakeComfy) -> None:
    """The latest first, by status, and one with its files."""
    fake.script("Boom", error=RuntimeError("it broke"))
    ref = json.loads((await cli("submit", small)).out)
    await fake.idle()
    lines = await cli("history", "--json")
    plain = await cli("history", "--status", "completed")
    one = await cli("history", ref["prompt_id"])
    wrong = await cli("history", "--status", "strange")
    unknown = await cli("history", UNKNOWN, "--json")

    fields = {"event", "prompt_id", "status", "create_time", "seconds", "outputs", "error", "labels"}
    assert [item.keys() for item in lines.objects] == [fields]
    assert ref["prompt_id"] in plain.out
    assert "1 output\n" in plain.out
    assert "small_00001_.png" in one.out
    assert wrong.code == 2
    assert unknown.objects[0]["error"]["code"] == "not_found"


async def test_history_of_a_job_that_runs(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """What has not ended is not in the history."""
    with fake.gate("KSampler", step=2) as gate:
        ref = json.loads((await cli("submit", sd15)).out)
        await gate.reached()
        done = await cli("history", ref["prompt_id"])
    await fake.idle()

    assert done.code == 1
    assert "has not ended" in done.err
    assert "`comfy-async wait`" in done.err


@pytest.mark.parametrize("command", ["watch", "wait", "cancel"])
async def test_something_that_is_no_job(cli: Any, tmp_path: Path, command: str) -> None:
    """A file without a job in it is a wrong call."""
    path = tmp_path / "nothing.json"
    path.write_text("{}\n")
    done = await cli(command, path, "--json")

    assert done.code == 2
    assert done.objects[0]["error"]["code"] == "usage"


async def test_watch_takes_one(cli: Any) -> None:
    """Several jobs are for wait; several servers for nobody."""
    two = '{"prompt_id": "a"}\n{"prompt_id": "b"}\n'
    servers = '{"prompt_id": "a", "server": "http://a"}\n{"prompt_id": "b", "server": "http://b"}\n'

    assert "takes one job" in (await cli("watch", "-", input=two)).err
    assert "several servers" in (await cli("wait", "-", input=servers)).err


async def test_unknown_job_is_lost(cli: Any) -> None:
    """Waiting for a job that the server does not know ends, with 1."""
    done = await cli("wait", UNKNOWN, "--json")

    assert done.code == 1
    assert done.objects[0]["event"] == "lost"
    assert done.objects[0]["error"]["code"] == "job_lost"


async def test_the_beginning_of_an_id_is_enough(cli: Any, small: Path, fake: FakeComfy) -> None:
    """Of a job in the history and of one that waits: lists and names show the first eight characters."""
    first = json.loads((await cli("submit", small)).out)["prompt_id"]
    await fake.idle()
    fake.hold()
    second = json.loads((await cli("submit", small)).out)["prompt_id"]
    shown = await cli("history", first[:8])
    waited = await cli("wait", first[:4])
    watched = await cli("watch", first[:8])
    cancelled = await cli("cancel", second[:8])

    assert "small_00001_.png" in shown.out
    assert shown.out == waited.out == watched.out
    assert cancelled.out == f"{second}  cancelled\n"


@pytest.mark.parametrize("command", ["watch", "wait", "cancel", "history"])
@pytest.mark.parametrize("word", ["8398e1f6", "nonsense", "ab"])
async def test_an_id_that_is_none(cli: Any, command: str, word: str) -> None:
    """It is said how long an id is; nobody is told to submit anything again."""
    done = await cli(command, word)

    assert done.code == 2
    assert f"knows no job '{word}': an id has 36 characters" in done.err
    assert "again" not in done.err


async def test_a_beginning_of_several(cli: Any, small: Path, fake: FakeComfy) -> None:
    """Neither is meant: nothing is cancelled."""
    fake.hold()
    graph = Workflow.load(small).to_api()
    async with fake.session() as comfy:
        for number in (1, 2):
            prompt_id = f"abcd{number}111-aaaa-4aaa-8aaa-111111111111"
            await comfy.request("POST", "/prompt", json={"prompt_id": prompt_id, "prompt": graph})
    done = await cli("cancel", "abcd")
    one = await cli("cancel", "abcd2")

    assert done.code == 2
    assert "begins the ids of several jobs: abcd1111-aaaa-" in done.err
    assert one.out == "abcd2111-aaaa-4aaa-8aaa-111111111111  cancelled\n"
    assert [run.end for run in fake.books.accepted] == [None, "deleted"]


async def test_unknown_jobs_are_not_to_be_submitted_again(cli: Any) -> None:
    """A whole id that the server does not know may be mistyped."""
    waited = await cli("wait", UNKNOWN)
    history = await cli("history", UNKNOWN)

    assert waited.code == history.code == 1
    assert "submit it again" not in waited.err
    assert "The id is another one" in waited.err
    assert f"does not know job {UNKNOWN}" in history.err
    assert "GET" not in history.err


async def test_times_have_one_form(cli: Any, small: Path, fake: FakeComfy) -> None:
    """Whole milliseconds in queue and history; seconds without noise."""
    ran = await cli("run", small, "--json")
    fake.hold()
    await cli("submit", small)
    (waiting,) = (await cli("queue", "--json")).objects
    (past,) = (await cli("history", "--json")).objects

    assert isinstance(waiting["create_time"], int)
    assert isinstance(past["create_time"], int)
    numbers = [ran.objects[-1]["duration"], *ran.objects[-1]["node_seconds"].values()]
    assert numbers == [round(number, 3) for number in numbers]


@pytest.mark.parametrize("command", ["wait", "watch", "run"])
async def test_a_job_that_others_cancel(cli: Any, sd15: Path, fake: FakeComfy, command: str) -> None:
    """The exit code is 1: 130 means that this command was interrupted."""
    with fake.gate("KSampler", step=2) as gate:
        if command == "run":
            child = await cli.start("run", sd15, "--json")
        else:
            child = await cli.start(command, (await cli("submit", sd15)).out, "--json")
        prompt_id = await gate.reached()
        async with fake.session() as comfy:
            await comfy.jobs.cancel(prompt_id)
    done = await child.done()

    assert done.code == 1
    assert done.objects[-1]["event"] == "cancelled"
