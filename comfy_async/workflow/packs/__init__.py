"""What the JavaScript of node packs makes of their nodes, as rules: one file a pack.

A pack can give its nodes widgets that the server declares nowhere, keep their values its own
way, have nodes that exist in the editor only, and draw links when a prompt is queued. In comes
the graph of an editor file while it is opened; the rules change it, and out goes a graph that
the conversion can write as the editor would. Where a rule cannot know for certain what the
editor would send, it raises a `ConversionError` that names the node.

Rules for another pack are a `Pack` of one's own: `register` takes it, and a package brings it
along by an entry point of the group `comfy_async.packs`. examples/guides/packs.md shows how.
"""

from __future__ import annotations

from .pack import Pack, not_convertible
from .registry import has_rules, is_virtual, marks, pack_of, packs_with_mark, register, unregister

__all__ = [
    "Pack",
    "has_rules",
    "is_virtual",
    "marks",
    "not_convertible",
    "pack_of",
    "packs_with_mark",
    "register",
    "unregister",
]
