"""The worker: one session with one ComfyUI, in a process of its own that Ray keeps alive."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Final

import anyio

from .._base.secrets import Secret
from .._client.session import ComfySession, engine_of
from .._dialects.dialect import Draft
from .._job.core import JobCore
from .._session.engine import Engine
from .._session.options import SubmitOptions
from .._session.submission import Submission
from ..errors import ComfyError, ConnectError, JobCancelledError, SessionClosedError, SubmitUnknownError
from ..events import BaseEvent
from ..types import JobStatus
from ..workflow import NodeCatalog, Workflow
from ._command import ComfyCommand, OwnServer
from ._messages import About, Accepted, Ended, Happened, Message, Refused

__all__ = ["ComfyWorker"]

# Events that follow each other closely travel together.
_LINGER_S: Final = 0.02
_LOOK_S: Final = 0.25


class ComfyWorker:
    """One session with one ComfyUI, several jobs at once; a fleet makes an async Ray actor of it.

    The driver chooses each job's id before it is posted. Whatever dies, by the id it is known where the
    job is: `resume` finds it on the server again, and a job that was resumed is never posted.

    Args:
        server: The URL of a ComfyUI that runs, or a `ComfyCommand` to start one that is the
            worker's own and ends with it.
        limit: Jobs on the server at once, None for any number; further ones wait here.
        client_id: The same after every restart of the worker, so that it gets its jobs' events again.
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
        self._own: OwnServer | None = None
        self._startup_seconds = 0.0
        if isinstance(server, ComfyCommand):
            self._own = OwnServer(server)
            self._startup_seconds = server.startup_seconds
            self._url = Secret(self._own.url)
        else:
            self._url = Secret(server)
        self._options = Secret({"client_id": client_id, **(session or {})})
        # Some show the locals of every frame of a traceback.
        del server, session
        self._places = None if limit is None else asyncio.Semaphore(limit)
        self._opening: asyncio.Task[Engine] | None = None
        self._posts: dict[str, asyncio.Task[JobCore]] = {}
        self._resumed: set[str] = set()
        self._unwanted: set[str] = set()

    async def about(self) -> About:
        """Return what this worker is, once its server answers; `error` says that it does not.

        Raises:
            ConnectError: Its own server could not be started.
        """
        engine = await self._engine()
        error: Exception | None = None
        try:
            await engine.known_server()
        except ComfyError as failure:
            error = failure
        return About(
            url=engine.base_url,
            client_id=engine.client_id,
            owned=self._own is not None,
            pid=os.getpid(),
            node=socket.gethostname(),
            error=error,
        )

    async def prepare(self, workflow: Workflow, check: bool) -> Workflow | Exception:
        """Return a workflow that this server takes: converted, its files uploaded, checked."""
        try:
            engine = await self._engine()
            await engine.known_server()
            return await engine.prepared(workflow, check=check)
        except (ComfyError, OSError, ValueError) as error:
            return error

    async def catalog(self, again: Collection[str]) -> NodeCatalog | Exception:
        """Return what its server can run; the classes `again` are read again."""
        try:
            nodes = (await self._engine()).resources.nodes
            return await (nodes.read_again(again) if again else nodes.catalog())
        except (ComfyError, OSError) as error:
            return error

    async def post(
        self, prompt_id: str, workflow: Workflow, options: SubmitOptions
    ) -> AsyncIterator[Message]:
        """Submit a workflow under an id that the driver has noted, and report what happens to it.

        Yields:
            `Accepted` or `Refused`, then `Happened` any number of times, then `Ended`.
        """
        if self._places is not None:
            await self._places.acquire()
        try:
            task = asyncio.create_task(self._submitted(prompt_id, workflow, options), name="comfy_async post")
            self._posts[prompt_id] = task
            async for message in self._life_of(prompt_id, task):
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
        async for message in self._life_of(prompt_id, task):
            yield message

    async def cancel(self, prompt_id: str) -> JobStatus | None:
        """Cancel one job, also one that is being posted, and return how it stands.

        None is for one that was not posted here, and will not be; how the others ended is reported
        where they are followed as well.
        """
        task = self._posts.get(prompt_id)
        if task is None:
            self._unwanted.add(prompt_id)
            return None
        await asyncio.wait([task])
        if task.cancelled() or task.exception() is not None:
            return None
        return await (await self._engine()).cancel(task.result())

    async def read(
        self, filename: str, subfolder: str, type: str, asset: str | None = None
    ) -> bytes | Exception:
        """Return an output file's bytes."""
        try:
            files = (await self._engine()).files
            return await files.read(filename, subfolder=subfolder, type=type, asset=asset)
        except ComfyError as error:
            return error

    async def chunks(
        self, filename: str, subfolder: str, type: str, asset: str | None = None
    ) -> AsyncIterator[bytes | Exception]:
        """Yield an output file's bytes as they come."""
        try:
            files = (await self._engine()).files
            async for chunk in files.open(filename, subfolder=subfolder, type=type, asset=asset):
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

    async def _engine(self) -> Engine:
        """Return the open session's engine; the first caller opens it for all."""
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.create_task(self._open(), name="comfy_async worker")
        return await asyncio.shield(self._opening)

    async def _open(self) -> Engine:
        """Start the server if it is the worker's own, and open the session.

        Raises:
            ConnectError: The worker's own server does not answer in time.
        """
        engine = engine_of(ComfySession(self._url.reveal(), connect="lazy", **self._options.reveal()))
        engine.check_loop()
        if self._own is None:
            return engine
        if self._own.starts == 0:
            await self._own.start()
        with anyio.move_on_after(self._startup_seconds):
            while not await _answers(engine):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)
            return engine
        await engine.aclose()
        raise ConnectError(
            f"the ComfyUI that was started did not answer within {self._startup_seconds:g} s",
            server=engine.base_url,
        )

    async def _submitted(self, prompt_id: str, workflow: Workflow, options: SubmitOptions) -> JobCore:
        """Post, unless the driver has looked for the job here already: it believes that it is not here.

        Raises:
            ComfyError: The server cannot be reached, or refuses.
        """
        engine = await self._engine()
        await engine.known_server()
        if prompt_id in self._resumed:
            raise SessionClosedError(
                f"job {prompt_id} was given up before it was posted", prompt_id=prompt_id
            )
        if prompt_id in self._unwanted:
            raise JobCancelledError(f"job {prompt_id} was cancelled", prompt_id=prompt_id)
        if options.partner_api_key is None:
            options = dataclasses.replace(options, partner_api_key=engine.partner_api_key)
        engine.veil.add(options.partner_api_key)
        submission = Submission(engine, workflow, options)
        submission.job.state.prompt_id = prompt_id
        return await submission.run()

    async def _found(self, prompt_id: str, client_id: str, accepted: bool) -> JobCore:
        """Attach to a job.

        Raises:
            SubmitUnknownError: The server chooses the ids, and never said this one's.
            ComfyError: The request failed.
        """
        engine = await self._engine()
        server = await engine.known_server()
        if not accepted and not engine.api.finds_posted:
            raise SubmitUnknownError(
                f"it is unknown whether job {prompt_id} reached {engine.base_url}",
                prompt_id=prompt_id,
                server=engine.base_url,
            )
        if not accepted and not server.can("client_prompt_id"):
            draft = Draft(graph=b"", prompt_id=prompt_id, client_id=client_id)
            prompt_id = await engine.api.find_posted(draft, ()) or prompt_id
        return await engine.attach({"prompt_id": prompt_id, "client_id": client_id})

    async def _life_of(self, prompt_id: str, task: asyncio.Task[JobCore]) -> AsyncIterator[Message]:
        """Report a job's run."""
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
                await (await self._engine()).cancel(job)
            if job.seen or job.state.queued_at is not None or job.done:
                yield Accepted(job.prompt_id, job.client_id, job.node_errors)
            async for message in _follow(job):
                yield message
        finally:
            for known in [name for name, post in self._posts.items() if post is task]:
                del self._posts[known]


async def _answers(engine: Engine) -> bool:
    """Ask a server that is being started."""
    try:
        await engine.known_server()
    except ComfyError:
        return False
    return True


async def _follow(job: JobCore) -> AsyncIterator[Message]:
    """Yield a job's events in batches, then its end."""
    stream = job.read()
    events: list[BaseEvent] = []
    try:
        async for event in stream:
            events = [event]
            if not job.ended.is_set():
                with anyio.move_on_after(_LINGER_S):
                    await job.ended.wait()
            while stream.unread:
                events.append(await anext(stream))
            if events[-1].terminal:
                events.pop()
            else:
                yield Happened(events)
                events = []
    except SessionClosedError:
        pass
    yield _end_of(job, events)


def _end_of(job: JobCore, events: list[BaseEvent]) -> Ended:
    """Return how a job ended, with the events that were not yet sent."""
    state = job.state
    end = state.terminal
    if end is not None:
        # Without its frame: the driver need not ask any history whether something was missed.
        end = type(end)(None, end.data, end.prompt_id, received_at=end.received_at)
    return Ended(end, state.outputs, state.cached, state.missing, events)
