"""`comfy-async run`: results, JSON lines, settings, errors, and Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_async._client.session import engine_of
from comfy_async.testing import Books, FakeComfy

FIELDS = {
    "queued": {"event", "prompt_id", "server", "client_id", "queue_position", "nodes"},
    "started": {"event", "prompt_id"},
    "nodes_cached": {"event", "prompt_id", "nodes"},
    "node_started": {"event", "prompt_id", "node", "title", "class_type", "fraction", "activity"},
    "progress": {
        *("event", "prompt_id", "node", "title", "value", "max", "fraction", "eta"),
        *("activity", "nodes_done", "nodes_total"),
    },
    "node_finished": {"event", "prompt_id", "node", "title", "class_type", "fraction", "output"},
    "saved": {
        *("event", "path", "filename", "subfolder", "type", "kind", "node", "title", "key", "url"),
    },
    "completed": {
        *("event", "status", "prompt_id", "outputs", "files", "texts", "cached_nodes"),
        *("node_seconds", "duration", "missing"),
    },
}


def paths(folder: Path) -> list[str]:
    """List a folder."""
    return sorted(map(str, folder.iterdir()))


def cancels(books: Books) -> bool:
    """Say whether the server was asked to cancel a job."""
    return any(path.endswith("/cancel") for _, path in books.requests)


async def sent(fake: FakeComfy) -> dict[str, Any]:
    """Return the graph that reached the server."""
    async with fake.session() as comfy:
        history = await engine_of(comfy).api.history(fake.books.runs[0].prompt_id)
    assert history is not None
    return dict(history.prompt)


async def test_saves_every_file_and_prints_its_path(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """stdout has the paths and nothing else, so that a shell can go on with them."""
    done = await cli("run", sd15, "--out", tmp_path / "out")

    assert done.code == 0
    (path,) = done.out.splitlines()
    with Image.open(path) as picture:
        assert picture.size == (512, 512)
    assert "KSampler [3]" in done.err
    assert "done in" in done.err


async def test_names_the_files_when_nothing_is_saved(cli: Any, small: Path, fake: FakeComfy) -> None:
    """Without --out the addresses are printed."""
    done = await cli("run", small)

    assert done.out.startswith(fake.url)


async def test_embedded_server(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """--fake needs no server, whatever the environment names."""
    cli.env["COMFY_LOCAL_URL"] = "http://127.0.0.1:9"
    done = await cli("run", sd15, "--fake", "--step-seconds", 0, "--out", tmp_path)

    assert done.code == 0
    assert paths(tmp_path) == done.out.splitlines()


async def test_json_lines_keep_their_names(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """The fields of each kind are a contract with scripts."""
    done = await cli("run", sd15, "--json", "--out", tmp_path)

    assert done.code == 0
    assert [item["event"] for item in done.objects][:2] == ["queued", "started"]
    assert done.objects[-1]["event"] == "completed"
    for item in done.objects:
        assert item.keys() == FIELDS[item["event"]], item
    assert {item["event"] for item in done.objects} == FIELDS.keys()
    assert [node["node"] for node in done.of("queued")[0]["nodes"]] == list("3456789") + ["10"]
    assert paths(tmp_path) == [done.of("saved")[0]["path"]]


async def test_json_names_outputs_that_are_not_saved(cli: Any, small: Path) -> None:
    """Without --out the files are events of their own, with their address."""
    done = await cli("run", small, "--json")

    (output,) = done.of("output")
    assert output.keys() == FIELDS["saved"] - {"path"}
    assert output["url"].endswith("filename=small_00001_.png&subfolder=&type=output")


async def test_settings_are_read_by_what_they_replace(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """A number stays a number, a text a text although it looks like JSON; titles work as well."""
    done = await cli(
        *("run", sd15, "--seed", 7, "--set", "6.text=12", "--set", "KSampler.steps=3"),
        *("--set", "Save Image.filename_prefix=a=b", "--set", "3.cfg=2.5", "--json"),
    )

    graph = await sent(fake)
    assert done.code == 0
    assert graph["6"]["inputs"]["text"] == "12"
    assert graph["3"]["inputs"]["steps"] == 3
    assert graph["3"]["inputs"]["cfg"] == 2.5
    assert graph["3"]["inputs"]["seed"] == 7
    assert graph["9"]["inputs"]["filename_prefix"] == "a=b"


async def test_randomize_draws_another_seed(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """--randomize escapes the cache."""
    await cli("run", sd15, "--randomize")

    assert (await sent(fake))["3"]["inputs"]["seed"] != 1234


async def test_prompt_from_a_file(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """`@file` gives a prompt the text of the file; `@@` is a plain @."""
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("a fox\nin snow\n")
    await cli("run", sd15, "--set", f"6.text=@{prompt}", "--set", "7.text=@@home")

    graph = await sent(fake)
    assert graph["6"]["inputs"]["text"] == "a fox\nin snow"
    assert graph["7"]["inputs"]["text"] == "@home"


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--set", "text"], "usage", "NODE.INPUT=VALUE"),
        (["--set", "6.txt=a"], "unknown_input", "nearest: 'text'"),
        (["--set", "6.text=@nowhere.txt"], "usage", "no file nowhere.txt"),
        (["--seed", "1", "--randomize"], "usage", "exclude each other"),
        (["--header", "nocolon"], "usage", "NAME:VALUE"),
        (["--server", "ftp://x"], "usage", "http"),
    ],
)
async def test_wrong_calls(cli: Any, sd15: Path, args: list[str], code: str, told: str) -> None:
    """What is wrong with the call itself is said before anything is queued, and exits with 2."""
    done = await cli("run", sd15, "--json", *args)

    assert done.code == 2
    (line,) = done.objects
    assert line["event"] == "error"
    assert line["error"]["code"] == code
    assert told in line["error"]["message"]


async def test_workflow_that_is_not_there(cli: Any) -> None:
    """A missing file is a wrong call."""
    done = await cli("run", "nowhere.json")

    assert done.code == 2
    assert done.err == "error: nowhere.json: No such file or directory\n"


async def test_workflow_that_is_none(cli: Any, tmp_path: Path) -> None:
    """Another file is said to be no workflow."""
    path = tmp_path / "other.json"
    path.write_text("[1, 2]")
    done = await cli("run", path, "--json")

    assert done.code == 1
    assert done.objects[0]["error"]["code"] == "workflow_invalid"


async def test_seed_that_has_no_place(cli: Any, small: Path) -> None:
    """--seed on a workflow without seeds is no silent nothing."""
    done = await cli("run", small, "--seed", 1)

    assert done.code == 2
    assert "no seed" in done.err


async def test_nobody_answers(cli: Any, sd15: Path) -> None:
    """The error says how to start a server."""
    done = await cli("run", sd15, "--server", "http://127.0.0.1:9", "--json")

    assert done.code == 1
    error = done.objects[0]["error"]
    assert error["code"] == "server_not_running"
    assert error["server"] == "http://127.0.0.1:9"
    assert "comfy-async fake-server" in error["hint"]


async def test_prompts_of_tests_are_kept_elsewhere(cli: Any, sd15: Path) -> None:
    """Nothing that a command under test keeps lands in the repository."""
    await cli("run", sd15, "--server", "http://127.0.0.1:9", "--project", "faces")

    assert "projects" in os.listdir()
    assert "pyproject.toml" not in os.listdir()


async def test_rejected_prompt(cli: Any, sd15: Path) -> None:
    """Each problem with node, input, value and nearest values, for people and for scripts."""
    plain = await cli("run", sd15, "--set", "3.sampler_name=eulr")
    lines = await cli("run", sd15, "--set", "3.sampler_name=eulr", "--json")

    assert plain.code == lines.code == 1
    assert "3 (KSampler), input 'sampler_name': 'eulr'" in plain.err
    assert "'euler'" in plain.err
    (problem,) = lines.of("error")[0]["error"]["problems"]
    assert problem["node"] == "3"
    assert problem["received"] == "eulr"
    assert problem["nearest"][0] == "euler"


async def test_node_that_fails(cli: Any, fake: FakeComfy, tmp_path: Path) -> None:
    """A failed job exits with 1 and tells node and message, no traceback of ours."""
    fake.script("Boom", error=RuntimeError("it broke"))
    path = tmp_path / "boom.json"
    path.write_text(json.dumps({"1": {"class_type": "Boom", "inputs": {}, "_meta": {"title": "Bang"}}}))
    plain = await cli("run", path)
    lines = await cli("run", path, "--json")

    assert plain.code == lines.code == 1
    assert "it broke" in plain.err
    assert "Traceback" not in plain.err
    (failed,) = lines.of("failed")
    assert failed.keys() == {"event", "prompt_id", "status", "error"}
    assert failed["error"]["code"] == "execution_error"
    assert failed["error"]["node"] == "1"
    assert failed["error"]["title"] == "Bang"


async def test_first_interrupt_cancels_on_the_server(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """Ctrl-C while it runs: the server stops the job, the exit code is 130."""
    with fake.gate("KSampler", step=2) as gate:
        child = await cli.start("run", sd15, "--json")
        prompt_id = await gate.reached()
        await child.until("node_started")
        child.interrupt()
        await fake.wait_for(cancels)
    done = await child.done()

    assert done.code == 130
    assert done.of("cancelled")[0]["error"]["code"] == "cancelled"
    assert done.of("cancelled")[0]["prompt_id"] == prompt_id
    assert fake.books.ends(prompt_id) == ["interrupted"]


async def test_second_interrupt_ends_at_once(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """Twice: the process ends although the server has not stopped the job."""
    with fake.gate("KSampler", step=2) as gate:
        child = await cli.start("run", sd15, "--json")
        prompt_id = await gate.reached()
        await child.until("node_started")
        child.interrupt()
        await fake.wait_for(cancels)
        child.interrupt()
        done = await child.done()

        assert done.code == 130
        assert "Ctrl-C again" in done.err
        assert f"comfy-async cancel {prompt_id}" in done.err
        assert fake.books.ends(prompt_id) == []


async def test_interrupt_in_the_middle_of_submit(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """Ctrl-C before the server has answered: nothing is left running."""
    fake.faults.delay("POST", "/prompt", 60)
    child = await cli.start("run", sd15, "--json")
    await fake.wait_for(lambda books: books.count("POST", "/prompt"))
    child.interrupt()
    done = await child.done()

    assert done.code == 130
    assert done.objects[-1]["event"] == "cancelled"
    assert done.objects[-1]["prompt_id"] is None
    assert all(record.end is not None for record in fake.books.accepted)


async def test_being_told_to_terminate_cancels_too(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """SIGTERM, as from a process manager, is no different from Ctrl-C."""
    with fake.gate("KSampler", step=2) as gate:
        child = await cli.start("run", sd15, "--json")
        prompt_id = await gate.reached()
        await child.until("node_started")
        child.process.terminate()
        await fake.wait_for(cancels)
    done = await child.done()

    assert done.code == 130
    assert fake.books.ends(prompt_id) == ["interrupted"]


async def test_reader_that_has_seen_enough(cli: Any, sd15: Path) -> None:
    """`| head -1` ends it without a word, and without a job left behind."""
    process = await asyncio.create_subprocess_exec(
        *(
            "bash",
            "-c",
            f'set -o pipefail; "{sys.executable}" -m comfy_async.cli run "{sd15}" --json | head -1',
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **cli.env},
    )
    out, err = await process.communicate()

    assert out.count(b"\n") == 1
    assert b"error" not in err
    assert b"Traceback" not in err
    assert process.returncode == 141


async def test_version(cli: Any) -> None:
    """--version is the package's."""
    import comfy_async

    assert (await cli("--version")).out.strip() == comfy_async.__version__


