"""The site: its addresses, and what is done at each of them."""

from __future__ import annotations

import difflib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .._base.paths import safe_name
from .._base.tasks import in_thread
from .._client.app import App
from ..errors import ComfyError
from ..workflow import Workflow
from .answers import RefusedError, answer_of
from .apps import Offer, Shelf
from .desk import Desk, Entry
from .guard import Guard
from .intake import fields_of, is_small
from .kinds import shown_as
from .limits import Limits
from .openapi import describe_app, document
from .pages import STATIC, page, static_file
from .state import files_of, state_of
from .stream import EventResponse
from .values import problems_with, values_of

__all__ = ["Caller", "Site"]

Caller = Callable[[Request], str]
"""Returns whose a request is."""

_log = logging.getLogger("comfy_async")

_CHOICES_S: Final = 60.0
_AGAIN_S: Final = 5.0
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_NO_STORE: Final = {"Cache-Control": "no-store"}
_QUOTED: Final = '"\\%'
_ALONE: Final = "default-src 'none'; sandbox"


class Site:
    """Apps on the web: an ASGI app, to be mounted or served. Made by `routes`.

    Example:
        >>> from comfy_async.web import routes
        >>> from starlette.routing import Mount
        >>> site = routes("portrait.json", comfy)
        >>> mounted = Mount("/studio", app=site)
        >>> await site.aclose()  # the session stays open
    """

    def __init__(
        self,
        shelf: Shelf,
        desk: Desk,
        *,
        caller: Caller,
        hosts: Iterable[str] | None,
        origins: Iterable[str],
        cancel_on_leave: bool,
    ) -> None:
        """Put the parts together."""
        self._shelf = shelf
        self._desk = desk
        self._caller = caller
        self._cancel_on_leave = cancel_on_leave
        self._app = Guard(self._routed(), hosts=hosts, origins=origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)

    async def aclose(self) -> None:
        """Disconnect the readers, and cancel the jobs that are bound to them; all others go on.

        When the site is not mounted, the server's end does it. The session stays open: it is yours.
        """
        await self._desk.aclose()

    def send_away(self) -> None:
        """End the streams of all readers, which reconnect by themselves: before a server ends.

        uvicorn's end does it by itself. Under another server, which waits for its connections, call it first.
        """
        self._desk.send_away()

    @property
    def limits(self) -> Limits:
        """How much it accepts."""
        return self._desk.limits

    @property
    def jobs(self) -> tuple[str, ...]:
        """The ids of the jobs that it remembers; others are looked up on the ComfyUI when requested."""
        return self._desk.ids

    # Apps.

    async def home(self, request: Request) -> Response:
        """Answer with the page of all apps."""
        return page(_root(request), None, "Apps")

    async def list_apps(self, request: Request) -> Response:
        """Answer with what can be run."""
        root = _root(request)
        offers = await self._shelf.offers()
        listed = [describe_app(slug, offer, root) for slug, offer in offers.items()]
        broken = [{"file": name, "reason": reason} for name, reason in self._shelf.broken.items()]
        return JSONResponse({"apps": listed, "unavailable": broken}, headers=_NO_STORE)

    async def describe(self, request: Request) -> Response:
        """Answer with the inputs of an app."""
        slug, offer = await self._offer_of(request)
        try:
            await self._shelf.renew(offer, after=_CHOICES_S)
        except ComfyError as error:
            # What could be chosen a while ago is better than nothing.
            _log.info("web: the choices of %s may be outdated: %s", slug, error)
        return JSONResponse(describe_app(slug, offer, _root(request)), headers=_NO_STORE)

    async def app_page(self, request: Request) -> Response:
        """Answer with the page of an app."""
        slug, offer = await self._offer_of(request)
        return page(_root(request), slug, offer.title)

    async def run(self, request: Request) -> Response:
        """Put a job into the queue."""
        slug, offer = await self._offer_of(request)
        bound = _flag(request, "cancel_on_leave", self._cancel_on_leave)
        caller = self._caller(request)
        # A caller at its limit is told first what is wrong with its request, unless that means an upload.
        with nullcontext() if is_small(request) else self._desk.place_for(caller) as held:
            async with _emptied_folder() as folder:
                async with fields_of(request, self.limits) as fields:
                    values, wrong = await values_of(offer.app, fields, folder)
                workflow = await self._workflow(slug, offer, values, wrong, _root(request))
                with nullcontext(held) if held else self._desk.place_for(caller) as place:
                    entry = await self._desk.submit(workflow, place, app=slug, bound=bound)
        state = await state_of(entry, offer.app, _root(request))
        return JSONResponse(state, 202, headers={**_NO_STORE, "Location": state["links"]["self"]})

    async def _offer_of(self, request: Request) -> tuple[str, Offer]:
        """Return the app that an address names.

        Raises:
            RefusedError: There is none.
            ComfyError: The request to the ComfyUI for what the workflow needs failed.
        """
        slug = request.path_params["app"]
        offers = await self._shelf.offers()
        if slug not in offers:
            near = difflib.get_close_matches(slug[:200], offers, n=3)
            hint = f"Nearest: {', '.join(near)}." if near else "GET /apps lists those that there are."
            raise RefusedError(404, "no_app", f"there is no app {slug[:200]!r}", hint=hint)
        return slug, offers[slug]

    async def _workflow(
        self,
        slug: str,
        offer: Offer,
        values: Mapping[str, Any],
        wrong: Mapping[str, dict[str, Any]],
        root: str,
    ) -> Workflow:
        """Return what is to be run.

        Raises:
            RefusedError: The app does not take these values; says which, and why.
            ComfyError: The request to the ComfyUI for the present choices failed.
        """
        found = problems_with(offer.app, values, wrong)
        is_stale = any(one["type"] == "value_not_in_list" for one in found)
        if is_stale and await self._shelf.renew(offer, after=_AGAIN_S):
            found = problems_with(offer.app, values, wrong)
        if found:
            are = "value is" if len(found) == 1 else "values are"
            raise RefusedError(
                415 if all(one["type"] == "wrong_file" for one in found) else 422,
                "invalid_inputs",
                f"{len(found)} {are} wrong or missing; nothing was sent",
                problems=found,
                hint=f"GET {root}/apps/{slug} lists what it takes.",
            )
        return offer.app.workflow(**values)

    async def openapi(self, request: Request) -> Response:
        """Answer with the site as an OpenAPI document."""
        from .. import __version__

        offers = await self._shelf.offers()
        return JSONResponse(document(offers, _root(request), version=__version__), headers=_NO_STORE)

    async def static(self, request: Request) -> Response:
        """Answer with a file of the page."""
        name = request.path_params["name"]
        if name not in STATIC:
            raise RefusedError(404, "not_found", "there is nothing at this address")
        return static_file(name)

    # Jobs.

    async def state(self, request: Request) -> Response:
        """Say where a job stands."""
        return await self._told(request, await self._entry(request))

    async def cancel(self, request: Request) -> Response:
        """Cancel a job, and say how it truly ended."""
        entry = await self._entry(request)
        await entry.job.cancel()
        return await self._told(request, entry)

    async def events(self, request: Request) -> EventResponse:
        """Stream what happens to a job."""
        entry = await self._entry(request)
        self._desk.check_room(entry)
        app = await self._known_app(entry)
        root = _root(request)
        asked = request.query_params.get("cancel_on_leave")
        return EventResponse(
            self._desk,
            entry,
            lambda: state_of(entry, app, root),
            after=request.headers.get("last-event-id") or request.query_params.get("since", ""),
            bound=self._cancel_on_leave or None
            if asked is None
            else _flag(request, "cancel_on_leave", False),
        )

    async def output(self, request: Request) -> Response:
        """Pass a file on: the caller never sees the ComfyUI."""
        entry = await self._entry(request)
        files = await files_of(entry.job)
        number = request.path_params["number"]
        if number >= len(files):
            if entry.job.done:
                raise RefusedError(404, "no_output", "the job has no such output")
            raise RefusedError(409, "not_yet", f"the job is {entry.job.status}")
        file = files[number]
        chunks = file.stream()
        # The first one now: an error can still become a status.
        first = await anext(chunks, b"")
        mime, inline = shown_as(file.mime)
        headers = {
            "Content-Disposition": _disposition(file.display_name, inline=inline),
            "Content-Security-Policy": _ALONE,
            "Cache-Control": "private, max-age=3600",
        }
        return StreamingResponse(_joined(first, chunks), media_type=mime, headers=headers)

    async def _entry(self, request: Request) -> Entry:
        """Return the job that an address names.

        Raises:
            RefusedError: There is none.
            ComfyError: The request to the ComfyUI failed.
        """
        return await self._desk.find(request.path_params["job"])

    async def _known_app(self, entry: Entry) -> App | None:
        """Return the app of a job, None when it is not offered any more, or cannot be known now."""
        try:
            offer = (await self._shelf.offers()).get(entry.app)
        except (ComfyError, OSError):
            return None
        return None if offer is None else offer.app

    async def _told(self, request: Request, entry: Entry) -> Response:
        """Answer with the state of a job."""
        state = await state_of(entry, await self._known_app(entry), _root(request))
        return JSONResponse(state, headers=_NO_STORE)

    # How it is put together.

    def _routed(self) -> Starlette:
        """Return the routes, and what becomes of errors."""
        listed: list[tuple[str, Callable[[Request], Awaitable[Any]], str]] = [
            ("/", self.home, "GET"),
            ("/openapi.json", self.openapi, "GET"),
            ("/static/{name}", self.static, "GET"),
            ("/apps", self.list_apps, "GET"),
            ("/apps/{app}", self.describe, "GET"),
            ("/apps/{app}", self.run, "POST"),
            ("/apps/{app}/", self.app_page, "GET"),
            ("/jobs/{job}", self.state, "GET"),
            ("/jobs/{job}", self.cancel, "DELETE"),
            ("/jobs/{job}/events", self.events, "GET"),
            ("/jobs/{job}/outputs/{number:int}", self.output, "GET"),
        ]
        handlers: dict[Any, Any] = {
            RefusedError: self._on_refusal,
            ComfyError: self._on_error,
            HTTPException: self._on_http_error,
        }
        app = Starlette(
            routes=[Route(path, endpoint, methods=[method]) for path, endpoint, method in listed],
            exception_handlers=handlers,
            lifespan=self._lifespan,
        )
        # `/apps/{app}` and `/apps/{app}/` are two things.
        app.router.redirect_slashes = False
        return app

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """End with the server, when the site is not mounted but the whole app."""
        yield
        await self.aclose()

    async def _on_refusal(self, request: Request, error: RefusedError) -> Response:
        """Answer a refusal of the site."""
        return error.response()

    async def _on_error(self, request: Request, error: ComfyError) -> Response:
        """Answer an error of the library."""
        return answer_of(error, retry_seconds=self.limits.retry_seconds)

    async def _on_http_error(self, request: Request, error: HTTPException) -> Response:
        """Answer what the router says: an unknown address, or a method that it does not take."""
        refusal = RefusedError(error.status_code, "not_found", "there is nothing at this address")
        if error.status_code == 405:
            refusal = RefusedError(405, "wrong_method", f"{request.method} is not allowed here")
        response = refusal.response()
        response.headers.update(error.headers or {})
        return response


