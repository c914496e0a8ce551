"""What an app is made of: inputs, outputs, and what could not be resolved."""

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
    """One input of an app: its name, what it takes, and where in the workflow it goes.

    Attributes:
        name: Its name, a Python identifier.
        node: The id of the node that gets it, in the prompt.
        input: The input of that node.
        type: ComfyUI's type of what it takes: "STRING", "INT", "FLOAT", "BOOLEAN", "COMBO" or another.
        default: What it has when nothing is given; None when nothing would do.
        choices: What may be chosen, None when it is no choice or the choices are not known.
        minimum: The smallest number, or None.
        maximum: The largest number, or None.
        step: In which steps the editor counts; other numbers are taken all the same.
        multiline: Whether it is a text of several lines.
        required: Whether it must be given.
        description: What it is for, "" when unknown.
        upload: Which kind of file it takes, None for no file.
        title: What people call it.
        targets: Every input that gets it; the first is `node` and `input`.
        is_seed: Whether it is a seed: it takes "random" too, and draws one.

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
        """Return the value that a text means, as it comes from a form, a table or a command line.

        What no text can mean comes back as it is, for the app to refuse.

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
        node: The id of the node that makes it.
        type: "image", "video", "audio", "model_3d", "text", or "any" when its class does not say.
        title: What people call it.
        class_type: The node's class.
    """

    name: str
    node: str
    type: str
    title: str = ""
    class_type: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Unresolved:
    """Something that the workflow names as an input or output of its app, and that is none.

    Attributes:
        node: The node's id as it is named.
        input: The input, "" for an output.
        reason: Why.
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
        targets: Where it goes.
        names: What it may be named by, the best first.
        title: What people call it.
        description: What it is for.
        fixed: Whether the first name was written by somebody, and is kept as it is.
        loaded: Whether its node was made to load it: its present value is no default.
        optional: Whether that node goes away when nothing is given.
    """

    targets: tuple[Target, ...]
    names: tuple[str, ...]
    title: str = ""
    description: str = ""
    fixed: bool = False
    loaded: bool = False
    optional: bool = False


Names: TypeAlias = Mapping[str, Any]
"""What `inputs=` and `outputs=` take: names to places in the workflow."""
