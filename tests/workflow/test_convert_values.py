"""Converting: which saved value belongs to which input."""

from __future__ import annotations

import datetime
import random
from typing import Any

import pytest
from convert_files import convert, editor, inputs_of, node, one_class, thing

from comfy_async import ConversionError

SAMPLER = ("euler", "karras", 0.5)


def sampler(*values: Any, **fields: Any) -> dict[str, Any]:
    """Return the inputs of a KSampler with these values."""
    return inputs_of(editor([node(3, "KSampler", *values, **fields)]), "3")


def test_values_are_taken_in_order() -> None:
    """The companion of the seed takes a place in the file and none in the prompt."""
    assert sampler(5, "randomize", 7, 1.5, *SAMPLER) == {
        "seed": 5,
        "steps": 7,
        "cfg": 1.5,
        "sampler_name": "euler",
        "scheduler": "karras",
        "denoise": 0.5,
    }


def test_missing_values_are_defaults() -> None:
    """A list that ends early leaves the rest at what the class declares."""
    found = sampler(5, "fixed", 7)
    assert found["steps"] == 7
    assert (found["cfg"], found["denoise"], found["scheduler"]) == (8, 1, "simple")
    assert sampler()["seed"] == 0


def test_a_list_without_companions_is_taken_by_position() -> None:
    """The editor does not guess that a list lacks the companion of the seed (case 04), nor does this."""
    assert sampler(5, 7, 1.5, *SAMPLER) == {
        "seed": 5,
        "steps": 1.5,
        "cfg": "euler",
        "sampler_name": "karras",
        "scheduler": 0.5,
        "denoise": 1,
    }


def test_values_by_name() -> None:
    """`widgets_values` may be an object; `widgets_values_named` alone is not read (rules/57)."""
    values = {"seed": 5, "scheduler": "karras", "preview": {"hidden": True}}
    by_object = inputs_of(editor([node(3, "KSampler", widgets_values=values)]), "3")
    by_names = inputs_of(editor([node(3, "KSampler", widgets_values_named=values)]), "3")
    assert (by_names["seed"], by_names["scheduler"]) == (0, "simple")
    assert (by_object["seed"], by_object["scheduler"], by_object["steps"]) == (5, "karras", 20)
    assert "preview" not in by_object


def test_values_by_a_name_that_nothing_takes() -> None:
    """They are named, with node and class, and left out by choice only; a preview's state is no value."""
    values = {"seed": 5, "lora": "mine.safetensors", "preview": {"hidden": True}}
    file = editor([node(3, "KSampler", widgets_values=values)])
    with pytest.raises(
        ConversionError, match=r"3 \(KSampler\): it has 1 saved value .*'lora': 'mine.safetensors'"
    ):
        inputs_of(file, "3")


def test_a_list_wins_over_names() -> None:
    """The editor itself restores the list, so the list counts where both are."""
    assert sampler(5, "fixed", 7, widgets_values_named={"seed": 6, "steps": 8})["steps"] == 7


def test_null_becomes_the_first_choice() -> None:
    """A choice that was saved as null gets its first value; other values stay null."""
    found = sampler(None, "fixed", 7, 1.5, None, "karras", 1)
    assert found["sampler_name"] == "euler"
    assert found["seed"] is None


def test_old_sampler_names() -> None:
    """`sample_euler` was what the first versions called `euler`."""
    assert sampler(5, "fixed", 7, 1.5, "sample_euler", "karras", 1)["sampler_name"] == "euler"


