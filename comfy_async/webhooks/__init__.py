"""Webhooks: a signed POST for each job that ends, and what a receiver needs to trust it.

`Webhook` is a hook; `_signing` signs and verifies as https://www.standardwebhooks.com has it, so that any
library for that can receive, `_body` makes what is sent, and `_sender` delivers it in the background.

Example:
    >>> from comfy_async.webhooks import Webhook
    >>> webhook = Webhook("https://example.org/comfy", secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
    >>> ComfySession("http://127.0.0.1:8188", hooks=[webhook])
    <ComfySession http://127.0.0.1:8188 new>
"""

from __future__ import annotations

from ._signing import SignatureError, verify_webhook
from ._webhook import Webhook

__all__ = ["SignatureError", "Webhook", "verify_webhook"]

for _public in (SignatureError, Webhook, verify_webhook):
    # Users know the package by its face, not by its rooms.
    _public.__module__ = __name__
del _public
