"""What is told of an event is how things were then; what is told of an error is for people too."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console

from comfy_async import ComfySession, Problem
from comfy_async._display.replay import ProgressReplay
from comfy_async.cli._failure import Failure
from comfy_async.cli._finding import Finding
from comfy_async.cli._report import failure_lines
from comfy_async.cli._report_live import LiveReport
from comfy_async.cli._tables import columns, fitted, noted
from comfy_async.testing import FakeComfy


def misspelled(workflow: Path) -> Path:
    """Write a workflow again with a class that no server has."""
    path = workflow.with_name("wrong.json")
    path.write_text(workflow.read_text().replace('"SaveImage"', '"SaveImag"'))
    return path


async def test_late_readers_are_told_of_then(fake: FakeComfy, comfy: ComfySession, sd15: Path) -> None:
    """Read after its end, a run still begins at nothing, moves forward, and ends at one."""
    fake.pace.step_seconds = 0.0
    job = await comfy.submit(sd15)
    await job
    replay = ProgressReplay(job)
    seen = [replay.take(event) async for event in job]

    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == job.progress.fraction == 1.0
    assert len(set(fractions)) > 5
    assert seen[0].done == 0


async def test_json_fractions_are_those_of_the_event(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """The first node starts near nothing and only the end is whole, however late a script reads."""
    fake.pace.step_seconds = 0.0
    done = await cli("run", sd15, "--json")

    nodes = [item for item in done.objects if item["event"] in {"node_started", "node_finished"}]
    fractions = [item["fraction"] for item in nodes]
    assert fractions[0] == 0.0
    assert fractions == sorted(fractions)
    assert all(fraction < 1.0 for fraction in fractions)
    for item in done.of("progress"):
        assert item["fraction"] < 1.0


async def test_lines_are_those_of_the_event(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """Plain output has the percentages of then."""
    fake.pace.step_seconds = 0.0
    done = await cli("run", sd15)

    lines = [line for line in done.err.splitlines() if " %  " in line]
    assert lines[0].lstrip().startswith("0 %")
    assert not any(line.startswith("100 %") for line in lines)


async def test_errors_are_text_on_stderr_and_objects_on_stdout(
    cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path
) -> None:
    """With --json a person who looks sees why; a script's stdout stays JSON."""
    fake.script("Boom", error=RuntimeError("it broke"))
    boom = tmp_path / "boom.json"
    boom.write_text(json.dumps({"1": {"class_type": "Boom", "inputs": {}}}))
    wrong = await cli("run", sd15, "--set", "6.txt=a", "--json")
    refused = await cli("run", sd15, "--set", "3.sampler_name=eulr", "--json")
    failed = await cli("run", boom, "--json")
    checked = await cli("check", sd15, "--json")
    several = await cli("batch", sd15, "--vary", '3.sampler_name=["eulr"]', "--json")
    doctor = await cli("doctor", "--server", "http://127.0.0.1:9", "--json")

    assert "error: " in wrong.err
    assert "'txt'" in wrong.err
    assert "nearest: 'euler'" in refused.err
    assert "it broke" in failed.err
    assert checked.err == ""
    assert "nearest: 'euler'" in several.err
    assert "FAILED" in doctor.err
    for done in (wrong, refused, failed, several, doctor):
        assert all(item["event"] for item in done.objects)
    assert failed.objects[-1]["error"]["message"] in failed.err


async def test_missing_node_names_the_nearest(cli: Any, small: Path) -> None:
    """A class that the server lacks: the catalog is asked for what was meant."""
    path = misspelled(small)
    plain = await cli("run", path)
    several = await cli("batch", path, "--seeds", 1)
    queued = await cli("submit", path, "--json")

    assert (plain.code, queued.code, several.code) == (1, 1, 1)
    (problem,) = queued.objects[0]["error"]["problems"]
    assert problem["nearest"][0] == "SaveImage"
    for text in (plain.err, several.out, queued.err):
        assert "nearest: 'SaveImage'" in text
        assert ".." not in text
        assert ".;" not in text


async def test_missing_node_without_a_catalog(cli: Any, small: Path, fake: FakeComfy) -> None:
    """Advice is not worth an error: the refusal stays what it is."""
    path = misspelled(small)
    fake.faults.fail("GET", "/object_info", 500)
    done = await cli("run", path, "--json")

    assert done.objects[0]["error"]["code"] == "prompt_rejected"


async def test_doctor_of_this_side(cli: Any) -> None:
    """--fake looks at an embedded server: what is red then is wrong here."""
    cli.env["COMFY_LOCAL_URL"] = "http://127.0.0.1:9"
    done = await cli("doctor", "--fake", "--json")

    assert done.code == 0
    assert {item["state"] for item in done.of("check")} == {"ok"}
    assert any("--fake" in item["text"] for item in done.of("check"))


def test_doctor_in_a_terminal_has_colours_and_fits() -> None:
    """Green and red say it too; long findings go on below their beginning."""
    finding = Finding("reached", "failed", "no server answers at all", "Start one, or name another")

    assert finding.lines() == (
        "FAILED   reached     no server answers at all\n                     Start one, or name another"
    )
    shown = finding.lines(width=42, colours=True).splitlines()
    assert shown[0].startswith("\x1b[1;31mFAILED \x1b[0m  reached     no server")
    assert shown[1:] == [" " * 21 + text for text in ("all", "Start one, or name", "another")]


