"""Who imports whom: one way only, foreign libraries in their rooms, optional ones when they are used."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import comfy_async

ROOT = Path(comfy_async.__file__).parent
MODULES = sorted(path.relative_to(ROOT.parent) for path in ROOT.rglob("*.py"))

FLOORS = (
    ("types", "events", "errors"),
    ("_base",),
    ("workflow",),
    ("_protocol",),
    ("_transport",),
    ("_dialects",),
    ("_resources",),
    ("_job",),
    ("_session",),
    ("_batch",),
    ("_pool",),
    ("_client",),
    ("_display",),
    ("__init__",),
    ("testing",),
    ("ray",),
    ("web",),
    ("mcp",),
    ("otel",),
    ("webhooks",),
    ("cli",),
    ("__main__",),
)
"""DESIGN 4, from the ground up: a module imports from its own floor and those before it in this list."""

FOREIGN: dict[str, tuple[str, ...]] = {
    "httpx": ("_transport",),
    "websockets": ("_transport",),
    "aiohttp": ("testing",),
    "typer": ("cli",),
    "rich": ("cli", "_display"),
    "IPython": ("_display",),
    "ipywidgets": ("_display",),
    "ray": ("ray",),
    "mcp": ("mcp",),
    "starlette": ("web",),
    "uvicorn": ("web", "mcp"),
    "python_multipart": ("web",),
    "opentelemetry": ("otel",),
    "prometheus_client": (),
    "pytest": ("testing",),
    "numpy": ("_resources", "ray"),
    "requests": (),
}
"""Who may import what."""


def floor_of(name: str) -> int:
    """Return the floor of a module or folder at the top of comfy_async."""
    for number, names in enumerate(FLOORS):
        if name in names:
            return number
    raise AssertionError(f"{name} stands on no floor: give it a place in FLOORS")


def room(path: Path) -> str:
    """Return the first part of a module's place below comfy_async."""
    return path.parts[1].removesuffix(".py")


def is_for_types(node: ast.AST) -> bool:
    """Say whether this is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(path: Path, *, lazy: bool = False) -> Iterator[str]:
    """Yield the absolute names that a module imports when it loads, or later too."""
    for name, kind in arrows(path):
        if lazy or kind == "":
            yield name


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return what stands in a module."""
    return ast.parse((ROOT.parent / path).read_text())


@functools.cache
def arrows(path: Path) -> tuple[tuple[str, str], ...]:
    """Return every absolute name that a module imports, and where: "" at its top, else what it stands in."""
    return tuple(_arrows(path))


