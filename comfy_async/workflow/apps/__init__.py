"""A workflow as a function: which of its inputs have names, what they take, and what comes out.

`drafts` finds the inputs that somebody named, in a mapping, in titles or in the editor's App mode,
or else those that people change; `names` makes Python names, `describe` asks the catalog what each
takes, `values` checks values, and `reading` puts it together. `schema` and
`models` say it to others, `stubs` to type checkers.
"""

from __future__ import annotations

from .about import name_of, sentence_of
from .parts import AppInput, AppOutput, Unresolved
from .reading import AppReading, read_app, refusal
from .schema import json_schema, tool
from .stubs import write_app_stubs

__all__ = [
    "AppInput",
    "AppOutput",
    "AppReading",
    "Unresolved",
    "json_schema",
    "name_of",
    "read_app",
    "refusal",
    "sentence_of",
    "tool",
    "write_app_stubs",
]
