"""The apps that a site offers: given as they are, or loaded from files and looked after."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from .._client.app import App
from .._client.client import Client
from .._client.folder import WatchedFolder
from ..errors import WorkflowError

__all__ = ["AppMaker", "AppSource", "Offer", "Shelf", "slug_of"]

_log = logging.getLogger("comfy_async")

_LOOK_S: Final = 2.0
_LONGEST_SLUG: Final = 80


T = TypeVar("T")

AppMaker: TypeAlias = "Callable[[], Awaitable[App]]"
"""Makes an app when it is first needed: `lambda: comfy.app(workflow, inputs=...)`."""

AppSource: TypeAlias = "App | Mapping[str, App | AppMaker] | Iterable[App] | str | os.PathLike[str]"
"""What a site is made of: one app, several, or a file or folder of workflows."""


@dataclasses.dataclass(slots=True, eq=False)
class Offer:
    """An app as a site offers it.

    Attributes:
        app: The app.
        title: What people read.
        renewed_at: When its choices were read from the server, in the loop's time.
    """

    app: App
    title: str
    renewed_at: float | None = None


@dataclasses.dataclass(slots=True, eq=False)
class _Later:
    """An app that is made when it is first needed, which takes the server's catalog.

    Attributes:
        name: Its name.
        make: Makes it.
        reason: Why it could not be made, "" before that was tried.
        tried_at: When that was, in the loop's time.
    """

    name: str
    make: AppMaker
    reason: str = ""
    tried_at: float | None = None

    async def offer(self) -> Offer | None:
        """Make it, None when it is no app.

        Raises:
            ComfyError: The request to the ComfyUI for what the workflow needs failed.
        """
        now = asyncio.get_running_loop().time()
        if self.tried_at is not None and now - self.tried_at < _LOOK_S:
            return None
        try:
            return Offer(await self.make(), self.name, renewed_at=now)
        except (WorkflowError, OSError) as error:
            self.reason, self.tried_at = str(error), now
            _complain(self.name, error)
            return None


class Shelf:
    """The apps of a site by the names in their addresses.

    Those of a folder are loaded when they are first needed, since that takes the server's catalog, and
    again when their file changes. A file that is no workflow is named, and keeps nothing else from working.
    """

    def __init__(self, source: AppSource, comfy: Client) -> None:
        """Take what is there; nothing is read yet.

        Raises:
            FileNotFoundError: There is no such file or folder.
            ValueError: It has no app in it.
        """
        self._comfy = comfy
        self._given: dict[str, Offer | _Later] = {}
        self._making = asyncio.Lock()
        self._folder: WatchedFolder[Offer] | None = None
        if isinstance(source, (str, os.PathLike)):
            self._folder = WatchedFolder(source, self._offer, _complain)
        elif isinstance(source, App):
            self._given = {**_by_slug([_offered(source)])}
        elif isinstance(source, Mapping):
            self._given = _by_slug((str(name), _given(str(name), app)) for name, app in source.items())
        else:
            self._given = {**_by_slug(map(_offered, source))}
        if self._folder is None and not self._given:
            raise ValueError("a site needs an app")

    async def offers(self) -> dict[str, Offer]:
        """Return all apps by name.

        Raises:
            ComfyError: The request to the ComfyUI for what the workflows need failed.
            OSError: The folder cannot be read.
        """
        if self._folder is None:
            return await self._made()
        offers = await self._folder.look(rest=_LOOK_S)
        return _by_slug((path.stem, offer) for path, offer in offers.items())

    async def _made(self) -> dict[str, Offer]:
        """Return the apps that were given, those made that are to be made when they are needed.

        Raises:
            ComfyError: The request to the ComfyUI for what the workflows need failed.
        """
        if any(isinstance(one, _Later) for one in self._given.values()):
            async with self._making:
                for slug, one in list(self._given.items()):
                    if isinstance(one, _Later):
                        self._given[slug] = await one.offer() or one
        return {slug: one for slug, one in self._given.items() if isinstance(one, Offer)}

    @property
    def broken(self) -> dict[str, str]:
        """The files that became no apps, and why."""
        if self._folder is None:
            waiting = (one for one in self._given.values() if isinstance(one, _Later))
            return {one.name: one.reason for one in waiting if one.reason}
        broken = self._folder.broken
        # The folder is nobody's business.
        return {path.name: reason.replace(str(path.parent) + os.sep, "") for path, reason in broken.items()}

    async def renew(self, offer: Offer, *, after: float) -> bool:
        """Read the choices of an app again, unless that was done in the last `after` seconds; return whether.

        Raises:
            ComfyError: The request to the ComfyUI failed.
        """
        now = asyncio.get_running_loop().time()
        if offer.renewed_at is not None and now - offer.renewed_at < after:
            return False
        offer.renewed_at = now
        if offer.app.client is None:
            offer.app = offer.app.on(self._comfy)
        offer.app = await offer.app.refreshed()
        return True

    async def _offer(self, path: Path) -> Offer:
        """Offer a file, its choices as they are now."""
        now = asyncio.get_running_loop().time()
        return Offer(await self._comfy.app(path), path.stem, renewed_at=now)


def _complain(name: str, error: Exception) -> None:
    """Log that a file is not offered."""
    _log.warning("web: %s is not offered: %s", name, error)


def slug_of(name: str) -> str:
    """Return a name as it stands in an address: small letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG].strip("-") or "app"


def _offered(app: App) -> tuple[str, Offer]:
    """Return an app with its own name, which is an identifier, made readable."""
    title = app.name.replace("_", " ").strip()
    return app.name, Offer(app, title[:1].upper() + title[1:])


def _given(name: str, app: App | AppMaker) -> Offer | _Later:
    """Return what stands in a mapping."""
    return Offer(app, name) if isinstance(app, App) else _Later(name, app)


def _by_slug(offers: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return offers by the names in their addresses, each made unique."""
    found: dict[str, T] = {}
    for name, offer in offers:
        number, free = 1, slug_of(name)
        while free in found:
            number += 1
            free = f"{slug_of(name)}-{number}"
        found[free] = offer
    return found
