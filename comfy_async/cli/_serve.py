"""`serve`: a folder of workflows as a site."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._base.own_addresses import is_everywhere
from ._connection import Connection, MissingExtraError, UsageError, opened
from ._fake import fake_server
from ._interrupt import Interrupts
from ._others import for_others
from ._report import Report

if TYPE_CHECKING:
    from comfy_async import ComfySession

__all__ = ["ServeRequest", "serve_apps"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """The options of `serve`.

    Attributes:
        folder: The workflows.
        host: Where to listen.
        port: Where to listen, 0 for any.
        root_path: The prefix that a proxy removes.
        fake: Run on an embedded FakeComfy.
        names: The names that the site is called by.
        origins: Sites whose pages may use it.
        cancel_on_leave: Cancel jobs that nobody watches any more.
        limits: What `Limits` gets.
    """

    folder: Path
    host: str
    port: int
    root_path: str
    fake: bool
    names: list[str]
    origins: list[str]
    cancel_on_leave: bool
    limits: dict[str, int]


async def serve_apps(
    request: ServeRequest, connection: Connection, report: Report, interrupts: Interrupts
) -> int:
    """Serve until the first signal, end well, and return 0.

    Raises:
        MissingExtraError: The extra `web` (or `testing`, for --fake) is not installed.
        UsageError: An option is invalid.
        OSError: There is no such folder, or the port is taken.
    """
    # First of all: what is missing is told before anything is opened.
    web = _web()
    fake = fake_server(step_seconds=0.05) if request.fake else None
    if fake is not None:
        interrupts.last_words.append(fake.folders.remove)
    async with opened(connection, fake=fake, connect="lazy") as comfy:
        site = _site(web, request, comfy)
        async with _served(web, site, request) as url:
            try:
                report.item({"event": "listening", "url": url}, url)
                _explain(report, request, comfy, url)
                await _ask(report, comfy)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not interrupts.asked:
                    raise
                report.note("closing; jobs in the queue go on")
    return 0


def _web() -> Any:
    """Return the web part of the package.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from .. import web

        web.check_server()
    except ImportError as error:
        if error.name not in ("uvicorn", "starlette", "python_multipart"):
            raise
        raise MissingExtraError(str(error)) from error
    return web


def _site(web: Any, request: ServeRequest, comfy: ComfySession) -> Any:
    """Return the site.

    Raises:
        UsageError: An option is invalid.
        OSError: There is no such folder.
    """
    try:
        return web.routes(
            request.folder,
            comfy,
            hosts=request.names or None,
            origins=request.origins,
            cancel_on_leave=request.cancel_on_leave,
            limits=web.Limits(**request.limits),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _served(web: Any, site: Any, request: ServeRequest) -> Any:
    """Return the server."""
    return web.serve(site, host=request.host, port=request.port, root_path=request.root_path)


def _explain(report: Report, request: ServeRequest, comfy: ComfySession, url: str) -> None:
    """Say where it listens, and for whom that is."""
    local = request.host in ("127.0.0.1", "::1", "localhost")
    where = "this machine only" if local else f"everybody who can reach {request.host}"
    report.say(f"the apps of {request.folder}, run on {comfy.base_url}; for {where}. Ctrl-C ends it")
    if local:
        report.say("for others put a proxy with TLS and a login before it: there are no accounts here")
    else:
        report.say("warning: no accounts and no TLS: put a proxy before it, and keep the port to yourself")
    if is_everywhere(request.host):
        report.say(for_others(request.host, url, named=bool(request.names)))


async def _ask(report: Report, comfy: ComfySession) -> None:
    """Say so when the ComfyUI is not there yet; pages are served all the same."""
    from comfy_async import ComfyError

    try:
        await comfy.queue.snapshot()
    except ComfyError as error:
        report.say(f"warning: {error}\nuntil then requests are answered 503")
