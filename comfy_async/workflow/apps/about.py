"""The name of an app, and a sentence that describes it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .names import word
from .reading import AppReading

__all__ = ["name_of", "sentence_of"]

_MOST_LETTERS = 64

_ENDING = re.compile(r"\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)
"""The extensions of file names, for example `.app.json`; the `.2 Dev` of `Flux.2 Dev` is none."""


def name_of(workflow: Any) -> str:
    """Return the name of an app, made from its file name; "app" when it has none."""
    text = workflow if isinstance(workflow, str) and len(workflow) < 1000 else None
    if isinstance(workflow, os.PathLike) or (text is not None and not text.lstrip().startswith(("{", "["))):
        stem = Path(os.fspath(workflow)).name
        while (found := _ENDING.search(stem)) is not None:
            stem = stem[: found.start()]
        return word(stem, most=_MOST_LETTERS) or "app"
    return "app"


def sentence_of(name: str, reading: AppReading) -> str:
    """Return a sentence with the inputs and outputs of an app."""
    takes = ", ".join(item.title or item.name for item in reading.inputs.values()) or "nothing"
    gives = ", ".join(reading.outputs) or "nothing"
    return f"Runs the ComfyUI workflow {name!r}. It takes {takes}; it gives {gives}."
