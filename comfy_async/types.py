"""Plain data that every part of the library shares: no I/O, no third-party import."""

from __future__ import annotations

import dataclasses
import importlib
import reprlib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, TypeAlias

__all__ = [
    "TERMINAL_STATUSES",
    "Connection",
    "FileUrl",
    "JobProgress",
    "JobStatus",
    "NodeInfo",
    "Problem",
    "Severity",
    "Shown",
    "clipped",
    "counted",
    "duration_text",
    "renderer_of",
]

Severity: TypeAlias = Literal["error", "warning"]

JobStatus: TypeAlias = Literal["submitting", "pending", "running", "completed", "failed", "cancelled", "lost"]
"""Where a job stands. The last four are final and never change again."""

TERMINAL_STATUSES: frozenset[JobStatus] = frozenset({"completed", "failed", "cancelled", "lost"})


class FileUrl(str):
    """Where a file was saved that is not on this machine: a text, with the parts that paths have.

    Example:
        >>> place = FileUrl("s3://pictures/out/cat.png")
        >>> place, place.name, place.stem, place.suffix
        ('s3://pictures/out/cat.png', 'cat.png', 'cat', '.png')
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """The last part."""
        return self.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The ending with its dot, "" for none."""
        return PurePosixPath(self.name).suffix


def renderer_of(thing: object, way: Literal["html", "show"]) -> Callable[..., Any]:
    """Return the renderer that `_display` has for a thing's class, or for the nearest base class.

    This is the one place that imports upwards, by name and only when something is shown: plain data,
    jobs and workflows know nothing of cards, HTML or IPython.

    Args:
        thing: What is shown.
        way: "html" for a function that returns a card; "show" for a coroutine function that
            shows it live, in a notebook or a terminal.

    Raises:
        LookupError: Its class is not shown that way.
    """
    table = importlib.import_module("._display.renderers", __package__).RENDERERS
    for cls in type(thing).__mro__:
        if (cls, way) in table:
            renderer: Callable[..., Any] = table[cls, way]
            return renderer
    raise LookupError(f"nothing shows a {type(thing).__name__} as {way!r}")


class Shown:
    """What a notebook shows as a card; `_display` says how, class by class."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Return the card for notebooks."""
        card: str = renderer_of(self, "html")(self)
        return card


@dataclasses.dataclass(frozen=True, slots=True)
class NodeInfo:
    """What people call a node: its id, its title in the editor and its class.

    Example:
        >>> str(NodeInfo("3", title="Base sampler", class_type="KSampler"))
        '3 "Base sampler" (KSampler)'
    """

    id: str
    title: str
    class_type: str

    def __str__(self) -> str:
        """Return the id with the title and the class, as error messages show it."""
        if self.title and self.title not in (self.class_type, self.id):
            return f'{self.id} "{self.title}" ({self.class_type})'
        return f"{self.id} ({self.class_type})" if self.class_type else self.id


