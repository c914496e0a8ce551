"""The whole way, on any ComfyUI as it is installed and on FakeComfy: nothing but core nodes."""

from __future__ import annotations

import asyncio
import io
import random
import time
import uuid
from typing import Any

import pytest
from PIL import Image
from session_tools import PICTURE_LIVES, collect, first, lives

from comfy_async import (
    Cancelled,
    ComfySession,
    Completed,
    JobCancelledError,
    JobFailedError,
    NodeFinished,
    NodesCached,
    NodeStarted,
    PartialPromptError,
    Preview,
    Progress,
    PromptRejectedError,
    Settings,
    Started,
    WorkflowError,
)


def color() -> int:
    """Return a color that no cache knows."""
    return random.SystemRandom().randrange(1 << 24)


def picture(*, value: int | None = None, saver: str = "SaveImage", count: int = 1) -> dict[str, Any]:
    """Return a graph that makes plain pictures and saves them."""
    inputs: dict[str, Any] = {"images": ["1", 0]}
    if saver == "SaveImage":
        inputs["filename_prefix"] = "comfy_async_live"
    value = color() if value is None else value
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 32, "height": 24, "batch_size": count, "color": value},
        },
        "2": {"class_type": saver, "inputs": inputs, "_meta": {"title": "Keep it"}},
    }


def long_chain(length: int = 80) -> dict[str, Any]:
    """Return a graph of many nodes that each take a while: an interrupt is noticed between two."""
    graph = picture()
    last = "1"
    for number in range(length):
        size = 1536 if number % 2 else 1024
        name = str(100 + number)
        graph[name] = {
            "class_type": "ImageScale",
            "inputs": {
                "image": [last, 0],
                "upscale_method": "lanczos",
                "width": size,
                "height": size,
                "crop": "disabled",
            },
        }
        last = name
    graph["2"]["inputs"]["images"] = [last, 0]
    return graph


async def sampler(comfy: ComfySession, *, steps: int) -> dict[str, Any]:
    """Return a small SD1.5 graph; the test is skipped where no checkpoint is."""
    names = await comfy.models.list("checkpoints")
    small = [name for name in names if "full-size" not in name]
    if not small:
        pytest.skip("the server has no checkpoint")
    text = {"text": f"a quiet lake {color()}", "clip": ["4", 1]}
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": small[0]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": text},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": color(),
                "steps": steps,
                "cfg": 7.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["6", 0],
                "latent_image": ["5", 0],
            },
            "_meta": {"title": "Base sampler"},
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {
            "class_type": "SaveImage",
            "inputs": {"images": ["8", 0], "filename_prefix": "comfy_async_live"},
        },
    }


def opened(data: bytes) -> Image.Image:
    """Return a picture."""
    return Image.open(io.BytesIO(data))


async def test_submit_and_wait(live: ComfySession) -> None:
    """Submit, wait, and read the picture back."""
    job = await live.submit(picture(value=0x336699))
    result = await job
    (image,) = result.images
    assert (image.node, image.type, image.title) == ("2", "output", "Keep it")
    decoded = opened(await image.read())
    assert decoded.size == (32, 24)
    assert decoded.convert("RGB").getpixel((3, 3)) == (0x33, 0x66, 0x99)
    assert "prompt" in decoded.info
    assert (job.status, job.progress.fraction) == ("completed", 1.0)


async def test_stream(live: ComfySession) -> None:
    """Every lifecycle event once, in order."""
    async with live.stream(picture()) as job:
        events = await collect(job)
    assert lives(events) == PICTURE_LIVES
    assert all(event.prompt_id == job.prompt_id for event in events)
    (shown,) = [event for event in events if isinstance(event, NodeFinished) and event.output]
    assert (await job).outputs == {"2": shown.output}


async def test_sampling(live: ComfySession) -> None:
    """Steps one by one, and a fraction that moves with each."""
    job = await live.submit(await sampler(live, steps=4), previews="none")
    fractions, values = [], []
    async for event in job:
        fractions.append(job.progress.fraction)
        if isinstance(event, Progress) and event.node == "3":
            values.append(event.value)
            assert (event.max, event.title) == (4, "Base sampler")
        assert not isinstance(event, Preview)
    assert values == [1, 2, 3, 4]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    (image,) = (await job).images
    assert opened(await image.read()).size == (64, 64)


async def test_previews(live: ComfySession) -> None:
    """Pictures of work in progress, with job and node."""
    if not live.server.can("preview_method"):
        pytest.skip("the server takes no preview_method")
    job = await live.submit(await sampler(live, steps=4), previews="latent2rgb")
    previews = [event for event in await collect(job) if isinstance(event, Preview)]
    assert len(previews) >= 3
    for event in previews:
        assert (event.node, event.title, event.prompt_id) == ("3", "Base sampler", job.prompt_id)
        assert (event.mime, event.delivered) == ("image/jpeg", False)
        opened(event.image).verify()
    await job


