"""What `submit` takes beside the workflow, for all that pass it on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from .._session.options import Previews

__all__ = ["RunArguments", "SubmitArguments"]


class SubmitArguments(TypedDict, total=False):
    """What `submit` takes beside the workflow, for `run`, `stream` and `map`; see there."""

    check: bool
    on_partial: Literal["raise", "keep"]
    previews: Previews | None
    extra_data: Mapping[str, Any] | None
    partner_api_key: str | None
    front: bool
    number: float | None
    targets: Iterable[str] | None
    labels: Mapping[str, str] | None
    keep_frames: bool


class RunArguments(SubmitArguments, total=False):
    """What `submit` takes beside the workflow, for one job: `run` and `stream`."""

    key: str | None
