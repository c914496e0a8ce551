"""Picking up a job that another process, or an earlier life of this one, has submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._job.job import Job
from .._protocol.plan import Plan
from .._protocol.reducer import JobState

if TYPE_CHECKING:
    from .._client.session import ComfySession

__all__ = ["attach"]


async def attach(session: ComfySession, id_or_ref: str | Mapping[str, str]) -> Job:
    """Find a job in history and queue, and follow it.

    Raises:
        ComfyError: The server cannot be asked.
        ValueError: That is no id and no ref.
    """
    prompt_id, client_id = _reference(id_or_ref)
    if prompt_id in session._jobs:
        return session._jobs[prompt_id]
    history = await session._api.history(prompt_id)
    graph: Mapping[str, Any] = {}
    extra: Mapping[str, Any] = {}
    entry = None
    if history is not None:
        graph, extra = history.prompt, history.extra_data
    else:
        entry = (await session._api.snapshot(whole=True)).entries.get(prompt_id)
        if entry is not None:
            graph, extra = entry.prompt or {}, entry.extra_data or {}
    submitter = client_id or str(extra.get("client_id") or "")
    if history is None and submitter == session.client_id:
        await session._hear()
    session._check_loop()
    if prompt_id in session._jobs:
        # Somebody else attached meanwhile: two handles under one id, and one would never end.
        return session._jobs[prompt_id]
    job = Job(session, JobState(prompt_id, Plan(graph), timings=session._timings))
    job._client_id = submitter
    job._seen = entry is not None
    job._state.status = "pending"
    job._state.mark_gap()
    session._register(job)
    session._posted(job)
    if history is not None:
        session._reconciler._end_by(job, history)
    else:
        session._reconciler.poke([job])
    return job


def _reference(id_or_ref: str | Mapping[str, str]) -> tuple[str, str | None]:
    """Return prompt_id and client_id.

    Raises:
        ValueError: That is no id and no ref.
    """
    if isinstance(id_or_ref, str) and id_or_ref:
        return id_or_ref, None
    if isinstance(id_or_ref, Mapping) and isinstance(id_or_ref.get("prompt_id"), str):
        return id_or_ref["prompt_id"], id_or_ref.get("client_id")
    raise ValueError("attach takes a prompt_id or a job's ref")
