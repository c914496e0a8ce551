"""Watches upstream: converts official templates with ComfyUI's own editor and here, and prints what differs.

    COMFY_LIVE_URL=http://127.0.0.1:8188 python tests/upstream.py --editor 1.58.1 --templates 0.1.123
    python tests/upstream.py --editor 1.58.1 --templates 0.1.123 --comfy-folder ~/ComfyUI

The editor and the templates come from PyPI into a folder. The editor runs in a headless Chromium
on a live ComfyUI, which is only read: nothing is queued and no setting changes. The ComfyUI is
one that runs (COMFY_LIVE_URL), or a folder with one that is installed, which is started and ended.
What both made lies in the folder afterwards. The exit code is 1 when something differs, and 2
when Chromium, a ComfyUI or a package is missing. Not part of the tests that must be green.
"""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from comfy_async import ConversionError
from comfy_async.workflow import NodeCatalog
from comfy_async.workflow.convert import convert_editor

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS / "helpers"), str(TESTS / "live")]

from browser_tools import CHROMIUM  # noqa: E402
from editor_tools import STATIC, Editor, editor  # noqa: E402

Graph = dict[str, Any]

_START_SECONDS = 300.0
_STAMP = re.compile(r"\d{13}")
_SHOWN = 5
"""Templates that are named for each kind of difference."""


class MissingError(Exception):
    """Something that the comparison needs is not there."""


@dataclass
class Report:
    """What differs, by kind."""

    same: int = 0
    stamped: int = 0
    """The same but for the time in a picture's name."""
    kinds: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    different: set[str] = field(default_factory=set)

    def add(self, name: str, theirs: Graph | None, ours: Graph | str) -> None:
        """Take what both made of a template; text in the place of ours says why there is nothing."""
        if theirs is None or isinstance(ours, str):
            self._note(
                name, f"no answer of the editor; here: {_short(ours)}" if theirs is None else str(ours)
            )
            return
        found = list(differences(theirs, ours))
        stamped = [kind for kind in found if kind.startswith("time in a name")]
        self.same += not found
        self.stamped += bool(found) and len(stamped) == len(found)
        for kind in found:
            if kind not in stamped:
                self._note(name, kind)

    def _note(self, name: str, kind: str) -> None:
        """Count a difference of a template."""
        self.kinds[kind].append(name)
        self.different.add(name)

    def __str__(self) -> str:
        """Return all of it as text to print."""
        lines = []
        for kind, names in sorted(self.kinds.items(), key=lambda item: (-len(item[1]), item[0])):
            shown = [f"{name} ({count})" if count > 1 else name for name, count in Counter(names).items()]
            more = f", and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
            lines.append(f"{len(names):5} {kind}: {', '.join(shown[:_SHOWN])}{more}")
        lines.append(
            f"{self.same} templates are the same, {self.stamped} but for a time in a name, "
            f"{len(self.different)} differ in {len(self.kinds)} kinds"
        )
        return "\n".join(lines)


