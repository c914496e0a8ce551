"""One socket for all jobs: each gets its own events, and nobody another's."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

from session_tools import (
    HeldAnswers,
    collect,
    eventually,
    lives,
    picture,
    seeded,
    steps,
    turns,
)

from comfy_async import (
    ComfySession,
    Completed,
    FeatureFlags,
    MalformedFrame,
    Preview,
    ProgressText,
    Settings,
    StatusChanged,
    UnknownEvent,
)
from comfy_async.testing import FakeComfy


class TestWire:
    """One socket, spoken to as ComfyUI wants it."""

    async def test_flags_first(self) -> None:
        """`feature_flags` is the first message, so that previews come with job and node."""
        async with FakeComfy(preview_method="latent2rgb") as fake, fake.session() as comfy:
            job = await comfy.submit(_sampler(), previews="latent2rgb")
            previews = [event for event in await collect(job) if isinstance(event, Preview)]
            assert previews
            assert all((event.raw or b"")[:4] == struct.pack(">I", 4) for event in previews)
            assert {(event.node, event.prompt_id) for event in previews} == {("3", job.prompt_id)}

    async def test_the_client_id(self, fake: FakeComfy) -> None:
        """Yours, or one of its own."""
        async with fake.session(client_id="me") as comfy:
            assert comfy.client_id == "me"
            await comfy.run(picture())
            assert fake.books.accepted[0].client_id == "me"
        assert fake.session().client_id != fake.session().client_id

    async def test_fifty_jobs_one_socket(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Many jobs cost one socket and hardly a request besides their own."""
        jobs = await asyncio.gather(*(comfy.submit(picture(n)) for n in range(50)))
        await asyncio.gather(*(job.result() for job in jobs))
        assert fake.books.sockets_opened == 1
        assert len({job.prompt_id for job in jobs}) == 50
        assert fake.books.requests[("POST", "/prompt")] == 50
        assert fake.books.requests[("GET", "/history/{prompt_id}")] == 0
        assert fake.books.requests.total() < 60

    async def test_no_event_of_one_job_reaches_another(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Twenty jobs at once, consumed at once, from two sessions: each sees its own life, whole."""
        graph = steps(fake, 5)
        async with fake.session() as second:
            sessions = [comfy, second] * 10
            made = [session.submit(seeded(graph, seed)) for seed, session in enumerate(sessions)]
            jobs = await asyncio.gather(*made)
            streams = await asyncio.gather(*(collect(job) for job in jobs))
        for job, events in zip(jobs, streams, strict=True):
            assert {event.prompt_id for event in events} == {job.prompt_id}
            names = lives(events)
            assert names[:2] == ["Queued", "Started"]
            assert names[-1] == "Completed"
            assert len(names) == len(set(names))
            assert "NodeFinished 1" in names

    async def test_the_prompt_is_registered_before_it_is_posted(
        self, fake: FakeComfy, comfy: ComfySession
    ) -> None:
        """No event is missed although all came before the answer of the POST."""
        transport = HeldAnswers("POST", "/prompt")
        async with fake.session(settings=Settings(http_transport=transport)) as slow:
            submitting = asyncio.create_task(slow.submit(picture()))
            await fake.wait_for(lambda books: books.ended == 1)
            await turns()
            transport.release.set()
            job = await submitting
            assert job.done
            names = lives(await collect(job))
        assert names[0] == "Queued"
        assert names[-1] == "Completed"
        assert len(names) == 8

    async def test_events_of_the_session(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """`events()` has what all jobs tell, and what is about no job, from now on."""
        stream = comfy.events()
        await eventually(lambda: comfy.connection.state == "hearing")
        jobs = [await comfy.submit(picture(n)) for n in range(2)]
        for job in jobs:
            await job
        await fake.idle()
        seen = []
        async for event in stream:
            seen.append(event)
            if sum(isinstance(event, Completed) for event in seen) == 2 and isinstance(event, StatusChanged):
                break
        ids = {event.prompt_id for event in seen}
        assert ids == {jobs[0].prompt_id, jobs[1].prompt_id, None}
        assert any(isinstance(event, FeatureFlags) for event in seen)
        assert "ExecutingNone" not in {type(event).__name__ for event in seen}
        for job in jobs:
            mine = [event for event in seen if event.prompt_id == job.prompt_id]
            assert lives(mine) == lives(await collect(job))

    async def test_features(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """What the server is and can do."""
        await comfy.run(picture())
        assert comfy.server.version == "0.33.0"
        assert comfy.server.can("cancel_jobs")
        assert comfy.server.max_upload_size == 104857600

    async def test_malformed_frames(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Each is counted and reported, and ends nothing."""
        graph = steps(fake, 3)
        stream = comfy.events()
        with fake.gate("Steps", step=2) as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            sent = fake.faults.send_truncated()
            sent += fake.faults.send_invalid_text()
            fake.faults.send_wrong_shapes()
            fake.faults.send_raw(None, "[" * 5000)
            fake.faults.send_raw(None, json.dumps({"type": "odd.type", "data": {"hello": 1}}))
            unknown = None
            malformed = []
            async for event in stream:
                if isinstance(event, MalformedFrame):
                    malformed.append(event)
                if isinstance(event, UnknownEvent) and event.type == "odd.type":
                    unknown = event
                    break
        assert unknown is not None
        assert unknown.data == {"hello": 1}
        assert len(malformed) >= sent + 1
        assert comfy.connection.malformed == len(malformed)
        assert all(event.reason for event in malformed)
        result = await job
        assert result.texts == ("shown",)
        assert fake.books.sockets_opened == 1
        assert lives(await collect(job))[-1] == "Completed"

    async def test_frames_beyond_a_megabyte(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Large frames neither close the socket nor end a job."""
        graph = steps(fake, 2)
        with fake.gate("Steps", step=1) as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            fake.faults.send_huge(5_000_000)
            fake.faults.send_huge(3_000_000, as_text=True)
        assert (await job).texts == ("shown",)
        assert fake.books.sockets_opened == 1

    async def test_the_text_variant_with_a_prompt_id(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A server that announces it names the job in frames of type 3."""
        stream = comfy.events()
        await eventually(lambda: comfy.connection.state == "hearing")
        flags = {"type": "feature_flags", "data": {"supports_progress_text_metadata": True}}
        fake.faults.send_raw(comfy.client_id, json.dumps(flags))
        words = b"".join(struct.pack(">I", len(word)) + word for word in (b"some-job", b"7"))
        fake.faults.send_raw(comfy.client_id, struct.pack(">I", 3) + words + b"half way")
        async for event in stream:
            if isinstance(event, ProgressText):
                assert (event.prompt_id, event.node, event.text) == ("some-job", "7", "half way")
                break

    async def test_a_prompt_of_somebody_else(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Events of jobs that are not ours are shown to those who watch, and end nothing."""
        graph = steps(fake, 2)
        stream = comfy.events()
        with fake.gate("Steps", step=1) as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            for kind in ("execution_success", "execution_error", "executing"):
                data = {"type": kind, "data": {"prompt_id": "somebody-else", "node": None}}
                fake.faults.send_raw(comfy.client_id, json.dumps(data))
            async for event in stream:
                if event.prompt_id == "somebody-else" and event.type == "execution_error":
                    break
            assert job.status == "running"
        assert (await job).texts == ("shown",)


class TestOldPreviews:
    """Frames that name neither job nor node belong to what runs."""

    async def test_bare_previews(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A type 1 frame goes to the running job and its running node."""
        graph = steps(fake, 3)
        with fake.gate("Steps", step=2) as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            fake.faults.send_raw(comfy.client_id, struct.pack(">II", 1, 1) + b"\xff\xd8jpeg")
            fake.faults.send_raw(comfy.client_id, struct.pack(">II", 3, 1) + b"1" + b"words")
        events = await collect(job)
        (preview,) = [event for event in events if isinstance(event, Preview)]
        assert (preview.node, preview.title, preview.prompt_id) == ("1", "Many steps", job.prompt_id)
        assert preview.image == b"\xff\xd8jpeg"
        (words,) = [event for event in events if isinstance(event, ProgressText)]
        assert (words.prompt_id, words.text) == (job.prompt_id, "words")

    async def test_nobody_runs(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A frame of nobody is shown to those who watch, and given to no job."""
        stream = comfy.events()
        job = await comfy.submit(picture())
        await job
        fake.faults.send_raw(comfy.client_id, struct.pack(">II", 1, 1) + b"late")
        async for event in stream:
            if isinstance(event, Preview):
                assert (event.prompt_id, event.image) == (None, b"late")
                break
        assert not [event for event in await collect(job) if isinstance(event, Preview)]

    async def test_an_old_server(self) -> None:
        """No feature flags, no states, ids of its own: events, images and the end all the same."""
        async with FakeComfy(mode="old") as fake, fake.session() as comfy:
            graph = picture()
            graph["2"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
            job = await comfy.submit(graph)
            events = await collect(job)
            names = lives(events)
            assert names[-1] == "Completed"
            assert names.index("NodeFinished 1") < names.index("NodeStarted 2")
            (image,) = (await job).images
            assert (await image.read()).startswith(b"\x89PNG")
            assert fake.books.accepted[0].prompt_id == job.prompt_id


def _sampler() -> dict[str, Any]:
    """Return a graph with a sampler."""
    return {
        "4": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"},
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 1,
                "steps": 4,
                "cfg": 8,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["6", 0],
                "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    }
