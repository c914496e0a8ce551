"""The form of an app: what is filled in, the job that it runs, and how that ended.

What it looks like is for `_display`. Its button callbacks may run in another thread than the event
loop's (kernels with subshells do that), so what they start is scheduled on the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from .._base.tasks import look_at, to_the_end
from .._job.job import core_of
from ..errors import JobCancelledError, WorkflowError
from ..types import TERMINAL_STATUSES
from ..workflow.apps import AppInput, AppReading, Unresolved

if TYPE_CHECKING:
    from .._job.job import Job
    from .._job.result import JobResult

__all__ = ["Form", "FormApp", "FormRun", "FormView", "run_of"]


class FormApp(Protocol):
    """What a form needs of an app."""

    name: str
    description: str

    @property
    def inputs(self) -> Mapping[str, AppInput]:
        """The inputs by name."""
        ...

    @property
    def unresolved(self) -> tuple[Unresolved, ...]:
        """What is named as an input or output and is not one."""
        ...

    @property
    def reading(self) -> AppReading:
        """What it was read as."""
        ...

    async def submit(self, /, **values: Any) -> Job:
        """Put it into the server's queue."""
        ...

    async def refreshed(self) -> Self:
        """Return the same app with the choices that the server has now."""
        ...


class FormView(Protocol):
    """What a form needs of what it looks like."""

    def display(self, *, again: bool) -> None:
        """Show it; `again` where it may be on the page already."""
        ...

    def values(self, *, with_secrets: bool) -> dict[str, Any]:
        """Return what was filled in."""
        ...

    def begin(self) -> None:
        """A run begins: clear the problems."""
        ...

    async def follow(self, job: Job) -> None:
        """Show a job until it has ended."""
        ...

    def tell(self, error: Exception | str) -> None:
        """Say what went wrong, or another sentence."""
        ...

    def end(self) -> None:
        """The run has ended: there may be another."""
        ...

    def close(self) -> None:
        """Leave the page."""
        ...


class FormRun:
    """What goes on behind a form: one run at a time, each a task of its own.

    Attributes:
        app: What it runs.
        job: The latest job, None before the first.
        view: What it looks like, None before it is shown.
    """

    def __init__(self, app: FormApp) -> None:
        """Belong to the event loop that runs."""
        self.app = app
        self.job: Job | None = None
        self.view: FormView | None = None
        self._loop = asyncio.get_running_loop()
        self._current: Job | None = None
        self._task: asyncio.Task[JobResult] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return self._task is not None and not self._task.done()

    def press_run(self) -> None:
        """Begin a run, soon and on the loop; nothing while one is under way."""
        self._loop.call_soon_threadsafe(self._start)

    def press_cancel(self) -> None:
        """Stop the run, soon and on the loop."""
        self._loop.call_soon_threadsafe(self._stop)

    async def result(self) -> JobResult:
        """Return what the latest run gave.

        Raises:
            WorkflowError: None was begun.
            Exception: What the run raised.
        """
        # A press that was heard just now has begun its run after this.
        await asyncio.sleep(0)
        if self._task is None:
            raise WorkflowError(
                "the form was not run yet",
                hint="Press its Run, and wait in a later cell: while a cell waits, no button works.",
            )
        # Whoever ceases to wait leaves the run alone.
        await asyncio.wait([self._task])
        if self._task.cancelled():
            raise JobCancelledError("the run was cancelled while it was submitted")
        return self._task.result()

    async def aclose(self) -> None:
        """Cancel what runs, and leave the page."""
        if self._closed:
            return
        self._closed = True
        tasks = [task for task in (self._task, self._stopping) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            await to_the_end(tasks)
        finally:
            if self.view is not None:
                self.view.close()

    def _start(self) -> None:
        """Begin a run."""
        if self.is_running or self._closed or self.view is None:
            return
        self._current = None
        self._task = asyncio.create_task(self._run(self.view), name="comfy_async form")
        # Its failure is on the form; `result()` raises it for whoever asks.
        self._task.add_done_callback(look_at)

    async def _run(self, view: FormView) -> JobResult:
        """Run what is filled in.

        Raises:
            Exception: It failed; the form says why.
        """
        # Not before: a task that is cancelled before its first step never comes to its `finally`.
        view.begin()
        try:
            job = self._current = self.job = await self.app.submit(**view.values(with_secrets=True))
            await view.follow(job)
            return await job
        except asyncio.CancelledError:
            if self._current is None:
                view.tell("Cancelled while it was submitted; it is taken out of the queue again.")
            else:
                await core_of(self._current).owner.abandon(core_of(self._current))
            raise
        except Exception as error:
            view.tell(error)
            raise
        finally:
            view.end()

    def _stop(self) -> None:
        """Stop the run."""
        if not self.is_running or (self._stopping is not None and not self._stopping.done()):
            return
        assert self._task is not None
        if self._current is None:
            # The session takes a job back whose submission is cut off.
            self._task.cancel()
        elif self.view is not None:
            self._stopping = asyncio.create_task(
                self._cancel(self._current, self.view), name="comfy_async form cancel"
            )

    async def _cancel(self, job: Job, view: FormView) -> None:
        """Stop the job on the server; the form says when that cannot be done."""
        try:
            status = await job.cancel()
        except Exception as error:
            view.tell(error)
        else:
            if status not in TERMINAL_STATUSES:
                view.tell("The server has not stopped it yet; press Cancel again.")


class Form:
    """The inputs of an app as widgets in a notebook, made by `await app.form()`.

    Run submits what is filled in and shows the job live below, Cancel stops it on the server. It is
    used while no cell runs: a kernel handles a button only when its cell has ended. Only what was
    changed is given; the rest is as in the workflow.

    In the cells of a notebook::

        form = await app.form()        # shows it; then fill it in and press Run
        form.values                    # {'prompt': 'a fox', 'steps': 8}
        result = await form.result()
        await result.save("out")
    """

    __slots__ = ("_run",)

    def __init__(self, app: FormApp) -> None:
        """Forms are made by `App.form`."""
        self._run = FormRun(app)

    @property
    def app(self) -> FormApp:
        """What it runs, with the choices that the server had when the form was made."""
        return self._run.app

    @property
    def job(self) -> Job | None:
        """The job of the latest Run, None before the first."""
        return self._run.job

    @property
    def values(self) -> dict[str, Any]:
        """What was changed, as the app takes it: `await app(**form.values)`; no keys and passwords."""
        return {} if self._run.view is None else self._run.view.values(with_secrets=False)

    async def result(self) -> JobResult:
        """Wait for the latest run and return what it gave.

        Raises:
            WorkflowError: Run was not pressed yet, so that the wait would never end.
            UnknownInputError: What was filled in is wrong; nothing was sent.
            ComfyError: As `App.submit`, and as awaiting its job.
            OSError: A file cannot be read.
        """
        return await self._run.result()

    async def aclose(self) -> None:
        """Cancel what still runs, and take the form from the page; the job and its result stay."""
        await self._run.aclose()

    def _ipython_display_(self) -> None:
        """Show it once more, in a cell of its own."""
        if self._run.view is not None:
            self._run.view.display(again=True)

    def __repr__(self) -> str:
        """Return the app's name and what the job does; nothing that was filled in."""
        status = "not run yet" if self.job is None else self.job.status
        return f"<Form of {self.app.name}: {status}>"


def run_of(form: Form) -> FormRun:
    """Return what goes on behind a form that a user holds."""
    return form._run