def test_tables_fit_a_terminal() -> None:
    """The widest cells are cut, the others stay whole; in a pipe nothing is."""
    rows = [("6.text", "a" * 80, "CLIP Text Encode"), ("3.seed", "1", "KSampler")]

    assert max(map(len, columns(rows, width=60))) == 60
    assert [line.split()[0] for line in columns(rows, width=60)] == ["6.text", "3.seed"]
    assert next(columns(rows, width=60)).endswith("…  CLIP Text Encode")
    assert "a" * 80 in next(columns(rows))
    assert len(next(columns(rows, width=10))) > 10
    first, second = columns(rows, width=60, whole=1)
    assert "a" * 80 in first
    assert second.split() == ["3.seed", "1", "KSampler"]
    assert next(columns([("9e721e8c-948f-48d8-a684-409836d205e3",)], width=20, whole=0)).endswith("205e3")


def test_rows_that_do_not_fit_go_on_below() -> None:
    """Beside a whole id there is no room for everything: what has none comes below, unless it is empty."""
    name = "9e721e8c-948f-48d8-a684-409836d205e3"
    rows = [
        ("11-28 10:55", name, "failed", "0.4 s", "it broke in a way that", "user=7 order=12345"),
        ("11-28 10:56", name, "completed", "0.4 s", "1 output", ""),
    ]

    assert list(columns(rows, width=80, whole=1)) == [
        f"11-28 10:55  {name}  failed     0.4 s  it broke i…",
        "    user=7 order=12345",
        f"11-28 10:56  {name}  completed  0.4 s  1 output",
    ]
    lines = list(columns(rows, width=44, whole=1))
    assert max(map(len, lines)) <= 44
    assert [line.strip() for line in lines if name in line] == [name, name]
    assert len(list(columns(rows, whole=1))) == 2


def test_columns_count_the_cells_of_a_terminal() -> None:
    """Letters of some scripts are two columns wide."""
    rows = [("6.text", "正面提示词（人物与风景）编码器", "a"), ("7.text", "CLIP Text Encode", "b")]

    assert {cell_len(line) for line in columns(rows)} == {6 + 2 + 30 + 2 + 1}
    narrow = list(columns(rows, width=30))
    assert {cell_len(line) for line in narrow} <= {29, 30}
    assert "正面" in narrow[0]
    assert narrow[0].endswith("…  a")


def test_notes_go_on_below_themselves() -> None:
    """The last cell of a row is whole, in as many lines as it takes."""
    rows = [
        ("  seed", "INT", "default 0"),
        ("  sampler_name", "COMBO", "euler, heun, dpm_2, dpm_2_ancestral"),
    ]

    assert list(noted(rows, width=44)) == [
        "  seed          INT    default 0",
        "  sampler_name  COMBO  euler, heun, dpm_2,",
        "                       dpm_2_ancestral",
    ]
    assert len(list(noted(rows, width=None))) == 2


def test_a_hint_is_said_once() -> None:
    """Of a single problem the advice is the hint too."""
    advice = "Install the node pack that has it, or replace the node."
    problem = Problem(node="3", class_type="A", message="no such class", advice=advice)
    lines = failure_lines(Failure("prompt_rejected", "refused", hint=advice, problems=(problem,)))

    assert "\n".join(lines).count(advice) == 1
    assert failure_lines(Failure("usage", "wrong", hint=advice))[-1] == advice


def test_errors_fit_a_terminal() -> None:
    """The message too is broken between words, each part of it in red."""
    shown = io.StringIO()
    report = LiveReport(Console(file=shown, width=40, force_terminal=True, color_system="standard"))
    report.failed(Failure("usage", "no server answers at http://127.0.0.1:8188, whatever was tried"))

    assert shown.getvalue().splitlines() == [
        "\x1b[1;31merror: no server answers at\x1b[0m",
        "\x1b[1;31mhttp://127.0.0.1:8188, whatever was\x1b[0m",
        "\x1b[1;31mtried\x1b[0m",
    ]


def test_lines_fit_a_terminal_and_commands_stay_whole() -> None:
    """Prose is broken between words, under its beginning; what is to be copied is not broken."""
    command = "  comfy-async wait 9e721e8c-948f-48d8-a684-409836d205e3 --out out"

    assert fitted("a line of some words and more of them", 24) == ["a line of some words and", "more of them"]
    assert fitted("  3 (KSampler): 'eulr' is none of them", 26) == [
        "  3 (KSampler): 'eulr'",
        "    is none of them",
    ]
    assert fitted(command, 30) == [command]
    assert fitted("  short", 30) == ["  short"]
    assert fitted("or a stand-in (`comfy-async fake-server`), or another", 36) == [
        "or a stand-in",
        "(`comfy-async fake-server`), or",
        "another",
    ]
    assert fitted("a b " * 100, None) == ["a b " * 100]
