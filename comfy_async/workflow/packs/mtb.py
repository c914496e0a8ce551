"""comfy_mtb: its notes exist only in the editor (note_plus.js)."""

from __future__ import annotations

from typing import Final

from .pack import Pack

__all__ = ["PACK"]


class _Mtb(Pack):
    """The rules for comfy_mtb."""

    virtual = frozenset({"Note Plus (mtb)"})


PACK: Final = _Mtb()
"""The rules for comfy_mtb."""
