"""How FakeComfy runs prompts: order, cache, ends, and who is told."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path

import pytest
from bare_client import Graph, bare, image_graph, sampler_graph, text_graph
from PIL import Image

from comfy_async.testing import FakeComfy


async def test_an_unchanged_graph_is_taken_from_the_cache() -> None:
    """The second run names all nodes as cached and shows its output again."""
    async with bare() as client, client.socket() as socket:
        await client.run(image_graph(), client_id="me")
        await socket.until("end")
        entry = await client.run(image_graph(), client_id="me")
        frames = await socket.until("end")
    kinds = [frame["type"] for frame in frames if frame["type"] != "status"]
    assert (
        kinds
        == "execution_start execution_cached executed progress_state execution_success executing".split()
    )
    assert entry["outputs"]["2"]["images"][0]["filename"] == "small_00001_.png"


async def test_a_link_that_a_real_worker_dies_of() -> None:
    """Seen on 0.33.0: an undeclared input linked to no node is taken, and nothing runs until a restart."""
    async with bare() as client:
        graph = image_graph()
        graph["2"]["inputs"]["extra"] = ["99", 0]
        answer = await client.http.post("/prompt", json={"prompt": graph, "prompt_id": str(uuid.uuid4())})
        deadly = answer.json()
        assert deadly["node_errors"] == {}
        answer = await client.http.post("/prompt", json={"prompt": text_graph()})
        await client.fake.wait_for(lambda books: books.accepted[0].started_at)
        for _ in range(20):
            await asyncio.sleep(0)
        queue = (await client.http.get("/queue")).json()
        assert [row[1] for row in queue["queue_running"]] == [deadly["prompt_id"]]
        assert [row[1] for row in queue["queue_pending"]] == [answer.json()["prompt_id"]]
        assert (await client.http.get("/history")).json() == {}
        await client.fake.faults.restart()
        await client.run(text_graph())
        assert client.fake.books.ends(deadly["prompt_id"]) == ["lost"]


async def test_an_inverted_picture(tmp_path: Path) -> None:
    """Grey levels as a real 0.33.0 saves them: where single precision falls short, one below 255 - v."""
    async with bare(output_dir=tmp_path) as client:
        graph = image_graph(0x80FF41)
        graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
        graph["2"]["inputs"]["images"] = ["3", 0]
        await client.run(graph)
    with Image.open(tmp_path / "small_00001_.png") as picture:
        assert picture.getpixel((0, 0)) == (126, 0, 189)


async def test_a_changed_node_runs_again_with_what_depends_on_it() -> None:
    """Only what a change reaches is executed; the rest is cached."""
    async with bare() as client:
        await client.run(sampler_graph(seed=1))
        await client.run(sampler_graph(seed=2))
        record = client.fake.books.accepted[-1]
    assert record.executed == ["3", "8", "9"]
    assert record.cached == ["4", "5", "6", "7"]


async def test_free_memory_empties_the_cache() -> None:
    """After POST /free with free_memory everything runs anew."""
    async with bare() as client:
        await client.run(text_graph())
        await client.http.post("/free", json={"unload_models": True, "free_memory": True})
        await client.run(text_graph())
        assert client.fake.books.accepted[-1].executed == ["1", "2"]


async def test_equal_nodes_share_one_result() -> None:
    """A second node with the same class and inputs is answered from the first one's result."""
    graph = text_graph() | {
        "3": {"class_type": "PrimitiveString", "inputs": {"value": "hello"}},
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}},
    }
    async with bare() as client:
        entry = await client.run(graph)
        assert client.fake.books.accepted[-1].executed == ["1", "2"]
    assert entry["outputs"]["4"] == {"text": ["hello"]}


async def test_one_id_posted_twice_runs_twice_and_leaves_one_entry() -> None:
    """The server does not look whether an id is taken; the books count both runs."""
    prompt_id = str(uuid.uuid4())
    async with bare() as client:
        client.fake.hold()
        for _ in range(2):
            await client.submit(text_graph(), prompt_id=prompt_id)
        client.fake.release()
        await client.fake.ended(prompt_id)
        assert client.fake.books.starts(prompt_id) == 2
        assert client.fake.books.ends(prompt_id) == ["success", "success"]
        assert list(await client.get("/history")) == [prompt_id]


