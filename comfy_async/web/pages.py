"""The page for a person: one document, its style and its script, all of them files of this package."""

from __future__ import annotations

import functools
import hashlib
from html import escape
from pathlib import Path
from typing import Final

from starlette.responses import HTMLResponse, Response

__all__ = ["STATIC", "page", "static_file"]

_FOLDER: Final = Path(__file__).with_name("static")
STATIC: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""What is served beside the page, and nothing else: no name of a caller leads to a file."""


@functools.cache
def _content(name: str) -> bytes:
    """Return a file of the package."""
    return (_FOLDER / name).read_bytes()


@functools.cache
def _version(name: str) -> str:
    """Return what changes with a file."""
    return hashlib.sha256(_content(name)).hexdigest()[:12]


def page(root: str, app: str | None, title: str) -> Response:
    """Return the page of an app, or with None that of all apps; its script asks for the rest."""
    text = _content("page.html").decode()
    for mark, value in (
        ("{{root}}", root),
        ("{{app}}", app or ""),
        ("{{title}}", title),
        *((f"{{{{{name}}}}}", f"{root}/static/{name}?{_version(name)}") for name in STATIC),
    ):
        text = text.replace(mark, escape(value))
    return HTMLResponse(text, headers={"Cache-Control": "no-cache"})


def static_file(name: str) -> Response:
    """Return a file that belongs to the page; its address changes with it."""
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_content(name), media_type=STATIC[name], headers=headers)
