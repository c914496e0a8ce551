"""FakeComfy is held to the recordings of a real ComfyUI 0.33.0, message by message."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
from typing import Any

import httpx
import pytest
import websockets
from wire_recordings import (
    DATA,
    At,
    Step,
    masked,
    prompt_of,
    recorded_frames,
    recording,
    replay,
    shape,
    warm_up,
)

from comfy_async.testing import FakeComfy

RUN: list[Step] = ["request", "end", "request", "request"]
PENDING: list[Step] = ["request", At("VAELoader", "10"), "request", "go", At("CheckpointLoaderSimple", "4")]
PENDING += ["request", "request", "request", "request", "request", "request", "go", "end"]
REJECTED: list[Step] = ["request", "request", "request"]

_UNLIKE_PROSE = {"tooltip", "description", "search_aliases", "output_tooltips"}


def sd15(**texts: str) -> dict[str, Any]:
    """Return the recorded SD1.5 graph with another seed and maybe other texts."""
    prompt = copy.deepcopy(prompt_of("text_to_image"))
    prompt["3"]["inputs"] |= {"seed": 77, "steps": 1}
    for node, text in texts.items():
        prompt[node.removeprefix("n")]["inputs"]["text"] = text
    return prompt


CASES: dict[str, tuple[list[dict[str, Any]], list[Step]]] = {
    "text_to_image": ([], RUN),
    "text_to_image_fully_cached": ([prompt_of("text_to_image")], RUN),
    "text_to_image_legacy_previews": ([sd15()], RUN),
    "text_to_image_no_previews": ([sd15()], RUN),
    "two_outputs_batch": ([], RUN),
    "animated_and_text_outputs": ([], RUN),
    "save_image_websocket": ([], RUN),
    "save_image_websocket_legacy": ([], RUN),
    "partly_invalid_200_with_node_errors": ([prompt_of("two_outputs_batch")], RUN),
    "execution_error": ([], RUN),
    "interrupted_while_running": (
        [
            prompt_of("execution_error")
            | {
                "5": {
                    "class_type": "EmptyLatentImage",
                    "inputs": {"width": 32, "height": 32, "batch_size": 1},
                }
            }
        ],
        ["request", At("CheckpointLoaderSimple", "4"), "request", "go", "end", "request", "request"],
    ),
    "cancelled_through_jobs_api": (
        [sd15(n6="something else", n7="something else again")],
        ["request", At("CLIPTextEncode", "6"), "request", "go", "end", "request", "request"],
    ),
    "pending_job_deleted": ([], PENDING),
    "rejected_invalid_values": ([], REJECTED),
    "rejected_missing_node_type": ([], REJECTED),
    "rejected_no_outputs": ([], REJECTED),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_recording_repeated(name: str) -> None:
    """The same requests get the same answers and the same frames in the same order."""
    lines = recording(name)
    before, script = CASES[name]
    # The real server was started with --preview-method latent2rgb.
    async with FakeComfy(preview_method="latent2rgb") as fake:
        await warm_up(fake, *before)
        answers, frames = await replay(fake, lines, script=script)
    recorded = [line for line in lines if "http" in line]
    for answer, line in zip(answers, recorded, strict=True):
        path = line["http"]["path"]
        assert answer["status"] == line["status"], path
        assert _comparable(answer["body"]) == _comparable(line["body"]), path
    expected = recorded_frames(lines)
    if expected:
        assert frames == expected


def _comparable(body: Any) -> Any:
    """Return an answer masked, its lists of node errors in one order (the server's is random)."""
    body = masked(body)
    if isinstance(body, dict) and "node_errors" in body:
        for entry in body["node_errors"].values():
            entry["errors"].sort(key=json.dumps)
    return body


async def test_the_deaf_socket() -> None:
    """After the old handler's end a second socket under one id answers pings and hears nothing."""
    lines = recording("deaf_after_reconnect")
    submitted = next(line["http"]["json"] for line in lines if "http" in line)
    async with FakeComfy() as fake, httpx.AsyncClient(base_url=fake.url) as http:
        address = f"{fake.url.replace('http', 'ws', 1)}/ws?clientId={submitted['client_id']}"
        async with websockets.connect(address) as first:
            second = await websockets.connect(address)
            greetings = [masked(json.loads(await socket.recv())) for socket in (first, second)]
        assert greetings == recorded_frames(lines)
        await fake.wait_for(lambda books: books.sockets_now == 1)
        await http.post("/prompt", json=submitted)
        await fake.ended(submitted["prompt_id"])
        await (await second.ping())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await second.recv()
        history = await http.get(f"/history/{submitted['prompt_id']}")
        await second.close()
    assert _comparable(history.json()) == _comparable(lines[-1]["body"])


async def test_rest_samples() -> None:
    """Every other request gets the recorded status, content type, and keys and types."""
    contents = iter([b"one", b"one", b"two", b"three", b"four"])
    async with FakeComfy() as fake, httpx.AsyncClient(base_url=fake.url) as http:
        await warm_up(fake, prompt_of("text_to_image"), prompt_of("animated_and_text_outputs"))
        await warm_up(fake, prompt_of("two_outputs_batch"))
        for line in recording("rest_samples"):
            asked = line["http"]
            options: dict[str, Any] = {}
            if "files" in asked:
                options = {"files": {"image": ("a b.png", next(contents))}, "data": asked["data"]}
            elif asked["path"].startswith("/userdata/workflows%2Fx.json") and asked["method"] == "POST":
                options = {"content": b"{}"}
            elif asked.get("json") is not None:
                options = {"json": asked["json"]}
            answer = await http.request(asked["method"], asked["path"], **options)
            assert answer.status_code == line["status"], asked
            if "content_type" in line:
                assert answer.headers.get("content-type") == line["content_type"], asked
            assert _rest(_body(answer), asked) == _rest(line["body"], asked), asked


def _body(answer: httpx.Response) -> Any:
    """Return JSON decoded, but for uploads, which were recorded as text."""
    if "upload" in answer.request.url.path:
        return answer.text
    try:
        return answer.json()
    except ValueError:
        return answer.text


def _rest(body: Any, asked: dict[str, Any]) -> Any:
    """Return what can be the same on another machine and day."""
    path = asked["path"]
    if path.startswith(("/history", "/object_info")):
        return _without_ids(masked(body)) if "history" in path else shape(masked(body))
    return shape(body) if asked["method"] == "GET" else body


def _without_ids(history: dict[str, Any]) -> Any:
    """Return history entries without the ids, which the first column and the messages repeat."""
    return [shape(entry) for entry in history.values()]


def test_node_declarations() -> None:
    """Every built-in class is declared as the real server declares it, prose and lists of files aside."""
    from comfy_async.testing._classes import NodeClasses
    from comfy_async.testing._folders import Folders

    folders = Folders(output=None, models=None)
    folders.create()
    try:
        classes = NodeClasses(folders)
        ours = {name: json.loads(json.dumps(classes.info(name))) for name in classes.specs}
    finally:
        folders.remove()
    with gzip.open(DATA / "object_info.json.gz") as file:
        real = json.load(file)
    for name, info in ours.items():
        assert _without_prose(info) == _without_prose(real[name]), name
        assert info.keys() == real[name].keys(), name


def _without_prose(value: Any) -> Any:
    """Return a declaration with its texts left out, but not the fact that there are some."""
    if isinstance(value, dict):
        return {
            key: type(inner).__name__ if key in _UNLIKE_PROSE else _without_prose(inner)
            for key, inner in value.items()
        }
    return [_without_prose(inner) for inner in value] if isinstance(value, list) else value
