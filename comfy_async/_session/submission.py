"""From a workflow to a queued job, exactly once."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import anyio

from .._base.backoff import Backoff
from .._base.labels import labels_of
from .._base.secrets import Secret
from .._dialects.dialect import Draft, Posted
from .._job.core import JobCore
from .._job.hooks import introduce
from .._protocol.reducer import JobState
from ..errors import (
    ComfyError,
    ConnectError,
    NotComfyUIError,
    PartialPromptError,
    PromptRejectedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
    SessionClosedError,
    SubmitUnknownError,
    TransportError,
)
from ..events import Queued
from ..workflow import Workflow
from .desk import Desk
from .options import SubmitOptions
from .refusals import Refusals

__all__ = ["Submission"]

_log = logging.getLogger("comfy_async")

# The server validates before it queues: absence is believed after two looks this far apart.
_LOOKS_APART_S: Final = 2.0
_MAX_POSTS: Final = 3
_CLEANUP_S: Final = 10.0
_ANSWER_S: Final = 3.0
# A request that was cut off may be read a moment later.
_GONE_S: Final = 1.0
# The answer to a second request under one key (API v2): the first has, or may have, made a job.
_KEY_USED: Final = "idempotency_key_reuse"

_Outcome: TypeAlias = Posted | Mapping[str, Any] | None
"""The answer to a prompt: accepted, refused, or none although the job is there."""


class Submission:
    """One attempt to bring one workflow into the server's queue."""

    def __init__(
        self, desk: Desk, workflow: Workflow, options: SubmitOptions, *, job: JobCore | None = None
    ) -> None:
        """Prepare; nothing is sent. The workflow is in API format, its files are uploaded.

        A pool brings a `job` along that may have been elsewhere before: it moves in here.

        Attributes:
            job: The job of this prompt.
            prompt_id: The id that it was given here.
            refusals: What makes the server's refusals readable.
        """
        self._desk = desk
        self._api = desk.api
        self._workflow = workflow
        self._options = options
        self._clock = desk.settings.clock
        self._posting: asyncio.Task[_Outcome] | None = None
        self._may_be_there = False
        self.refusals = Refusals(desk, workflow)
        plan = desk.plans.of(workflow.to_api(), targets=options.targets)
        state = JobState(str(uuid.uuid4()), plan, timings=desk.timings)
        if job is None:
            job = JobCore(desk, state, keep_frames=options.keep_frames, index=options.index)
            introduce(job, desk.hooks, options.extra_data)
        else:
            job.move(desk, state)
        self.job = job
        self.prompt_id = job.prompt_id
        job.workflow, job.labels = workflow, labels_of(options.extra_data)

    async def run(self) -> JobCore:
        """Send the prompt and return its job.

        Raises:
            PromptRejectedError: The server refused it, or a part of it.
            SubmitUnknownError: It could not be found out whether it arrived.
            ComfyError: The server cannot be reached, or refuses.
        """
        job, desk = self.job, self._desk
        draft = self._draft()
        body = self._api.encode(draft)
        desk.jobs.add(job)
        try:
            await desk.hear()
            desk.check_loop()
            frames_before = desk.link.frames
            if not desk.link.hearing:
                # A socket that opens before the prompt's answer comes has missed the beginning of the job.
                job.state.mark_gap()
            try:
                await self._send(draft, body)
            except PromptRejectedError as error:
                if isinstance(error, PartialPromptError) or not await self._renewed(error):
                    raise
                draft = self._draft()
                await self._send(draft, self._api.encode(draft))
        except BaseException as error:
            await self._clean_up(error)
            cut_off = isinstance(error, SessionClosedError) and self._may_be_there
            if desk.closed and (cut_off or isinstance(error, TransportError)):
                raise desk.closed_error(job.prompt_id) from error
            raise
        job.demands_saves = demands_saves(desk, self._options.on_partial)
        desk.router.posted(job, frames_before=frames_before)
        return job

    def _draft(self) -> Draft:
        """Return what is to be sent, before it is put into the server's format."""
        options = self._options
        extra: dict[str, Any] = dict(options.extra_data or {})
        if options.partner_api_key:
            extra["api_key_comfy_org"] = options.partner_api_key
        if (editor := self._workflow.editor) is not None and self._api.takes_extra_data:
            extra["extra_pnginfo"] = {"workflow": editor, **extra.get("extra_pnginfo", {})}
        return Draft(
            graph=self._workflow.encode(),
            prompt_id=self.job.prompt_id,
            client_id=self._desk.client_id,
            extra=extra,
            previews=options.previews,
            number=options.number,
            front=options.front,
            targets=options.targets,
        )

    async def _post(self, draft: Draft, body: Secret[bytes]) -> _Outcome:
        """Send until the outcome is known; None when the job turned up although no answer came."""
        posts = 0
        while True:
            posts += 1
            self._may_be_there = True
            try:
                return await self._api.post(draft, body)
            except (RequestTimeoutError, TransportError, ResponseError) as error:
                if not _is_unknown(error) or self._desk.closed:
                    raise
                if await self._arrived(draft, error):
                    return None
                if posts == _MAX_POSTS:
                    raise
                _log.info("prompt %s did not arrive (%s): sending it again", self.job.prompt_id, error)

    async def _post_under_key(self, draft: Draft, body: Secret[bytes]) -> _Outcome:
        """Send again, under the same key, until the server has said what became of it.

        Raises:
            SubmitUnknownError: It has not said so in time.
        """
        clock, settings = self._clock, self._desk.settings
        busy_until = clock.monotonic() + settings.busy_seconds
        unknown: ComfyError | None = None
        unknown_until = 0.0
        backoff = Backoff(first=_LOOKS_APART_S / 2, cap=_LOOKS_APART_S * 2)
        while True:
            self._may_be_there = True
            try:
                answer = await self._api.post(draft, body)
            except RateLimitError as error:
                # It says that it has not taken the prompt on.
                self._may_be_there = unknown is not None
                pause = error.retry_after if error.retry_after is not None else backoff.next()
                if not error.retryable or clock.monotonic() + pause > busy_until:
                    raise
                _log.info("%s is busy (%s): trying again in %.0f s", self._desk.base_url, error.code, pause)
            except (RequestTimeoutError, TransportError, ResponseError) as error:
                if self._desk.closed or (unknown is None and not _is_unknown(error)):
                    raise
                if unknown is None:
                    unknown, unknown_until = error, clock.monotonic() + settings.submit_seconds
                if clock.monotonic() >= unknown_until:
                    raise self._unknown(unknown) from unknown
                pause = backoff.next()
            else:
                if unknown is None or _refused_as(answer) != _KEY_USED:
                    return answer
                await self._arrived(draft, unknown)
                return None
            await clock.sleep(pause)

    async def _arrived(self, draft: Draft, error: ComfyError) -> bool:
        """Find out whether a prompt without an answer is in the queue.

        Raises:
            SubmitUnknownError: It could not be found out in time.
        """
        clock, job = self._clock, self.job
        deadline = clock.monotonic() + self._desk.settings.submit_seconds
        absent_since: float | None = None
        while self._api.finds_posted:
            try:
                found = await self._found(draft)
            except (SessionClosedError, SubmitUnknownError):
                raise
            except ComfyError:
                found = None
            now = clock.monotonic()
            if job.state.started_at is not None or found:
                self._take_queued(b"", {"prompt_id": job.prompt_id})
                return True
            if found is False and not self._api.is_idempotent:
                absent_since = now if absent_since is None else absent_since
                if now - absent_since >= _LOOKS_APART_S:
                    return False
            if now >= deadline:
                break
            await clock.sleep(_LOOKS_APART_S / 2)
        raise self._unknown(error) from error

    def _unknown(self, error: ComfyError) -> SubmitUnknownError:
        """Return the error for a prompt of which it is unknown whether it arrived."""
        hint = "It was not sent again. `attach(error.prompt_id)` finds the job if it turns up."
        if self._api.chooses_ids:
            hint = "It may run: look at the account's jobs before it is sent again."
        return SubmitUnknownError(
            f"it is unknown whether prompt {self.job.prompt_id} reached {self._desk.base_url}: "
            f"{error.args[0]}",
            hint=hint,
            prompt_id=self.job.prompt_id,
            server=self._desk.base_url,
        )

    async def _found(self, draft: Draft) -> bool:
        """Look for the job; where the server has given it another id, it has that from now on."""
        found = await self._api.find_posted(draft, self._desk.jobs.by_id)
        if found is not None and found != self.job.prompt_id:
            self._desk.router.rebind(self.job, found)
        return found is not None

    async def _send(self, draft: Draft, body: Secret[bytes]) -> None:
        """Post, and read the answer."""
        post = self._post_under_key if self._api.is_idempotent else self._post
        # A request that is cut off may still arrive: who is cancelled has to know how it went.
        self._posting = asyncio.create_task(post(draft, body), name="comfy_async submit")
        answer = await asyncio.shield(self._posting)
        if answer is not None:
            await self._accepted(answer)

    async def _renewed(self, error: PromptRejectedError) -> bool:
        """Send files again that the server has lost; return whether there were any."""
        places = [(problem.node, problem.input) for problem in error.problems]
        known = [(node, name) for node, name in places if node is not None and name is not None]
        workflow = await self._desk.resources.files.sent_again(self._workflow, known)
        if workflow is None:
            return False
        _log.info("%s had lost files that were uploaded: they were sent again", self._desk.base_url)
        self._workflow = self.job.workflow = workflow
        return True

    async def _accepted(self, answer: Posted | Mapping[str, Any]) -> None:
        """Read the answer: accepted, accepted in part, or refused."""
        if not isinstance(answer, Posted):
            raise await self.refusals.rejection(answer, self.job)
        prompt_id = answer.prompt_id
        is_ours = prompt_id == self.job.prompt_id
        if not is_ours and self._desk.jobs.had(prompt_id):
            raise NotComfyUIError(
                f"{self._desk.base_url} gave the prompt the id of another job, {prompt_id}",
                hint="Check the address: a proxy or another program may answer there.",
                server=self._desk.base_url,
            )
        self._api.prove("client_prompt_id", is_ours)
        if not is_ours:
            self._desk.router.rebind(self.job, prompt_id)
        self._take_queued(answer.raw, answer.data)
        if answer.node_errors:
            await self._partial(answer.node_errors)

    def _take_queued(self, raw: bytes, data: Mapping[str, Any]) -> None:
        """Note that the job is in the queue."""
        now = self._clock.unix()
        self.job.take(Queued(raw or None, data, self.job.prompt_id, received_at=now))

    async def _partial(self, node_errors: Any) -> None:
        """Some outputs will not run: keep the job, or cancel it and say so."""
        found = self.refusals.complaints(None, node_errors, self.job)
        self.job.node_errors = tuple(found)
        if self._options.on_partial == "keep":
            return
        # A pending job that is removed says nothing: the poller must watch over it.
        self._desk.router.posted(self.job)
        await self._desk.cancel(self.job)
        raise PartialPromptError(
            "the server would run only a part of the workflow; the job was cancelled",
            problems=await self.refusals.with_nearest(found),
            node_errors=node_errors,
            hint='`on_partial="keep"` runs what can be run.',
            prompt_id=self.job.prompt_id,
            server=self._desk.base_url,
        )

    async def _clean_up(self, error: BaseException) -> None:
        """The caller will never hold the job: make sure that the server does not run it."""
        refused = isinstance(error, Exception) and not isinstance(error, NotComfyUIError)
        if self._posting is None or refused or not self._may_be_there:
            if self._posting is not None:
                self._posting.cancel()
            self._desk.jobs.drop(self.job)
            return

        self.job.leaving = True

        async def work(seconds: float | None) -> None:
            with self._desk.canceller.leftovers.burst():
                await self._take_back(self._posting, _CLEANUP_S if seconds is None else seconds)
            self._desk.jobs.drop(self.job)

        await self._desk.clean_up(work, name="comfy_async submit withdrawn")

    async def _take_back(self, posting: asyncio.Task[_Outcome] | None, seconds: float) -> None:
        """Withdraw the prompt within a time; never raises, logs what may still run."""
        assert posting is not None
        problem: object = "it took too long"
        with anyio.move_on_after(seconds):
            try:
                await self._withdraw(posting, seconds)
                problem = None
            except PromptRejectedError:
                problem = None
            except ComfyError as failure:
                problem = failure
        posting.cancel()
        if problem is not None:
            self._desk.canceller.leftovers.tell("prompt {}", self.job.prompt_id, problem)

    async def _withdraw(self, posting: asyncio.Task[_Outcome], seconds: float) -> None:
        """Wait a while for the answer, which may name another id, then cancel the job until it has ended.

        Raises:
            ComfyError: The request failed.
        """
        state = self.job.state
        if state.queued_at is None:
            # Only the answer tells the id that the server has chosen.
            await asyncio.wait([posting], timeout=seconds if self._api.chooses_ids else _ANSWER_S)
            if posting.done() and not posting.cancelled() and posting.exception() is None:
                answer = posting.result()
                if answer is not None:
                    await self._accepted(answer)
        if state.queued_at is None and not await self._turns_up():
            return
        self._desk.router.posted(self.job)
        await self._desk.canceller.cancel(self.job, seconds)

    async def _turns_up(self) -> bool:
        """Cancel a prompt that may arrive yet; return whether it did, False when it is absent for a while.

        Raises:
            ComfyError: The request failed.
        """
        if self._api.chooses_ids and not self._api.finds_posted:
            raise SubmitUnknownError("it was not answered, and has no id of this client by which to find it")
        absent_since: float | None = None
        while True:
            await self._api.cancel(self.job.prompt_id)
            if await self._found(self._draft()):
                self._take_queued(b"", {"prompt_id": self.job.prompt_id})
                return True
            now = self._clock.monotonic()
            absent_since = now if absent_since is None else absent_since
            if now - absent_since >= _GONE_S:
                return False
            await self._clock.sleep(_GONE_S / 2)


def _refused_as(answer: Posted | Mapping[str, Any]) -> str:
    """Return the kind of a refusal, "" for what is none."""
    error = None if isinstance(answer, Posted) else answer.get("error")
    return str(error.get("type") or "") if isinstance(error, Mapping) else ""


def _is_unknown(error: ComfyError) -> bool:
    """Say whether the server may have queued the prompt although it did not say so."""
    if isinstance(error, ResponseError):
        return error.status >= 500
    return not isinstance(error, (ConnectError, NotComfyUIError))


def demands_saves(desk: Desk, on_partial: str) -> bool:
    """Say whether nodes that save must have saved: nobody else tells that the server left them out."""
    return desk.api.hides_partial and on_partial == "raise"
