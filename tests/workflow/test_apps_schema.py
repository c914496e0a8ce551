"""What an app says of itself: JSON Schema, a pydantic model, a function tool."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pydantic
import pytest
from convert_files import catalog
from test_apps_names import SD15, app, graph
from test_apps_values import named, with_photo

from comfy_async import App, NodeCatalog
from comfy_async.workflow.apps.schema import input_schema


def test_a_schema_says_what_is_checked() -> None:
    """Types, ranges, choices, defaults, titles; nothing beyond, no further name."""
    schema = named().json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (schema["type"], schema["additionalProperties"], schema["required"]) == ("object", False, [])
    assert schema["properties"]["seed"] == {
        "title": "KSampler",
        "description": "The random seed used for creating the noise.",
        "type": "integer",
        "minimum": 0,
        "maximum": 2**64 - 1,
        "default": 1234,
    }
    sampler = schema["properties"]["sampler"]
    assert (sampler["type"], sampler["default"], len(sampler["enum"])) == ("string", "euler", 44)
    assert json.loads(json.dumps(schema)) == schema


def test_steps_are_no_rule() -> None:
    """The editor counts in them, the server takes every number between: no multipleOf."""
    width = app().inputs["width"]
    assert (width.step, "multipleOf" in input_schema(width)) == (8, False)
    assert app().workflow(width=513).get("5", "width") == 513


def test_a_file_is_a_text_of_a_kind() -> None:
    """And required where the server has none of that name."""
    schema = with_photo().json_schema()
    photo = schema["properties"]["photo"]
    assert (photo["type"], photo["contentMediaType"]) == ("string", "image/*")
    assert (schema["required"], "default" in photo) == (["photo"], False)


def test_a_tool_has_a_name_that_models_take() -> None:
    """ASCII, at most 64 letters; the parameters are the schema's."""
    found = app(name="Портрет einer Füchsin " + "x" * 80).tool()
    assert found["type"] == "function"
    assert found["name"].isascii()
    assert len(found["name"]) <= 64
    assert found["parameters"]["properties"].keys() == app().inputs.keys()
    assert app(name="Портрет").tool()["name"] == "app"
    assert "prompt" in found["description"]


def test_a_model_takes_what_the_app_takes() -> None:
    """By the same rules; what it gives is what the app is called with."""
    model = named().model()
    given = model(prompt="a fox", seed=3.0)
    assert given.model_dump() == {"prompt": "a fox", "seed": 3}
    assert named().workflow(**given.model_dump()).get("3", "seed") == 3
    assert model().model_dump(exclude_unset=False)["seed"] == 1234
    with pytest.raises(pydantic.ValidationError) as caught:
        model(seed=True, sampler="eulr", nope=1, prompt=None)
    assert {error["loc"][0] for error in caught.value.errors()} == {"seed", "sampler", "nope", "prompt"}
    assert "nearest: euler" in str(caught.value)


def test_a_model_has_the_schema_of_the_app() -> None:
    """Choices, ranges, required ones."""
    schema = with_photo().model().model_json_schema()
    assert schema["required"] == ["photo"]
    assert schema["properties"]["photo"]["contentMediaType"] == "image/*"
    ranged = named().model().model_json_schema()["properties"]["seed"]
    assert (ranged["minimum"], ranged["maximum"]) == (0, 2**64 - 1)


def test_names_that_a_model_has_itself() -> None:
    """`json`, `schema`, `model_config`: fields by another name, and by the app's in what it gives."""
    names = ("json", "schema", "copy", "model_config", "model_fields", "model_name", "dict", "validate")
    source = graph()
    for place, _ in enumerate(names):
        source[str(50 + place)] = {"class_type": "PrimitiveInt", "inputs": {"value": place}}
    found = app(source, inputs={name: f"{50 + place}.value" for place, name in enumerate(names)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = found.model()
        values = dict.fromkeys(names, 7)
        assert model(**values).model_dump() == values
    assert found.workflow(**values).get("50", "value") == 7


def test_values_without_a_default_may_be_left_out_of_a_model() -> None:
    """An input that a link feeds: None means nothing is given."""
    source = graph()
    source["30"] = {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "hi"}}
    source["6"]["inputs"]["text"] = ["30", 0]
    found = app(source, inputs={"wish": "6.text"})
    everything = found.model()().model_dump(exclude_unset=False)
    assert everything == {"wish": None}
    assert found.workflow(**everything).get("6", "text") == ["30", 0]


def test_long_lists_of_choices_stay_choices() -> None:
    """Of a model with a thousand files too."""
    files = [f"{number}.pt" for number in range(1000)]
    info = {"Load": {"input": {"required": {"name": [files]}}, "output_node": True}}
    found = App.load({"1": {"class_type": "Load", "inputs": {"name": "5.pt"}}}, NodeCatalog(info))
    (name,) = found.inputs
    assert found.model()(**{name: "7.pt"}).model_dump() == {name: "7.pt"}
    with pytest.raises(pydantic.ValidationError):
        found.model()(**{name: "7000.pt"})


def test_a_description_names_what_goes_in_and_comes_out() -> None:
    """Unless somebody wrote one."""
    assert "It takes prompt" in app().description
    assert app(description="Paints foxes.").tool()["description"] == "Paints foxes."


@pytest.mark.parametrize("source", sorted(Path(SD15).parent.glob("*_api.json")), ids=lambda path: path.stem)
def test_schemas_are_valid(source: Path) -> None:
    """By the meta-schema, where a validator is installed."""
    jsonschema: Any = pytest.importorskip("jsonschema")
    schema = App.load(source, catalog()).json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