def test_completion_knows_the_workflow(sd15: Path) -> None:
    """`--set 6.<TAB>` and `--ask 6.<TAB>` offer what the workflow has."""
    import types

    from comfy_async.cli._requests import complete_key, complete_setting

    context: Any = types.SimpleNamespace(params={"workflow": sd15}, args=[])
    nowhere: Any = types.SimpleNamespace(params={"workflow": "nowhere.json"}, args=[])
    assert complete_setting(context, "6.") == ["6.text="]
    assert complete_key(context, "6.") == ["6.text"]
    assert complete_setting(nowhere, "6.") == complete_key(nowhere, "") == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("doc", ["doctor"]),
        ("run {sd15} --set 6.", ["6.text="]),
        ("run {sd15} --seed 3 --ask 6.", ["6.text"]),
        ("batch {sd15} --set 5.w", ["5.width="]),
        ("run nowhere.json --set 6.", []),
    ],
)
async def test_shells_are_offered_what_fits(cli: Any, sd15: Path, words: str, offered: list[str]) -> None:
    """What a shell asks at the tab key is answered with words of the workflow."""
    line = f"comfy-async {words.format(sd15=sd15)}"
    cli.env |= {
        "_COMFY_ASYNC_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    done = await (await cli.start()).done()

    assert done.code == 0
    assert done.out.split() == offered
    assert done.err == ""


async def test_server_that_vanishes_while_it_runs(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """Ctrl-C twice is the way out; a prompt that was queued is not kept to be sent again."""
    with fake.gate("KSampler", step=2) as gate:
        child = await cli.start("run", sd15, "--json")
        await gate.reached()
        await child.until("node_started")
        await fake.faults.go_down()
    await child.until("disconnected")
    child.interrupt()
    while b"cancelling" not in await child.process.stderr.readline():
        pass
    child.interrupt()
    done = await child.done()

    assert done.code == 130
    assert "kept" not in done.out + done.err
    assert "Traceback" not in done.err


async def test_cancel_that_cannot_be_told(capsys: Any) -> None:
    """A server that does not take the cancel: said with its reason and the command for later."""
    from comfy_async import TransportError
    from comfy_async.cli._report import Report
    from comfy_async.cli._watch import _cancelled, _ended, tell

    class Stuck:
        """A job that nobody can stop."""

        prompt_id = "p"
        status = "running"
        done = False

        async def cancel(self) -> None:
            raise TransportError("the line is dead")

    job: Any = Stuck()
    outcome = await _ended(job, await _cancelled(job))

    assert tell(outcome, Report()) == 130
    told = capsys.readouterr().err
    assert "has not stopped job p: the line is dead" in told
    assert "comfy-async cancel p" in told


async def test_partly_refused_prompt(cli: Any, fake: FakeComfy, tmp_path: Path) -> None:
    """Some outputs refused: an error that names the option; with it the rest runs."""
    picture = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
    graph = {
        "1": picture,
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    }
    path = tmp_path / "partly.json"
    path.write_text(json.dumps(graph))
    refused = await cli("run", path, "--json")
    kept = await cli("run", path, "--partial", "--json")

    assert refused.code == 1
    assert refused.objects[-1]["error"]["code"] == "prompt_partly_rejected"
    assert "--partial" in refused.objects[-1]["error"]["hint"]
    assert kept.code == 0
    assert len(kept.of("output")) == 1


async def test_images_that_only_the_socket_carries(cli: Any, fake: FakeComfy, tmp_path: Path) -> None:
    """They are saved as any; when a gap may have swallowed some, the exit code says so."""
    picture = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
    graph = {
        "1": picture,
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
    }
    path = tmp_path / "socket.json"
    path.write_text(json.dumps(graph))
    good = await cli("run", path, "--out", tmp_path / "good")
    graph["1"] = {**picture, "inputs": {**picture["inputs"], "color": 1}}  # type: ignore[dict-item]
    path.write_text(json.dumps(graph))
    with fake.gate("SaveImageWebsocket") as gate:
        running = asyncio.create_task(cli("run", path, "--out", tmp_path / "gap"))
        await gate.reached()
        fake.faults.refuse_upgrades(403)
        fake.faults.drop_sockets()
        await fake.wait_for(lambda books: books.sockets_now == 0)
    gap = await running

    assert good.code == 0
    assert len(paths(tmp_path / "good")) == 2
    assert gap.code == 1
    assert "may be lost" in gap.err
    assert len(paths(tmp_path / "gap")) == 1


async def test_previews_are_for_scripts(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """A terminal shows none: an option that would do nothing is refused before anything runs."""
    plain = await cli("run", sd15, "--previews", "auto")
    lines = await cli("run", sd15, "--previews", "latent2rgb", "--set", "3.steps=2", "--json")

    assert (plain.code, "--previews goes with --json" in plain.err) == (2, True)
    assert lines.of("preview")
    assert len(fake.books.accepted) == 1
