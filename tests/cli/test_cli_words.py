"""What a terminal can show, and in whose words: encodings, numbers that are none, hints for a shell."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import comfy_async
from comfy_async import JobFailedError, Problem, ResponseError
from comfy_async.cli._failure import describe
from comfy_async.cli._report import failure_lines
from comfy_async.cli._tables import json_text
from comfy_async.cli._words import in_a_terminal
from comfy_async.testing import FakeComfy

ROOT = Path(comfy_async.__file__).parent


async def in_encoding(encoding: str, url: str, *args: object) -> tuple[int, bytes, bytes]:
    """Run a command whose stdout has an encoding; return its code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comfy_async.cli", *map(str, args)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": encoding, "COMFY_LOCAL_URL": url, "NO_COLOR": "1"},
    )
    out, err = await process.communicate()
    return process.returncode or 0, out, err


def titled(workflow: Path, title: str) -> dict[str, Any]:
    """Return a workflow with another title for its first node."""
    graph: dict[str, Any] = json.loads(workflow.read_text())
    graph["1"]["_meta"]["title"] = title
    return graph


@pytest.fixture
def odd(small: Path) -> Path:
    """A workflow whose titles no western code page has, one with a lone surrogate."""
    graph = titled(small, "画布 🦊")
    graph["2"]["_meta"] = {"title": "ä\udc80"}
    path = small.with_name("odd.json")
    path.write_text(json.dumps(graph))
    return path


@pytest.mark.parametrize("encoding", ["cp1252", "cp936", "ascii", "utf-8"])
async def test_a_queued_job_is_told_whatever_stdout_can_hold(
    odd: Path, fake: FakeComfy, encoding: str
) -> None:
    """`submit --json` never loses the id of what it has queued; the line is JSON for every reader."""
    code, out, err = await in_encoding(encoding, fake.url, "submit", odd, "--json")

    assert code == 0, err
    line = json.loads(out.decode(encoding))
    assert line["prompt_id"] == fake.books.accepted[0].prompt_id
    assert line["nodes"][0]["title"] == "画布 🦊"


@pytest.mark.parametrize("encoding", ["cp1252", "cp936"])
async def test_texts_are_written_with_escapes(
    odd: Path, fake: FakeComfy, tmp_path: Path, encoding: str
) -> None:
    """Progress, help and tables too; a run that completed ends as one."""
    run, out, err = await in_encoding(encoding, fake.url, "run", odd)
    listed, table, _ = await in_encoding(encoding, fake.url, "inputs", odd, "--all")
    helped, words, _ = await in_encoding(encoding, fake.url, "run", "--help")

    assert (run, listed, helped) == (0, 0, 0), err
    assert b"Traceback" not in err
    assert rb"\udc80" in table
    assert rb"\U0001f98a" in err
    assert out
    assert words


async def test_a_workflow_from_a_pipe_is_in_utf8(fake: FakeComfy, small: Path) -> None:
    """Whatever the terminal's encoding is: JSON has its own."""
    text = json.dumps(titled(small, "Bühne"), ensure_ascii=False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comfy_async.cli", "submit", "-", "--json"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "COMFY_LOCAL_URL": fake.url},
    )
    out, _ = await process.communicate(text.encode())

    assert json.loads(out.decode("cp1252"))["nodes"][0]["title"] == "Bühne"


def test_json_has_no_nan() -> None:
    """null stands for what is no number, as JavaScript writes it."""
    text = json_text({"a": [1.5, float("nan"), (float("inf"),)], "b": {"c": float("-inf")}, "d": Path("x")})

    assert json.loads(text, parse_constant=lambda word: pytest.fail(word)) == {
        "a": [1.5, None, [None]],
        "b": {"c": None},
        "d": "x",
    }


async def test_nan_of_a_node_is_null(cli: Any, fake: FakeComfy, tmp_path: Path) -> None:
    """A node's output is whatever Python wrote."""
    fake.script("Nan", inputs={}, output={"score": [float("nan")]}, is_output=True)
    path = tmp_path / "nan.json"
    path.write_text(json.dumps({"1": {"class_type": "Nan", "inputs": {}}}))
    done = await cli("run", path, "--json")

    assert done.code == 0
    assert "NaN" not in done.out
    assert done.of("completed")[0]["outputs"]["1"]["score"] == [None]


PYTHON = re.compile(
    r"\w\(\)|[a-z_]{2}\(\w+[,=)]|await |`[a-z_]+=|\bComfySession|Settings\."
    r"|`comfy\.|`error\.|on_partial|with_inputs|add=True"
)
"""What only makes sense in a program."""

OTHERS = frozenset("cli testing ray web mcp _display _pool _client".split())

ELSEWHERE = {
    # No command does these.
    *(
        "_bypass.py",
        "_builder.py",
        "_stubs.py",
        "stubs.py",
        "build.py",
        "registry.py",
        "pack.py",
        "userdata.py",
    ),
    *("batch.py", "stream.py", "router.py", "lifetime.py", "secrets.py", "app.py", "apps.py"),
}


def advice_of_the_library() -> list[Any]:
    """Collect every sentence of the library that may reach a user in an error, by file and line."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0]
        if (
            room in {"cli", "testing", "ray", "web", "webhooks", "mcp", "_display", "_pool", "_client"}
            or path.name in ELSEWHERE
        ):
            continue
        tree = ast.parse(path.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            pytest.param(node.value, id=f"{path.relative_to(ROOT)}:{node.lineno}")
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
            and " " in node.value.strip()
            and PYTHON.search(node.value)
        ]
    return found


UNSEEN = (
    "Do it inside the `async with` block",  # a command closes its session when it is done
    "await comfy.nodes.blueprints()",
    "await session.aclose()",
    "must be http(s)://",
    "Settings.proxy is a URL",  # no command takes settings, or names a single file by a pattern
    "`result.save(folder, name=...)`",
    "asyncio.timeout(60)",
    "array.transpose(",
    "array.astype(",  # no command passes an array
    "nan_to_num(array)",
    "clip(0, ",
    "save(allow_missing=True)",  # commands save what there is, and say what is missing
)


@pytest.mark.parametrize("text", advice_of_the_library())
def test_hints_speak_of_options(text: str) -> None:
    """A shell has no `await`: whatever the library advises is said in the words of the command line."""
    if not any(words in text for words in UNSEEN):
        assert not PYTHON.search(in_a_terminal(text)), in_a_terminal(text)


def test_errors_are_translated_whole() -> None:
    """Message, hint and the advice of each finding; JSON too."""
    error = ResponseError("GET /x failed", status=500, body="what it said")
    failure = describe(error)
    advice = Problem(
        node="1",
        message="no",
        advice="To upload one of yours, give its path: a pathlib.Path, not a text.",
    )
    refused = describe(comfy_async.PromptRejectedError("refused", problems=[advice]))

    assert failure is not None
    assert refused is not None
    assert "--json shows what it answered" in failure.hint
    assert failure.fields()["body"] == "what it said"
    assert "(--set NODE.INPUT=@FILE)" in "\n".join(failure_lines(refused))
    assert "(--set NODE.INPUT=@FILE)" in refused.fields()["problems"][0]["advice"]
    failed = describe(JobFailedError("it failed", hint="`error.traceback` has the server's traceback."))
    assert failed is not None
    assert "error.traceback" not in failed.hint
