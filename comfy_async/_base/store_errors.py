"""What the libraries behind fsspec raise, as `OSError`s, and without any key in them."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping
from typing import Any, Final

from .places import hide_password
from .secrets import Veil

__all__ = ["as_os_error", "is_taken", "keys_of", "password_of"]

# Texts in options that are no keys, and that errors have to name.
_HARMLESS: Final = frozenset(
    "access account_name bucket default_acl endpoint endpoint_url host location project protocol region "
    "region_name requester_pays s3_additional_kwargs service_name url user user_project username".split()
)
_NUMBERS: Final = (
    (FileNotFoundError, errno.ENOENT),
    (FileExistsError, errno.EEXIST),
    (IsADirectoryError, errno.EISDIR),
    (NotADirectoryError, errno.ENOTDIR),
    (PermissionError, errno.EACCES),
    (TimeoutError, errno.ETIMEDOUT),
)
_TAKEN: Final = ("preconditionfailed", "pre-condition", "precondition", "conditionalrequestconflict")


def as_os_error(error: Exception, shown: str, veil: Veil) -> OSError:
    """Return an error of a store's library as an `OSError`, with its message."""
    with contextlib.suppress(Exception):
        # It stays in the context of ours, and in locals of frames.
        veil.error(error)
    if is_taken(error):
        return FileExistsError(errno.EEXIST, "another has that name", veil(shown))
    number = getattr(error, "errno", None)
    if not isinstance(number, int):
        number = next((code for kind, code in _NUMBERS if isinstance(error, kind)), errno.EIO)
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, NotImplementedError):
        number, said = errno.EROFS, "nothing can be written there"
    elif not isinstance(error, OSError):
        said = f"{type(error).__name__}: {said}"
    return OSError(number, veil(hide_password(str(said))), veil(shown))


def is_taken(error: Exception) -> bool:
    """Say whether a store refused a name since another has it (409 and 412 of S3, 412 of GCS)."""
    words = str(error).lower()
    return isinstance(error, FileExistsError) or any(word in words for word in _TAKEN)


def password_of(url: str) -> str | None:
    """Return the password in a URL."""
    user, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    return user.partition(":")[2] if at else None


def keys_of(options: Any) -> list[str]:
    """Return the texts in options that may be keys: which of them are is not known."""
    if isinstance(options, str):
        return [options]
    if isinstance(options, Mapping):
        held = (inner for name, inner in options.items() if name not in _HARMLESS)
        return [text for inner in held for text in keys_of(inner)]
    if isinstance(options, list | tuple):
        return [text for inner in options for text in keys_of(inner)]
    return []
