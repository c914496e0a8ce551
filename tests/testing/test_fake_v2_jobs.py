"""API v2's jobs: submitted, looked up, cancelled, refused, and what their keys are good for."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any, get_args

import httpx
import pytest
from bare_client import sampler_graph, text_graph
from v2_fake import bearer, client
from v2_scenarios import image_graph

from comfy_async.testing import ApiV2, FakeComfy, Gatekeeper
from comfy_async.testing._v2_chaos import V2Kind

JOBS = "/api/v2/jobs"
JOB_KEYS = (
    "id status created_at started_at completed_at expires_at queue_position progress outputs error urls"
).split()
OUTPUT_KEYS = "node_id name type content_type size_bytes id hash url url_expires_at job_id".split()


def code(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code of an error."""
    return answer.status_code, answer.json()["error"]["code"]


async def submit(http: httpx.AsyncClient, graph: Any = None, **headers: str) -> dict[str, Any]:
    """Submit a job that is taken."""
    answer = await http.post(JOBS, json={"workflow": graph or image_graph()}, headers=headers)
    assert answer.status_code == 201
    found: dict[str, Any] = answer.json()
    return found


async def look(http: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    """Look a job up by its own link."""
    found: dict[str, Any] = (await http.get(job["urls"]["self"])).json()
    return found


async def test_a_job_from_beginning_to_end() -> None:
    """It waits, runs, and has an output with a size and a time, and progress over the whole graph."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        fake.hold()
        first, job = await submit(http, text_graph()), await submit(http)
        assert list(job) == [*JOB_KEYS, "metrics"]
        assert (job["status"], job["queue_position"]) == ("queued", 2)
        with fake.gate("ImageInvert") as gate:
            fake.release()
            assert await gate.reached() == job["id"]
            running = await look(http, job)
            assert (running["status"], running["queue_position"]) == ("running", None)
            assert running["progress"] | {"message": ""} == {
                **{"value": 1 / 3, "nodes_done": 1, "nodes_total": 3, "current_node": "2", "step": 0},
                **{"current_node_class": "ImageInvert", "steps": 1, "message": ""},
            }
        await fake.ended(job["id"])
        done = await look(http, job)
        assert (done["status"], done["progress"]["value"], done["error"]) == ("succeeded", 1.0, None)
        assert [list(output) for output in done["outputs"]] == [OUTPUT_KEYS]
        assert done["outputs"][0]["size_bytes"] > 0
        begun, ended = (datetime.datetime.fromisoformat(done[key]) for key in ("started_at", "completed_at"))
        assert ended > begun
        assert fake.books.ends(first["id"]) == fake.books.ends(job["id"]) == ["success"]
        text = (await look(http, first))["outputs"]
        assert [(output["type"], output["content_type"]) for output in text] == [("text", "text/plain")]


async def test_nothing_but_v2_is_served() -> None:
    """A cloud has none of ComfyUI's own routes, and lists no jobs."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        for path in (
            "/system_stats",
            "/prompt",
            "/queue",
            "/history",
            "/view",
            "/ws",
            "/api/jobs",
            "/api/queue",
        ):
            assert (await http.get(path)).status_code == 404, path
        assert code(await http.get(JOBS)) == (501, "not_implemented")
        body = {"workflow": image_graph(), "metadata": {"user": "7"}}
        assert code(await http.post(JOBS, json=body)) == (422, "metadata_not_supported")


async def test_a_deployment_lists_jobs_by_label() -> None:
    """The newest first, page by page, those with all the labels that are asked for."""
    manners = ApiV2.deployment()
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        jobs = []
        for number in range(5):
            body = {"workflow": image_graph(number), "metadata": {"user": str(number % 2), "all": "x"}}
            jobs.append((await http.post(JOBS, json=body)).json())
        assert jobs[0]["metadata"] == {"user": "0", "all": "x"}
        query: dict[str, Any] = {"metadata[user]": "0", "metadata[all]": "x", "limit": 2}
        first = (await http.get(JOBS, params=query)).json()
        assert [found["id"] for found in first["jobs"]] == [jobs[4]["id"], jobs[2]["id"]]
        last = (await http.get(JOBS, params=query | {"cursor": first["next_cursor"]})).json()
        assert [found["id"] for found in last["jobs"]] == [jobs[0]["id"]]
        assert "next_cursor" not in last
        assert list(last["jobs"][0]) == [
            "id",
            "status",
            "create_time",
            "update_time",
            "deployment_id",
            "metadata",
        ]
        assert code(await http.get(JOBS, params={"cursor": "x"}))[1] == "invalid_cursor"
        assert code(await http.get(JOBS, params={"metadata[]": "x"}))[1] == "invalid_metadata_filter"
        four = {f"metadata[{number}]": "x" for number in range(4)}
        assert code(await http.get(JOBS, params=four))[1] == "invalid_metadata_filter"
        many = {str(number): "x" for number in range(17)}
        for bad in (many, {"a": 1}, "text", {"": "x"}, {"a b": "x"}, {"a": "x" * 257}, {"a": "\u202e"}):
            answer = await http.post(JOBS, json={"workflow": image_graph(), "metadata": bad})
            assert code(answer) == (422, "metadata_invalid")
        manners.labels = "dropped"
        dropped = await http.post(JOBS, json={"workflow": image_graph(), "metadata": {"user": "9"}})
        assert "metadata" not in dropped.json()
        assert len((await http.get(JOBS, params={"metadata[user]": "9"})).json()["jobs"]) == 6


