"""`comfy-async fake-server`, and what is said when an extra is missing."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from comfy_async import ComfySession
from comfy_async.cli._app import app
from comfy_async.testing import FakeComfy


async def test_serves_until_ctrl_c(cli: Any, small: Path) -> None:
    """One JSON line names the address; Ctrl-C ends it cleanly, with 0."""
    child = await cli.start("fake-server", "--port", 0, "--json")
    line = await child.until("listening")
    async with ComfySession(line["url"]) as comfy:
        result = await comfy.run(small)
    child.interrupt()
    done = await child.done()

    assert line.keys() == {"event", "url", "host", "port"}
    assert line["port"] > 0
    assert len(result.files) == 1
    assert done.code == 0
    assert "Ctrl-C" in done.err


async def test_prints_the_address(cli: Any) -> None:
    """Without --json the first line of stdout is the address."""
    child = await cli.start("fake-server", "--port", 0)
    url = (await child.line()).strip()
    child.interrupt()
    done = await child.done()

    assert url.startswith("http://127.0.0.1:")
    assert "Ctrl-C" in done.err


async def test_port_that_is_taken(cli: Any, fake: Any) -> None:
    """A taken port is an error of one line."""
    done = await cli("fake-server", "--port", fake.port, "--json")

    assert done.code == 1
    assert done.objects[0]["error"]["code"] == "os_error"


async def test_serves_another_api(cli: Any, small: Path) -> None:
    """The key that it wants is told, to scripts too; nothing else is served."""
    child = await cli.start("fake-server", "--port", 0, "--dialect", "api-v2", "--json")
    line = await child.until("listening")
    done = await cli(
        *("run", small, "--server", line["url"], "--api-key", line["api_key"], "--dialect", line["dialect"])
    )
    child.interrupt()
    ended = await child.done()

    assert done.code == 0
    assert f"--dialect api-v2 --api-key {line['api_key']}" in ended.err


async def test_lets_nodes_fail(cli: Any, small: Path) -> None:
    """With a message of choice, or as if the memory were full."""
    child = await cli.start(
        *("fake-server", "--port", 0, "--json", "--fail", "SaveImage=it broke", "--fail", "VAEDecode=oom")
    )
    line = await child.until("listening")
    done = await cli("run", small, "--server", line["url"], "--json")
    child.interrupt()

    assert (await child.done()).code == 0
    assert done.code == 1
    assert "it broke" in done.objects[-1]["error"]["message"]


async def test_what_cannot_fail_is_said(cli: Any) -> None:
    """A class that is none, a word without a way, a dialect that is none."""
    for args, told in (
        (("--fail", "KSamplr=oom"), "nearest: KSampler"),
        (("--fail", "KSampler"), "--fail takes CLASS=oom"),
        (("--dialect", "klingon"), "no such dialect"),
    ):
        done = await cli("fake-server", "--port", 0, *args)
        assert (done.code, told in done.err) == (2, True)


def test_the_module_lets_nodes_fail_too() -> None:
    """A class that is none ends it in one line."""
    command = [sys.executable, "-m", "comfy_async.testing", "--port", "0", "--fail", "KSamplr=oom"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("no such class: 'KSamplr'")


@pytest.mark.parametrize("name", ["typer", "rich"])
def test_without_the_extra(name: str) -> None:
    """Without typer or rich one line says what to install."""
    code = f"import sys; sys.modules[{name!r}] = None; from comfy_async.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == f"comfy-async needs {name}: pip install 'comfy-async[cli]'\n"


async def test_a_port_that_is_taken(cli: Any, fake: FakeComfy, sd15: Path) -> None:
    """Is said as such, with what to do."""
    for words in (("fake-server",), ("serve", sd15)):
        done = await cli(*words, "--port", fake.port)
        assert done.code == 1
        assert "ddress already in use" in done.err
        assert "error: error" not in done.err
        assert "--port 0" in done.err


async def test_fake_without_the_extra(cli: Any, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--fake says which extra it takes."""
    import comfy_async.testing

    monkeypatch.delitem(vars(comfy_async.testing), "FakeComfy", raising=False)
    monkeypatch.delitem(sys.modules, "comfy_async.testing._server")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    done = await cli("run", small, "--fake", "--json")

    assert done.code == 1
    assert done.objects[0]["error"]["code"] == "missing_extra"
    assert "pip install 'comfy-async[testing]'" in done.objects[0]["error"]["message"]


async def test_help_teaches_by_example(cli: Any) -> None:
    """Every command shows how it is called."""
    commands = [item.name or getattr(item.callback, "__name__", "") for item in app.registered_commands]

    assert "run" in commands
    assert "comfy-async run WORKFLOW.json --fake" in (await cli("--help")).out
    for name in commands:
        assert f"comfy-async {name}" in (await cli(name, "--help")).out


async def test_help_says_what_each_option_takes(cli: Any) -> None:
    """In this program's words, never by a type of Python's; a flag takes nothing. Examples are in line."""
    commands: Any = get_command(app)
    for name, made in {"": commands, **commands.commands}.items():
        shown = (await cli(*filter(None, [name]), "--help")).out
        assert not re.search(r"<\w", shown)
        examples = [line for line in shown.splitlines() if line.strip().startswith("comfy-async ")]
        assert examples
        assert {line.index("comfy-async") for line in examples} == {1}
        for option in made.get_params(made.make_context(name, ["x"], resilient_parsing=True)):
            if option.param_type_name == "option":
                assert option.help, (name, option.opts)
                assert bool(option.metavar) is not option.is_flag, (name, option.opts)
                assert ("May be repeated" in option.help) is option.multiple, (name, option.opts)


async def test_usage_is_in_one_form(cli: Any) -> None:
    """What may be left out stands in one pair of brackets, what may be repeated before one ellipsis."""
    for item in app.registered_commands:
        assert item.callback is not None
        shown = (await cli(item.name or item.callback.__name__, "--help")).out
        (usage,) = [line for line in shown.splitlines() if "Usage:" in line]
        assert not re.search(r"\[\[|\.\.\.\]|\.\.\.\}", usage)
        options = [
            name for name in ("--set", "--vary", "--ask", "--header", "--label") if f"│ {name} " in shown
        ]
        assert shown.count("repeated") >= len(options)


async def test_first_examples_fit_a_terminal(cli: Any) -> None:
    """Each is one line at 80 columns."""
    cli.env["COLUMNS"] = "80"
    shown = (await cli("--help")).out.partition("Examples")[2]

    lines = [line for line in map(str.strip, shown.splitlines()[1:]) if line]
    assert [line.split()[:2] for line in lines] == [
        ["comfy-async", name] for name in ("run", "doctor", "inputs", "run")
    ]


async def test_help_fits_a_terminal(cli: Any) -> None:
    """At 80 columns no sentence and no example is broken: each line stands as it was written."""
    cli.env["COLUMNS"] = "80"
    for item in app.registered_commands:
        assert item.callback is not None
        shown = (await cli(item.name or item.callback.__name__, "--help")).out
        written = re.sub(r"\[/?bold\]", "", inspect.getdoc(item.callback) or "")
        for line in filter(None, map(str.strip, written.splitlines())):
            assert line in [part.strip() for part in shown.splitlines()]
