"""One world: servers, clients, people and bad luck by a plan, and the verdict of the books."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import fcntl
import gc
import logging
import os
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from PIL import Image
from sim_books import AWAY_S, Ledger, Outcome, Watcher, judge
from sim_faults import happen, heal
from sim_loop import PROCESS, Process, RunawayError, StuckError, process_of
from sim_net import Weather
from sim_plan import Plan, Step
from sim_time import Simulation
from sim_users import live

from comfy_async import (
    ComfyError,
    ComfyPool,
    ComfySession,
    ConnectError,
    RequestTimeoutError,
    ResponseError,
    SubmitUnknownError,
    TransportError,
)
from comfy_async._base import filelock
from comfy_async._batch.journal import Journal
from comfy_async.testing import ApiV2, FakeComfy

Client: TypeAlias = ComfySession | ComfyPool

SECRET: Final = "key-that-nobody-may-see"
PATIENCE_S: Final = 400.0
"""How long after the storm everything must have come to its end."""
MOST_A_SECOND: Final = 20
"""How often a client asks for one and the same thing within a second, and as often for what people do."""

# A clock that jumps by a day ends the time for which jobs are known: the books know nothing of that.
_KEPT: Final[dict[str, Any]] = {"retention_seconds": 1e9}
MANNERS: Final[dict[str, Callable[[], ApiV2]]] = {
    "v2": lambda: ApiV2(**_KEPT),
    "v2 few streams": lambda: ApiV2(max_streams=2, links="signed", url_seconds=5.0, lists_jobs=True, **_KEPT),
    "v2 deployment": lambda: ApiV2.deployment(**_KEPT),
    "v2 proxy": lambda: ApiV2.proxy(**_KEPT),
    "v2 polled": lambda: ApiV2(streams=False, **_KEPT),
}
"""The servers of API v2, by their versions in a plan."""

_NAME: Final = "comfy.test"
_VERIFY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_HONEST: Final = (ConnectError, RequestTimeoutError, ResponseError, SubmitUnknownError, TransportError)


@dataclasses.dataclass
class Verdict:
    """What became of a world.

    Attributes:
        problems: What was not as promised.
        trace: Everything that went over the network.
        jobs: How many outcomes there are.
        faults: How many faults there were.
        seconds: How long it took, in the time of the world.
        statuses: How the jobs ended.
        slowest: The longest time from the end of a job, or of the storm, to its being told.
    """

    problems: list[str]
    trace: str
    jobs: int = 0
    faults: int = 0
    seconds: float = 0.0
    turns: int = 0
    statuses: dict[str, int] = dataclasses.field(default_factory=dict)
    slowest: float = 0.0
    late: list[str] = dataclasses.field(default_factory=list)


class _Ear(logging.Handler):
    """Hears what the package logs."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.DEBUG)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Complain about keys, and about what should not happen."""
        text = record.getMessage()
        if SECRET in text:
            self._world.problems.append(f"the log shows the key: {text}")
        excused = not self._world.plan.calm and text.startswith("comfy_async cancel failed")
        if record.levelno >= logging.ERROR and not excused:
            self._world.problems.append(f"logged: {text} {record.exc_info and record.exc_info[1]!r}")


