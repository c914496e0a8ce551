"""The parts of an app: inputs, outputs, and names that could not be resolved."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from .texts import parsed

__all__ = ["AppInput", "AppOutput", "Target", "Unresolved", "UploadKind"]

UploadKind: TypeAlias = Literal["image", "video", "audio"]

Target: TypeAlias = tuple[str, str]
"""An input of the prompt: a node's id and the input's name."""


@dataclasses.dataclass(frozen=True, slots=True)
class AppInput:
    """One input of an app: its name, its type, and the inputs of the workflow that get its value.

    Attributes:
        name: Its name, a Python identifier.
        node: The id of the node that gets the value, in the prompt.
        input: The input of that node.
        type: Its type in ComfyUI: "STRING", "INT", "FLOAT", "BOOLEAN", "COMBO" or another.
        default: The value when none is given, None when there is no default.
        choices: The allowed values, None when it is not a combo or they are unknown.
        minimum: The smallest allowed number, or None.
        maximum: The largest allowed number, or None.
        step: The step of the editor's field; other numbers are accepted all the same.
        multiline: Whether it is a text of several lines.
        required: Whether a value must be given.
        description: What it is for, "" when unknown.
        upload: The kind of file that it accepts, None when it does not accept files.
        title: A label for people.
        targets: All inputs of the workflow that get the value; the first is `(node, input)`.
        is_seed: Whether it is a seed; it then also accepts "random", which draws one.

    Example:
        >>> app.inputs["steps"].type, app.inputs["steps"].minimum, app.inputs["steps"].default
        ('INT', 1, 20)
    """

    name: str
    node: str
    input: str
    type: str
    default: Any = None
    choices: tuple[Any, ...] | None = dataclasses.field(default=None, repr=False)
    minimum: int | float | None = None
    maximum: int | float | None = None
    step: int | float | None = None
    multiline: bool = False
    required: bool = False
    description: str = dataclasses.field(default="", repr=False)
    upload: UploadKind | None = None
    title: str = ""
    targets: tuple[Target, ...] = dataclasses.field(default=(), repr=False)
    is_seed: bool = False

    def parse(self, text: str) -> Any:
        """Return a text from a form, a table or a command line as a value of the input's type.

        A text that cannot be converted is returned unchanged, and the app rejects it.

        Example:
            >>> app.inputs["steps"].parse("8"), app.inputs["prompt"].parse("8")
            (8, '8')
        """
        return parsed(text, type=self.type, choices=self.choices, is_file=self.upload is not None)


@dataclasses.dataclass(frozen=True, slots=True)
class AppOutput:
    """One output of an app.

    Attributes:
        name: Its name, a Python identifier.
        node: The id of its output node.
        type: "image", "video", "audio", "model_3d", "text", or "any" when the class does not tell.
        title: The node's title.
        class_type: The node's class.
    """

    name: str
    node: str
    type: str
    title: str = ""
    class_type: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Unresolved:
    """A name of an input or output of an app that cannot be found in the workflow.

    Attributes:
        node: The node's id as it was given.
        input: The input, "" for an output.
        reason: Why it was not found.
    """

    node: str
    input: str
    reason: str

    def __str__(self) -> str:
        """Return the place and the reason."""
        return f"{f'{self.node}.{self.input}' if self.input else f'output {self.node}'}: {self.reason}"


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """An input before it was looked up in the catalog.

    Attributes:
        targets: The inputs of the workflow that get the value.
        names: Candidates for its name, the best first.
        title: A label for people.
        description: What it is for.
        fixed: Whether the first name was given by the user, and is kept as it is.
        loaded: Whether its node was added to load the value, so that its present value is no default.
        optional: Whether that node is removed when no value is given.
    """

    targets: tuple[Target, ...]
    names: tuple[str, ...]
    title: str = ""
    description: str = ""
    fixed: bool = False
    loaded: bool = False
    optional: bool = False


Names: TypeAlias = Mapping[str, Any]
"""The type of `inputs=` and `outputs=`: places in the workflow by name."""
