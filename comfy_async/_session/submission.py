"""From a workflow to a queued job, exactly once."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

import anyio

from .._base.secrets import Secret
from .._job.core import JobCore
from .._job.hooks import introduce
from .._protocol.reducer import JobState
from .._transport.answers import Answer
from ..errors import (
    ComfyError,
    ConnectError,
    NotComfyUIError,
    PartialPromptError,
    PromptRejectedError,
    RequestTimeoutError,
    ResponseError,
    SessionClosedError,
    SubmitUnknownError,
    TransportError,
)
from ..events import Queued
from ..workflow import Workflow
from .desk import Desk
from .refusals import Refusals

__all__ = ["MARK", "SubmitOptions", "Submission", "named_nodes"]

_log = logging.getLogger("comfy_async")

# The server validates before it queues: absence is believed after two looks this far apart.
_LOOKS_APART_S: Final = 2.0
_MAX_POSTS: Final = 3
_CLEANUP_S: Final = 10.0
_ANSWER_S: Final = 3.0
# A request that was cut off may be read a moment later.
_GONE_S: Final = 1.0
# Servers before 0.3.45 choose the id themselves; by this key of extra_data the job is found again.
MARK: Final = "comfy_async_id"

PREVIEWS: Final = ("auto", "latent2rgb", "taesd", "none", "default")
"""How pictures of work in progress may be made; "default" is as the server was started."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """What `submit` was asked for."""

    check: bool = False
    on_partial: str = "raise"
    previews: str = "none"
    extra_data: Mapping[str, Any] | None = None
    partner_api_key: Secret[str] | None = None
    front: bool = False
    number: float | None = None
    targets: tuple[str, ...] | None = None
    keep_frames: bool = True
    index: int | None = None

    def __post_init__(self) -> None:
        """Refuse words that no server knows.

        Raises:
            ValueError: `previews` or `on_partial` is such a word, or `number` is none.
        """
        for name, value, known in (
            ("previews", self.previews, PREVIEWS),
            ("on_partial", self.on_partial, ("raise", "keep")),
        ):
            if value not in known:
                raise ValueError(f"{name} is one of {', '.join(map(repr, known))}, not {value!r}")
        if self.number is not None and not isinstance(self.number, int | float):
            raise ValueError(f"number is a number, not {self.number!r}")


def named_nodes(targets: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of nodes to run.

    Raises:
        ValueError: It is a text: its letters would be taken for ids.
    """
    if isinstance(targets, str):
        raise ValueError(f"targets is a list of node ids, such as [{targets!r}], not {targets!r}")
    return tuple(map(str, targets))


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
            refusals: Who makes the server's refusals plain.
        """
        self._desk = desk
        self._api = desk.api
        self._workflow = workflow
        self._options = options
        self._clock = desk.settings.clock
        self._posting: asyncio.Task[Answer | None] | None = None
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
        job.workflow = workflow

    async def run(self) -> JobCore:
        """Send the prompt and return its job.

        Raises:
            PromptRejectedError: The server refused it, or a part of it.
            SubmitUnknownError: Whether it arrived could not be found out.
            ComfyError: The server cannot be reached, or refuses.
        """
        job, desk = self.job, self._desk
        body = self._body()
        desk.jobs.add(job)
        try:
            await desk.hear()
            desk.check_loop()
            frames_before = desk.link.frames
            try:
                await self._send(body)
            except PromptRejectedError as error:
                if isinstance(error, PartialPromptError) or not await self._renewed(error):
                    raise
                await self._send(self._body())
        except BaseException as error:
            await self._clean_up(error)
            if desk.closed and isinstance(error, TransportError):
                raise desk.closed_error(job.prompt_id) from error
            raise
        desk.router.posted(job, frames_before=frames_before)
        return job

    def _body(self) -> Secret[bytes]:
        """Encode the request; the graph's bytes are shared between variants."""
        options, server = self._options, self._api.server
        extra: dict[str, Any] = dict(options.extra_data or {})
        if options.previews != "default" and server.can("preview_method"):
            extra.setdefault("preview_method", options.previews)
        if options.partner_api_key:
            extra["api_key_comfy_org"] = options.partner_api_key
        if (editor := self._workflow.editor) is not None:
            extra["extra_pnginfo"] = {"workflow": editor, **extra.get("extra_pnginfo", {})}
        envelope: dict[str, Any] = {}
        if not server.cloud:
            envelope["client_id"] = self._desk.client_id
            envelope["prompt_id"] = self.job.prompt_id
            if not server.can("client_prompt_id"):
                extra[MARK] = self.job.prompt_id
        if extra:
            envelope["extra_data"] = extra
        if options.number is not None:
            envelope["number"] = options.number
        elif options.front:
            envelope["front"] = True
        if options.targets is not None:
            server.require("partial_execution_targets", "run only some outputs (`targets`)")
            envelope["partial_execution_targets"] = list(options.targets)
        rest = Secret(json.dumps(envelope, separators=(",", ":"), allow_nan=False, default=_revealed))
        comma = "," if envelope else ""
        head = b'{"prompt":' + self._workflow.encode() + comma.encode()
        return Secret(head + rest.reveal()[1:].encode())

    async def _post(self, body: Secret[bytes]) -> Answer | None:
        """Send until the outcome is known; None when the job turned up although no answer came."""
        posts = 0
        while True:
            posts += 1
            try:
                return await self._api.post_prompt(body)
            except (RequestTimeoutError, TransportError, ResponseError) as error:
                if not _is_unknown(error) or self._desk.closed:
                    raise
                if await self._arrived(error):
                    return None
                if posts == _MAX_POSTS:
                    raise
                _log.info("prompt %s did not arrive (%s): sending it again", self.job.prompt_id, error)

    async def _arrived(self, error: ComfyError) -> bool:
        """Find out whether a prompt without an answer is in the queue.

        Raises:
            SubmitUnknownError: It could not be found out in time.
        """
        clock, job = self._clock, self.job
        deadline = clock.monotonic() + self._desk.settings.submit_seconds
        absent_since: float | None = None
        while not self._api.server.cloud:
            try:
                found = await self._found()
            except SessionClosedError:
                raise
            except ComfyError:
                found = None
            now = clock.monotonic()
            if job.state.started_at is not None or found:
                self._take_queued(b"", {"prompt_id": job.prompt_id})
                return True
            if found is False:
                absent_since = now if absent_since is None else absent_since
                if now - absent_since >= _LOOKS_APART_S:
                    return False
            if now >= deadline:
                break
            await clock.sleep(_LOOKS_APART_S / 2)
        raise SubmitUnknownError(
            f"whether prompt {job.prompt_id} reached {self._desk.base_url} is unknown: {error.args[0]}",
            hint="It was not sent again. `attach(error.prompt_id)` finds the job should it turn up.",
            prompt_id=job.prompt_id,
            server=self._desk.base_url,
        ) from error

    async def _found(self) -> bool:
        """Look for the job in queue, history and queue."""
        prompt_id = self.job.prompt_id
        if not self._api.server.can("client_prompt_id"):
            return await self._found_by_mark()
        for _ in range(2):
            if prompt_id in (await self._api.snapshot()).entries:
                return True
            if await self._api.history(prompt_id) is not None:
                return True
        return False

    async def _found_by_mark(self) -> bool:
        """Look for the mark: an old server has given the job an id of its own."""
        found = await self._api.find_mark(MARK, self.job.prompt_id)
        if found is not None:
            self._desk.router.rebind(self.job, found)
        return found is not None

    async def _send(self, body: Secret[bytes]) -> None:
        """Post, and read the answer."""
        # A request that is cut off may still arrive: who is cancelled has to know how it went.
        self._posting = asyncio.create_task(self._post(body), name="comfy_async submit")
        answer = await asyncio.shield(self._posting)
        if answer is not None:
            await self._accepted(answer)

    async def _renewed(self, error: PromptRejectedError) -> bool:
        """Send files again that were refused since the server has lost them; say whether there were any."""
        places = [(problem.node, problem.input) for problem in error.problems]
        known = [(node, name) for node, name in places if node is not None and name is not None]
        workflow = await self._desk.resources.files.sent_again(self._workflow, known)
        if workflow is None:
            return False
        _log.info("%s had lost files that were uploaded: they were sent again", self._desk.base_url)
        self._workflow = self.job.workflow = workflow
        return True

    async def _accepted(self, answer: Answer) -> None:
        """Read the answer: accepted, accepted in part, or refused."""
        body = answer.json_object()
        if answer.status == 400 or (body.get("error") and "prompt_id" not in body):
            raise await self.refusals.rejection(body, self.job)
        prompt_id = body.get("prompt_id")
        if not isinstance(prompt_id, str) or not prompt_id:
            raise answer.not_comfyui("the answer to a prompt has no prompt_id")
        is_ours = prompt_id == self.job.prompt_id
        if not is_ours and self._desk.jobs.had(prompt_id):
            raise answer.not_comfyui(f"it gave the prompt the id of another job, {prompt_id}")
        self._api.prove("client_prompt_id", is_ours)
        if not is_ours:
            self._desk.router.rebind(self.job, prompt_id)
        self._take_queued(answer.body, body)
        node_errors = body.get("node_errors")
        if node_errors:
            await self._partial(node_errors)

    def _take_queued(self, raw: bytes, data: Mapping[str, Any]) -> None:
        """Tell the job that it is in the queue."""
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
        """The caller will never hold the job: see to it that the server does not run it."""
        refused = isinstance(error, Exception) and not isinstance(error, NotComfyUIError)
        if self._posting is None or refused:
            self._desk.jobs.drop(self.job)
            return

        self.job.leaving = True

        async def work(seconds: float | None) -> None:
            await self._take_back(self._posting, _CLEANUP_S if seconds is None else seconds)
            self._desk.jobs.drop(self.job)

        await self._desk.clean_up(work, name="comfy_async submit withdrawn")

    async def _take_back(self, posting: asyncio.Task[Answer | None] | None, seconds: float) -> None:
        """Withdraw the prompt within a time; never raises, says what may still run."""
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
            _log.warning("prompt %s may still run: %s", self.job.prompt_id, problem)

    async def _withdraw(self, posting: asyncio.Task[Answer | None], seconds: float) -> None:
        """Wait a while for the answer, which may name another id, then cancel the job until it has ended.

        Raises:
            ComfyError: The server could not be asked.
        """
        state = self.job.state
        if state.queued_at is None:
            await asyncio.wait([posting], timeout=_ANSWER_S)
            if posting.done() and not posting.cancelled() and posting.exception() is None:
                answer = posting.result()
                if answer is not None:
                    await self._accepted(answer)
        if state.queued_at is None and not await self._turns_up():
            return
        self._desk.router.posted(self.job)
        await self._desk.canceller.cancel(self.job, seconds)

    async def _turns_up(self) -> bool:
        """Cancel a prompt that may arrive yet; say whether it did, False when it is absent for a while.

        Raises:
            ComfyError: The server could not be asked.
        """
        absent_since: float | None = None
        while True:
            await self._api.cancel(self.job.prompt_id)
            if await self._found():
                self._take_queued(b"", {"prompt_id": self.job.prompt_id})
                return True
            now = self._clock.monotonic()
            absent_since = now if absent_since is None else absent_since
            if now - absent_since >= _GONE_S:
                return False
            await self._clock.sleep(_GONE_S / 2)


def _revealed(value: object) -> object:
    """Return a key as it is sent; JSON knows nothing else that would come here."""
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"a {type(value).__name__} in extra_data is no JSON")


def _is_unknown(error: ComfyError) -> bool:
    """Say whether the server may have queued the prompt although it did not say so."""
    if isinstance(error, ResponseError):
        return error.status >= 500
    return not isinstance(error, (ConnectError, NotComfyUIError))