async def test_number_and_front_decide_the_order() -> None:
    """A lower number runs first, and `front` goes before all that have a number of their own."""
    async with bare() as client:
        client.fake.hold()
        await client.submit(text_graph("first, for numbers start at 0"))
        normal = await client.submit(text_graph("normal"))
        late = await client.submit(text_graph("late"), number=50)
        front = await client.submit(text_graph("front"), front=True)
        early = await client.submit(text_graph("early"), number=-7.5)
        client.fake.release()
        await client.fake.idle()
        runs = sorted(client.fake.books.runs, key=lambda record: record.started_at)
    assert [record.prompt_id for record in runs][:2] == [early, front]
    assert [record.prompt_id for record in runs][3:] == [normal, late]


async def test_targets_limit_what_is_executed() -> None:
    """With partial_execution_targets only those outputs and what they need run."""
    graph = text_graph() | {"9": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}}
    async with bare() as client:
        entry = await client.run(graph, partial_execution_targets=["9"])
    assert list(entry["outputs"]) == ["9"]
    assert entry["prompt"][4] == ["9"]


async def test_without_a_client_id_only_progress_goes_out_to_all() -> None:
    """Nobody is told about the start or the end, and everybody gets the progress."""
    async with bare() as client, client.socket("one") as one, client.socket("two", negotiates=False) as two:
        await client.run(sampler_graph(steps=1), extra_data={"preview_method": "auto"})
        for socket in (one, two):
            frames = await socket.until("progress")
            kinds = {frame["type"] for frame in frames if isinstance(frame, dict)}
            assert kinds == {"status", "progress_state", "progress"}
            preview = await socket.next()
            assert preview[:8] == b"\x00\x00\x00\x01\x00\x00\x00\x01"


async def test_events_go_to_the_submitting_client_only() -> None:
    """Another client sees the queue change and nothing else."""
    async with bare() as client, client.socket("me") as me, client.socket("other") as other:
        await client.run(text_graph(), client_id="me")
        await me.until("end")
        assert [(await other.next())["type"] for _ in range(3)] == ["status"] * 3
        assert await other.hears_nothing()


async def test_a_reconnecting_client_is_told_the_node_without_the_prompt() -> None:
    """The running client's new socket hears `executing` with nothing but the node."""
    async with bare() as client:
        with client.fake.gate("KSampler", step=2) as gate:
            await client.submit(sampler_graph(), client_id="me")
            await gate.reached()
            async with client.socket("me", greeting=True) as socket:
                assert (await socket.next())["type"] == "status"
                assert await socket.next() == {"type": "executing", "data": {"node": "3"}}


async def test_a_targeted_interrupt_needs_the_running_prompt() -> None:
    """An id that only waits, or is unknown, leaves the running prompt alone."""
    async with bare() as client:
        with client.fake.gate("KSampler", step=2) as gate:
            running = await client.submit(sampler_graph())
            waiting = await client.submit(text_graph())
            await gate.reached()
            for prompt_id in (waiting, "unknown"):
                await client.http.post("/interrupt", json={"prompt_id": prompt_id})
        await client.fake.idle()
        assert client.fake.books.ends(running) == client.fake.books.ends(waiting) == ["success"]


async def test_an_interrupt_without_a_body_stops_whatever_runs() -> None:
    """A bare POST /interrupt is global."""
    async with bare() as client:
        with client.fake.gate("KSampler", step=2) as gate:
            running = await client.submit(sampler_graph())
            await gate.reached()
            assert (await client.http.post("/interrupt")).status_code == 200
        await client.fake.ended(running)
        assert client.fake.books.ends(running) == ["interrupted"]
        assert (await client.get(f"/api/jobs/{running}"))["status"] == "cancelled"


async def test_an_interrupt_before_the_run_begins_is_forgotten() -> None:
    """The worker clears the flag at the start of a run: a global interrupt of nothing is lost."""
    async with bare() as client:
        await client.http.post("/interrupt", json={})
        entry = await client.run(text_graph())
    assert entry["status"]["status_str"] == "success"


