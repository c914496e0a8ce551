"""The field of each kind of input: which widget, what it shows at first, and what it gives when changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from comfy_async import App, AppInput, NodeCatalog
from comfy_async._display.form_fields import NOTHING, Field, field_of

CLASSES = {"Seeded": {"input": {"required": {"seed": ["INT", {"default": 5, "min": 0, "max": 2**64 - 1}]}}}}
APP = App.load(
    {"1": {"class_type": "Seeded", "inputs": {"seed": 5}}},
    NodeCatalog.load(CLASSES),
    inputs={"seed": "1.seed"},
)


def field(type: str, **fields: Any) -> Field:
    """Return the field of an input."""
    return field_of(APP, AppInput(fields.pop("name", "it"), "1", "it", type, **fields))


def kind(made: Field) -> str:
    """Return which widget holds the value."""
    return type(made.controls[0]).__name__


def uploaded(content: bytes) -> dict[str, Any]:
    """Return what the widget of an upload has of a file."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    size = {"size": len(content), "last_modified": now}
    return {"name": "my.png", "type": "image/png", "content": memoryview(content), **size}


MANY = tuple(f"model {number}" for number in range(61))


@pytest.mark.parametrize(
    ("type", "fields", "widget", "change", "given"),
    [
        ("STRING", {"default": "a cat"}, "Text", "a fox", "a fox"),
        ("STRING", {"default": "a cat"}, "Text", "", ""),
        ("STRING", {"default": "a", "multiline": True}, "Textarea", "a\nb", "a\nb"),
        ("INT", {"default": 20, "minimum": 1, "maximum": 100, "step": 1}, "BoundedIntText", 8, 8),
        ("INT", {"default": 20, "minimum": 1}, "IntText", -3, -3),
        ("INT", {}, "Text", "7", 7),
        ("INT", {"default": 7}, "IntText", 8, 8),
        ("INT", {"default": 2**63, "minimum": 0, "maximum": 2**64 - 1}, "Text", str(2**64 - 1), 2**64 - 1),
        ("FLOAT", {"default": 7, "minimum": 0, "maximum": 9.5, "step": 0.1}, "BoundedFloatText", 1.5, 1.5),
        ("FLOAT", {"default": 7.5}, "FloatText", 0.25, 0.25),
        ("FLOAT", {"default": 1.5, "maximum": float("inf"), "minimum": 0}, "FloatText", 2.0, 2.0),
        ("BOOLEAN", {"default": False}, "Checkbox", True, True),
        ("BOOLEAN", {}, "Dropdown", 1, False),
        ("COMBO", {"default": "b", "choices": ("a", "b")}, "Dropdown", 0, "a"),
        ("COMBO", {"default": 1, "choices": (1, True, 1.0, "1")}, "Dropdown", 3, "1"),
        ("COMBO", {"default": "gone", "choices": ("a", "b")}, "Dropdown", 1, "b"),
        ("COMBO", {"default": ["a"], "choices": ("a", "b")}, "SelectMultiple", (0, 1), ["a", "b"]),
        ("COMBO", {"default": MANY[3], "choices": MANY}, "Combobox", MANY[60], MANY[60]),
        ("COMBO", {"default": 3, "choices": tuple(range(61))}, "Combobox", "60", 60),
        ("COMBO", {"default": "free"}, "Text", "other", "other"),
        ("CURVE", {"default": [[0, 1]]}, "Text", "[[0, 2]]", [[0, 2]]),
        ("CURVE", {"default": [[0, 1]]}, "Text", "no json", "no json"),
        ("COLOR", {"default": "#fff"}, "Text", "12", "12"),
    ],
)
def test_each_type_has_its_widget(
    type: str, fields: dict[str, Any], widget: str, change: object, given: object
) -> None:
    """It shows what the workflow has, gives nothing before it is changed, and then the value in its type."""
    made = field(type, **fields)
    assert kind(made) == widget
    assert made.value() is NOTHING
    made.controls[0].value = change
    assert made.value() == given
    assert type != "COMBO" or made.value().__class__ is given.__class__


