"""A server for a site: uvicorn, with an end that readers of events do not hold up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from .._base.own_addresses import here
from .._base.tasks import to_the_end
from .site import Site

if TYPE_CHECKING:
    import uvicorn

__all__ = ["check_server", "serve"]

_GRACE_S: Final = 5
_BACKLOG: Final = 2048


@asynccontextmanager
async def serve(
    site: Site, *, host: str = "127.0.0.1", port: int = 8000, root_path: str = ""
) -> AsyncIterator[str]:
    """Serve a site as long as the block lasts, and give its address, as this machine can open it.

    On this machine alone by default: there are no accounts and no TLS, so for others a
    proxy belongs before it.

    Args:
        site: What `routes` returned; it is closed at the end, its session is not.
        host: Where it listens; "0.0.0.0" for everybody who can reach this machine.
        port: 0 picks a free one.
        root_path: The prefix that a proxy removes before it passes a request on.

    Raises:
        ImportError: uvicorn is missing.
        OSError: The address is taken, or not available.

    Example:
        >>> from comfy_async.web import routes, serve
        >>> async with serve(routes("portrait.json", comfy), port=0) as url:
        ...     print("open", url)
        open http://127.0.0.1:...
    """
    if not isinstance(site, Site):
        raise TypeError(
            f"serve() takes what routes() returns, not {type(site).__name__}: give that to uvicorn"
        )
    check_server()
    listening = _listening(host, port)
    server = _server(site, root_path)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="comfy_async web server")
    started = asyncio.create_task(server.ready.wait(), name="comfy_async web start")
    try:
        await asyncio.wait([serving, started], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield f"http://{here(listening)}"
    finally:
        started.cancel()
        server.should_exit = True
        # uvicorn waits for whoever still reads.
        site.send_away()
        await to_the_end([serving])
        await site.aclose()
        listening.close()


def check_server() -> None:
    """Check that what serves a site is installed; mounting one needs nothing.

    Raises:
        ImportError: uvicorn is missing.
    """
    try:
        import uvicorn as _uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "uvicorn":
            raise
        raise ImportError("serving needs uvicorn: pip install 'comfy-async[web]'", name="uvicorn") from error


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: The address is taken, or not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def _server(site: Site, root_path: str) -> Any:
    """Return uvicorn's server."""
    import uvicorn

    config = uvicorn.Config(
        site,
        root_path=root_path,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_S,
    )
    return _quiet(uvicorn.Server)(config)


def _quiet(base: type[uvicorn.Server]) -> Any:
    """Return a server that leaves the signals to others, and says when it has begun."""

    class Server(base):  # type: ignore[misc, valid-type]
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.ready = asyncio.Event()

        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            # Ctrl-C is for whoever runs this.
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.ready.set()

    return Server
