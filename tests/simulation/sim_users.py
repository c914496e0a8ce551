"""What people do with a session or a pool, each by its name; every choice is drawn from the step's chance."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image
from sim_books import Outcome, check_events
from sim_loop import PROCESS, Process
from sim_plan import Step

from comfy_async import (
    ComfyError,
    ComfySession,
    Completed,
    Job,
    JobCancelledError,
    JobError,
    JobLostError,
    JobResult,
    SessionClosedError,
    Started,
)

if TYPE_CHECKING:
    from sim_world import World

WITHIN_A_STEP: Final = 100
"""Numbers of workflows that a step may use."""


def graph(number: int, kind: str) -> dict[str, Any]:
    """Return a small workflow whose number can be read on the server."""
    meta = {"title": str(number)}
    if kind == "download":
        picture = {"width": 16, "height": 16, "batch_size": 1, "color": number}
        return {
            "1": {"class_type": "EmptyImage", "inputs": picture, "_meta": meta},
            "2": {
                "class_type": "SaveImage",
                "inputs": {"images": ["1", 0], "filename_prefix": f"out{number}"},
            },
        }
    if kind == "socket_image":
        picture = {"width": 8, "height": 8, "batch_size": 2, "color": number}
        return {
            "1": {"class_type": "EmptyImage", "inputs": picture, "_meta": meta},
            "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
        }
    seed = 7 if kind == "cached" else number
    last = "SimFail" if kind == "fail" else "SimOut"
    short = {
        "1": {"class_type": "SimSteps", "inputs": {"seed": seed}, "_meta": meta},
        "2": {"class_type": last, "inputs": {"value": ["1", 0]}},
    }
    if len(texts_of(number)) == 1:
        return short
    return {
        **short,
        "3": {"class_type": "SimSteps", "inputs": {"seed": seed + 1}},
        "4": {"class_type": "SimOut", "inputs": {"value": ["3", 0]}},
    }


def texts_of(number: int) -> tuple[str, ...]:
    """Return what a workflow shows: every third one something early, and something at its end."""
    return ("done", "done") if number // WITHIN_A_STEP % 3 == 0 else ("done",)


def with_picture(graph: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a workflow that saves a picture as well: API v2 has no outputs but files."""
    picture = {"width": 8, "height": 8, "batch_size": 1, "color": number}
    saving = {"images": ["11", 0], "filename_prefix": f"out{number}"}
    return {
        **graph,
        "11": {"class_type": "EmptyImage", "inputs": picture},
        "12": {"class_type": "SaveImage", "inputs": saving},
    }


