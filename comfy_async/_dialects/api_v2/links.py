"""The URLs of each job of API v2: its own links, as far as they work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from ..._base.latest import Latest
from ..._transport.http import HttpClient

__all__ = ["JOBS", "JobLinks"]

JOBS: Final = "/api/v2/jobs"
"""The route of all jobs."""

_LINKS_KEPT: Final = 10_000


class JobLinks:
    """The links that jobs came with; those of the oldest are dropped."""

    def __init__(self, http: HttpClient) -> None:
        """Know none; the client says what stays with its server."""
        self._http = http
        self._links = Latest[str, Mapping[str, Any]](_LINKS_KEPT)

    def keep(self, prompt_id: str, body: object) -> None:
        """Remember a job's own links; whether one stays with this server is seen when it is used."""
        urls = body.get("urls") if isinstance(body, Mapping) else None
        if isinstance(urls, Mapping):
            self._links[prompt_id] = urls

    def at(self, prompt_id: str, name: str) -> dict[str, Any]:
        """Return where a job is read, stopped or followed: its own link, else the usual route.

        A server behind a gateway may not know its public name, and its links lead nowhere then.
        """
        link = self._links.get(prompt_id, {}).get(name)
        if self._http.is_home(link):
            return {"path": link, "root": "origin"}
        rest = "" if name == "self" else f"/{name}"
        return {"path": f"{JOBS}/{quote(prompt_id, safe='')}{rest}", "root": True}
