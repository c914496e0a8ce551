"""Who imports whom: one way only, foreign libraries in their rooms, optional ones when they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import comfy_async

ROOT = Path(comfy_async.__file__).parent
MODULES = sorted(path.relative_to(ROOT.parent) for path in ROOT.rglob("*.py"))

LAYERS: list[set[str]] = [
    {"types", "_json", "_paths", "_settings"},
    {"events", "errors"},
    {"workflow", "_protocol", "_server"},
    {"_transport"},
    {"_api", "_resources"},
    {"_result", "_mailbox", "_job", "_journal"},
    {
        "_attach",
        "_batch",
        "_cancel",
        "_core",
        "_hearing",
        "_items",
        "_lifetime",
        "_link",
        "_prepare",
        "_reconcile",
        "_router",
        "_session",
        "_stream",
        "_submit",
    },
    {"_pool"},
    {"__init__", "__main__", "_notebook", "_console", "cli", "testing", "ray"},
]
"""DESIGN 4, from the ground up: a module imports from its own layer and those below.

A batch knows who runs its jobs by a protocol only, so that sessions and pools can both have it.
"""

FLAT = {"workflow": {"_protocol"}, "_protocol": {"workflow"}, "types": {"events", "errors"}}
"""Neighbours of one layer that know nothing of each other."""

FOREIGN: dict[str, tuple[str, ...]] = {
    "httpx": ("_transport",),
    "websockets": ("_transport",),
    "aiohttp": ("testing",),
    "typer": ("cli",),
    "rich": ("cli", "_console", "_notebook"),
    "IPython": ("_notebook",),
    "ray": ("ray",),
    "pytest": ("testing",),
    "numpy": ("_resources", "ray"),
    "requests": (),
}
"""Who may import what; `_notebook` stands for all modules whose names begin so."""


def layer_of(name: str) -> int:
    """Return the layer of a module or package below comfy_async."""
    for number, names in enumerate(LAYERS):
        if name in names or any(name.startswith(f"{known}_") for known in names if known.startswith("_")):
            return number
    raise AssertionError(f"{name} stands in no layer: give it a place in LAYERS")


def room(path: Path) -> str:
    """Return the first part of a module's place below comfy_async."""
    return path.parts[1].removesuffix(".py")


def is_for_types(node: ast.AST) -> bool:
    """Say whether this is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(path: Path, *, lazy: bool = False) -> Iterator[str]:
    """Yield the absolute names that a module imports when it loads, or later too."""
    tree = ast.parse((ROOT.parent / path).read_text())
    package = path.with_suffix("").parts
    package = package[:-1]
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if is_for_types(node) or (
                not lazy and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            ):
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
                module = ".".join(part for part in (base, node.module) if part)
                if module == "comfy_async":
                    yield from (f"comfy_async.{alias.name}" for alias in node.names)
                else:
                    yield module
            else:
                waiting.append(node)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_one_way(path: Path) -> None:
    """A module imports from its own layer and those below, never upwards."""
    here = layer_of(room(path))
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "comfy_async":
            continue
        there = parts[1] if len(parts) > 1 and (ROOT / f"{parts[1]}.py").exists() else ""
        there = there or (parts[1] if len(parts) > 1 and (ROOT / parts[1]).is_dir() else "__init__")
        assert layer_of(there) <= here, f"{path} imports {name}, which stands above it"
        assert there not in FLAT.get(room(path), ()), f"{path} imports its neighbour {name}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_foreign_libraries_stay_in_their_rooms(path: Path) -> None:
    """httpx and websockets behind the transport, aiohttp in the tests' server, and so on."""
    for name in imports(path, lazy=True):
        library = name.partition(".")[0]
        if library in FOREIGN:
            assert room(path).startswith(FOREIGN[library] or ("nobody",)), f"{path} imports {name}"


@pytest.mark.parametrize(
    "path", [p for p in MODULES if room(p) in ("_protocol", "workflow", "types", "events")], ids=str
)
def test_the_middle_is_sans_io(path: Path) -> None:
    """What ComfyUI says is read without awaiting, and without any socket."""
    tree = ast.parse((ROOT.parent / path).read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Await, ast.AsyncFunctionDef))]
    assert not {"asyncio", "anyio", "socket", "ssl", "threading"} & {
        n.partition(".")[0] for n in imports(path, lazy=True)
    }


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after running some code."""
    script = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


OPTIONAL = {"typer", "rich", "aiohttp", "PIL", "IPython", "ray", "numpy", "pytest", "click"}


@pytest.mark.parametrize("code", ["import comfy_async", "import comfy_async.testing"])
def test_no_optional_package_is_loaded(code: str) -> None:
    """Nor pydantic proper, whose models load when they are used. httpx itself loads click and rich."""
    loaded = loaded_by(code) - loaded_by("import httpx")
    assert not loaded & OPTIONAL
    assert "pydantic" not in loaded


@pytest.mark.parametrize("missing", ["aiohttp", "PIL", "rich", "typer", "IPython", "pydantic"])
def test_the_core_works_without_what_is_optional(missing: str) -> None:
    """A session, a workflow and a job's state without the package installed."""
    code = (
        f"sys.modules[{missing!r}] = None\n"
        "import comfy_async\n"
        "comfy_async.ComfySession('http://127.0.0.1:1')\n"
        "comfy_async.Workflow.load({'1': {'class_type': 'A', 'inputs': {}}})"
    )
    assert "comfy_async" in loaded_by(code)


@pytest.mark.parametrize("missing", ["aiohttp", "PIL"])
def test_fake_comfy_says_what_it_needs(missing: str) -> None:
    """With the command that installs it."""
    code = (
        f"sys.modules[{missing!r}] = None\n"
        "try:\n    from comfy_async.testing import FakeComfy\n"
        "except ImportError as error:\n    assert 'comfy-async[testing]' in str(error), error\n"
        "else:\n    raise SystemExit('no error')"
    )
    loaded_by(code)


def test_every_module_has_a_docstring() -> None:
    """A sentence that says what it is for."""
    for path in MODULES:
        assert ast.get_docstring(ast.parse((ROOT.parent / path).read_text())), path


def test_modules_stay_readable() -> None:
    """At most 400 lines; events.py and errors.py are lists of small classes."""
    sizes = {str(path): len((ROOT.parent / path).read_text().splitlines()) for path in MODULES}
    lists = {"comfy_async/events.py", "comfy_async/errors.py"}
    assert {path: size for path, size in sizes.items() if size > 400 and path not in lists} == {}


def test_typed() -> None:
    """Type checkers are told that the package is typed."""
    assert (ROOT / "py.typed").exists()
