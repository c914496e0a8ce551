"""Minimal files, each for one rule, against what three versions of the editor made of them."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from convert_files import catalog

from comfy_async.errors import ConversionError
from comfy_async.workflow import NodeCatalog
from comfy_async.workflow.convert import convert_editor

DATA = Path(__file__).parents[1] / "data"


@functools.cache
def rules() -> dict[str, dict[str, Any]]:
    """The cases by number."""
    cases = json.loads(gzip.decompress((DATA / "conversion_rules.json.gz").read_bytes()))
    return {case["name"].partition("_")[0]: case for case in cases}


def converted(number: str, **options: Any) -> dict[str, Any]:
    """Convert one case; a class that is unknown to the editor has null where the truth has nothing."""
    case = rules()[number]
    classes = NodeCatalog({**catalog().raw, **case["object_info_extra"]})
    found: dict[str, Any] = convert_editor(case["editor"], classes, unknown="keep", **options)
    return {key: without_nothing(entry) for key, entry in found.items()}


def without_nothing(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry without a class that is None, and without such a title."""
    kept = {key: value for key, value in entry.items() if value is not None}
    return {**kept, "_meta": {key: value for key, value in entry["_meta"].items() if value is not None}}


NO_TRUTH = {"39", "42", "43"}
"""A group within a choice, and a count without values: the editor loses the values."""

LINKS_KEPT = {"78", "79"}
"""The editor loses links where a choice brings a group that grows."""

PICTURE = "64"
"""A picture's name has the time in it."""


@pytest.mark.parametrize("number", sorted(set(rules()) - NO_TRUTH - LINKS_KEPT - {PICTURE}))
def test_as_the_newest_editor(number: str) -> None:
    """All inputs, classes, titles and packs as 1.58.1 sends them, and nothing is refused."""
    assert converted(number) == rules()[number]["truth"]["1.58.1"]


CONTRADICTORY = {"18", "19", "27", "48", "49", "54", "55", "58", "64"}
"""Files that contradict themselves: the newest editor's way counts for all versions."""

BETTER = {"16", "57"}
"""1.49.6 mixes up widgets of one name, and drops objects of values."""


@pytest.mark.parametrize("number", sorted(set(rules()) - CONTRADICTORY - BETTER))
def test_as_editor_1_49_6(number: str) -> None:
    """Under its own name the old editor's values and kinds of widgets, where something is lost too."""
    assert converted(number, editor="1.49.6", lost="keep") == rules()[number]["truth"]["1.49.6"]


@pytest.mark.parametrize("number", sorted(CONTRADICTORY - {PICTURE}))
def test_contradictory_files_have_one_meaning(number: str) -> None:
    """Whatever version is named."""
    assert converted(number, editor="1.49.6") == rules()[number]["truth"]["1.58.1"]


BY_1_54 = {"09", "12", "13", "16", "18", "19", "31", "37", "48", "57", "72", "75", "76"}


@pytest.mark.parametrize("number", sorted(BY_1_54))
def test_as_editor_1_54_12(number: str) -> None:
    """What changed between 1.49.6 and 1.54.12 counts from there on."""
    assert converted(number, editor="1.54.12", lost="keep") == rules()[number]["truth"]["1.54.12"]


@pytest.mark.parametrize("number", sorted(LINKS_KEPT))
def test_links_that_the_editor_loses_are_kept(number: str) -> None:
    """All four pictures that the file links, of which 1.58.1 sends two or three."""
    inputs = converted(number)["5"]["inputs"]
    assert [inputs[f"model.images.image_{place}"] for place in (1, 2, 3, 4)] == [
        [str(source), 0] for source in (1, 2, 3, 4)
    ]


def test_names_of_pictures_are_made_in_the_browser() -> None:
    """All else of rule 64 is as in the editor."""
    found, wanted = converted(PICTURE), rules()[PICTURE]["truth"]["1.58.1"]
    wanted["5"]["inputs"]["image"] = ""
    assert found == wanted


def test_a_count_without_values_is_refused() -> None:
    """A group of 9 rows in a list of 6 values (rules/39): nobody knows which values are whose."""
    with pytest.raises(ConversionError, match="'loras' was saved with 9 rows") as caught:
        converted("39")
    (problem,) = caught.value.problems
    assert (problem.node, problem.class_type, problem.input, problem.received) == (
        "1",
        "SynGroup",
        "loras",
        9,
    )


def test_a_group_within_a_choice_has_its_values() -> None:
    """The editor loses them (rules/42, 43); the list says plainly whose they are."""
    assert converted("42")["1"]["inputs"] == {
        "mode": "two",
        "mode.g.0.v": 41,
        "mode.g.1.v": 42,
        "tail": 9,
    }
    assert converted("43")["1"]["inputs"] == {"mode": "two", "mode.g.0.v": 41, "tail": 9}
