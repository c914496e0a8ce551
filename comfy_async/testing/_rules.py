"""Rules by which requests are delayed, refused, or lose their answer."""

from __future__ import annotations

import asyncio
import dataclasses
import fnmatch
import http
import random
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from aiohttp import web

from ._sockets import reset_transport

__all__ = ["Failure", "Rule", "Rules"]

Failure: TypeAlias = int | Literal["reset", "hang", "html"]

_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclasses.dataclass(eq=False)
class Rule:
    """One rule for some requests; `cancel()` ends it.

    Attributes:
        method: The method, `*` for any.
        path: A pattern such as `/history/*`, without prefix and /api; only `/ws` itself
            stands for the WebSocket.
        seconds: How long a request waits first, or its answer when `after_effect` is set.
        failure: What it gets instead of its answer, None for the answer.
        after_effect: The server does the work, and only the answer is late or lost.
        hits: How many requests it has met.

    Example:
        >>> rule = fake.faults.fail("GET", "/models", 503)
        >>> try:
        ...     await comfy.models.folders()
        ... except ResponseError as error:
        ...     print(error.status, rule.hits > 0)
        503 True
        >>> rule.cancel()
        >>> await comfy.models.folders()
        ('checkpoints', ...
    """

    method: str
    path: str
    seconds: float = 0.0
    failure: Failure | None = None
    after_effect: bool = False
    count: int | None = None
    probability: float = 1.0
    seed: int | None = None
    json: Any = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hits: int = 0

    def __post_init__(self) -> None:
        """Start its own source of chance, so that a seed gives the same choices every time."""
        self._random = random.Random(self.seed)
        self._released = asyncio.Event()
        self._ended = False

    def cancel(self) -> None:
        """End the rule; requests that hang on it are let go."""
        self._ended = True
        self._released.set()

    def meets(self, method: str, route: str, path: str) -> bool:
        """Whether a request falls under this rule, by its route's pattern or its own path; uses it up."""
        if self._ended or self.method not in ("*", method) or (route == "/ws") != (self.path == "/ws"):
            return False
        if not any(fnmatch.fnmatchcase(name, self.path) for name in (route, path)) or (
            self.count is not None and self.hits >= self.count
        ):
            return False
        if self.probability < 1.0 and self._random.random() >= self.probability:
            return False
        self.hits += 1
        return True

    async def wait(self) -> None:
        """Spend the delay, or less when the rule is ended meanwhile."""
        if self.seconds > 0:
            try:
                async with asyncio.timeout(self.seconds):
                    await self._released.wait()
            except TimeoutError:
                pass

    async def spoil(self, request: web.Request) -> web.StreamResponse:
        """Return what a request gets instead of its answer."""
        if self.failure == "hang":
            await self._released.wait()
        if self.failure in ("hang", "reset"):
            reset_transport(request.transport)
            return web.Response(status=500)
        if self.failure == "html":
            return web.Response(status=502, text=_HTML, content_type="text/html", headers=self.headers)
        status = int(self.failure or 500)
        if self.json is not None:
            return web.json_response(self.json, status=status, headers=self.headers)
        text = f"{status}: {http.HTTPStatus(status).phrase}"
        return web.Response(status=status, text=text, headers=self.headers)


class Rules:
    """All rules that hold now, in the order in which they were made."""

    def __init__(self) -> None:
        """Start without any."""
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> Rule:
        """Let a rule hold."""
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """End all rules."""
        rules, self._rules = self._rules, []
        for rule in rules:
            rule.cancel()

    def meeting(self, method: str, route: str, path: str) -> Iterator[Rule]:
        """Return the rules that a request falls under."""
        return (rule for rule in list(self._rules) if rule.meets(method, route, path))
