"""The real comfy-api-proxy (PyPI, MIT) in front of a ComfyUI, in this process: it can be killed."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from aiohttp import web
from comfy_api_proxy.app import make_app
from comfy_api_proxy.auth import make_bearer_auth_middleware

__all__ = ["ApiProxy"]


class ApiProxy:
    """A comfy-api-proxy at one port for as long as it is entered, through kills and starts."""

    def __init__(self, comfyui: str, *, token: str | None = None, state: Path | None = None) -> None:
        """Prepare one; with `state` it remembers what it knew before it was killed."""
        self._comfyui = comfyui
        self._token = token
        self._state = state
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Begin to listen, at the same port as before."""
        guards = [] if self._token is None else [make_bearer_auth_middleware(self._token)]
        app = make_app(self._comfyui, state_dir=self._state, middlewares=guards)
        # Who is killed says no goodbye: no handler is waited for. (For aiohttp 0 is for ever.)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]

    async def kill(self) -> None:
        """End it in the midst of whatever it does; its connections break."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> ApiProxy:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        await self.kill()
