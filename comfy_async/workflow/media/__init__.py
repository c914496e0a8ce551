"""The workflow that pictures, films, sounds and models carry.

In comes a file, as a path or as its content. Out goes what ComfyUI wrote into it: a dict with
`prompt` (an API graph), `workflow` (an editor file), or neither. Nothing is believed of a file
but what it proves: reading is bounded, and damage is named by its byte.
"""

from __future__ import annotations

from .carried import is_media, media_kind, read_media

__all__ = ["is_media", "media_kind", "read_media"]
