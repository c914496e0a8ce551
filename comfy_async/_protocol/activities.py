"""The nodes' activities (`activity` in progress_state), found without parsing the frame."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["activities_in"]

_ACTIVITY: Final = b'"activity"'
# The word, with what is escaped in it; null and other kinds are none.
_ACTIVITIES: Final = re.compile(rb'"activity"\s*:\s*("(?:[^"\\]|\\.)*")')
_STATE: Final = b'"state"'


def activities_in(raw: bytes) -> list[tuple[int, bytes]]:
    """Return the activities in a frame, each with the place of its node, without parsing it.

    Most frames have none, and most of those that have some repeat the ones before.
    """
    found: list[tuple[int, bytes]] = []
    place = start = 0
    if _ACTIVITY in raw:
        for match in _ACTIVITIES.finditer(raw):
            # Every node has one state, and keeps its place among the nodes.
            place += raw.count(_STATE, start, match.start())
            start = match.start()
            found.append((place, match[1]))
    return found
