"""The server's answers: bodies read, error statuses turned into the library's errors."""

from __future__ import annotations

import dataclasses
import email.utils
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .._base.json import parse_json
from .._base.secrets import Veil
from ..errors import (
    AuthError,
    ComfyError,
    InsufficientCreditsError,
    NotComfyUIError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    UnsupportedError,
    UploadTooLargeError,
)

__all__ = ["Answer", "error_of", "retry_after"]

_EXCERPT = 500

# The 429s and 402s of Comfy Cloud that no retry helps (PROTOCOL 4).
_BILLING = frozenset(
    {
        "PAYMENT_REQUIRED",
        "FREE_TIER_UNAVAILABLE",
        "FREE_TIER_EXHAUSTED",
        "FREE_TIER_NOT_ALLOWED",
        "CLOUD_SUBSCRIPTION_REQUIRED",
        "PARTNER_NODE_PAYMENT_REQUIRED",
        "MODEL_PAYMENT_REQUIRED",
    }
)


_DECODED = (
    "A proxy before ComfyUI has made a slash of the %2F within the path, so that another route was asked "
    "for: with nginx write `proxy_pass http://host:port;` without a path behind it."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One answer, its body read.

    Attributes:
        headers: By lower-case name.
        body: Of a refusal, without the session's secrets: it is for people to read.
        veil: Knows the secrets of the session.
        cut: True when the end of a very long refusal was left away.
    """

    status: int
    headers: Mapping[str, str] = dataclasses.field(repr=False)
    body: bytes = dataclasses.field(repr=False)
    method: str
    path: str
    server: str
    veil: Veil = dataclasses.field(default_factory=Veil, repr=False, compare=False)
    cut: bool = False

    @property
    def content_type(self) -> str:
        """The MIME type without its parameters, "" when the server names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            NotComfyUIError: It is no JSON: a proxy's page, or another server.
        """
        try:
            return parse_json(self.body)
        except ValueError:
            raise self.no_json() from None

    def json_object(self) -> dict[str, Any]:
        """Return the decoded body, which must be an object.

        Raises:
            NotComfyUIError: It is not.
        """
        value = self.json()
        if not isinstance(value, dict):
            raise self.not_comfyui("the answer is no JSON object")
        return value

    def no_json(self) -> NotComfyUIError:
        """Return the error for a body that is no JSON, or of which only the beginning was read."""
        return self.not_comfyui(
            f"the answer is longer than {len(self.body)} bytes" if self.cut else "the answer is no JSON"
        )

    def not_comfyui(self, why: str) -> NotComfyUIError:
        """Return the error for an answer that no ComfyUI gives."""
        kind = self.veil(self.content_type[:100]) or "no content type"
        return NotComfyUIError(
            f"{self.method} {self.path} at {self.server}: {why} (status {self.status}, {kind})",
            hint="Check the address: a proxy or another program may answer there.",
            server=self.server,
        )

    def leads_elsewhere(self) -> NotComfyUIError:
        """Return the error for a redirect that is not followed, naming the host it leads to."""
        error = self.not_comfyui("the answer leads elsewhere")
        try:
            parts = urlsplit(self.headers.get("location", ""))
            host, port = parts.hostname, parts.port
        except ValueError:
            error.hint = "It redirects to what is no address: a proxy before ComfyUI is set up wrongly."
            return error
        if host:
            # Neither path nor query: a login page's URL may carry a token.
            where = self.veil(f"{parts.scheme or 'http'}://{host}{'' if port is None else f':{port}'}")
            error.hint = f"It redirects to {where}: log in there, or make that the session's base URL."
        return error


def error_of(answer: Answer, asked: Mapping[str, Any] | None = None) -> ComfyError:
    """Return the error that an answer of status 400 or more stands for.

    Args:
        answer: What came.
        asked: The query of the request, which names what was requested.
    """
    code, message = _words(answer)
    fields: dict[str, Any] = {
        "status": answer.status,
        "method": answer.method,
        "path": answer.path,
        "code": code,
        "body": answer.text[:_EXCERPT],
        "server": answer.server,
        "retry_after": retry_after(answer.headers),
    }
    said = f": {message}" if message else ""
    where = f" at {answer.server}" if answer.server else ""
    text = f"{answer.method} {answer.path}{where} answered {answer.status}{said}"
    match answer.status:
        case 403 if code == "PARTNER_NODE_DISABLED":
            hint = "The workspace does not allow these partner nodes: its owner can."
            return AuthError(text, hint=hint, **fields)
        case 401 | 403:
            return AuthError(text, hint=_auth_hint(answer), **fields)
        case 404:
            return NotFoundError(text, hint=_missing_hint(answer, asked or {}), **fields)
        case 405 if "%2F" in answer.path:
            return ResponseError(text, hint=_DECODED, **fields)
        case 402:
            return InsufficientCreditsError(text, hint="Add credits or a plan to the account.", **fields)
        case 413:
            return _too_large(answer, text, fields)
        case 429 if code in _BILLING:
            return InsufficientCreditsError(text, hint="Add credits or a plan to the account.", **fields)
        case 503 if code == "SERVICE_DISABLED":
            asset = "asset" in message.lower()
            hint = "Start ComfyUI with --enable-assets." if asset else "It is switched off on this server."
            return UnsupportedError(message or text, hint=hint, server=answer.server)
        case 429:
            return RateLimitError(text, hint=_busy_hint(fields["retry_after"]), **fields)
        case 502 | 503 | 504:
            fields["hint"] = (
                "Check that ComfyUI is running: it seems that a proxy before it answered in its place."
            )
    if answer.content_type == "text/html" and "hint" not in fields:
        fields["hint"] = "An HTML page is no answer of ComfyUI: it comes from a proxy before it."
    return ResponseError(text, **fields)


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Return the seconds that `Retry-After` asks for: it is a number or an HTTP date."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = moment.timestamp() - (time.time() if now is None else now)
    return max(0.0, seconds) if seconds < float("inf") else None


def _words(answer: Answer) -> tuple[str, str]:
    """Return the server's code and message out of the four shapes that error bodies have."""
    if answer.content_type == "text/html":
        return "", "an HTML page"
    try:
        body = parse_json(answer.body)
    except ValueError:
        return "", " ".join(answer.text[:_EXCERPT].split())
    if not isinstance(body, dict):
        return "", ""
    error = body.get("error", body)
    if isinstance(error, str):
        return "", error
    if not isinstance(error, dict):
        return "", ""
    code = str(error.get("type") or error.get("code") or "")
    return code, str(error.get("message") or "")


def _missing_hint(answer: Answer, asked: Mapping[str, Any]) -> str:
    """Return a hint that names what is not there, as far as the request says."""
    if answer.path == "/view" and asked.get("filename"):
        kind = asked.get("type") or "output"
        name = "/".join(filter(None, (asked.get("subfolder"), asked["filename"])))
        return f"The server has no {kind} {name!r}; deleted, or in another folder (`type=`, `subfolder=`)?"
    # So says the server's router, which has not found the route; ComfyUI's own 404s have another body.
    if "%2F" in answer.path and answer.text.strip() == "404: Not Found":
        return _DECODED
    return "It is not there (any more), or this server is too old for the route: check name and version."


def _busy_hint(seconds: float | None) -> str:
    """Return a hint for a limit that was reached."""
    wait = "wait a while" if seconds is None else f"wait {seconds:g} s"
    return f"Too much at once: {wait} and try again, or submit fewer at a time (`map(limit=)`)."


def _auth_hint(answer: Answer) -> str:
    """Return a hint for what may be wrong with the credentials."""
    if answer.status == 401:
        return "Give the session `api_key=` or `auth=`; if it has one, it is wrong or outdated."
    return "The credentials do not allow this, or the server refuses this Host or Origin."


def _too_large(answer: Answer, text: str, fields: dict[str, Any]) -> UploadTooLargeError:
    """Distinguish ComfyUI's own limit from that of a proxy: aiohttp answers in plain text."""
    if answer.path == "/prompt":
        hint = "The workflow itself is too large: upload what it carries instead of pasting it in."
        return UploadTooLargeError(text, hint=hint, **fields)
    by_proxy = answer.content_type == "text/html" or "nginx" in answer.headers.get("server", "").lower()
    if by_proxy:
        hint = "A proxy before ComfyUI refused it: raise its limit (nginx: client_max_body_size)."
    else:
        hint = "Start ComfyUI with a larger --max-upload-size (megabytes)."
    return UploadTooLargeError(text, hint=hint, **fields)
