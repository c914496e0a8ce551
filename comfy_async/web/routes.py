"""`routes`: a site of apps, ready to be mounted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request

from .._client.client import Client
from .._session.options import Previews
from .apps import AppSource, Shelf
from .desk import Desk
from .limits import Limits
from .site import Caller, Site

__all__ = ["routes"]


def routes(
    apps: AppSource,
    comfy: Client,
    *,
    # Who may ask.
    caller: Caller | None = None,
    hosts: Iterable[str] | None = None,
    origins: Iterable[str] = (),
    # What is done for them.
    limits: Limits | None = None,
    previews: Previews | None = None,
    cancel_on_leave: bool = False,
) -> Site:
    """Return an ASGI app that offers workflows as functions: endpoints for programs, a page for people.

    The session or pool stays yours: open it before, close it afterwards, use it for anything else. There
    are no accounts and no TLS in it: everybody who can reach it may run the apps. Put your own login
    around it, or a proxy before it.

    Args:
        apps: A folder of workflows (or one file), loaded when they are first needed and again when a file
            changes; or an `App`, several, or a mapping of name to `App`, or to a function that makes one when
            it is first needed, so that all may start before the ComfyUI does:
            `{"portrait": lambda: comfy.app("portrait.json", inputs={"prompt": "6.text"})}`.
        comfy: The session or pool that runs the jobs of all callers.
        caller: Returns whose a request is, for the limit per client and for the job's labels; the address
            that it comes from unless given. Behind a proxy that is the proxy's, unless your server
            takes it from `X-Forwarded-For` (uvicorn's `proxy_headers`).
        hosts: The names that the site is called by, "*" for any. Without them it answers to any name,
            but on loopback, to which a foreign page could make its own name resolve, only to
            `localhost` and addresses.
        origins: Other sites whose pages may use this one, such as `https://example.com`.
        limits: How much it accepts.
        previews: What every job gets; the session's unless given.
        cancel_on_leave: Cancel a job when nobody reads its events any more, unless its reader says
            `?cancel_on_leave=0`; as it is, only for readers who say `?cancel_on_leave=1`.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: There is no app, or an origin is invalid.

    Example:
        >>> from starlette.applications import Starlette
        >>> from starlette.routing import Mount
        >>> site = routes("portrait.json", comfy, origins=["https://example.com"])
        >>> api = Starlette(routes=[Mount("/studio", app=site)])
    """
    options: dict[str, Any] = {} if previews is None else {"previews": previews}
    return Site(
        Shelf(apps, comfy),
        Desk(comfy, limits or Limits(), options=options),
        caller=caller or _address_of,
        hosts=hosts,
        origins=origins,
        cancel_on_leave=cancel_on_leave,
    )


def _address_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return "unknown" if request.client is None else request.client.host
