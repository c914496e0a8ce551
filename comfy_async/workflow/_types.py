"""Which types may be linked, by the rules of the server and of the editor."""

from __future__ import annotations

from typing import Any

from ._specs import MATCH_TYPE

__all__ = ["raw_types_link", "type_matches", "types_link"]

_ANY = frozenset({"*", MATCH_TYPE})


def types_link(given: str, wanted: str) -> bool:
    """Return whether the server accepts a link of these types (comfy_execution/validation.py).

    A type may list alternatives separated by commas; one in common is enough.
    """
    if given == wanted or given in _ANY or wanted in _ANY:
        return True
    givens = {part.strip() for part in given.split(",")}
    wanteds = {part.strip() for part in wanted.split(",")}
    return "*" in givens or "*" in wanteds or not givens.isdisjoint(wanteds)


def type_matches(given: str, wanted: str) -> bool:
    """Return whether the editor allows a link of these types: it ignores letter case."""
    return not given or not wanted or types_link(given.casefold(), wanted.casefold())


def raw_types_link(given: Any, wanted: Any) -> bool:
    """Return what `types_link` does for types as in object_info, where an old combo is a list of values."""
    if given == wanted or given in ("*", MATCH_TYPE) or wanted in ("*", MATCH_TYPE):
        return True
    if isinstance(given, list) and wanted == "COMBO":
        return True
    return isinstance(given, str) and isinstance(wanted, str) and types_link(given, wanted)
