"""Which server a command speaks to: the options that all of them share, and the way there."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from comfy_async import ComfySession
    from comfy_async.testing import FakeComfy

__all__ = ["Connection", "MissingExtraError", "UsageError", "connected", "fake_server", "opened"]

_PANEL = "Server"


class UsageError(Exception):
    """The command was called wrongly; exit code 2."""


class MissingExtraError(Exception):
    """An optional part of the installation is needed; the text says how to get it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What the shared options say. `connection: Connection` in a command brings them all."""

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
            "--cloud", help="Comfy Cloud, with the key in COMFY_CLOUD_API_KEY.", rich_help_panel=_PANEL
        ),
    ] = False
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help="Sent as X-API-Key; beware of shell histories.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", "-H", metavar="NAME:VALUE", help="A further HTTP header.", rich_help_panel=_PANEL
        ),
    ] = None
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Take any TLS certificate.", rich_help_panel=_PANEL),
    ] = False

    def session(self, **options: Any) -> ComfySession:
        """Return a session, not yet connected.

        Raises:
            UsageError: An option makes no sense.
        """
        from comfy_async import ComfySession

        given: dict[str, Any] = {
            "headers": self._headers() or None,
            "verify": not self.insecure,
            **options,
        }
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


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of each dataclass among its parameters in the parameter's place.

    A group of options, such as `Connection`, so stands in one place however many commands have it.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _options_of(groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        command(**values, **made)

    # typer reads both: the signature for the defaults, the annotations for the types.
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def _options_of(group: Any) -> list[inspect.Parameter]:
    """Return the fields of a dataclass as parameters of a command."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]


def fake_server(**options: Any) -> FakeComfy:
    """Return a FakeComfy, not yet started.

    Raises:
        MissingExtraError: The extra `testing` is not installed.
    """
    try:
        from comfy_async.testing import FakeComfy
    except ImportError as error:
        raise MissingExtraError(str(error)) from error
    return FakeComfy(**options)


@asynccontextmanager
async def opened(
    connection: Connection, *, fake: FakeComfy | None = None, **options: Any
) -> AsyncIterator[ComfySession]:
    """Connect to the server that the options name, or to an embedded one that lives as long.

    Raises:
        ComfyError: The server cannot be reached.
        UsageError: An option makes no sense.
    """
    async with AsyncExitStack() as stack:
        if fake is not None:
            await stack.enter_async_context(fake)
            connection = dataclasses.replace(connection, server=fake.url, cloud=False)
        yield await stack.enter_async_context(connection.session(**options))
