"""Jobs in a real kernel: the live display, interrupted cells, a restarted kernel, batches."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal
from kernel_tools import START, Cell, Kernel, kernel

from comfy_async.testing import FakeComfy
from comfy_async.testing._serve import in_thread

PORTRAIT = Path(__file__).parents[2] / "examples" / "workflows" / "sd15_text2image_api.json"
LOAD = f"portrait = Workflow.load({str(PORTRAIT)!r})\n"


class Desk:
    """A kernel with a session, and the server behind it."""

    def __init__(self, kernel: Kernel, fake: FakeComfy, portal: BlockingPortal) -> None:
        """Open the session in the first cell."""
        self.kernel = kernel
        self.run = kernel.run
        self.fake = fake
        self.portal = portal
        self.open()

    def open(self) -> None:
        """Open a session, in a new kernel."""
        assert not self.run(START.format(url=self.fake.url) + LOAD).error

    def end(self) -> str:
        """Return how the last job that was queued ended, once it has."""
        record = self.fake.books.accepted[-1]
        self.portal.call(self.fake.ended, record.prompt_id)
        return str(record.end)


@pytest.fixture(scope="module")
def one_kernel() -> Iterator[Kernel]:
    """One kernel for the file: starting one takes seconds."""
    with kernel() as started:
        yield started


@pytest.fixture
def desk(one_kernel: Kernel) -> Iterator[Desk]:
    """A new server and a new session; the session is closed at the end, whatever became of it."""
    fake = FakeComfy()
    with in_thread(fake) as portal:
        yield Desk(one_kernel, fake, portal)
        with contextlib.suppress(AssertionError):
            one_kernel.run("await comfy.aclose()")


def text(html: str) -> str:
    """Return what people read in a frame."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def test_one_display_lives_and_ends_with_the_picture(desk: Desk) -> None:
    """Bar, node by title with its step, preview; then the picture itself, all in one output."""
    gate = desk.portal.call(lambda: desk.fake.gate("KSampler", step=8))
    cell = desk.run(
        "job = await comfy.submit(portrait)\nawait job.show(every=0.02)",
        seeing=lambda cell: "step 7 of 20" in text(cell.last) and "data:image/jpeg" in cell.last,
        then=lambda: desk.portal.call(gate.open),
    )
    assert (len(cell.screens), cell.error) == (1, "")
    assert any('aria-valuenow="' in frame and "KSampler step 7 of 20" in text(frame) for frame in cell.frames)
    assert text(cell.html).startswith("completed")
    assert "data:image/png;base64," in cell.html
    assert "data:image/jpeg" not in cell.html
    assert "ComfyUI_00001_.png" in cell.html


def test_it_draws_so_often_and_no_more(desk: Desk) -> None:
    """However many events come: between the first and the last frame lies the asked pause."""
    desk.fake.script("Count", inputs={"seed": "INT"}, steps=2000, output={"text": ["counted"]})
    cell = desk.run(
        'job = await comfy.submit({"1": {"class_type": "Count", "inputs": {"seed": 1}}})\n'
        "await job.show(every=30)"
    )
    assert text(cell.html).startswith("completed")
    assert "counted" in cell.html
    assert len(cell.frames) <= 2


def test_a_waiting_job_tells_its_place(desk: Desk) -> None:
    """The place in the queue is shown until the job runs."""
    desk.portal.call(desk.fake.hold)
    cell = desk.run(
        "first = await comfy.submit(portrait)\n"
        'job = await comfy.submit(portrait.with_inputs({"3.seed": 5}))\n'
        "await job.show(every=0.05)",
        seeing=lambda cell: "1 before it in the queue" in text(cell.last),
        then=lambda: desk.portal.call(desk.fake.release),
    )
    assert text(cell.html).startswith("completed")


def test_a_failure_is_shown_and_not_raised(desk: Desk) -> None:
    """Node, message and advice; what the server echoed of the session's key is hidden."""
    error = ("torch.OutOfMemoryError", "Allocation on device, key=s3cret-partner-key <b>")
    desk.fake.script("VAEDecode", inputs={}, outputs=["IMAGE"], error=error)
    cell = desk.run("job = await comfy.submit(portrait)\nawait job.show()")
    assert not cell.error
    shown = text(cell.html)
    assert "VAE Decode (node 8)" in shown
    assert "Allocation on device, key=••• &lt;b&gt;" in shown
    assert "free the models first" in shown
    assert "s3cret" not in cell.html
    assert desk.run("await job").error == "OutOfMemoryError"


def interrupted(desk: Desk, options: str) -> Cell:
    """Run a job that stands at a gate, and interrupt the cell once its first steps are shown."""
    desk.portal.call(lambda: desk.fake.gate("KSampler", step=8))
    return desk.run(
        f"job = await comfy.submit(portrait)\nawait job.show(every=0.02{options})",
        seeing=lambda cell: "step 7 of 20" in text(cell.last),
        then=desk.kernel.manager.interrupt_kernel,
    )


