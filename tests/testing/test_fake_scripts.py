"""Node classes that a test defines, and gates to stop them at."""

from __future__ import annotations

from typing import Any

import pytest
from bare_client import Graph, bare


def scripted_graph(**inputs: Any) -> Graph:
    """Return a graph of one scripted output node."""
    return {"1": {"class_type": "Mine", "inputs": inputs}}


async def test_a_class_can_be_read_and_used() -> None:
    """A scripted class is in object_info, reports its steps and texts, and shows its output."""
    shown = {"images": [{"filename": "a.png", "subfolder": "", "type": "temp"}], "seed": [7]}
    async with bare() as client, client.socket() as socket:
        client.fake.script(
            "Mine",
            inputs={"strength": ("FLOAT", {"default": 1.0}), "mode": ["a", "b"]},
            steps=2,
            text=["loading", "done"],
            messages=[("my.event", {"x": 1})],
            output=shown,
        )
        info = (await client.get("/object_info/Mine"))["Mine"]
        entry = await client.run(scripted_graph(strength=2, mode="a"), client_id="me")
        frames = await socket.until("end")
    assert info["input"]["required"] == {"strength": ["FLOAT", {"default": 1.0}], "mode": [["a", "b"]]}
    assert info["output_node"]
    assert entry["outputs"] == {"1": shown}
    assert [frame for frame in frames if isinstance(frame, bytes)] == [
        b"\x00\x00\x00\x03\x00\x00\x00\x011loading",
        b"\x00\x00\x00\x03\x00\x00\x00\x011done",
    ]
    texts = [frame for frame in frames if isinstance(frame, dict)]
    assert {"type": "my.event", "data": {"x": 1}} in texts
    assert [frame["data"]["value"] for frame in texts if frame["type"] == "progress"] == [1, 2]


async def test_outputs_made_from_inputs() -> None:
    """`returns` and `output` may depend on what the node gets."""
    graph: Graph = {
        "1": {"class_type": "Double", "inputs": {"x": 21}},
        "2": {"class_type": "Mine", "inputs": {"x": ["1", 0]}},
    }
    async with bare() as client:
        client.fake.script(
            "Double", inputs={"x": "INT"}, outputs=("INT",), returns=lambda got: [2 * got["x"]]
        )
        client.fake.script("Mine", inputs={"x": "INT"}, output=lambda got: {"text": [str(got["x"])]})
        entry = await client.run(graph)
    assert entry["outputs"] == {"2": {"text": ["42"]}}


async def test_scripted_nodes_run_each_time_unless_told_otherwise() -> None:
    """`cached=True` makes a class that is answered from the cache."""
    async with bare() as client:
        for cached, executed in ((False, ["1"]), (True, [])):
            client.fake.script("Mine", cached=cached)
            await client.run(scripted_graph())
            await client.run(scripted_graph())
            assert client.fake.books.accepted[-1].executed == executed


async def test_a_cached_node_that_showed_nothing_sends_null() -> None:
    """The `executed` of a cached output node without an output has none."""
    async with bare() as client, client.socket() as socket:
        client.fake.script("Mine", cached=True)
        await client.run(scripted_graph(), client_id="me")
        await socket.until("end")
        await client.run(scripted_graph(), client_id="me")
        frames = await socket.until("executed")
    assert frames[-1]["data"]["output"] is None


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (("comfy.Odd", "boom"), "comfy.Odd", "boom\n"),
        (ValueError("bad value"), "ValueError", "bad value\n"),
        ("oom", "torch.OutOfMemoryError", "Allocation on device\n"),
    ],
)
async def test_errors(error: Any, kind: str, message: str) -> None:
    """A scripted failure ends the run as a node's exception does."""
    async with bare() as client, client.socket() as socket:
        client.fake.script("Mine", inputs={"x": "INT"}, steps=3, error=error, error_at=2)
        entry = await client.run(scripted_graph(x=5), client_id="me")
        frames = await socket.until("execution_error")
        assert client.fake.books.ends(entry["prompt"][1]) == ["error"]
        assert client.fake.books.accepted[0].told == "error"
    data = frames[-1]["data"]
    assert (data["exception_type"], data["exception_message"]) == (kind, message)
    assert data["current_inputs"] == {"x": [5]}
    assert data["traceback"]
    assert [frame["data"]["value"] for frame in frames if frame["type"] == "progress"] == [1, 2]
    assert entry["status"]["status_str"] == "error"


