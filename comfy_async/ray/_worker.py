"""The worker: one session with one ComfyUI, in a process of its own that Ray keeps alive."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import anyio

from .._client.session import ComfySession
from .._job.job import Job
from .._session.attach import attach
from .._session.submission import MARK, Submission, SubmitOptions
from ..errors import ComfyError, ConnectError, JobCancelledError, SessionClosedError, SubmitUnknownError
from ..events import BaseEvent
from ..workflow import Workflow
from ._command import ComfyCommand, OwnServer
from ._told import (
    About,
    Accepted,
    Ended,
    Message,
    Refused,
    Told,
)

__all__ = ["ComfyWorker"]

# Events that follow each other closely travel together.
_LINGER_S: Final = 0.02
_LOOK_S: Final = 0.25
_CHUNK: Final = 1 << 20


class ComfyWorker:
    """One session with one ComfyUI, several jobs at once; a fleet makes an async Ray actor of it.

    The driver chooses each job's id before it is posted. Whatever dies, the id tells where the
    job is: `resume` finds it on the server again, and a job that was resumed is never posted.

    Args:
        server: The URL of a ComfyUI that runs, or a `ComfyCommand` to start one that is the
            worker's own and ends with it.
        limit: Jobs on the server at once, None for any number; further ones wait here.
        client_id: The same in every life of the worker, so that its jobs' events find it again.
        session: Further options of `ComfySession`, such as `api_key` or `settings`.

    Example:
        >>> import ray
        >>> Worker = ray.remote(ComfyWorker).options(max_restarts=-1, max_concurrency=1000)  # num_gpus=1
        >>> workers = [Worker.remote(url) for url in ("http://10.0.0.7:8188", "http://10.0.0.8:8188")]
        >>> async with ComfyFleet(workers=workers) as fleet:
        ...     result = await fleet.run(flow)
    """

    def __init__(
        self,
        server: str | ComfyCommand,
        *,
        limit: int | None = None,
        client_id: str | None = None,
        session: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the options; the session is opened by the first call."""
        self._own = OwnServer(server) if isinstance(server, ComfyCommand) else None
        self._startup_seconds = server.startup_seconds if isinstance(server, ComfyCommand) else 0.0
        self._url = self._own.url if self._own is not None else str(server)
        self._options: dict[str, Any] = {"client_id": client_id, **(session or {})}
        self._places = None if limit is None else asyncio.Semaphore(limit)
        self._opening: asyncio.Task[ComfySession] | None = None
        self._posts: dict[str, asyncio.Task[Job]] = {}
        self._resumed: set[str] = set()
        self._unwanted: set[str] = set()

    async def about(self) -> About:
        """Return what this worker is, once its server answers; `error` says that it does not.

        Raises:
            ConnectError: Its own server could not be started.
        """
        session = await self._session()
        error: Exception | None = None
        try:
            await session._known_server()
        except ComfyError as failure:
            error = failure
        return About(
            url=session.base_url,
            client_id=session.client_id,
            owned=self._own is not None,
            pid=os.getpid(),
            node=socket.gethostname(),
            error=error,
        )

    async def prepare(self, workflow: Workflow, check: bool) -> Workflow | Exception:
        """Return a workflow that this server takes: converted, its files uploaded, checked."""
        try:
            session = await self._session()
            await session._known_server()
            return await session._prepared(workflow, check=check)
        except (ComfyError, OSError, ValueError) as error:
            return error

    async def post(
        self, prompt_id: str, workflow: Workflow, options: SubmitOptions
    ) -> AsyncIterator[Message]:
        """Submit a workflow under an id that the driver has noted, and tell what happens to it.

        Yields:
            `Accepted` or `Refused`, then `Told` any number of times, then `Ended`.
        """
        if self._places is not None:
            await self._places.acquire()
        try:
            task = asyncio.create_task(self._submitted(prompt_id, workflow, options), name="comfy_async post")
            self._posts[prompt_id] = task
            async for message in self._told(prompt_id, task):
                yield message
        finally:
            if self._places is not None:
                self._places.release()

    async def resume(self, prompt_id: str, client_id: str, accepted: bool) -> AsyncIterator[Message]:
        """Pick up a job that this worker, or another one, has posted or was about to post.

        Yields:
            As `post`; a job that the server does not know ends as lost, and is never posted here.
        """
        self._resumed.add(prompt_id)
        task = self._posts.get(prompt_id)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            found = self._found(prompt_id, client_id, accepted)
            task = self._posts[prompt_id] = asyncio.create_task(found, name="comfy_async resume")
        async for message in self._told(prompt_id, task):
            yield message

    async def cancel(self, prompt_id: str) -> None:
        """Cancel one job, also one that is being posted; how it ended is told where it is followed."""
        task = self._posts.get(prompt_id)
        if task is None:
            self._unwanted.add(prompt_id)
            return
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            await (await self._session())._cancel(task.result())

    async def read(self, filename: str, subfolder: str, type: str) -> bytes | Exception:
        """Return an output file's bytes."""
        try:
            return await (await self._session()).files.read(filename, subfolder=subfolder, type=type)
        except ComfyError as error:
            return error

    async def chunks(self, filename: str, subfolder: str, type: str) -> AsyncIterator[bytes | Exception]:
        """Yield an output file's bytes as they come."""
        try:
            files = (await self._session()).files
            async for chunk in files.open(filename, subfolder=subfolder, type=type):
                yield chunk
        except ComfyError as error:
            yield error

    async def stop(self) -> None:
        """Close the session, and end the server if it is the worker's own."""
        opening, self._opening = self._opening, None
        if opening is not None:
            await asyncio.wait([opening])
            if not opening.cancelled() and opening.exception() is None:
                await opening.result().aclose()
        if self._own is not None:
            await self._own.stop()

    async def _session(self) -> ComfySession:
        """Return the open session; the first caller opens it for all."""
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.create_task(self._open(), name="comfy_async worker")
        return await asyncio.shield(self._opening)

    async def _open(self) -> ComfySession:
        """Start the server if it is our own, and open the session.

        Raises:
            ConnectError: Our own server does not answer in time.
        """
        session = ComfySession(self._url, connect="lazy", **self._options)
        await session.connect()
        if self._own is not None:
            if self._own.starts == 0:
                await self._own.start()
            with anyio.move_on_after(self._startup_seconds):
                while not await _answers(session):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)
                return session
            await session.aclose()
            raise ConnectError(
                f"the ComfyUI that was started did not answer within {self._startup_seconds:g} s",
                server=self._url,
            )
        return session

    async def _submitted(self, prompt_id: str, workflow: Workflow, options: SubmitOptions) -> Job:
        """Post, unless the driver has looked for the job here already: it believes that it is not here.

        Raises:
            ComfyError: The server cannot be reached, or refuses.
        """
        session = await self._session()
        await session._known_server()
        if prompt_id in self._resumed:
            raise SessionClosedError(
                f"job {prompt_id} was given up before it was posted", prompt_id=prompt_id
            )
        if prompt_id in self._unwanted:
            raise JobCancelledError(f"job {prompt_id} was cancelled", prompt_id=prompt_id)
        submission = Submission(session, workflow, options)
        submission.job._state.prompt_id = prompt_id
        return await submission.run()

    async def _found(self, prompt_id: str, client_id: str, accepted: bool) -> Job:
        """Attach to a job.

        Raises:
            SubmitUnknownError: The server chooses the ids, and never said this one's.
            ComfyError: The server cannot be asked.
        """
        session = await self._session()
        server = await session._known_server()
        if not accepted and server.cloud:
            raise SubmitUnknownError(
                f"whether job {prompt_id} reached {session.base_url} is unknown",
                prompt_id=prompt_id,
                server=session.base_url,
            )
        if not accepted and not server.can("client_prompt_id"):
            prompt_id = await session._api.find_mark(MARK, prompt_id) or prompt_id
        return await attach(session, {"prompt_id": prompt_id, "client_id": client_id})

    async def _told(self, prompt_id: str, task: asyncio.Task[Job]) -> AsyncIterator[Message]:
        """Tell a job's life."""
        try:
            await asyncio.wait([task])
            if task.cancelled():
                yield Refused(SessionClosedError("the worker ends"))
                return
            error = task.exception()
            if error is not None:
                yield Refused(error) if isinstance(error, Exception) else Refused(ComfyError(str(error)))
                return
            job = task.result()
            # An old server has chosen another id, by which the driver knows the job from now on.
            self._posts[job.prompt_id] = task
            if prompt_id in self._unwanted:
                self._unwanted.discard(prompt_id)
                await (await self._session())._cancel(job)
            if job._seen or job._state.queued_at is not None or job.done:
                yield Accepted(job.prompt_id, job._client_id, job.node_errors)
            async for message in _follow(job):
                yield message
        finally:
            for known in [name for name, post in self._posts.items() if post is task]:
                del self._posts[known]


async def _answers(session: ComfySession) -> bool:
    """Ask a server that is being started."""
    try:
        await session._known_server()
    except ComfyError:
        return False
    return True


async def _follow(job: Job) -> AsyncIterator[Message]:
    """Yield a job's events in handfuls, then its end."""
    stream = job.events()
    box = stream._box
    events: list[BaseEvent] = []
    try:
        async for event in stream:
            events = [event]
            if not job._ended.is_set():
                with anyio.move_on_after(_LINGER_S):
                    await job._ended.wait()
            while len(box):
                events.append(await anext(stream))
            if events[-1].terminal:
                events.pop()
            else:
                yield Told(events)
                events = []
    except SessionClosedError:
        pass
    yield _end_of(job, events)


def _end_of(job: Job, events: list[BaseEvent]) -> Ended:
    """Return how a job ended, with the events that were not yet told."""
    state = job._state
    end = state.terminal
    if end is not None:
        # Without its frame: the driver need not ask any history whether something was missed.
        end = type(end)(None, end.data, end.prompt_id, received_at=end.received_at)
    return Ended(end, state.outputs, state.cached, state.missing, events)
