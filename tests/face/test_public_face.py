"""The face of the package: every name is there, documented, cheap until it is used, known to checkers."""

from __future__ import annotations

import ast
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import comfy_async

FACE = Path(comfy_async.__file__)


def run(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_of_it() -> None:
    """A pytest plugin that is found by entry point costs no import of httpx, pydantic or ourselves."""
    code = (
        "import sys, comfy_async\n"
        "print([m for m in sys.modules if m.startswith(('comfy_async.', 'httpx', 'websockets', 'pydantic'))])"
    )
    assert run(code) == "[]"


def test_a_name_brings_what_it_needs() -> None:
    """A session loads neither the pool nor websockets; each name that comes belongs to the face."""
    code = (
        "import sys, comfy_async\n"
        "session = comfy_async.ComfySession\n"
        "late = ('comfy_async._client.pool', 'websockets.', 'pydantic.')\n"
        "print([m for m in sys.modules if m.startswith(late)])\n"
        "here = map(vars(comfy_async).get, comfy_async.__all__)\n"
        "print({value.__module__ for value in here if isinstance(value, type)})\n"
        "print(session is comfy_async.ComfySession, comfy_async.ComfyPool.__module__)"
    )
    assert run(code) == "[]\n{'comfy_async'}\nTrue comfy_async"


def test_a_star_brings_all() -> None:
    """Every public name is there, whatever was asked for first."""
    code = (
        "from comfy_async import Job\n"
        "from comfy_async import *\n"
        "import comfy_async\n"
        "print(set(comfy_async.__all__) - set(vars()))"
    )
    assert run(code) == "set()"


def test_checkers_see_what_is_there() -> None:
    """The imports that type checkers follow bring exactly the public names."""
    tree = ast.parse(FACE.read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(seen) == sorted(comfy_async.__all__)


def test_every_class_is_documented_and_at_home() -> None:
    """Each public class has its own docstring, names the face as its module, and can be pickled by it."""
    assert len(comfy_async.__all__) <= 80
    for name in comfy_async.__all__:
        value = getattr(comfy_async, name)
        if inspect.isclass(value):
            assert value.__module__ == "comfy_async", name
            assert value.__dict__.get("__doc__"), name
            assert pickle.loads(pickle.dumps(value)) is value


def test_a_name_that_is_not_there() -> None:
    """A misspelled name is an AttributeError that says so, and `dir` lists the real ones."""
    with pytest.raises(AttributeError, match="has no attribute 'ComfySesion'"):
        _ = comfy_async.ComfySesion  # type: ignore[attr-defined]
    assert set(comfy_async.__all__) <= set(dir(comfy_async))
