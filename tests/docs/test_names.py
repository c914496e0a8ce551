"""Every public name has an example, and every example of the library runs.

`python tests/helpers/doc_pages.py` writes examples/guides/names.md anew, which is made of them.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from asset_store import Store
from doc_pages import NAMES, PACKAGE, RESOURCES, names_page
from doc_tools import GUIDES, ROOT, stage
from name_tools import example, first_sentence, methods, run_example
from raw_server import raw_server

import comfy_async
from comfy_async import ComfySession
from comfy_async.testing import plugin

ELSEWHERE = ("cli", "ray", "mcp")
"""Whose examples are lines for a shell, want a cluster, or a client: tests of these names have them."""


def documented() -> Iterator[tuple[str, str]]:
    """Yield every docstring with an example, by module and name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] not in ELSEWHERE and path.name != "plugin.py":
            module = ".".join(part for part in parts if part != "__init__")
            for name, doc in _docstrings(ast.parse(path.read_text("utf-8"))):
                if example(doc):
                    yield f"{module}:{name}", doc


def _docstrings(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield what stands in a module: its own docstring, those of classes and functions, those below names."""
    yield prefix.rstrip("."), ast.get_docstring(node) or ""
    for before, found in zip([None, *node.body], node.body, strict=False):
        match before, found:
            case _, ast.ClassDef():
                yield from _docstrings(found, f"{prefix}{found.name}.")
            case _, ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + found.name, ast.get_docstring(found) or ""
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                yield prefix + name, doc


EXAMPLES = dict(documented())


@pytest.mark.parametrize("name", NAMES)
def test_each_name_has_an_example(name: str) -> None:
    """A first sentence, and an example that shows the name, or what it is a base or a part of."""
    doc = NAMES[name]
    assert first_sentence(doc).endswith((".", ":"))
    assert example(doc)


def test_no_two_examples_are_alike() -> None:
    """Each shows something of its own."""
    shown = [example(doc) for doc in NAMES.values()]
    assert [text for text in set(shown) if shown.count(text) > 1] == []


@pytest.mark.parametrize("name", [*comfy_async.__all__, *RESOURCES])
def test_each_method_is_documented(name: str) -> None:
    """A sentence of its own for every public method and property."""
    value = getattr(comfy_async, name, None)
    cls = value if value is not None else type(getattr(ComfySession("http://127.0.0.1:8188"), name))
    if isinstance(cls, type):
        for method, function in methods(cls):
            assert first_sentence(function.__doc__ or "").endswith((".", ":")), f"{name}.{method}"


@pytest.mark.parametrize("name", EXAMPLES)
async def test_each_example_runs(name: str, tmp_path: Path) -> None:
    """As it stands in the docstring, on a server; what it prints is what it says."""
    module = importlib.import_module(name.partition(":")[0])
    async with stage(tmp_path) as names, _assets(names, name):
        own = {key: value for key, value in vars(module).items() if key in getattr(module, "__all__", ())}
        await run_example(example(EXAMPLES[name]), own | names, where=f"<{name}>")


@contextlib.asynccontextmanager
async def _assets(names: dict[str, Any], where: str) -> AsyncIterator[None]:
    """Lead `comfy` to a server with assets, which FakeComfy has not, where the example is of them."""
    if "assets" not in where:
        yield
        return
    async with raw_server(Store()) as server, ComfySession(server.url) as names["comfy"]:
        yield


def test_the_example_of_the_plugin(tmp_path: Path) -> None:
    """The test that users of the fixtures are shown passes."""
    lines = [line[4:] for line in example(plugin.__doc__ or "").splitlines()]
    (tmp_path / "test_my_app.py").write_text("\n".join(lines), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in run.stdout, run.stdout


def test_the_page_of_names() -> None:
    """It is what `python tests/helpers/doc_pages.py` writes."""
    assert (GUIDES / "names.md").read_text("utf-8") == names_page()
