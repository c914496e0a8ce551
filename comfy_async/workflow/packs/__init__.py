"""Rules that reproduce what the JavaScript of node packs does in the editor, one module per pack.

A pack can add widgets that the server does not declare, store their values in its own way, have
nodes that exist only in the editor, and add links when a prompt is queued. The rules change the
graph of an editor file while it is opened, so that the conversion writes it as the editor would.
When it is uncertain what the editor would send, a rule raises a `ConversionError` that names the
node.

Rules for another pack are a subclass of `Pack`: `register` adds an instance, and a package provides
one by an entry point of the group `comfy_async.packs`. examples/guides/packs.md shows how.
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