@dataclasses.dataclass(frozen=True, slots=True)
class Problem(Shown):
    """One thing that is wrong with a workflow, with its place and what to do.

    The server's own complaints (HTTP 400, or 200 with `node_errors`) and those of
    `Workflow.check()` have this one shape.

    Attributes:
        node: The node's id, or None when the problem is the whole graph's.
        title: The node's title in the editor, "" when there is none.
        class_type: The node's class, "" when unknown.
        input: The input's name, or None.
        type: The kind, by ComfyUI's own name where it has one: `value_not_in_list`,
            `required_input_missing`, `missing_node_type` and so on (execution.py).
        message: What is wrong, one sentence.
        received: The offending value, None when there is none.
        nearest: Valid values or names that resemble it, the best first.
        advice: What to do about it, "" when nothing is known.
        severity: "error" stops the node from running, "warning" does not.

    Example:
        >>> problem = Problem(node="3", title="KSampler", class_type="KSampler",
        ...     input="sampler_name", type="value_not_in_list",
        ...     message="'eulr' is not one of the choices", received="eulr", nearest=("euler",))
        >>> print(problem)
        3 (KSampler), input 'sampler_name': 'eulr' is not one of the choices; nearest: 'euler'
    """

    node: str | None = None
    title: str = ""
    class_type: str = ""
    input: str | None = None
    type: str = ""
    message: str = ""
    received: Any = None
    nearest: tuple[str, ...] = ()
    advice: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        """Return one line: place, message, nearest valid values, advice."""
        place = ""
        if self.node is not None:
            place = str(NodeInfo(self.node, self.title, self.class_type))
            if self.input is not None:
                place += f", input {self.input!r}"
            place += ": "
        nearest = f"; nearest: {', '.join(map(clipped, self.nearest))}" if self.nearest else ""
        advice = f". {self.advice}" if self.advice else ""
        # Some of ComfyUI's own sentences end in a dot, others do not.
        message = self.message.removesuffix(".") if nearest or advice else self.message
        return f"{place}{message}{nearest}{advice}"

    def __repr__(self) -> str:
        """Return all fields; of a long value, a picture in text perhaps, the beginning."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        shown = (f"{name}={clipped(value, most=1000)}" for name, value in values.items())
        return f"Problem({', '.join(shown)})"


@dataclasses.dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is: a frozen snapshot that prints as one line.

    Attributes:
        fraction: 0.0 to 1.0 over the whole graph; it never goes back, and is 1.0 only
            when the job is completed.
        eta: Seconds to go, or None while nothing is known.
        node: The id of the running node; between two nodes the one that has just finished, else None.
        title: Its title, "" when there is none.
        step: The running node's step, 0 when it does not count steps.
        steps: The running node's number of steps, 0 when it does not count steps.
        done: Nodes that are finished or cached.
        total: Nodes that this job executes or takes from the cache.
        activity: What the running node does at this moment, as the server names it ("loading"), "" when
            it does not say; it is in ComfyUI's `progress_state`, in releases after 0.33.0.
        activity_seconds: For how long it has been doing that.

    Example:
        >>> print(JobProgress(fraction=0.62, eta=8.2, title="KSampler", step=12, steps=20))
        62 %, KSampler 12/20, 8 s to go
        >>> print(JobProgress(title="Flux", activity="loading", activity_seconds=12.3))
        0 %, loading Flux, 12 s
    """

    fraction: float = 0.0
    eta: float | None = None
    node: str | None = None
    title: str = ""
    step: float = 0
    steps: float = 0
    done: int = 0
    total: int = 0
    activity: str = ""
    activity_seconds: float = 0.0

    def __str__(self) -> str:
        """Return a line to print, for example `62 %, KSampler 12/20, 8 s to go`."""
        parts = [f"{int(self.fraction * 100)} %"]
        if self.title:
            steps = f"{self.step:g}/{self.steps:g}" if self.steps > 1 else ""
            parts.append(" ".join(filter(None, (self.activity, self.title, steps))))
            # Steps tell by themselves that something happens; without them only the time does.
            if self.activity and not steps and round(self.activity_seconds) > 0:
                parts.append(duration_text(self.activity_seconds))
        if self.eta is not None and self.fraction < 1.0:
            parts.append(f"{duration_text(self.eta) if round(self.eta) > 0 else '<1 s'} to go")
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True, slots=True)
class Connection:
    """How the session receives messages from the server at this moment.

    Attributes:
        state: "idle" (not connected yet), "connecting", "hearing" (messages come), "down", "refused",
            "deaf" (open, but silent), "stalled" (the server sends nothing to any client), "streaming"
            (API v2: jobs are followed by streams of their own) or "closed".
        polling: True while the state of open jobs is found by polling.
        reconnects: How often the socket was opened again with success.
        last_heard: Seconds since the last frame, None before the first.
        reason: Why no messages come, "" while they do.
        malformed: How many frames could not be read; `events()` shows each.

    Example:
        >>> print(comfy.connection.state, comfy.connection.reconnects)
        hearing 0
        >>> events = comfy.events()
        >>> fake.faults.drop_sockets("reset")
        1
        >>> async for event in events:
        ...     if isinstance(event, Reconnected):
        ...         break
        >>> print(comfy.connection.state, comfy.connection.reconnects)
        hearing 1
    """

    state: str
    polling: bool
    reconnects: int
    last_heard: float | None
    reason: str = ""
    malformed: int = 0


def clipped(value: object, *, most: int = 120) -> str:
    """Return a value as messages show it: its repr, of long ones the beginning and how long they are.

    Example:
        >>> clipped("data:image/png;base64,iVBORw0KGgo", most=10)
        "'data:image'… (33 characters)"
    """
    if isinstance(value, str | bytes):
        unit = "characters" if isinstance(value, str) else "bytes"
        return repr(value) if len(value) <= most else f"{value[:most]!r}… ({len(value):,} {unit})"
    if isinstance(value, int) and value.bit_length() > 4 * most:
        # Python refuses to write integers of more than 4,300 digits.
        return f"a whole number of {value.bit_length():,} bits"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        short = reprlib.Repr()
        short.maxstring = short.maxother = short.maxlong = most // 2
        short.maxlist = short.maxtuple = short.maxdict = short.maxset = short.maxfrozenset = 4
        text = short.repr(value)
    else:
        text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number of things: `1 node`, `2 nodes`; `plural` where another letter than s makes it."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def duration_text(seconds: float) -> str:
    """Return seconds as people say them: `8 s`, `2 min 5 s`, `1 h 3 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
