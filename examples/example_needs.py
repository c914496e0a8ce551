"""What an example says when a package is missing: one line with what to install, and no traceback.

Needs nothing itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def needs(described: str | None) -> Iterator[None]:
    """Import within this block what may be missing; `described` is text with a `pip install ...` line."""
    try:
        yield
    except ImportError as error:
        # comfy_async says by an ImportError of its own which package it lacks.
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        if not isinstance(missing, ModuleNotFoundError) or missing.name is None:
            raise
        found = re.search(r"pip install [^\n`;]+", described or "")
        advice = found.group().rstrip(". ") if found else f"pip install {missing.name}"
        package = missing.name.partition(".")[0]
        raise SystemExit(f"{Path(sys.argv[0]).name} needs {package}: {advice}") from None
