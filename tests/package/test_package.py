"""The package to publish: what is in it, what it says of itself, and that it works where nothing else is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from package_tools import ROOT, Built, Environment, build
from packaging.metadata import Metadata
from packaging.requirements import Requirement

import comfy_async
from comfy_async.testing import FakeComfy

SD15 = ROOT / "examples" / "workflows" / "sd15_text2image_api.json"
CORE = {"httpx", "websockets", "anyio", "pydantic"}
TOP = {
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "comfy_async",
    "examples",
    "pyproject.toml",
    "tests",
}
OPTIONAL = {
    *("IPython", "PIL", "aiohttp", "numpy", "pytest", "pytest_asyncio", "ray", "rich", "typer"),
    *(
        "starlette",
        "uvicorn",
        "python_multipart",
        "mcp",
        "mcp_types",
        "opentelemetry",
        "fsspec",
        "ipywidgets",
    ),
}
"""What only an extra brings, or nothing of ours."""

JOB = """
import asyncio, sys
from comfy_async import ComfySession, Workflow

async def main():
    async with ComfySession(sys.argv[1]) as comfy:
        job = await comfy.submit(Workflow.load(sys.argv[2]))
        told = [event.type async for event in job]
        assert told[-1] == "execution_success", told
        for path in await (await job).save("out"):
            print(path)

asyncio.run(main())
"""
WALK = """
import importlib, pkgutil
import comfy_async

for module in pkgutil.walk_packages(comfy_async.__path__, "comfy_async.", onerror=lambda name: None):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            print(error.name, module.name)
"""
WITHOUT = {
    "image": ("await result.images[0].image()", "Pillow is missing: pip install 'comfy-async[images]'"),
    "ray": ("import comfy_async.ray", "Ray is missing: pip install 'comfy-async[ray]'"),
    "testing": (
        "from comfy_async.testing import FakeComfy",
        "FakeComfy needs aiohttp: pip install 'comfy-async[testing]'",
    ),
}
TRY = """
import asyncio, sys
from comfy_async import ComfySession

async def main():
    async with ComfySession(sys.argv[1]) as comfy:
        job = await comfy.submit(sys.argv[2])
        result = await job
        try:
            {line}
        except ImportError as error:
            print(error)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist and the wheel."""
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def core(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with what it must have."""
    return Environment(tmp_path_factory.mktemp("core"), built.wheel)


@pytest.fixture(scope="module")
def terminal(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with the extra `cli`."""
    return Environment(tmp_path_factory.mktemp("terminal"), built.wheel, extras=["cli"])


@pytest.fixture(scope="module")
def about(built: Built) -> Metadata:
    """What the wheel says of itself, checked against the standard's rules."""
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Metadata.from_email(archive.read(name), validate=True)


def names(wheel: Path) -> set[str]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_package_alone(built: Built) -> None:
    """Every module, the marker of types, the page and the licence; no tests, nothing that lay about."""
    info = f"comfy_async-{comfy_async.__version__}.dist-info"
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "comfy_async").rglob("*.py")}
    beside = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    page = {path.relative_to(ROOT).as_posix() for path in (ROOT / "comfy_async/web/static").iterdir()}
    expected = modules | page | {"comfy_async/py.typed"} | {f"{info}/{name}" for name in beside}
    assert names(built.wheel) == expected


def test_the_sdist_holds_what_the_wheel_and_the_tests_need(built: Built) -> None:
    """Sources, tests and examples; no cache, no result, nothing hidden but .gitignore."""
    with tarfile.open(built.sdist) as archive:
        found = [Path(*Path(member.name).parts[1:]) for member in archive.getmembers()]
    assert {path.parts[0] for path in found} == TOP
    assert not [path for path in found if "__pycache__" in path.parts or "out" in path.parts]
    assert [path for path in found if any(part.startswith(".") for part in path.parts)] == [
        Path(".gitignore")
    ]


def test_the_sdist_makes_the_same_wheel(built: Built) -> None:
    """To the byte."""
    assert built.again.name == built.wheel.name
    assert built.again.read_bytes() == built.wheel.read_bytes()


