"""What a map was told about its results file."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Final, Literal

from .._base.places import on_this_machine
from .._base.words import demand_word

__all__ = ["WORDS", "Results"]

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "busy": ("raise", "wait"),
    "damaged": ("raise", "rerun"),
    "elsewhere": ("raise", "rerun", "keep"),
    "failed": ("keep", "rerun"),
    "missing": ("raise", "rerun"),
}
"""What each of them may be."""


@dataclasses.dataclass(frozen=True, slots=True)
class Results:
    """A results file, and what becomes of what stands in it; the words are those of `map`.

    Attributes:
        path: The file, None without one.
        busy: Another batch uses it.
        damaged: A line cannot be read.
        elsewhere: Jobs were on another server.
        failed: Jobs failed.
        missing: Files of finished jobs are gone, or those of other jobs.
    """

    path: Path | None
    busy: Literal["raise", "wait"] = "raise"
    damaged: Literal["raise", "rerun"] = "raise"
    elsewhere: Literal["raise", "rerun", "keep"] = "raise"
    failed: Literal["keep", "rerun"] = "keep"
    missing: Literal["raise", "rerun"] = "raise"

    @classmethod
    def of(cls, results: str | os.PathLike[str] | None, **words: Any) -> Results:
        """Check the arguments of `map`.

        Raises:
            ValueError: A word is unknown, or `results` is a place in a store.
        """
        for name, known in WORDS.items():
            demand_word(f"results_{name}", words[name], known)
        return cls(None if results is None else on_this_machine(results, "results="), **words)