async def test_cached(live: ComfySession) -> None:
    """The same prompt again: nothing runs, and the result is whole."""
    graph = picture()
    before = await live.run(graph)
    job = await live.submit(graph)
    events = await collect(job)
    (cached,) = [event for event in events if isinstance(event, NodesCached)]
    assert set(cached.nodes) == {"1", "2"}
    assert not [event for event in events if isinstance(event, NodeStarted)]
    result = await job
    assert set(result.cached_nodes) == {"1", "2"}
    assert result.outputs == before.outputs
    assert job.progress.fraction == 1.0


async def test_partial(live: ComfySession) -> None:
    """Some outputs are refused: raised and cancelled, or kept."""
    graph = picture()
    graph["3"] = {"class_type": "SaveImage", "inputs": {"images": ["77", 0], "filename_prefix": "x"}}
    with pytest.raises(PartialPromptError) as caught:
        await live.submit(graph)
    assert {problem.node for problem in caught.value.problems} == {"3"}
    job = await live.submit(graph, on_partial="keep")
    assert [problem.node for problem in job.node_errors] == ["3"]
    assert [file.node for file in (await job).images] == ["2"]


async def test_rejected(live: ComfySession) -> None:
    """Each problem with node, input, value and what is valid."""
    graph = picture()
    graph["1"]["inputs"] |= {"width": 0, "height": 99999}
    graph["3"] = {
        "class_type": "ImageScale",
        "inputs": {"image": ["1", 0], "upscale_method": "lanczo", "width": 8, "height": 8},
    }
    graph["2"]["inputs"]["images"] = ["3", 0]
    with pytest.raises(PromptRejectedError) as caught:
        await live.submit(graph)
    found = {(problem.node, problem.input): problem for problem in caught.value.problems}
    assert found["1", "width"].type == "value_smaller_than_min"
    assert found["1", "height"].type == "value_bigger_than_max"
    assert found["3", "upscale_method"].nearest[0] == "lanczos"
    assert found["3", "crop"].type == "required_input_missing"
    with pytest.raises(PromptRejectedError) as caught:
        await live.submit({"1": {"class_type": "NoSuchNode", "inputs": {}}})
    assert caught.value.problems


async def test_links_to_nowhere(live: ComfySession) -> None:
    """One that no output needs does no harm; one that a server would die of is not sent."""
    graph = picture(value=0x80FF41)
    graph["4"] = {"class_type": "ImageInvert", "inputs": {"image": ["77", 0], "extra": ["78", 0]}}
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    graph["2"]["inputs"]["images"] = ["3", 0]
    (image,) = (await live.run(graph)).images
    assert opened(await image.read()).convert("RGB").getpixel((0, 0)) == (126, 0, 189)
    graph["3"]["inputs"]["extra"] = ["79", 0]
    with pytest.raises(WorkflowError) as caught:
        await live.run(graph)
    assert [(problem.node, problem.input) for problem in caught.value.problems] == [("3", "extra")]
    assert (await live.run(picture())).images


async def test_failed(live: ComfySession) -> None:
    """A node that raises: where, what, and the server's traceback."""
    name = f"comfy_async_broken_{uuid.uuid4().hex[:8]}.png"
    broken = await live.files.upload(b"this is no picture", name=name)
    graph = picture()
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": str(broken)}, "_meta": {"title": "Broken"}}
    job = await live.submit(graph)
    with pytest.raises(JobFailedError) as caught:
        await job
    error = caught.value
    assert (error.node, error.title, error.class_type) == ("1", "Broken", "LoadImage")
    assert error.exception_type
    assert "line" in error.traceback
    assert job.status == "failed"


async def test_interrupted_by_somebody_else(live: ComfySession, live_url: str) -> None:
    """Another session interrupts our job by its id."""
    if not live.server.can("targeted_interrupt"):
        pytest.skip("the server interrupts whatever runs")
    job = await live.submit(long_chain())
    await first(job, NodeStarted)
    async with ComfySession(live_url) as other:
        await other.queue.interrupt(job.prompt_id)
    with pytest.raises(JobCancelledError, match="somebody else"):
        await job
    assert isinstance((await collect(job))[-1], Cancelled)


async def test_cancelled_while_running(live: ComfySession) -> None:
    """`cancel()` answers with the true end."""
    job = await live.submit(long_chain())
    await first(job, NodeStarted)
    assert await job.cancel() == "cancelled"
    with pytest.raises(JobCancelledError):
        await job


