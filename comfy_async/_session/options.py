"""The options of `submit`, with the session's defaults filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

from .._base.labels import LABELS, checked_labels
from .._base.secrets import Secret, Veil, sealed
from .._base.words import demand_word
from .._dialects.server import ServerInfo

__all__ = ["PREVIEWS", "Previews", "SubmitOptions", "submit_options"]

Previews: TypeAlias = Literal["auto", "latent2rgb", "taesd", "none", "default"]
"""How pictures of work in progress may be made; "default" is as the server was started."""

PREVIEWS: Final = get_args(Previews)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """The options of one `submit`."""

    check: bool = False
    on_partial: str = "raise"
    previews: str = "none"
    extra_data: Mapping[str, Any] | None = None
    partner_api_key: Secret[str] | None = None
    front: bool = False
    number: float | None = None
    targets: tuple[str, ...] | None = None
    keep_frames: bool = True
    index: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that no server knows.

        Raises:
            ValueError: `previews` or `on_partial` has such a value, or `number` is no number.
        """
        demand_word("previews", self.previews, PREVIEWS)
        demand_word("on_partial", self.on_partial, ("raise", "keep"))
        if self.number is not None and not isinstance(self.number, int | float):
            raise ValueError(f"number is a number, not {self.number!r}")


class Known(Protocol):
    """What a submission takes from its session: its engine.

    Attributes:
        previews: What jobs get by default.
        partner_api_key: The key for partner nodes, sent along with every prompt.
        veil: Masks the keys in what is shown.
    """

    previews: Previews
    partner_api_key: Secret[str] | None
    veil: Veil

    @property
    def server(self) -> ServerInfo:
        """What the server is and can do."""
        ...


def submit_options(
    session: Known,
    *,
    previews: Previews | None = None,
    partner_api_key: str | Secret[str] | None = None,
    targets: Iterable[str] | None = None,
    extra_data: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    **rest: Any,
) -> SubmitOptions:
    """Fill in the session's defaults, and hold the keys as secrets from now on.

    Raises:
        TypeError: There is no such option.
        UnsupportedError: Previews were asked for, and this server cannot be told to send them.
        ValueError: An option has an unknown value, or a label is no text.
    """
    if unknown := sorted(rest.keys() - {field.name for field in dataclasses.fields(SubmitOptions)}):
        hint = ": `async with asyncio.timeout(60):` limits the time" if "timeout" in unknown[0] else ""
        raise TypeError(f"a submission takes no argument {unknown[0]!r}{hint}")
    if previews in ("auto", "latent2rgb", "taesd"):
        session.server.require("preview_method", "be asked for previews (`previews`)")
    extra = sealed(extra_data or {})
    if labels:
        extra[LABELS] = checked_labels(labels)
    key = Secret.of(partner_api_key) or session.partner_api_key
    # Some show the locals of every frame of a traceback.
    del extra_data, partner_api_key
    session.veil.add(key, *(value for value in extra.values() if _is_key(value)))
    return SubmitOptions(
        previews=previews or session.previews,
        partner_api_key=key,
        extra_data=extra,
        targets=None if targets is None else _named_nodes(targets),
        **rest,
    )


def _named_nodes(targets: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of nodes to run.

    Raises:
        ValueError: It is a text: its letters would be taken for ids.
    """
    if isinstance(targets, str):
        raise ValueError(f"targets is a list of node ids, such as [{targets!r}], not {targets!r}")
    return tuple(map(str, targets))


def _is_key(value: object) -> bool:
    """Say whether a value of extra_data is a text that is held as a secret."""
    return isinstance(value, Secret) and isinstance(value.reveal(), str)