def test_bounds_are_those_of_the_input() -> None:
    """The widget keeps within them, and counts as the editor does."""
    control = field("INT", default=512, minimum=16, maximum=2048, step=8).controls[0]
    assert (control.value, control.min, control.max, control.step) == (512, 16, 2048, 8)


@pytest.mark.parametrize("default", [150, 10**6])
def test_a_default_out_of_range_is_shown_as_it_is(default: int) -> None:
    """A widget with bounds would show another number than the workflow runs with."""
    made = field("INT", default=default, minimum=1, maximum=100)
    assert (kind(made), made.controls[0].value) == ("IntText", default)


def test_a_choice_that_is_gone_is_not_replaced() -> None:
    """The list shows none, and nothing is given until somebody chooses."""
    assert field("COMBO", default="gone", choices=("a", "b")).controls[0].index is None


def test_an_emptied_number_is_as_in_the_workflow() -> None:
    """And the field says so, as it says what is required."""
    made = field("INT", default=2**60)
    made.controls[0].value = " "
    assert made.value() == " "  # for the app to refuse
    made.controls[0].value = ""
    assert made.value() is NOTHING
    assert made.controls[0].placeholder == f"as in the workflow: {2**60}"
    assert field("INT", required=True).controls[0].placeholder == "required"
    assert field("INT", required=True, title="Steps").controls[0].description == "Steps *"


def test_a_seed_can_be_drawn() -> None:
    """The button writes one that the app takes, exact as text; the word is taken too."""
    (item,) = APP.inputs.values()
    assert item.is_seed
    made = field_of(APP, item)
    text, button = made.controls
    assert text.value == "5"
    button.click()
    drawn = made.value()
    assert isinstance(drawn, int)
    assert str(drawn) == text.value
    assert not APP.check(seed=drawn)
    text.value = "random"
    assert made.value() == "random"
    text.value = str(2**64 - 1)
    assert made.value() == 2**64 - 1


@pytest.mark.parametrize("upload", ["image", "video", "audio"])
def test_a_file_is_uploaded_or_named(upload: Any) -> None:
    """What was chosen on this computer goes before a name; both have their own widget."""
    made = field("COMBO", upload=upload, choices=("there.png",), required=True)
    name, files = made.controls
    assert (kind(made), files.accept, name.options) == ("Combobox", f"{upload}/*", ("there.png",))
    assert made.value() is NOTHING
    name.value = "there.png"
    assert made.value() == "there.png"
    files.value = [uploaded(b"abc")]
    first, second = made.value(), made.value()
    assert (first.name, first.read(), second.read()) == ("my.png", b"abc", b"abc")
    files.value = [uploaded(b"")]
    assert made.value() == b""


def test_a_key_is_not_kept_in_the_widget() -> None:
    """Notebooks are saved with their widgets: what the workflow has is not shown, what is typed taken out."""
    made = field("STRING", name="api_key", default="s3cret-one")
    (control,) = made.controls
    assert (kind(made), control.value, made.value(), made.is_secret) == ("Password", "", NOTHING, True)
    control.value = "s3cret-two"
    assert made.value() == "s3cret-two"
    control.value = ""
    assert made.value() == "s3cret-two"
    states = json.dumps([control.get_state(), made.box.get_state()], default=repr)
    assert "s3cret" not in states
    assert not field("INT", name="max_tokens", default=7).is_secret


def test_what_is_wrong_is_escaped() -> None:
    """Below the field, and gone when nothing is wrong any more."""
    made = field("STRING", default="")
    note = made.box.children[1]
    assert note.layout.display == "none"
    made.tell("<b>no & never</b>")
    assert "&lt;b&gt;no &amp; never&lt;/b&gt;" in note.value
    assert note.layout.display is None
    made.tell("")
    assert [note.value, note.layout.display] == ["", "none"]


def test_titles_are_texts() -> None:
    """No HTML of an author's title or tooltip is taken for that."""
    control = field("STRING", title="<img src=x>", description="<i>", default="").controls[0]
    assert control.description == "<img src=x>"
    assert not control.description_allow_html
    assert control.tooltip == "it: <i>"
