"""A web app: jobs by POST, their events as server-sent events, cancelled when the browser leaves.

Needs `pip install 'comfy-async[testing]' fastapi uvicorn`, and a ComfyUI (`--server URL`) or its stand-in.

    python examples/web_app.py        # then open the address that it prints

    POST   /jobs                      202 {id, links}; 422 with what is wrong; 429 when too many are open
    GET    /jobs/{id}                 status, place in the queue, progress, outputs, error
    GET    /jobs/{id}/events          state first, then what happens, `end` last; ?on_leave=cancel
    GET    /jobs/{id}/outputs/{n}     the bytes of a file
    DELETE /jobs/{id}                 cancels it, and says how it truly ended
    POST   /pictures                  the bytes of a picture; 413 when they are too many

Ids cannot be guessed. Who may use it at all is up to your own login.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from example_needs import needs
from example_server import PORTRAIT, parser, server_url
from image_to_image import workflow as inverted

from comfy_async import (
    ComfyError,
    ComfySession,
    ConnectError,
    InsufficientCreditsError,
    Job,
    JobError,
    NotFoundError,
    Preview,
    PromptRejectedError,
    RateLimitError,
    RequestTimeoutError,
    SessionClosedError,
    UploadTooLargeError,
    Workflow,
    WorkflowError,
)

with needs(__doc__):
    import uvicorn
    from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
    from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
    from pydantic import BaseModel, Field
    from starlette.types import Receive, Scope, Send

MOST_OPEN = 100
MOST_KEPT = 1000
LARGEST_PICTURE = 20 * 1024 * 1024
ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
SECONDS_OF_SILENCE = 15.0
PAGE = Path(__file__).with_name("web_app.html")

# What the caller can correct is 4xx and explained; the rest is logged, and no address gets out.
STATUSES: dict[type[ComfyError], int] = {
    PromptRejectedError: 422,
    WorkflowError: 422,
    UploadTooLargeError: 413,
    InsufficientCreditsError: 402,
    RateLimitError: 429,
    NotFoundError: 404,
    JobError: 409,
    ConnectError: 503,
    SessionClosedError: 503,
    RequestTimeoutError: 504,
    ComfyError: 502,
}
log = logging.getLogger("web_app")
router = APIRouter()


class Order(BaseModel):
    """What a caller wants: a picture of a prompt, or the negative of a picture that was uploaded."""

    prompt: str = Field("", max_length=2000)
    picture: str | None = None
    previews: bool = False


class Desk:
    """The jobs and pictures of this app: what may be requested by id, and a bound for each.

    A table of `job.ref`s in your database instead outlives the process: `await comfy.attach(ref)`.
    """

    def __init__(self, comfy: ComfySession) -> None:
        """Use one session for everybody: a thousand jobs cost one socket."""
        self.comfy = comfy
        self.jobs: dict[str, Job] = {}
        self.pictures: dict[str, Any] = {}
        self.portrait = Workflow.load(PORTRAIT)
        self.bound: set[Job] = set()
        self._submitting = 0

    async def submit(self, order: Order) -> Job:
        """Take on one job more, or refuse."""
        if self._submitting + sum(not job.done for job in self.jobs.values()) >= MOST_OPEN:
            raise HTTPException(429, "too many jobs are waiting", headers={"Retry-After": "10"})
        # Counted before anything is awaited: two requests never take the same last place.
        self._submitting += 1
        try:
            previews: Literal["auto", "none"] = "auto" if order.previews else "none"
            job = await self.comfy.submit(self.workflow(order), previews=previews, keep_frames=False)
        finally:
            self._submitting -= 1
        self.jobs[job.prompt_id] = job
        ended = [name for name, job in self.jobs.items() if job.done]
        for name in ended[: max(0, len(self.jobs) - MOST_KEPT)]:
            del self.jobs[name]
        return job

    def workflow(self, order: Order) -> Workflow:
        """Return what is to be run."""
        if order.picture is None:
            return self.portrait.randomized().with_inputs({"6.text": order.prompt})
        if order.picture not in self.pictures:
            raise HTTPException(422, "there is no such picture")
        return inverted().with_inputs({"The picture.image": self.pictures[order.picture]})

    async def keep(self, content: bytes, ending: str) -> str:
        """Upload a picture under a name of ours, never the caller's."""
        name = f"{uuid.uuid4().hex}{ending}"
        self.pictures[name] = await self.comfy.files.upload(content, name=name)
        if len(self.pictures) > MOST_KEPT:
            del self.pictures[next(iter(self.pictures))]
        return name


