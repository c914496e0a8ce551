"""An app as a JSON Schema (draft 2020-12), and as a tool for language models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .parts import AppInput

__all__ = ["input_schema", "json_schema", "tool"]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

_TYPES: Final = {"STRING": "string", "INT": "integer", "FLOAT": "number", "BOOLEAN": "boolean"}

_HOW_FILE: Final = "A data: URI, or the name of a file that the server has."

_LONGEST_NAME: Final = 64


def json_schema(name: str, description: str, inputs: Mapping[str, AppInput]) -> dict[str, Any]:
    """Return the JSON Schema of an app's inputs."""
    return {
        "$schema": _DRAFT,
        "title": name,
        **({"description": description} if description else {}),
        **_object(inputs),
    }


def tool(name: str, description: str, inputs: Mapping[str, AppInput]) -> dict[str, Any]:
    """Return the tool description of an app for language models."""
    return {
        "type": "function",
        "name": re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:_LONGEST_NAME].strip("_") or "app",
        "description": description,
        "parameters": _object(inputs),
    }


def _object(inputs: Mapping[str, AppInput]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: input_schema(item) for name, item in inputs.items()},
        "required": [name for name, item in inputs.items() if item.required],
        "additionalProperties": False,
    }


def input_schema(item: AppInput) -> dict[str, Any]:
    """Return the JSON Schema of one input."""
    made: dict[str, Any] = {"title": item.title or item.name}
    described = " ".join(filter(None, (item.description, _HOW_FILE if item.upload else "")))
    if described:
        made["description"] = described
    if item.upload is not None:
        made |= {"type": "string", "contentMediaType": f"{item.upload}/*"}
    elif item.choices is not None:
        choice = _choices(item.choices)
        made |= {"type": "array", "items": choice} if isinstance(item.default, list) else choice
    elif item.type in _TYPES:
        made["type"] = _TYPES[item.type]
        made |= {} if item.minimum is None else {"minimum": item.minimum}
        made |= {} if item.maximum is None else {"maximum": item.maximum}
    elif item.type == "COMBO":
        made["type"] = "string"
    if item.default is not None:
        made["default"] = item.default
    return made


def _choices(choices: tuple[Any, ...]) -> dict[str, Any]:
    kinds = {
        "boolean" if type(one) is bool else "string" if isinstance(one, str) else "number" for one in choices
    }
    return {**({"type": kinds.pop()} if len(kinds) == 1 else {}), "enum": list(choices)}
