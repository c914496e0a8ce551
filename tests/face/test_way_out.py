"""Every error that comes of a server's answer, or of its silence, says what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from session_tools import picture

from comfy_async import (
    ComfyError,
    ComfySession,
    JobCancelledError,
    NotFoundError,
    PromptRejectedError,
    RateLimitError,
    SessionClosedError,
    TransportError,
)
from comfy_async._protocol.rejection import failure
from comfy_async._transport.answers import Answer, error_of
from comfy_async.events import Failed
from comfy_async.testing import FakeComfy

BODIES = (
    ("application/json", b'{"error": {"type": "SERVICE_DISABLED", "message": "off"}}'),
    ("application/json", b'{"code": "PAYMENT_REQUIRED", "message": "pay"}'),
    ("application/json", b'{"error": "in one word"}'),
    ("application/json", b"[]"),
    ("text/html", b"<html>nginx</html>"),
    ("text/plain", b""),
)


@pytest.mark.parametrize("status", [*range(400, 432), 451, *range(500, 512), 520, 599])
@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_every_status(status: int, kind: str, body: bytes) -> None:
    """Whatever status and body a server or a proxy answers with, there is a hint."""
    for path in ("/prompt", "/view", "/upload/image", "/x"):
        error = error_of(Answer(status, {"content-type": kind}, body, "POST", path, "http://h"))
        assert error.hint, (status, path)
        assert str(error).endswith(error.hint)


@pytest.mark.parametrize("kind", [*TransportError.__subclasses__(), TransportError, SessionClosedError])
def test_every_kind_of_silence(kind: type[ComfyError]) -> None:
    """Errors of the network have a way out even where the place that raises them knows none."""
    assert kind("broken").hint
    assert kind("broken", hint="Do this.").hint == "Do this."


@pytest.mark.parametrize(
    "words",
    [
        {"exception_type": "RuntimeError", "exception_message": "bad shape"},
        {"exception_type": "torch.OutOfMemoryError", "exception_message": "Allocation on device"},
        {"exception_type": "Exception", "exception_message": "Unauthorized: Please login first"},
        {"exception_type": "Exception", "exception_message": "Payment Required: Please add credits"},
        {"exception_type": "Exception", "exception_message": "There is a problem with your account"},
        {"exception_type": "Exception", "exception_message": "Rate Limit Exceeded"},
        {"exception_type": "Exception", "exception_message": "API Error: 500"},
        {},
    ],
)
def test_every_kind_of_failure(words: dict[str, Any]) -> None:
    """A node that raised, whatever it says."""
    event = Failed(None, words, "p", received_at=0.0)
    assert failure(event, prompt_id="p", server="http://h").hint


def refusals() -> dict[str, dict[str, Any]]:
    """Workflows that a server refuses, each for another reason, by a word that helps."""
    unknown, value, model, number, missing, useless = (picture() for _ in range(6))
    unknown["1"]["class_type"] = "EmptyImagee"
    model["9"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "zzz.safetensors"}}
    model["10"] = {"class_type": "VAEDecode", "inputs": {"samples": ["1", 0], "vae": ["9", 2]}}
    model["2"]["inputs"]["images"] = ["10", 0]
    number["1"]["inputs"]["width"] = "many"
    value["1"]["inputs"]["width"] = -5
    del missing["1"]["inputs"]["width"]
    del useless["2"]
    return {
        "no node class 'EmptyImagee'; nearest: 'EmptyImage'": unknown,
        "It belongs in models/checkpoints on the server": model,
        "'many' is no whole number. It takes 1 to 16384": number,
        "-5 is less than": value,
        "is required and missing": missing,
        "for example SaveImage": useless,
    }


@pytest.mark.parametrize("words", refusals())
async def test_every_refusal(comfy: ComfySession, words: str) -> None:
    """What the server refuses is named with what there is instead."""
    with pytest.raises(PromptRejectedError) as caught:
        await comfy.run(refusals()[words])
    assert words in str(caught.value)
    assert caught.value.hint


async def test_a_file_that_is_not_there(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """Its name and where to look for it; also when it is read bit by bit or saved."""
    for read in (
        comfy.files.read("nope.png", subfolder="a"),
        anext(comfy.files.open("nope.png", subfolder="a")),
        comfy.files.save("nope.png", tmp_path / "x.png", subfolder="a"),
    ):
        with pytest.raises(NotFoundError) as caught:
            await read
        assert caught.value.hint == (
            "The server has no output 'a/nope.png'; deleted, or in another folder (`type=`, `subfolder=`)?"
        )


async def test_a_model_that_is_not_there() -> None:
    """The nearest ones, else some of those that there are."""
    names = [f"anime-{number}.safetensors" for number in range(7)]
    async with FakeComfy(models={"loras": names, "vae": []}) as fake, fake.session() as comfy:
        for name, words in (("anime-9.safetensors", "Nearest: anime-"), ("qqq", "There are: anime-0")):
            with pytest.raises(NotFoundError) as caught:
                await comfy.models.resolve("loras", name)
            assert words in caught.value.hint
        with pytest.raises(NotFoundError, match="none at all"):
            await comfy.models.resolve("vae", "qqq")


async def test_limits(fake: FakeComfy, comfy: ComfySession) -> None:
    """How long to wait is said when the server says it."""
    fake.faults.refuse_prompts("queue_limit", count=1, retry_after="7")
    with pytest.raises(RateLimitError, match="wait 7 s"):
        await comfy.submit(picture())


async def test_after_the_block(fake: FakeComfy, tmp_path: Path) -> None:
    """Files stay on the server until they are asked for: the error says how to have them."""
    async with fake.session() as comfy:
        result = await comfy.run(picture())
    with pytest.raises(SessionClosedError, match=r"inside the `async with` block.*connect\(\)"):
        await result.save(tmp_path)


async def test_a_stream_that_was_not_entered(comfy: ComfySession) -> None:
    """As for a map: the sentence shows the block."""
    with pytest.raises(RuntimeError, match=r"async with comfy\.stream"):
        aiter(comfy.stream(picture()))


async def test_a_cancelled_job(fake: FakeComfy, comfy: ComfySession) -> None:
    """A job that was stopped is no answer to wait for."""
    fake.hold()
    job = await comfy.submit(picture())
    await job.cancel()
    with pytest.raises(JobCancelledError) as caught:
        await job
    assert caught.value.hint
