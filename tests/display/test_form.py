"""A form that is filled in and run, by the handlers of its buttons; no kernel is needed for that."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from session_tools import eventually, library_tasks, steps, turns

from comfy_async import (
    App,
    ComfySession,
    JobCancelledError,
    JobFailedError,
    NodeCatalog,
    Problem,
    PromptRejectedError,
    SessionClosedError,
    UnknownInputError,
    WorkflowError,
)
from comfy_async._client.form import Form, run_of
from comfy_async.testing import FakeComfy

SD15 = Path(__file__).parents[2] / "examples/workflows/sd15_text2image_api.json"


@pytest.fixture(autouse=True)
def notebook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Look like a notebook."""
    monkeypatch.setattr("comfy_async._display.form.in_notebook", lambda: True)


@pytest.fixture
async def comfy(fake: FakeComfy) -> AsyncIterator[ComfySession]:
    """A session."""
    async with fake.session() as session:
        yield session


@pytest.fixture
async def form(comfy: ComfySession) -> AsyncIterator[Form]:
    """The form of the example, with some names."""
    names = {"prompt": "6.text", "seed": "3.seed", "steps": "3.steps", "width": "5.width"}
    app = await comfy.app(SD15, inputs=names, outputs={"picture": "9"})
    made = await app.form()
    yield made
    await made.aclose()


def sheet(form: Form) -> Any:
    """Return the widgets."""
    return run_of(form).view


def control(form: Form, name: str) -> Any:
    """Return the widget that holds a value."""
    return next(field.controls[0] for field in sheet(form).fields if field.item.name == name)


def note(form: Form, name: str) -> str:
    """Return what stands below a field."""
    return str(next(field.box.children[1].value for field in sheet(form).fields if field.item.name == name))


async def pressed(form: Form, button: str = "run") -> None:
    """Press a button, and wait until it was heard."""
    getattr(sheet(form), button).click()
    await turns(3)


async def running(form: Form, gate: Any) -> None:
    """Press Run, and wait until the job stands at the gate and the form has heard of it."""
    await pressed(form)
    await gate.reached()
    await eventually(lambda: form.job)


async def stepping(fake: FakeComfy, comfy: ComfySession, **options: Any) -> Form:
    """Return the form of a workflow of one node that takes steps."""
    app = await comfy.app(steps(fake, 3, **options), inputs={})
    return await app.form()


async def test_what_is_filled_in_runs_and_is_shown(fake: FakeComfy, form: Form) -> None:
    """Only what was changed is given; the job is shown with its picture, the result comes by name."""
    assert (form.values, form.job) == ({}, None)
    control(form, "prompt").value = "a <b>fox</b>"
    control(form, "steps").value = 2
    assert form.values == {"prompt": "a <b>fox</b>", "steps": 2}
    await pressed(form)
    result = await form.result()
    assert form.job is not None
    assert form.job.workflow is not None
    assert form.job.workflow.get("6", "text") == "a <b>fox</b>"
    assert form.job.workflow.get("3", "steps") == 2
    assert form.job.workflow.get("5", "width") == 512
    assert (await result["picture"].read()).startswith(b"\x89PNG")
    assert "data:image/png;base64," in sheet(form).shown.value
    assert ">completed<" in sheet(form).shown.value
    assert sheet(form).said.value == ""
    assert "completed" in repr(form)
    assert "fox" not in repr(form)


async def test_one_run_at_a_time(fake: FakeComfy, comfy: ComfySession) -> None:
    """While one runs, Run is disabled and a second press does nothing; then there may be another."""
    form = await stepping(fake, comfy)
    gate = fake.gate("Steps", step=1)
    await pressed(form)
    await running(form, gate)
    assert (sheet(form).run.disabled, sheet(form).cancel.disabled) == (True, False)
    await eventually(lambda: ">running<" in sheet(form).shown.value)
    gate.open()
    first = await form.result()
    assert (sheet(form).run.disabled, sheet(form).cancel.disabled) == (False, True)
    await pressed(form)
    second = await form.result()
    assert [record.prompt_id for record in fake.books.accepted] == [first.prompt_id, second.prompt_id]
    await form.aclose()


async def test_a_button_may_be_heard_in_another_thread(form: Form) -> None:
    """As kernels with subshells do; the run is on the session's loop all the same."""
    await asyncio.to_thread(sheet(form).run.click)
    await turns(3)
    assert (await form.result())["picture"]