def test_the_index_would_take_it(built: Built) -> None:
    """`twine check --strict`: the metadata are well formed, and the readme renders."""
    command = [sys.executable, "-m", "twine", "check", "--strict", str(built.sdist), str(built.wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_metadata_are_complete(about: Metadata) -> None:
    """Who it is, for which Python, under which licence, and how it is found."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (about.name, str(about.version)) == ("comfy-async", comfy_async.__version__)
    assert about.summary == project["description"]
    assert about.description == (ROOT / "README.md").read_text("utf-8")
    assert about.description_content_type == "text/markdown"
    assert (about.license_expression, about.license_files) == ("MIT", ["LICENSE"])
    assert str(about.requires_python) == ">=3.11"
    assert about.author
    assert about.keywords
    assert {"Framework :: AsyncIO", "Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(
        about.classifiers or []
    )
    assert set(about.provides_extra or []) == set(project["optional-dependencies"])


def test_four_packages_and_no_more(about: Metadata) -> None:
    """All else is by extras, and each requirement has a lowest version."""
    requirements = [Requirement(str(line)) for line in about.requires_dist or []]
    assert {line.name for line in requirements if line.marker is None} == CORE
    assert [line.name for line in requirements if not line.specifier and line.name != "comfy-async"] == []


def test_what_is_found_by_its_entry(core: Environment) -> None:
    """The command and the pytest plugin."""
    (file,) = core.site.glob("comfy_async-*/entry_points.txt")
    assert (
        file.read_text().split()
        == (
            "[console_scripts] comfy-async = comfy_async.cli:main"
            " [pytest11] comfy_async = comfy_async.testing.plugin"
        ).split()
    )


def test_nothing_else_is_installed(core: Environment) -> None:
    """The four, what they bring, and pip, with which pip has no quarrel."""
    assert core.packages >= CORE
    assert not core.packages & {name.lower() for name in OPTIONAL}
    listed = {line.partition("==")[0].lower() for line in core.pip("list", "--format=freeze").split()}
    assert {name.replace("_", "-") for name in listed} - {"pip", "setuptools"} == core.packages | {
        "comfy-async"
    }
    assert "No broken requirements" in core.pip("check")


async def test_a_job_runs(core: Environment, fake: FakeComfy, tmp_path: Path) -> None:
    """Submitted, watched to its end and saved, with every warning an error."""
    done = await asyncio.to_thread(core.run, "-c", JOB, fake.url, str(SD15), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["out/ComfyUI_00001_.png"]
    assert (tmp_path / "out/ComfyUI_00001_.png").read_bytes().startswith(b"\x89PNG")


def test_modules_need_what_is_declared(core: Environment, tmp_path: Path) -> None:
    """Each imports, or misses a package of an extra; the library itself misses nothing."""
    done = core.run("-c", WALK, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    missing = [line.split() for line in done.stdout.splitlines()]
    assert {name for name, _ in missing} <= OPTIONAL
    rooms = (
        *("comfy_async._display.console", "comfy_async.cli.", "comfy_async.ray", "comfy_async.testing."),
        *("comfy_async.web", "comfy_async.mcp", "comfy_async.otel"),
    )
    assert [module for _, module in missing if not module.startswith(rooms)] == []


@pytest.mark.parametrize("what", WITHOUT)
async def test_a_missing_extra_is_named(
    what: str, core: Environment, fake: FakeComfy, tmp_path: Path
) -> None:
    """In one line, with what to type."""
    line, told = WITHOUT[what]
    done = await asyncio.to_thread(core.run, "-c", TRY.format(line=line), fake.url, str(SD15), cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{told}\n")


@pytest.mark.parametrize("module", ["comfy_async", "comfy_async.cli"])
def test_the_command_names_its_extra(module: str, core: Environment, tmp_path: Path) -> None:
    """The command and both modules say the same line, and nothing more."""
    told = "comfy-async needs rich: pip install 'comfy-async[cli]'\n"
    for done in (
        core.run("-m", module, "--help", cwd=tmp_path),
        core.script("comfy-async", "--help", cwd=tmp_path),
    ):
        assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


def test_the_server_names_its_extra(core: Environment, tmp_path: Path) -> None:
    """`python -m comfy_async.testing` without aiohttp."""
    done = core.run("-m", "comfy_async.testing", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "FakeComfy needs aiohttp: pip install 'comfy-async[testing]'\n"


async def test_the_command_runs_a_workflow(terminal: Environment, fake: FakeComfy, tmp_path: Path) -> None:
    """With its extra alone, on a server elsewhere."""
    assert "No broken requirements" in terminal.pip("check")
    arguments = ("run", str(SD15), "--server", fake.url, "--out", "out")
    done = await asyncio.to_thread(terminal.script, "comfy-async", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out/ComfyUI_00001_.png\n"), done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", str(SD15), "--fake"], "pip install 'comfy-async[testing]'"),
        (["fake-server"], "pip install 'comfy-async[testing]'"),
        (["run", str(SD15), "--show"], "pip install 'comfy-async[pictures]'"),
    ],
    ids=["fake", "fake-server", "show"],
)
def test_the_command_names_the_other_extras(
    arguments: list[str], told: str, terminal: Environment, tmp_path: Path
) -> None:
    """In one line on stderr."""
    done = terminal.script("comfy-async", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
