"""The guides are true: their Python runs, and what they list is what the library has.

`python tests/helpers/doc_pages.py` writes the generated parts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from doc_drawings import SCENES, drawing, play
from doc_pages import route_table
from doc_tools import GUIDES, ROOT, SERVER, Block, blocks, furnish, run_program, run_snippet, run_test

from comfy_async import Event
from comfy_async.events import BaseEvent, NodeEvent
from comfy_async.testing import FakeComfy

PAGES = sorted(GUIDES.glob("*.md"))
# The fleet takes a cluster: tests/ray runs its page.
BLOCKS = [block for page in PAGES if page.name != "fleet.md" for block in blocks(page)]
PROGRAMS = [block for block in BLOCKS if block.kind == "program"]
TESTS = [block for block in BLOCKS if block.kind == "test"]
SNIPPETS = [block for block in BLOCKS if block.kind == "snippet"]


def between(page: str, mark: str) -> str:
    """Return the generated part of a page that stands between two comments."""
    found = re.search(
        rf"<!-- {mark} -->\n(.*?)\n<!-- /{mark} -->", (GUIDES / page).read_text("utf-8"), re.DOTALL
    )
    assert found, f"{page} has no part {mark}"
    return found[1]


def test_the_table_of_routes() -> None:
    """It is the library's own list."""
    assert between("routes.md", "routes") == route_table()


@pytest.mark.parametrize("name", SCENES)
async def test_the_drawings(name: str) -> None:
    """Each drawing is what a run gives."""
    assert between("events.md", name) == drawing(await play(SCENES[name]))


INNER = {"parser", "plan_nodes"}
"""Fields that the package itself fills in."""


def fields(kind: type[BaseEvent]) -> dict[str, str]:
    """Return the public fields of a class of events and their types, as the source has them."""
    found: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        if not issubclass(parent, BaseEvent):
            continue
        for name, member in vars(parent).items():
            if isinstance(member, property) and member.fget is not None:
                found[name] = str(member.fget.__annotations__["return"])
        found |= inspect.get_annotations(parent)
    return {
        name: str(kind).removeprefix("ClassVar[").removesuffix("]") if "ClassVar" in str(kind) else str(kind)
        for name, kind in found.items()
        if not name.startswith("_") and name not in INNER
    }


def rows(page: str) -> dict[str, str]:
    """Return the rows of a page's tables by what the first column has in code font."""
    text = (GUIDES / page).read_text("utf-8")
    found = re.finditer(r"^\| `([^`]+)` \|.*$", text, re.MULTILINE)
    return {row[1].replace(r"\|", "|"): row[0].replace(r"\|", "|") for row in found}


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_the_table_of_events(kind: type[BaseEvent]) -> None:
    """Every class has a row with its word on the wire and every field of its own."""
    row = rows("events.md")[kind.__name__]
    word = kind.type  # of those that keep the word themselves no text, but their slot
    assert (f"`{word}`" if isinstance(word, str) else "the server's own type") in row
    base: Any = NodeEvent if issubclass(kind, NodeEvent) else BaseEvent
    assert (", node |" in row) == (base is NodeEvent)
    assert ("; last |" in row) == kind.terminal
    shared = fields(base)
    own = {name: annotation for name, annotation in fields(kind).items() if name not in shared}
    documented = dict(re.findall(r"`(\w+): ([^`]+)`", row))
    assert documented == own


def test_the_shared_fields_of_events() -> None:
    """The fields of all events, and of all events about a node, have rows of their own."""
    listed = dict(name.split(": ") for name in rows("events.md") if ": " in name)
    assert listed == fields(NodeEvent)


