"""The cards as HTML: everything escaped, keys hidden, media embedded or named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from session_tools import picture, steps

from comfy_async import (
    Auth,
    ComfySession,
    JobFailedError,
    NodeCatalog,
    PartialPromptError,
    Problem,
    PromptRejectedError,
    Workflow,
)
from comfy_async._base.secrets import Veil, is_secret_name
from comfy_async._client.session import engine_of
from comfy_async._display.cards import job_card, problems_card, result_card, session_card, workflow_card
from comfy_async._display.html import bar, prose, text
from comfy_async._display.media import embedded, linked, shelf
from comfy_async._display.notebook_batch import _Grid
from comfy_async._display.screen import Screen
from comfy_async._job.result import OutputFile
from comfy_async.testing import FakeComfy
from comfy_async.workflow.check.needs import MissingClass, MissingModel, Needs


class Bytes:
    """A reader that has the bytes of every file."""

    def __init__(self, content: bytes) -> None:
        """Give these for any name."""
        self.content = content

    def url(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> str:
        """Return an address that shows what was asked for."""
        return f"http://server/view?filename={filename}&type={type}"

    async def read(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> bytes:
        """Return the bytes."""
        return self.content

    async def open(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> Any:
        """Yield the bytes."""
        yield self.content

    async def save(
        self,
        filename: str,
        path: Path,
        *,
        subfolder: str = "",
        type: str = "output",
        asset: str | None = None,
    ) -> Path:
        """Never called here."""
        raise AssertionError


def output(name: str, content: bytes = b"") -> OutputFile:
    """Return a file of a node."""
    return OutputFile({"filename": name}, node="9", title="Save <it>", key="files", reader=Bytes(content))


def encoded(kind: str, size: tuple[int, int] = (64, 32)) -> bytes:
    """Return a picture in a format."""
    made = io.BytesIO()
    Image.effect_noise(size, 90).save(made, kind)
    return made.getvalue()


def test_everything_is_escaped() -> None:
    """Titles and values are text, never markup."""
    flow = Workflow.load(
        {"1": {"class_type": "Note", "inputs": {"text": "<script>1</script>"}, "_meta": {"title": "<b>"}}}
    )
    for html in (workflow_card(flow), problems_card([Problem(node="1", title="<b>", message="<script>")])):
        assert "<script>" not in html
        assert "<b><b>" not in html
        assert "&lt;b&gt;" in html


def test_keys_among_the_inputs_are_hidden() -> None:
    """A value whose input's name says that it is a key is not shown; others and links are."""
    flow = Workflow.load(
        {
            "1": {"class_type": "Ask", "inputs": {"api_key": "s3cret", "text": "shown"}},
            "2": {"class_type": "Show", "inputs": {"value": ["1", 0], "seed": 5}},
        }
    )
    html = workflow_card(flow)
    assert "s3cret" not in html
    assert "shown" in html
    assert "← Ask" in html


@pytest.mark.parametrize(
    "name", ["api_key", "apikey", "Authorization", "access_token", "X-API-Key", "password"]
)
def test_names_of_secrets(name: str) -> None:
    """Names that people give to keys."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["seed", "text", "keyframes", "tokenizer", "author", "monkey"])
def test_names_of_other_things(name: str) -> None:
    """Names that only look alike."""
    assert not is_secret_name(name)


async def test_a_veil_hides_every_key_of_a_session() -> None:
    """Partner key, header, bearer token, password and query token; short words stay."""
    auth = Auth.basic("anna", "passw0rd") + Auth.query("query-token")
    async with ComfySession(
        connect="lazy", partner_api_key="partner-key", headers={"X-Token": "header-key"}, auth=auth
    ) as comfy:
        said = engine_of(comfy).veil("passw0rd query-token partner-key header-key anna")
    assert said == "••• ••• ••• ••• anna"
    async with ComfySession(connect="lazy", auth="bearer-token") as comfy:
        assert engine_of(comfy).veil("Bearer bearer-token") == "Bearer •••"
    assert Veil(["abc"])("abcdef") == "abcdef"


async def test_a_small_picture_is_embedded_as_it_is() -> None:
    """The bytes are not touched, and the node's title stands below."""
    html = await embedded(output("a.png", encoded("PNG")))
    assert "data:image/png;base64," in html
    assert "a.png · Save &lt;it&gt;" in html


