"""Labels: what may be one, and what is read back."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_async._base.labels import LABELS, checked_labels, labels_of


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("user=7", "labels is a mapping such as {'user': '7'}, not 'user=7'"),
        ({"user": 7}, "the label 'user' is a text, not 7"),
        ({7: "user"}, "the name of a label is a text, not 7"),
        ({"": "7"}, "the name of a label is not empty and has no '=' in it: ''"),
        ({"a=b": "7"}, "the name of a label is not empty and has no '=' in it: 'a=b'"),
        ({"user": "\ud800"}, r"the label 'user' is no Unicode text: '\ud800'"),
        ({"n" * 65: "7"}, "the name of a label has at most 64 characters, not 65"),
        ({"user": "v" * 513}, "the label 'user' has at most 512 characters, not 513"),
        ({str(number): "" for number in range(33)}, "a job has at most 32 labels, not 33"),
    ],
)
def test_what_is_no_label(labels: Any, said: str) -> None:
    """Each is refused by name, with what it was."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        checked_labels(labels)
    assert str(caught.value) == said


def test_what_is_one() -> None:
    """Text to text of any script, up to the limits; a copy is made."""
    given = {"n" * 64: "v" * 512, "käufer": "", "emoji": "🦊"}
    made = checked_labels(given)
    assert made == given
    assert made is not given
    assert checked_labels(None) == {}


@pytest.mark.parametrize("extra", [None, [], {}, {LABELS: None}, {LABELS: ["user"]}, {LABELS: {"user": 7}}])
def test_what_others_put_there(extra: Any) -> None:
    """Whatever else stands under our key is no label, and nothing raises."""
    assert labels_of(extra) == {}
