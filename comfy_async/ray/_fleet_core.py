"""What the verbs of a fleet stand on: its workers, where a job goes, and the background tasks."""

from __future__ import annotations

import asyncio
import functools
import logging
import uuid
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Literal, cast

import anyio
import ray

from .._base.lifetime import Lifetime
from .._base.settings import Clock, Settings
from .._batch.items import restored
from .._batch.journal import Journal, is_final, workflow_key
from .._client.session import ComfySession
from .._job.job import Job
from .._job.stream import abandon
from .._pool.needs import worst_first
from .._session.prepare import as_workflow
from .._session.submission import SubmitOptions
from .._transport.http import HttpClient
from ..errors import ComfyError, ConnectError, SessionClosedError, WorkflowError
from ..types import JobStatus
from ..workflow import Workflow
from ._command import ComfyCommand
from ._flight import Flight, carried
from ._lane import Lane, Seat

__all__ = ["FleetCore", "submit_options"]

_log = logging.getLogger("comfy_async")


class FleetCore(Lifetime):
    """The private part of `ComfyFleet`."""

    _kind = "fleet"

    settings: Settings
    _servers: list[str | ComfyCommand]
    _given: list[Any]
    _size: int | None
    _limit: int | None
    _files: Literal["server", "bytes", "objects"]
    _actor: dict[str, Any]
    _session_options: dict[str, Any]
    _clock: Clock

    def __init__(self) -> None:
        """Start without workers."""
        self._timings: dict[Any, Any] = {}
        self._lanes: list[Lane] = []
        self._flights: dict[Job, Flight] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting: dict[Flight, asyncio.Event] = {}
        self._turn = 0

    # The workers.

    async def _hire_all(self) -> None:
        """Make a lane for each server and worker, and open them."""
        for server in self._servers:
            count = 1 if isinstance(server, str) else await self._count()
            for _ in range(count):
                self._add(server)
        for worker in self._given:
            self._lanes.append(Lane(self, server=None, client_id="", worker=worker))
        opening = {self._spawn(self._joined(lane)): lane for lane in self._lanes}
        slow = {task for task, lane in opening.items() if isinstance(lane.server, ComfyCommand)}
        if len(slow) < len(opening):
            await asyncio.wait(opening.keys() - slow)
        waiting = set(opening)
        while not any(lane.ready and lane.error is None for lane in self._lanes):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not waiting and not any(lane.ready and lane.error is None for lane in self._lanes):
                errors = [lane.error for lane in self._lanes if lane.error is not None]
                raise errors[0] if errors else ConnectError("no server of the fleet answers")

    async def _count(self) -> int:
        """Return how many workers shall start the command."""
        if self._size is not None:
            return self._size
        machines = await asyncio.to_thread(ray.nodes)
        wanted = wanted_of(self._actor)
        room = sum(room_on(machine["Resources"], wanted) for machine in machines if machine["Alive"])
        if not room:
            _log.warning("no machine of the cluster has %s: the worker waits until one joins", wanted)
        return max(1, room)

    def _add(self, server: str | ComfyCommand) -> Lane:
        """Make a worker."""
        lane = Lane(self, server=server, client_id=uuid.uuid4().hex)
        self._lanes.append(lane)
        return lane

    async def _joined(self, lane: Lane) -> None:
        """Open a lane; one that fails gets no jobs."""
        try:
            await lane.open()
        except Exception as error:
            lane.error = error
            if isinstance(error, ComfyError) and not lane.gone:
                lane.down(error)
            else:
                lane.gone = True
                _log.warning("a worker of the fleet does not join: %s", error)
            self._wake()

    # What a batch needs.

    async def _run_item(self, item: Any, index: int, journal: Journal | None, **options: Any) -> Job:
        """Bring one workflow of a batch to a job that is under way, or ended long ago."""
        chosen = submit_options(**{"previews": "none", **options, "keep_frames": False}, index=index)
        try:
            workflow = as_workflow(item)
            key = "" if journal is None else workflow_key(await self._as_sent(workflow))
        except WorkflowError as error:
            flight = Flight(self, None, chosen, patient=True)
            flight._fail(error)
            return flight.job
        flight = Flight(self, workflow, chosen, patient=True, journal=journal, key=key)
        record = None if journal is None else journal.find(index, key)
        ref = record.get("ref") if record is not None else None
        if record is not None and isinstance(ref, Mapping):
            lane = await self._lane_of(str(ref.get("server")))
            if is_final(record):
                return restored(cast(Any, Seat(self, lane)), record, workflow, index)
            if record.get("status") == "submitted" and lane is not None:
                flight.job._recalled = True
                self._launch(flight, flight.resume(lane, str(ref["prompt_id"]), str(ref["client_id"])))
                return flight.job
        self._launch(flight, flight.run())
        return flight.job

    async def _as_sent(self, workflow: Workflow) -> Workflow:
        """Return what would be sent, by which a results file tells workflows apart."""
        if workflow.format == "api" and not workflow.uploads():
            return workflow
        while True:
            lane = next((lane for lane in self._lanes if lane.ready and lane.error is None), self._lanes[0])
            try:
                prepared: Workflow = await lane.call("prepare", await carried(workflow), False)
                return prepared
            except ConnectError as error:
                lane.away(error)
                await self._clock.sleep(self.settings.reconnect_first)

    async def _abandon_job(self, job: Job) -> None:
        """Cancel a job that nobody waits for any more."""
        await abandon(cast(Any, self), job)

    # What flights need.

    def _launch(self, flight: Flight, work: Coroutine[Any, Any, None]) -> None:
        """Let a flight begin."""
        self._flights[flight.job] = flight
        self._spawn(work)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background, and hold on to it."""
        task = asyncio.create_task(work, name="comfy_async fleet")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _place(self, flight: Flight) -> Lane | None:
        """Return the least loaded lane that can run a workflow; None when it was cancelled meanwhile.

        Raises:
            ComfyError: No lane can, or, unless the flight is patient, none answers.
        """
        if self._is_seated(flight):
            return flight.lane
        if flight.waits_since is None:
            flight.waits_since = self._clock.monotonic()
        while not flight.job._cancel_wanted:
            now = self._clock.monotonic()
            self._check_patience(flight, now - flight.waits_since)
            soonest = min((lane.retry_at for lane in self._lanes if lane.retry_at > now), default=now + 60.0)
            turn = self._waiting[flight] = asyncio.Event()
            try:
                await self._clock.wait(turn, soonest - now)
            finally:
                del self._waiting[flight]
            if not flight.job._cancel_wanted and (flight.lane is not None or self._is_seated(flight)):
                return flight.lane
        return None

    def _is_seated(self, flight: Flight) -> bool:
        """Give a workflow its place; False when it has to wait for one.

        Raises:
            ComfyError: No lane can run it, or, unless the flight is patient, none answers.
        """
        now = self._clock.monotonic()
        able = self._able(flight)
        free = [lane for lane in able if lane.free and (lane.retry_at <= now or not flight.patient)]
        if not free:
            return False
        lane = min(free, key=lambda each: (each.error is not None, len(each.jobs), each.turn))
        self._turn += 1
        lane.turn = self._turn
        lane.jobs.add(flight.job)
        flight.lane = lane
        return True

    def _check_patience(self, flight: Flight, seconds: float) -> None:
        """Demand that there is something to wait for; a worker starts its own server again.

        Raises:
            ComfyError: No server has answered for as long as the fleet waits.
        """
        limit = self.settings.away_seconds
        able = self._able(flight)
        if limit is not None and seconds >= limit and all(lane.error and not lane.owned for lane in able):
            error = able[0].error
            assert error is not None
            raise error

    def _able(self, flight: Flight) -> list[Lane]:
        """Return the lanes that a workflow may wait for.

        Raises:
            ComfyError: There is none.
        """
        lanes = [lane for lane in self._lanes if not lane.visiting and not lane.gone]
        able = [lane for lane in lanes if lane not in flight.refused and not lane.lacks & flight.needs]
        if not able and flight.refused:
            raise worst_first(flight.refused.values())[-1]
        # What was once lacking may have been installed: the servers say so themselves.
        able = able or [lane for lane in lanes if lane not in flight.refused]
        if not able:
            raise next((lane.error for lane in self._lanes if lane.error), ConnectError("no worker is left"))
        if flight.patient:
            return able
        errors = {lane: flight.unreached.get(lane) or (None if lane.ready else lane.error) for lane in able}
        reached = [lane for lane in able if errors[lane] is None]
        if not reached:
            raise next(error for error in errors.values() if error is not None)
        return [lane for lane in reached if lane.error is None] or reached

    async def _lane_of(self, server: str) -> Lane | None:
        """Return the lane to a server by the word of a ref; None when it was a worker's own, long ago."""
        for lane in self._lanes:
            if lane.url == server or (lane.owned and server == f"ray:{lane.client_id}"):
                return lane
        if not server.startswith(("http://", "https://")):
            return None
        # Not one of ours any more, but the job may still be there: it gets no new ones.
        lane = self._add(server)
        lane.visiting = True
        await self._joined(lane)
        return lane

    def _job_ended(self, job: Job) -> None:
        """Let go of a job that has ended."""
        self._flights.pop(job, None)

    async def _cancel(self, job: Job) -> JobStatus:
        """Cancel a job wherever it is, and wait, for as long as is sensible, for its true end."""
        self._check_open()
        job._cancel_wanted = True
        flight = self._flights.get(job)
        if flight is not None:
            with anyio.move_on_after(self.settings.cancel_seconds):
                await flight.cancel()
                await job._ended.wait()
        return job.status

    def _call_off(self, flight: Flight) -> None:
        """Let a workflow that waits for a place notice that it is cancelled."""
        turn = self._waiting.get(flight)
        if turn is not None:
            turn.set()

    def _wake(self) -> None:
        """Something has changed: give free places to those who wait, the first ones first."""
        for flight, turn in self._waiting.items():
            if turn.is_set():
                continue
            if not any(lane.free for lane in self._lanes) and not self._is_stuck():
                return
            try:
                if self._is_seated(flight) or flight.job._cancel_wanted:
                    turn.set()
            except Exception:
                # Its own task meets the same error, and tells it to whoever submitted.
                turn.set()

    def _is_stuck(self) -> bool:
        """Say whether some may wait in vain: workers have gone, or their servers do not start."""
        return any(lane.gone or (lane.error is not None and not lane.ready) for lane in self._lanes)

    def _check_open(self) -> None:
        """Demand that the fleet is open.

        Raises:
            SessionClosedError: It is not.
        """
        if self._closed or self._loop is None:
            raise self._closed_error(None)

    def _send_home(self) -> None:
        """Wake whoever waits for a job; the jobs go on."""
        for job in list(self._flights):
            job._abandon(self._closed_error(job.prompt_id))

    def _closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes before `async with` or after it."""
        return SessionClosedError(
            "the fleet is not open", hint="Use it inside `async with`.", prompt_id=prompt_id
        )

    @functools.cached_property
    def _http(self) -> HttpClient:
        """What knows the keys, for those who have to hide them; nothing is sent by it."""
        return ComfySession("http://ray", **self._session_options)._http


def wanted_of(actor: Mapping[str, Any]) -> dict[str, float]:
    """Return what a worker takes of a machine, in Ray's names, by its actor options."""
    wanted = {
        "GPU": actor.get("num_gpus"),
        "CPU": actor.get("num_cpus"),
        "memory": actor.get("memory"),
        **(actor.get("resources") or {}),
    }
    return {name: float(amount) for name, amount in wanted.items() if amount}


def room_on(there: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """Return how many workers a machine has room for; one where they take nothing that is counted."""
    return int(min((there.get(name, 0.0) // amount for name, amount in wanted.items()), default=1.0))


def submit_options(
    *,
    check: bool = False,
    on_partial: Literal["raise", "keep"] = "raise",
    previews: str | None = None,
    extra_data: Mapping[str, Any] | None = None,
    partner_api_key: str | None = None,
    front: bool = False,
    number: float | None = None,
    targets: Iterable[str] | None = None,
    keep_frames: bool = True,
    index: int | None = None,
) -> SubmitOptions:
    """Return what `ComfySession.submit` takes, as the worker gets it."""
    return SubmitOptions(
        check=check,
        on_partial=on_partial,
        previews=previews or "auto",
        extra_data=extra_data,
        partner_api_key=partner_api_key,
        front=front,
        number=number,
        targets=None if targets is None else tuple(map(str, targets)),
        keep_frames=keep_frames,
        index=index,
    )
