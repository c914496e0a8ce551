"""Picking up a job that another process, or this one before a restart, has submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._base.hooks import Hooks
from .._base.labels import LABELS, labels_of
from .._dialects.dialect import Draft
from .._job.core import JobCore
from .._job.hooks import introduce
from .._protocol.plan import Plan
from .._protocol.reducer import JobState
from .desk import Desk

__all__ = ["attach"]


async def attach(desk: Desk, id_or_ref: str | Mapping[str, Any], hooks: Hooks) -> JobCore:
    """Find a job in history and queue, and follow it; hooks are called for it.

    Raises:
        ComfyError: The request failed.
        ValueError: That is no id and no ref.
    """
    prompt_id, client_id = _reference(id_or_ref)
    if prompt_id in desk.jobs.by_id:
        return desk.jobs.by_id[prompt_id]
    history = await desk.api.history(prompt_id)
    graph: Mapping[str, Any] = {}
    extra: Mapping[str, Any] = {}
    entry = None
    if history is not None:
        graph, extra = history.prompt, history.extra_data
    else:
        entry = await desk.api.find(prompt_id)
        if entry is not None:
            graph, extra = entry.prompt or {}, entry.extra_data or {}
        elif (found := await _renamed(desk, prompt_id)) is not None:
            return await attach(desk, {"prompt_id": found, "client_id": client_id or ""}, hooks)
    if not graph:
        graph = await desk.api.workflow(prompt_id)
    submitter = client_id or str(extra.get("client_id") or "")
    if history is None and submitter == desk.client_id:
        await desk.hear()
    desk.check_loop()
    if prompt_id in desk.jobs.by_id:
        # Somebody else attached meanwhile: two handles under one id, and one would never end.
        return desk.jobs.by_id[prompt_id]
    job = JobCore(desk, JobState(prompt_id, Plan(graph), timings=desk.timings))
    job.client_id = submitter
    # The server knows best; the ref is there for one that has lost the job, or is too old to tell.
    job.labels = labels_of(extra) or _labels_in(id_or_ref)
    job.seen = entry is not None
    job.state.status = "pending"
    job.state.mark_gap()
    job.demands_saves = desk.api.hides_partial
    introduce(job, hooks, extra)
    desk.jobs.add(job)
    desk.router.posted(job)
    if history is not None:
        desk.poller.ends.end_by(job, history)
    else:
        desk.poller.poke([job])
    return job


def _labels_in(id_or_ref: str | Mapping[str, Any]) -> dict[str, str]:
    """Return the labels in a ref."""
    found = id_or_ref.get("labels") if isinstance(id_or_ref, Mapping) else None
    return labels_of({LABELS: found})


async def _renamed(desk: Desk, prompt_id: str) -> str | None:
    """Return the id that an old server has given to a job which was noted before it was posted."""
    api = desk.api
    if api.chooses_ids or api.server.can("client_prompt_id"):
        return None
    return await api.find_posted(Draft(graph=b"", prompt_id=prompt_id, client_id=""), ())


def _reference(id_or_ref: str | Mapping[str, Any]) -> tuple[str, str | None]:
    """Return prompt_id and client_id.

    Raises:
        ValueError: That is no id and no ref.
    """
    if isinstance(id_or_ref, str) and id_or_ref:
        return id_or_ref, None
    if isinstance(id_or_ref, Mapping) and isinstance(id_or_ref.get("prompt_id"), str):
        return id_or_ref["prompt_id"], id_or_ref.get("client_id")
    raise ValueError("attach takes a prompt_id or a job's ref")
