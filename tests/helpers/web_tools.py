"""What the tests of the web share: apps to offer, a client beside the site, events as they were sent."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from PIL import Image

from comfy_async import PromptRejectedError, Workflow
from comfy_async.testing import FakeComfy
from comfy_async.types import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class StubInput:
    name: str
    node: str
    input: str
    type: str = "STRING"
    default: Any = None
    choices: Sequence[Any] | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    multiline: bool = False
    required: bool = False
    description: str = ""
    upload: Any = None


@dataclasses.dataclass(frozen=True)
class StubOutput:
    node: str


class StubApp:
    def __init__(self, name, graph, inputs, outputs):
        self.name = name
        self.flow = Workflow.load(graph)
        self.inputs = {one.name: one for one in inputs}
        self.outputs = outputs

    def workflow(self, /, **values):
        problems = []
        changes = {}
        for name, value in values.items():
            field = self.inputs[name]
            if field.type == "INT" and not isinstance(value, int):
                problems.append(Problem(node=field.node, input=name, type="invalid", message="no whole number", received=value))
            if field.maximum is not None and value > field.maximum:
                problems.append(Problem(node=field.node, input=name, type="too_big", message="too large", received=value))
            changes[(field.node, field.input)] = value
        if problems:
            raise PromptRejectedError("the app does not take these values", problems=problems)
        return self.flow.with_inputs(changes)

    def json_schema(self):
        return {"type": "object", "title": self.name, "properties": {n: {"type": "string"} for n in self.inputs}}
