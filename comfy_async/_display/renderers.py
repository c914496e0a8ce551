"""Which function shows which class: the table that `types.renderer_of` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from .._batch.batch import Batch
from .._client.form import Form
from .._client.session import ComfySession
from .._job.job import Job
from .._job.result import JobResult
from ..errors import ComfyError
from ..types import Problem
from ..workflow import Workflow
from ..workflow._lists import ClassList, ProblemList
from ..workflow.catalog import NodeCatalog
from ..workflow.check import Needs
from .cards import (
    catalog_card,
    classes_card,
    error_card,
    job_card,
    needs_card,
    problem_card,
    problems_card,
    result_card,
    session_card,
    workflow_card,
)
from .form import show_form
from .notebook import show_job, show_result
from .notebook_batch import show_batch

__all__ = ["RENDERERS"]

RENDERERS: Final[Mapping[tuple[type, Literal["html", "show"]], Callable[..., Any]]] = {
    (Problem, "html"): problem_card,
    (ProblemList, "html"): problems_card,
    (ComfyError, "html"): error_card,
    (Workflow, "html"): workflow_card,
    (Needs, "html"): needs_card,
    (NodeCatalog, "html"): catalog_card,
    (ClassList, "html"): classes_card,
    (ComfySession, "html"): session_card,
    (Job, "html"): job_card,
    (Job, "show"): show_job,
    (JobResult, "html"): result_card,
    (JobResult, "show"): show_result,
    (Batch, "show"): show_batch,
    (Form, "show"): show_form,
}
