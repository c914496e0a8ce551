"""Signatures after Standard Webhooks: HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .._base.secrets import Secret

__all__ = ["ID", "SIGNATURE", "TIMESTAMP", "SignatureError", "keys_of", "signature", "verify_webhook"]

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_SHORTEST: Final = 16


class SignatureError(ValueError):
    """A message that `verify_webhook` refuses: forged, changed on the way, too old, or for another receiver.

    Example:
        >>> from comfy_async.webhooks import SignatureError, verify_webhook
        >>> try:
        ...     verify_webhook({}, b"{}", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
        ... except SignatureError as error:
        ...     print(error)
        the header webhook-id is missing
    """


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes | str,
    secret: str | bytes | Iterable[str | bytes],
    *,
    tolerance: float = 300.0,
    now: float | None = None,
) -> dict[str, Any]:
    """Return what a webhook says, if its sender has the secret, and it was sent just now.

    The same message may come twice: when an answer was lost it is sent again, under the same
    `webhook-id`. To act only once, remember the ids for as long as `tolerance`.

    Args:
        headers: Those of the request; upper and lower case are one.
        body: The request's body as it came, not parsed and serialized again.
        secret: The sender's, or several while it is being replaced.
        tolerance: How many seconds the message may be old, or ahead of this machine's clock.
        now: Unix seconds, the clock's unless given.

    Raises:
        SignatureError: It is refused; says why.
        ValueError: The secret is invalid.

    Example:
        >>> from comfy_async.webhooks import verify_webhook
        >>> async def receive(request):  # in a web app
        ...     message = verify_webhook(request.headers, await request.body(), SECRET)
        ...     print(message["type"], message["data"]["id"])
    """
    keys = keys_of(secret)
    if not keys:
        raise ValueError("a signature takes a secret to be verified")
    found = {name.lower(): value for name, value in headers.items()}
    for name in (ID, TIMESTAMP, SIGNATURE):
        if not found.get(name):
            raise SignatureError(f"the header {name} is missing")
    data = body.encode() if isinstance(body, str) else bytes(body)
    _demand_fresh(found[TIMESTAMP], time.time() if now is None else now, tolerance)
    expected = [signature(key, found[ID], found[TIMESTAMP], body=data).encode() for key in keys]
    # Each is compared with each, in a time that tells nothing of where they differ.
    matches = [
        hmac.compare_digest(given.encode("utf-8", "replace"), ours)
        for given in found[SIGNATURE].split(" ")
        for ours in expected
    ]
    if not any(matches):
        raise SignatureError("no signature is by one of these secrets over this body")
    try:
        message = json.loads(data)
    except ValueError:
        raise SignatureError("the body is signed, and no JSON") from None
    if not isinstance(message, dict):
        raise SignatureError("the body is signed, and no object")
    return message


def signature(key: Secret[bytes], message_id: str, timestamp: str, *, body: bytes) -> str:
    """Return one signature as the header has it."""
    content = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key.reveal(), content, hashlib.sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode('ascii')}"


def keys_of(secret: str | bytes | Iterable[str | bytes] | None) -> list[Secret[bytes]]:
    """Return the keys that secrets stand for: base64 behind `whsec_`, any other text as it is.

    Raises:
        ValueError: One is no such base64, or too short to be secret.
    """
    given = [] if secret is None else [secret] if isinstance(secret, str | bytes) else list(secret)
    held = [Secret(one) for one in given]
    # Some show the locals of every frame of a traceback.
    del secret, given
    return [_key_of(one) for one in held]


def _key_of(secret: Secret[str | bytes]) -> Secret[bytes]:
    """Return one key.

    Raises:
        ValueError: It is no base64, or too short.
    """
    text = secret.reveal()
    if isinstance(text, bytes):
        key = Secret(text)
    elif not text.startswith(_PREFIX):
        key = Secret(text.encode())
    else:
        try:
            key = Secret(base64.b64decode(text.removeprefix(_PREFIX), validate=True))
        except binascii.Error:
            raise ValueError(f"what stands behind {_PREFIX!r} in a secret is base64") from None
    if len(key.reveal()) < _SHORTEST:
        raise ValueError(
            f"a secret has {_SHORTEST} bytes or more: `secrets.token_bytes(32)` makes a good one"
        )
    return key


def _demand_fresh(timestamp: str, now: float, tolerance: float) -> None:
    """Refuse what was sent long ago, which somebody may have kept.

    Raises:
        SignatureError: It is too old, or too far in the future.
    """
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        raise SignatureError(f"the header {TIMESTAMP} is no time")
    age = now - int(timestamp)
    if abs(age) > tolerance:
        when = "old" if age > 0 else "ahead of this clock"
        raise SignatureError(f"the message is {abs(age):.0f} s {when}, {tolerance:g} s are allowed")
