"""What the doctor found about one thing, as a line for people."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal, TypeAlias

from ._tables import folded

__all__ = ["Finding"]

State: TypeAlias = Literal["ok", "warning", "failed", "skipped"]

_MARKS: Final = {"ok": "ok     ", "warning": "warning", "failed": "FAILED ", "skipped": "skipped"}
_COLOURS: Final = {"ok": "32", "warning": "33", "failed": "1;31", "skipped": "2"}
_INDENT: Final = 21


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was checked, how it is, and what to do."""

    name: str
    state: State
    text: str
    advice: str = ""

    def lines(self, *, width: int | None = None, colours: bool = False) -> str:
        """Return it as text: the state, the name, what was found, and below it what to do.

        Args:
            width: The columns of the terminal, None for lines of any length.
            colours: Show the state by its colour too.
        """
        head = f"{_MARKS[self.state]}  {self.name:<10}  "
        told = [*folded(self.text, width, indent=_INDENT), *folded(self.advice, width, indent=_INDENT)]
        rest = f"\n{' ' * _INDENT}".join(told)
        if colours:
            head = f"\x1b[{_COLOURS[self.state]}m{_MARKS[self.state]}\x1b[0m{head[len(_MARKS[self.state]) :]}"
        return f"{head}{rest}"