def test_a_value_that_is_no_choice_is_kept() -> None:
    """Whether a model exists is for the server to say."""
    file = editor([node(4, "CheckpointLoaderSimple", "mine.safetensors")])
    assert inputs_of(file, "4") == {"ckpt_name": "mine.safetensors"}


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        (("seed", "INT"), 2),
        (("noise_seed", "INT", {}), 2),
        (("count", "INT", {}), 1),
        (("count", "INT", {"control_after_generate": True}), 2),
        (("count", "INT", {"control_after_generate": "fixed"}), 2),
        (("seed", "INT", {"control_after_generate": False}), 1),
        (("scale", "FLOAT", {"control_after_generate": True}), 2),
        (("kind", ["a", "b"], {"control_after_generate": True}), 3),
        (("kind", "COMBO", {"options": ["a", "b"], "control_after_generate": True}), 3),
        (("socket", "IMAGE"), 0),
        (("socket", "INT", {"forceInput": True}), 0),
        (("box", "BOUNDING_BOX"), 5),
        (("view", "IMAGECOMPARE"), 0),
        (("mode", ["x"], {"image_upload": True}), 1),
        (("file", "COMBO", {"options": [], "remote": {"route": "/x", "refresh_button": True}}), 3),
        (("odd", "FLOAT,INT", {"widgetType": "FLOAT"}), 1),
    ],
)
def test_companions(spec: Any, places: int) -> None:
    """Each kind of input takes its places in the list, and the next input the one after."""
    values = [*("fixed" for _ in range(places)), "next"]
    found = inputs_of(thing(*values), "1", one_class(spec, ("after", "STRING")))
    assert found["after"] == "next"


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (("a", "INT"), 0),
        (("a", "INT", {"default": 3}), 3),
        (("a", "INT", {"default": None}), 0),
        (("a", "FLOAT", {"default": 2.0}), 2),
        (("a", "BOOLEAN"), False),
        (("a", "STRING"), ""),
        (("a", ["x", "y"]), "x"),
        (("a", "COMBO", {"options": ["x", "y"], "default": "y"}), "y"),
        (("a", "COMBO", {"options": ["x"], "multi_select": True}), {"__value__": []}),
        (("a", "COLOR"), "#000000"),
        (("a", "COLOR", {"options": {"default": "#fff"}}), "#fff"),
        (("a", "COLORS", {"default": ["#fff"]}), {"__value__": ["#fff"]}),
        (("a", "RANGE"), {"min": 0, "max": 1}),
        (("a", "MARKDOWN", {"default": "x"}), ""),
        (("a", "PAINTER"), ""),
        (("a", "COMPOSITOR"), {}),
        (("a", "TEXTAREA", {"options": {"default": "x"}}), "x"),
        (("a", "CHART"), {}),
        (("a", "GALLERIA"), {"__value__": []}),
        (("a", "VIDEO_EDIT", {"features": ["trim"]}), {"trim": {"start_time": 0, "duration": 0}}),
        (("a", "AUDIO_RECORD"), ""),
        (("a", "WEBCAM"), ""),
        (("a", "BOUNDING_BOX"), {"x": 0, "y": 0, "width": 512, "height": 512}),
        (("a", "COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "k", "inputs": {}}]}), "k"),
    ],
)
def test_defaults(spec: Any, value: Any) -> None:
    """A new node has what the class declares, else what the editor begins with."""
    assert inputs_of(thing(), "1", one_class(spec)) == {"a": value}


def test_no_choices_no_value() -> None:
    """A choice without choices has no value to send."""
    assert inputs_of(thing(), "1", one_class(("a", "COMBO", {"options": []}))) == {}


def test_lists_are_wrapped() -> None:
    """A bare list would be a link."""
    assert inputs_of(thing(["4", 0]), "1", one_class(("a", "STRING"))) == {"a": {"__value__": ["4", 0]}}


def test_curves_name_their_type() -> None:
    """The points of a curve come with the word CURVE."""
    found = inputs_of(thing([[0, 0], [1, 1]]), "1", one_class(("a", "CURVE")))
    assert found == {"a": {"__type__": "CURVE", "__value__": [[0, 0], [1, 1]]}}


def test_display_order_decides() -> None:
    """`input_order` is the order of the values, whatever the order of the declaration."""
    classes = one_class(
        ("b", "INT"),
        ("a", "INT"),
        optional=[("c", "INT")],
        input_order={"required": ["a", "b"], "optional": ["c"]},
    )
    assert inputs_of(thing(1, 2, 3), "1", classes) == {"a": 1, "b": 2, "c": 3}


def test_sockets_that_were_widgets() -> None:
    """Before 1.16 a `forceInput` had a value too; a list that counts them has them dropped."""
    classes = one_class(("a", "INT", {"forceInput": True}), ("b", "INT"), ("c", "STRING"))
    assert inputs_of(thing(7, 1, "x"), "1", classes) == {"b": 1, "c": "x"}
    assert inputs_of(thing(1, "x"), "1", classes) == {"b": 1, "c": "x"}


def test_optional_default_input_is_a_socket() -> None:
    """`defaultInput` means `forceInput` on optional inputs, and nothing on required ones."""
    classes = one_class(
        ("a", "INT", {"defaultInput": True}), optional=[("b", "INT", {"defaultInput": True}), ("c", "INT")]
    )
    assert inputs_of(thing(1, 2), "1", classes) == {"a": 1, "c": 2}


