"""Keys: a caller's name for one piece of work, so that it becomes one job however often it is submitted.

The id follows from the key, so a later caller finds the job by requesting it. That alone does
not stop two processes that come at once: ComfyUI takes two prompts of one id, runs both, and keeps
the history of the later one; of two that wait, a delete by id takes whichever stands first in its
heap (execution.py, PromptQueue; measured with 0.33.0). A second prompt cannot be taken back for
certain, so it must not be posted: before the post each process claims the right to it from the
server (`RunApi.claim`), which gives it to one alone. A claim has ended when its post has come to an
end in whatever way; a process that finds a claim that has not ended, and no job, waits a while, since
its owner may be posting, or may have died. Then the next round begins, with a claim of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import secrets
import uuid
from collections.abc import Mapping
from typing import Any, Final

import anyio

from .._dialects.dialect import MARK
from .._job.core import JobCore
from ..errors import ComfyError, SubmitUnknownError, WorkflowError
from ..workflow import Workflow
from .attach import attach
from .desk import Desk
from .options import SubmitOptions
from .submission import Submission

__all__ = ["KEYED", "KeyedWork", "Keys", "key_id"]

_log = logging.getLogger("comfy_async")

KEYED: Final = "comfy_async_keyed"
"""In `extra_data`: the key, and what its job runs."""

# The root of all ids that follow from keys; a fixed number, so that every process comes to the same ones.
_ROOT: Final = uuid.UUID("6f3a1f0e-7c52-4d0b-9a55-5b0d5d2f7c11")
# Between a claim and its post lie two looks and the way of one request.
_PATIENCE_S: Final = 30.0
_LOOK_S: Final = 0.25
# A process that lives has posted by then: whoever waits for longer is told why.
_SOON_S: Final = 2.0
# Whoever was stopped for so long after its claim may have been given up by the others.
_HESITATION_S: Final = 5.0
_CLOSE_S: Final = 5.0
# How a round ended.
_QUEUED: Final = "queued"
_LEFT: Final = "not queued"


def key_id(key: str, namespace: str = "") -> str:
    """Return the prompt_id of a key: uuid5 of the key within uuid5 of the namespace, below one fixed root."""
    return str(uuid.uuid5(uuid.uuid5(_ROOT, namespace), key))


@dataclasses.dataclass(frozen=True)
class KeyedWork:
    """One workflow, ready to be sent, and what it is for."""

    key: str
    workflow: Workflow
    options: SubmitOptions

    @functools.cached_property
    def content(self) -> str:
        """The hash of what runs, by which works are compared; titles and labels do not count."""
        graph = json.loads(self.workflow.encode())
        nodes = {name: [node["class_type"], node.get("inputs")] for name, node in graph.items()}
        targets = self.options.targets
        told = json.dumps([nodes, None if targets is None else sorted(targets)], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def marked(self, prompt_id: str) -> SubmitOptions:
        """Return the options with what the job is found and recognized by."""
        mine = {MARK: prompt_id, KEYED: {"key": self.key, "content": self.content}}
        return dataclasses.replace(self.options, extra_data={**(self.options.extra_data or {}), **mine})


@dataclasses.dataclass(frozen=True, slots=True)
class _Claim:
    """The right to post a key's work, in one round of asking for it."""

    prompt_id: str
    round: int

    @property
    def name(self) -> str:
        """The file that only one process gets."""
        return f"{self.prompt_id}-{self.round}.txt"

    @property
    def over(self) -> str:
        """The file that says that the round has ended, and how."""
        return f"{self.prompt_id}-{self.round}-over.txt"


class _Turn:
    """Those of one process who are about one key: the first asks the server, the others get its job."""

    def __init__(self) -> None:
        """Start without callers."""
        self.lock = asyncio.Lock()
        self.users = 0
        self.made: tuple[str, JobCore] | None = None