def _arrows(path: Path) -> Iterator[tuple[str, str]]:
    tree = parsed(path)
    package = path.with_suffix("").parts[:-1]
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        parent, kind = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            inner = kind
            if is_for_types(node):
                inner = "TYPE_CHECKING"
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                inner = "a function"
            if isinstance(node, ast.Import):
                yield from ((alias.name, kind) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
                module = ".".join(part for part in (base, node.module) if part)
                yield from ((f"{module}.{alias.name}", kind) for alias in node.names)
            else:
                waiting.append((node, inner))


@functools.cache
def module_of(name: str) -> str:
    """Return the module of comfy_async that an imported name leads to; the face for a name of its own."""
    parts = name.split(".")
    while len(parts) > 1 and not is_module(parts):
        parts.pop()
    return ".".join(parts)


def is_module(parts: list[str]) -> bool:
    """Say whether the parts of a dotted name lead to a file or folder of the package."""
    place = ROOT.parent.joinpath(*parts)
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def top(name: str) -> str:
    """Return the first part of a dotted module name below comfy_async, `__init__` for the face itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def own_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the modules of comfy_async that a module imports, and where it does."""
    for name, kind in arrows(path):
        if name.partition(".")[0] == "comfy_async":
            yield module_of(name), kind


def test_every_import_points_down() -> None:
    """At the top, under TYPE_CHECKING and inside functions: from its own floor and those below, no other.

    The face is the one that hands names on, and knows all below it.
    """
    wrong = [
        f"{path} -> {name}" + (f" (in {kind})" if kind else "")
        for path in MODULES
        for name, kind in own_imports(path)
        if floor_of(top(name)) > floor_of(room(path))
    ]
    assert not wrong, "these arrows point up:\n" + "\n".join(wrong)


def test_one_place_looks_upwards() -> None:
    """`types.renderer_of` fetches the display by its name when somebody looks; nobody else imports so.

    But for the doors, which load the modules of their own folder when a name is asked for.
    """
    found = [
        f"{path}: {ast.unparse(node)}"
        for path in MODULES
        if path.name != "__init__.py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in IMPORTERS
    ]
    assert found == ["comfy_async/types.py: importlib.import_module('._display.renderers', __package__)"]


IMPORTERS = {"importlib.import_module", "import_module", "__import__", "importlib.__import__"}
"""What imports a module that no import statement names."""


def test_plain_data_knows_nobody() -> None:
    """Types, events and errors import nothing of the package but each other."""
    plain = {f"comfy_async.{name}" for name in FLOORS[0]}
    for name in FLOORS[0]:
        assert {found for found, _ in own_imports(Path(f"comfy_async/{name}.py"))} <= plain


def test_no_file_stands_beside_the_face() -> None:
    """At the top only the face and plain data; everything else has a folder."""
    here = {path.name for path in ROOT.iterdir() if path.is_file()}
    assert here == {"__init__.py", "__main__.py", "types.py", "events.py", "errors.py", "py.typed"}


def test_no_two_files_import_each_other() -> None:
    """Neither two nor more in a ring, by any kind of import; a door only hands names on."""
    graph = {dotted(path): {name for name, _ in own_imports(path)} - {dotted(path)} for path in MODULES}
    rings = [ring for ring in strongly_connected(graph) if len(ring) > 1]
    assert not rings, "\n".join(" <-> ".join(sorted(ring)) for ring in rings)


def dotted(path: Path) -> str:
    """Return a module's dotted name."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def strongly_connected(graph: dict[str, set[str]]) -> Iterator[set[str]]:
    """Yield the groups of modules that reach each other."""
    sorter: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[set[str]]:
        sorter[name] = low[name] = len(sorter)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in sorter:
                yield from visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], sorter[other])
        if low[name] == sorter[name]:
            group = set()
            while name not in group:
                group.add(stack.pop())
            yield group

    for name in sorted(graph):
        if name not in sorter:
            yield from visit(name)


REACHES: dict[str, str] = {
    "comfy_async/cli/_interrupt.py: os._exit": "the standard library's name for ending a process at once",
}
"""`file: expression` that may reach into a neighbour, and why."""


def test_nobody_reaches_into_a_neighbour() -> None:
    """`x._name` is for the module that defines `_name`; what a neighbour needs has no underscore."""
    found = [line for path in MODULES for line in reaches(path)]
    assert not found, "\n".join(found)


def reaches(path: Path) -> Iterator[str]:
    """Yield where a module uses private names of others."""
    tree = parsed(path)
    own = own_private_names(tree)
    for node in ast.walk(tree):
        private = (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and node.attr not in own
            and not is_own(node.value)
            and f"{path}: {ast.unparse(node)}" not in REACHES
        )
        imported = (
            isinstance(node, ast.ImportFrom)
            and (node.level or (node.module or "").startswith("comfy_async"))
            and any(
                alias.name.startswith("_")
                and not alias.name.startswith("__")
                and not is_module([*base_of(path, node).split("."), alias.name])
                for alias in node.names
            )
        )
        if private or imported:
            assert isinstance(node, ast.Attribute | ast.ImportFrom)
            yield f"{path}:{node.lineno}: {ast.unparse(node)}"


def base_of(path: Path, node: ast.ImportFrom) -> str:
    """Return the absolute name of what an import takes names from."""
    package = path.with_suffix("").parts[:-1]
    base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
    return ".".join(part for part in (base, node.module) if part)


def is_own(value: ast.expr) -> bool:
    """Say whether this is `self`, `cls` or `super()`."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def own_private_names(tree: ast.AST) -> set[str]:
    """Return the underscored names that a module defines itself: methods, fields, slots."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            names.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign):
            targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
            names.update(targets)
            if "__slots__" in targets:
                names.update(ast.literal_eval(node.value))
    return {name for name in names if name.startswith("_")}


def test_foreign_libraries_stay_in_their_rooms() -> None:
    """httpx and websockets behind the transport, aiohttp in the tests' server, and so on."""
    wrong = [
        f"{path} imports {name}"
        for path in MODULES
        for name in imports(path, lazy=True)
        if (library := name.partition(".")[0]) in FOREIGN
        and not room(path).startswith(FOREIGN[library] or ("nobody",))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_middle_is_sans_io() -> None:
    """What ComfyUI says is read without awaiting, and without any socket."""
    waiting = {"asyncio", "anyio", "socket", "ssl", "threading"}
    middle = [path for path in MODULES if room(path) in ("_protocol", "workflow", "types", "events")]
    assert len(middle) > 50
    awaits = [
        f"{path}:{node.lineno}"
        for path in middle
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Await | ast.AsyncFunctionDef)
    ]
    imported = [
        f"{path} imports {name}"
        for path in middle
        for name in imports(path, lazy=True)
        if name.partition(".")[0] in waiting
    ]
    assert not awaits + imported


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after running some code."""
    script = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


OPTIONAL = frozenset(
    "typer rich aiohttp PIL IPython ipywidgets ray numpy pytest click starlette uvicorn python_multipart mcp "
    "mcp_types opentelemetry".split()
)


@pytest.mark.parametrize("code", ["import comfy_async", "import comfy_async.testing"])
def test_no_optional_package_is_loaded(code: str) -> None:
    """Nor pydantic proper, whose models load when they are used. httpx itself loads click and rich."""
    loaded = loaded_by(code) - loaded_by("import httpx")
    assert not loaded & OPTIONAL
    assert "pydantic" not in loaded


@pytest.mark.parametrize("missing", ["aiohttp", "PIL", "rich", "typer", "IPython", "ipywidgets", "pydantic"])
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
