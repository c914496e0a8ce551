"""The frames that ComfyUI sends: JSON texts and big-endian binary ones."""

from __future__ import annotations

import json
import struct
from typing import Any

__all__ = [
    "image_frame",
    "image_with_metadata_frame",
    "progress_text_frame",
    "text_frame",
]

_IMAGE_FORMATS = {"JPEG": 1, "PNG": 2}


def text_frame(event: str, data: Any) -> str:
    """Return a JSON message as `send_json` writes it."""
    return json.dumps({"type": event, "data": data})


def image_frame(image_format: str, encoded: bytes) -> bytes:
    """Return a binary frame of type 1, which carries neither node nor prompt."""
    return struct.pack(">II", 1, _IMAGE_FORMATS[image_format]) + encoded


def image_with_metadata_frame(image_format: str, encoded: bytes, *, metadata: dict[str, Any]) -> bytes:
    """Return a binary frame of type 4: for clients that negotiated supports_preview_metadata."""
    mime = "image/png" if image_format == "PNG" else "image/jpeg"
    header = json.dumps({**metadata, "image_type": mime}).encode()
    return struct.pack(">II", 4, len(header)) + header + encoded


def progress_text_frame(node: str, text: str) -> bytes:
    """Return a binary frame of type 3: a line of text for one node."""
    name = node.encode()
    return struct.pack(">II", 3, len(name)) + name + text.encode()
