"""One output of a notebook cell that is drawn anew; plain lines where there is no notebook."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Screen"]


class Screen:
    """Draws HTML in one place, by IPython's display with update: any front end knows that.

    In a plain IPython terminal, or a script, it writes a line when the words change.
    """

    def __init__(self) -> None:
        """Find out where the output goes.

        Raises:
            ImportError: IPython is not installed.
        """
        try:
            from IPython.core.getipython import get_ipython
        except ImportError as error:
            raise ImportError("IPython is missing: pip install 'comfy-async[notebook]'") from error
        shell = get_ipython()
        self._is_notebook = getattr(shell, "kernel", None) is not None
        self._handle: Any = None
        self._drawn = ""

    def draw(self, html: str, words: str) -> None:
        """Show this instead of what was shown before; nothing is sent when it is the same.

        Args:
            html: For front ends that show HTML.
            words: For those that do not, one line.
        """
        if not self._is_notebook:
            if words != self._drawn:
                self._drawn = words
                sys.stdout.write(f"{words}\n")
        elif html != self._drawn:
            self._drawn = html
            self._send({"text/html": html, "text/plain": words})

    def _send(self, bundle: dict[str, str]) -> None:
        """Make the output, or update it."""
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)