class User:
    """Somebody who lives through one step.

    Attributes:
        comfy: The session, or the pool, that is used.
        number: Of the first workflow.
    """

    def __init__(self, world: World, step: Step) -> None:
        self.world = world
        self.kind = step.kind
        self.number = step.number * WITHIN_A_STEP
        self.rng = random.Random(f"user {step.number} {world.plan.seed}")
        self.comfy = self.rng.choice(world.clients)

    @property
    def session(self) -> ComfySession:
        """The session; only where there is no pool."""
        assert isinstance(self.comfy, ComfySession)
        return self.comfy

    def moment(self, most: float = 3.0) -> float:
        """Draw a while: sometimes none, sometimes a few turns of the loop, sometimes seconds."""
        choice = self.rng.random()
        if choice < 0.2:
            return 0.0
        if choice < 0.5:
            return self.rng.uniform(0.0, 0.01)
        return self.rng.uniform(0.0, most)

    async def pause(self, most: float = 3.0) -> None:
        """Let some turns of the loop, or some seconds pass."""
        if self.rng.random() < 0.3:
            for _ in range(self.rng.randrange(30)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(self.moment(most))

    def outcome(self, offset: int = 0, *, wanted: bool = False) -> Outcome:
        """Open the record of a workflow."""
        outcome = Outcome(self.number + offset, self.kind, wanted=wanted)
        outcome.pooled = self.world.plan.shape == "pool"
        self.world.outcomes.append(outcome)
        return outcome

    @contextlib.contextmanager
    def judged(self, outcome: Outcome) -> Any:
        """Note what a block ends with."""
        try:
            yield
        except JobError:
            pass
        except ComfyError as error:
            self.world.failed(outcome, error)

    async def submit(self) -> Job:
        """Submit the first workflow."""
        return await self.comfy.submit(self.graph())

    def graph(self, number: int | None = None) -> dict[str, Any]:
        """Return one of the workflows, by its number; the first by default."""
        number = number or self.number
        made = graph(number, self.kind)
        # That of a download saves a picture already.
        return with_picture(made, number) if self.world.plan.v2 and self.kind != "download" else made

    def check(self, result: JobResult, outcome: Outcome) -> None:
        """Hold a result against what its workflow puts out."""
        if result.missing:
            return
        if not self.world.plan.v2:
            if result.texts != texts_of(outcome.number):
                outcome.problems.append(f"texts {result.texts}")
            return
        names = [file.filename for file in result.images]
        if len(names) != 1 or not str(names[0]).startswith(f"out{outcome.number}_"):
            outcome.problems.append(f"images {names}")

    async def told(self, job: Job, outcome: Outcome) -> None:
        """Wait for the end of a job, and hold it against what was promised."""
        result: JobResult | None = None
        try:
            result = await job
        except JobError:
            pass
        outcome.status = job.status
        outcome.told_at = self.world.now
        await check_events(job, outcome)
        if result is not None and not result.missing and self.kind not in ("download", "upload"):
            if self.kind == "socket_image":
                if len(result.images) != 2:
                    outcome.problems.append(f"{len(result.images)} images, and nothing is said to be missing")
            else:
                self.check(result, outcome)
        elif result is not None and result.missing and self.heard_all:
            outcome.problems.append(f"missing {result.missing}")

    @property
    def heard_all(self) -> bool:
        """Whether nothing can have been missed by the socket."""
        return self.world.plan.calm and not self.world.plan.poll and self.kind != "attach"


async def _run(user: User) -> None:
    outcome = user.outcome()
    with user.judged(outcome):
        result = await user.comfy.run(user.graph())
        outcome.status, outcome.told_at = "completed", user.world.now
        user.check(result, outcome)


async def _late(user: User) -> None:
    outcome = user.outcome()
    with user.judged(outcome):
        job = await user.submit()
        await asyncio.sleep(user.rng.uniform(0.0, 10.0))
        await user.told(job, outcome)
        outcome.told_at = None


async def _iterate(user: User) -> None:
    outcome = user.outcome()
    with user.judged(outcome):
        job = await user.submit()
        async for _ in job:
            pass
        await user.told(job, outcome)


async def _slow(user: User) -> None:
    outcome = user.outcome()
    with user.judged(outcome):
        job = await user.submit()
        async for _ in job:
            await asyncio.sleep(user.rng.uniform(0.0, 0.5))
        await user.told(job, outcome)
        outcome.told_at = None


async def _leave(user: User) -> None:
    outcome = user.outcome(wanted=True)
    last = user.rng.choice((Started, Completed, None))
    with user.judged(outcome):
        async with user.comfy.stream(user.graph()) as job:
            async for event in job:
                if last is None or isinstance(event, last):
                    break
            outcome.left_at = user.world.now
        await user.told(job, outcome)


async def _cancel(user: User) -> None:
    outcome = user.outcome(wanted=True)
    with user.judged(outcome):
        job = await user.submit()
        await user.pause()
        outcome.left_at = user.world.now
        said = await job.cancel()
        before = user.world.now
        await user.told(job, outcome)
        if said in ("completed", "failed", "cancelled", "lost") and said != job.status:
            outcome.problems.append(f"cancel() said {said}, and it is {job.status}")
        if said not in ("completed", "failed", "cancelled", "lost") and user.world.plan.calm:
            outcome.problems.append(f"cancel() said {said} at {before:.1f}")


async def _cancel_twice(user: User) -> None:
    """Several at once, each cancelled itself perhaps."""
    outcome = user.outcome(wanted=True)
    with user.judged(outcome):
        job = await user.submit()
        await user.pause(1.0)
        several = [asyncio.create_task(_quietly(job.cancel)) for _ in range(3)]
        await user.pause(0.5)
        several[0].cancel()
        await asyncio.wait(several)
        await user.told(job, outcome)


async def _quietly(work: Callable[[], Awaitable[Any]]) -> None:
    with contextlib.suppress(ComfyError):
        await work()


async def _give_up(user: User) -> None:
    """Stop waiting for `run`, at any turn, and perhaps a second time while it tidies up."""
    outcome = user.outcome(wanted=True)
    running = asyncio.create_task(user.comfy.run(user.graph()))
    await user.pause(2.0)
    stopped = running.cancel()
    if stopped and user.rng.random() < 0.5:
        await user.pause(0.1)
        running.cancel()
    await asyncio.wait([running])
    if not running.cancelled():
        with user.judged(outcome):
            try:
                running.result()
                outcome.status = "completed"
            except JobCancelledError:
                outcome.status = "cancelled"
            except JobError as error:
                outcome.status = "lost" if isinstance(error, JobLostError) else "failed"
    elif stopped:
        outcome.left_at = user.world.now


async def _attach(user: User) -> None:
    """A second session, or the same one, follows a job too: it hears the same end."""
    outcome = user.outcome()
    with user.judged(outcome):
        job = await user.submit()
        await user.pause()
        other = user.rng.choice(user.world.clients)
        second = user.outcome()
        with user.judged(second):
            again = await other.attach(job.ref if user.rng.random() < 0.5 else str(job.prompt_id))
            await user.told(again, second)
        await user.told(job, outcome)


async def _download(user: User) -> None:
    outcome = user.outcome()
    with user.judged(outcome):
        job = await user.submit()
        await user.told(job, outcome)
        if job.status != "completed":
            return
        result = await job
        if result.missing:
            return
        truth = user.world.file_on_server(user.number)
        try:
            data = await result.images[0].read()
            (saved,) = await result.save(user.world.folder / f"saved{user.number}/")
        except ComfyError as error:
            user.world.failed(user.outcome(), error)
            return
        if data != truth or saved.read_bytes() != truth:
            outcome.problems.append("the file differs from the server's")


async def _upload(user: User) -> None:
    outcome = user.outcome()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (user.number % 256, 1, 2)).save(buffer, format="PNG")
    with user.judged(outcome):
        face = await user.session.files.upload(buffer.getvalue(), name=f"up{user.number}.png")
        loading = {"class_type": "LoadImage", "inputs": {"image": face}, "_meta": {"title": str(user.number)}}
        showing = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
        job = await user.comfy.submit({"1": loading, "2": showing})
        await user.told(job, outcome)