async def test_a_blocked_output_is_no_end() -> None:
    """The first node behind a block tells of it, the others stay silent, and the run succeeds."""
    graph: Graph = {
        "1": {"class_type": "Block", "inputs": {}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    async with bare() as client, client.socket() as socket:
        client.fake.script("Block", outputs=("IMAGE",), error="blocked")
        entry = await client.run(graph, client_id="me")
        frames = await socket.until("end")
    (error,) = [frame["data"] for frame in frames if frame["type"] == "execution_error"]
    assert (error["node_id"], error["exception_type"]) == ("2", "ExecutionBlocked")
    assert "timestamp" not in error
    assert entry["status"]["completed"]
    assert [message[0] for message in entry["status"]["messages"]][-1] == "execution_success"


async def test_delay_and_gates() -> None:
    """A node can be slow, and be stopped before a step of one prompt or node only."""
    async with bare() as client:
        client.fake.script("Mine", steps=3, delay=0.01)
        other = client.fake.gate("Mine", step=2, prompt_id="another")
        gate = client.fake.gate("Mine", step=2, node="1")
        prompt_id = await client.submit(scripted_graph())
        assert await gate.reached() == prompt_id
        record = client.fake.books.accepted[0]
        assert record.end is None
        gate.open()
        gate.open()
        await client.fake.ended(prompt_id)
        assert other.prompt_ids == []
        assert record.finished_at - record.started_at >= 0.01
        second = await client.submit(scripted_graph())
        await client.fake.ended(second)
        client.fake.core.gates.open_all()


async def test_a_node_that_expands_into_others() -> None:
    """The inner nodes run under ids of their own and are displayed as the outer one."""
    graph: Graph = {
        "7": {"class_type": "Outer", "inputs": {"x": "hello"}},
        "8": {"class_type": "PreviewAny", "inputs": {"source": ["7", 0]}},
    }

    def expansion(inputs: dict[str, Any]) -> Graph:
        return {
            "1": {"class_type": "PrimitiveString", "inputs": {"value": inputs["x"] + "!"}},
            "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
        }

    async with bare() as client, client.socket() as socket:
        client.fake.script(
            "Outer",
            inputs={"x": "STRING"},
            outputs=("STRING",),
            expands=expansion,
            returns=lambda _: [["1", 0]],
        )
        entry = await client.run(graph, client_id="me")
        frames = await socket.until("end")
    executing = [frame["data"] for frame in frames if frame["type"] == "executing"]
    assert [(data["node"], data.get("display_node")) for data in executing] == [
        *[("7", "7"), ("7.0.0.1", "7"), ("7.0.0.2", "7"), ("8", "8")],
        (None, None),
    ]
    assert entry["outputs"] == {"7.0.0.2": {"text": ["hello!"]}, "8": {"text": ["hello!"]}}
    assert entry["meta"]["7.0.0.2"] == {
        "node_id": "7.0.0.2",
        "display_node": "7",
        "parent_node": "7",
        "real_node_id": "7",
    }
    states = [frame["data"]["nodes"] for frame in frames if frame["type"] == "progress_state"]
    assert states[-1]["7.0.0.1"]["parent_node_id"] == "7"
    assert {node: state["state"] for node, state in states[4].items()} == {
        "7": "running",
        "7.0.0.1": "finished",
        "7.0.0.2": "finished",
    }


async def test_an_error_inside_an_expansion_is_told_of_the_outer_node() -> None:
    """People can only find nodes that they submitted."""
    async with bare() as client:
        client.fake.script("Inner", error=("ValueError", "inside"))
        client.fake.script("Mine", expands=lambda _: {"1": {"class_type": "Inner", "inputs": {}}})
        entry = await client.run(scripted_graph())
    event, data = entry["status"]["messages"][-1]
    assert (event, data["node_id"], data["node_type"]) == ("execution_error", "1", "Mine")
