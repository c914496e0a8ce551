"""The library's advice for a caller of tools: it names arguments of Python, a caller has tools."""

from __future__ import annotations

from typing import Final

from .._client.words import error_without_python, problem_without_python
from ..errors import ComfyError
from ..types import Problem

__all__ = ["error_for_a_caller", "problem_for_a_caller"]

# What the library says, and what stands for it here.
_WORDS: Final[dict[str, str]] = {
    "`app.inputs` has what it takes": "The tool's schema has what it takes",
    "`await comfy.check(flow)`": "The tool `check`",
    "Give a path (pathlib.Path), bytes, an open file, a Pillow image, or an array": (
        "Give the name that `upload` returned, or a data: URI"
    ),
    "To upload one of yours, give its path: a pathlib.Path, not a text": (
        "`upload` takes one of yours, and returns its name"
    ),
    "Download it, and give the bytes or a path": "Give it to `upload`, and the name that it returns here",
    "`app.inputs[name].parse(text)` reads a text of a table or a form; what is empty is left out": (
        "Give no text here; leave out what is empty"
    ),
    "Upload it: with_inputs() takes a path, and comfy.files.upload() uploads": (
        "Give it to `upload`, and the name that it returns here"
    ),
    "Give a path, bytes or an open file": "Give the name that `upload` returned, or a data: URI",
    "Give True or False": "Give true or false",
    "`error.traceback` has the server's traceback": "The server's own log has the traceback",
    "; `error.body` has what it answered": "",
    ": `comfy.system.free()`": "",
    "(`map(limit=)`)": "",
    "Give `partner_api_key=` a valid key": "Whoever runs this has to put a valid key into COMFY_API_KEY",
    "Give the session `api_key=` or `auth=`; if it has one, it is": (
        "Whoever runs this has to give it a key; if it has one, it is"
    ),
}


def error_for_a_caller(error: ComfyError) -> str:
    """Return what an error says, without any Python in it."""
    return _replaced(str(error_without_python(error, _WORDS)))


def problem_for_a_caller(problem: Problem) -> str:
    """Return what is wrong, without any Python in it."""
    return _replaced(str(problem_without_python(problem, _WORDS)))


def _replaced(text: str) -> str:
    """Return a text in which some words of the library stand in the message itself."""
    for said, words in _WORDS.items():
        text = text.replace(said, words)
    return text