async def test_a_large_picture_is_made_smaller() -> None:
    """From a size on the notebook gets a smaller one; the file on the server stays."""
    html = await embedded(output("a.png", encoded("PNG", (900, 900))), edge=100, image_bytes=10_000)
    assert "data:image/webp;base64," in html
    assert len(html) < 20_000


async def test_a_picture_that_browsers_do_not_know() -> None:
    """It is made into one that they do, and named when even Pillow cannot read it."""
    assert "data:image/webp" in await embedded(output("a.tiff", encoded("TIFF")))
    assert "browsers cannot show it" in await embedded(output("a.exr", b"no exr"))


async def test_films_and_sounds_have_controls() -> None:
    """They play in the notebook; other files are links."""
    html = await shelf([output("a.mp4", b"film"), output("a.flac", b"sound"), output("a.glb", b"model")])
    assert "<video controls" in html
    assert "data:video/mp4;base64," in html
    assert "<audio controls" in html
    assert '<a href="http://server/view?filename=a.glb&amp;type=output">' in html


async def test_many_files_are_counted() -> None:
    """Some dozens are shown, the rest is counted."""
    html = await shelf([output(f"{number}.png", encoded("PNG")) for number in range(30)])
    assert html.count("<img") == 24
    assert "and 6 more" in html


def test_links_download_nothing() -> None:
    """Without `show()` a film, a sound and a picture stand there by their addresses."""
    assert '<img src="http://server/view?filename=a.png&amp;type=output"' in linked(output("a.png"))
    assert '<video controls loop muted src="http://server' in linked(output("a.mp4"))
    assert '<audio controls src="http://server' in linked(output("a.wav"))


async def test_a_file_that_is_gone(comfy: ComfySession, fake: FakeComfy) -> None:
    """The tile says so; the rest of the gallery is shown."""
    result = await comfy.run(picture())
    fake.faults.fail("GET", "/view", 404)
    html = await shelf(result.files)
    assert "ca-bad" in html
    assert "404" in html or "no such" in html.lower()


async def test_a_failed_job(comfy: ComfySession, fake: FakeComfy) -> None:
    """Node by title, message, the traceback folded, and no advice to look where it stands already."""
    graph = steps(fake, 1, error=("ValueError", "too <hot>"))
    job = await comfy.submit(graph)
    with pytest.raises(JobFailedError):
        await job
    html = job_card(job)
    assert "<b>Many steps (node 1)</b>" in html
    assert "ValueError: too &lt;hot&gt;" in html
    assert "<details>" in html
    assert "error.traceback" not in html


async def test_a_finished_job(comfy: ComfySession) -> None:
    """It has its pictures once they were shown, and says what shows them before."""
    job = await comfy.submit(picture())
    result = await job
    assert "<code>await job.show()</code> shows what it made" in job_card(job)
    result.shown = await shelf(result.files)
    assert "data:image/png" in job._repr_html_()
    assert "1 file on the server" in job._repr_html_()
    assert "job.show()" not in job._repr_html_()


def test_a_long_table_ends_with_a_whole_row() -> None:
    """No window cuts a row in half: what is too long is folded, and said to be."""
    node = {"class_type": "Many", "inputs": dict.fromkeys("abcdef", 1)}
    small = workflow_card(Workflow.load({str(key): node for key in range(8)}))
    large = workflow_card(Workflow.load({str(key): node for key in range(30)}))
    assert "<details>" not in small
    assert "<summary>22 more</summary>" in large
    assert large.count("<tr>") == 31
    assert "max-height" not in large.partition(".ca-wrap{")[2].partition("}")[0]


async def test_a_job_that_runs_in_part(comfy: ComfySession) -> None:
    """What will not run is noted on the card."""
    graph = picture()
    graph["3"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "no"}}
    job = await comfy.submit(graph, on_partial="keep")
    await job
    assert "ca-note" in job_card(job)
    with pytest.raises(PartialPromptError) as caught:
        await comfy.submit(graph)
    assert "PartialPromptError" in caught.value._repr_html_()


async def test_a_result_before_and_after_it_was_shown(comfy: ComfySession) -> None:
    """Its repr has addresses first, and the pictures themselves once `show()` has fetched them."""
    result = await comfy.run(picture())
    assert f'<img src="{comfy.base_url}' in result_card(result)
    result.shown = await shelf(result.files)
    assert "data:image/png" in result._repr_html_()


