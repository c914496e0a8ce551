"""Pictures in the terminal itself, where it can show them; takes the extra `pictures`."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Final

from ._connection import MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

    from ._watch import Outcome

__all__ = ["demand_pictures", "fetched", "print_picture"]

_MOST: Final = 8
_CELLS: Final = 60


def demand_pictures() -> None:
    """See to it before a long run that its pictures can be shown after it.

    Raises:
        MissingExtraError: textual-image is not installed.
    """
    if importlib.util.find_spec("textual_image") is None:
        raise MissingExtraError("--show needs textual-image: pip install 'comfy-async[pictures]'")


async def fetched(outcome: Outcome) -> dict[int, Image]:
    """Return the first pictures of a result by their place among its files, decoded.

    Raises:
        ComfyError: The server does not give them.
    """
    found: dict[int, Image] = {}
    for place, (file, _) in enumerate(outcome.files):
        if file.kind == "image" and len(found) < _MOST:
            found[place] = await file.image()
    return found


def print_picture(picture: Image) -> None:
    """Draw a picture by what the terminal says that it can: sixels, kitty's protocol, or half cells.

    The library asks the terminal when it is imported, so this must not happen while anything
    else draws, nor when nobody would answer.
    """
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return
    from rich.console import Console

    console = Console()
    try:
        from textual_image.renderable import Image as Renderable

        console.print(Renderable(picture, width=min(_CELLS, console.width), height="auto"))
    except Exception as error:
        # Terminals answer strangely; a run that completed must not fail of its picture.
        sys.stderr.write(f"the picture cannot be drawn here: {error}\n")
