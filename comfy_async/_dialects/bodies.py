"""The bodies of prompts: a graph whose bytes are shared between variants, and what goes along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._base.secrets import Secret

__all__ = ["body_of"]


def body_of(key: str, graph: bytes, envelope: Mapping[str, Any]) -> Secret[bytes]:
    """Return a JSON object of a graph, as the bytes that it has, and of what goes along."""
    rest = Secret(json.dumps(envelope, separators=(",", ":"), allow_nan=False, default=_revealed))
    comma = "," if envelope else ""
    return Secret(b'{"%s":' % key.encode() + graph + comma.encode() + rest.reveal()[1:].encode())


def _revealed(value: object) -> object:
    """Return a key as it is sent; JSON knows nothing else that would come here."""
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"a {type(value).__name__} in extra_data is no JSON")