def _root(request: Request) -> str:
    """Return the address below which the site is, "" at the top."""
    root: str = request.scope.get("root_path", "")
    return quote(root.rstrip("/"))


def _flag(request: Request, name: str, default: bool) -> bool:
    """Return a yes or no of the query.

    Raises:
        RefusedError: It is neither.
    """
    word = request.query_params.get(name)
    if word is None:
        return default
    if word.lower() not in _TRUE | _FALSE:
        raise RefusedError(422, "invalid_query", f"{name} is 1 or 0")
    return word.lower() in _TRUE


def _disposition(name: str, *, inline: bool) -> str:
    """Return a `Content-Disposition` for a server's file name, which may have anything in it."""
    safe = safe_name(name)
    kept = (char if char.isascii() and char.isprintable() and char not in _QUOTED else "_" for char in safe)
    how = "inline" if inline else "attachment"
    return f"{how}; filename=\"{''.join(kept)}\"; filename*=UTF-8''{quote(safe, safe='')}"


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a chunk and those that follow."""
    async with aclosing(rest):  # type: ignore[type-var]
        yield first
        async for chunk in rest:
            yield chunk


@asynccontextmanager
async def _emptied_folder() -> AsyncIterator[Path]:
    """Give a folder for the files of one request, which is gone afterwards."""
    made = await in_thread(TemporaryDirectory, prefix="comfy_async_web_", ignore_cleanup_errors=True)
    try:
        yield Path(made.name)
    finally:
        await in_thread(made.cleanup)
