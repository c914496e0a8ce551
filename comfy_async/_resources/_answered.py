"""Whether what came in answer to a request for a file can be that file."""

from __future__ import annotations

import codecs
import mimetypes
import re
from typing import Final

from .._transport.answers import Answer
from ..errors import NotComfyUIError

__all__ = ["demand_file"]

_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})
# What is saved under these endings is text of this kind itself; all else of ComfyUI's is not.
_TEXTS: Final = {
    "text/html": {"html", "htm", "xhtml"},
    "application/xhtml+xml": {"html", "htm", "xhtml"},
    "application/json": {"json", "gltf", "geojson", "ipynb", "jsonl", "map", "webmanifest"},
    "application/problem+json": {"json"},
    "application/xml": {"xml", "svg", "dae", "x3d", "xmp", "kml"},
    "text/xml": {"xml", "svg", "dae", "x3d", "xmp", "kml"},
}
_MEDIA: Final = {"image": {"image"}, "video": {"video", "audio"}, "audio": {"video", "audio"}}
_PAGE: Final = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|script)\b", re.IGNORECASE
)
# No picture, film or sound begins so but an SVG: markup of any kind, and an object of JSON.
_WORDS: Final = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*(?:<[!?a-z]|\{\s*\")", re.IGNORECASE)


def demand_file(answer: Answer, filename: str, *, head: bytes = b"") -> None:
    """Refuse an answer that cannot be the file: a login page, an error that came with status 200.

    ComfyUI derives a file's type from its name, and gateways label their own pages correctly.
    An answer without a type, or with a general one, is believed except for its beginning: that
    of a page, and that of text where an image, a video or audio was requested.

    Args:
        answer: What came.
        filename: What was requested, "" when its name is unknown.
        head: The first bytes, as soon as they are there.

    Raises:
        NotComfyUIError: It is something else.
    """
    kind = answer.content_type
    ending = filename.rpartition(".")[2].lower() if "." in filename else ""
    if kind in _TEXTS and ending not in _TEXTS[kind] and (filename or kind in _PAGES):
        raise _something_else(answer, filename, "a page" if kind in _PAGES else "data")
    family = kind.partition("/")[0]
    wanted = (mimetypes.guess_type(f"x.{ending}")[0] or "").partition("/")[0] if ending else ""
    if family in _MEDIA and wanted in _MEDIA and family not in _MEDIA[wanted]:
        raise _something_else(answer, filename, f"a file of another kind ({wanted} was requested)")
    if ending not in _TEXTS["text/html"] and family not in ("text", "image") and _PAGE.match(head):
        raise _something_else(answer, filename, "a page")
    if wanted in _MEDIA and ending != "svg" and (_WORDS.match(head) or (family == "text" and _is_text(head))):
        raise _something_else(answer, filename, "a page" if head.lstrip()[:1] == b"<" else "a text")
    if answer.status not in (200, 206):
        raise _something_else(answer, filename, "nothing")


def _is_text(head: bytes) -> bool:
    """Say whether a file's first bytes are all UTF-8 for people to read; nothing is not."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and all(sign.isprintable() or sign.isspace() for sign in text.lstrip("\ufeff"))


def _something_else(answer: Answer, filename: str, what: str) -> NotComfyUIError:
    """Return the error for what is no file."""
    error = answer.not_comfyui(
        f"{what} came in place of {f'the file {filename!r}' if filename else 'a file'}"
    )
    if what == "a page":
        error.hint = (
            "It may be the login page of a gateway before ComfyUI: give the session `auth=` or `headers=`, "
            "and check the address."
        )
    return error
