"""The tools beside the apps: queue, cancel, check, models and upload."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .._base.paths import safe_name
from .._client.foreign import PATH_PROBLEM, foreign_problems
from ..types import counted
from ..workflow.apps import refusal
from .uploads import RefusedError, brought, named
from .words import problem_for_a_caller

if TYPE_CHECKING:
    from .._client.app import App
    from .._client.session import ComfySession
    from .limits import Limits

__all__ = ["NAMES", "BuiltIn", "Desk", "built_in", "check_paths", "nearest"]

_LISTED: Final = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Desk:
    """What the tools work with.

    Attributes:
        comfy: The session.
        files: The folder that files are taken from by path, None for none.
        limits: How much is accepted.
        apps: Returns the apps by name.
    """

    comfy: ComfySession
    files: Path | None
    limits: Limits
    apps: Callable[[], Awaitable[Mapping[str, App]]]


@dataclasses.dataclass(frozen=True, slots=True)
class BuiltIn:
    """A tool: its name, description and arguments, and the function behind it.

    Attributes:
        name: Its name.
        description: What it does.
        properties: What it takes, as JSON Schema, by name.
        required: What has to be given.
        work: What is called with the arguments; returns the text of the answer.
        reads: Whether it changes nothing.
    """

    name: str
    description: str
    properties: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]
    work: Callable[[Desk, Mapping[str, Any]], Awaitable[str]]
    reads: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as a JSON Schema."""
        return {
            "type": "object",
            "properties": {name: dict(each) for name, each in self.properties.items()},
            "required": list(self.required),
            "additionalProperties": False,
        }

    def checked(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments if they are right.

        Raises:
            RefusedError: One is unknown, missing, or of another type.
        """
        for name, value in given.items():
            if name not in self.properties:
                raise RefusedError(f"{self.name} has no argument {name!r}{nearest(name, self.properties)}")
            wanted = self.properties[name]["type"]
            if not isinstance(value, str if wanted == "string" else dict):
                raise RefusedError(f"{name} of {self.name} is no {wanted}: {type(value).__name__}")
        missing = [name for name in self.required if not given.get(name)]
        if missing:
            raise RefusedError(f"{self.name} needs {' and '.join(missing)}")
        return given


def built_in(*, files: Path | None) -> dict[str, BuiltIn]:
    """Return the tools by name; `upload` takes paths only where a folder was opened for it."""
    tools = {tool.name: tool for tool in _TOOLS}
    if files is None:
        upload = tools["upload"]
        properties = {name: each for name, each in upload.properties.items() if name != "path"}
        tools["upload"] = dataclasses.replace(upload, properties=properties, required=("content",))
    return tools


def check_paths(app: App, given: Mapping[str, Any]) -> None:
    """Check that no value of a call leads the server out of its folders.

    Raises:
        UnknownInputError: One does; says all that is wrong with the call.
    """
    found = foreign_problems(app.reading, given)
    if any(one.type == PATH_PROBLEM for one in found):
        raise refusal(found)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a text with the nearest of the known names, or with all where none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 3)
    if near:
        return f"; nearest: {', '.join(near)}"
    return f"; there are {', '.join(names[:_LISTED])}" if names else "; there are none"


async def _queue(desk: Desk, _given: Mapping[str, Any]) -> str:
    """Say what runs and what waits."""
    jobs = [job async for page in desk.comfy.jobs.page(status=["pending", "in_progress"]) for job in page]
    running = [job for job in jobs if job.status == "in_progress"]
    waiting = sorted((job for job in jobs if job.status == "pending"), key=lambda job: job.priority or 0.0)
    lines = [f"{len(running)} running, {len(waiting)} waiting"]
    lines += [f"running: {job.id}" for job in running]
    lines += [f"waiting, place {place}: {job.id}" for place, job in enumerate(waiting[:_LISTED], 1)]
    if len(waiting) > _LISTED:
        lines.append(f"and {len(waiting) - _LISTED} more")
    return "\n".join(lines)


async def _cancel(desk: Desk, given: Mapping[str, Any]) -> str:
    """Stop a job, and say how it ended."""
    try:
        job = await desk.comfy.attach(given["job"])
    except ValueError as error:
        raise RefusedError(f"{error}; `queue` lists the ids of jobs") from None
    was_done = job.done
    status = await job.cancel()
    if status == "lost":
        raise RefusedError(f"the server knows no job {given['job']!r}; `queue` lists those that there are")
    return f"job {job.prompt_id} {'had ended already' if was_done else 'has ended'}: {status}"


async def _check(desk: Desk, given: Mapping[str, Any]) -> str:
    """Say what would be wrong with a call."""
    apps = await desk.apps()
    if given["app"] not in apps:
        raise RefusedError(f"there is no app {given['app']!r}{nearest(given['app'], apps)}")
    app = apps[given["app"]]
    values = given.get("values") or {}
    problems: list[Any] = foreign_problems(app.reading, values)
    if not problems:
        problems = list(await desk.comfy.check(app.workflow(**values)))
    lost = [f"not an input: {one}" for one in app.unresolved]
    if not problems:
        return "\n".join(["nothing is wrong with it", *lost])
    lines = [
        f"{'' if one.severity == 'error' else 'warning: '}{problem_for_a_caller(one)}" for one in problems
    ]
    return "\n".join([*lines, *lost])


async def _models(desk: Desk, given: Mapping[str, Any]) -> str:
    """List kinds of models, or the models of a kind."""
    folders = await desk.comfy.models.folders()
    folder = given.get("folder")
    if not folder:
        return "kinds of models: " + ", ".join(folders)
    if folder not in folders:
        raise RefusedError(f"there is no kind of models {folder!r}{nearest(folder, folders)}")
    found = await desk.comfy.models.list(folder)
    return "\n".join([f"{counted(len(found), 'model')} in {folder}", *found])


async def _upload(desk: Desk, given: Mapping[str, Any]) -> str:
    """Put a file into the server's input folder."""
    content, path = given.get("content"), given.get("path")
    if bool(content) == bool(path):
        raise RefusedError("upload takes one of `content` and `path`")
    name, most = given.get("name"), desk.limits.upload_bytes
    if content:
        data = await brought(content, most=most)
    else:
        assert path is not None
        assert desk.files is not None, "the schema has no path without a folder"
        own, data = await named(path, desk.files, most=most)
        name = name or own
    uploaded = await desk.comfy.files.upload(data, name=safe_name(name) if name else None)
    return f"uploaded as {uploaded.name_for_input!r}: give that name to an input that takes a file"


_TOOLS: Final = (
    BuiltIn(
        "queue",
        "Lists the jobs that run and wait on the ComfyUI server, of everybody who uses it, with their ids.",
        {},
        (),
        _queue,
        reads=True,
    ),
    BuiltIn(
        "cancel",
        "Stops a job of the ComfyUI server, or takes it out of the queue, and says how it ended.",
        {"job": {"type": "string", "description": "The job's id, as `queue` lists it."}},
        ("job",),
        _cancel,
    ),
    BuiltIn(
        "check",
        "Says what would be wrong with a call of an app: values, missing models and packs. Runs nothing.",
        {
            "app": {"type": "string", "description": "The name of the app's tool."},
            "values": {"type": "object", "description": "The arguments that it would be called with."},
        },
        ("app",),
        _check,
        reads=True,
    ),
    BuiltIn(
        "models",
        "Lists the kinds of models of the ComfyUI server, or the models of one kind.",
        {"folder": {"type": "string", "description": "The kind: checkpoints, loras, vae and so on."}},
        (),
        _models,
        reads=True,
    ),
    BuiltIn(
        "upload",
        "Puts an image, video or audio file into the ComfyUI server's input folder; returns its name there.",
        {
            "content": {"type": "string", "description": "The file's bytes in base64."},
            "path": {"type": "string", "description": "Its path, below the folder that was opened for it."},
            "name": {"type": "string", "description": "Its name there; made from its content if left out."},
        },
        (),
        _upload,
    ),
)

NAMES: Final = frozenset(tool.name for tool in _TOOLS)
"""The names that no app gets."""
