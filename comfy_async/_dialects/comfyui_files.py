"""Files by ComfyUI's own routes: /upload/image, /upload/mask and /view."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlencode

from .._transport.http import HttpClient, Stream
from .._transport.multipart import Multipart
from .dialect import FilePlace, Upload

__all__ = ["ViewFiles"]


class ViewFiles:
    """Files by their name and folder."""

    def __init__(self, http: HttpClient) -> None:
        """Use the session's HTTP client."""
        self._http = http

    async def upload(self, file: Upload) -> Mapping[str, Any]:
        """POST /upload/image or /upload/mask as multipart, the content as it is read."""
        fields = {"type": file.type, "subfolder": file.subfolder}
        if file.original is not None:
            fields["original_ref"] = json.dumps(file.original)
        if file.overwrite:
            fields["overwrite"] = "true"
        body = Multipart(fields, field="image", filename=file.filename, size=file.size, chunks=file.chunks)
        answer = await self._http.request(
            "POST",
            "/upload/image" if file.original is None else "/upload/mask",
            content=body,
            headers=body.headers,
            seconds=math.inf,
            # The same content under the same name is no second file (server.py, image_upload);
            # a mask is, once it is joined with its picture.
            retry=file.original is None,
        )
        return answer.json_object()

    async def has_file(self, place: FilePlace) -> bool | None:
        """Ask for the head of a file."""
        answer = await self._http.request(
            "HEAD", "/view", params=_view(place), expect=(400, 403, 404, 405), retry=True
        )
        return {200: True, 404: False}.get(answer.status)

    def file_url(self, place: FilePlace) -> str:
        """Return a file's address, without credentials."""
        query = urlencode(_view(place), errors="surrogatepass")
        return self._http.address.http(f"{self._http.prefix}/view?{query}")

    def open_file(
        self, place: FilePlace, *, headers: Mapping[str, str], expect: Sequence[int] = ()
    ) -> AbstractAsyncContextManager[Stream]:
        """GET /view."""
        view = _view(place)
        return self._http.stream("/view", params=view, headers=headers, expect=expect, file=view)


def _view(place: FilePlace) -> dict[str, str]:
    """Return the query of GET /view."""
    params = {"filename": place.filename, "subfolder": place.subfolder, "type": place.type}
    if place.preview is not None:
        params["preview"] = place.preview
    if place.channel is not None:
        params["channel"] = place.channel
    return params
