"""What the server is and can do: its answers first, then its version and its features."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import UnsupportedError

__all__ = ["CAPABILITIES", "ServerInfo", "is_before"]

CAPABILITIES: Final[Mapping[str, str]] = {
    "client_prompt_id": "0.3.45",
    "feature_flags": "0.3.45",
    "partial_execution_targets": "0.3.48",
    "targeted_interrupt": "0.3.57",
    "history_offset": "0.3.60",
    "preview_method": "0.5.0",
    "jobs": "0.6.0",
    "jobs_cancelled": "0.9.0",
    "node_replacements": "0.14.0",
    "assets": "0.16.4",
    "cancel_jobs": "0.26.0",
}
"""What came with which release of ComfyUI, the first that has it (PROTOCOL 1.5)."""

# A flag that a server announces proves what it names.
_FLAGS: Final[Mapping[str, str]] = {
    "supports_preview_metadata": "feature_flags",
    "node_replacements": "node_replacements",
    "assets": "assets",
}

# Other dialects have these, whatever their servers call their version.
_ABILITIES: Final[Mapping[str, frozenset[str]]] = {
    # PROTOCOL 1.6.
    "cloud-v1": frozenset(
        {
            "feature_flags",
            "preview_method",
            "jobs",
            "jobs_cancelled",
            "cancel_jobs",
            "history_offset",
            "partial_execution_targets",
        }
    ),
    # PROTOCOL 5: `extra_data` is closed, and there is neither a queue nor a list to be relied on.
    "api-v2": frozenset({"cancel_jobs"}),
}


@dataclasses.dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server's version, features and abilities.

    Attributes:
        version: ComfyUI's version, "" when the server does not say (very old ones, and API v2).
        cloud: True for Comfy Cloud.
        dialect: Its API: "comfyui", "cloud-v1" or "api-v2".
        features: What it announced: GET /features, or `feature_flags` on the socket.
        devices: Its devices, as /system_stats lists them.
        editor: The version of ComfyUI's editor that it ships, "" when it does not say.
        proven: What its answers have shown of its capabilities, whatever its version says.

    Example:
        >>> ServerInfo("0.33.0").can("cancel_jobs")
        True
        >>> comfy.server.version, comfy.server.cloud
        ('0.33.0', False)
    """

    version: str = ""
    cloud: bool = False
    features: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    devices: tuple[Mapping[str, Any], ...] = dataclasses.field(default=(), repr=False)
    proven: Mapping[str, bool] = dataclasses.field(default_factory=dict, repr=False)
    editor: str = dataclasses.field(default="", repr=False)
    dialect: str = "comfyui"

    def can(self, capability: str) -> bool:
        """Say whether the server has a capability: "jobs", "cancel_jobs", "assets", ... (`CAPABILITIES`).

        What it has answered decides, then what it announces, and only then its version: forks, and
        trees between two releases, have numbers that say little.

        Raises:
            KeyError: There is no such capability.
        """
        since = CAPABILITIES[capability]
        if capability in self.proven:
            return self.proven[capability]
        if self.dialect in _ABILITIES:
            return capability in _ABILITIES[self.dialect]
        if any(_FLAGS.get(flag) == capability for flag, value in self.features.items() if value):
            return True
        return not is_before(self.version, since)

    def is_older_than(self, version: str) -> bool:
        """Return whether it is a ComfyUI from before a version; other servers have no versions of it.

        Example:
            >>> ServerInfo("0.3.40").is_older_than("0.6.0")
            True
        """
        return self.dialect not in _ABILITIES and is_before(self.version, version)

    def surely(self, capability: str) -> bool:
        """Return whether a capability needs no proof any more: the server's answers or its dialect show it.

        Example:
            >>> ServerInfo("0.33.0").surely("jobs"), ServerInfo("0.33.0").shown("jobs", True).surely("jobs")
            (False, True)
        """
        return capability in self.proven or self.dialect in _ABILITIES

    def shown(self, capability: str, has: bool) -> ServerInfo:
        """Return the same with what an answer has shown of a capability.

        Example:
            >>> ServerInfo("0.33.0").shown("jobs", False).can("jobs")
            False
        """
        return dataclasses.replace(self, proven={**self.proven, capability: has})

    def require(self, capability: str, what: str) -> None:
        """Raise unless the server has a capability.

        Raises:
            UnsupportedError: It does not; names the version that does.
            KeyError: There is no such capability.

        Example:
            >>> comfy.server.require("jobs", "list jobs")
            >>> try:
            ...     ServerInfo("0.3.40").require("jobs", "list jobs")
            ... except UnsupportedError as error:
            ...     print(error)
            ComfyUI 0.3.40 cannot list jobs. It takes ComfyUI 0.6.0 or later.
        """
        if not self.can(capability):
            needs = "" if self.dialect in _ABILITIES else CAPABILITIES[capability]
            raise self.unsupported(what, needs=needs)

    def unsupported(
        self, what: str, *, needs: str = "", hint: str = "", server: str = ""
    ) -> UnsupportedError:
        """Return the error for something that this server cannot do; names the version that can."""
        where = f"ComfyUI {self.version or 'of unknown version'}"
        if self.dialect == "cloud-v1":
            where = "Comfy Cloud"
        elif self.dialect == "api-v2":
            where = "Comfy API v2"
        hint = hint or (f"It takes ComfyUI {needs} or later." if needs else "")
        if needs and not is_before(self.version, needs):
            hint = (
                f"ComfyUI has it since {needs}, but this server answers that it has none: "
                "a fork, or a gateway that closes the route?"
            )
        return UnsupportedError(
            f"{where} cannot {what}", hint=hint, needs=needs, version=self.version, server=server
        )

    @property
    def max_upload_size(self) -> int | None:
        """The largest upload in bytes, or None when the server does not say."""
        size = self.features.get("max_upload_size")
        return int(size) if isinstance(size, (int, float)) else None


def is_before(version: str, other: str) -> bool:
    """Return whether a version came before another one; an unknown one counts as old."""
    return _numbers(version) < _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers for comparison, () when there are none."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version.strip())
    return tuple(map(int, match[1].split("."))) if match else ()
