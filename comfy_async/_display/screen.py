"""One output of a notebook cell that is drawn anew."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Screen", "in_notebook"]


def in_notebook() -> bool:
    """Say whether this runs in a kernel, whose front end shows HTML; an IPython terminal does not."""
    # Whoever has not loaded IPython by now is not run by it.
    if sys.modules.get("IPython") is None:
        return False
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


class Screen:
    """Draws HTML in one place, by IPython's display with update: any front end knows that."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._handle: Any = None
        self._drawn = ""

    def draw(self, html: str, words: str) -> None:
        """Show this instead of what was shown before; nothing is sent when it is the same.

        Args:
            html: For front ends that show HTML.
            words: For those that do not, one line.
        """
        if html != self._drawn:
            self._drawn = html
            self._send({"text/html": html, "text/plain": words})

    def _send(self, bundle: dict[str, str]) -> None:
        """Make the output, or update it."""
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)
