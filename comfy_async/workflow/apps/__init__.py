"""Apps: a workflow as a function with named and typed inputs and outputs.

`drafts` finds the inputs that are named in a mapping, in titles or in the editor's App mode, else
those that are usually changed. `names` makes Python names, `describe` looks up types and ranges in
the catalog, `values` checks values, and `reading` combines them. `schema`, `models` and `stubs`
describe an app as JSON Schema, as a pydantic model and for type checkers.
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
