"""The releases that FakeComfy plays: what each lacks, its faults, and what the newest says more."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import pytest
from bare_client import Bare, bare, image_graph, sampler_graph, text_graph

from comfy_async.testing import FakeComfy

ROUTES = {
    "/models": "0.2.3",
    "/experiment/models": "0.3.8",
    "/workflow_templates": "0.3.11",
    "/i18n": "0.3.13",
    "/internal/files/output": "0.3.15",
    "/v2/userdata": "0.3.31",
    "/features": "0.3.45",
    "/global_subgraphs": "0.3.67",
    "/api/jobs": "0.6.0",
    "/node_replacements": "0.14.0",
}
PROFILES = ["0.3.10", "0.3.44", "0.3.56", "0.5.1", "0.33.0", "0.45.2"]


def number(version: str) -> tuple[int, ...]:
    """Return a version for comparison."""
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("version", PROFILES)
async def test_its_routes(version: str) -> None:
    """Those that it has are served, the others are not there."""
    async with bare(version=version) as client:
        found = {path: (await client.http.get(path)).status_code for path in ROUTES}
        assert found == {
            path: 200 if number(version) >= number(since) else 404 for path, since in ROUTES.items()
        }
        posted = await client.http.post(f"/api/jobs/{uuid.uuid4()}/cancel")
        assert posted.status_code == (200 if number(version) >= (0, 26) else 404)


@pytest.mark.parametrize("version", PROFILES)
async def test_whose_id_it_is(version: str) -> None:
    """Up to 0.3.44 the server chooses it."""
    prompt_id = str(uuid.uuid4())
    async with bare(version=version) as client:
        answer = (await client.post(text_graph(), prompt_id=prompt_id)).json()
    assert (answer["prompt_id"] == prompt_id) is (number(version) >= (0, 3, 45))


async def interrupted(client: Bare, prompt_id: str) -> list[str]:
    """Name a job in an interrupt while another one runs; return how that one ended."""
    with client.fake.gate("KSampler", step=1) as gate:
        running = await client.submit(sampler_graph())
        await gate.reached()
        await client.http.post("/interrupt", json={"prompt_id": prompt_id})
    await client.fake.ended(running)
    return list(client.fake.books.ends(running))


@pytest.mark.parametrize(("version", "end"), [("0.3.10", "interrupted"), ("0.3.56", "interrupted")])
@pytest.mark.parametrize("newer", [False, True])
async def test_an_interrupt_by_id(version: str, end: str, newer: bool) -> None:
    """Up to 0.3.56 the id means nothing, and whatever runs is stopped; after that only the one named."""
    async with bare(version="0.5.1" if newer else version) as client:
        assert await interrupted(client, str(uuid.uuid4())) == ["success" if newer else end]


@pytest.mark.parametrize(
    ("version", "status"), [("0.6.0", "failed"), ("0.8.0", "failed"), ("0.9.0", "cancelled")]
)
async def test_the_word_for_an_interrupted_job(version: str, status: str) -> None:
    """Before 0.9.0 the jobs API calls it failed, and refuses to be asked for cancelled ones."""
    async with bare(version=version) as client:
        with client.fake.gate("KSampler", step=1) as gate:
            running = await client.submit(sampler_graph())
            await gate.reached()
            await client.http.post("/interrupt", json={})
        await client.fake.ended(running)
        assert (await client.get(f"/api/jobs/{running}"))["status"] == status
        assert [job["status"] for job in (await client.get("/api/jobs"))["jobs"]] == [status]
        answer = await client.http.get("/api/jobs?status=cancelled")
        assert answer.status_code == (200 if status == "cancelled" else 400)


async def test_frames_before_the_answer() -> None:
    """A server that chooses ids may run a prompt before its POST is answered: its frames name that id."""
    async with bare(version="0.3.44") as client, client.socket(negotiates=False) as socket:
        late = client.fake.faults.delay("POST", "/prompt", 60, after_effect=True)
        posting = asyncio.create_task(client.post(sampler_graph(), client_id="me"))
        frames = await socket.until("end")
        assert not posting.done()
        late.cancel()
        prompt_id = (await posting).json()["prompt_id"]
    named = {frame["data"].get("prompt_id") for frame in frames if frame["type"] == "executing"}
    assert named == {prompt_id}


async def test_editors() -> None:
    """/system_stats names the editor that the release ships, where that release does."""
    async with bare(version="0.45.2") as client:
        assert (await client.get("/system_stats"))["system"]["required_frontend_version"] == "1.58.1"
    async with bare(version="0.3.64") as client:
        assert (await client.get("/system_stats"))["system"]["required_frontend_version"] == "1.27.10"
    async with bare(version="0.3.44") as client:
        assert "required_frontend_version" not in (await client.get("/system_stats"))["system"]


class TestNewest:
    """0.45.2, as its documentation has it (PROTOCOL 7)."""

    async def test_files_have_ids(self) -> None:
        """In the event and the history; in jobs name and hash too, in uploads the whole asset."""
        async with bare(version="0.45.2") as client, client.socket() as socket:
            entry = await client.run(image_graph(), client_id="me")
            frames = await socket.until("end")
            (shown,) = [frame["data"]["output"] for frame in frames if frame["type"] == "executed"]
            (outputs,) = entry["outputs"].values()
            assert outputs == shown
            image = shown["images"][0]
            assert set(image) == {"filename", "subfolder", "type", "id", "preview_id"}
            (job,) = (await client.get("/api/jobs"))["jobs"]
            assert job["preview_output"]["hash"].startswith("blake3:")
            whole = await client.get(f"/api/jobs/{job['id']}")
            (told,) = whole["outputs"].values()
            assert told["images"][0]["display_name"] == image["filename"]
            asset = await client.get(f"/api/assets/{image['id']}")
            assert (asset["job_id"], asset["is_immutable"]) == (job["id"], True)
            content = await client.http.get(f"/api/assets/{image['id']}/content")
            assert content.content.startswith(b"\x89PNG")

    async def test_uploads_answer_with_an_asset(self) -> None:
        """With id, hash and what a loader wants."""
        async with bare(version="0.45.2") as client:
            files = {"image": ("face.png", b"not really", "image/png")}
            answer = (await client.http.post("/upload/image", files=files)).json()
            assert answer["asset"]["loader_path"] == "face.png"
            assert (await client.http.head(f"/api/assets/hash/{answer['asset']['hash']}")).status_code == 200
        async with bare() as client:
            assert "asset" not in (await client.http.post("/upload/image", files=files)).json()

    async def test_assets(self) -> None:
        """They are listed by tags and in pages; a filter by metadata is refused, and too many tags."""
        async with bare(version="0.45.2") as client:
            assert (await client.get("/features"))["assets"] is True
            for name in ("a.png", "b.png"):
                files = {"file": (name, name.encode())}
                await client.http.post("/api/assets", files=files, data={"tags": '["input"]', "name": name})
            page = await client.get("/api/assets?tags_all=input&limit=1")
            rest = await client.get(f"/api/assets?tags_all=input&limit=1&after={page['next_cursor']}")
            assert [one["name"] for one in page["assets"] + rest["assets"]] == ["a.png", "b.png"]
            assert (await client.http.get("/api/assets?metadata_filter={}")).status_code == 400
            many = "&".join(f"tags_any={number}" for number in range(101))
            assert (await client.http.get(f"/api/assets?{many}")).status_code == 400
            assert (await client.http.get("/api/assets/none")).status_code == 404

    async def test_switched_off(self) -> None:
        """As with `--disable-assets`: the routes say so, and files have no ids."""
        async with bare(version="0.45.2", without=["assets_on"]) as client:
            assert (await client.http.get("/api/assets")).status_code == 503
            assert (await client.get("/features"))["assets"] is False
            entry = await client.run(image_graph(), client_id="me")
            (outputs,) = entry["outputs"].values()
            assert "id" not in outputs["images"][0]

    async def test_activities(self) -> None:
        """A loader says that it loads."""
        async with bare(version="0.45.2") as client, client.socket() as socket:
            await client.run(sampler_graph(), client_id="me")
            frames = await socket.until("end")
        states = [frame["data"]["nodes"] for frame in frames if frame["type"] == "progress_state"]
        said = {
            node: state["activity"]
            for nodes in states
            for node, state in nodes.items()
            if "activity" in state
        }
        assert said == {"4": "loading"}

    async def test_an_error_without_a_node(self) -> None:
        """The run fails outside of any node, once."""
        async with bare(version="0.45.2") as client, client.socket() as socket:
            client.fake.faults.fail_runs("ModelNotPermittedError", "this model may not be used here")
            await client.run(text_graph(), client_id="me")
            frames = await socket.until("end")
            (error,) = [frame["data"] for frame in frames if frame["type"] == "execution_error"]
            assert (error["node_id"], error["exception_type"]) == (None, "ModelNotPermittedError")
            assert "current_inputs" not in error
            entry = await client.run(text_graph("again"), client_id="me")
            assert entry["status"]["status_str"] == "success"

    async def test_the_agent_and_the_scan(self) -> None:
        """Their messages go to every socket."""
        async with bare(version="0.45.2") as client, client.socket(negotiates=False) as socket:
            assert (await socket.until("agent_status"))[-1]["data"] == {"state": "ready"}
            await client.http.post("/api/assets/seed", json={"roots": ["input"]})
            assert (await socket.until("assets.seed.completed"))[-1]["data"] == {}

    async def test_a_waiting_job_tells_its_graph(self) -> None:
        """`workflow` is there before the end, with what was sent along."""
        async with bare(version="0.45.2") as client:
            client.fake.hold()
            waiting = await client.submit(text_graph(), workflow_metadata={"name": "mine"})
            job = await client.get(f"/api/jobs/{waiting}")
            assert set(job["workflow"]["prompt"]) == set(text_graph())
            assert job["workflow"]["extra_data"]["workflow_metadata"] == {"name": "mine"}
            client.fake.release()

    async def test_why_the_cloud_lets_a_job_wait(self) -> None:
        """Its place, and the reason."""
        async with FakeComfy(version="0.45.2", mode="cloud") as fake:
            fake.hold()
            headers = {"X-API-Key": fake.api_key}
            async with httpx.AsyncClient(base_url=fake.url, headers=headers) as http:
                for value in ("a", "b"):
                    await http.post("/api/prompt", json={"prompt": text_graph(value)})
                jobs = (await http.get("/api/jobs?sort_order=asc")).json()["jobs"]
            assert [(job["queue_position"], job["queue_reason"]) for job in jobs] == [
                (0, "concurrency_limit"),
                (1, "concurrency_limit"),
            ]
            fake.release()


class TestFailingNodes:
    """`fail_node` lets a class fail, and keeps all else of it."""

    async def test_its_declaration_stays(self) -> None:
        """Its object_info is the same, a prompt is still held against it, and it does its work afterwards."""
        async with bare() as client:
            before = await client.get("/object_info/VAEDecode")
            await client.run(sampler_graph())
            client.fake.fail_node("VAEDecode", "oom", count=1)
            assert await client.get("/object_info/VAEDecode") == before
            entry = await client.run(sampler_graph())
            (error,) = [data for name, data in entry["status"]["messages"] if name == "execution_error"]
            assert (error["node_type"], error["exception_type"]) == ("VAEDecode", "torch.OutOfMemoryError")
            assert (await client.run(sampler_graph()))["status"]["status_str"] == "success"

    async def test_after_a_step(self) -> None:
        """What it tells up to then is told."""
        async with bare() as client, client.socket() as socket:
            client.fake.fail_node("KSampler", ("ValueError", "no"), error_at=2)
            await client.run(sampler_graph(steps=4), client_id="me")
            frames = await socket.until("end")
        assert [frame["data"]["value"] for frame in frames if frame["type"] == "progress"] == [1, 2]

    async def test_blocked(self) -> None:
        """What follows does not run, and the run goes on to its end."""
        async with bare() as client:
            client.fake.fail_node("VAEDecode", "blocked")
            entry = await client.run(sampler_graph())
            assert entry["status"]["status_str"] == "success"
            assert entry["outputs"] == {}

    def test_no_such_class(self) -> None:
        """A misspelt name is told, with the nearest."""
        with pytest.raises(ValueError, match="no such class: 'VAEDecod'; nearest: VAEDecode"):
            FakeComfy().fail_node("VAEDecod")
