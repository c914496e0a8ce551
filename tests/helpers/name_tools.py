"""The public names, their examples, and what runs these: `>>>` lines that may await."""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import doctest
import functools
import inspect
import io
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from doc_tools import ROOT, app_of

from comfy_async import testing
from comfy_async.testing import FakeComfy

ADDRESSES = ("http://127.0.0.1:8188", "http://10.0.0.7:8188", "http://10.0.0.8:8188")
"""Where servers are in examples; each stands for a fake."""

_SECTION = re.compile(r"^Example:\n((?: {4}.*\n|\n)+)", re.MULTILINE)
_LIMIT_S = 120.0
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def example(doc: str) -> str:
    """Return the lines of a docstring's example, "" when it has none."""
    found = _SECTION.search(inspect.cleandoc(doc) + "\n")
    return textwrap.dedent(found[1]).strip("\n") + "\n" if found else ""


def first_sentence(doc: str) -> str:
    """Return what a docstring begins with, up to the end of its first paragraph's first sentence."""
    paragraph = " ".join(inspect.cleandoc(doc).partition("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", paragraph)[0]


def docs(package: Path) -> dict[str, str]:
    """Return the docstrings of all that the face of a package shows, in the order of its `__all__`.

    They are read from the sources: a union of types has none at run time, and Ray need not be there.
    """
    return {name: _doc(package / "__init__.py", name) for group in groups(package).values() for name in group}


def groups(package: Path) -> dict[str, list[str]]:
    """Return the names in `__all__` by the comment above them, "" where there is none."""
    text = (package / "__init__.py").read_text("utf-8")
    inside = re.search(r"^__all__ = \[(.*?)\]", text, re.DOTALL | re.MULTILINE)
    assert inside
    found: dict[str, list[str]] = {}
    title = ""
    for comment, name in re.findall(r'# (.+)\.|"(\w+)"', inside[1]):
        if comment:
            title = comment
        else:
            found.setdefault(title, []).append(name)
    return found


def _doc(path: Path, name: str) -> str:
    """Return the docstring of a name, wherever the module has it from."""
    body = _tree(path).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name:
                return ast.get_docstring(node) or ""
            case ast.AnnAssign(target=ast.Name(id=target)) if target == name:
                # As editors do it: the string below an alias is its documentation.
                match after:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        return text
    for imported in ast.walk(_tree(path)):
        if isinstance(imported, ast.ImportFrom) and name in {alias.name for alias in imported.names}:
            home = path.parent.joinpath(*(imported.module or "").split("."))
            return _doc(home / "__init__.py" if home.is_dir() else home.with_suffix(".py"), name)
    raise LookupError(f"{name} is not in {path}")


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class, those of its bases in this package too."""
    for name, value in inspect.getmembers_static(cls):
        found = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        found = inspect.unwrap(found) if callable(found) else found
        if inspect.isfunction(found) and not name.startswith("_"):
            if str(ROOT) in found.__code__.co_filename:
                yield name, found


async def run_example(text: str, names: dict[str, Any], *, where: str) -> None:
    """Run an example on a stage, which is given what the example speaks of and does not make.

    These are `job`, `result` and `app`, and servers at the addresses that docs use.

    Raises:
        AssertionError: It prints something else than it says.
        TimeoutError: It hangs.
        Exception: Whatever the example raises.
    """
    async with contextlib.AsyncExitStack() as stack:
        servers = [names["fake"]]
        for address in ADDRESSES:
            if address in text:
                if not servers:
                    servers.append(await stack.enter_async_context(FakeComfy()))
                text = text.replace(address, servers.pop().url)
        names |= {name: getattr(testing, name) for name in testing.__all__}
        wanted = _taken(text)
        if "app" in wanted:
            names["app"] = await app_of(names)
        if wanted & {"job", "result"}:
            names["job"] = await names["comfy"].submit(names["flow"])
        if "result" in wanted:
            names["result"] = await names["job"]
        async with asyncio.timeout(_LIMIT_S):
            await run_prompts(text, names, where=where)


def _taken(text: str) -> set[str]:
    """Return the names that an example reads and does not set."""
    code = "".join(part.source for part in doctest.DocTestParser().get_examples(text))
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]
    return {node.id for node in found} - {node.id for node in found if isinstance(node.ctx, ast.Store)}


async def run_prompts(text: str, names: dict[str, Any], *, where: str) -> None:
    """Run `>>>` lines, and hold what they print against the lines below them, where there are any.

    Raises:
        AssertionError: Something else was printed.
        Exception: Whatever the code raises.
    """
    names["__name__"] = "__main__"
    for part in doctest.DocTestParser().get_examples(text, where):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = compile(part.source, where, "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            outcome = eval(code, names)
            if inspect.iscoroutine(outcome):
                await outcome
        got = printed.getvalue()
        if part.want and not doctest.OutputChecker().check_output(part.want, got, _FLAGS):
            raise AssertionError(f"{where}: {part.source}expected:\n{part.want}printed:\n{got}")
    vars(builtins).pop("_", None)
