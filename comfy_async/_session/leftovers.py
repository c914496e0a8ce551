"""What may still run on the server although nobody waits for it: in the log, without flooding that."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Final

__all__ = ["FEW", "Leftovers"]

_log = logging.getLogger("comfy_async")

FEW: Final = 3
"""How many of one burst get a line of their own."""


class Leftovers:
    """Logs what could not be taken back: the first few each by itself, the rest of a burst in one line.

    A session that is closed while it submits hundreds of prompts to a dead server has hundreds of them.
    """

    def __init__(self) -> None:
        """Start without any."""
        self._under_way = 0
        self._told = 0
        self._more: list[str] = []
        self._last = ""

    @contextlib.contextmanager
    def burst(self) -> Iterator[None]:
        """Enclose one attempt to take something back; the last one of those under way sums up."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._sum_up()

    def tell(self, text: str, prompt_id: str, problem: object) -> None:
        """Log that a job may still run, now or in the line that sums up; `text` has a place for its id."""
        if self._told < FEW:
            self._told += 1
            _log.warning("%s may still run: %s", text.format(prompt_id), problem)
        else:
            self._more.append(prompt_id)
            self._last = str(problem)

    def _sum_up(self) -> None:
        """Log the others, with all of their ids."""
        more, last = self._more, self._last
        self._told, self._more, self._last = 0, [], ""
        if more:
            _log.warning("%d more may still run: %s (the last one); %s", len(more), last, ", ".join(more))
