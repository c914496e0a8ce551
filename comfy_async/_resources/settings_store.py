"""What users keep on the server: settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from .userdata import UserResource

__all__ = ["SettingsStore"]


class SettingsStore(UserResource):
    """`comfy.settings_store`: the settings of the editor, as the server keeps them.

    Example:
        >>> await comfy.settings_store.set("Comfy.ColorPalette", "dark")
        >>> await comfy.settings_store.get("Comfy.ColorPalette")
        'dark'
    """

    def as_user(self, user_id: str) -> SettingsStore:
        """Return the same for another user, by an id of `userdata.users()`."""
        made: SettingsStore = super().as_user(user_id)
        return made

    async def all(self) -> dict[str, Any]:
        """Return every setting that is not at its default.

        Raises:
            ComfyError: The request failed.
        """
        body = await self._get("/settings", headers=self._headers)
        return self._read(dict[str, Any], body, "GET /settings")

    async def get(self, name: str) -> Any:
        """Return one setting, None when it is at its default.

        Raises:
            ComfyError: The request failed.
        """
        return await self._get(f"/settings/{quote(name, safe='')}", headers=self._headers)

    async def set(self, name: str, value: Any) -> None:
        """Change one setting.

        Raises:
            ComfyError: The request failed.
        """
        route = f"/settings/{quote(name, safe='')}"
        headers = {"Content-Type": "application/json", **(self._headers or {})}
        await self._send("POST", route, content=json.dumps(value).encode(), headers=headers, retry=True)

    async def update(self, changes: Mapping[str, Any]) -> None:
        """Change several settings at once; the others stay.

        Raises:
            ComfyError: The request failed.
        """
        await self._send("POST", "/settings", json=dict(changes), headers=self._headers, retry=True)
