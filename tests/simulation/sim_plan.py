"""What happens in a world: drawn from its seed, and small enough to be shrunk and kept."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any, Final, Literal, TypeAlias

Shape: TypeAlias = Literal["session", "pool"]

VERSIONS: Final = (
    "0.3.10",
    "0.3.26",
    "0.3.44",
    "0.3.45",
    "0.3.56",
    "0.3.57",
    "0.3.60",
    "0.5.1",
    "0.6.0",
    "0.9.0",
    "0.19.3",
    "0.26.0",
    "0.33.0",
    "0.33.0",
    "0.33.0",
    "0.33.0",
    "0.45.2",
    "cloud",
    "v2",
    "v2 few streams",
    "v2 deployment",
    "v2 proxy",
    "v2 polled",
)

USERS: Final = {
    "run": 4.0,
    "iterate": 4.0,
    "slow": 1.0,
    "late": 2.0,
    "cached": 2.0,
    "fail": 2.0,
    "leave": 3.0,
    "cancel": 4.0,
    "cancel_twice": 1.0,
    "give_up": 4.0,
    "attach": 2.0,
    "download": 1.5,
    "upload": 0.5,
    "socket_image": 2.0,
    "fetch": 0.7,
    "watch": 0.7,
    "map": 0.4,
    "close": 0.4,
    "key": 0.7,
    "crash": 0.4,
    "map_crash": 0.4,
    "map_full_disk": 0.2,
}
"""What people do, and how often."""

POOL_USERS: Final = {
    name: USERS[name]
    for name in (
        *("run", "iterate", "slow", "late", "cached", "fail", "leave", "cancel", "give_up", "map"),
        *("socket_image", "attach"),
    )
}

CLOUD_USERS: Final = {name: often for name, often in USERS.items() if name != "key"}
"""The cloud chooses ids itself, and holds no job to a key."""

V2_USERS: Final = {
    name: often for name, often in CLOUD_USERS.items() if name not in ("socket_image", "fetch", "watch")
}
"""API v2 has neither such images nor files by name, and a session no events but those of its jobs."""

NETWORK_FAULTS: Final = {
    "partition": 1.0,
    "vanish": 1.0,
    "break": 2.0,
    "slow_link": 0.7,
    "lag": 0.7,
    "lost_names": 0.3,
    "wall_jump": 0.5,
}
FAULTS: Final = {
    **NETWORK_FAULTS,
    # the server's sockets
    "drop": 1.0,
    "half_open": 0.5,
    "deafen": 1.0,
    "late_cleanup": 1.0,
    "stall": 0.5,
    "refuse": 1.0,
    "accept_and_close": 1.0,
    "garbage": 1.0,
    # its answers
    "delay": 1.0,
    "fail_submit": 2.0,
    "fail_other": 1.0,
    "miss_cancel": 1.0,
    "slow_history": 0.7,
    # its life
    "lose_queue": 0.4,
    "restart": 0.4,
}
"""What goes wrong, and how often."""

V2_FAULTS: Final = {
    **NETWORK_FAULTS,
    # its streams
    "cut_stream": 2.0,
    "stall_stream": 1.0,
    "silence_end": 1.0,
    "expire_falsely": 0.7,
    "expire_link": 0.5,
    # its answers
    "delay": 1.0,
    "fail_submit": 2.0,
    "fail_other": 1.5,
    "refuse_job": 1.0,
    "swallow_job": 0.5,
    # its life
    "lose_queue": 0.4,
    "restart": 0.4,
}
"""What goes wrong with a server of API v2."""

WEIGHTY: Final = ("lose_queue", "restart")


@dataclasses.dataclass(frozen=True)
class Step:
    """Somebody does something.

    Attributes:
        at: When, in seconds of the world.
        kind: What.
        number: Tells this step from all others, and seeds its own chance.
    """

    at: float
    kind: str
    number: int


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something goes wrong.

    Attributes:
        at: When.
        kind: What.
        number: Seeds its own chance.
    """

    at: float
    kind: str
    number: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """One world.

    Attributes:
        seed: Where its chance comes from.
        shape: Sessions with one server, or a pool with several.
        version: Which ComfyUI the servers play, or "cloud", or whose API v2.
        servers: How many there are.
        sessions: How many clients there are of a single server.
        poll: Whether they do without a WebSocket.
        shuffle: Whether ready tasks run in any order.
        named: Whether they find the server by a name.
        step_seconds: How long a step of a node takes.
        history_delay: How long the history takes to be written.
        delay: How long a piece takes on the network.
        pieces: How often what is sent comes in pieces.
        storm: When everything is well again.
        steps: What people do.
        faults: What goes wrong.
    """

    seed: int
    shape: Shape = "session"
    version: str = "0.33.0"
    servers: int = 1
    sessions: int = 2
    poll: bool = False
    shuffle: bool = False
    named: bool = False
    step_seconds: float = 0.05
    history_delay: float = 0.0
    delay: tuple[float, float] = (0.0001, 0.001)
    pieces: float = 0.0
    storm: float = 20.0
    steps: tuple[Step, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong."""
        return not self.faults

    @property
    def v2(self) -> bool:
        """Whether the servers speak API v2."""
        return self.version.startswith("v2")

    @property
    def names_jobs(self) -> bool:
        """Whether the server chooses the ids of jobs, and knows a job by nothing else."""
        return self.v2 or self.version == "cloud"

    @property
    def obeys(self) -> bool:
        """Whether a cancel reaches the server, if not the first time."""
        return all(fault.kind == "miss_cancel" for fault in self.faults)

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read such a line."""
        data: dict[str, Any] = json.loads(text)
        data["delay"] = tuple(data["delay"])
        data["steps"] = tuple(Step(**step) for step in data["steps"])
        data["faults"] = tuple(Fault(**fault) for fault in data["faults"])
        return cls(**data)


def draw(seed: int, *, jobs: int = 50) -> Plan:
    """Draw a world."""
    rng = random.Random(f"plan {seed}")
    shape: Shape = "pool" if rng.random() < 0.15 else "session"
    version = rng.choice(VERSIONS)
    if shape == "pool" and version == "cloud":
        version = "0.33.0"
    storm = rng.choice((5.0, 20.0, 60.0))
    rate = rng.choice((0.0, 0.05, 0.3, 1.0, 3.0))
    v2 = version.startswith("v2")
    users = V2_USERS if v2 else CLOUD_USERS if version == "cloud" else USERS
    if shape == "pool":
        users = {kind: often for kind, often in users.items() if kind in POOL_USERS}
    bad_luck = V2_FAULTS if v2 else FAULTS
    kinds = rng.choices(list(users), list(users.values()), k=jobs)
    steps = [Step(round(rng.uniform(0.0, storm * 0.8), 3), kind, n) for n, kind in enumerate(kinds, 1)]
    # A world has a few kinds of faults rather than a bit of each.
    chosen = rng.sample(list(bad_luck), rng.choice((1, 2, 4, len(bad_luck))))
    weights = [bad_luck[kind] for kind in chosen]
    count = min(60, round(rng.uniform(0.5, 1.5) * rate * storm))
    bad = rng.choices(chosen, weights, k=count)
    faults = [Fault(round(rng.uniform(0.0, storm), 3), kind, n) for n, kind in enumerate(bad, 1)]
    return Plan(
        seed=seed,
        shape=shape,
        version=version,
        servers=rng.choice((2, 3)) if shape == "pool" else 1,
        sessions=rng.choice((1, 2, 3)),
        poll=rng.random() < 0.1,
        shuffle=rng.random() < 0.3,
        named=rng.random() < 0.5,
        step_seconds=rng.choice((0.0, 0.01, 0.1, 0.5, 2.0)),
        history_delay=rng.choice((0.0, 0.0, 0.05, 0.5)),
        delay=rng.choice(((0.0001, 0.001), (0.0001, 0.001), (0.001, 0.05), (0.05, 0.2))),
        pieces=rng.choice((0.0, 0.0, 0.3)),
        storm=storm,
        steps=tuple(sorted(steps, key=lambda step: step.at)),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )
