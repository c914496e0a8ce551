"""Values of an app: told right from wrong before anything is sent, all that is wrong at once."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convert_files import catalog
from PIL import Image
from test_apps_names import SD15, app, graph

from comfy_async import App, NodeCatalog, UnknownInputError, Workflow

NAMES = {"prompt": "6.text", "seed": "3.seed", "cfg": "3.cfg", "sampler": "3.sampler_name"}


def named() -> App:
    """Return an app with a text, a seed, a number and a choice."""
    return app(inputs=NAMES)


def with_photo(**node: Any) -> App:
    """Return an app with a picture to load; its file is not on the server."""
    made = graph()
    made["20"] = {"class_type": "LoadImage", "inputs": {"image": "mine.png", **node}}
    return app(made, inputs={"photo": "20.image", "prompt": "6.text"})


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({"seed": 2**64 - 1}, 2**64 - 1),
        ({"seed": 3.0}, 3),
        ({"seed": np.int64(5)}, 5),
        ({"seed": np.uint64(2**64 - 1)}, 2**64 - 1),
        ({"cfg": 7}, 7),
        ({"cfg": np.float32(1.5)}, 1.5),
        ({"prompt": ""}, ""),
        ({"prompt": np.str_("x")}, "x"),
        ({"prompt": "['6', 0]"}, "['6', 0]"),
        ({"prompt": "random"}, "random"),
        ({"sampler": "heun"}, "heun"),
    ],
)
def test_right_values_are_sent(values: dict[str, Any], sent: Any) -> None:
    """In plain JSON types: a whole float is a whole number, a number of numpy's a number."""
    (name,) = values
    found = named().workflow(**values).get(*named().inputs[name].targets[0])
    assert found == sent
    assert type(found) is type(sent)


@pytest.mark.parametrize(
    ("values", "type", "told"),
    [
        ({"seed": 2**64}, "value_bigger_than_max", "seed: 18446744073709551616 is too large; the maximum is"),
        ({"seed": -1}, "value_smaller_than_min", "seed: -1 is too small; the minimum is 0"),
        ({"seed": 10**5000}, "value_bigger_than_max", "a whole number of 16,610 bits is too large"),
        ({"seed": 3.5}, "invalid_input_type", "3.5 (float) is not a whole number"),
        ({"seed": True}, "invalid_input_type", "True (bool) is not a whole number"),
        ({"seed": "8"}, "invalid_input_type", "'8' (str) is not a whole number"),
        ({"cfg": False}, "invalid_input_type", "False (bool) is not a number"),
        ({"cfg": np.bool_(True)}, "invalid_input_type", "True (bool) is not a number"),
        ({"cfg": math.nan}, "invalid_input_type", "nan (float) is not a number"),
        ({"cfg": math.inf}, "invalid_input_type", "inf (float) is not a number"),
        ({"cfg": np.float64("nan")}, "invalid_input_type", "nan is not a number"),
        ({"cfg": np.array([1.0])}, "invalid_input_type", "is not a number"),
        ({"cfg": None}, "invalid_input_type", "cfg: None is not a number"),
        ({"prompt": None}, "invalid_input_type", "prompt: None is not a text"),
        ({"prompt": ["6", 0]}, "invalid_input_type", "['6', 0] (list) is not a text"),
        ({"prompt": b"x"}, "invalid_input_type", "b'x' (bytes) is not a text"),
        ({"prompt": 7}, "invalid_input_type", "7 (int) is not a text"),
        ({"sampler": "eulr"}, "value_not_in_list", "'eulr' is none of the 44 choices; nearest: 'euler'"),
        ({"sampler": 3}, "value_not_in_list", "3 is none of the 44 choices"),
        ({"sampler": ["euler"]}, "value_not_in_list", "is none of the 44 choices"),
        ({"sampler": "random"}, "value_not_in_list", "'random' is none of"),
        ({"promt": "x"}, "unknown_input", "the app has no input 'promt'; nearest: 'prompt'"),
        ({"": "x"}, "unknown_input", "the app has no input ''; it has prompt, seed, cfg, sampler"),
    ],
)
def test_wrong_values_are_told(values: dict[str, Any], type: str, told: str) -> None:
    """With ComfyUI's own word for it, the app's name for the input, and what comes near."""
    with pytest.raises(UnknownInputError) as caught:
        named().workflow(**values)
    (problem,) = caught.value.problems
    assert (problem.type, problem.input) == (type, next(iter(values)))
    assert told in str(caught.value)
    assert "nothing was sent" in str(caught.value)
    assert named().check(**values) == [problem]


def test_all_that_is_wrong_is_told_at_once() -> None:
    """One error, a line for each."""
    with pytest.raises(UnknownInputError) as caught:
        with_photo().workflow(promt="x", prompt=5)
    assert [(one.input, one.type) for one in caught.value.problems] == [
        ("promt", "unknown_input"),
        ("photo", "required_input_missing"),
        ("prompt", "invalid_input_type"),
    ]
    assert caught.value.candidates[0] == "prompt"
    assert "photo: no image file is given, and it takes one" in str(caught.value)


def test_what_is_not_given_stays_as_it_is() -> None:
    """Every value of the workflow, the seed too."""
    assert named().workflow().to_api() == Workflow.load(SD15).to_api()


def test_a_seed_is_drawn_only_when_it_is_asked_for() -> None:
    """`random` draws one within the range, as the editor does: anew each time."""
    drawn = {named().workflow(seed="random").get("3", "seed") for _ in range(4)}
    assert len(drawn) > 1
    assert all(0 <= seed <= 2**50 for seed in drawn)


@pytest.mark.parametrize(
    "value",
    [
        b"\x89PNG\r\n\x1a\n",
        bytearray(b"x"),
        Image.new("RGB", (2, 2)),
        np.zeros((2, 2, 3), np.uint8),
        io.BytesIO(b"x"),
        SD15,
    ],
    ids=["bytes", "bytearray", "Pillow", "array", "open file", "path"],
)
def test_pictures_wait_for_their_upload(value: Any) -> None:
    """In whatever form they are given."""
    assert list(with_photo().workflow(photo=value).uploads()) == [("20", "image")]


def test_names_of_files_and_data_uris() -> None:
    """A text is the name of a file that the server has; a data: URI is its content."""
    assert with_photo().workflow(photo="sub/other.png [temp]").get("20", "image") == "sub/other.png [temp]"
    made = with_photo().workflow(photo="data:image/png;base64,eA==")
    assert made.uploads() == {("20", "image"): b"x"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("https://x.org/y.png", "is a URL, and files are not downloaded. Download it"),
        ("s3://bucket/y.png", "is a URL"),
        (Path("https://x.org/y.png"), "is a URL"),
        (Path("nowhere.png"), "photo: the file 'nowhere.png' does not exist"),
        (Path(), "photo: the file '.' is a folder"),
        (b"", "the file is empty"),
        ("", "'' (str) is not a file name"),
        (5, "5 (int) is not a file (image). Give a path (pathlib.Path), bytes"),
        (["20", 0], "['20', 0] (list) is not a file (image)"),
        (np.float64(1), "(float64) is not a file (image)"),
    ],
)
def test_what_is_no_picture_is_refused(value: Any, told: str) -> None:
    """An address above all: whoever wants it fetches it himself."""
    with pytest.raises(UnknownInputError) as caught:
        with_photo().workflow(photo=value)
    assert told in str(caught.value)


def test_pictures_are_no_sounds() -> None:
    """A sound goes in as a path, bytes or an open file."""
    made = graph()
    made["20"] = {"class_type": "LoadAudio", "inputs": {"audio": "x.mp3"}}
    found = app(made, inputs={"song": "20.audio"})
    assert found.inputs["song"].upload == "audio"
    assert found.workflow(song=b"ID3").uploads()
    with pytest.raises(
        UnknownInputError, match=r"is not a file \(audio\). Give a path, bytes or an open file"
    ):
        found.workflow(song=Image.new("RGB", (2, 2)))


def test_a_file_that_the_server_has_is_a_default() -> None:
    """One that it has not must be given."""
    assert with_photo().inputs["photo"].required
    there = with_photo(image="example.png").inputs["photo"]
    assert (there.required, there.default) == (False, "example.png")
    assert not with_photo(image="sub/mine.png").inputs["photo"].required


def test_paths_of_choices_are_spelled_as_the_server_does() -> None:
    """`\\` and `/` are the same."""
    info = {"Load": {"input": {"required": {"name": [["a\\b.pt", "c.pt"]]}}, "output_node": True}}
    found = App.load({"1": {"class_type": "Load", "inputs": {"name": "a/b.pt"}}}, NodeCatalog(info))
    (name,) = found.inputs
    assert found.inputs[name].default == "a\\b.pt"
    assert found.workflow(**{name: "a/b.pt"}).get("1", "name") == "a\\b.pt"


def test_choices_that_are_no_texts() -> None:
    """True is not 1, and 1 is not "1"; a text of a form is what it stands for."""
    info = {"Pick": {"input": {"required": {"how": [[1, 2, True, "1"]]}}, "output_node": True}}
    found = App.load(
        {"1": {"class_type": "Pick", "inputs": {"how": 2}}}, NodeCatalog(info), inputs={"how": "1.how"}
    )
    assert found.workflow(how=1).get("1", "how") == 1
    assert found.workflow(how=True).get("1", "how") is True
    assert found.workflow(how="1").get("1", "how") == "1"
    assert found.check(how=False)
    assert found.inputs["how"].parse("2") == 2


