"""Which server a command uses: the options that all of them share, and the connection."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from comfy_async import ComfySession
    from comfy_async.testing import FakeComfy

__all__ = ["Connection", "MissingExtraError", "UsageError", "opened"]

_PANEL = "Server"


class UsageError(Exception):
    """The command was called wrongly; exit code 2."""


class MissingExtraError(Exception):
    """An optional part of the installation is needed; the text says how to get it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Connection:
    """The shared options, keys among them. `connection: Connection` in a command brings them all."""

    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            "-s",
            metavar="URL",
            help="The ComfyUI; else COMFY_LOCAL_URL, COMFY_BASE_URL, http://127.0.0.1:8188.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    cloud: Annotated[
        bool,
        typer.Option(
            "--cloud",
            help="Comfy Cloud (API v2), with the key in COMFY_CLOUD_API_KEY.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    dialect: Annotated[
        str,
        typer.Option(
            "--dialect",
            metavar="WHICH",
            help="The server's API: auto, comfyui, api-v2 or cloud-v1.",
            rich_help_panel=_PANEL,
        ),
    ] = "auto"
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help="Sent as X-API-Key, or as a bearer token (API v2); beware of shell histories.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="NAME:VALUE",
            help="A further HTTP header. May be repeated.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Take any TLS certificate.", rich_help_panel=_PANEL),
    ] = False

    def session(self, **options: Any) -> ComfySession:
        """Return a session, not yet connected.

        Raises:
            UsageError: An option is invalid.
        """
        from comfy_async import ComfySession

        given: dict[str, Any] = {
            "headers": self._headers() or None,
            "verify": not self.insecure,
            **options,
        }
        if self.dialect != "auto":
            given["dialect"] = self.dialect
        try:
            if self.cloud:
                return ComfySession.cloud(self.api_key, base_url=self.server, **given)
            return ComfySession(self.server, api_key=self.api_key, **given)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _headers(self) -> dict[str, str]:
        """Return the further headers.

        Raises:
            UsageError: One has no colon.
        """
        found = {}
        for text in self.header or ():
            name, colon, value = text.partition(":")
            if not colon or not name.strip():
                raise UsageError(f"--header takes NAME:VALUE, not {text!r}")
            found[name.strip()] = value.strip()
        return found


@asynccontextmanager
async def opened(
    connection: Connection, *, fake: FakeComfy | None = None, **options: Any
) -> AsyncIterator[ComfySession]:
    """Connect to the server that the options name, or to an embedded one that lives as long.

    Raises:
        ComfyError: The server cannot be reached.
        UsageError: An option is invalid.
    """
    async with AsyncExitStack() as stack:
        if fake is not None:
            await stack.enter_async_context(fake)
            connection = dataclasses.replace(connection, server=fake.url, cloud=False)
        yield await stack.enter_async_context(connection.session(**options))