def tasks() -> list[str]:
    """Return each table of tasks as code: what stands in the last column, every row by itself."""
    text = (GUIDES / "moving_over.md").read_text("utf-8")
    tables = re.findall(r"^\| task \| before \| now \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return ["\n".join(map(task, table.splitlines())) for table in tables]


def task(row: str) -> str:
    """Return one row as code."""
    _, _, now = (cell.strip() for cell in row.strip("|").split(" | "))
    lines = re.findall(r"`([^`]+)`", now.replace(f'"{SERVER}"', "comfy.base_url"))
    body = textwrap.indent("\n".join(["pass", *lines]), "    ")
    return f"async def row(comfy, flow, job, result):\n{body}\nawait row(comfy, flow, job, result)"


@pytest.mark.parametrize("table", tasks(), ids=["script", "simplified", "websocket"])
async def test_the_tasks(table: str, tmp_path: Path) -> None:
    """What stands for each task runs, where there is a job that has ended with this result."""
    await run_snippet(f"job = await comfy.submit(flow)\nresult = await job\n{table}", tmp_path)


async def test_the_script_does_not_see_a_failure(tmp_path: Path) -> None:
    """As the page says: a failed run looks like one without images."""
    furnish(tmp_path)
    (script,) = [block for block in PROGRAMS if "urllib" in block.code]
    async with FakeComfy() as fake:
        fake.fail_node("VAEDecode", ("RuntimeError", "no"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script.code.replace(SERVER, fake.url), cwd=tmp_path, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
    assert (process.returncode, output) == (0, b"")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
async def test_guide_programs_run(block: Block, tmp_path: Path) -> None:
    """A whole program runs in a process of its own, and leaves a picture in `out`."""
    await run_program(block, tmp_path)
    assert list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
async def test_guide_snippets_run(block: Block, tmp_path: Path) -> None:
    """A snippet runs inside a coroutine that has `comfy`, `flow` and `fake`."""
    await run_snippet(block.code, tmp_path)


async def test_guide_tests_pass() -> None:
    """The tests that users are shown pass."""
    for block in TESTS:
        await run_test(block)


def test_the_comparison() -> None:
    """Every column of the table stands for a package that the second table names."""
    whole = between("others.md", "others").splitlines()
    assert len(whole) > 9
    assert {line.count("|") for line in whole} == {whole[0].count("|")}
    text = (GUIDES / "others.md").read_text("utf-8")
    for column in whole[0].strip("| ").split(" | "):
        assert re.search(rf"^\| {column} \| (comfy|pycomfy)", text, re.MULTILINE), column


@pytest.mark.parametrize(("number", "app"), [(0, "sd15-text2image-api"), (1, "portrait")])
async def test_the_web_backends(tmp_path: Path, number: int, app: str) -> None:
    """The programs of the web guide take a job by POST, and tell its end under the job's address."""
    block = [block for block in SNIPPETS if "FastAPI(lifespan" in block.code][number]
    furnish(tmp_path)
    async with FakeComfy() as fake:
        names: dict[str, Any] = {}
        with contextlib.chdir(tmp_path):
            exec(block.code.replace(SERVER, fake.url), names)
            api = names["api"]
            transport = httpx.ASGITransport(api)
            async with (
                api.router.lifespan_context(api),
                httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000/studio/") as client,
            ):
                answer = await client.post(f"apps/{app}", json={"prompt": "a fox"})
                assert answer.status_code == 202
                job = f"jobs/{answer.json()['id']}"
                events = await client.get(f"{job}/events")  # ends with the job
                assert "event: end" in events.text
                assert (await client.get(job)).json()["status"] == "completed"


def anchors(page: Path) -> set[str]:
    """Return where a link into a page can lead: its headings as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_the_links(page: Path) -> None:
    """Every link within the project leads to a file, and to a heading of it when it names one."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_the_paths_that_are_named(page: Path) -> None:
    """Whoever types what a page says finds the test, the script and the example there."""
    text = re.sub(r"```python.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    named = set(re.findall(r"\b(?<!_)(?:tests|examples)/[\w/]+(?:\.\w+)?", text))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_scripts_that_tests_name() -> None:
    """`python tests/...` in a docstring of the tests is a file."""
    texts = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"python (tests/[\w/]+\.py)", text)}
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
