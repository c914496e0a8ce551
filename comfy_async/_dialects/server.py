"""What the server is and can do, read once from its version and its features."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import UnsupportedError

__all__ = ["CAPABILITIES", "ServerInfo"]

CAPABILITIES: Final[Mapping[str, str]] = {
    "client_prompt_id": "0.3.44",
    "feature_flags": "0.3.44",
    "partial_execution_targets": "0.3.47",
    "targeted_interrupt": "0.3.56",
    "history_offset": "0.3.59",
    "preview_method": "0.4.0",
    "jobs": "0.5.1",
    "node_replacements": "0.13.0",
    "assets": "0.16.4",
    "cancel_jobs": "0.25.0",
}
"""What came with which version of ComfyUI: the version in the tree when it was added (PROTOCOL 1.5)."""

# Comfy Cloud speaks a dialect of its own (PROTOCOL 1.6): these it has whatever it calls its version.
_CLOUD: Final = frozenset(
    {"feature_flags", "preview_method", "jobs", "cancel_jobs", "partial_execution_targets"}
)


@dataclasses.dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server's version, features and abilities.

    Attributes:
        version: ComfyUI's version, "" when the server does not say (very old ones).
        cloud: True for Comfy Cloud.
        features: What it announced: GET /features, or `feature_flags` on the socket.
        devices: Its devices, as /system_stats lists them.

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

    def can(self, capability: str) -> bool:
        """Say whether the server has a capability: "jobs", "cancel_jobs", "assets", ... (`CAPABILITIES`).

        Raises:
            KeyError: There is no such capability.
        """
        if self.cloud:
            return capability in _CLOUD
        return _numbers(self.version) >= _numbers(CAPABILITIES[capability])

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
            ComfyUI 0.3.40 cannot list jobs. It takes ComfyUI 0.5.1 or later.
        """
        if not self.can(capability):
            where = "Comfy Cloud" if self.cloud else f"ComfyUI {self.version or 'of unknown version'}"
            needs = "" if self.cloud else CAPABILITIES[capability]
            raise UnsupportedError(
                f"{where} cannot {what}",
                hint=f"It takes ComfyUI {needs} or later." if needs else "",
                needs=needs,
                version=self.version,
            )

    @property
    def max_upload_size(self) -> int | None:
        """The largest upload in bytes, or None when the server does not say."""
        size = self.features.get("max_upload_size")
        return int(size) if isinstance(size, (int, float)) else None


def _numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers for comparison, () when there are none."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version.strip())
    return tuple(map(int, match[1].split("."))) if match else ()
