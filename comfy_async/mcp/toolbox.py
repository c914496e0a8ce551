"""What is offered: every app of a folder as a tool, and the tools beside them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp import types

from .._base.secrets import Secret
from .._client.folder import AppFolder
from ..errors import ComfyError
from .builtin import NAMES, BuiltIn, Desk, built_in, check_paths, nearest
from .content import content_of, text_block
from .limits import Limits
from .running import Tell, run
from .uploads import RefusedError
from .words import error_for_a_caller

if TYPE_CHECKING:
    from .._client.app import App
    from .._client.session import ComfySession

__all__ = ["Toolbox"]

_log = logging.getLogger("comfy_async")

_ADVICE = "`check` says what is wrong with a call before it is made."


class Toolbox:
    """The tools of one ComfyUI: its apps, and `queue`, `cancel`, `check`, `models` and `upload`.

    A wrong call is answered as a tool's error, with all that is wrong, the nearest names and what to
    do; none ends the server.

    Example:
        >>> tools = Toolbox("examples/workflows", comfy, out="pictures")
        >>> [tool.name for tool in await tools.tools()][-5:]
        ['queue', 'cancel', 'check', 'models', 'upload']
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        comfy: ComfySession,
        *,
        files: str | os.PathLike[str] | None = None,
        out: str | os.PathLike[str] | None = None,
        partner_api_key: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Check that the folder is there; nothing is read and no request is sent yet.

        Args:
            folder: Workflows, or one workflow file.
            comfy: Where they run.
            files: The one folder from which `upload` takes files by their path; None for none.
            out: Where results are saved, None to leave them on the server.
            partner_api_key: For partner nodes; it goes along with apps that have some, and no others.
            limits: How much a call may bring, and how much of a result is shown.

        Raises:
            FileNotFoundError: There is no such folder.
        """
        self.limits = limits or Limits()
        self._files = None if files is None else Path(files)
        if self._files is not None and not self._files.is_dir():
            raise FileNotFoundError(2, "there is no such folder", os.fspath(self._files))
        self._out = None if out is None else Path(out)
        self._folder = AppFolder(folder, comfy, reserved=NAMES)
        self._comfy = comfy
        self._key = Secret.of(partner_api_key)
        self._beside = built_in(files=self._files)
        self._listed: frozenset[str] | None = None

    async def tools(self) -> list[types.Tool]:
        """Return all tools; without the apps while the server does not answer what they need."""
        try:
            apps = await self._folder.apps()
        except (ComfyError, OSError) as error:
            _log.warning("the apps are not offered yet: %s", error)
            apps = {}
        self._listed = frozenset(apps)
        return [
            *(self._of_app(name, app) for name, app in apps.items()),
            *map(_beside, self._beside.values()),
        ]

    async def call(self, name: str, given: Mapping[str, Any], tell: Tell) -> types.CallToolResult:
        """Call a tool and return what it answers; an error is an answer too.

        When this is cancelled, so is the job on the server.

        Args:
            name: The tool's name.
            given: Its arguments.
            tell: Called with how far the call is.
        """
        try:
            return types.CallToolResult(content=await self._answer(name, given, tell))
        except RefusedError as error:
            return _failed(str(error))
        except (ComfyError, OSError) as error:
            return _failed(_words(error))
        except Exception as error:
            # A bug: the caller gets no traceback, whoever runs this does.
            _log.exception("the tool %s failed", name)
            return _failed(f"{name} failed inside, by {type(error).__name__}; the server's log says where")

    async def has_news(self) -> bool:
        """Say whether there are other apps now than those that were listed last."""
        try:
            return self._listed is not None and self._listed != frozenset(await self._folder.apps())
        except (ComfyError, OSError):
            return False

    async def _answer(self, name: str, given: Mapping[str, Any], tell: Tell) -> list[types.ContentBlock]:
        """Do what a tool does."""
        beside = self._beside.get(name)
        if beside is not None:
            desk = Desk(self._comfy, self._files, self.limits, self._folder.apps)
            return [text_block(await beside.work(desk, beside.checked(given)))]
        apps = await self._folder.apps()
        if name not in apps:
            raise RefusedError(f"there is no tool {name!r}{nearest(name, [*apps, *self._beside])}")
        app = apps[name].on(self._comfy, previews="none")
        check_paths(app, given)
        if self._key is not None and _is_paid(app, given):
            app = app.on(self._comfy, partner_api_key=self._key.reveal())
        job, result = await run(app, given, tell)
        outputs = {output.node: output.name for output in app.outputs.values()}
        return await content_of(job, result, outputs, out=self._out, limits=self.limits)

    def _of_app(self, name: str, app: App) -> types.Tool:
        """Return an app as a tool."""
        told = app.tool()
        schema = _slimmed(told["parameters"], self.limits.choices)
        return types.Tool(
            name=name,
            title=app.name.replace("_", " "),
            description=f"{told['description']} {_ADVICE}".strip(),
            input_schema=schema,
            annotations=types.ToolAnnotations(read_only_hint=False, destructive_hint=False),
        )


def _is_paid(app: App, values: Mapping[str, Any]) -> bool:
    """Say whether an app has partner nodes.

    Raises:
        UnknownInputError: The values are wrong.
    """
    nodes = app.workflow(**values).nodes.values()
    return any(
        node.class_type in app.catalog and app.catalog.node(node.class_type).api_node for node in nodes
    )


def _beside(tool: BuiltIn) -> types.Tool:
    """Return a tool that stands beside the apps."""
    hints = types.ToolAnnotations(
        read_only_hint=tool.reads, destructive_hint=tool.name == "cancel", open_world_hint=False
    )
    return types.Tool(
        name=tool.name, description=tool.description, input_schema=tool.schema, annotations=hints
    )


def _slimmed(schema: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Return a schema without its endless lists: each tool's schema is a part of every conversation."""
    properties = {}
    for name, each in schema["properties"].items():
        choices = each.get("enum") or ()
        if len(choices) > most:
            few = ", ".join(map(str, choices[:3]))
            told = f"One of {len(choices)}, such as {few}; a wrong one is answered with the nearest."
            each = {key: value for key, value in each.items() if key != "enum"}
            each["description"] = " ".join(filter(None, (each.get("description"), told)))
        properties[name] = each
    return {**schema, "properties": properties}


def _failed(text: str) -> types.CallToolResult:
    """Return the answer of a call that failed."""
    return types.CallToolResult(content=[text_block(text)], is_error=True)


def _words(error: Exception) -> str:
    """Return what an error says, without a path of this machine."""
    if isinstance(error, OSError) and not isinstance(error, ComfyError):
        return f"a file could not be read or written: {error.strerror or type(error).__name__}"
    return error_for_a_caller(error) if isinstance(error, ComfyError) else str(error)
