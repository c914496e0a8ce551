"""What is remembered within a bound: the latest."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["Latest"]

_K = TypeVar("_K")
_V = TypeVar("_V")


class Latest(dict[_K, _V]):
    """A dictionary of the entries that were set last; the oldest are dropped.

    Example:
        >>> kept = Latest[str, int](2)
        >>> kept["a"], kept["b"], kept["a"], kept["c"] = 1, 2, 3, 4
        >>> kept
        {'a': 3, 'c': 4}
    """

    def __init__(self, most: int) -> None:
        """Hold nothing yet, and at most so many."""
        super().__init__()
        self._most = most

    def __setitem__(self, key: _K, value: _V) -> None:
        """Set an entry, as the latest."""
        self.pop(key, None)
        super().__setitem__(key, value)
        if len(self) > self._most:
            del self[next(iter(self))]
