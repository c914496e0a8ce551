"""Checkpoints, LoRAs and the like."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from ..errors import NotFoundError, UnsupportedError
from ._resource import Resource
from ._schema_server import ModelFile, ModelFolder

__all__ = ["ModelFile", "ModelFolder", "Models"]


class Models(Resource):
    """`comfy.models`: the model files that the server can load.

    Example:
        >>> await comfy.models.list("checkpoints")
        ('v1-5-pruned-emaonly-fp16.safetensors',)
        >>> for model in await comfy.models.details("checkpoints"):
        ...     print(model.name, model.size)
        v1-5-pruned-emaonly-fp16.safetensors ...
    """

    async def folders(self) -> tuple[str, ...]:
        """Return the kinds of models: `checkpoints`, `loras`, `vae` and so on.

        Raises:
            UnsupportedError: The server is older than 0.2.3.
            ComfyError: The request failed.
        """
        await self._host.known_server()
        if not self._host.api.names_models:
            return tuple(folder.name for folder in await self.places())
        return self._read(tuple[str, ...], await self._get("/models"), "GET /models")

    async def list(self, folder: str) -> tuple[str, ...]:
        """Return the models of a kind, named as nodes want them.

        Raises:
            NotFoundError: There is no such kind.
            ComfyError: The request failed.
        """
        await self._host.known_server()
        if not self._host.api.names_models:
            return tuple(model.name for model in await self.details(folder))
        path = f"/models/{quote(folder, safe='')}"
        return self._read(tuple[str, ...], await self._in_folder(path, folder), f"GET {path}")

    async def places(self) -> tuple[ModelFolder, ...]:
        """Return the kinds of models with their folders on the server's disk.

        Raises:
            UnsupportedError: The server is older than 0.3.8.
            ComfyError: The request failed.
        """
        path = "/experiment/models"
        return self._read(tuple[ModelFolder, ...], await self._get(path), f"GET {path}")

    async def details(self, folder: str) -> tuple[ModelFile, ...]:
        """Return the models of a kind with size and time.

        Raises:
            NotFoundError: There is no such kind.
            UnsupportedError: The server is older than 0.3.8.
            ComfyError: The request failed.
        """
        path = f"/experiment/models/{quote(folder, safe='')}"
        return self._read(tuple[ModelFile, ...], await self._in_folder(path, folder), f"GET {path}")

    async def preview(self, folder: str, name: str, *, path_index: int = 0) -> bytes:
        """Return the picture that lies beside a model, as WebP.

        Args:
            folder: The kind of model.
            name: The model's name.
            path_index: In which of the kind's folders it is, as `details` says.

        Raises:
            NotFoundError: It has no picture.
            ComfyError: The request failed.
        """
        place = f"{quote(folder, safe='')}/{path_index}/{quote(name)}"
        return (await self._send("GET", f"/experiment/models/preview/{place}", retry=True)).body

    async def metadata(self, folder: str, name: str) -> dict[str, Any]:
        """Return the metadata in the header of a safetensors file.

        Raises:
            NotFoundError: There is no such file, or it carries none.
            ComfyError: The request failed.
        """
        path = f"/view_metadata/{quote(folder, safe='')}"
        body = await self._get(path, params={"filename": name})
        return self._read(dict[str, Any], body, f"GET {path}")

    async def embeddings(self) -> tuple[str, ...]:
        """Return the names of the textual inversions, without their endings.

        Raises:
            ComfyError: The request failed.
        """
        return self._read(tuple[str, ...], await self._get("/embeddings"), "GET /embeddings")

    async def resolve(self, folder: str, name: str) -> str:
        """Return a model's name as this server writes it, with slashes or backslashes.

        A server on Windows lists `anime\\lines.safetensors` and accepts nothing else.

        Raises:
            NotFoundError: There is no such model; names the nearest.
            ComfyError: The request failed.

        Example:
            >>> async with FakeComfy(models={"loras": ["anime/lines.safetensors"]}) as fake:
            ...     async with fake.session() as comfy:
            ...         await comfy.models.resolve("loras", "anime\\\\lines.safetensors")
            'anime/lines.safetensors'
        """
        names = await self.list(folder)
        if name in names:
            return name
        by_path = {known.replace("\\", "/"): known for known in names}
        found = by_path.get(name.replace("\\", "/"))
        if found is None:
            raise self._missing(f"no model {name!r} in {folder!r}", name, names)
        return found

    async def _in_folder(self, path: str, folder: str) -> Any:
        """GET a route of one kind of models; an unknown kind is answered with those that there are."""
        try:
            return await self._get(path)
        except NotFoundError as error:
            raise self._missing(f"no kind of models {folder!r}", folder, await self._kinds()) from error

    async def _kinds(self) -> tuple[str, ...]:
        """Return the kinds of models, () where the server is too old to list them."""
        try:
            return await self.folders()
        except UnsupportedError:
            return ()

    def _missing(self, what: str, name: str, names: Iterable[str]) -> NotFoundError:
        """Return the error for a name that the server does not know."""
        known = sorted(names)
        near = difflib.get_close_matches(name, known, 3, 0.5)
        more = f" and {len(known) - 5} more" if len(known) > 5 else ""
        there = f"There are: {', '.join(known[:5])}{more}." if known else "It has none at all."
        return NotFoundError(
            f"{self._host.base_url} has {what}",
            hint=f"Nearest: {', '.join(near)}." if near else there,
            status=404,
            method="GET",
            server=self._host.base_url,
        )
