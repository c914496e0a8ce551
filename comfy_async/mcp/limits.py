"""How much a call may bring, and how much of a result goes back into a conversation."""

from __future__ import annotations

import dataclasses

__all__ = ["Limits"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What fits into a conversation, and what is accepted.

    Attributes:
        picture_bytes: A picture of more bytes is made smaller; hosts refuse results of some megabytes.
        picture_edge: The longest side in pixels of a picture that was made smaller.
        pictures: So many pictures of one result are shown; the others are links.
        upload_bytes: The largest file that is taken.
        choices: A list of more choices is left out of a schema: `models` and `check` list them.

    Example:
        >>> Limits(picture_bytes=200_000).pictures
        8
    """

    picture_bytes: int = 700_000
    picture_edge: int = 1024
    pictures: int = 8
    upload_bytes: int = 32 * 1024 * 1024
    choices: int = 60
