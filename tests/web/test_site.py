"""The addresses of a site: apps, jobs, events, files, and what is answered when something is wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import Any

import pytest
from session_tools import teach
from web_tools import PAINT, STEPS, events_in, no_longer_patient, offered, png, served, some_apps, until

from comfy_async import ComfySession, Settings
from comfy_async._client.words import plain_title
from comfy_async.testing import FakeComfy
from comfy_async.web import Limits, routes


async def test_a_job_from_post_to_picture(fake: FakeComfy) -> None:
    """202 with links; the events end with the outputs; the file comes with its type and a safe name."""
    async with offered(fake) as web:
        answer = await web.http.post("/apps/paint", json={"color": 255})
        assert answer.status_code == 202
        job = answer.json()
        assert answer.headers["location"] == job["links"]["self"] == f"/jobs/{job['id']}"
        end = await web.ended(job)
        assert (end["status"], end["app"]) == ("completed", "paint")
        (output,) = end["outputs"]
        assert (output["name"], output["kind"], output["type"]) == ("picture", "image", "image/png")
        file = await web.http.get(output["href"])
        assert file.content.startswith(b"\x89PNG")
        assert file.headers["content-type"] == "image/png"
        assert file.headers["content-disposition"].startswith('inline; filename="paint_00001_.png"')
        assert file.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in file.headers["content-security-policy"]
        assert await web.state(job) == end


async def test_the_state_comes_first_then_every_milestone_once(server: FakeComfy) -> None:
    """A reader from the beginning gets what ran, numbered without a gap, and the end last."""
    async with offered(server) as web:
        told = await web.told(await web.post("steps", seed=7), since="0")
        assert told[0][0] == "state"
        assert told[-1][0] == "end"
        numbered = [(name, id) for name, id, _ in told if id]
        assert [int(id.partition("-")[2]) for _, id in numbered] == list(range(1, len(numbered) + 1))
        names = [name for name, _ in numbered]
        assert names[:3] == ["queued", "started", "cached"]
        assert names.count("node_started") == names.count("node_finished") == 2
        assert told[-1][2]["texts"] == ["shown"]


async def test_a_reader_that_comes_back_gets_what_it_missed(server: FakeComfy) -> None:
    """By the number of the last one that it saw; state first."""
    async with offered(server) as web:
        gate = server.gate("Steps", step=3)
        job = await web.post("steps", seed=7)
        await gate.reached()
        async with web.reading(job) as lines:
            last = (await until(lines, "id: ")).removeprefix("id: ")
        gate.open()
        await server.ended(job["id"])
        headers = {"Last-Event-ID": last}
        answer = await web.http.get(job["links"]["events"], headers=headers)
        told = events_in(answer.text)
        assert [name for name, _, _ in told] == [
            "state",
            "node_finished",
            "node_started",
            "node_finished",
            "end",
        ]
        epoch, _, number = last.partition("-")
        assert told[1][1] == f"{epoch}-{int(number) + 1}"
        # Of another life of the log nothing is known: the state says it all.
        answer = await web.http.get(job["links"]["events"], headers={"Last-Event-ID": "00000000-2"})
        assert [name for name, _, _ in events_in(answer.text)] == ["state", "end"]


async def test_steps_previews_and_places_are_told(server: FakeComfy) -> None:
    """Progress with node and step, the picture so far, and how many jobs come first."""
    async with offered(server, session={"previews": "latent2rgb"}) as web:
        server.hold()
        first, second = [await web.post("steps", seed=seed) for seed in (1, 2)]
        async with web.reading(second) as lines:
            await until(lines, '"position": 1')
            with server.gate("Steps", step=5, prompt_id=second["id"]) as gate:
                server.release()
                await gate.reached()
                await until(lines, "event: progress")
                assert '"title": "Many steps"' in await until(lines, "Many steps 4/10")
            await until(lines, "event: end")
        assert (await web.ended(first))["status"] == "completed"


async def test_a_failure_says_where_and_what(server: FakeComfy) -> None:
    """The node, the words of the exception, advice; no traceback and no address."""
    async with offered(server) as web:
        end = await web.ended(await web.post("break"))
        assert end["status"] == "failed"
        assert end["error"]["title"] == "Draw <b>text</b>"
        assert end["error"]["message"] == "RuntimeError: broken"
        assert end["error"]["hint"]
        assert server.url not in str(end)
        assert "Traceback" not in str(end)


async def test_delete_cancels_and_says_how_it_ended(server: FakeComfy) -> None:
    """A running job is stopped, one that had ended stays as it was."""
    async with offered(server) as web:
        gate = server.gate("Steps", step=3)
        job = await web.post("steps", seed=7)
        await gate.reached()
        asking = asyncio.create_task(web.http.delete(job["links"]["self"]))
        await server.wait_for(lambda books: any(path.endswith("cancel") for _, path in books.requests))
        gate.open()
        assert (await asking).json()["status"] == "cancelled"
        done = await web.ended(await web.post("paint"))
        assert (await web.http.delete(done["links"]["self"])).json()["status"] == "completed"


async def test_what_cannot_be_a_value_is_told_per_input(fake: FakeComfy) -> None:
    """422 with a problem for each: the app's own, an unknown name with the nearest, lists that were links."""
    async with offered(fake) as web:
        error = (await web.post("paint", status=422, color=99999999))["error"]
        assert [one["input"] for one in error["problems"]] == ["color"]
        assert "too large" in error["problems"][0]["message"]
        error = (await web.post("paint", status=422, colour=1, prefix=["1", 0]))["error"]
        assert [(one["input"], one["nearest"]) for one in error["problems"]] == [
            ("colour", ["color"]),
            ("prefix", []),
        ]
        assert fake.books.count("POST", "/prompt") == 0


async def test_all_that_is_wrong_is_told_at_once(fake: FakeComfy) -> None:
    """Unknown names, the site's own refusals and those of the app, in one answer, as in Python."""
    async with offered(fake) as web, fake.session() as comfy:
        values: dict[str, Any] = {"prefix": 7, "colour": 1, "color": -3}
        error = (await web.post("paint", status=422, **values))["error"]
        problems = [(one["input"], one["type"]) for one in error["problems"]]
        assert problems == [
            ("colour", "unknown_input"),
            ("color", "value_smaller_than_min"),
            ("prefix", "invalid_input_type"),
        ]
        assert error["message"] == "3 values are wrong or missing; nothing was sent"
        app = (await some_apps(comfy))["paint"]
        assert [(one.input, one.type) for one in app.check(**values)] == problems
        error = (await web.post("invert", status=422, photo="x.png", foto="x"))["error"]
        assert [(one["input"], one["type"]) for one in error["problems"]] == [
            ("foto", "unknown_input"),
            ("photo", "wrong_type"),
        ]


async def test_advice_is_for_who_asks_by_http(fake: FakeComfy) -> None:
    """No Python in it: neither in a refusal of the site, nor in one of the ComfyUI."""
    async with offered(fake) as web:
        error = (await web.post("paint", status=422, color="x"))["error"]
        assert error["hint"] == "GET /apps/paint lists what it takes."
        del fake.core.classes.specs["SaveImage"]
        text = json.dumps(await web.post("paint", status=422))
        assert "Install the node pack" in text
        for word in ("await", "comfy.check", "app.inputs", "with_inputs"):
            assert word not in text


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.latent", "C:\\x", "x [output]/../../y"])
async def test_no_text_is_a_path_for_the_server(fake: FakeComfy, name: str) -> None:
    """Neither in an input that takes a file's name by a list which is empty."""
    fake.script("LoadLatent", inputs={"latent": []}, is_output=True)
    flow = {"1": {"class_type": "LoadLatent", "inputs": {"latent": "x.latent"}}}
    async with fake.session() as comfy:
        app = await comfy.app(flow, inputs={"file": "1.latent"})
        async with served(routes({"latent": app}, comfy)) as web:
            (problem,) = (await web.post("latent", status=422, file=name))["error"]["problems"]
            assert problem["type"] == "path_not_allowed"


async def test_titles_that_name_inputs_are_for_the_app(server: FakeComfy) -> None:
    """People read the name: without its mark, and without the input behind it."""
    flow = json.loads(json.dumps(STEPS))
    flow["1"]["_meta"] = {"title": "$my_variation.seed"}
    async with server.session() as comfy:
        app = await comfy.app(flow)
        assert list(app.inputs) == ["my_variation"]
        async with served(routes({"steps": app}, comfy)) as web:
            told = await web.told(await web.post("steps"), since="0")
    assert "my variation" in {data.get("title") for _, _, data in told}
    assert "$" not in json.dumps(told)


@pytest.mark.parametrize(
    ("title", "plain"),
    [("$photo", "photo"), (" $seed.noise_seed", "seed"), ("Costs $5", "Costs $5"), ("$", "$"), ("", "")],
)
def test_the_name_in_a_title(title: str, plain: str) -> None:
    """Other titles stay as they are."""
    assert plain_title(title) == plain