async def test_cancelled_while_pending(live: ComfySession) -> None:
    """A job that waits is removed, of which the server tells nothing; the one before it goes on."""
    running = await live.submit(long_chain(30))
    waiting = await live.submit(picture())
    await first(running, Started)
    assert await waiting.cancel() == "cancelled"
    assert not [event for event in await collect(waiting) if isinstance(event, Started)]
    assert (await running).images


async def test_deleted_while_pending(live: ComfySession) -> None:
    """The queue's own verb ends it as cancelled, too."""
    running = await live.submit(long_chain(30))
    waiting = await live.submit(picture())
    await live.queue.delete(waiting.prompt_id)
    with pytest.raises(JobCancelledError):
        await waiting
    assert (await running).images


async def test_a_stream_that_is_left(live: ComfySession) -> None:
    """Leaving the block takes the job off the server."""
    async with live.stream(long_chain()) as job:
        async for event in job:
            if isinstance(event, NodeStarted):
                break
    assert job.status == "cancelled"
    # The server tells of the end before it takes the job out of its list.
    while job.prompt_id in repr(await live.queue.snapshot()):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_upload_and_use(live: ComfySession) -> None:
    """A picture of ours goes up, through a node, and comes back."""
    data = io.BytesIO()
    Image.new("RGB", (20, 10), (0, 255, 255)).save(data, "PNG")
    name = f"comfy_async_{uuid.uuid4().hex[:8]}.png"
    uploaded = await live.files.upload(data.getvalue(), name=name)
    graph = picture()
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": str(uploaded)}}
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    graph["2"]["inputs"]["images"] = ["3", 0]
    (image,) = (await live.run(graph)).images
    decoded = opened(await image.read()).convert("RGB")
    assert decoded.size == (20, 10)
    assert decoded.getpixel((0, 0)) == (255, 0, 0)


async def test_save_image_websocket(live: ComfySession) -> None:
    """Images that only the socket carries are in the result, in order."""
    job = await live.submit(picture(saver="SaveImageWebsocket", count=3))
    result = await job
    assert [image.type for image in result.images] == ["websocket"] * 3
    assert result.missing == ()
    for image in result.images:
        assert opened(await image.read()).size == (32, 24)
    delivered = [event for event in await collect(job) if isinstance(event, Preview) and event.delivered]
    assert len(delivered) == 3


async def test_fifty_at_once(live: ComfySession) -> None:
    """Fifty jobs on one session: each has its own events and its own picture."""
    shades = random.SystemRandom().sample(range(1 << 24), 50)
    jobs = await asyncio.gather(*(live.submit(picture(value=shade)) for shade in shades))
    streams = await asyncio.gather(*(collect(job) for job in jobs))
    for job, events, shade in zip(jobs, streams, shades, strict=True):
        assert {event.prompt_id for event in events} == {job.prompt_id}
        assert isinstance(events[-1], Completed)
        names = lives(events)
        assert len(names) == len(set(names))
        (image,) = (await job).images
        pixel = opened(await image.read()).convert("RGB").getpixel((0, 0))
        assert pixel == (shade >> 16, shade >> 8 & 255, shade & 255)
    assert live.connection.reconnects == 0


async def test_without_a_socket(live_url: str) -> None:
    """Polling alone gives the same result."""
    settings = Settings(poll_min=0.1, poll_max=0.5)
    async with ComfySession(live_url, transport="poll", settings=settings) as comfy:
        job = await comfy.submit(picture())
        (image,) = (await job).images
        assert opened(await image.read()).size == (32, 24)
        names = lives(await collect(job))
        assert names[0] == "Queued"
        assert {"Started", "NodeFinished 2", "Completed"} <= set(names)
        with pytest.raises(PromptRejectedError):
            await comfy.run({"1": {"class_type": "NoSuchNode", "inputs": {}}})
        slow = await comfy.submit(long_chain())
        await first(slow, Started)
        assert await slow.cancel() == "cancelled"


async def test_attach(live: ComfySession, live_url: str) -> None:
    """Another session picks up a job that runs, and one that has ended."""
    began = time.monotonic()
    job = await live.submit(long_chain(10))
    async with ComfySession(live_url) as other:
        mirror = await other.attach(job.ref)
        result = await mirror
        assert mirror.prompt_id == job.prompt_id
        again = await (await other.attach(job.prompt_id))
    whole = await job
    assert result.outputs == again.outputs == whole.outputs
    # One as the server timed it, one as it was heard: on a busy machine they differ.
    took = time.monotonic() - began
    assert 0 < again.duration < took
    assert 0 < whole.duration < took


async def test_saved_to_a_folder(live: ComfySession, tmp_path: Any) -> None:
    """All pictures of a batch; those that are there already are kept."""
    result = await live.run(picture(count=2))
    paths = await result.save(tmp_path)
    assert len(set(paths)) == 2
    assert await result.save(tmp_path) == paths
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