async def test_what_is_wrong_stands_below_its_field(fake: FakeComfy, form: Form) -> None:
    """Each problem at its input, nothing is sent; with the next run they are gone."""
    control(form, "seed").value = "<many>"
    await pressed(form)
    with pytest.raises(UnknownInputError) as caught:
        await form.result()
    assert caught.value.problems[0].input == "seed"
    assert "&lt;many&gt;&#x27; (str) is not a whole number" in note(form, "seed")
    assert "seed:" not in note(form, "seed")
    assert note(form, "steps") == ""
    assert "UnknownInputError" in sheet(form).said.value
    assert "nothing was sent" in sheet(form).said.value
    assert "<many>" not in sheet(form).said.value
    assert not fake.books.accepted
    assert not sheet(form).run.disabled
    control(form, "seed").value = "8"
    await pressed(form)
    await form.result()
    assert (note(form, "seed"), sheet(form).said.value) == ("", "")


async def test_a_refusal_of_the_server_stands_there_too(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the node and input that it names; what belongs to no field is in the box."""
    theirs = Problem(node="5", input="width", type="invalid", message="not <today>")
    other = Problem(node="99", input="width", type="invalid", message="another node")

    async def refused(self: App, **values: Any) -> None:
        raise PromptRejectedError("refused", problems=[theirs, other, theirs])

    monkeypatch.setattr(App, "submit", refused)
    await pressed(form)
    with pytest.raises(PromptRejectedError):
        await form.result()
    assert note(form, "width").count("not &lt;today&gt;") == 2
    assert "another node" in sheet(form).said.value
    assert "today" not in sheet(form).said.value


async def test_a_failure_is_shown_once(fake: FakeComfy, comfy: ComfySession) -> None:
    """The job's card has it; whoever asks for the result gets it raised."""
    form = await stepping(fake, comfy, error=("ValueError", "no <i>font</i>"))
    await pressed(form)
    with pytest.raises(JobFailedError):
        await form.result()
    assert "no &lt;i&gt;font&lt;/i&gt;" in sheet(form).shown.value
    assert sheet(form).said.value == ""
    await form.aclose()


async def test_cancel_stops_the_job(fake: FakeComfy, comfy: ComfySession) -> None:
    """On the server; the card says so."""
    form = await stepping(fake, comfy)
    gate = fake.gate("Steps", step=1)
    await running(form, gate)
    await pressed(form, "cancel")
    await pressed(form, "cancel")
    await fake.wait_for(lambda books: books.accepted[0].interrupts)
    gate.open()
    with pytest.raises(JobCancelledError):
        await form.result()
    assert form.job is not None
    assert fake.books.ends(form.job.prompt_id) == ["interrupted"]
    assert ">cancelled<" in sheet(form).shown.value
    assert not sheet(form).run.disabled
    await form.aclose()


async def test_cancel_before_there_is_a_job(fake: FakeComfy, form: Form) -> None:
    """The submission is cut off and taken back; the form says so, and can run again."""
    await pressed(form)
    sheet(form).cancel.click()
    with pytest.raises(JobCancelledError):
        await asyncio.wait_for(_result_soon(form), 10)
    assert "Cancelled while it was submitted" in sheet(form).said.value
    assert form.job is None
    await pressed(form)
    assert await form.result()


async def _result_soon(form: Form) -> object:
    """Wait for the result once the button was heard."""
    await turns(3)
    return await form.result()


async def test_a_cancel_that_fails_is_told(fake: FakeComfy, comfy: ComfySession) -> None:
    """The job goes on, and the reason stands on the form."""
    form = await stepping(fake, comfy)
    gate = fake.gate("Steps", step=1)
    await running(form, gate)
    run = run_of(form)

    class Stuck:
        """A job that the server does not stop."""

        async def cancel(self) -> str:
            raise SessionClosedError("no <more>")

    await run._cancel(Stuck(), sheet(form))  # type: ignore[arg-type]
    assert "no &lt;more&gt;" in sheet(form).said.value
    gate.open()
    assert await form.result()
    await form.aclose()


async def test_closing_cancels_what_runs(fake: FakeComfy, comfy: ComfySession) -> None:
    """The job is cancelled on the server, the widgets are gone, no task is left; twice is fine."""
    before = set(library_tasks())
    form = await stepping(fake, comfy)
    gate = fake.gate("Steps", step=1)
    await running(form, gate)
    closing = asyncio.create_task(form.aclose())
    await fake.wait_for(lambda books: books.accepted[0].interrupts)
    gate.open()
    await closing
    await form.aclose()
    assert form.job is not None
    assert form.job.status == "cancelled"
    assert sheet(form).box.comm is None
    assert not [name for name in set(library_tasks()) - before if "form" in name]
    await pressed(form)
    assert len(fake.books.accepted) == 1


async def test_nothing_is_left_when_the_session_closes(fake: FakeComfy) -> None:
    """The run ends, the form says why, and a later press too."""
    async with fake.session() as comfy:
        form = await stepping(fake, comfy)
        gate = fake.gate("Steps", step=1)
        await pressed(form)
        await gate.reached()
    with pytest.raises(SessionClosedError):
        await form.result()
    assert not library_tasks()
    assert "SessionClosedError" in sheet(form).said.value
    gate.open()
    await pressed(form)
    with pytest.raises(SessionClosedError):
        await form.result()
    assert "SessionClosedError" in sheet(form).said.value
    await form.aclose()


async def test_any_exception_is_shown(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read, or a defect: with its class and words, and raised by the result."""

    async def fails(self: App, **values: Any) -> None:
        raise OSError(2, "no such <file>")

    monkeypatch.setattr(App, "submit", fails)
    await pressed(form)
    with pytest.raises(OSError, match="no such"):
        await form.result()
    assert "[Errno 2] no such &lt;file&gt;" in sheet(form).said.value
    assert not sheet(form).run.disabled


async def test_the_result_before_any_run(form: Form) -> None:
    """Waiting would be for ever, so it is refused, with the way."""
    with pytest.raises(WorkflowError, match="Press its Run"):
        await form.result()


async def test_ceasing_to_wait_leaves_the_run(fake: FakeComfy, comfy: ComfySession) -> None:
    """An interrupted cell, or a time limit, stops the waiting only."""
    form = await stepping(fake, comfy)
    gate = fake.gate("Steps", step=1)
    await running(form, gate)
    waiting = asyncio.create_task(form.result())
    await turns(2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.open()
    assert await form.result()
    await form.aclose()


async def test_a_key_stays_hidden(fake: FakeComfy, comfy: ComfySession) -> None:
    """It is sent, and stands neither in `values` nor in any widget."""
    fake.script("Partner", inputs={"api_key": "STRING"}, output={"text": ["done"]})
    flow = {"1": {"class_type": "Partner", "inputs": {"api_key": "s3cret-of-the-file"}}}
    form = await (await comfy.app(flow, inputs={"api_key": "1.api_key"})).form()
    control(form, "api_key").value = "s3cret-of-mine"
    assert form.values == {}
    await pressed(form)
    await form.result()
    assert form.job is not None
    assert form.job.workflow is not None
    assert form.job.workflow.get("1", "api_key") == "s3cret-of-mine"
    assert "s3cret" not in repr([sheet(form).box, sheet(form).shown.value, sheet(form).said.value])
    await form.aclose()


async def test_choices_are_those_of_now(fake: FakeComfy, comfy: ComfySession) -> None:
    """A form asks again: lists of models grow old while a server runs."""
    app = await comfy.app(SD15, inputs={"model": "4.ckpt_name"})
    catalog = app.catalog.raw
    old = {**catalog["CheckpointLoaderSimple"], "input": {"required": {"ckpt_name": [["old.ckpt"]]}}}
    stale = NodeCatalog({**catalog, "CheckpointLoaderSimple": old})
    form = await App(app.reading.renewed(stale), client=comfy).form()
    assert tuple(label for label, _ in control(form, "model").options) == app.inputs["model"].choices
    await form.aclose()


async def test_outside_of_a_notebook(comfy: ComfySession, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the command line and the page in the browser."""
    monkeypatch.undo()
    app = await comfy.app(SD15)
    with pytest.raises(RuntimeError, match=r"`comfy-async app FILE run`.*`comfy-async serve FOLDER`"):
        await app.form()


async def test_without_ipywidgets(comfy: ComfySession, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the extra."""
    true_import = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "ipywidgets":
            raise ImportError(name)
        return true_import(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    app = await comfy.app(SD15)
    with pytest.raises(ImportError, match=r"pip install 'comfy-async\[notebook\]'"):
        await app.form()


async def test_without_a_server(comfy: ComfySession) -> None:
    """An app that nobody said where to run has no form yet."""
    app = App.load(SD15, await comfy.nodes.catalog())
    with pytest.raises(WorkflowError, match="has no server to run on"):
        await app.form()


async def test_what_is_not_there_is_told(comfy: ComfySession) -> None:
    """What App mode or a title names and the workflow lacks stands at the top."""
    flow = {"1": {"class_type": "PreviewAny", "inputs": {"source": "x"}, "_meta": {"title": "$wish.nope"}}}
    app = await comfy.app(flow)
    assert app.unresolved
    form = await app.form()
    assert "not in this form: 1.nope" in sheet(form).box.children[0].value
    await form.aclose()


async def test_it_is_shown_once_in_its_cell(
    form: Form, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `await app.form()`, also where that is the cell's last value; a later cell shows it again."""

    class Shell:
        execution_count = 1

    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: Shell)
    sheet(form).display(again=False)
    assert capsys.readouterr().out
    form._ipython_display_()
    assert not capsys.readouterr().out
    Shell.execution_count = 2
    form._ipython_display_()
    assert capsys.readouterr().out