async def _fetch(user: User) -> None:
    """Save a larger file: it goes on where it was when the connection breaks."""
    outcome = user.outcome()
    data = random.Random(user.number).randbytes(user.rng.choice((1_000, 200_000, 600_000)))
    folder = user.world.fakes[0].folders.of_type("output")
    assert folder is not None
    (folder / f"big{user.number}.bin").write_bytes(data)
    with user.judged(outcome):
        target = user.world.folder / f"big{user.number}.bin"
        path = await user.session.files.save(f"big{user.number}.bin", target)
        if path.read_bytes() != data:
            outcome.problems.append("the file differs from the server's")
        if await user.session.files.read(f"big{user.number}.bin") != data:
            outcome.problems.append("what was read differs from the server's")


async def _watch(user: User) -> None:
    """Read all events of a session for a while: it never comes back without having gone."""
    last = ""
    outcome = user.outcome()
    with contextlib.suppress(TimeoutError), user.judged(outcome):
        async with asyncio.timeout(user.rng.uniform(0.1, 30.0)):
            async for event in user.session.events():
                if event.type in ("disconnected", "reconnected") and event.prompt_id is None:
                    if event.type == last == "reconnected":
                        outcome.problems.append(f"{event.type} twice")
                    last = event.type


async def _map(user: User) -> None:
    count = user.rng.randint(2, 8)
    outcomes = [user.outcome(n) for n in range(count)]
    await _mapped(user, outcomes, None)


async def _mapped(user: User, outcomes: list[Outcome], results: Path | None) -> None:
    """Run a batch, with a file for its results perhaps."""
    work = [user.graph(outcome.number) for outcome in outcomes]
    limit = user.rng.choice((1, 3, 8))
    async with user.comfy.map(work, limit=limit, results=results) as finished:
        async for job in finished:
            outcome = outcomes[job.index or 0]
            if outcome.status:
                outcome.problems.append("came twice")
            try:
                result = await job
                user.check(result, outcome)
                outcome.status = job.status
            except JobError:
                outcome.status = job.status
            except ComfyError as error:
                user.world.failed(outcome, error)
    for outcome in outcomes:
        if not outcome.status:
            outcome.problems.append("never came")


async def _close(user: User) -> None:
    """A session of one's own is closed at any turn, with jobs under way."""
    session = user.world.another_session()
    cancels = user.rng.random() < 0.5
    outcomes = [user.outcome(n, wanted=cancels) for n in range(3)]

    async def one(outcome: Outcome) -> None:
        try:
            await session.run(user.graph(outcome.number))
            outcome.status = "completed"
        except JobError as error:
            outcome.status = f"ended {type(error).__name__}" if not cancels else ""
        except SessionClosedError:
            outcome.wanted = True
        except ComfyError as error:
            user.world.failed(outcome, error)

    try:
        await session.connect()
    except ComfyError as error:
        for outcome in outcomes:
            user.world.failed(outcome, error)
    else:
        tasks = [asyncio.create_task(one(outcome)) for outcome in outcomes]
        await user.pause()
        await session.aclose(cancel_jobs=cancels)
        _, hanging = await asyncio.wait(tasks, timeout=60.0)
        if hanging:
            outcomes[0].problems.append(f"{len(hanging)} hang after aclose()")
        for task in hanging:
            task.cancel()
    await session.aclose()


