"""What users keep on the server: files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from .._transport.answers import Answer
from ..errors import ComfyError, ResponseError
from ._resource import Resource
from ._schema_server import TreeEntry, UserFile, Users

__all__ = ["TreeEntry", "UserData", "UserFile", "Users"]


class UserResource(Resource):
    """A resource that is another one for each user of a server with `--multi-user`."""

    _user: str | None = None

    def as_user(self, user_id: str) -> Any:
        """Return the same for another user, by an id of `userdata.users()`.

        `ComfySession(headers={"comfy-user": id})` does it for everything.
        """
        other = type(self)(self._host)
        other._user = user_id
        return other

    async def _get(self, path: str, **options: Any) -> Any:
        """GET as a resource does; the error says so where the server needs a user."""
        try:
            return await super()._get(path, **options)
        except ResponseError as error:
            await self._explain(error)
            raise

    async def _send(self, method: str, path: str, **options: Any) -> Answer:
        """Send as a resource does; the error says so where the server needs a user."""
        try:
            return await super()._send(method, path, **options)
        except ResponseError as error:
            await self._explain(error)
            raise

    async def _explain(self, error: ResponseError) -> None:
        """Give an error its true reason where a server with several users was not told which.

        ComfyUI answers 500 then, since it finds no user of the name (user_manager.py), or what a
        gateway makes of that.
        """
        if self._user is not None or error.status not in (400, 401, 403, 500):
            return
        try:
            known = await super()._get("/users")
        except ComfyError:
            return
        users = known.get("users") if isinstance(known, Mapping) else None
        if not isinstance(users, Mapping):
            return
        names = ", ".join(f"{id_} ({name})" for id_, name in list(users.items())[:5]) or "none yet"
        error.hint = (
            f"This server keeps files by user ({names}): name one, by `.as_user(id)`, or for everything by "
            '`ComfySession(headers={"comfy-user": id})`.'
        )

    @property
    def _headers(self) -> Mapping[str, str] | None:
        """The user of the requests."""
        return None if self._user is None else {"comfy-user": self._user}


class UserData(UserResource):
    """`comfy.userdata`: the files that the editor keeps for its user, workflows above all.

    Example:
        >>> file = await comfy.userdata.put("workflows/portrait.json", flow.to_api())
        >>> [file.path for file in await comfy.userdata.list("workflows")]
        ['portrait.json']
        >>> Workflow.load(await comfy.userdata.get("workflows/portrait.json"))
        <Workflow 8 nodes, api>
    """

    def as_user(self, user_id: str) -> UserData:
        """Return the same for another user, by the id that `users()` tells.

        Example:
            >>> async with FakeComfy(multi_user=True) as shared, shared.session() as comfy:
            ...     anna = comfy.userdata.as_user(await comfy.userdata.add_user("Anna"))
            ...     file = await anna.put("workflows/portrait.json", flow.to_api())
        """
        made: UserData = super().as_user(user_id)
        return made

    async def list(self, folder: str = "workflows", *, recursive: bool = True) -> tuple[UserFile, ...]:
        """Return the files of a folder, their paths counted from it.

        Raises:
            NotFoundError: There is no such folder.
            ComfyError: The request failed.
        """
        params = {"dir": folder, "recurse": "true" if recursive else "false", "full_info": "true"}
        body = await self._get("/userdata", params=params, headers=self._headers)
        return self._read(tuple[UserFile, ...], body, "GET /userdata")

    async def tree(self, folder: str = "") -> tuple[TreeEntry, ...]:
        """Return the files and folders below a folder, "" for all, their paths counted from the top.

        Raises:
            NotFoundError: There is no such folder.
            UnsupportedError: The server is older than 0.3.31.
            ComfyError: The request failed.
        """
        body = await self._get("/v2/userdata", params={"path": folder}, headers=self._headers)
        return self._read(tuple[TreeEntry, ...], body, "GET /v2/userdata")

    async def get(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            NotFoundError: There is no such file.
            ComfyError: The request failed.
        """
        return (await self._send("GET", _route(path), headers=self._headers, retry=True)).body

    async def put(
        self, path: str, content: bytes | str | Mapping[str, Any], *, overwrite: bool = True
    ) -> UserFile:
        """Write a file, with its folders; a mapping is written as JSON.

        Raises:
            ResponseError: It exists (409), and is not to be overwritten.
            ComfyError: The request failed.
        """
        if isinstance(content, Mapping):
            content = json.dumps(content)
        data = content.encode() if isinstance(content, str) else content
        params = {"overwrite": "true" if overwrite else "false", "full_info": "true"}
        return await self._written(_route(path), path, content=data, params=params, retry=overwrite)

    async def delete(self, path: str) -> None:
        """Delete a file.

        Raises:
            NotFoundError: There is no such file.
            ComfyError: The request failed.
        """
        await self._send("DELETE", _route(path), headers=self._headers)

    async def move(self, path: str, target: str, *, overwrite: bool = False) -> UserFile:
        """Move or rename a file.

        Raises:
            NotFoundError: There is no such file.
            ResponseError: The target exists (409), and is not to be overwritten.
            ComfyError: The request failed.
        """
        params = {"overwrite": "true" if overwrite else "false", "full_info": "true"}
        return await self._written(f"{_route(path)}/move/{quote(target, safe='')}", target, params=params)

    async def users(self) -> Users:
        """Return who uses the server.

        Raises:
            ComfyError: The request failed.
        """
        return self._read(Users, await self._get("/users"), "GET /users")

    async def add_user(self, name: str) -> str:
        """Make a user on a server with `--multi-user` and return the id.

        Raises:
            ResponseError: There is one of that name.
            ComfyError: The request failed.
        """
        answer = await self._send("POST", "/users", json={"username": name})
        return self._read(str, answer.json(), "POST /users")

    async def _written(self, route: str, path: str, **options: Any) -> UserFile:
        """Post, and read what was written: all about it, or from older servers its name only."""
        try:
            answer = await self._send("POST", route, headers=self._headers, **options)
        except ResponseError as error:
            if error.status == 409:
                error.hint = f"{path} exists already: `overwrite=True` replaces it."
            raise
        body = answer.json()
        return self._read(UserFile, {"path": body} if isinstance(body, str) else body, f"POST {route}")


def _route(path: str) -> str:
    """Return the route of a file; its slashes are part of one name."""
    return f"/userdata/{quote(path, safe='')}"