class World:
    """Everything that there is in one world.

    Attributes:
        clients: The sessions, or the pools, that people share.
        outcomes: What people were told.
        folder: The disk of the clients.
        full_disks: After how many lines a file finds no room any more, by its path.
    """

    def __init__(self, sim: Simulation, plan: Plan, folder: Path) -> None:
        self.sim = sim
        self.plan = plan
        self.folder = folder
        self.fakes: list[FakeComfy] = []
        self.clients: list[Client] = []
        self.outcomes: list[Outcome] = []
        self.problems: list[str] = []
        self.full_disks: dict[str, int] = {}
        self.ledger = Ledger()
        self.watchers: list[Watcher] = []
        self.locks: list[tuple[int, Process | None]] = []
        self.late: list[str] = []
        self._dead: list[Process] = []
        self._calm = Weather(delay=plan.delay, pieces=plan.pieces)

    @property
    def now(self) -> float:
        """Seconds of the loop's clock."""
        return self.sim.loop.now

    def failed(self, outcome: Outcome, error: ComfyError) -> None:
        """Note an error in the place of an end; only a bad day excuses some of them."""
        outcome.status = f"error {type(error).__name__}"
        outcome.error = str(error)
        if isinstance(error, SubmitUnknownError):
            outcome.unknown = error.prompt_id
        if SECRET in f"{error!r} {error}":
            outcome.problems.append("the error shows the key")
        rejected = isinstance(error, ResponseError) and error.status is not None and error.status < 500
        if self.plan.calm or not isinstance(error, _HONEST) or rejected:
            outcome.problems.append(f"{type(error).__name__}: {error}")

    def file_on_server(self, number: int) -> bytes:
        """Return what SaveImage wrote for a workflow."""
        found = [
            path
            for fake in self.fakes
            for path in (fake.folders.of_type("output") or self.folder).rglob(f"out{number}_*.png")
        ]
        return found[0].read_bytes() if found else b""

    def hooks(self) -> list[Watcher]:
        """Return the hooks of a session, which are judged unless its process dies."""
        if PROCESS.get() is not None:
            return []
        self.watchers.append(Watcher())
        return self.watchers[-1:]

    def url(self, fake: FakeComfy) -> str:
        """Return where clients find a server."""
        return f"http://{_NAME}:{fake.port}" if self.plan.named else fake.url

    def another_session(self) -> ComfySession:
        """Return a session with the first server that nobody else has."""
        url, options = self.url(self.fakes[0]), {"connect": "lazy", **self.options()}
        if self.plan.version == "cloud":
            return ComfySession.cloud(base_url=url, **options)
        return ComfySession(url, **options)

    def options(self) -> dict[str, Any]:
        """Return what a client is made with."""
        return {
            "api_key": SECRET,
            "dialect": "cloud-v1" if self.plan.version == "cloud" else "api-v2" if self.plan.v2 else "auto",
            "transport": "poll" if self.plan.poll else "auto",
            "verify": _VERIFY,
            "trust_env": False,
            "hooks": self.hooks(),
        }

    def crash(self, process: Process) -> None:
        """Let a process die: what it holds of the system goes with it."""
        self.sim.loop.crash(process)
        self._dead.append(process)
        for descriptor, owner in self.locks:
            if owner is process:
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)

    async def live(self) -> None:
        """Live through the plan, and judge."""
        await self._begin()
        loop = self.sim.loop
        begin = loop.now
        work = [asyncio.create_task(self._step(step, begin)) for step in self.plan.steps]
        bad = [asyncio.create_task(self._fault(number, begin)) for number in range(len(self.plan.faults))]
        await asyncio.sleep(self.plan.storm)
        for task in bad:
            task.cancel()
        await asyncio.wait(bad) if bad else None
        for task in bad:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.problems.append(f"a fault failed: {error!r}")
        for fake in self.fakes:
            await heal(self.sim, fake, self._calm)
        healed = loop.now
        if work:
            _, hanging = await asyncio.wait(work, timeout=PATIENCE_S)
            for task in sorted(hanging, key=hash):
                self.problems.append(f"hangs: {task.get_name()} {task!r}")
                task.cancel()
            await asyncio.wait(work)
        for task in work:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.problems.append(f"{task.get_name()}: {error!r}")
        await self._find_unknown()
        await self._close()
        self._judge(healed)
        await self._end()

    async def _begin(self) -> None:
        """Start servers and clients."""
        plan = self.plan
        self.sim.net.names[_NAME] = "127.0.0.1"
        for _ in range(plan.servers):
            options: dict[str, Any] = {"version": plan.version}
            if plan.version == "cloud":
                options = {"mode": "cloud", "api_key": SECRET}
            elif plan.v2:
                options = {"dialect": "api-v2", "api_key": SECRET, "api_v2": MANNERS[plan.version]()}
            fake = FakeComfy(step_seconds=plan.step_seconds, history_delay=plan.history_delay, **options)
            fake.script("SimSteps", inputs={"seed": "INT"}, outputs=["VALUE"], steps=2, cached=True)
            fake.script("SimOut", inputs={"value": "VALUE"}, is_output=True, output={"text": ["done"]})
            fake.script("SimFail", inputs={"value": "VALUE"}, is_output=True, error=("RuntimeError", "sim"))
            await fake.start()
            self.sim.net.weather((fake.host, fake.port)).__dict__.update(dataclasses.asdict(self._calm))
            self.ledger.watch(fake, lambda: self.now)
            self.fakes.append(fake)
        self.sim.net.guard(SECRET, [(fake.host, fake.port) for fake in self.fakes])
        if plan.shape == "pool":
            urls = [self.url(fake) for fake in self.fakes]
            self.clients = [ComfyPool(urls, **self.options())]
        else:
            self.clients = [self.another_session() for _ in range(plan.sessions)]
        for client in self.clients:
            await client.connect()

    async def _step(self, step: Step, begin: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name(f"{step.number} {step.kind}")
        await asyncio.sleep(max(0.0, begin + step.at - self.now))
        await live(self, step)

    async def _fault(self, number: int, begin: float) -> None:
        fault = self.plan.faults[number]
        await asyncio.sleep(max(0.0, begin + fault.at - self.now))
        fake = self.fakes[fault.number % len(self.fakes)]
        self.sim.net.note("fault", fault.kind)
        await happen(self.sim, fake, fault, self._calm)

    async def _find_unknown(self) -> None:
        """Attach to the jobs of which nobody knew whether they arrived: those that did are found."""
        for outcome in [outcome for outcome in self.outcomes if outcome.unknown]:
            client = self.clients[0]
            rows = self.ledger.of(outcome.number)
            if not isinstance(client, ComfySession) or self.plan.names_jobs or len(rows) != 1:
                continue
            job = await client.attach(outcome.unknown or "")
            with contextlib.suppress(ComfyError):
                await job
            if not rows[0].forgotten and rows[0].end != "lost" and job.status == "lost":
                outcome.problems.append("attach() does not find it")

    async def _close(self) -> None:
        """Close all clients, in bounded time."""
        for client in self.clients:
            begin = self.now
            await client.aclose()
            if self.now - begin > 30.0:
                self.problems.append(f"aclose() took {self.now - begin:.1f} s")

    async def _end(self) -> None:
        """Stop the servers, and look at what is left."""
        for fake in self.fakes:
            if fake.storage is not None and fake.storage.leaks:
                self.problems.append(f"the storage got a credential: {fake.storage.leaks}")
            await fake.stop()
        await asyncio.sleep(1.0)
        dead = self._dead
        left = [
            task
            for task in sorted(asyncio.all_tasks(), key=hash)
            if task is not asyncio.current_task() and process_of(task) not in dead
        ]
        self.problems += [f"left over: {task!r}" for task in left]
        self.problems += [f"left open: {end!r}" for end in self.sim.net.connections]
        for process in dead:
            self.sim.loop.thaw(process)
        self.problems += self.sim.net.leaks

    def _judge(self, healed: float) -> None:
        """Hold every outcome against the ledger."""
        self.problems += [problem for watcher in self.watchers for problem in watcher.problems]
        self.problems += self.ledger.rushed(MOST_A_SECOND * (len(self.clients) + len(self.plan.steps)))
        aims = self.fakes[0].core.capabilities.has("targeted_interrupt") or self.plan.names_jobs
        for outcome in self.outcomes:
            rows = self.ledger.of(outcome.number)
            # All is well after the storm: in a shorter one no server is away for so long.
            silent = self.plan.storm >= AWAY_S
            cloud = self.plan.names_jobs
            problems = judge(outcome, rows, aims=aims, cloud=cloud, silent=silent)
            ends = [row.ended_at for row in rows if row.end is not None]
            if self.plan.calm and outcome.left_at is not None:
                late = [
                    row for row in rows if row.started_at > outcome.left_at + 2.0 and row.end == "success"
                ]
                if late:
                    problems.append("ran although it was left")
            if self.plan.obeys and outcome.left_at is not None:
                # Nodes heed an interrupt between their steps.
                limit = outcome.left_at + 3.0 + 2 * self.plan.step_seconds
                if any(row.ended_at > limit and row.end == "success" for row in rows):
                    problems.append("went on although it was cancelled")
            if outcome.told_at is not None and ends:
                after = outcome.told_at - max(*ends, 0.0 if self.plan.calm else healed)
                self.slowest = max(self.slowest, after)
                limit = 10.0 if self.plan.calm else 120.0
                if after > 5.0:
                    self.late.append(f"{outcome.kind} {outcome.number} {outcome.status} {after:.1f}")
                if after > limit:
                    problems.append(f"told {after:.1f} s after its end")
            told_error = outcome.status.startswith("error") and "SubmitUnknown" not in outcome.status
            if (
                told_error
                and not outcome.wanted
                and outcome.kind not in ("download", "attach", "close", "crash", "key")
            ):
                if any(row.end == "success" for row in rows):
                    problems.append(f"said {outcome.status}, and ran: {outcome.error}")
            self.problems += [f"{outcome.kind} {outcome.number}: {problem}" for problem in problems]

    slowest = 0.0


@contextlib.contextmanager
def _bent(world: World) -> Iterator[None]:
    """Bend what a world has of the operating system.

    Locks die with their process, disks fill, and pictures are as old as the world says.
    """
    lock, write, save = filelock._lock, Journal._write, Image.Image.save

    def noted(descriptor: int) -> None:
        lock(descriptor)
        world.locks.append((descriptor, PROCESS.get()))

    def limited(journal: Journal, record: Any) -> None:
        room = world.full_disks.get(str(journal.path))
        if room is not None:
            if room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            world.full_disks[str(journal.path)] = room - 1
        write(journal, record)

    def dated(image: Image.Image, fp: Any, *args: Any, **options: Any) -> None:
        save(image, fp, *args, **options)
        if isinstance(fp, str | Path):
            os.utime(fp, (world.sim.wall(), world.sim.wall()))

    bends: list[tuple[Any, str, Any]] = [
        (filelock, "_lock", noted),
        (Journal, "_write", limited),
        (Image.Image, "save", dated),
    ]
    kept = [(place, name, vars(place)[name]) for place, name, _ in bends]
    for place, name, bent in bends:
        setattr(place, name, bent)
    try:
        yield
    finally:
        for place, name, straight in kept:
            setattr(place, name, straight)


def play(plan: Plan) -> Verdict:
    """Live through one world, and return the verdict."""
    sim = Simulation(plan.seed, shuffle=plan.shuffle)
    folder = Path(tempfile.mkdtemp(prefix="sim-world-"))
    world = World(sim, plan, folder)
    ear, log = _Ear(world), logging.getLogger("comfy_async")
    # Connections that break in the middle of a request are its daily bread here.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    level, propagates = log.level, log.propagate
    log.addHandler(ear)
    log.setLevel(logging.DEBUG)
    log.propagate = False

    async def main(_sim: Simulation) -> None:
        await world.live()

    try:
        with _bent(world):
            sim.run(main)
    except (StuckError, RunawayError) as error:
        world.problems.append(f"{type(error).__name__}: {error}")
    finally:
        log.removeHandler(ear)
        log.setLevel(level)
        log.propagate = propagates
        shutil.rmtree(folder, ignore_errors=True)
    gc.collect()
    world.problems += [f"asyncio: {error}" for error in sim.errors]
    statuses: dict[str, int] = {}
    for outcome in world.outcomes:
        statuses[outcome.status] = statuses.get(outcome.status, 0) + 1
    return Verdict(
        problems=world.problems,
        trace=sim.net.lines(),
        jobs=len(world.outcomes),
        faults=len(plan.faults),
        seconds=sim.loop.now,
        turns=sim.loop.turns,
        statuses=statuses,
        slowest=world.slowest,
        late=world.late,
    )
