"""The package as users get it: built, and installed where nothing else is."""

from __future__ import annotations

import dataclasses
import importlib.metadata as metadata
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Built:
    """What `hatchling build` made, and the wheel that came of the sdist alone."""

    sdist: Path
    wheel: Path
    again: Path


def build(folder: Path) -> Built:
    """Build both from the checkout, then the wheel from the unpacked sdist."""
    _hatchling(ROOT, folder / "dist")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    _hatchling(source, folder / "again", "-t", "wheel")
    (again,) = (folder / "again").glob("*.whl")
    return Built(sdist, wheel, again)


def _hatchling(source: Path, target: Path, *options: str) -> None:
    """Build there. Without isolation, which would take the network: the backend is installed."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target), *options]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)


class Environment:
    """A Python with the wheel, the packages that it asks for, and nothing else.

    The packages are copied from where the tests run, since no test may take the network.
    """

    def __init__(self, folder: Path, wheel: Path, *, extras: Iterable[str] = ()) -> None:
        """Make it in an empty folder."""
        self.folder = folder
        venv.create(folder, with_pip=True, symlinks=True)
        (self.site,) = folder.glob("lib/python3*/site-packages")
        self.python = folder / "bin" / "python"
        self.pip("install", "--no-index", "--no-deps", "--no-compile", str(wheel))
        ours = next(iter(metadata.distributions(name="comfy-async", path=[str(self.site)])))
        self.packages = frozenset(wanted(ours.requires or [], extras))
        for name in self.packages:
            self._copy(metadata.distribution(name))

    def pip(self, *arguments: str) -> str:
        """Run pip, and return what it printed."""
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments; every warning is an error, and PYTHON* is not read."""
        line = [str(self.python), "-I", "-W", "error", *command]
        return subprocess.run(line, cwd=cwd, check=False, capture_output=True, text=True, timeout=120)

    def script(self, name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command that the installation made."""
        line = [str(self.folder / "bin" / name), *arguments]
        return subprocess.run(line, cwd=cwd, check=False, capture_output=True, text=True, timeout=120)

    def _copy(self, package: metadata.Distribution) -> None:
        """Copy an installed package, but for its commands and its compiled files."""
        for file in package.files or []:
            if ".." not in file.parts and file.suffix != ".pyc":
                target = self.site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(str(package.locate_file(file))), target)


def wanted(requirements: Iterable[str], extras: Iterable[str]) -> Iterator[str]:
    """Yield the names of all packages that these requirements bring, themselves too."""
    waiting = [(Requirement(line), frozenset(extras)) for line in requirements]
    met: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement, around = waiting.pop()
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in around or {""}):
            continue
        name, inner = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, inner) not in met:
            met.add((name, inner))
            yield name
            requires = metadata.distribution(name).requires or []
            waiting += [(Requirement(line), inner) for line in requires]
