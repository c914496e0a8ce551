"""What a ComfyUI of a given version can do: the features that came over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

__all__ = ["CURRENT_VERSION", "OLD_VERSION", "Capabilities"]

CURRENT_VERSION = "0.33.0"
"""The one with whose recordings the answers are compared."""

OLD_VERSION = "0.3.26"
"""What `mode="old"` stands for: no jobs API, no client prompt_id, no targeted interrupt,
no feature flags, no progress_state, and `node_errors` that may be an empty list."""

_SINCE = {
    "api_prefix": "0.0.1",
    "execution_success": "0.0.1",
    "model_folders": "0.2.3",
    "log_subscription": "0.3.0",
    "experiment_models": "0.3.8",
    "workflow_templates": "0.3.11",
    "i18n": "0.3.13",
    "internal_files": "0.3.15",
    "wrapped_values": "0.3.26",
    "node_errors_object": "0.3.27",
    "userdata_tree": "0.3.31",
    "client_prompt_id": "0.3.45",
    "feature_flags": "0.3.45",
    "sensitive_stripping": "0.3.45",
    "partial_targets": "0.3.48",
    "frontend_version": "0.3.56",
    "targeted_interrupt": "0.3.57",
    "history_offset": "0.3.60",
    "templates_version": "0.3.64",
    "global_subgraphs": "0.3.67",
    "create_time": "0.3.68",
    "preview_method": "0.5.0",
    "jobs": "0.6.0",
    "jobs_cancelled": "0.9.0",
    "assets": "0.9.0",
    "missing_node_type": "0.11.1",
    "node_replacements": "0.14.0",
    "assets_flag": "0.16.4",
    "dependency_cycle": "0.19.3",
    "prompt_id_uuid": "0.24.0",
    "jobs_cancel": "0.26.0",
    "package_versions": "0.33.0",
    # Seen in what 0.45.2 says; in which release after 0.33.0 each came is not known.
    "assets_on": "0.45.2",
    "node_activity": "0.45.2",
    "jobs_workflow": "0.45.2",
    "agent_status": "0.45.2",
    "workflow_metadata": "0.45.2",
}
"""The first release that has each, of some the first that was looked at; the tree in which a feature was
merged bears the number before."""

_PACKAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("0.45.2", ("1.58.1",)),
    ("0.33.0", ("1.49.6", "0.11.44", "0.5.10")),
    ("0.7.0", ("1.35.9", "0.7.64", "0.3.1")),
    ("0.5.1", ("1.34.9", "0.7.59", "0.3.1")),
    ("0.3.64", ("1.27.10", "0.1.94", "0.2.6")),
    ("0.3.56", ("1.25.11", "0.1.70", "0.2.6")),
    ("0.3.44", ("1.23.4", "0.1.35", "0.2.4")),
)
"""The editor, the templates and the docs that some releases ask for, as far as it is known."""

_NAMES = ("comfyui-frontend-package", "comfyui-workflow-templates", "comfyui-embedded-docs")


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

    @property
    def packages(self) -> dict[str, str]:
        """The packages that it asks for, by name; of a release that is not known, those of the one before."""
        number = _number(self.version)
        found: tuple[str, ...] = next((known for since, known in _PACKAGES if number >= _number(since)), ())
        return dict(zip(_NAMES, found, strict=False))


def _number(version: str) -> tuple[int, ...]:
    """Return the comparable part of a version such as `0.3.44-dev`."""
    parts = []
    for part in version.split("-")[0].split("+")[0].split("."):
        digits = "".join(character for character in part if character.isdigit())
        parts.append(int(digits or 0))
    return tuple(parts)
