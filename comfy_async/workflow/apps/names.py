"""Names for the inputs and outputs of an app: unique Python identifiers, the same in each run."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["given_name", "is_name", "unique", "word"]

_MOST_LETTERS = 40


def word(text: str, *, most: int = _MOST_LETTERS) -> str:
    """Return a text as a name in lower case with `_` between words; "" when nothing is left.

    Args:
        text: The text.
        most: The most characters of the name.

    Example:
        >>> word("Edit / Enhance Image"), word("2nd image"), word("class"), word("***")
        ('edit_enhance_image', 'n_2nd_image', 'class_', '')
    """
    found = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", text)).strip("_").lower()
    if len(found) > most:
        found = found[:most].rpartition("_")[0] or found[:most]
    return _safe(found)


def given_name(text: str) -> str:
    """Return a name given by the user, with characters that Python does not allow replaced by `_`."""
    return _safe(re.sub(r"\W+", "_", unicodedata.normalize("NFKC", text)).strip("_"))


def is_name(text: object) -> bool:
    """Return whether a text can be the name of an argument: no keyword, no underscore at the start."""
    return (
        isinstance(text, str)
        and text.isidentifier()
        and not keyword.iskeyword(text)
        and not text.startswith("_")
        and unicodedata.normalize("NFKC", text) == text
    )


def unique(candidates: Sequence[Sequence[str]]) -> list[str]:
    """Return a unique name for each item, chosen from its candidates, of which the best is first.

    When items share their best candidate and their second ones differ, they get the second ones;
    else the first item gets the best candidate and the others are numbered.

    Example:
        >>> unique([["image", "face"], ["image", "room"], ["seed"], ["seed"]])
        ['face', 'room', 'seed', 'seed_2']
    """
    lists = [_usable(names) for names in candidates]
    firsts = Counter(names[0] for names in lists)
    chosen = [names[0] if firsts[names[0]] == 1 else "" for names in lists]
    for base in [name for name, count in firsts.items() if count > 1]:
        places = [place for place, names in enumerate(lists) if names[0] == base]
        told = [_told_apart(lists[place]) for place in places]
        apart = all(told) and len({*told}) == len(told) and {*told}.isdisjoint({*chosen, *firsts})
        for place, name in zip(places, told, strict=True):
            chosen[place] = name if apart else _numbered(base, {*chosen, *(firsts.keys() - {base})})
    return chosen


def _usable(names: Sequence[str]) -> list[str]:
    """Return the names without empty ones, ASCII names first; ["value"] when none is left."""
    found = list(dict.fromkeys(name for name in names if name)) or ["value"]
    return sorted(found, key=lambda name: not name.isascii())


def _told_apart(names: Sequence[str]) -> str:
    """Return the second candidate, "" when there is none."""
    return names[1] if len(names) > 1 else ""


def _numbered(base: str, taken: Iterable[str]) -> str:
    """Return the name, with a number appended when it is taken."""
    taken = {*taken}
    if base not in taken:
        return base
    number = 2
    while f"{base}_{number}" in taken:
        number += 1
    return f"{base}_{number}"


def _safe(name: str) -> str:
    """Return a name as a valid identifier that is no keyword, "" when that is impossible."""
    if not name:
        return ""
    if not name.isidentifier():
        name = f"n_{name}"
    if not name.isidentifier():
        return ""
    return f"{name}_" if keyword.iskeyword(name) else name
