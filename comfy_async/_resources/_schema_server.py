"""The records of the server itself: stats, logs, models, users, templates."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from ._resource import Record

__all__ = [
    "Blueprint",
    "Device",
    "LogLine",
    "LogSnapshot",
    "ModelFile",
    "ModelFolder",
    "SystemInfo",
    "SystemStats",
    "TreeEntry",
    "UserFile",
    "Users",
]


class SystemInfo(Record):
    """The machine and the software; sizes in bytes."""

    os: str = ""
    comfyui_version: str | None = None
    python_version: str = ""
    pytorch_version: str = ""
    required_frontend_version: str | None = None
    installed_templates_version: str | None = None
    required_templates_version: str | None = None
    comfy_package_versions: tuple[dict[str, Any], ...] = ()
    embedded_python: bool | None = None
    deploy_environment: str | None = None
    ram_total: int | None = None
    ram_free: int | None = None
    argv: tuple[str, ...] = ()


class Device(Record):
    """A device that models run on; sizes in bytes."""

    name: str = ""
    type: str = ""
    index: int | None = None
    vram_total: int | None = None
    vram_free: int | None = None
    torch_vram_total: int | None = None
    torch_vram_free: int | None = None


class SystemStats(Record):
    """The state of the machine."""

    system: SystemInfo = Field(default_factory=SystemInfo)
    devices: tuple[Device, ...] = ()


class LogLine(Record):
    """A line of the server's log: its ISO time, and its text with terminal colours."""

    time: str = Field("", alias="t")
    text: str = Field("", alias="m")


class LogSnapshot(Record):
    """The last lines of the server's log, and the size of its terminal if it has one."""

    entries: tuple[LogLine, ...] = ()
    size: dict[str, Any] | None = None

    def __str__(self) -> str:
        """Return the lines as one text."""
        return "".join(line.text for line in self.entries)


class ModelFolder(Record):
    """A folder of models, and the paths that it stands for on the server."""

    name: str
    folders: tuple[str, ...] = ()


class ModelFile(Record):
    """A model on the server's disk; size in bytes, times in Unix seconds."""

    name: str
    path_index: int | None = Field(None, alias="pathIndex")
    size: int | None = None
    modified: float | None = None
    created: float | None = None


class UserFile(Record):
    """A file of a user; size in bytes, times in Unix milliseconds."""

    path: str
    size: int | None = None
    modified: float | None = None
    created: float | None = None


class TreeEntry(Record):
    """A file or folder of a user; time in Unix seconds."""

    name: str
    path: str
    type: str = "file"
    size: int | None = None
    modified: float | None = None


class Users(Record):
    """Who uses the server: `users` by id, None when it knows only one."""

    storage: str = "server"
    migrated: bool | None = None
    users: dict[str, str] | None = None


class Blueprint(Record):
    """A subgraph that packs share; `data` is its editor JSON, None in a list."""

    name: str = ""
    source: str = ""
    info: dict[str, Any] = Field(default_factory=dict)
    data: str | None = None

    @field_validator("data", mode="before")
    @classmethod
    def _no_placeholder(cls, value: object) -> object:
        """Drop what stands there when the data was not asked for."""
        return value if isinstance(value, str) else None
