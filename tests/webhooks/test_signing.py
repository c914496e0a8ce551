"""Signatures of webhooks: as Standard Webhooks has them, and what a receiver does not believe."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from comfy_async.webhooks import SignatureError, verify_webhook
from comfy_async.webhooks._signing import keys_of, signature

# The example of https://www.standardwebhooks.com's reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
NOW = 1614265330
OTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()


def verify(
    headers: dict[str, str] = HEADERS, body: bytes | str = BODY, secret: Any = SECRET, now: float = NOW
) -> dict[str, Any]:
    """Verify the example, or a variant of it."""
    return verify_webhook(headers, body, secret, now=now)


def test_the_example_of_the_standard() -> None:
    """What its libraries sign we believe, and we sign as they do."""
    assert verify() == {"test": 2432232314}
    (key,) = keys_of(SECRET)
    assert (
        signature(key, HEADERS["webhook-id"], HEADERS["webhook-timestamp"], body=BODY)
        == (HEADERS["webhook-signature"])
    )


def test_what_is_the_same() -> None:
    """Headers in any case, the body as text, one good signature or secret among several."""
    assert verify({name.upper(): value for name, value in HEADERS.items()})
    assert verify(body=BODY.decode())
    assert verify(HEADERS | {"webhook-signature": f"v2,x v1,AAAA {HEADERS['webhook-signature']}"})
    assert verify(secret=[OTHER, SECRET])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"headers": HEADERS | {"webhook-id": "msg_other"}}, "no signature"),
        ({"headers": HEADERS | {"webhook-timestamp": "1614265331"}}, "no signature"),
        ({"headers": HEADERS | {"webhook-signature": "v1,AAAA"}}, "no signature"),
        ({"headers": HEADERS | {"webhook-signature": "v1,ä"}}, "no signature"),
        ({"headers": HEADERS | {"webhook-timestamp": "soon"}}, "is no time"),
        ({"headers": HEADERS | {"webhook-timestamp": "-1614265330"}}, "is no time"),
        ({"headers": {}}, "webhook-id is missing"),
        ({"body": b'{"test": 2432232315}'}, "no signature"),
        ({"secret": OTHER}, "no signature"),
        ({"now": NOW + 301}, "301 s old, 300 s are allowed"),
        ({"now": NOW - 301}, "301 s ahead of this clock"),
    ],
)
def test_what_is_not_believed(change: dict[str, Any], words: str) -> None:
    """Another id, time, body or secret; a message that is old; and why."""
    with pytest.raises(SignatureError, match=words):
        verify(**change)


@pytest.mark.parametrize("body", [b"no json", b"[1]"])
def test_what_is_signed_and_no_message(body: bytes) -> None:
    """Somebody with the secret has sent it, but not we."""
    (key,) = keys_of(SECRET)
    headers = HEADERS | {"webhook-signature": signature(key, HEADERS["webhook-id"], "1614265330", body=body)}
    with pytest.raises(SignatureError, match="the body is signed"):
        verify(headers, body)


@pytest.mark.parametrize("secret", ["", "short", "whsec_%%%", "whsec_c2hvcnQ=", [], ["short"]])
def test_what_is_no_secret(secret: Any) -> None:
    """Too short, no base64, none at all: and it is not repeated."""
    with pytest.raises(ValueError, match=r"secret|signature takes") as caught:
        verify(secret=secret)
    assert "short" not in str(caught.value).replace("too short", "")
    assert not isinstance(caught.value, SignatureError)


def test_a_text_is_a_secret_too() -> None:
    """Without the prefix its bytes are the key."""
    (key,) = keys_of("a secret of some length")
    assert key.reveal() == b"a secret of some length"
    assert "some length" not in repr(key)


def test_json_is_read_as_it_came() -> None:
    """Spaces and order are part of what is signed: a body that was written anew is not believed."""
    with pytest.raises(SignatureError):
        verify(body=json.dumps(json.loads(BODY), separators=(",", ":")).encode())