async def _key(user: User) -> None:
    """Several processes submit under one key at about the same time, and one of them may die: one job."""
    key = f"order-{user.number}"
    others = [user.world.another_session() for _ in range(user.rng.randrange(3))]
    sessions = [user.session, *others, *([user.session] if user.rng.random() < 0.3 else [])]
    outcomes = [user.outcome() for _ in sessions]

    async def dying() -> None:
        async with user.world.another_session() as session:
            with contextlib.suppress(ComfyError):
                await session.submit(user.graph(), key=key)
            await asyncio.Event().wait()

    async def one(session: ComfySession, outcome: Outcome) -> None:
        await user.pause(0.5)
        with user.judged(outcome):
            await user.told(await session.submit(user.graph(), key=key), outcome)
            outcome.told_at = None

    work = [one(session, outcome) for session, outcome in zip(sessions, outcomes, strict=True)]
    if user.rng.random() < 0.4:
        work.append(_die(user, dying))
    try:
        await asyncio.gather(*work)
    finally:
        for session in others:
            await session.aclose()


async def _crash(user: User) -> None:
    """A process submits and dies; another one picks up what it had noted."""
    notes: dict[int, Any] = {}

    async def life() -> None:
        async with user.world.another_session() as session:
            for n in range(4):
                with contextlib.suppress(ComfyError):
                    job = await session.submit(user.graph(user.number + n))
                    notes[n] = job.ref
            await asyncio.Event().wait()

    outcomes = [user.outcome(n) for n in range(4)]
    await _die(user, life)
    for n, ref in notes.items():
        with user.judged(outcomes[n]):
            job = await user.session.attach(ref)
            await user.told(job, outcomes[n])
            outcomes[n].told_at = None


async def _map_crash(user: User) -> None:
    """A batch with a results file dies, and is run again: what ran does not run twice."""
    outcomes = [user.outcome(n) for n in range(6)]
    results = user.world.folder / f"results{user.number}.jsonl"
    earlier = [Outcome(outcome.number, "map_crash") for outcome in outcomes]

    async def life() -> None:
        async with user.world.another_session() as session:
            first = User(user.world, Step(0.0, "map_crash", user.number // WITHIN_A_STEP))
            first.comfy = session
            await _mapped(first, earlier, results)

    await _die(user, life)
    for outcome in outcomes:
        outcome.broke_at = user.world.now
    for _ in range(8):
        await _mapped(user, outcomes, results)
        if not any(outcome.status.startswith("error") for outcome in outcomes):
            break
        # A server that could not be asked says nothing of its jobs: they are found the next time.
        await user.pause(60.0)
        for outcome in outcomes:
            outcome.status, outcome.error, outcome.unknown = "", "", None


async def _map_full_disk(user: User) -> None:
    """The disk is full while a batch notes its results: the batch fails, and goes on later."""
    outcomes = [user.outcome(n, wanted=True) for n in range(6)]
    results = user.world.folder / f"results{user.number}.jsonl"
    earlier = [Outcome(outcome.number, user.kind) for outcome in outcomes]
    for outcome in outcomes:
        outcome.resumed = True
    user.world.full_disks[str(results)] = user.rng.randrange(12)
    try:
        await _mapped(user, earlier, results)
    except OSError:
        for outcome in outcomes:
            outcome.broke_at = user.world.now
    user.world.full_disks.pop(str(results), None)
    await _mapped(user, outcomes, results)


async def _die(user: User, life: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Let a process live for a while, and die at any turn."""
    loop = user.world.sim.loop
    process = Process(f"user {user.number}")
    context = contextvars.copy_context()
    context.run(PROCESS.set, process)
    task = loop.create_task(life(), context=context)
    await user.pause(5.0)
    if not task.done():
        user.world.crash(process)
    elif not task.cancelled() and (error := task.exception()) is not None:
        if not isinstance(error, ComfyError):
            raise error


USERS: Final[dict[str, Callable[[User], Awaitable[None]]]] = {
    "run": _run,
    "iterate": _iterate,
    "slow": _slow,
    "late": _late,
    "cached": _iterate,
    "fail": _iterate,
    "leave": _leave,
    "cancel": _cancel,
    "cancel_twice": _cancel_twice,
    "give_up": _give_up,
    "attach": _attach,
    "download": _download,
    "upload": _upload,
    "socket_image": _iterate,
    "fetch": _fetch,
    "watch": _watch,
    "map": _map,
    "close": _close,
    "key": _key,
    "crash": _crash,
    "map_crash": _map_crash,
    "map_full_disk": _map_full_disk,
}


async def live(world: World, step: Step) -> None:
    """Let somebody do one step."""
    await USERS[step.kind](User(world, step))