async def test_a_body_has_so_many_inputs(fake: FakeComfy) -> None:
    """A million unknown names are not looked up one by one."""
    async with offered(fake, limits=Limits(fields=5)) as web:
        answer = await web.http.post("/apps/paint", json={f"x{n}": 1 for n in range(6)})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "too_many_fields")


async def test_a_form_sends_numbers_as_text_and_files_as_files(fake: FakeComfy) -> None:
    """Multipart: numbers are read, files go up under names of ours, what was left empty is not sent."""
    async with offered(fake) as web:
        answer = await web.http.post("/apps/paint", files={"color": (None, "255"), "prefix": (None, "form")})
        end = await web.ended(answer.json())
        assert end["outputs"][0]["filename"] == "form_00001_.png"
        files = {"photo": ("../../../etc/passwd", png(), "text/html")}
        answer = await web.http.post("/apps/invert", files=files)
        assert answer.status_code == 202, answer.text
        assert (await web.ended(answer.json()))["status"] == "completed"
        (upload,) = fake.books.uploads
        assert "passwd" not in upload.name
        assert upload.name.endswith(".png")


async def test_json_takes_a_file_as_a_data_uri_only(fake: FakeComfy) -> None:
    """A text never names a file: neither one of this machine, nor somebody else's on the ComfyUI."""
    async with offered(fake) as web:
        uri = "data:image/png;base64," + base64.b64encode(png()).decode()
        assert (await web.ended(await web.post("invert", photo=uri)))["status"] == "completed"
        for text in ("/etc/passwd", "other.png", "https://example.com/a.png", "data:image/png,plain", 7):
            error = (await web.post("invert", status=422, photo=text))["error"]
            assert error["problems"][0]["input"] == "photo"
        error = (await web.post("invert", status=415, photo="data:image/png;base64,PGh0bWw+"))["error"]
        assert error["problems"][0]["type"] == "wrong_file"


async def test_unknown_addresses_and_ids(fake: FakeComfy) -> None:
    """404 in JSON, and for what can be no id without asking the ComfyUI; 405 names the method."""
    async with offered(fake) as web:
        for path in (
            "/apps/none",
            "/apps/none/",
            "/jobs/none",
            "/static/site.py",
            "/static/..%2fsite.py",
            "/x",
        ):
            answer = await web.http.get(path)
            assert answer.status_code == 404, path
            assert answer.json()["error"]["message"]
        asked = fake.books.count("GET", "/history/{prompt_id}")
        assert (await web.http.get("/jobs/" + "x" * 36)).status_code == 404
        assert fake.books.count("GET", "/history/{prompt_id}") == asked
        assert (await web.http.get(f"/jobs/{uuid.uuid4()}")).status_code == 404
        assert (await web.http.put("/apps/paint")).status_code == 405
        job = await web.post("paint")
        await web.ended(job)
        assert (await web.http.get(job["links"]["self"] + "/outputs/1")).status_code == 404


async def test_an_output_that_is_not_there_yet(server: FakeComfy) -> None:
    """409 while the job is open."""
    async with offered(server) as web:
        server.hold()
        job = await web.post("steps")
        answer = await web.http.get(job["links"]["self"] + "/outputs/0")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_yet")


async def test_other_peoples_jobs_are_no_jobs_of_the_site(fake: FakeComfy) -> None:
    """What somebody else runs on the same ComfyUI is 404, whoever knows its id."""
    async with offered(fake) as web, fake.session() as other:
        theirs = await other.submit(PAINT)
        await theirs
        assert (await web.http.get(f"/jobs/{theirs.prompt_id}")).status_code == 404


async def test_the_comfyui_is_away(fake: FakeComfy, free_port: int) -> None:
    """503 with Retry-After, without its address; the page and the list still come."""
    async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:
        teach(fake)
        async with fake.session() as there:
            apps = await some_apps(there)
        async with served(routes(apps, comfy)) as web:
            answer = await web.http.post("/apps/paint", json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "comfyui_away")
            assert int(answer.headers["retry-after"]) > 0
            assert str(free_port) not in answer.text
            assert (await web.http.get("/")).status_code == 200
            assert (await web.http.get(f"/jobs/{uuid.uuid4()}")).status_code == 503


