"""Commands that are printed for later: the same server and wishes, quoted, and never a secret."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from comfy_async import Workflow
from comfy_async.cli._connection import Connection
from comfy_async.cli._later import server_words, submit_command, wait_command, withheld
from comfy_async.cli._out import OutPlace
from comfy_async.cli._requests import RunRequest, SubmitRequest
from comfy_async.testing import FakeComfy


def test_server_and_wishes_are_kept() -> None:
    """What decides where and how it runs is in the command, quoted for a shell."""
    request = SubmitRequest(workflow="a.json", front=True, partial=True)
    connection = Connection(server="http://gpu:8188/my comfy", insecure=True)

    command = submit_command(Path("my prompt.json"), request, connection, settings=["1.image=@my face.png"])
    assert shlex.split(command) == [
        *("comfy-async", "submit", "my prompt.json", "--set", "1.image=@my face.png", "--front", "--partial"),
        *("--server", "http://gpu:8188/my comfy", "--insecure"),
    ]


def test_folder_of_a_run_is_kept() -> None:
    """Who wanted files gets them: what submit prints goes into wait."""
    request = RunRequest(workflow="a.json", out=OutPlace("my out"))

    command = submit_command(Path("a.json"), request, Connection(cloud=True))
    assert command == "comfy-async submit a.json --cloud | comfy-async wait - --out 'my out' --cloud"


@pytest.mark.parametrize(
    "connection",
    [
        Connection(server="http://gpu:8188", api_key="s3cret"),
        Connection(server="http://gpu:8188", header=["X-Token: s3cret"]),
        Connection(server="http://anna:s3cret@gpu:8188"),
        Connection(server="http://gpu:8188?token=s3cret"),
    ],
)
def test_secrets_are_left_out_and_named(connection: Connection) -> None:
    """A command that is shown, logged and pasted has no key in it; what is missing is said."""
    made = submit_command(Path("a.json"), SubmitRequest(workflow="a.json"), connection)

    assert "s3cret" not in made + wait_command("p", connection) + repr(connection)
    assert server_words(connection) == ["--server", "http://gpu:8188"]
    assert withheld(connection)
    assert not withheld(Connection(server="http://gpu:8188"))


@pytest.mark.parametrize("command", ["run", "submit"])
async def test_printed_command_works(
    cli: Any, small: Path, fake: FakeComfy, tmp_path: Path, free_port: int, command: str
) -> None:
    """The very words that were printed submit the prompt, once the server is there."""
    cli.env["COMFY_LOCAL_URL"] = "http://127.0.0.1:9"
    done = await cli(
        command, small, "--server", f"http://127.0.0.1:{free_port}", "--keep", tmp_path / "k.json"
    )
    words = shlex.split(done.err.splitlines()[-1].partition("comfy-async ")[2])
    async with FakeComfy(port=free_port) as there:
        later = await cli(*words)
        await there.idle()

        assert (done.code, later.code) == (1, 0)
        assert len(there.books.accepted) == 1


async def test_keys_of_a_run_are_not_printed(cli: Any, small: Path, tmp_path: Path) -> None:
    """Neither for people nor for scripts."""
    url = "http://anna:s3cret@127.0.0.1:9"
    for options in ([], ["--json"]):
        done = await cli(
            *("run", small, "--server", url, "--api-key", "s3cret", "-H", "X-Key: s3cret"),
            *("--keep", tmp_path / "kept.json", *options),
        )
        assert done.code == 1
        assert "s3cret" not in done.out + done.err
        assert "--api-key" in done.err


@pytest.mark.parametrize("command", [["inputs"], ["convert"], ["check"], ["run"]])
async def test_editor_file_without_a_server(cli: Any, tmp_path: Path, command: list[str]) -> None:
    """It takes the nodes of a server: start one, or give them as a file."""
    ui = tmp_path / "ui.json"
    ui.write_text(
        '{"nodes": [{"id": 1, "type": "Note", "widgets_values": ["x"]}], "links": [], "version": 0.4}'
    )
    cli.env["COMFY_LOCAL_URL"] = "http://127.0.0.1:9"
    done = await cli(*command, ui)

    assert done.code == 1
    assert "--catalog object_info.json" in done.err
    assert "Start ComfyUI" in done.err or "fake-server" in done.err


def test_editor_workflow_says_how_it_is_converted() -> None:
    """In Python the way is one line."""
    flow = Workflow.load(
        {"nodes": [{"id": 1, "type": "Note", "widgets_values": ["x"]}], "links": [], "version": 0.4}
    )
    with pytest.raises(Exception, match=r"flow\.converted\(await comfy\.nodes\.catalog\(\)\)"):
        flow.to_api()
