"""The face of the package: its names, their docs, and where they say they live."""

from __future__ import annotations

import asyncio
import inspect
import re
import typing

import pytest

import comfy_async
from comfy_async import (
    ComfyError,
    ComfySession,
    Event,
    Job,
    JobProgress,
    JobResult,
    NodeCatalog,
    OutputFile,
    Problem,
    Settings,
    Workflow,
)

ALIASES = {"Event"}
"""Names that are unions of types and cannot have a docstring or a home of their own."""

CONTRACT: dict[object, str] = {
    ComfySession: "connect aclose run submit stream map attach check events connection server client_id "
    "base_url cloud files queue history jobs nodes models system userdata settings_store",
    Job: "prompt_id status progress queue_position ref dropped events result cancel show",
    JobResult: "images videos audio models_3d texts save",
    OutputFile: "read stream save image url",
    Workflow: "load from_ui to_api with_inputs find inputs check randomized save build set replace bypass "
    "mute remove add",
    NodeCatalog: "load save",
}
"""What DESIGN 3 names; fields that instances get are checked where they are made."""


def test_all_is_whole_and_small() -> None:
    """At most 80 names, all there, none twice."""
    assert len(comfy_async.__all__) == len(set(comfy_async.__all__)) <= 80
    for name in comfy_async.__all__:
        assert getattr(comfy_async, name) is not None
    assert not [name for name in comfy_async.__all__ if name.startswith("_")]


def test_nothing_public_is_forgotten() -> None:
    """Every event of the union is public, and every class that is shown is in `__all__`."""
    shown = {name for name, value in vars(comfy_async).items() if inspect.isclass(value)}
    assert {name for name in shown if not name.startswith("_")} <= set(comfy_async.__all__)
    assert {cls.__name__ for cls in typing.get_args(Event)} <= set(comfy_async.__all__)


@pytest.mark.parametrize("name", sorted(set(comfy_async.__all__) - ALIASES))
def test_each_name_has_docs_and_a_home(name: str) -> None:
    """A docstring of its own, and `comfy_async` as its module."""
    value = getattr(comfy_async, name)
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert doc
    assert doc.strip()[0].isupper() or doc.strip()[0] == "`"
    assert not doc.startswith(f"{name}(")
    assert value.__module__ == "comfy_async"
    inherited = [base.__doc__ for base in getattr(value, "__mro__", ())[1:]]
    assert doc not in inherited


@pytest.mark.parametrize("cls", CONTRACT, ids=lambda cls: cls.__name__)
def test_the_contract(cls: type) -> None:
    """Every name of DESIGN 3 is there and documented."""
    for name in CONTRACT[cls].split():
        attribute = inspect.getattr_static(cls, name, None)
        if attribute is None:
            # Fields that instances get are described where the class is.
            assert re.search(rf"^\s+{name}: ", cls.__doc__ or "", re.MULTILINE), name
            continue
        target = attribute.fget if isinstance(attribute, property) else getattr(cls, name)
        assert inspect.getdoc(target) or inspect.getdoc(attribute), f"{cls.__name__}.{name}"


@pytest.mark.parametrize("name", sorted(set(comfy_async.__all__) - ALIASES))
def test_public_methods_have_docs(name: str) -> None:
    """Every public method and property of every public class."""
    value = getattr(comfy_async, name)
    if not inspect.isclass(value) or issubclass(value, ComfyError):
        return
    for cls in value.__mro__:
        if not cls.__module__.startswith("comfy_async"):
            continue
        for key, member in vars(cls).items():
            target = getattr(member, "__func__", member)
            if not key.startswith("_") and (inspect.isfunction(target) or isinstance(member, property)):
                assert target.__doc__, f"{cls.__name__}.{key}"


@pytest.mark.parametrize("name", sorted(set(comfy_async.__all__) - ALIASES))
def test_at_most_three_positional_parameters(name: str) -> None:
    """The rest is keyword-only."""
    value = getattr(comfy_async, name)
    members = vars(value).items() if inspect.isclass(value) else [(name, value)]
    for key, member in members:
        function = getattr(member, "__func__", member)
        if not inspect.isfunction(function) or (key.startswith("_") and key != "__init__"):
            continue
        kinds = [
            p.kind for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")
        ]
        positional = [kind for kind in kinds if kind in (kind.POSITIONAL_ONLY, kind.POSITIONAL_OR_KEYWORD)]
        data = key == "__init__" and (
            hasattr(value, "__dataclass_fields__") or issubclass(value, comfy_async.events.BaseEvent)
        )
        assert len(positional) <= 3 or data, f"{name}.{key}"
        assert "timeout" not in inspect.signature(function).parameters, f"{name}.{key}"


def test_the_signatures_of_the_contract() -> None:
    """Names of parameters are promises."""

    def keywords(function: object) -> set[str]:
        return set(inspect.signature(function).parameters) - {"self"}  # type: ignore[arg-type]

    assert keywords(ComfySession) >= set(
        "base_url client_id api_key partner_api_key headers auth verify trust_env previews transport connect "
        "settings".split()
    )
    assert keywords(ComfySession.submit) >= set(
        "workflow check on_partial previews extra_data partner_api_key front number targets".split()
    )
    assert keywords(ComfySession.map) >= {"workflows", "limit", "ordered", "on_error"}
    assert set(JobProgress.__dataclass_fields__) >= set(
        "fraction eta node title step steps done total".split()
    )
    assert set(Problem.__dataclass_fields__) == set(
        "node title class_type input type message received nearest advice severity".split()
    )
    defaults = Settings()
    assert (defaults.request_seconds, defaults.connect_seconds, defaults.away_seconds) == (30.0, 10.0, 600.0)


def test_what_awaits_is_asyncio_only() -> None:
    """Every verb of a session is a coroutine, or gives something to iterate or enter."""
    for verb in ("connect", "aclose", "run", "submit", "attach", "check"):
        assert asyncio.iscoroutinefunction(getattr(ComfySession, verb)), verb
    assert not hasattr(ComfySession, "__enter__")
    assert not hasattr(ComfySession, "__iter__")


def test_the_version() -> None:
    """One version, three numbers."""
    assert [part.isdigit() for part in comfy_async.__version__.split(".")] == [True] * 3