SIZE = {"required": {"width": ["INT", {"default": 64}], "inner": ["IMAGE", {}]}}
SCALE = {"required": {"by": ["FLOAT", {"default": 2.5}]}, "optional": {"count": ["INT", {}]}}
NESTED = {
    "required": {
        "sub": ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "p", "inputs": SCALE}]}],
        "z": ["INT", {}],
    }
}
CHOICES = [
    {"key": "size", "inputs": SIZE},
    {"key": "scale", "inputs": SCALE},
    {"key": "nested", "inputs": NESTED},
    {"key": "none", "inputs": {}},
]
DYNAMIC = one_class(("how", "COMFY_DYNAMICCOMBO_V3", {"options": CHOICES}), ("after", "STRING"))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (("size", 8, "t"), {"how": "size", "how.width": 8, "after": "t"}),
        (("scale", 3, 9, "t"), {"how": "scale", "how.by": 3, "how.count": 9, "after": "t"}),
        (
            ("nested", "p", 3, 9, 4, "t"),
            {"how": "nested", "how.sub": "p", "how.sub.by": 3, "how.sub.count": 9, "how.z": 4, "after": "t"},
        ),
        (("none", "t"), {"how": "none", "after": "t"}),
        ((), {"how": "size", "how.width": 64, "after": ""}),
        ((None,), {"how": "size", "how.width": 64, "after": ""}),
    ],
)
def test_a_choice_brings_its_own_inputs(values: Any, wanted: Any) -> None:
    """The values of a choice's own inputs follow it, at any depth."""
    assert inputs_of(thing(*values), "1", DYNAMIC) == wanted


def test_a_choice_by_name() -> None:
    """Named values reach the inputs of a choice too."""
    values = {"after": "t", "how.by": 3, "how": "scale"}
    found = inputs_of(thing(widgets_values=values), "1", DYNAMIC)
    assert found == {"how": "scale", "how.by": 3, "how.count": 0, "after": "t"}


def test_the_companion_of_a_choice_stays() -> None:
    """The editor never removes the companion of a seed that a choice brought, nor counts it out.

    Seen in frontend 1.49.6: with the first choice as the default, its companion is there twice.
    """
    seeded = {"required": {"seed": ["INT", {"control_after_generate": True}]}}
    options = [{"key": "a", "inputs": seeded}, {"key": "b", "inputs": {}}]
    classes = one_class(("how", "COMFY_DYNAMICCOMBO_V3", {"options": options}), ("after", "STRING"))
    found = inputs_of(thing("a", 9, "fixed", "fixed", "t"), "1", classes)
    assert found == {"how": "a", "how.seed": 9, "after": "t"}
    assert inputs_of(thing("b", "fixed", "t"), "1", classes) == {"how": "b", "after": "t"}


def test_widgets_in_a_growing_group() -> None:
    """A group of widgets has one more than it needs, each with a value."""
    template = {"input": {"required": {"v": ["STRING", {"default": "d"}]}}, "prefix": "v", "min": 1, "max": 4}
    classes = one_class(("texts", "COMFY_AUTOGROW_V3", {"template": template}), ("n", "INT"))
    assert inputs_of(thing("a", "b", 3), "1", classes) == {"texts.v0": "a", "texts.v1": "b", "n": 3}


def test_a_group_of_pairs() -> None:
    """A group may grow by several inputs at a time: sockets have no value, widgets have."""
    pair = {"required": {"image": ["IMAGE", {}], "weight": ["FLOAT", {"default": 0.5}]}}
    template = {"input": pair, "prefix": "x", "min": 1, "max": 3}
    classes = one_class(("parts", "COMFY_AUTOGROW_V3", {"template": template}), ("n", "INT"))
    found = inputs_of(thing(1, 2, 3), "1", classes)
    assert found == {"parts.weight0": 1, "parts.weight1": 2, "n": 3}
    linked = thing(1, 2, 3, inputs=[("parts.weight1", "FLOAT", 9, "parts.weight1")])
    linked["nodes"].append(node(5, "Thing"))
    linked["links"] = [[9, 5, 0, 1, 0, "FLOAT"]]
    found = inputs_of(linked, "1", classes)
    assert found == {"parts.weight0": 1, "parts.weight1": ["5", 0], "parts.weight2": 0.5, "n": 3}


def test_one_colour_is_one_widget() -> None:
    """A colour that a choice brings again is not made again."""
    again = {"required": {"shade": ["COLOR", {}]}}
    options = [{"key": "a", "inputs": again}, {"key": "b", "inputs": again}]
    classes = one_class(("how", "COMFY_DYNAMICCOMBO_V3", {"options": options}))
    assert inputs_of(thing("b", "#123"), "1", classes) == {"how": "b", "how.shade": "#123"}


def test_options_come_and_go() -> None:
    """Emptying the last text of a CustomCombo takes its empty successor away again."""
    found = inputs_of(editor([node(1, "CustomCombo", "a", 0, "a", "", "")]), "1")
    assert found == {"choice": "a", "index": 0, "option1": "a", "option2": ""}


