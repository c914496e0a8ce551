"""Problems that were found by lists which may be outdated or incomplete, to be confirmed by the server."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable

from ...types import Problem
from .own import UNSEEN, annotated

__all__ = ["FilePlace", "settled", "stale_classes", "unseen_files"]

FilePlace = tuple[str, str, str]
"""File name, subfolder and type, the parameters of GET /view."""

_BY_LISTS = frozenset({"value_not_in_list", "custom_validation_failed", "missing_node_type"})


def stale_classes(problems: Iterable[Problem]) -> set[str]:
    """Return the classes to fetch again from the server before the problems are reported.

    A file, model or pack that was added after the catalog was read is in none of its lists.
    Check again with `catalog.updated(...)`.
    """
    return {found.class_type for found in problems if found.type in _BY_LISTS and found.class_type}


def unseen_files(problems: Iterable[Problem]) -> dict[str, FilePlace]:
    """Return the files that no list has, by the value that names them; ask GET /view for each."""
    places: dict[str, FilePlace] = {}
    for found in problems:
        if found.type == UNSEEN and isinstance(found.received, str):
            name, folder = annotated(found.received)
            subfolder, _, filename = name.replace("\\", "/").rpartition("/")
            places[found.received] = filename, subfolder, folder
    return places


def settled(problems: Iterable[Problem], *, absent: Container[str], present: Container[str]) -> list[Problem]:
    """Return the problems without those of existing files, and with errors for those of missing ones.

    Args:
        problems: What the check found.
        absent: Values of `unseen_files` whose files the server does not have.
        present: Values whose files it has. A value that is in neither keeps its warning.
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
