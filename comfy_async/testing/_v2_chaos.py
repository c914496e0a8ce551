"""Random faults of API v2."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Literal, TypeAlias

from ._faults import SingleFaults
from ._v2_errors import JobRefusal

__all__ = ["V2Draws", "V2Kind"]

V2Kind: TypeAlias = Literal[
    "cut_stream", "stall_stream", "silence_end", "expire_falsely", "expire_link", "refuse_job", "fail_v2"
]

_WAITING: tuple[JobRefusal, ...] = ("queue_full", "rate_limited", "deployment_not_ready")
_LOOKS = ("/api/v2/jobs/{id}", "/api/v2/jobs/{id}/events", "/api/v2/assets/*")


class V2Draws:
    """What each kind does, with its numbers drawn."""

    _faults: SingleFaults
    _random: random.Random

    def _cut_stream(self) -> Any:
        how = self._random.choice(["end", "cut", "reset"])
        after = self._random.choice([None, 0, 1, 2])
        return self._faults.cut_streams, (how,), {"after": after}

    def _stall_stream(self) -> Any:
        seconds = round(self._random.uniform(0.0, 0.3), 3)
        return self._stall_streams_for, (seconds,), {"keepalives": self._random.random() < 0.5}

    async def _stall_streams_for(self, seconds: float, *, keepalives: bool) -> None:
        self._faults.stall_streams(keepalives=keepalives)
        await asyncio.sleep(seconds)
        self._faults.unstall_streams()

    def _silence_end(self) -> Any:
        return self._faults.silence_ends, (self._random.randint(1, 2),), {}

    def _expire_falsely(self) -> Any:
        return self._faults.expire_falsely, (), {}

    def _expire_link(self) -> Any:
        return self._faults.expire_links, (), {}

    def _refuse_job(self) -> Any:
        reason = self._random.choice(_WAITING)
        return self._faults.refuse_jobs, (reason,), {"count": self._random.randint(1, 2), "retry_after": "0"}

    def _fail_v2(self) -> Any:
        """Half of them before the job is made, half of them after it."""
        failure = self._random.choice([500, 503, "reset", "html"])
        if self._random.random() < 0.5:
            effect = self._random.random() < 0.5
            return self._faults.fail, ("POST", "/api/v2/jobs", failure), {"count": 1, "after_effect": effect}
        path = self._random.choice(_LOOKS)
        return self._faults.fail, ("GET", path, failure), {"count": self._random.randint(1, 3)}
