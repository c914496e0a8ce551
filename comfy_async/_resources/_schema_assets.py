"""The records of the asset system."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ._resource import Record

__all__ = ["Asset", "AssetsPage", "TagUse", "TagsPage"]


class Asset(Record):
    """A file that the server knows by its content.

    Attributes:
        id: Of this reference; several may share one content.
        name: Its name.
        hash: `blake3:` and hex digits, None while it is not yet known.
        loader_path: What a loader node wants as its value, when it can be loaded.
        size: In bytes.
        created_new: After an upload: True when the server had no such content.
    """

    id: str
    name: str = ""
    hash: str | None = None
    asset_hash: str | None = None
    loader_path: str | None = None
    display_name: str | None = None
    size: int | None = None
    mime_type: str | None = None
    tags: tuple[str, ...] = ()
    preview_url: str | None = None
    preview_id: str | None = None
    user_metadata: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] | None = None
    is_immutable: bool = False
    job_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    last_access_time: str | None = None
    created_new: bool | None = None


class AssetsPage(Record):
    """A page of assets."""

    assets: tuple[Asset, ...] = ()
    total: int | None = None
    has_more: bool = False
    next_cursor: str | None = None


class TagUse(Record):
    """A tag, and how many assets have it."""

    name: str
    count: int = 0


class TagsPage(Record):
    """A page of tags."""

    tags: tuple[TagUse, ...] = ()
    total: int | None = None
    has_more: bool = False