def desk_of(request: Request) -> Desk:
    """Return the desk of the app."""
    desk: Desk = request.app.state.desk
    return desk


def job_of(id: str, desk: Annotated[Desk, Depends(desk_of)]) -> Job:
    """Return the job that a URL names: one of this app, whatever else the ComfyUI runs."""
    if id not in desk.jobs:
        raise HTTPException(404, "there is no such job")
    return desk.jobs[id]


TheDesk = Annotated[Desk, Depends(desk_of)]
TheJob = Annotated[Job, Depends(job_of)]


@router.get("/")
async def page() -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(await asyncio.to_thread(PAGE.read_text, encoding="utf-8"))


@router.post("/jobs", status_code=202)
async def submit(order: Order, desk: TheDesk, response: Response) -> dict[str, Any]:
    """Put a job into the queue."""
    job = await desk.submit(order)
    response.headers["Location"] = f"/jobs/{job.prompt_id}"
    return await state_of(job)


@router.get("/jobs/{id}")
async def state(job: TheJob) -> dict[str, Any]:
    """Say where a job stands."""
    return await state_of(job)


@router.delete("/jobs/{id}")
async def cancel(job: TheJob) -> dict[str, Any]:
    """Cancel a job; its status says how it truly ended."""
    await job.cancel()
    return await state_of(job)


@router.get("/jobs/{id}/events")
async def events(
    job: TheJob, desk: TheDesk, on_leave: Literal["keep", "cancel"] = "keep"
) -> StreamingResponse:
    """Stream what happens to a job."""
    return EventResponse(job, desk.bound if on_leave == "cancel" else None)


@router.get("/jobs/{id}/outputs/{number}")
async def output(job: TheJob, number: int) -> StreamingResponse:
    """Pass a file on: the browser never sees the ComfyUI."""
    files = (await job).files if job.done else []
    if not 0 <= number < len(files):
        raise HTTPException(404 if job.done else 409, f"the job is {job.status}")
    chunks = files[number].stream()
    # The first chunk now: an error can still become a status.
    first = await anext(chunks, b"")
    headers = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(joined(first, chunks), media_type=files[number].mime, headers=headers)


@router.post("/pictures", status_code=201)
async def upload(request: Request, desk: TheDesk) -> dict[str, str]:
    """Take in a picture, as the body of the request, up to a size."""
    ending = ENDINGS.get(request.headers.get("content-type", ""))
    if ending is None:
        raise HTTPException(415, f"send one of {', '.join(ENDINGS)}")
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST_PICTURE:
            raise HTTPException(413, f"a picture may have {LARGEST_PICTURE} bytes")
    return {"picture": await desk.keep(bytes(content), ending)}


class EventResponse(StreamingResponse):
    """Server-sent events of a job, which is cancelled when its reader leaves, if that was requested."""

    def __init__(self, job: Job, bound: set[Job] | None) -> None:
        """Prepare; `bound` has the jobs that do not outlive their readers, None for one that does."""
        # `X-Accel-Buffering` keeps nginx from holding the events back.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(told(job), media_type="text/event-stream", headers=headers)
        self.job = job
        self.bound = bound
        if bound is not None:
            bound.add(job)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end. Here and not in the generator, which a reader may leave before it begins."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.bound is not None:
                # A framework may call this in a cancelled scope: the request goes out all the same.
                await stop(self.job)
                self.bound.discard(self.job)