async def test_a_batch_is_cancelled_by_the_jobs_api() -> None:
    """Running and pending jobs are cancelled; finished and unknown ones do not matter."""
    async with bare() as client:
        done = await client.submit(text_graph())
        await client.fake.ended(done)
        with client.fake.gate("KSampler", step=1) as gate:
            running = await client.submit(sampler_graph())
            pending = await client.submit(text_graph("pending"))
            await gate.reached()
            ids = [done, running, pending, str(uuid.uuid4())]
            answer = await client.http.post("/api/jobs/cancel", json={"job_ids": ids})
            assert answer.json() == {"cancelled": True}
        await client.fake.idle()
        ends = [client.fake.books.ends(prompt_id) for prompt_id in (done, running, pending)]
    assert ends == [["success"], ["interrupted"], ["deleted"]]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"no json", "Request body must be valid JSON"),
        (b"[]", "job_ids must be a list"),
        (b'{"job_ids": [5]}', "job_ids contains invalid id(s)"),
    ],
)
async def test_a_batch_that_makes_no_sense_is_refused(body: bytes, error: str) -> None:
    """Every malformed batch is a 400 that says why."""
    async with bare() as client:
        answer = await client.http.post("/api/jobs/cancel", content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("status=nope", "Invalid status value(s): nope"),
        ("sort_by=size", "sort_by must be 'created_at' or 'execution_duration'"),
        ("sort_order=up", "sort_order must be 'asc' or 'desc'"),
        ("limit=0", "limit must be a positive integer"),
        ("limit=x", "limit must be an integer"),
        ("offset=x", "offset must be an integer"),
    ],
)
async def test_jobs_with_a_bad_query(query: str, error: str) -> None:
    """Every bad parameter is a 400 that says which."""
    async with bare() as client:
        answer = await client.http.get(f"/api/jobs?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


async def test_jobs_by_status_order_and_page() -> None:
    """Jobs are filtered, sorted and cut as asked for."""
    graph = text_graph("failing") | {"2": {"class_type": "Failing", "inputs": {}}}
    async with bare() as client:
        client.fake.script("Failing", error=("ValueError", "no"))
        failed = await client.submit(graph, extra_data={"extra_pnginfo": {"workflow": {"id": "w"}}})
        await client.fake.ended(failed)
        done = [await client.submit(text_graph(str(number))) for number in range(3)]
        await client.fake.idle()
        client.fake.hold()
        pending = await client.submit(text_graph("pending"))
        assert [job["id"] for job in (await client.get("/api/jobs?status=failed"))["jobs"]] == [failed]
        assert [job["id"] for job in (await client.get("/api/jobs?workflow_id=w"))["jobs"]] == [failed]
        assert [job["id"] for job in (await client.get("/api/jobs?status=pending,in_progress"))["jobs"]] == [
            pending
        ]
        page = await client.get("/api/jobs?sort_order=asc&offset=1&limit=2")
        assert page["pagination"] == {"offset": 1, "limit": 2, "total": 5, "has_more": True}
        assert {job["id"] for job in page["jobs"]} <= {*done, failed}
        longest = (await client.get("/api/jobs?sort_by=execution_duration"))["jobs"]
        assert len(longest) == 5


async def test_history_pages() -> None:
    """Without an offset the last entries come, with one those from there; unknown ids give {}."""
    async with bare() as client:
        ids = [await client.submit(text_graph(str(number))) for number in range(5)]
        await client.fake.idle()
        assert list(await client.get("/history")) == ids
        assert list(await client.get("/history?max_items=2")) == ids[3:]
        assert list(await client.get("/history?max_items=2&offset=1")) == ids[1:3]
        assert list(await client.get("/history?offset=3")) == ids[3:]
        await client.http.post("/history", json={"delete": [ids[0], "unknown"]})
        assert list(await client.get("/history")) == ids[1:]
        assert [record.forgotten for record in client.fake.books.accepted] == [True] + [False] * 4
        await client.http.post("/history", json={"clear": True})
        assert await client.get("/history") == await client.get("/history/unknown") == {}


async def test_queue_clear_and_delete() -> None:
    """Pending prompts can be deleted one by one or all; what runs goes on."""
    async with bare() as client:
        with client.fake.gate("KSampler", step=1) as gate:
            running = await client.submit(sampler_graph())
            await gate.reached()
            ids = [await client.submit(text_graph(str(number))) for number in range(4)]
            await client.http.post("/queue", json={"delete": [ids[1], running, "unknown"]})
            assert len((await client.get("/queue"))["queue_pending"]) == 3
            await client.http.post("/queue", json={"clear": True})
            assert len((await client.get("/queue"))["queue_running"]) == 1
            assert await client.get("/prompt") == {"exec_info": {"queue_remaining": 1}}
        await client.fake.idle()
        assert client.fake.books.ends(running) == ["success"]
        assert [client.fake.books.ends(prompt_id) for prompt_id in ids] == [["deleted"]] * 4


async def test_secrets_are_stored_nowhere() -> None:
    """Keys of partner nodes are in no queue, history, job or picture."""
    secret = "comfyui-secret"
    async with bare() as client:
        client.fake.hold()
        prompt_id = await client.submit(image_graph(), extra_data={"api_key_comfy_org": secret, "other": 1})
        seen = [(await client.http.get("/queue")).text]
        client.fake.release()
        await client.fake.ended(prompt_id)
        seen += [(await client.http.get(path)).text for path in ("/history", f"/api/jobs/{prompt_id}")]
        picture = await client.http.get("/view?filename=small_00001_.png")
        assert secret not in "".join(seen) + picture.text + repr(client.fake.books.accepted)
        assert client.fake.books.accepted[0].secrets == {"api_key_comfy_org": secret}
        assert '"other": 1' in seen[1]


async def test_the_history_is_late_when_told_to_be() -> None:
    """After execution_success the history is empty and the job in progress, until it is written."""
    async with bare() as client, client.socket() as socket:
        with client.fake.gate("history") as gate:
            prompt_id = await client.submit(text_graph(), client_id="me")
            await gate.reached()
            await socket.until("execution_success")
            assert await client.get(f"/history/{prompt_id}") == {}
            assert (await client.get(f"/api/jobs/{prompt_id}"))["status"] == "in_progress"
            cancelled = await client.http.post(f"/api/jobs/{prompt_id}/cancel")
            assert cancelled.json() == {"cancelled": True}
        await socket.until("end")
        entry = (await client.get(f"/history/{prompt_id}"))[prompt_id]
    assert entry["status"]["completed"]


async def test_history_delay() -> None:
    """`history_delay` puts that time between the last event and the history."""
    async with bare(history_delay=0.05) as client:
        await client.run(text_graph())
        record = client.fake.books.accepted[0]
    assert record.ended_at - record.finished_at >= 0.05


async def test_a_picture_carries_prompt_and_workflow(tmp_path: Path) -> None:
    """Saved PNGs have the API graph and the editor's workflow as text chunks."""
    graph = image_graph(0x102030, filename_prefix="deep/er/pic_%width%x%height%")
    async with bare(output_dir=tmp_path) as client:
        entry = await client.run(graph, extra_data={"extra_pnginfo": {"workflow": {"id": "w"}}})
    assert entry["outputs"]["2"]["images"] == [
        {"filename": "pic_16x12_00001_.png", "subfolder": "deep/er", "type": "output"}
    ]
    with Image.open(tmp_path / "deep/er/pic_16x12_00001_.png") as picture:
        assert picture.size == (16, 12)
        assert picture.getpixel((0, 0)) == (0x10, 0x20, 0x30)
        assert '"class_type": "EmptyImage"' in picture.info["prompt"]
        assert picture.info["workflow"] == '{"id": "w"}'


async def test_numbers_of_files_go_on(tmp_path: Path) -> None:
    """The counter continues after what is in the folder already, a restart included."""
    (tmp_path / "small_00041_.png").touch()
    for expected in ("small_00042_.png", "small_00043_.png"):
        async with bare(output_dir=tmp_path) as client:
            entry = await client.run(image_graph())
        assert entry["outputs"]["2"]["images"][0]["filename"] == expected


async def test_a_prefix_that_leads_out_of_the_folder_fails(tmp_path: Path) -> None:
    """Nothing is written outside the output folder."""
    async with bare(output_dir=tmp_path / "out") as client:
        entry = await client.run(image_graph(filename_prefix="../evil"))
    assert entry["status"]["status_str"] == "error"
    assert os.listdir(tmp_path) == ["out"]


async def test_images_are_really_processed(tmp_path: Path) -> None:
    """Load, invert, batch, scale and save do what their names say."""
    Image.new("RGBA", (20, 10), (255, 0, 0, 128)).save(tmp_path / "red.png")
    scale = {"image": ["3", 0], "upscale_method": "lanczos", "width": 40, "height": 0, "crop": "disabled"}
    graph: Graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "red.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "ImageBatch", "inputs": {"image1": ["2", 0], "image2": ["9", 0]}},
        "4": {"class_type": "ImageScale", "inputs": scale},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "done"}},
        "9": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 255}},
    }
    async with bare(output_dir=tmp_path / "out") as client:
        with (tmp_path / "red.png").open("rb") as file:
            await client.http.post("/upload/image", files={"image": file})
        entry = await client.run(graph)
    assert len(entry["outputs"]["5"]["images"]) == 2
    for name, colour in (("done_00001_.png", (0, 255, 255)), ("done_00002_.png", (0, 0, 255))):
        with Image.open(tmp_path / "out" / name) as picture:
            assert (picture.size, picture.getpixel((20, 10))) == ((40, 20), colour)