async def test_v2_stands_beside_the_plain_routes() -> None:
    """A job of one door is seen through the other, and nobody is asked for a key."""
    async with FakeComfy(api_v2=True) as fake, httpx.AsyncClient(base_url=fake.url, trust_env=False) as http:
        job = await submit(http)
        await fake.ended(job["id"])
        assert list((await http.get(f"/history/{job['id']}")).json()) == [job["id"]]
        plain = (await http.post("/prompt", json={"prompt": image_graph(7)})).json()["prompt_id"]
        await fake.ended(plain)
        seen = (await http.get(f"{JOBS}/{plain}")).json()
        assert (seen["status"], len(seen["outputs"])) == ("succeeded", 1)
        assert (await http.get(f"{JOBS}/{plain}/workflow")).json()["format"] == "api"


async def test_who_is_let_in() -> None:
    """Without the key it is a 401, from a gatekeeper of another mind a 403, both in the envelope."""
    async with FakeComfy(dialect="api-v2", api_key="k1") as fake:
        async with httpx.AsyncClient(base_url=fake.url, trust_env=False) as http:
            for headers in ({}, {"X-API-Key": "k1"}, {"Authorization": "Bearer k2"}):
                assert code(await http.get(f"{JOBS}/x", headers=headers)) == (401, "unauthorized")
            assert (await http.get(f"{JOBS}/x", headers=bearer(fake))).status_code == 404
            fake.auth = Gatekeeper(bearer="k2", status=403)
            assert code(await http.get(f"{JOBS}/x", headers=bearer(fake))) == (403, "forbidden")


async def test_links_stay_under_the_mount() -> None:
    """A gateway's prefix is in every link, whole or relative to the origin."""
    manners = ApiV2(relative_urls=True)
    async with FakeComfy(dialect="api-v2", prefix="/deployment/d1", api_v2=manners) as fake:
        async with client(fake) as http:
            answer = await http.post(f"{fake.url}{JOBS}", json={"workflow": image_graph()})
            job = answer.json()
            assert job["urls"]["self"] == f"/deployment/d1/api/v2/jobs/{job['id']}"
            await fake.ended(job["id"])
            origin = fake.url.removesuffix("/deployment/d1")
            done = (await http.get(origin + job["urls"]["self"])).json()
            assert done["outputs"][0]["url"].startswith(f"{fake.url}/api/v2/assets/")
            manners.relative_urls = False
            again = (await http.get(origin + job["urls"]["self"])).json()
            assert again["urls"]["events"] == f"{origin}{job['urls']['events']}"


async def test_every_answer_has_an_id() -> None:
    """Errors and refusals too; the proxy has none."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        fake.faults.refuse_jobs("rate_limited", count=1)
        answers = [await http.post(JOBS, json={"workflow": {}}) for _ in range(2)]
        ids = {answer.headers.get("X-Comfy-Request-Id") for answer in answers}
        assert len(ids) == 2
        assert None not in ids
    async with FakeComfy(dialect="api-v2", api_v2=ApiV2.proxy()) as fake, client(fake) as http:
        assert "X-Comfy-Request-Id" not in (await http.get(f"{JOBS}/x")).headers


@pytest.mark.parametrize(
    ("reason", "status", "waits"),
    [
        ("queue_full", 429, "7"),
        ("rate_limited", 429, "7"),
        ("deployment_not_ready", 429, "7"),
        ("deployment_stopped", 422, None),
        ("insufficient_credits", 402, None),
        ("unauthorized", 401, None),
        ("forbidden", 403, None),
        ("upstream_error", 500, None),
        ("upstream_unreachable", 503, None),
    ],
)
async def test_refusals(reason: Any, status: int, waits: str | None) -> None:
    """Each can be had; afterwards the same key is good."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        fake.faults.refuse_jobs(reason, count=1, retry_after="7")
        headers = {"Idempotency-Key": "once"}
        answer = await http.post(JOBS, json={"workflow": image_graph()}, headers=headers)
        assert (*code(answer), answer.headers.get("Retry-After")) == (status, reason, waits)
        await submit(http, **headers)