def test_a_list_is_never_a_link() -> None:
    """Whatever a caller gives: the graph is the author's."""
    info = {
        "Draw": {"input": {"required": {"boxes": ["BOUNDING_BOX", {"default": []}]}}, "output_node": True}
    }
    found = App.load(
        {"1": {"class_type": "Draw", "inputs": {"boxes": {"__value__": []}}}},
        NodeCatalog(info),
        inputs={"boxes": "1.boxes"},
    )
    assert found.inputs["boxes"].default == []
    assert found.workflow(boxes=["1", 0]).to_api()["1"]["inputs"]["boxes"] == {"__value__": ["1", 0]}
    with pytest.raises(UnknownInputError, match="is not a value"):
        found.workflow(boxes=None)


def test_a_choice_that_brings_other_inputs() -> None:
    """What it brings has its defaults, what it takes away is gone, and ranges are those of the choice."""
    resize = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {
            "class_type": "ResizeImageMaskNode",
            "inputs": {
                "input": ["1", 0],
                "resize_type": "scale dimensions",
                "resize_type.width": 64,
                "resize_type.height": 32,
                "resize_type.crop": "center",
                "scale_method": "area",
            },
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }
    found = app(resize, inputs={"how": "2.resize_type", "width": "2.resize_type.width"})
    made = found.workflow(how="scale by multiplier")
    assert made.to_api()["2"]["inputs"] == {
        "input": ["1", 0],
        "resize_type": "scale by multiplier",
        "resize_type.multiplier": 1.0,
        "scale_method": "area",
    }
    assert found.workflow(width=96).get("2", "resize_type.width") == 96
    with pytest.raises(UnknownInputError, match="there is no 'resize_type.width' with these choices"):
        found.workflow(how="scale by multiplier", width=96)
    assert found.check(how="scale by nothing")[0].type == "value_not_in_list"


def test_the_index_of_a_choice_of_ones_own_follows() -> None:
    """CustomCombo sends which of its options was chosen, beside the option."""
    made = graph()
    made["30"] = {
        "class_type": "CustomCombo",
        "inputs": {"choice": "one", "index": 0, "option1": "one", "option2": "two", "option3": ""},
    }
    found = app(made, inputs={"which": "30.choice"})
    assert found.inputs["which"].choices == ("one", "two")
    inputs = found.workflow(which="two").to_api()["30"]["inputs"]
    assert (inputs["choice"], inputs["index"]) == ("two", 1)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", " 7 ", 7),
        ("seed", "random", "random"),
        ("seed", "18446744073709551615", 2**64 - 1),
        ("cfg", "1e1", 10.0),
        ("cfg", "x", "x"),
        ("prompt", "7", "7"),
        ("prompt", " true ", " true "),
        ("sampler", "euler", "euler"),
        ("sampler", "EULER", "EULER"),
    ],
)
def test_texts_of_forms_are_read(name: str, text: str, value: Any) -> None:
    """As numbers where numbers are wanted; what means nothing stays a text, to be refused."""
    found = named().inputs[name].parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), (" no ", False), ("0", False), ("maybe", "maybe")]
)
def test_yes_and_no_are_read(text: str, value: Any) -> None:
    """`"false"` is no truth."""
    info = {"Flag": {"input": {"required": {"on": ["BOOLEAN", {"default": True}]}}, "output_node": True}}
    found = App.load(
        {"1": {"class_type": "Flag", "inputs": {"on": True}}}, NodeCatalog(info), inputs={"on": "1.on"}
    )
    assert found.inputs["on"].parse(text) is value or found.inputs["on"].parse(text) == value
    assert found.check(on=1)[0].message == "on: 1 (int) is not true or false"
    assert found.workflow(on=np.bool_(False)).get("1", "on") is False


def test_an_input_that_the_file_lacks_gets_its_default() -> None:
    """The class's own, where nothing is given."""
    made = graph()
    del made["5"]["inputs"]["batch_size"]
    found = app(made, inputs={"count": "5.batch_size"})
    assert found.inputs["count"].default == 1
    assert found.workflow().get("5", "batch_size") == 1
    assert found.workflow(count=3).get("5", "batch_size") == 3


def test_ranges_of_several_places_suit_all() -> None:
    """The largest least and the least largest."""
    found = app(inputs={"n": ["5.width", "3.steps"]}).inputs["n"]
    assert (found.minimum, found.maximum) == (16, 10000)


def test_a_class_that_nobody_knows_takes_what_stands_there() -> None:
    """The value tells the type."""
    found = app(
        {**graph(), "30": {"class_type": "Unheard", "inputs": {"x": 2, "y": "z"}}}, inputs={"x": "30.x"}
    )
    assert found.inputs["x"].type == "INT"
    assert found.check(x="3")
    assert catalog() is found.catalog
