"""Whether a batch may submit: by its own state, and by its control file."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .._base.clock import Clock
from .control import Control, change_control, control_of, read_control

__all__ = ["Gate"]

_log = logging.getLogger("comfy_async")

_EVERY_S: Final = 1.0
"""How often the control file is checked: one `stat` each time."""


class Gate:
    """Lets a batch submit, or holds it.

    The control file is checked before each submission, so that nothing is submitted after another
    process has paused the batch, and once a second, so that it goes on.

    Attributes:
        control: What is wanted at this moment.
        changed: Called when the batch was paused or goes on.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin open, and without a control file."""
        self.control = Control()
        self.changed: list[Callable[[], object]] = []
        self._clock = clock
        self._path: Path | None = None
        self._seen: object = None
        self._told: object = None
        self._moved = asyncio.Event()
        self._held_since: float | None = None
        self._held_s = 0.0

    @property
    def paused(self) -> bool:
        """True while nothing may be submitted."""
        return self.control.paused

    @property
    def held_s(self) -> float:
        """For how many seconds in all it has paused the batch."""
        now = self._clock.monotonic()
        return self._held_s + (0.0 if self._held_since is None else now - self._held_since)

    def attach(self, results: Path) -> None:
        """Use the control file of a results file; one that was left paused is logged."""
        self._path = control_of(results)
        self.look()
        if self.paused:
            _log.warning(
                "%s is paused (by %s): nothing is submitted until `comfy-async batch resume %s`",
                results,
                self.control.by or "somebody",
                results,
            )

    def look(self) -> None:
        """Read the control file if it has changed; a damaged one changes nothing."""
        if self._path is None:
            return
        try:
            found = os.stat(self._path)
            seen: object = (found.st_ino, found.st_mtime_ns, found.st_size)
        except FileNotFoundError:
            seen = None
        except OSError as error:
            self._tell(error)
            return
        if seen == self._seen:
            return
        try:
            self._set(read_control(self._path))
            self._seen = seen
        except (OSError, ValueError) as error:
            self._tell(error)

    async def passed(self) -> None:
        """Wait until something may be submitted."""
        self.look()
        while self.paused:
            self._moved.clear()
            await self._moved.wait()
            self.look()

    async def watch(self, look_at: Callable[[], object]) -> None:
        """Check the control file for ever; `look_at` is called after each check."""
        while True:
            if self._path is not None:
                self.look()
            look_at()
            await self._clock.sleep(_EVERY_S)

    async def change(self, change: Callable[[Control], Control]) -> None:
        """Want something else, for other processes to see where there is a results file.

        Raises:
            OSError: The control file cannot be written.
            ValueError: It is damaged.
        """
        if self._path is None:
            self._set(change(self.control))
            return
        await asyncio.to_thread(change_control, self._path, change)
        self.look()

    def options_of(self, index: int) -> dict[str, Any]:
        """Return the further options of `submit` for an item."""
        return next((item.options for item in self.control.first if item.index == index), {})

    @property
    def first(self) -> list[int]:
        """The items that go first."""
        return [item.index for item in self.control.first]

    def forget(self) -> None:
        """Remove the control file: the batch is through, so there is nothing left to want."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _set(self, control: Control) -> None:
        """Set what is wanted, and wake all that wait for it."""
        was, self.control = self.control, control
        self._moved.set()
        if was.paused == control.paused:
            return
        now = self._clock.monotonic()
        if control.paused:
            self._held_since = now
        elif self._held_since is not None:
            self._held_s += now - self._held_since
            self._held_since = None
        for call in list(self.changed):
            call()

    def _tell(self, error: Exception) -> None:
        """Log once that the control file cannot be used."""
        if str(error) != self._told:
            self._told = str(error)
            _log.warning("the control file of a batch cannot be used, what it said last holds: %s", error)