def _short(value: Any) -> str:
    """Return a value on one short line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def differences(theirs: Graph, ours: Graph) -> Iterator[str]:
    """Yield the kind of each difference of two graphs."""
    for node in [*theirs, *(node for node in ours if node not in theirs)]:
        if node not in ours or node not in theirs:
            where, entry = ("there", theirs[node]) if node in theirs else ("here", ours[node])
            yield f"node only {where}: {entry.get('class_type')}"
            continue
        yield from _node_differences(theirs[node], ours[node])


def _node_differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """Yield the kind of each difference of two nodes."""
    class_type = theirs.get("class_type")
    if class_type != ours.get("class_type"):
        yield f"class: {class_type} there, {ours.get('class_type')} here"
        return
    if theirs.get("_meta") != ours.get("_meta"):
        yield f"meta of {class_type}: {_short(theirs.get('_meta'))} there, {_short(ours.get('_meta'))} here"
    there, here = theirs["inputs"], ours["inputs"]
    for name in [*there, *(name for name in here if name not in there)]:
        place = f"{class_type}.{re.sub('[0-9]+', '#', name)}"
        if name not in here:
            yield f"input only there: {place}"
        elif name not in there:
            yield f"input only here: {place}"
        elif not _equal(there[name], here[name]):
            yield _value_difference(place, there[name], here[name])


def _value_difference(place: str, there: Any, here: Any) -> str:
    """Return the kind of difference of two values."""
    if isinstance(there, str) and isinstance(here, str) and _STAMP.sub("", there) == _STAMP.sub("", here):
        return f"time in a name: {place}"
    return f"value of {place}: {_short(there)} there, {_short(here)} here"


def _equal(there: Any, here: Any) -> bool:
    """Tell whether two values are the same JSON to a server: 1 and 1.0 are, 1 and true are not."""
    if isinstance(there, bool) or isinstance(here, bool):
        return there is here
    if isinstance(there, dict) and isinstance(here, dict):
        return there.keys() == here.keys() and all(_equal(there[key], here[key]) for key in there)
    if isinstance(there, list) and isinstance(here, list):
        return len(there) == len(here) and all(map(_equal, there, here))
    return bool(there == here)


def installed(package: str, version: str, folder: Path) -> Path:
    """Return the folder of a package from PyPI, which is put there when it is not.

    Raises:
        MissingError: It cannot be had.
    """
    target = folder / f"{package}-{version}"
    if not target.is_dir():
        command = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
        done = subprocess.run([sys.executable, *command, f"{package}=={version}"], check=False)
        if done.returncode:
            raise MissingError(f"{package} {version} cannot be installed from PyPI")
    return target


def templates(folder: Path, names: str) -> dict[str, Any]:
    """Return the editor files of an installed templates package, by name.

    Raises:
        MissingError: None has such a name.
    """
    files = {}
    for path in sorted((folder / "comfyui_workflow_templates_json").rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if isinstance(content, dict) and "nodes" in content and fnmatch.fnmatch(path.stem, names):
            files[path.stem] = content
    if not files:
        raise MissingError(f"{folder} has no template that is called {names!r}")
    return files


@asynccontextmanager
async def comfy_of(folder: Path | None, python: str) -> AsyncIterator[str]:
    """Give the address of the ComfyUI that runs, or of one that is started from a folder and ended.

    Raises:
        MissingError: There is none.
    """
    address = os.environ.get("COMFY_LIVE_URL")
    if folder is None:
        if not address:
            raise MissingError("no ComfyUI: set COMFY_LIVE_URL, or give --comfy-folder")
        yield address.rstrip("/")
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    arguments = ["main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port)]
    try:
        process = await asyncio.create_subprocess_exec(python, *arguments, cwd=folder)
    except OSError as error:
        raise MissingError(f"ComfyUI does not start from {folder}: {error}") from error
    try:
        await _answers(address, process)
        yield address
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(address: str, process: asyncio.subprocess.Process) -> None:
    """Wait until a ComfyUI answers.

    Raises:
        MissingError: It ends, or takes too long.
    """
    try:
        async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient(trust_env=False) as http:
            while process.returncode is None:
                try:
                    await http.get(f"{address}/system_stats")
                except httpx.TransportError:
                    await asyncio.sleep(0.5)
                else:
                    return
    except TimeoutError:
        raise MissingError(f"ComfyUI does not answer within {_START_SECONDS:.0f} s") from None
    raise MissingError(f"ComfyUI has ended with {process.returncode}")


async def theirs_of(asked: Editor, name: str, file: Any) -> Graph | None:
    """Return what the editor makes of a template, None where it fails or does not answer."""
    try:
        answer = await asked.ask(file, post=False)
    except TimeoutError:
        say(f"{name}: the editor does not come to an end")
        return None
    if answer.graph is None:
        say(f"{name}: {answer.error}")
    return answer.graph


def ours_of(file: Any, catalog: NodeCatalog, version: str) -> Graph | str:
    """Return what is made of a template here, or why nothing is."""
    try:
        return convert_editor(file, catalog, editor=version, unknown="keep", lost="keep")
    except ConversionError as error:
        kinds = sorted({problem.type for problem in error.problems})
        return f"refused here: {', '.join(kinds) or error}"


def say(line: str) -> None:
    """Print a line as soon as it is known."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def compare(options: argparse.Namespace) -> Report:
    """Convert all templates there and here.

    Raises:
        MissingError: Something that it needs is missing.
    """
    if CHROMIUM is None:
        raise MissingError("no Chromium: install `chromium`, or put it on the PATH")
    report = Report()
    async with comfy_of(options.comfy_folder, options.python) as comfy:
        static = installed("comfyui-frontend-package", options.editor, options.folder) / STATIC
        package = installed("comfyui-workflow-templates-json", options.templates, options.folder)
        files = templates(package, options.names)
        async with httpx.AsyncClient(trust_env=False, timeout=120) as http:
            catalog = NodeCatalog((await http.get(f"{comfy}/object_info")).raise_for_status().json())
        made: dict[str, dict[str, Any]] = {}
        async with editor(comfy, static) as asked:
            for name, file in files.items():
                theirs, ours = await theirs_of(asked, name, file), ours_of(file, catalog, options.editor)
                report.add(name, theirs, ours)
                made[name] = {"there": theirs, "here": ours}
        kept = options.folder / f"made-{options.editor}-{options.templates}.json"
        kept.write_text(json.dumps(made, indent=1))
        say(f"what both made lies in {kept}")
    return report


def main() -> int:
    """Compare, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--editor", required=True, help="a version of comfyui-frontend-package")
    parser.add_argument("--templates", required=True, help="a version of comfyui-workflow-templates-json")
    parser.add_argument("--folder", type=Path, default=Path("out/upstream"), help="where all of it is put")
    parser.add_argument("--names", default="*", help="only templates whose name fits, like 'image_*'")
    parser.add_argument(
        "--comfy-folder", type=Path, help="an installed ComfyUI to start, else COMFY_LIVE_URL"
    )
    parser.add_argument("--python", default=sys.executable, help="the Python of that ComfyUI")
    options = parser.parse_args()
    try:
        report = asyncio.run(compare(options))
    except MissingError as error:
        say(str(error))
        return 2
    say(str(report))
    return 1 if report.different else 0


if __name__ == "__main__":
    sys.exit(main())
