"""A recorder writes down what passes through it; a replay says it again, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from session_tools import collect, lives, picture

from comfy_async import Auth, JobFailedError, Preview, PromptRejectedError
from comfy_async.testing import FakeComfy, Recorder, Replay
from comfy_async.testing._recording import masked, masked_path, read_recording

DATA = Path(__file__).parent.parent / "data"
KEY = "s3cret-partner-key"


def portrait(steps: int = 3) -> dict[str, Any]:
    """Return the workflow of the examples with few steps."""
    path = Path(__file__).parents[2] / "examples" / "workflows" / "sd15_text2image_api.json"
    graph: dict[str, Any] = json.loads(path.read_text())
    graph["3"]["inputs"]["steps"] = steps
    return graph


async def test_what_was_recorded_is_replayed(fake: FakeComfy, tmp_path: Path) -> None:
    """The same events in the same order, the previews, and the bytes of the outputs."""
    path = tmp_path / "run.jsonl"
    async with Recorder(fake.url, path) as recorder, recorder.session(previews="latent2rgb") as comfy:
        job = await comfy.submit(portrait())
        told = await collect(job)
        made = await (await job).images[0].read()
    async with Replay(path) as replay, replay.session() as comfy:
        again = await comfy.submit(replay.prompts[0])
        retold = await collect(again)
        assert again.prompt_id != job.prompt_id
        assert lives(retold) == lives(told)
        assert [event.image for event in retold if isinstance(event, Preview)] == [
            event.image for event in told if isinstance(event, Preview)
        ]
        assert await (await again).images[0].read() == made


async def test_no_key_is_written(fake: FakeComfy, tmp_path: Path) -> None:
    """Neither of the session, nor of partner nodes, nor where the server echoes one."""
    fake.script("Echo", inputs={"seed": "INT"}, error=("ApiError", f"401 for {KEY} and t0p-secret"))
    path = tmp_path / "run.jsonl"
    auth = Auth.bearer("t0p-secret") + Auth.query("query-token")
    async with Recorder(fake.url, path) as recorder:
        async with recorder.session(partner_api_key=KEY, auth=auth) as comfy:
            with pytest.raises(JobFailedError):
                await comfy.run({"1": {"class_type": "Echo", "inputs": {"seed": 1}}})
    written = path.read_text()
    assert "t0p-secret" not in written
    assert "query-token" not in written
    assert '"api_key_comfy_org": "***"' in written
    assert "Bearer" not in written


def test_names_that_hide_values() -> None:
    """Values under names of keys are masked wherever they are; the names stay."""
    assert masked({"extra_data": [{"auth_token_comfy_org": "x", "seed": 1}]}) == {
        "extra_data": [{"auth_token_comfy_org": "***", "seed": 1}]
    }
    assert masked_path("/ws?clientId=a&token=b") == "/ws?clientId=a&token=%2A%2A%2A"
    assert masked_path("/queue") == "/queue"


@pytest.mark.parametrize(
    "name", ["text_to_image", "two_outputs_batch", "save_image_websocket", "text_to_image_no_previews"]
)
async def test_recordings_of_a_real_server_play(name: str) -> None:
    """What a real ComfyUI 0.33.0 said leads a session to the same end."""
    async with Replay(DATA / f"{name}.jsonl") as replay, replay.session() as comfy:
        job = await comfy.submit(replay.prompts[0])
        events = await collect(job)
        assert lives(events)[-1] == "Completed"
        assert (await job).files


async def test_a_recorded_failure_is_the_same_error() -> None:
    """A node that raised raises again."""
    async with Replay(DATA / "execution_error.jsonl") as replay, replay.session() as comfy:
        with pytest.raises(JobFailedError) as caught:
            await comfy.run(replay.prompts[0])
        assert caught.value.traceback


async def test_a_recorded_refusal_is_the_same_error() -> None:
    """A prompt that was refused is refused again, with its problems."""
    async with Replay(DATA / "rejected_invalid_values.jsonl") as replay, replay.session() as comfy:
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.run(replay.prompts[0])
        assert caught.value.problems


async def test_beyond_the_recording(fake: FakeComfy, tmp_path: Path) -> None:
    """A prompt too many is refused with a reason, and other requests are answered as by an idle server."""
    path = tmp_path / "run.jsonl"
    async with Recorder(fake.url, path, files=False) as recorder, recorder.session() as comfy:
        result = await comfy.run(picture())
        await result.images[0].read()
    assert "body_base64" not in path.read_text()
    async with Replay(path, pace=0.01) as replay, replay.session() as comfy:
        await comfy.run(picture())
        with pytest.raises(PromptRejectedError, match="no further prompt"):
            await comfy.run(picture(1))
        assert (await comfy.queue.snapshot()).running == ()


async def test_a_recorder_without_a_server(tmp_path: Path) -> None:
    """Nobody there is a gateway's error, and the recorder goes on."""
    async with Recorder("http://127.0.0.1:9", tmp_path / "run.jsonl") as recorder:
        async with recorder.session(connect="lazy") as comfy:
            with pytest.raises(Exception, match="502|does not answer"):
                await comfy.system.stats()


@pytest.mark.parametrize("line", ["{}", "nonsense", '{"t": 1, "http": {}}', '{"t": "x", "text": ""}'])
def test_a_damaged_recording_names_its_line(tmp_path: Path, line: str) -> None:
    """The line that cannot be read is named; `{}` is none either."""
    path = tmp_path / "run.jsonl"
    path.write_text(f'{{"t": 0.1, "text": "{{}}"}}\n{line}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_recording(path)
