"""From the server's answers to errors: every status, every shape of body."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_async import (
    AuthError,
    InsufficientCreditsError,
    NotComfyUIError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    UnsupportedError,
    UploadTooLargeError,
)
from comfy_async._transport.answers import Answer, error_of, retry_after

BLOCKED = '{"error": {"type": "PARTNER_NODE_DISABLED"}}'
UNPAID = '{"error": {"type": "PAYMENT_REQUIRED"}}'


def answer(status: int, body: str = "", *, type_: str = "application/json", **headers: str) -> Answer:
    """An answer with a body."""
    fields = {"content-type": type_, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Answer(status, fields, body.encode(), "GET", "/x", "http://h")


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "words"),
    [
        (400, '{"error": "limit must be positive"}', ResponseError, "", "limit must be positive"),
        (400, '{"error": {"type": "t", "message": "m"}}', ResponseError, "t", "m"),
        (400, '{"code": "C", "message": "m"}', ResponseError, "C", "m"),
        (409, "File already exists", ResponseError, "", "File already exists"),
        (400, "", ResponseError, "", "answered 400"),
        (400, "[1]", ResponseError, "", "answered 400"),
        (400, '{"error": 7}', ResponseError, "", "answered 400"),
        (401, "", AuthError, "", "api_key="),
        (403, "", AuthError, "", "credentials do not allow"),
        (
            403,
            '{"error": {"type": "PARTNER_NODE_DISABLED"}}',
            AuthError,
            "PARTNER_NODE_DISABLED",
            "workspace",
        ),
        (404, '{"error": "Job not found"}', NotFoundError, "", "Job not found"),
        (402, "", InsufficientCreditsError, "", "credits"),
        (413, "", UploadTooLargeError, "", "--max-upload-size"),
        (429, "", RateLimitError, "", "429"),
        (
            429,
            '{"error": {"type": "PAYMENT_REQUIRED"}}',
            InsufficientCreditsError,
            "PAYMENT_REQUIRED",
            "plan",
        ),
        (500, "500 Internal Server Error", ResponseError, "", "Internal Server Error"),
    ],
)
def test_statuses_and_shapes(status: int, body: str, kind: type, code: str, words: str) -> None:
    """Each status is its own error, with the server's words out of any of its shapes."""
    error = error_of(answer(status, body))
    assert type(error) is kind
    assert isinstance(error, ResponseError)
    assert (error.status, error.code, error.path, error.server) == (status, code, "/x", "http://h")
    assert words in str(error)


@pytest.mark.parametrize(("status", "retryable"), [(500, False), (502, True), (503, True), (504, True)])
def test_what_may_pass(status: int, retryable: bool) -> None:
    """A gateway's failures may pass, the server's own may not."""
    assert error_of(answer(status)).retryable is retryable


def test_switched_off() -> None:
    """The asset system that is off is unsupported, not unavailable."""
    body = '{"error": {"code": "SERVICE_DISABLED", "message": "Assets system is disabled."}}'
    error = error_of(answer(503, body))
    assert isinstance(error, UnsupportedError)
    assert not error.retryable
    assert "--enable-assets" in str(error)


@pytest.mark.parametrize(
    ("headers", "type_"), [({"server": "nginx/1.25.3"}, "text/plain"), ({}, "text/html; charset=utf-8")]
)
def test_413_of_a_proxy(headers: Any, type_: str) -> None:
    """A proxy's refusal is told from the server's."""
    error = error_of(answer(413, "<html>", type_=type_, **headers))
    assert "client_max_body_size" in str(error)


def test_413_of_a_prompt() -> None:
    """A workflow that is too large is no upload that is too large."""
    error = error_of(Answer(413, {}, b"", "POST", "/prompt", "http://h"))
    assert "workflow" in str(error)


def test_long_bodies_are_cut() -> None:
    """An error holds the beginning of the body only."""
    error = error_of(answer(500, "x" * 10_000, type_="text/plain"))
    assert isinstance(error, ResponseError)
    assert len(error.body) == 500
    assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """A number of seconds, or an HTTP date; nonsense is nothing."""
    assert retry_after({"retry-after": value}, now=1795348800.0) == seconds


def test_json_of_an_answer() -> None:
    """A body is decoded, or named as what it is."""
    assert answer(200, '{"a": 1}').json_object() == {"a": 1}
    for body in ("[1]", "null", "<html>"):
        with pytest.raises(NotComfyUIError):
            answer(200, body).json_object()
    assert answer(200).content_type == "application/json"


def test_redirects_name_their_host_only() -> None:
    """Where a redirect leads is told without path and query: they may hold a token."""
    error = answer(302, location="https://login.example:8443/sso?token=s3cret").leads_elsewhere()
    assert "https://login.example:8443" in str(error)
    assert "s3cret" not in str(error)
    assert answer(302, location="/x").leads_elsewhere().hint == answer(302).leads_elsewhere().hint


@pytest.mark.parametrize("where", ["http://h:99999/x", "http://h:port/x", "http://[::1"])
def test_redirects_to_no_address(where: str) -> None:
    """A place that cannot be read is told as that, and not repeated."""
    error = answer(302, location=where).leads_elsewhere()
    assert "no address" in str(error)
    assert where not in str(error)