async def test_a_session(fake: FakeComfy) -> None:
    """Address, version, device, open jobs; no credentials."""
    async with fake.session(api_key="s3cret-key", partner_api_key="s3cret-too") as comfy:
        fake.hold()
        job = await comfy.submit(picture())
        html = comfy._repr_html_()
        assert fake.url in html
        assert "ComfyUI 0.33.0" in html
        assert "1 open" in html
        assert "s3cret" not in html
        await job.cancel()
    assert "closed" in session_card(comfy)


async def test_a_refused_workflow_lists_its_findings(comfy: ComfySession) -> None:
    """The card of the error has each finding; the tile of a batch says the first one."""
    wrong = picture()
    wrong["1"]["inputs"]["width"] = -1
    with pytest.raises(PromptRejectedError) as caught:
        await comfy.run(wrong)
    html = caught.value._repr_html_()
    assert "<li>" in html
    assert "width" in html
    async with comfy.map([wrong]) as batch:
        grid = _Grid(batch, Screen())
        grid._screen.draw = lambda html, words: None  # type: ignore[method-assign]
        async for job in batch:
            grid.take(job)
        await grid.filled()
    assert "width" in grid._tiles[0]


def test_lists_are_tables_and_still_lists() -> None:
    """Problems and classes are shown as tables, and compare as lists."""
    catalog = NodeCatalog({"Half": {"input": {"required": {"value": ["INT", {}]}}, "output": ["INT"]}})
    found = catalog.search("half")
    assert [node.name for node in found] == ["Half"]
    assert "<td>value</td>" in found._repr_html_()  # type: ignore[attr-defined]
    assert "1 class" in catalog._repr_html_()
    problems = Workflow.load({"1": {"class_type": "Whole", "inputs": {}}}).check(catalog)
    assert problems == list(problems)
    assert "Whole" in problems._repr_html_()
    assert "Nothing is wrong" in problems_card([])
    assert "Whole" in problems[0]._repr_html_()


def test_an_editor_file() -> None:
    """Before it is converted only its size is known."""
    editor = {"nodes": [{"id": 1, "type": "Note", "widgets_values": ["x"]}], "links": [], "version": 0.4}
    assert "1 node in the editor" in Workflow.load(editor)._repr_html_()


def test_bars_and_long_texts() -> None:
    """A bar stays between its ends, and a text has one."""
    assert 'aria-valuenow="100"' in bar(1.7)
    assert "width:0.0%" in bar(-1)
    assert text("x" * 50, limit=10) == "x" * 9 + "…"
    assert prose("call `free()` <now>") == "call <code>free()</code> &lt;now&gt;"


async def test_an_unknown_word_for_interrupts(comfy: ComfySession) -> None:
    """A misspelled option is told at once."""
    job = await comfy.submit(picture())
    with pytest.raises(ValueError, match='"cancel" or "leave"'):
        await job.show(on_interrupt="keep")  # type: ignore[arg-type]
    await job


def test_what_a_workflow_needs() -> None:
    """A row for each class and model that the server lacks, with the command that installs it."""
    classes = {"SaveImage": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": True}}
    graph = {
        "1": {"class_type": "<Maker>", "inputs": {}, "_meta": {"title": "x"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    }
    lacking = Workflow.load(graph).needs(NodeCatalog(classes))._repr_html_()
    known = Needs((MissingClass("Maker", ("1", "7"), registry_id="maker-pack", version="1.2.0"),))
    model = MissingModel(
        "a.safetensors", "vae", url="https://host/a.safetensors", places=(("10", "vae_name"),)
    )

    assert "<b>&lt;Maker&gt;</b>" in lacking
    assert "an unknown pack" in lacking
    assert "not known" in lacking
    assert "<code>comfy node install maker-pack@1.2.0</code>" in known._repr_html_()
    assert "nodes 1, 7" in known._repr_html_()
    assert "comfy model download --url https://host/a.safetensors" in Needs(models=(model,))._repr_html_()
    assert "10.vae_name" in Needs(models=(model,))._repr_html_()
    assert "The server has all that it needs." in Needs()._repr_html_()