async def stop(job: Job) -> None:
    """Cancel a job that is not waited for any more."""
    try:
        await job.cancel()
    except SessionClosedError:
        pass  # The app is ending, and sees to it.
    except ComfyError as error:
        log.warning("job %s may still run: %s", job.prompt_id, error)


async def told(job: Job) -> AsyncIterator[str]:
    """Yield a job as server-sent events: where it stands, for a reader that comes back, then what changes."""
    happening = job.events()
    last = packed("state", await state_of(job))
    yield last
    while True:
        try:
            async with asyncio.timeout(SECONDS_OF_SILENCE):
                event = await anext(happening)
        except TimeoutError:
            # Proxies cut a connection on which nothing is said.
            yield ": still here\n\n"
            continue
        except (StopAsyncIteration, SessionClosedError):
            break
        if isinstance(event, Preview):
            yield packed("preview", f"data:{event.mime};base64,{base64.b64encode(event.image).decode()}")
        elif (message := packed("state", await state_of(job))) != last and not job.done:
            # A step, a node, a place in the queue (QueuePosition): one shape for all that moves.
            last = message
            yield message
    yield packed("end", await state_of(job))


async def state_of(job: Job) -> dict[str, Any]:
    """Return a job as JSON."""
    home, progress = f"/jobs/{job.prompt_id}", job.progress
    files = (await job).files if job.status == "completed" else []
    error = job.error
    return {
        "id": job.prompt_id,
        "status": job.status,
        "place": job.queue_position,
        "progress": {"fraction": progress.fraction, "text": str(progress)},
        "outputs": [
            {"href": f"{home}/outputs/{number}", "kind": file.kind, "type": file.mime}
            for number, file in enumerate(files)
        ],
        "error": error and {"type": type(error).__name__, "message": str(error)},
        "links": {"self": home, "events": f"{home}/events"},
    }


def packed(name: str, data: Any) -> str:
    """Return one server-sent event; JSON has no line ends that would end it early."""
    return f"event: {name}\ndata: {data if isinstance(data, str) else json.dumps(data)}\n\n"


async def joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a chunk and those that follow."""
    async with aclosing(rest):  # type: ignore[type-var]
        yield first
        async for chunk in rest:
            yield chunk


async def on_error(_request: Request, error: Exception) -> JSONResponse:
    """Answer an error of comfy_async with the status that it means."""
    status = next(code for kind, code in STATUSES.items() if isinstance(error, kind))
    if status >= 500:
        log.error("%s", error)
    problems = [str(problem) for problem in getattr(error, "problems", ())]
    message = "the picture server has a problem" if status >= 500 else "; ".join(problems) or str(error)
    seconds = getattr(error, "retry_after", None)
    return JSONResponse(
        {"error": type(error).__name__, "message": message, "retryable": getattr(error, "retryable", False)},
        status,
        headers={"Retry-After": f"{seconds:.0f}"} if seconds else None,
    )


def make_app(url: str) -> FastAPI:
    """Return an app with one session for as long as it runs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Lazy: the app starts while ComfyUI still does, and answers 503 until it is there.
        async with ComfySession(url, connect="lazy") as comfy:
            app.state.desk = desk = Desk(comfy)
            yield
            # The tasks of readers who stayed were cancelled, and may not have come to this.
            await asyncio.gather(*map(stop, desk.bound))

    app = FastAPI(lifespan=lifespan)
    app.include_router(router)
    app.add_exception_handler(ComfyError, on_error)
    return app


async def main() -> None:
    """Serve until Ctrl-C."""
    arguments = parser(__doc__)
    arguments.add_argument("--port", type=int, default=8000)
    options = arguments.parse_args()
    async with server_url(options.server, step_seconds=0.2) as url:
        # Readers of events would keep it from ending for ever.
        config = uvicorn.Config(
            make_app(url), port=options.port, log_level="warning", timeout_graceful_shutdown=5
        )
        print(f"open http://127.0.0.1:{options.port}")
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main())
