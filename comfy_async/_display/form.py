"""The form of an app in a notebook: fields, Run and Cancel, what is wrong, and the job live below."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._base.secrets import Veil
from .._client.form import Form, FormRun, run_of
from ..errors import ComfyError, JobError
from ..types import Problem
from .form_fields import NOTHING, Field, field_of
from .html import box, card, headline, line
from .notebook import draw_job
from .screen import Screen, in_notebook

if TYPE_CHECKING:
    from .._job.job import Job

__all__ = ["show_form"]


async def show_form(form: Form) -> None:
    """Show a form, with the choices that the server has now.

    Raises:
        RuntimeError: This is no notebook.
        ImportError: ipywidgets is missing.
        WorkflowError: The app has no session.
        ComfyError: The request failed.
    """
    if not in_notebook():
        raise RuntimeError(
            "a form needs a notebook: in a terminal `comfy-async app FILE run` has an option for each input, "
            "and `comfy-async serve FOLDER` gives it a page in the browser"
        )
    try:
        import ipywidgets  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "a form needs ipywidgets: pip install 'comfy-async[notebook]', then restart the kernel",
            name="ipywidgets",
        ) from error
    run = run_of(form)
    run.app = await run.app.refreshed()
    run.view = _Sheet(run)
    run.view.display(again=False)


class _Pane(Screen):
    """A screen within the form."""

    def __init__(self, pane: Any) -> None:
        """Draw into a widget for HTML."""
        super().__init__()
        self._pane = pane

    def _send(self, bundle: dict[str, str]) -> None:
        self._pane.value = bundle["text/html"]


class _Sheet:
    """What a form looks like."""

    def __init__(self, run: FormRun) -> None:
        """Lay it out."""
        import ipywidgets

        app = run.app
        self.fields = [field_of(app, item) for item in app.inputs.values()]
        self.run = ipywidgets.Button(description="Run", button_style="primary")
        self.cancel = ipywidgets.Button(description="Cancel", disabled=True)
        self.run.on_click(lambda _: run.press_run())
        self.cancel.on_click(lambda _: run.press_cancel())
        self.said = ipywidgets.HTML()
        self.shown = ipywidgets.HTML()
        lost = [line("", f"not in this form: {one}") for one in app.unresolved]
        head = ipywidgets.HTML(card(headline("", app.name), line("", app.description), *lost))
        buttons = ipywidgets.HBox([self.run, self.cancel])
        fields = [field.box for field in self.fields]
        self.box = ipywidgets.VBox([head, *fields, buttons, self.said, self.shown])
        self._cell: object = None

    def display(self, *, again: bool) -> None:
        """Show it; not twice in the cell that made it, where it is the last value as well."""
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        cell = getattr(get_ipython(), "execution_count", None)
        if not again or cell != self._cell:
            display(self.box)  # type: ignore[no-untyped-call]
        self._cell = cell

    def values(self, *, with_secrets: bool) -> dict[str, Any]:
        """Return what was changed."""
        found = {f.item.name: f.value() for f in self.fields if with_secrets or not f.is_secret}
        return {name: value for name, value in found.items() if value is not NOTHING}

    def begin(self) -> None:
        """A run begins: clear the problems."""
        self._hold(True)
        self.said.value = self.shown.value = ""
        for field in self.fields:
            field.tell("")

    async def follow(self, job: Job) -> None:
        """Show a job until it has ended, then what it made.

        Raises:
            SessionClosedError: The session was closed before the end.
        """
        await draw_job(job, _Pane(self.shown))

    def tell(self, error: Exception | str) -> None:
        """Say what went wrong: what is wrong with a field below that field."""
        if isinstance(error, JobError):
            return  # The job's own card has it, with the traceback.
        if isinstance(error, str):
            self.said.value = card(box("", error, note=True))
            return
        veil = Veil([])
        rest = list(self._elsewhere(getattr(error, "problems", ())))
        message = error.args[0] if isinstance(error, ComfyError) and error.args else error
        hint = getattr(error, "hint", "")
        self.said.value = card(
            box(type(error).__name__, veil(message), items=map(veil, rest), advice=veil(hint))
        )

    def end(self) -> None:
        """The run has ended: there may be another."""
        self._hold(False)

    def close(self) -> None:
        """Leave the page."""
        waiting = [self.box]
        while waiting:
            widget = waiting.pop()
            waiting += getattr(widget, "children", ())
            widget.close()

    def _hold(self, held: bool) -> None:
        """Say by the buttons whether it runs; the fields may be filled in for the next run meanwhile."""
        self.run.disabled = held
        self.cancel.disabled = not held

    def _elsewhere(self, problems: Iterable[Problem]) -> Iterable[Problem]:
        """Show problems below the fields that they are about; yield those of no field."""
        told: dict[str, list[str]] = {}
        for problem in problems:
            field = self._field(problem)
            if field is None:
                yield problem
                continue
            told.setdefault(field.item.name, []).append(_sentence(problem, field))
            field.tell(" ".join(told[field.item.name]))

    def _field(self, problem: Problem) -> Field | None:
        """Return the field that a problem is about, by its name or by its place in the graph."""
        for field in self.fields:
            place = (problem.node, problem.input)
            if problem.input == field.item.name if problem.node is None else place in field.item.targets:
                return field
        return None


def _sentence(problem: Problem, field: Field) -> str:
    """Return a problem without the place, which is where it stands."""
    words = str(problem) if problem.node is None else problem.message
    return words.removeprefix(f"{field.item.name}: ")
