"""A bounded memory of the latest."""

from __future__ import annotations

from comfy_async._base.latest import Latest


def test_the_oldest_give_way() -> None:
    """What is set again is new again."""
    kept = Latest[int, str](3)
    for number in (1, 2, 3, 1, 4):
        kept[number] = str(number)
    assert list(kept.items()) == [(3, "3"), (1, "1"), (4, "4")]
    assert kept.pop(9, None) is None
