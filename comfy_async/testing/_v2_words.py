"""Assets in the format of API v2."""

from __future__ import annotations

import time
from typing import Any

from ._storage import Storage
from ._v2_manners import ApiV2
from ._v2_shelf import V2Asset, moment

__all__ = ["Words"]


class Words:
    """How assets and times are written."""

    def __init__(self, manners: ApiV2, storage: Storage | None) -> None:
        """Write them as these fields say; the storage is where signed links lead."""
        self._manners = manners
        self._storage = storage

    def output(self, asset: V2Asset, base: str) -> dict[str, Any]:
        """Return an output as jobs and streams carry it."""
        proxy = self._manners.style == "proxy"
        return {
            "node_id": asset.node_id,
            "name": asset.name,
            "type": asset.kind,
            "content_type": asset.content_type,
            "size_bytes": 0 if proxy else asset.size,
            "id": asset.id,
            "hash": None if proxy else self._hash(asset),
            "url": self._url(asset, base),
            "url_expires_at": self.time(time.time() + self._manners.url_seconds),
            "job_id": asset.job_id,
        }

    def record(self, asset: V2Asset, base: str, *, created_new: bool | None = None) -> dict[str, Any]:
        """Return an asset as it is answered."""
        proxy = self._manners.style == "proxy"
        blind = proxy and asset.job_id is not None
        answer: dict[str, Any] = {
            "id": asset.id,
            "hash": None if blind else self._hash(asset),
            "size_bytes": 0 if blind else asset.size,
            "content_type": asset.content_type,
            "file_path": asset.name,
            "created_at": self.time(time.time() if blind else asset.created_at),
            "url": self._url(asset, base),
            "url_expires_at": self.time(time.time() + self._manners.url_seconds),
        }
        if not proxy:
            answer["expires_at"] = None if asset.expires_at is None else self.time(asset.expires_at)
        if created_new is not None:
            answer["created_new"] = created_new
        if asset.job_id is not None:
            answer["job_id"] = asset.job_id
        return answer

    def link(self, asset: V2Asset) -> str | None:
        """Return a signed URL on the other origin, None where the bytes are served here."""
        if self._storage is None or self._manners.links == "served":
            return None
        return self._storage.link(asset.path, seconds=self._manners.url_seconds)

    def _url(self, asset: V2Asset, base: str) -> str:
        signed = self.link(asset) if self._manners.links == "signed" else None
        return signed or f"{base}/api/v2/assets/{asset.id}/content"

    def _hash(self, asset: V2Asset) -> str | None:
        """Return the hash, once it was asked for often enough."""
        asset.told += 1
        return asset.hash if asset.told > self._manners.hash_after else None

    def time(self, seconds: float) -> str:
        """Return a time."""
        return moment(seconds, style=self._manners.style)
