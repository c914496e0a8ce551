"""Worlds that are kept: those that found a defect of the package, and those that find the planted ones."""

from __future__ import annotations

from typing import Final

FOUND: Final[dict[str, str]] = {}

PLANTED: Final[dict[str, str]] = {}
