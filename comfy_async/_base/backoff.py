"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["Backoff"]


class Backoff:
    """Full jitter: each pause is drawn from zero to a ceiling that doubles up to a cap.

    Many clients that lost the same server then do not come back at the same moment
    (M. Brooker, "Exponential Backoff and Jitter").
    """

    __slots__ = ("_draw", "cap", "first", "tries")

    def __init__(
        self, *, first: float, cap: float, draw: Callable[[float, float], float] = random.uniform
    ) -> None:
        """Start at the first ceiling; seconds. `draw` is injected by tests."""
        self.first = first
        self.cap = cap
        self.tries = 0
        self._draw = draw

    def next(self) -> float:
        """Return the seconds to wait now."""
        ceiling = min(self.cap, self.first * 2.0 ** min(self.tries, 30))
        self.tries += 1
        return self._draw(0.0, ceiling)

    def reset(self) -> None:
        """Start again from the first ceiling, after a proven success."""
        self.tries = 0