async def test_files_that_could_hold_scripts_are_never_shown_in_place(fake: FakeComfy) -> None:
    """HTML and SVG of a strange workflow come as attachments without a type that a browser would run."""
    fake.script(
        "SaveAnything",
        is_output=True,
        output={
            "files": [{"filename": f"x.{end}", "subfolder": "", "type": "output"} for end in ("html", "svg")]
        },
    )
    folder = fake.folders.of_type("output")
    assert folder is not None
    for end in ("html", "svg"):
        (folder / f"x.{end}").write_text("<script>alert(1)</script>")
    async with fake.session() as comfy:
        app = await comfy.app({"1": {"class_type": "SaveAnything", "inputs": {}}})
        async with served(routes(app, comfy)) as web:
            end = await web.ended(await web.post("app"))
            assert len(end["outputs"]) == 2
            for output in end["outputs"]:
                file = await web.http.get(output["href"])
                assert file.headers["content-type"] == "application/octet-stream"
                assert file.headers["content-disposition"].startswith("attachment")
                assert output["kind"] == "file"


async def test_the_openapi_document(fake: FakeComfy) -> None:
    """A path and a schema per app; files as data URIs in JSON and as files in forms."""
    async with offered(fake) as web:
        document = (await web.http.get("/openapi.json")).json()
        assert document["openapi"] == "3.1.0"
        assert {"/apps/paint", "/apps/invert", "/jobs/{id}/events"} <= document["paths"].keys()
        content = document["paths"]["/apps/invert"]["post"]["requestBody"]["content"]
        assert content["multipart/form-data"]["schema"]["properties"]["photo"]["format"] == "binary"
        assert document["components"]["schemas"]["invert"]["properties"]["photo"]["format"] == "data-uri"
        assert "secret" not in str(document)


async def test_nobody_may_fill_the_memory_by_reading(server: FakeComfy) -> None:
    """429 beyond the readers of one job."""
    async with offered(server, limits=Limits(readers_per_job=1)) as web:
        server.hold()
        job = await web.post("steps")
        async with web.reading(job) as lines:
            await until(lines, "event: state")
            answer = await web.http.get(job["links"]["events"])
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_readers")


@pytest.mark.parametrize("how", ["query", "option"])
async def test_leaving_cancels_only_who_asked_for_it(server: FakeComfy, how: str) -> None:
    """Neither a reader who said nothing, nor one who comes back in time; else the job ends."""
    teach(server)
    limits = Limits()
    async with offered(server, limits=limits, cancel_on_leave=how == "option") as web:
        server.hold()
        stays = await web.post("steps", seed=1, query="?cancel_on_leave=0")
        goes = await web.post("steps", seed=2)
        leave = "?cancel_on_leave=1" if how == "query" else ""
        async with web.reading(goes, leave) as lines:
            await until(lines, "event: state")
        async with web.reading(goes, leave) as lines, web.reading(stays, "?cancel_on_leave=0") as other:
            await until(lines, "event: state")
            await until(other, "event: state")
            assert (await web.state(goes))["status"] == "pending"
            no_longer_patient(limits)
        while (await web.state(goes))["status"] == "pending":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await web.state(goes))["status"] == "cancelled"
        assert (await web.state(stays))["status"] == "pending"


async def test_a_look_at_the_head_of_the_events_ends(server: FakeComfy) -> None:
    """HEAD is no reader: it is answered at once, and binds nothing."""
    async with offered(server) as web:
        server.hold()
        job = await web.post("steps")
        answer = await web.http.head(job["links"]["events"] + "?cancel_on_leave=1")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (await web.state(job))["status"] == "pending"


async def test_a_job_that_may_have_arrived_is_not_sent_again_blindly(fake: FakeComfy) -> None:
    """503 without Retry-After; the hint has the id under which it is found should it be there."""
    async with offered(fake, session={"settings": Settings(submit_seconds=0.5), "transport": "poll"}) as web:
        rule = fake.faults.fail("*", "*", "reset", after_effect=True)
        error = (await web.post("paint", status=503))["error"]
        rule.cancel()
        assert (error["code"], error["retryable"]) == ("submit_unknown", False)
        id = error["hint"].partition("job ")[2].partition(":")[0]
        while (await web.http.get(f"/jobs/{id}")).json()["status"] != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_bound_job_that_nobody_ever_reads_ends_too(server: FakeComfy) -> None:
    """Whoever asked for it with the POST and never came."""
    async with offered(server, limits=Limits(leave_seconds=0.05)) as web:
        server.hold()
        job = await web.post("steps", query="?cancel_on_leave=1")
        while (await web.state(job))["status"] == "pending":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await web.state(job))["status"] == "cancelled"
