"""Reading the workflow in the metadata of pictures, videos, audio files and models.

The input is a file, as a path or as its content. The output is what ComfyUI wrote into it: a dict
with `prompt` (an API graph), `workflow` (an editor file), both or neither. Files are untrusted:
reading is bounded, and errors name the byte of the damage.
"""

from __future__ import annotations

from .carried import is_media, media_kind, read_media

__all__ = ["is_media", "media_kind", "read_media"]
