"""What the library tells programmers, told to callers who have no Python: agents, and clients on the web."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping
from typing import Final, TypeVar

from ..errors import ComfyError
from ..types import JobProgress, Problem

__all__ = [
    "advice_without_python",
    "error_without_python",
    "plain_progress",
    "plain_title",
    "problem_without_python",
]

E = TypeVar("E", bound=ComfyError)

_SENTENCES: Final = re.compile(r"(?<=[.!?]) +(?=[A-Z`])")
_NAMED: Final = re.compile(r"\s*\$\s*([^.]*[^.\s])\s*(?:\..*)?", re.DOTALL)
# A call, an argument or an attribute in code font, and the calls that stand in no code font.
_PYTHON: Final = re.compile(
    r"`[^`]*(?:await |\(|=|\w\.[a-z_])[^`]*`|\b\w+\(\)|\bcomfy\.[a-z_]+|\bjob\.ref\b|pathlib"
)


def advice_without_python(text: str, words: Mapping[str, str]) -> str:
    """Return an advice in the words of the caller's side; other sentences about Python are left out."""
    for said, told in words.items():
        text = text.replace(said, told)
    return " ".join(one for one in _SENTENCES.split(text) if not _PYTHON.search(one))


def problem_without_python(problem: Problem, words: Mapping[str, str]) -> Problem:
    """Return a problem with its advice in the words of the caller's side."""
    return dataclasses.replace(problem, advice=advice_without_python(problem.advice, words))


def error_without_python(error: E, words: Mapping[str, str]) -> E:
    """Return a copy of an error with hint and advice in the words of the caller's side."""
    told = copy.copy(error)
    told.hint = advice_without_python(error.hint, words)
    problems = getattr(error, "problems", None)
    if problems:
        told.__dict__["problems"] = [problem_without_python(one, words) for one in problems]
    return told


def plain_title(title: str) -> str:
    """Return a node's title for people: of `$variation.seed`, which names an input of an app, `variation`."""
    found = _NAMED.fullmatch(title)
    return title if found is None else found[1].replace("_", " ")


def plain_progress(progress: JobProgress) -> JobProgress:
    """Return how far a job is, with the node's title for people."""
    return dataclasses.replace(progress, title=plain_title(progress.title))