def test_an_interrupted_cell_cancels_the_job(desk: Desk) -> None:
    """The job is interrupted on the server and shown as cancelled; the session lives on."""

    async def let_go() -> None:
        await desk.fake.wait_for(lambda books: books.accepted and books.accepted[-1].interrupts)
        desk.fake.core.gates.open_all()

    letting_go = desk.portal.start_task_soon(let_go)
    cell = interrupted(desk, "")
    assert cell.error == "CancelledError"
    assert text(cell.html).startswith("cancelled")
    letting_go.result(timeout=10)
    assert desk.end() == "interrupted"
    again = desk.run('result = await comfy.run(portrait.with_inputs({"3.seed": 7}))\nawait result.show()')
    assert not again.error
    assert "data:image/png;base64," in again.html


def test_an_interrupted_cell_can_leave_the_job(desk: Desk) -> None:
    """With on_interrupt="leave" the job goes on, and can be shown again."""
    cell = interrupted(desk, ', on_interrupt="leave"')
    assert cell.error == "CancelledError"
    assert "the job goes on" in text(cell.html)
    assert desk.fake.books.accepted[-1].end is None
    desk.portal.call(desk.fake.core.gates.open_all)
    assert text(desk.run("await job.show()").html).startswith("completed")
    assert desk.end() == "success"


def test_a_restarted_kernel_picks_the_job_up(desk: Desk) -> None:
    """What the old kernel submitted is attached to, and shown to its end."""
    gate = desk.portal.call(lambda: desk.fake.gate("KSampler", step=8))
    prompt_id = desk.run("job = await comfy.submit(portrait)\nprint(job.prompt_id)").printed.strip()
    desk.kernel.restart()
    desk.open()
    cell = desk.run(
        f"job = await comfy.attach({prompt_id!r})\nawait job.show(every=0.05)",
        seeing=lambda cell: "running" in text(cell.last),
        then=lambda: desk.portal.call(gate.open),
    )
    assert text(cell.html).startswith("completed")
    assert "data:image/png;base64," in cell.html


def test_a_batch_is_a_grid_that_fills(desk: Desk) -> None:
    """A tile for each workflow, pictures and failures in their places; the jobs come back in order."""
    desk.fake.script("Fails", inputs={"seed": "INT"}, error=("ValueError", "no such luck"))
    cell = desk.run(
        'fails = {"1": {"class_type": "Fails", "inputs": {"seed": 1}}}\n'
        'flows = [portrait.with_inputs({"3.seed": seed}) for seed in range(3)]\n'
        "async with comfy.map([*flows, fails], limit=2) as batch:\n"
        "    jobs = await batch.show(every=0.02)\n"
        "print([(job.index, job.status) for job in jobs])"
    )
    assert cell.printed.strip() == "[(0, 'completed'), (1, 'completed'), (2, 'completed'), (3, 'failed')]"
    assert "4 of 4, 1 failed" in text(cell.html)
    assert cell.html.count("<img") == 3
    assert "no such luck" in cell.html
    assert any("running" in text(frame) for frame in cell.frames)


def test_an_interrupted_batch_says_what_became_of_it(desk: Desk) -> None:
    """The last frame has what is done, cancelled and not run: the block that is left draws it too."""

    async def let_go() -> None:
        # The one that waits goes first, else it would run to its end meanwhile.
        await desk.fake.wait_for(lambda books: "deleted" in [record.end for record in books.accepted])
        await desk.fake.wait_for(lambda books: any(record.interrupts for record in books.accepted))
        desk.fake.core.gates.open_all()

    desk.fake.script("Quick", inputs={"seed": "INT"}, output={"text": ["quick"]})
    desk.portal.call(lambda: desk.fake.gate("KSampler", step=8))
    letting_go = desk.portal.start_task_soon(let_go)
    cell = desk.run(
        'quick = {"1": {"class_type": "Quick", "inputs": {"seed": 1}}}\n'
        'flows = [portrait.with_inputs({"3.seed": seed}) for seed in range(3)]\n'
        "async with comfy.map([quick, *flows], limit=2) as batch:\n"
        "    await batch.show(every=0.02)",
        seeing=lambda cell: "running 1 of 4, 2 on the server" in text(cell.last),
        then=desk.kernel.manager.interrupt_kernel,
    )
    letting_go.result(timeout=10)
    assert cell.error == "CancelledError"
    assert "leaving the block cancels what is open" in text(" ".join(cell.frames))
    assert text(cell.html).startswith("interrupted 1 of 4 done, 2 cancelled, 1 not run")


def test_everything_has_a_rich_repr(desk: Desk) -> None:
    """The last expression of a cell is shown as HTML, and lists of findings as tables."""
    shown = {
        "comfy": "ComfyUI 0.33.0",
        "portrait": "KSampler",
        'await comfy.submit(portrait.with_inputs({"3.seed": 3}))': "job",
        'await comfy.run(portrait.with_inputs({"3.seed": 4}))': "ComfyUI_",
        'await comfy.check(portrait.with_inputs({"3.sampler_name": "eulr"}))': "nearest: euler",
        '(await comfy.nodes.catalog()).search("sampler")': "KSampler",
        "await comfy.nodes.catalog()": "classes",
    }
    for code, word in shown.items():
        cell = desk.run(code)
        assert word in text(cell.html), code
        assert "s3cret" not in cell.html