class Keys:
    """The keys of one session: each is one job of its server."""

    def __init__(self, desk: Desk, namespace: str) -> None:
        """Start without any.

        Raises:
            ValueError: The namespace is no text.
        """
        if not isinstance(namespace, str):
            raise ValueError(f"key_namespace is a text, not {namespace!r}")
        self._desk = desk
        self._namespace = namespace
        self._turns: dict[str, _Turn] = {}

    def id_of(self, key: str) -> str:
        """Return the id of a key's job."""
        return key_id(key, self._namespace)

    async def submit(self, work: KeyedWork) -> JobCore:
        """Return the job that has the key, queued now if there was none.

        Raises:
            WorkflowError: It runs something else.
            ComfyError: As any submission.
        """
        turn = self._turns.setdefault(work.key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                if turn.made is not None:
                    content, job = turn.made
                    _demand_same(work, job.prompt_id, content, server=self._desk.base_url)
                else:
                    job = await self._job_of(work)
                    turn.made = work.content, job
                return job
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[work.key]

    async def _job_of(self, work: KeyedWork) -> JobCore:
        """Return a key's job, queued now or long ago."""
        made = await self.bring(work)
        if isinstance(made, Submission):
            return made.job
        job = await attach(self._desk, made, self._desk.hooks)
        job.workflow = job.workflow or work.workflow
        return job

    async def bring(self, work: KeyedWork, *, job: JobCore | None = None) -> Submission | str:
        """Queue a key's work and return the submission, or the id of the job that has the key already.

        A pool brings a `job` along, which becomes that of the submission.

        Raises:
            WorkflowError: The key's job runs something else.
            ComfyError: As any submission.
        """
        desk, clock = self._desk, self._desk.clock
        found = await self.found(work)
        if found is None:
            # Nothing slow may stand between a claim and its post.
            await desk.hear()
        claim, ended = _Claim(self.id_of(work.key), 0), None
        while found is None:
            over = await desk.api.claim_text(claim.over)
            since = clock.monotonic()
            if over is not None:
                ended = over
            elif await desk.api.claim(claim.name, secrets.token_hex(16)):
                made = await self._posted(work, claim, job, since=since, ended=ended)
                if made is not None:
                    return made
            else:
                found = await self._awaited(work, claim)
            claim = dataclasses.replace(claim, round=claim.round + 1)
        return found

    async def found(self, work: KeyedWork) -> str | None:
        """Return the id of the job that has the key, None when the server has none.

        Raises:
            WorkflowError: It runs something else.
            ComfyError: The request failed.
        """
        fact = await self._desk.api.find_keyed(MARK, self.id_of(work.key))
        if fact is None:
            return None
        prompt_id, extra_data = fact
        _demand_same(work, prompt_id, _content_in(extra_data, work.key), server=self._desk.base_url)
        return prompt_id

    async def _awaited(self, work: KeyedWork, claim: _Claim) -> str | None:
        """Wait for the job of the process with a claim; None when the round has ended, or was given up."""
        clock = self._desk.clock
        began = clock.monotonic()
        deadline, told = began + _PATIENCE_S, False
        while True:
            # Asked before the look: what was posted in a round that is over is there by then.
            over = await self._desk.api.claim_text(claim.over)
            found = await self.found(work)
            if found is not None or over is not None:
                return found
            if clock.monotonic() >= deadline:
                _log.warning(
                    "key %r: whoever was about to submit job %s to %s has not done so for %g s, and "
                    "is not waited for",
                    work.key,
                    claim.prompt_id,
                    self._desk.base_url,
                    _PATIENCE_S,
                )
                return None
            if not told and clock.monotonic() - began >= _SOON_S:
                told = True
                _log.warning(
                    "key %r: another process was about to submit job %s to %s; its post is waited for, at "
                    "most %g s, since it may have died",
                    work.key,
                    claim.prompt_id,
                    self._desk.base_url,
                    _PATIENCE_S,
                )
            await clock.sleep(_LOOK_S)

    async def _posted(
        self, work: KeyedWork, claim: _Claim, job: JobCore | None, *, since: float, ended: str | None
    ) -> Submission | str | None:
        """Post, as the only process that may, and let the others know how that went.

        Returns:
            The submission, the id of a job that was there after all, or None when that took too long.

        Raises:
            ComfyError: As any submission.
        """
        outcome: str | None = _LEFT
        try:
            # The post of an earlier round may have come after the look.
            found = await self.found(work)
            if found is not None or self._desk.clock.monotonic() - since >= _HESITATION_S:
                return found
            self._tell_again(work, ended)
            submission = Submission(self._desk, work.workflow, work.marked(claim.prompt_id), job=job)
            submission.prompt_id = submission.job.state.prompt_id = claim.prompt_id
            await submission.run()
            outcome = _QUEUED
            return submission
        except SubmitUnknownError:
            # It may turn up yet: the others look for it for a while.
            outcome = None
            raise
        finally:
            if outcome is not None:
                await self._close(claim, outcome)

    async def _close(self, claim: _Claim, outcome: str) -> None:
        """Mark a round as ended, so that nobody waits for it; where that fails, they wait for nothing."""

        async def work(seconds: float | None) -> None:
            with contextlib.suppress(ComfyError), anyio.move_on_after(seconds or _CLOSE_S):
                await self._desk.api.claim(claim.over, outcome)

        await self._desk.clean_up(work, name="comfy_async key")

    def _tell_again(self, work: KeyedWork, ended: str | None) -> None:
        """Log that work is done again which the server had once, and does not know any more."""
        if ended == _QUEUED:
            _log.warning(
                "key %r: %s had its job %s and does not know it any more: it was cancelled before it ran, or "
                "deleted from the history; it runs again",
                work.key,
                self._desk.base_url,
                self.id_of(work.key),
            )


def _content_in(extra_data: Mapping[str, Any], key: str) -> str | None:
    """Return what a key's job runs, by what was sent along; None where that does not tell."""
    mark = extra_data.get(KEYED)
    content = mark.get("content") if isinstance(mark, Mapping) and mark.get("key") == key else None
    return content if isinstance(content, str) else None


def _demand_same(work: KeyedWork, prompt_id: str, told: str | None, *, server: str) -> None:
    """Check that the job that has a key runs what is asked for.

    Raises:
        WorkflowError: It runs something else, or does not tell what.
    """
    if told == work.content:
        return
    what = f"runs another workflow: {told}, and not {work.content}" if told else "does not tell what it runs"
    raise WorkflowError(
        f"key {work.key!r} is that of job {prompt_id}, which {what}",
        hint="A key stands for one piece of work: take another key. `attach(error.prompt_id)` has that job.",
        prompt_id=prompt_id,
        server=server,
    )