def test_audio_players_are_the_editors() -> None:
    """Players are neither saved nor sent; the upload button behind one is saved."""
    classes = one_class(("audio", "COMBO", {"options": [], "audio_upload": True}), ("n", "INT"))
    assert inputs_of(thing("a.mp3", 4, ""), "1", classes) == {"audio": "a.mp3", "n": 4}
    found = inputs_of(editor([node(1, "SaveAudioMP3", "out", "V0")]), "1")
    assert found == {"filename_prefix": "out", "quality": "V0"}


def test_odd_declarations() -> None:
    """What a class declares wrongly becomes a socket, and harms nothing else."""
    classes = one_class(("a", 5), ("b",), ("c", "INT", None), ("d", "COMFY_AUTOGROW_V3", {}), input_order=7)
    assert inputs_of(thing(4), "1", classes) == {"c": 4}
    plain = {"Thing": {"input": {"required": {"a": "INT"}}, "output": [["x"], "*"], "output_name": None}}
    assert inputs_of(thing(4), "1", plain) == {"a": 4}
    assert inputs_of(thing(4), "1", {"Thing": {}}, lost="keep") == {}


def test_upload_button() -> None:
    """LoadImage saves the word of its button, which means nothing."""
    assert inputs_of(editor([node(1, "LoadImage", "a.png", "image")]), "1") == {"image": "a.png"}


def test_custom_combo() -> None:
    """CustomCombo sends its options, one empty one more, and the place of the choice."""
    found = inputs_of(editor([node(1, "CustomCombo", "b", 1, "a", "b", "")]), "1")
    assert found == {"choice": "b", "index": 1, "option1": "a", "option2": "b", "option3": ""}
    assert inputs_of(editor([node(1, "CustomCombo", "zz", 0, "a", "")]), "1")["index"] == -1


def encode(text: Any, **options: Any) -> Any:
    """Return what CLIPTextEncode gets to see of a text."""
    return inputs_of(editor([node(6, "CLIPTextEncode", text)]), "6", **options)["text"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("one {only} way", "one only way"),
        (r"\{kept\} \| a\b", r"{kept} | a\b"),
        ("a // comment\nb /* two\nlines */ c", "a \nb  c"),
        ("nested {{deep}}", "nested deep"),
        ("open {end", "open end"),
        (r"{one\|more} {in {side}}", "one|more in side"),
        ("empty {}", "empty "),
        ("close } alone", "close } alone"),
        ("trailing \\", "trailing \\"),
        (None, ""),
    ],
)
def test_prompts_are_prepared_as_the_editor_does(text: Any, wanted: str) -> None:
    """Comments go, escapes are undone, and a block of one alternative is that alternative."""
    assert encode(text) == wanted


def test_alternatives_are_chosen_at_random() -> None:
    """Each alternative comes up, and the same generator chooses the same ones."""
    seen = {encode("{a|{b|c}|d}", rng=random.Random(seed)) for seed in range(60)}
    assert seen == {"a", "b", "c", "d"}
    assert encode("{a|b|c}{a|b|c}", rng=random.Random(7)) == encode("{a|b|c}{a|b|c}", rng=random.Random(7))


def test_only_prompts_have_alternatives() -> None:
    """A text that is no prompt keeps its braces."""
    assert inputs_of(thing("{a|b}"), "1", one_class(("t", "STRING", {"multiline": True}))) == {"t": "{a|b}"}


NOW = datetime.datetime(2026, 3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("plain", "plain"),
        ("%date:yyyy-MM-dd hh:mm:ss%", "2026-03-04 05:06:07"),
        ("%date:yy/M/d h-m-s%", "26/3/4 5-6-7"),
        ("%EmptyImage.width%x%Sky.height%", "64x32"),
        ("%width% %Nope.width% %Sky.nope%", "%width% %Nope.width% %Sky.nope%"),
        ("%Words.value%", "a_b_c"),
        ("%Flag.value%", "true"),
        ("100 %", "100 %"),
    ],
)
def test_file_names_are_filled_in(name: str, wanted: str) -> None:
    """Dates and values of other nodes go into the names of saved files."""
    nodes = [
        node(1, "EmptyImage", 64, 32, 1, 0, title="Sky"),
        node(2, "PrimitiveString", "a/b:c", title="Words"),
        node(3, "PrimitiveBoolean", True, title="Flag"),
        node(9, "SaveImage", name),
    ]
    assert inputs_of(editor(nodes), "9", now=NOW)["filename_prefix"] == wanted


def test_titles() -> None:
    """The title in the editor, else the name that the class is shown with."""
    file = editor([node(1, "KSampler", title="Mine"), node(2, "KSampler", title="")])
    found = convert(file)
    assert [found[id]["_meta"]["title"] for id in ("1", "2")] == ["Mine", "KSampler"]
    assert convert(thing(), one_class(display_name="A thing"))["1"]["_meta"] == {"title": "A thing"}