async def test_other_ways_to_scale() -> None:
    """Two zero sides keep the size, and a centred crop keeps the proportions."""
    async with bare() as client:
        for number, inputs in enumerate(
            ({"width": 0, "height": 0}, {"width": 6, "height": 6}, {"width": 0, "height": 6})
        ):
            graph = image_graph()
            scale = {"image": ["1", 0], "upscale_method": "area", "crop": "center", **inputs}
            graph["3"] = {"class_type": "ImageScale", "inputs": scale}
            graph["2"]["inputs"] = {"images": ["3", 0], "filename_prefix": f"scaled{number}"}
            await client.run(graph)
        sizes = []
        for number in range(3):
            answer = await client.http.get(f"/view?filename=scaled{number}_00001_.png")
            sizes.append((answer.content[19], answer.content[23]))
    assert sizes == [(16, 12), (6, 6), (8, 6)]


async def test_a_changed_input_file_is_noticed() -> None:
    """LoadImage runs again when the file under the name has changed."""
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    async with bare() as client:
        await client.run(graph)
        await client.run(graph)
        assert client.fake.books.accepted[-1].executed == []
        folder = client.fake.folders.of_type("input")
        assert folder is not None
        Image.new("RGB", (3, 3)).save(folder / "example.png")
        await client.run(graph)
        assert client.fake.books.accepted[-1].executed == ["1", "2"]