async def test_a_full_queue() -> None:
    """There is room for so many, and again when one has gone."""
    manners = ApiV2(max_queue=1)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        fake.hold()
        job = await submit(http)
        headers = {"Idempotency-Key": "k"}
        answer = await http.post(JOBS, json={"workflow": image_graph()}, headers=headers)
        assert (*code(answer), answer.headers["Retry-After"]) == (429, "queue_full", "1")
        await http.post(job["urls"]["cancel"])
        await submit(http, **headers)


async def test_a_key_is_good_once() -> None:
    """A second use is refused, whatever it is for; a refusal of the graph gives it back."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        headers = {"Idempotency-Key": "k"}
        bad = {"workflow": {"1": {"class_type": "Nope", "inputs": {}}}}
        assert code(await http.post(JOBS, json=bad, headers=headers)) == (422, "invalid_workflow")
        await submit(http, **headers)
        for body in (bad, {"workflow": image_graph()}):
            assert code(await http.post(JOBS, json=body, headers=headers)) == (422, "idempotency_key_reuse")
        assert len(fake.books.accepted) == 1


@pytest.mark.parametrize("failure", [500, "reset"])
async def test_an_unknown_outcome_keeps_the_key(failure: Any) -> None:
    """The job was made and its answer lost, or it was swallowed: the key is claimed in both cases."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        body = {"workflow": image_graph()}
        fake.faults.fail("POST", JOBS, failure, count=1, after_effect=True)
        if failure == "reset":
            with pytest.raises(httpx.TransportError):
                await http.post(JOBS, json=body, headers={"Idempotency-Key": "made"})
        else:
            await http.post(JOBS, json=body, headers={"Idempotency-Key": "made"})
        fake.faults.swallow_jobs()
        lost = await http.post(JOBS, json=body, headers={"Idempotency-Key": "lost"})
        assert code(lost) == (500, "upstream_error")
        for key in ("made", "lost"):
            answer = await http.post(JOBS, json=body, headers={"Idempotency-Key": key})
            assert code(answer) == (422, "idempotency_key_reuse")
        assert len(fake.books.accepted) == 1


async def test_bad_graphs_are_told_by_node_and_field() -> None:
    """The cloud's form names node, field and reason."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        graph = image_graph()
        graph["2"]["inputs"] = {}
        answer = (await http.post(JOBS, json={"workflow": graph})).json()["error"]
        assert answer["details"]["node_errors"] == {"2": [{"field": "image", "reason": "missing_input"}]}
        assert answer["message"].startswith("Node 2 (ImageInvert): ")
        graph["2"]["class_type"] = "Nope"
        answer = (await http.post(JOBS, json={"workflow": graph})).json()["error"]
        assert list(answer["details"]["node_errors"]) == ["2"]
        for workflow in ({}, {"1": "x"}, {"1": {"class_type": "EmptyImage", "inputs": []}}, None):
            assert code(await http.post(JOBS, json={"workflow": workflow})) == (422, "invalid_workflow")
        drawn: Any = {"nodes": [], "links": []}
        assert code(await http.post(JOBS, json={"workflow": drawn})) == (422, "workflow_format_ui")


async def test_what_may_not_be_sent_along() -> None:
    """Two words are reserved, and extra_data takes one key alone, which is stored nowhere."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        mores: list[dict[str, Any]] = [
            {"webhook_url": "x"},
            {"inputs": {}},
            {"extra_data": {"x": 1}},
            {"extra_data": []},
        ]
        for more in mores:
            answer = await http.post(JOBS, json={"workflow": image_graph(), **more})
            assert answer.status_code == 422, more
        body = {"workflow": image_graph(), "extra_data": {"api_key_comfy_org": "partner"}}
        job = (await http.post(JOBS, json=body)).json()
        assert fake.books.of(job["id"])[0].secrets == {"api_key_comfy_org": "partner"}
        await fake.ended(job["id"])
        for link in ("self", "events"):
            assert "partner" not in (await http.get(job["urls"][link])).text


