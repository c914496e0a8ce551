"""The labels of jobs, which API v2's public description does not know: as comfy-sdk 0.5.0 tells of them."""

from __future__ import annotations

import re
from typing import Any

from ._v2_errors import V2Problem
from ._v2_manners import ApiV2

__all__ = ["check_filter", "check_labels"]

_MOST_PAIRS, _MOST_FILTERS = 16, 3
_MOST_BYTES = 256
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PROXY_BYTES = 1024


def check_labels(metadata: Any, manners: ApiV2) -> None:
    """Refuse labels that are none, or that are not kept here; the proxy's label is one text.

    Raises:
        V2Problem: They are refused.
    """
    if metadata is None:
        return
    if manners.style == "proxy":
        if not isinstance(metadata, str) or len(metadata.encode()) > _PROXY_BYTES:
            raise V2Problem(422, "invalid_request", f"'metadata' is a text of {_PROXY_BYTES} bytes at most.")
        return
    if manners.labels == "refused":
        raise V2Problem(422, "metadata_not_supported", "Jobs have no labels here.")
    if manners.labels == "dropped":
        return
    if not isinstance(metadata, dict) or len(metadata) > _MOST_PAIRS:
        raise V2Problem(422, "metadata_invalid", f"'metadata' has {_MOST_PAIRS} pairs at most.")
    for key, value in metadata.items():
        if not _is_label(key, value):
            raise V2Problem(422, "metadata_invalid", f"'metadata' has a bad pair: {key!r}.")


def check_filter(labels: dict[str, str]) -> None:
    """Refuse a filter of jobs that can match nothing.

    Raises:
        V2Problem: It is refused.
    """
    if len(labels) > _MOST_FILTERS or not all(_is_label(key, value) for key, value in labels.items()):
        message = f"A filter has {_MOST_FILTERS} labels at most, which could be a job's."
        raise V2Problem(400, "invalid_metadata_filter", message)


def _is_label(key: str, value: Any) -> bool:
    """Whether a pair may be a label."""
    if not isinstance(value, str) or _KEY.fullmatch(key) is None:
        return False
    return len(value.encode()) <= _MOST_BYTES and _UNSEEN.search(value) is None
