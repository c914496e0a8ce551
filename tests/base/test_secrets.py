"""Secrets are held, not shown; and what repeats them is veiled, in whatever form it does."""

from __future__ import annotations

import base64
import copy
import html
import json
import pickle
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfy_async._base.secrets import HIDDEN, Secret, Veil, chain_of

KEY = 's3c/r+t="k€y&1\\2'


def test_a_secret_is_not_shown() -> None:
    """Neither by repr, nor by str, nor as part of a text, of JSON or of a pickle, but by `reveal()`."""
    held = Secret(KEY)
    assert held.reveal() == KEY
    for shown in (repr(held), str(held), f"{[held]}", repr({"key": held}), "%s" % held):  # noqa: UP031
        assert KEY not in shown
    with pytest.raises(TypeError, match="reveal"):
        f"Bearer {held}"
    with pytest.raises(TypeError, match="reveal"):
        "Bearer {}".format(held)  # noqa: UP032
    with pytest.raises(TypeError):
        _ = "Bearer " + held  # type: ignore[operator]
    with pytest.raises(TypeError):
        json.dumps(held)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(held, protocol)


def test_a_secret_as_a_value() -> None:
    """It compares with its like, says whether it is empty, and copies to itself; None stays None."""
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")
    assert Secret.of(None) is None
    held = Secret.of(b"x")
    assert Secret.of(held) is held
    assert copy.copy(held) is held
    assert copy.deepcopy({"a": held})["a"] is held
    assert not hasattr(held, "__dict__")


FORMS = {
    "as it is": KEY,
    "percent": quote(KEY, safe=""),
    "percent, small": quote(KEY, safe="").lower().replace("%e2%82%ac", "%e2%82%ac"),
    "percent, everything": "".join(f"%{octet:02X}" for octet in KEY.encode()),
    "percent twice": quote(quote(KEY, safe=""), safe=""),
    "form": quote_plus(KEY),
    "json": json.dumps(KEY),
    "json within json": json.dumps(json.dumps(json.dumps(KEY))),
    "json with slashes escaped": json.dumps(KEY).replace("/", "\\/"),
    "json in utf-8": json.dumps(KEY, ensure_ascii=False),
    "html": html.escape(KEY),
    "python": repr(KEY),
    "python bytes": repr(KEY.encode()),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 of more": base64.b64encode(f"anna:{KEY}".encode()).decode(),
    "base64 of still more": base64.b64encode(f"ab:{KEY}::".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"x{KEY}".encode()).decode(),
    "base64 in a URL": quote(base64.b64encode(KEY.encode()).decode(), safe=""),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_hidden(form: str) -> None:
    """Whatever a server makes of a key, the text around it stays and the key goes."""
    said = Veil([KEY])(f"you sent {FORMS[form]} to us")
    assert HIDDEN in said
    assert said.startswith("you sent ")
    assert said.endswith(" to us")
    assert not any(part in said for part in ("s3c", "k€y", "%2Fr", "\\u20ac"))


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=6), st.sampled_from(["", "x", "yy"]))
def test_any_secret_is_hidden(secret: str, before: str) -> None:
    """Any text of six characters or more: as it is, quoted, as JSON, and in base64 at any place."""
    veil = Veil([secret])
    assert secret not in veil(f"<{secret}>")
    for form in (quote(secret, safe=""), json.dumps(secret)[1:-1], html.escape(secret)):
        assert form not in veil(f"<{form}>")
    packed = base64.b64encode((before + secret + "z").encode()).decode()
    assert HIDDEN in veil(packed)


def test_short_ones_hide_no_words() -> None:
    """Up to five characters are hidden where they stand by themselves, two are left."""
    veil = Veil(["abcd", "no", "", None, Secret("wxyz")])
    assert veil("abcd abcde xabcd (abcd) no wxyz") == "••• abcde xabcd (•••) no •••"


def test_the_longest_first() -> None:
    """One key may be the beginning of another."""
    assert Veil(["secret", "secret-two"])("secret-two secret") == "••• •••"


def test_more_may_be_added() -> None:
    """A renewed token is hidden from then on, and the old one still."""
    veil = Veil(["token-one"])
    veil.add("token-two")
    assert veil("token-one token-two") == "••• •••"
    assert "token" not in repr(veil)


def test_json_values_and_bytes() -> None:
    """Texts within JSON, its keys too, and within bytes that are no UTF-8."""
    veil = Veil([KEY])
    assert veil.value({KEY: [KEY, 1, None, {"a": (KEY,)}]}) == {"•••": ["•••", 1, None, {"a": ("•••",)}]}
    assert veil.data(b"\xff" + KEY.encode() + b"\x00") == b"\xff" + HIDDEN.encode() + b"\x00"
    data = b"\xffnothing"
    assert veil.data(data) is data
    assert Veil().data(data) is data


def test_errors_and_what_they_came_of() -> None:
    """The words of another library's error, and of its causes, are veiled where they stand."""
    error = RuntimeError(f"line: {KEY}")
    error.__cause__ = error.__context__ = ValueError(bytearray(KEY.encode()), 7)
    error.__cause__.__context__ = error
    Veil([KEY]).error(error)
    assert [one.args for one in chain_of(error)] == [("line: •••",), ("•••", 7)]


def test_a_large_text_costs_little() -> None:
    """A megabyte without a secret is looked through about as fast as it is decoded from JSON."""
    text = json.dumps([{"seed": n, "text": "a%20b\\c & d", "link": ["4", n % 7]} for n in range(18_000)])
    veil = Veil(["K3y-aaaaaaaaaaaa", "T0ken-bbbbbbbbbb"])

    def seconds(work: object) -> float:
        best = 1e9
        for _ in range(3):
            began = time.perf_counter()
            work(text)  # type: ignore[operator]
            best = min(best, time.perf_counter() - began)
        return best

    assert seconds(veil) < 20 * seconds(json.loads)