async def test_of_a_partly_valid_graph() -> None:
    """The rest of it runs without a word, or all of it is refused."""
    graph = image_graph() | {"9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}
    manners = ApiV2()
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        job = await submit(http, graph)
        await fake.ended(job["id"])
        assert [output["node_id"] for output in (await look(http, job))["outputs"]] == ["3"]
        manners.partial = "reject"
        assert code(await http.post(JOBS, json={"workflow": graph})) == (422, "invalid_workflow")


async def test_cancelling() -> None:
    """A running job is canceling until it is canceled, a waiting one is at once, and an end stays."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        with fake.gate("KSampler", step=1) as gate:
            running = await submit(http, sampler_graph())
            await gate.reached()
            waiting = await submit(http)
            for _ in range(2):
                assert (await http.post(waiting["urls"]["cancel"])).json()["status"] == "canceled"
                assert (await http.post(running["urls"]["cancel"])).json()["status"] == "canceling"
            assert (await look(http, running))["status"] == "canceling"
        await fake.ended(running["id"])
        assert (await http.post(running["urls"]["cancel"])).json()["status"] == "canceled"
        assert fake.books.ends(waiting["id"]) == ["deleted"]
        done = await submit(http)
        await fake.ended(done["id"])
        assert (await http.post(done["urls"]["cancel"])).json()["status"] == "succeeded"


async def test_a_failure_names_node_class_and_traceback() -> None:
    """The job's error has them; the proxy leaves the traceback out."""
    for manners in (ApiV2(), ApiV2.proxy()):
        async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
            fake.fail_node("ImageInvert", "oom")
            job = await submit(http)
            await fake.ended(job["id"])
            error = (await look(http, job))["error"]
            assert (error["code"], error["node_id"], error["class_type"]) == (
                "node_execution_error",
                "2",
                "ImageInvert",
            )
            assert (error["traceback"] is None) == (manners.style == "proxy")


async def test_jobs_expire() -> None:
    """A job that expires says so for good; after its time it is not known any more."""
    manners = ApiV2()
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        fake.hold()
        waiting, other = await submit(http), await submit(http)
        fake.faults.expire_job(waiting["id"])
        assert (await look(http, waiting))["status"] == "expired"
        fake.release()
        await fake.ended(other["id"])
        assert fake.books.starts(waiting["id"]) == 0
        fake.faults.forget_job(waiting["id"])
        assert (await http.get(waiting["urls"]["self"])).status_code == 404
        manners.retention_seconds = 0.0
        assert code(await http.get(other["urls"]["self"])) == (404, "not_found")


async def test_a_false_expiry() -> None:
    """A job is said to have expired to who looks or follows, and goes on; an end once told stays."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        with fake.gate("ImageInvert") as gate:
            job = await submit(http)
            await gate.reached()
            fake.faults.expire_falsely(2)
            assert (await look(http, job))["status"] == "expired"
            assert '"expired"' in (await http.get(job["urls"]["events"])).text
            assert (await look(http, job))["status"] == "running"
        await fake.ended(job["id"])
        assert (await look(http, job))["status"] == "succeeded"
        fake.faults.expire_falsely()
        assert (await look(http, job))["status"] == "succeeded"


async def test_a_lost_queue_expires() -> None:
    """What went down with the server is expired, not cancelled."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        fake.hold()
        job = await submit(http)
        await fake.faults.restart()
        assert (await look(http, job))["status"] == "expired"


def test_what_does_not_go_together() -> None:
    """A mode and a dialect that contradict each other, and an unknown word, are refused at once."""
    with pytest.raises(ValueError, match="cloud-v1"):
        FakeComfy(mode="cloud", dialect="api-v2")
    with pytest.raises(ValueError, match="no such dialect"):
        FakeComfy(dialect="v3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="api_v2"):
        FakeComfy(dialect="cloud-v1", api_v2=True)
    with pytest.raises(RuntimeError, match="does not serve API v2"):
        FakeComfy().faults.swallow_jobs()


async def test_chaos_of_v2() -> None:
    """A server without ComfyUI's routes has faults of its own; each of them can be done, and is healed."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        wanted = {*get_args(V2Kind), "restart", "lose_queue", "delay", "miss_cancel", "slow_history"}
        async with fake.faults.chaos(3, rate=2000) as chaos:
            while wanted - {kind for _, kind, _ in chaos.log}:
                # A look that may fail, so that the chaos has its turn.
                with contextlib.suppress(httpx.TransportError):
                    await http.get(f"{JOBS}/x", timeout=1.0)
        assert {kind for _, kind, _ in chaos.log} == wanted
        job = await submit(http)
        await fake.ended(job["id"])
        assert (await look(http, job))["status"] == "succeeded"
