"""What a server can do: its answers decide, then its flags, and only then its version."""

from __future__ import annotations

import pytest

from comfy_async import UnsupportedError
from comfy_async._dialects.server import CAPABILITIES, ServerInfo, is_before

FIRST = {
    "client_prompt_id": ("0.3.44", "0.3.45"),
    "feature_flags": ("0.3.44", "0.3.45"),
    "partial_execution_targets": ("0.3.47", "0.3.48"),
    "targeted_interrupt": ("0.3.56", "0.3.57"),
    "history_offset": ("0.3.59", "0.3.60"),
    "preview_method": ("0.4.0", "0.5.0"),
    "jobs": ("0.5.1", "0.6.0"),
    "jobs_cancelled": ("0.8.0", "0.9.0"),
    "node_replacements": ("0.13.0", "0.14.0"),
    "assets": ("0.16.3", "0.16.4"),
    "cancel_jobs": ("0.25.0", "0.26.0"),
}
"""The last release without each, and the first with it (PROTOCOL 1.5)."""


@pytest.mark.parametrize("name", CAPABILITIES)
def test_the_first_release(name: str) -> None:
    """The release before lacks it, the first has it, and so have all later ones."""
    without, with_it = FIRST[name]
    assert not ServerInfo(without).can(name)
    assert ServerInfo(with_it).can(name)
    assert ServerInfo("0.45.2").can(name)
    assert not ServerInfo("").can(name)


def test_what_answers_decides() -> None:
    """A fork that lacks a route lacks it, a tree between two releases that has one has it."""
    fork = ServerInfo("0.33.0").shown("jobs", False)
    assert not fork.can("jobs")
    with pytest.raises(UnsupportedError, match=r"has it since 0\.6\.0, but this server answers") as caught:
        fork.require("jobs", "list jobs")
    assert (caught.value.needs, caught.value.version) == ("0.6.0", "0.33.0")
    assert ServerInfo("0.5.1").shown("jobs", True).can("jobs")


def test_flags_come_before_the_version() -> None:
    """What a server announces it has; what it announces as off says nothing of the release."""
    assert ServerInfo("0.13.0", features={"node_replacements": True}).can("node_replacements")
    assert not ServerInfo("0.13.0", features={"node_replacements": False}).can("node_replacements")
    assert ServerInfo("0.3.44", features={"supports_preview_metadata": True}).can("feature_flags")


def test_an_unknown_capability() -> None:
    """A misspelt name is no missing feature, on the cloud neither."""
    for server in (ServerInfo("0.33.0"), ServerInfo(cloud=True)):
        with pytest.raises(KeyError):
            server.can("teleport")


@pytest.mark.parametrize(
    ("version", "other", "before"),
    [
        ("", "0.0.1", True),
        ("unknown", "0.2.0", True),
        ("v0.3.44-12-gabcdef", "0.3.45", True),
        ("0.45.2", "0.6.0", False),
        ("1.0", "0.45.2", False),
    ],
)
def test_versions(version: str, other: str, before: bool) -> None:
    """Numbers are compared as numbers; what names no number is old."""
    assert is_before(version, other) is before
