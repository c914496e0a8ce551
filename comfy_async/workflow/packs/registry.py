"""Finding the pack of a node: among registered packs, those of installed packages, and built-in ones.

A built-in pack is imported when the first node with a name of its form is found, those of packages
when the first file is converted.
"""

from __future__ import annotations

import functools
import re
import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from .pack import Pack

__all__ = ["has_rules", "is_virtual", "marks", "pack_of", "packs_with_mark", "register", "unregister"]

GROUP: Final = "comfy_async.packs"
"""The entry point group in which packages name their `Pack`."""

_OWN: Final = {
    "rgthree": r".*\(rgthree\)",
    "use_everywhere": r"Anything Everywhere.*|(Seed|Prompts) Everywhere",
    "kjnodes": r"[GS]etNode|.*KJ|(Image|Mask|Latent|CrossFade|Transition|Conditioning|JoinString)\w*Multi\w*"
    r"|(Flux|HunyuanVideo|Wan21|LTX2)BlockLoraSelect|SoundReactive|SaveImageWithAlpha|DecodeAndSaveVideo"
    r"|LoraExtractKJ",
    "easy_use": r"easy .*",
    "video_helper": r"VHS_.*",
    "lora_manager": r".*\(LoraManager\)",
    "mtb": r".*\(mtb\)",
    "impact": r"Impact.*|.*Detailer.*|LatentSwitch|SEGSSwitch|CombineRegionalPrompts",
}
"""The built-in packs: by module, a pattern for the names of their nodes."""

_OWN_MARKS: Final = {"ue_convert": "use_everywhere"}
"""Properties that built-in packs write to nodes of other packs, with the module of the pack."""

_registered: list[Pack] = []


def register(pack: Pack) -> None:
    """Use the rules of a pack from now on, in preference to those of installed packages and built-in ones.

    Raises:
        TypeError: `pack` is not an instance of `Pack`.
    """
    if not isinstance(pack, Pack):
        raise TypeError(f"register() takes an instance of Pack, not {pack!r}")
    _registered.insert(0, pack)
    _forget_answers()


def unregister(pack: Pack) -> None:
    """Stop using a pack that was registered.

    Raises:
        ValueError: The pack is not registered.
    """
    _registered.remove(pack)
    _forget_answers()


def _forget_answers() -> None:
    """Clear the caches, so that the packs of nodes are looked up again."""
    pack_of.cache_clear()
    marks.cache_clear()
    packs_with_mark.cache_clear()


@functools.lru_cache(maxsize=4096)
def pack_of(node_type: str) -> Pack | None:
    """Return the pack whose rules apply to nodes of that type, None when there is none."""
    for pack in (*_registered, *_installed()):
        if pack.claims(node_type):
            return pack
    for module, names in _OWN.items():
        if re.fullmatch(names, node_type, re.DOTALL) and (pack := _own(module)).claims(node_type):
            return pack
    return None


def is_virtual(node_type: str) -> bool:
    """Return whether nodes of that type exist only in the editor, according to their pack."""
    pack = pack_of(node_type)
    return pack is not None and node_type in pack.virtual


def has_rules(node_type: str) -> bool:
    """Return whether a pack's rules cover nodes of that type completely."""
    pack = pack_of(node_type)
    return pack is not None and pack.knows(node_type)


@functools.cache
def marks() -> frozenset[str]:
    """Return the properties that some pack writes to nodes of other packs."""
    return frozenset(_OWN_MARKS).union(*(pack.marks for pack in (*_registered, *_installed())))


@functools.lru_cache(maxsize=4096)
def packs_with_mark(name: str) -> tuple[Pack, ...]:
    """Return the packs that write a property of that name to nodes of other packs."""
    found = tuple(pack for pack in (*_registered, *_installed()) if name in pack.marks)
    return (*found, _own(_OWN_MARKS[name])) if name in _OWN_MARKS else found


@functools.cache
def _own(module: str) -> Pack:
    """Return one of the built-in packs, loaded when it is first needed."""
    return _load(EntryPoint(module, f"{__package__}.{module}:PACK", GROUP))


@functools.cache
def _installed() -> tuple[Pack, ...]:
    """Return the packs of installed packages; one that cannot be loaded is left out with a RuntimeWarning."""
    packs = []
    for point in entry_points(group=GROUP):
        try:
            packs.append(_load(point))
        except Exception as error:  # third-party code may raise anything
            message = f"the pack rules {point.name!r} ({point.value}) could not be loaded: {error!r}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
    return tuple(packs)


def _load(point: EntryPoint) -> Pack:
    """Return the pack of an entry point.

    Raises:
        TypeError: It is not an instance of `Pack`.
    """
    pack = point.load()
    if not isinstance(pack, Pack):
        raise TypeError(f"{point.value} is not an instance of Pack")
    return pack
