"""Rules of one's own: registered, brought along by a package, and none loaded that no file asks for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from convert_files import catalog, convert, editor, inputs_of, node

from comfy_async.errors import ConversionError
from comfy_async.workflow import NodeCatalog
from comfy_async.workflow.convert.model import Graph, Node
from comfy_async.workflow.packs import (
    Pack,
    has_rules,
    is_virtual,
    not_convertible,
    pack_of,
    register,
    unregister,
)

DIAL = {"Dial (mine)": {"input": {"required": {}}, "output": ["INT"], "output_name": ["INT"]}}


class Mine(Pack):
    """Rules for a pack with a dial, a sticker, and a node that nobody can convert."""

    classes = frozenset({"Dial (mine)", "Oracle (mine)"})
    virtual = frozenset({"Sticker (mine)"})

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Give a dial its value."""
        if node.type == "Dial (mine)":
            node.add_widget("value", 1, "number")
            node.add_widget("turn", "", "button", sent=False)

    def queued(self, root: Graph) -> None:
        """Refuse oracles."""
        for _, one in root.walk():
            if one.type == "Oracle (mine)":
                raise not_convertible(one, "it asks the stars", advice="Write the answer down.", received=7)


@pytest.fixture
def mine() -> Iterator[Mine]:
    """Register the rules for one test."""
    pack = Mine()
    register(pack)
    yield pack
    unregister(pack)


def test_a_registered_pack(mine: Mine) -> None:
    """Its widgets take their values, and its notes are left out."""
    file = editor([node(1, "Dial (mine)", 7, ""), node(2, "Sticker (mine)", "hello")])
    made = convert(file, DIAL)
    assert made["1"]["inputs"] == {"value": 7}
    assert list(made) == ["1"]


def test_what_a_pack_knows(mine: Mine) -> None:
    """A node belongs to the pack that claims it, and to none once that is gone."""
    assert pack_of("Dial (mine)") is mine
    assert has_rules("Dial (mine)")
    assert not has_rules("Sticker (mine)")
    assert is_virtual("Sticker (mine)")
    unregister(mine)
    assert pack_of("Dial (mine)") is None
    register(mine)


def test_a_registered_pack_comes_before_our_own() -> None:
    """Whoever knows a pack better than we do may say so."""

    class Newer(Pack):
        """Another Power Lora Loader."""

        classes = frozenset({"Power Lora Loader (rgthree)"})

    newer = Newer()
    register(newer)
    try:
        assert pack_of("Power Lora Loader (rgthree)") is newer
        assert pack_of("Seed (rgthree)") is not newer
    finally:
        unregister(newer)


def test_rules_count_from_the_next_file_on() -> None:
    """What a catalog's classes became without a pack is not kept for files that are opened with it."""
    known, file = NodeCatalog(DIAL), editor([node(1, "Dial (mine)", 7)])
    without = convert(file, known, lost="keep")
    pack = Mine()
    register(pack)
    try:
        within = convert(file, known)
    finally:
        unregister(pack)
    assert within["1"]["inputs"] == {"value": 7} != without["1"]["inputs"]
    assert convert(file, known, lost="keep") == without


def test_a_mark_is_known_from_the_next_file_on() -> None:
    """A pack that is registered later is asked about files with its mark."""

    class Marking(Pack):
        """Notes that it was asked."""

        marks = frozenset({"seen by me"})
        asked = False

        def queued(self, root: Graph) -> None:
            """Note it."""
            self.asked = True

    file, pack = editor([node(1, "EmptyImage", properties={"seen by me": 1})]), Marking()
    convert(file)
    register(pack)
    try:
        convert(file)
    finally:
        unregister(pack)
    assert pack.asked


def test_a_node_that_cannot_be_converted(mine: Mine) -> None:
    """The error names the node, says what to do, and carries a problem."""
    classes = {"Oracle (mine)": DIAL["Dial (mine)"]}
    with pytest.raises(ConversionError, match="node 4 .*it asks the stars") as caught:
        convert(editor([node(4, "Oracle (mine)")]), classes)
    [problem] = caught.value.problems
    assert (problem.node, problem.class_type, problem.received) == ("4", "Oracle (mine)", 7)
    assert problem.advice == "Write the answer down."


@pytest.mark.parametrize("wrong", [Mine, "rgthree", None])
def test_only_instances_are_registered(wrong: Any) -> None:
    """A class in the place of an instance is told at once."""
    with pytest.raises(TypeError, match="instance of Pack"):
        register(wrong)


def test_to_forget_what_was_never_registered() -> None:
    """It is told."""
    with pytest.raises(ValueError, match="not in list"):
        unregister(Mine())


def package(folder: Path, code: str, point: str = "stars") -> None:
    """Write a package with an entry point for rules."""
    (folder / "stars.py").write_text(code, "utf-8")
    info = folder / "stars-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stars\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[comfy_async.packs]\n{point} = stars:PACK\n", "utf-8")


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python that finds the package."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"
    return subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)


def test_a_package_brings_rules_along(tmp_path: Path) -> None:
    """An entry point of the group is found without a word of the user's."""
    package(
        tmp_path,
        "from comfy_async.workflow.packs import Pack\n"
        "class Stars(Pack):\n    virtual = frozenset({'Star (stars)'})\n"
        "PACK = Stars()\n",
    )
    asked = "from comfy_async.workflow.packs import is_virtual; print(is_virtual('Star (stars)'))"
    done = run(asked, tmp_path)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("code", ["PACK = 5", "raise RuntimeError('broken')"])
def test_a_package_that_does_not_load(tmp_path: Path, code: str) -> None:
    """It is told by a warning that names it, and everything else works on."""
    package(tmp_path, code)
    asked = "from comfy_async.workflow.packs import is_virtual; print(is_virtual('Label (rgthree)'))"
    done = run(asked, tmp_path)
    assert done.stdout == "True\n"
    assert "the pack rules 'stars' (stars:PACK) could not be loaded" in done.stderr


def test_rules_are_loaded_when_they_are_needed(tmp_path: Path) -> None:
    """A file without a node of a pack loads no pack's module."""
    code = (
        "from comfy_async.workflow.convert import convert_editor\n"
        "convert_editor({'nodes': [{'id': 1, 'type': 'A'}]}, {'A': {'input': {}}})\n"
        "own = 'comfy_async.workflow.packs.'\n"
        "print(*sorted(name.removeprefix(own) for name in sys.modules if name.startswith(own)))"
    )
    assert run(code, tmp_path).stdout.split() == ["pack", "registry"]


def test_every_door_opens_first(tmp_path: Path) -> None:
    """The rooms of conversion and of packs know each other, and either may be entered first."""
    for name in ("packs", "convert", "packs.rgthree", "packs.use_everywhere", "packs.registry"):
        done = run(f"import comfy_async.workflow.{name}", tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_values_of_a_class_that_packs_do_not_know() -> None:
    """Without a rule more values than widgets are an error; with `lost` they are left behind."""
    file = editor([node(1, "Dial (mine)", 7, {"secret": 1})])
    with pytest.raises(ConversionError, match="node 1 .*saved values") as caught:
        convert(file, DIAL)
    [problem] = caught.value.problems
    assert problem.received == [7, {"secret": 1}]
    assert convert(file, DIAL, lost="keep")["1"]["inputs"] == {}
    assert inputs_of(editor([node(1, "EmptyImage", 8, 8, 1, 0)]), "1", catalog())["width"] == 8
