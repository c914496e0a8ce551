"""What a ComfyUI of a given version can do: the features that came over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

__all__ = ["CURRENT_VERSION", "OLD_VERSION", "Capabilities"]

CURRENT_VERSION = "0.33.0"
OLD_VERSION = "0.3.26"
"""What `mode="old"` stands for: no jobs API, no client prompt_id, no targeted interrupt,
no feature flags, no progress_state, and `node_errors` that may be an empty list."""

_SINCE = {
    "api_prefix": "0.0.1",
    "execution_success": "0.0.1",
    "log_subscription": "0.3.5",
    "wrapped_values": "0.3.26",
    "node_errors_object": "0.3.27",
    "client_prompt_id": "0.3.44",
    "feature_flags": "0.3.44",
    "sensitive_stripping": "0.3.44",
    "partial_targets": "0.3.47",
    "targeted_interrupt": "0.3.56",
    "history_offset": "0.3.59",
    "create_time": "0.3.68",
    "preview_method": "0.4.0",
    "jobs": "0.5.1",
    "missing_node_type": "0.11.1",
    "node_replacements": "0.13.0",
    "assets": "0.16.4",
    "dependency_cycle": "0.19.3",
    "prompt_id_uuid": "0.24.0",
    "jobs_cancel": "0.25.0",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Capabilities:
    """The features of one server, each named as the thing that a client would look for.

    Attributes:
        version: What /system_stats reports.
        features: The names of what this server has.
    """

    version: str
    features: frozenset[str]

    @classmethod
    def of(cls, version: str, *, without: Iterable[str] = ()) -> Capabilities:
        """Return what that version can do, minus what is named in `without`.

        Raises:
            ValueError: `without` names something that is no feature.
        """
        missing = frozenset(without)
        unknown = missing - _SINCE.keys()
        if unknown:
            raise ValueError(f"no such feature: {', '.join(sorted(unknown))}; there are {', '.join(_SINCE)}")
        number = _number(version)
        had = {feature for feature, since in _SINCE.items() if number >= _number(since)}
        return cls(version, frozenset(had) - missing)

    def has(self, feature: str) -> bool:
        """Whether this server has a feature."""
        return feature in self.features


def _number(version: str) -> tuple[int, ...]:
    """Return the comparable part of a version such as `0.3.44-dev`."""
    parts = []
    for part in version.split("-")[0].split("+")[0].split("."):
        digits = "".join(character for character in part if character.isdigit())
        parts.append(int(digits or 0))
    return tuple(parts)
