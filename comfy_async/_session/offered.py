"""The hooks' call before a workflow is submitted, and that for a submission that failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .._base.hooks import Hooks
from .prepare import WorkflowLike, as_workflow

__all__ = ["offered", "submitting"]


def offered(hooks: Hooks, workflow: WorkflowLike, options: dict[str, Any]) -> WorkflowLike:
    """Return what is to be submitted after every `before_submit` was called.

    They get it loaded, one after the other, and may change `options` in place. What one of them
    raises is for whoever submits: a workflow that was not changed as it should have been is the
    wrong one, so nothing is sent.

    Raises:
        WorkflowFormatError: It is no workflow, or a hook has returned none.
        OSError: The file cannot be read.
        Exception: What a hook raises.
    """
    for before in hooks.befores:
        workflow = as_workflow(workflow)
        changed = before(workflow, options)
        workflow = workflow if changed is None else as_workflow(changed)
    return workflow


@contextlib.contextmanager
def submitting(hooks: Hooks, workflow: WorkflowLike) -> Iterator[None]:
    """Call hooks for a submission that fails in this block, and so never becomes a job."""
    try:
        yield
    except BaseException as error:
        if hooks.on_submit_failed is not None:
            hooks.on_submit_failed(workflow, error)
        raise