async def test_pictures_depend_on_seed_and_text_and_on_nothing_else() -> None:
    """The same seed and text give the same pixels on another server, another seed does not."""
    pixels = []
    for seed in (1, 1, 2):
        async with bare() as client:
            await client.run(sampler_graph(seed=seed))
            answer = await client.http.get("/view?filename=sd_00001_.png&channel=rgb")
            pixels.append(answer.content)
    assert pixels[0] == pixels[1] != pixels[2]


async def test_step_seconds_and_preview_method() -> None:
    """Every step takes its time, and sends a preview when the server makes them by default."""
    async with bare(step_seconds=0.01, preview_method="taesd") as client, client.socket() as socket:
        await client.run(sampler_graph(steps=4), client_id="me")
        frames = await socket.until("end")
        record = client.fake.books.accepted[0]
    assert sum(isinstance(frame, bytes) for frame in frames) == 4
    assert record.finished_at - record.started_at >= 0.04


async def test_running_and_waiting_for_the_books() -> None:
    """`running` names what runs, and `wait_for` comes back when its condition holds."""
    async with bare() as client:
        with client.fake.gate("PreviewAny") as gate:
            prompt_id = await client.submit(text_graph())
            assert await client.fake.running() == await client.fake.running(prompt_id) == prompt_id
            assert await gate.reached() == prompt_id
        await client.fake.wait_for(lambda books: books.ended == 1)
        with pytest.raises(ZeroDivisionError):
            await client.fake.wait_for(lambda books: 1 // (books.started - 1))


async def test_a_condition_that_breaks_later_is_told_to_its_own_waiter() -> None:
    """A predicate's error comes out where it was waited for, and nowhere else."""
    async with bare() as client:
        running = asyncio.create_task(client.run(text_graph()))
        with pytest.raises(ZeroDivisionError):
            await client.fake.wait_for(lambda books: 1 // (1 - books.started) - 1)
        await running


def test_a_server_that_does_not_run_has_no_folders() -> None:
    """Asking for a folder before the start says what to do."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = FakeComfy().folders.base
