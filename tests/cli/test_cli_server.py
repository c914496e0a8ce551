"""`upload`, `download`, `logs` and `doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy_async.testing import FakeComfy


def same(first: str | Path, second: str | Path) -> bool:
    """Say whether two files are equal."""
    return Path(first).read_bytes() == Path(second).read_bytes()


async def test_upload_and_download(cli: Any, small: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """A file goes up under its own name and comes back the same; what is there already is kept."""
    picture = (await cli("run", small, "--out", tmp_path)).out.strip()
    up = await cli("upload", picture, "--subfolder", "faces", "--json")
    plain = await cli("upload", picture)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "small_00001_.png").write_bytes(b"another")
    down = await cli("download", "faces/small_00001_.png", "--type", "input", "--out", tmp_path / "other")
    again = await cli("download", "small_00001_.png", "--out", tmp_path, "--json")

    (line,) = up.objects
    assert line.keys() == {"event", "path", "input", "name", "subfolder", "type"}
    assert line["input"] == "faces/small_00001_.png"
    assert plain.out == "small_00001_.png\n"
    assert down.out.strip() == str(tmp_path / "other" / "small_00001_ (1).png")
    assert same(tmp_path / "other" / "small_00001_ (1).png", picture)
    assert again.objects[0]["path"] == picture


async def test_download_all_files_of_a_job(cli: Any, small: Path, tmp_path: Path) -> None:
    """An id stands for everything that the job made."""
    ref = json.loads((await cli("submit", small)).out)
    done = await cli("download", ref["prompt_id"], "--out", tmp_path)

    assert done.code == 0
    assert done.out.strip() == str(tmp_path / "small_00001_.png")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["upload", "nowhere.png"], 2),
        (["download", "nowhere.png"], 1),
        (["download", "x.png", "--type", "strange"], 2),
    ],
)
async def test_files_that_are_not_there(cli: Any, args: list[str], code: int) -> None:
    """A missing file is said in one line."""
    done = await cli(*args)

    assert done.code == code
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err


async def test_logs(cli: Any, small: Path) -> None:
    """The last lines, without the server's escapes when nobody looks."""
    await cli("run", small)
    plain = await cli("logs", "-n", 1)
    lines = await cli("logs", "--json")

    assert len(plain.out.splitlines()) == 1
    assert "\x1b" not in plain.out
    assert all(item.keys() == {"event", "time", "text"} for item in lines.objects)


async def test_logs_follow_until_ctrl_c(cli: Any, small: Path) -> None:
    """-f goes on with what comes; Ctrl-C is its end, not an error."""
    child = await cli.start("logs", "-f", "-n", 0, "--json")
    await cli.fake.wait_for(lambda books: any("logs/subscribe" in path for _, path in books.requests))
    await cli("run", small)
    line = await child.until("log")
    child.interrupt()
    done = await child.done()

    assert "got prompt" in line["text"]
    assert done.code == 0


async def test_free(cli: Any, fake: FakeComfy) -> None:
    """The server is asked once; models are kept when told so."""
    done = await cli("free")
    kept = await cli("free", "--keep-models", "--json")

    assert "models and caches" in done.out
    assert kept.objects == [{"event": "freed", "models": False}]
    assert fake.books.count("POST", "/free") == 2


async def test_doctor_on_a_sound_server(cli: Any) -> None:
    """Everything is looked at, end to end, and is green."""
    done = await cli("doctor", "--json")

    *checks, last = done.objects
    assert done.code == 0
    assert last == {"event": "examined", "ok": True}
    assert all(item.keys() == {"event", "name", "state", "text", "advice"} for item in checks)
    assert [item["name"] for item in checks] == [
        *("here", "address", "proxy", "reached", "version", "devices", "latency", "socket"),
        *("flags", "job", "events", "files", "clock"),
    ]
    assert {item["state"] for item in checks} == {"ok"}


async def test_doctor_without_a_server(cli: Any) -> None:
    """Red says what to do, and what rests on it is skipped."""
    done = await cli("doctor", "--server", "http://127.0.0.1:9")

    assert done.code == 1
    assert "FAILED   reached" in done.out
    assert "comfy-async fake-server --port 9" in done.out
    assert "skipped" in done.out


async def test_doctor_sees_a_refused_socket(cli: Any, fake: FakeComfy) -> None:
    """A gateway that lets no WebSocket through: red, with what to set, and polling finds the end."""
    fake.faults.refuse_upgrades(403)
    done = await cli("doctor", "--json")

    states = {item["name"]: item for item in done.of("check")}
    assert done.code == 1
    assert states["socket"]["state"] == "failed"
    assert "Upgrade" in states["socket"]["advice"]
    assert states["job"]["state"] == "ok"
    assert states["events"]["state"] == "warning"
    assert "socket" in states["events"]["advice"]
    assert "warning: " not in done.err


async def test_doctor_sees_an_old_server(cli: Any) -> None:
    """What an old version lacks is named, with the version that has it."""
    async with FakeComfy(mode="old") as old:
        done = await cli("doctor", "--server", old.url, "--json")

    version = next(item for item in done.of("check") if item["name"] == "version")
    assert version["state"] == "warning"
    assert "client prompt id" in version["text"]


async def test_doctor_does_not_wait_for_a_busy_server(
    cli: Any, fake: FakeComfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a long queue the tiny job is taken back, and said to be skipped."""
    import comfy_async.cli._doctor_job

    monkeypatch.setattr(comfy_async.cli._doctor_job, "_PATIENCE_S", 0.2)
    fake.hold()
    done = await cli("doctor", "--json")
    fake.release()

    job = next(item for item in done.of("check") if item["name"] == "job")
    assert job["state"] == "skipped"
    assert [record.end for record in fake.books.accepted] == ["deleted"]


async def test_doctor_tells_a_rejected_job(cli: Any) -> None:
    """A server that does not even have the simplest nodes is red, with its own words."""
    async with FakeComfy() as bare:
        bare.faults.fail("POST", "/prompt", 403)
        done = await cli("doctor", "--server", bare.url, "--json")

    job = next(item for item in done.of("check") if item["name"] == "job")
    assert job["state"] == "failed"


def test_text_of_servers_is_harmless() -> None:
    """Escapes that move the cursor or set titles never reach the terminal; colours may."""
    from comfy_async.cli._tables import without_controls

    text = "a\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07b\r\x9b2Jc\n"
    assert without_controls(text) == "aredb2Jc\n"
    assert without_controls(text, colours=True) == "a\x1b[31mred\x1b[0mb2Jc\n"


def test_sizes_and_ages() -> None:
    """Sizes and ages as people read them."""
    import time

    from comfy_async.cli._tables import age_text, columns, size_text, when_text

    assert [size_text(size) for size in (None, 999, 1500, 2.1e9, 3e15)] == [
        *("", "999 B", "1.5 kB", "2.1 GB", "3000.0 TB"),
    ]
    assert age_text((time.time() - 7200) * 1000) == "2 h ago"
    assert age_text(time.time() * 1000) == "0 s ago"
    assert age_text(None) == when_text(None) == ""
    assert when_text(1e12)
    assert list(columns([("a", "bb"), ("ccc", "d")])) == ["a    bb", "ccc  d"]
    assert list(columns([])) == []
