"""What goes wrong in a world, each by its name; all numbers are drawn from the fault's own chance."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from sim_net import Address, Weather
from sim_plan import Fault
from sim_time import Simulation

from comfy_async.testing import FakeComfy

_ROUTES: Final = ("/history/*", "/api/jobs*", "/queue", "/prompt", "/view", "/system_stats", "/upload/*")
_V2_ROUTES: Final = ("/api/v2/jobs/{id}", "/api/v2/jobs/{id}/events", "/api/v2/jobs", "/api/v2/assets/*")
_WAITING: Final = ("queue_full", "rate_limited", "deployment_not_ready")

Doing: TypeAlias = "Callable[[Evil], Awaitable[None] | None]"


class Evil:
    """One fault that is about to happen to one server."""

    def __init__(self, sim: Simulation, fake: FakeComfy, rng: random.Random, weather: Weather) -> None:
        self.sim = sim
        self.fake = fake
        self.rng = rng
        self.weather = weather
        self.calm = Weather(delay=weather.delay, pieces=weather.pieces)

    @property
    def address(self) -> Address:
        """Where the server is."""
        return (self.fake.host, self.fake.port)

    @property
    def v2(self) -> bool:
        """Whether it is a server of API v2."""
        return self.fake.v2 is not None

    def seconds(self, most: float = 3.0) -> float:
        """Draw a duration: short ones are more likely."""
        return self.rng.uniform(0.0, most) * self.rng.random()


async def _partition(evil: Evil) -> None:
    evil.weather.down = True
    await asyncio.sleep(evil.seconds(40.0))
    evil.sim.net.heal(evil.address)


def _vanish(evil: Evil) -> None:
    ends = evil.sim.net.ends(evil.address)
    for end in ends if evil.rng.random() < 0.3 else ends[-1:]:
        evil.sim.net.vanish(end)


def _break(evil: Evil) -> None:
    ends = evil.sim.net.ends(evil.address)
    if ends:
        evil.sim.net.reset(evil.rng.choice(ends))


async def _slow_link(evil: Evil) -> None:
    evil.weather.bandwidth = evil.rng.choice((500.0, 5_000.0, 50_000.0))
    await asyncio.sleep(evil.seconds(10.0))
    evil.weather.bandwidth = None


async def _lag(evil: Evil) -> None:
    evil.weather.delay = (0.01, evil.rng.choice((0.3, 1.0, 3.0)))
    await asyncio.sleep(evil.seconds(10.0))
    evil.weather.delay = evil.calm.delay


async def _lost_names(evil: Evil) -> None:
    evil.weather.lost_names = True
    await asyncio.sleep(evil.seconds(10.0))
    evil.weather.lost_names = False


def _wall_jump(evil: Evil) -> None:
    evil.sim.wall_offset += evil.rng.choice((-86_400.0, -3_600.0, -5.0, 5.0, 3_600.0, 86_400.0))


def _drop(evil: Evil) -> None:
    how = evil.rng.choice(("close", "cut", "reset"))
    evil.fake.faults.drop_sockets(how, code=evil.rng.choice((1001, 1009, 1011)))  # type: ignore[arg-type]


def _half_open(evil: Evil) -> None:
    evil.fake.faults.drop_sockets("half_open", ends_after=evil.seconds())


def _deafen(evil: Evil) -> None:
    evil.fake.faults.deafen(later=evil.seconds(1.0))


def _late_cleanup(evil: Evil) -> None:
    evil.fake.faults.late_cleanup(evil.rng.choice((0.0, evil.seconds())))


async def _stall(evil: Evil) -> None:
    evil.fake.faults.stall()
    await asyncio.sleep(evil.seconds(20.0))
    evil.fake.faults.unstall()


def _refuse(evil: Evil) -> None:
    evil.fake.faults.refuse_upgrades(evil.rng.choice((500, 502, 503)), count=evil.rng.randint(1, 3))


def _accept_and_close(evil: Evil) -> None:
    evil.fake.faults.accept_and_close(evil.rng.randint(1, 3))


def _garbage(evil: Evil) -> None:
    faults = evil.fake.faults
    evil.rng.choice((faults.send_truncated, faults.send_invalid_text, faults.send_wrong_shapes))()


def _delay(evil: Evil) -> None:
    seconds = evil.seconds(evil.rng.choice((0.5, 5.0, 40.0)))
    late = evil.rng.random() < 0.5
    evil.fake.faults.delay("*", "*", seconds, count=evil.rng.randint(1, 4), after_effect=late)


def _fail_submit(evil: Evil) -> None:
    failure = evil.rng.choice((500, 503, "reset", "html"))
    late = evil.rng.random() < 0.5
    path = "/api/v2/jobs" if evil.v2 else "/prompt"
    evil.fake.faults.fail("POST", path, failure, count=evil.rng.randint(1, 2), after_effect=late)  # type: ignore[arg-type]


def _fail_other(evil: Evil) -> None:
    failure = evil.rng.choice((500, 503, "reset", "html"))
    path, method = evil.rng.choice(_V2_ROUTES if evil.v2 else _ROUTES), evil.rng.choice(("GET", "*"))
    evil.fake.faults.fail(method, path, failure, count=evil.rng.randint(1, 5))  # type: ignore[arg-type]


def _miss_cancel(evil: Evil) -> None:
    evil.fake.faults.miss_cancels()


def _slow_history(evil: Evil) -> None:
    evil.fake.faults.slow_history(evil.seconds(2.0))


def _cut_stream(evil: Evil) -> None:
    how = evil.rng.choice(("end", "cut", "reset"))
    evil.fake.faults.cut_streams(how, after=evil.rng.choice((None, 0, 1, 2)))  # type: ignore[arg-type]


async def _stall_stream(evil: Evil) -> None:
    evil.fake.faults.stall_streams(keepalives=evil.rng.random() < 0.5)
    await asyncio.sleep(evil.seconds(60.0))
    evil.fake.faults.unstall_streams()


def _silence_end(evil: Evil) -> None:
    evil.fake.faults.silence_ends(evil.rng.randint(1, 3))


def _expire_falsely(evil: Evil) -> None:
    evil.fake.faults.expire_falsely()


def _expire_link(evil: Evil) -> None:
    evil.fake.faults.expire_links()


def _refuse_job(evil: Evil) -> None:
    wait = evil.rng.choice(("0", "1", "5", None))
    reason = evil.rng.choice(_WAITING)
    evil.fake.faults.refuse_jobs(reason, count=evil.rng.randint(1, 3), retry_after=wait)  # type: ignore[arg-type]


def _swallow_job(evil: Evil) -> None:
    evil.fake.faults.swallow_jobs(status=evil.rng.choice((500, 503)))


def _lose_queue(evil: Evil) -> None:
    evil.fake.faults.lose_queue()


async def _restart(evil: Evil) -> None:
    history = evil.rng.random() < 0.5
    await evil.fake.faults.restart(history=history, down_for=evil.seconds(20.0))


DOINGS: Final[dict[str, Doing]] = {
    name.removeprefix("_"): doing
    for name, doing in list(globals().items())
    if name.startswith("_") and getattr(doing, "__module__", None) == __name__ and callable(doing)
}


async def happen(sim: Simulation, fake: FakeComfy, fault: Fault, calm: Weather) -> None:
    """Let one fault happen, to its end."""
    rng = random.Random(f"fault {fault.number} {sim.seed}")
    weather = sim.net.weather((fake.host, fake.port))
    evil = Evil(sim, fake, rng, weather)
    evil.calm = calm
    done = DOINGS[fault.kind](evil)
    if done is not None:
        await done


async def heal(sim: Simulation, fake: FakeComfy, calm: Weather) -> None:
    """End every fault of a server, and bring it up."""
    weather = sim.net.weather((fake.host, fake.port))
    weather.delay, weather.bandwidth, weather.lost_names = calm.delay, None, False
    sim.net.heal((fake.host, fake.port))
    await fake.faults.heal()
