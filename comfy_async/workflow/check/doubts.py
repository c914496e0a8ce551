"""What a check found by lists that may be outdated or incomplete: ask the server, then settle it."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable

from ...types import Problem
from .own import UNSEEN, annotated

__all__ = ["FilePlace", "settled", "stale_classes", "unseen_files"]

FilePlace = tuple[str, str, str]
"""Filename, subfolder and type, as GET /view takes them."""

_BY_LISTS = frozenset({"value_not_in_list", "custom_validation_failed", "missing_node_type"})


def stale_classes(problems: Iterable[Problem]) -> set[str]:
    """Return the classes to read again before the problems are believed.

    A file that was uploaded, a model that was put there, or a pack that was installed after the
    catalog was read is in none of its lists. Check again with `catalog.updated(...)`.
    """
    return {found.class_type for found in problems if found.type in _BY_LISTS and found.class_type}


def unseen_files(problems: Iterable[Problem]) -> dict[str, FilePlace]:
    """Return the files that are in no list, by the value that names them: GET /view finds each, or not."""
    places: dict[str, FilePlace] = {}
    for found in problems:
        if found.type == UNSEEN and isinstance(found.received, str):
            name, folder = annotated(found.received)
            subfolder, _, filename = name.replace("\\", "/").rpartition("/")
            places[found.received] = filename, subfolder, folder
    return places


def settled(problems: Iterable[Problem], *, absent: Container[str], present: Container[str]) -> list[Problem]:
    """Return the problems without files that are there, and those that are not as the server's refusals.

    Args:
        problems: What the check found.
        absent: Values of `unseen_files` whose files the server does not have.
        present: Values whose files it has; what is in neither stays a warning.
    """
    done: list[Problem] = []
    for found in problems:
        if found.type == UNSEEN and found.received in present:
            continue
        if found.type == UNSEEN and found.received in absent:
            told = f"the server does not have the file {found.received!r}"
            found = dataclasses.replace(
                found, type="custom_validation_failed", message=told, severity="error"
            )
        done.append(found)
    return sorted(done, key=lambda problem: problem.severity)
