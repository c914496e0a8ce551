"""What FakeComfy refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from bare_client import Graph, bare, image_graph, sampler_graph, text_graph


async def refusal(graph: Graph, **options: Any) -> dict[str, Any]:
    """Return the body of the 400 that a graph gets."""
    async with bare(**options) as client:
        answer = await client.post(graph)
    assert answer.status_code == 400, answer.text
    body: dict[str, Any] = answer.json()
    return body


def sampler_with(**inputs: Any) -> Graph:
    """Return a sampler graph with other inputs of the sampler."""
    graph = sampler_graph()
    graph["3"]["inputs"] |= inputs
    return graph


@pytest.mark.parametrize(
    ("inputs", "kind", "details"),
    [
        ({"steps": 0}, "value_smaller_than_min", "steps"),
        ({"steps": 10001}, "value_bigger_than_max", "steps"),
        ({"steps": "many"}, "invalid_input_type", "steps, many, invalid literal for int()"),
        ({"steps": None}, "invalid_input_type", "steps, None, int() argument"),
        ({"scheduler": "fast"}, "value_not_in_list", "scheduler: 'fast' not in ['simple',"),
        ({"sampler_name": "fast"}, "value_not_in_list", "sampler_name: 'fast' not in (list of length 44)"),
        ({"model": ["4"]}, "bad_linked_input", "model"),
        (
            {"model": ["4", 1]},
            "return_type_mismatch",
            "model, received_type(CLIP) mismatch input_type(MODEL)",
        ),
    ],
)
async def test_a_bad_input(inputs: dict[str, Any], kind: str, details: str) -> None:
    """Every kind of bad input is named with the node, the input and its class."""
    body = await refusal(sampler_with(**inputs))
    assert body["error"]["type"] == "prompt_outputs_failed_validation"
    entry = body["node_errors"]["3"]
    assert (entry["class_type"], entry["dependent_outputs"]) == ("KSampler", ["9"])
    (error,) = entry["errors"]
    assert error["type"] == kind
    assert error["details"].startswith(details)
    assert error["extra_info"]["input_name"] == next(iter(inputs))


async def test_a_missing_input() -> None:
    """A required input that is not there is named."""
    graph = sampler_graph()
    del graph["6"]["inputs"]["text"]
    body = await refusal(graph)
    (error,) = body["node_errors"]["6"]["errors"]
    assert (error["type"], error["extra_info"]) == ("required_input_missing", {"input_name": "text"})


async def test_a_link_to_nowhere_at_the_output_itself() -> None:
    """The server's own KeyError becomes a complaint about the output node."""
    body = await refusal(image_graph(images=["77", 0]))
    (error,) = body["node_errors"]["2"]["errors"]
    assert (error["type"], error["details"]) == ("exception_during_validation", "'77'")
    assert error["extra_info"]["exception_type"] == "KeyError"
    assert body["error"]["details"] == "Exception when validating node: '77'"


async def test_a_slot_that_does_not_exist() -> None:
    """A link to a slot too many is the server's IndexError, told under the consumer."""
    graph = sampler_with(model=["4", 9])
    body = await refusal(graph)
    (error,) = body["node_errors"]["3"]["errors"]
    assert error["type"] == "exception_during_inner_validation"
    assert error["extra_info"]["linked_node"] == ["3", 0]


async def test_a_file_that_is_not_there() -> None:
    """LoadImage looks for its file itself, in the folder that the name says."""
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "nope.png [output]"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    body = await refusal(graph)
    (error,) = body["node_errors"]["1"]["errors"]
    assert error["type"] == "custom_validation_failed"
    assert error["details"] == "image - Invalid image file: nope.png [output]"


async def test_a_cycle() -> None:
    """Every node of a cycle is blamed, with the way around it."""
    graph: Graph = {
        "1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    body = await refusal(graph)
    assert set(body["node_errors"]) == {"1", "2"}
    (error,) = body["node_errors"]["1"]["errors"]
    assert (error["type"], error["extra_info"]["cycle_nodes"]) == ("dependency_cycle", ["1", "2"])
    assert error["details"] == "1 (ImageInvert) -> 2 (ImageInvert) -> 1 (ImageInvert)"


async def test_a_cycle_in_a_branch_that_is_left_out() -> None:
    """What is wrong beside a good output does not disturb its run."""
    graph = text_graph() | {
        "7": {"class_type": "ImageInvert", "inputs": {"image": ["7", 0]}},
        "8": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}},
    }
    async with bare() as client:
        answer = await client.post(graph)
        assert answer.status_code == 200
        assert set(answer.json()["node_errors"]) == {"7"}
        await client.fake.ended(answer.json()["prompt_id"])
        assert client.fake.books.accepted[0].executed == ["1", "2"]


async def test_a_node_without_a_class() -> None:
    """A node that is not even named is reported by its title."""
    body = await refusal(text_graph() | {"5": {"inputs": {}, "_meta": {"title": "Lost"}}})
    assert body["error"]["type"] == "missing_node_type"
    assert "'Lost' has no class_type" in body["error"]["message"]
    assert body["error"]["extra_info"] == {"node_id": "5", "class_type": None, "node_title": "Lost"}


async def test_values_are_converted_and_unwrapped() -> None:
    """Numbers given as text, and lists given as `__value__`, arrive as what they mean."""
    graph = image_graph()
    graph["1"]["inputs"] |= {"width": "20", "color": {"__value__": 3.0}}
    async with bare() as client:
        entry = await client.run(graph)
    assert entry["prompt"][2]["1"]["inputs"] == {"width": 20, "height": 12, "batch_size": 1, "color": 3}


async def test_unions_and_any_fit() -> None:
    """An input may take several types, or any."""
    graph: Graph = {
        "1": {"class_type": "Source", "inputs": {}},
        "2": {"class_type": "Sink", "inputs": {"one": ["1", 0], "any": ["1", 1], "choice": ["1", 2]}},
        "3": {
            "class_type": "Sink",
            "inputs": {"one": ["1", 1], "choice": "a", "many": {"__value__": ["a", "c"]}},
        },
    }
    async with bare() as client:
        client.fake.script("Source", outputs=("INT", "*", "COMBO"), returns=lambda _: [1, 2, "a"])
        inputs = {"one": "FLOAT,INT", "choice": (["a", "b"],)}
        optional = {"any": "*", "many": ("COMBO", {"options": ["a", "b"], "multiselect": True})}
        client.fake.script("Sink", inputs=inputs, optional=optional)
        answer = await client.post(graph)
    (error,) = answer.json()["node_errors"]["3"]["errors"]
    assert error["details"] == "many: 'c' not in ['a', 'b']"
    assert list(answer.json()["node_errors"]) == ["3"]


@pytest.mark.parametrize("body", [b"no json", b"[1]", b'{"prompt": {"1": {"class_type": []}}}'])
async def test_what_makes_no_sense_is_an_error_of_the_server(body: bytes) -> None:
    """The server stumbles over bodies that it did not expect, with a 500."""
    async with bare() as client:
        assert (await client.http.post("/prompt", content=body)).status_code == 500
