"""What polling brings: answers of any shape are read, or prove nothing."""

from __future__ import annotations

from typing import Any

import pytest
import wire_frames as wire

from comfy_async import events as ev
from comfy_async._protocol.snapshot import (
    history_events,
    parse_history,
    parse_job,
    parse_jobs,
    parse_queue,
)


def test_the_recorded_queue() -> None:
    """Running and waiting jobs with their numbers, graphs and extra data."""
    snapshot = parse_queue(wire.answer("pending_job_deleted", "/queue"))
    assert len(snapshot.entries) == 2
    running = [entry for entry in snapshot.entries.values() if entry.running]
    assert len(running) == 1
    for entry in snapshot.entries.values():
        assert entry.prompt
        assert entry.extra_data is not None
        assert "client_id" in entry.extra_data


def test_positions_rank_by_number() -> None:
    """The pending list is a raw heap: the order of the list says nothing."""
    body = {
        "queue_running": [[0, "run", {}, {}, []]],
        "queue_pending": [[9, "last", {}, {}, []], [-3, "front", {}, {}, []], [5, "mid", {}, {}, []]],
    }
    snapshot = parse_queue(body)
    positions = {name: snapshot.positions().get(name) for name in ("run", "front", "mid", "last", "nobody")}
    assert positions == {"run": 0, "front": 1, "mid": 2, "last": 3, "nobody": None}


def test_the_cloud_swaps_columns() -> None:
    """Outputs before extra data: both are told by their kind."""
    row = [1, "p", {"1": {}}, ["9"], {"create_time": 3}]
    entry = parse_queue({"queue_running": [], "queue_pending": [row]}).entries["p"]
    assert (entry.prompt, entry.extra_data) == ({"1": {}}, {"create_time": 3})


@pytest.mark.parametrize("number", [None, "x", float("nan"), 10**400, True])
def test_odd_numbers(number: Any) -> None:
    """A place that cannot be read is the last, or a number; nothing raises."""
    body = {"queue_running": [], "queue_pending": [[number, "odd"], [1.0, "first"]]}
    snapshot = parse_queue(body)
    assert sorted(snapshot.positions().items(), key=lambda item: item[1])[0][1] == 0
    assert set(snapshot.positions().values()) == {0, 1}


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "x",
        {},
        {"queue_running": []},
        {"queue_running": [], "queue_pending": None},
        {"queue_running": [5], "queue_pending": []},
        {"queue_running": [[1]], "queue_pending": []},
        {"queue_running": [[1, 2]], "queue_pending": []},
    ],
)
def test_a_queue_of_another_shape(body: Any) -> None:
    """Such an answer is an error, never an empty queue."""
    with pytest.raises(ValueError, match="queue"):
        parse_queue(body)


def test_jobs() -> None:
    """The jobs API says the same in fewer bytes; what is over is left out."""
    body = {
        "jobs": [
            {"id": "a", "status": "in_progress", "priority": 1},
            {"id": "b", "status": "pending", "priority": 2},
            {"id": "c", "status": "pending"},
            {"id": "d", "status": "completed", "priority": 0},
        ],
        "pagination": {"has_more": False},
    }
    snapshot = parse_jobs(body)
    assert {name: entry.running for name, entry in snapshot.entries.items()} == {
        "a": True,
        "b": False,
        "c": False,
    }
    assert [snapshot.positions().get(name) for name in "abcd"] == [0, 1, 2, None]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"jobs": {}},
        {"jobs": [1]},
        {"jobs": [{"id": 5}]},
        {"jobs": [], "pagination": {"has_more": True}},
    ],
)
def test_jobs_of_another_shape(body: Any) -> None:
    """An answer that is odd or not whole proves nothing."""
    with pytest.raises(ValueError, match="jobs"):
        parse_jobs(body)


@pytest.mark.parametrize("body", [None, [], "x", {"p": 5}, {"another": {}}])
def test_a_history_of_another_shape(body: Any) -> None:
    """Such an answer is an error, never an absence."""
    with pytest.raises(ValueError, match="history"):
        parse_history(body, "p")


def test_an_absent_history() -> None:
    """The empty object means that the server has no such entry."""
    assert parse_history({}, "p") is None


def test_the_recorded_history() -> None:
    """Every part of an entry, and the events that it stands for."""
    name = "text_to_image"
    prompt_id = wire.first_job(name)
    entry = parse_history(wire.answer(name, "/history/"), prompt_id)
    assert entry is not None
    assert entry.succeeded
    assert entry.prompt == wire.prompt(name)
    assert "client_id" in entry.extra_data
    assert entry.display_nodes == {"9": "9"}
    events = history_events(entry, 7.0)
    assert wire.names(events) == ["Started", "NodesCached", "NodeFinished 9", "Completed"]
    assert {(event.raw, event.received_at, event.prompt_id) for event in events} == {(None, 7.0, prompt_id)}


@pytest.mark.parametrize(
    ("messages", "status_str", "end"),
    [
        ([["execution_success", {}]], "success", ev.Completed),
        ([], "success", ev.Completed),
        ([["execution_error", {"node_id": "3"}]], "error", ev.Failed),
        ([], "error", ev.Failed),
        ([["execution_interrupted", {"node_id": "3"}]], "error", ev.Cancelled),
        (
            [["execution_start", {}], ["execution_interrupted", {}], None, [1, 2], ["x"]],
            "error",
            ev.Cancelled,
        ),
    ],
)
def test_the_end_in_the_history(messages: Any, status_str: str, end: type) -> None:
    """Success, error and interruption, by status and messages."""
    body = {"p": {"status": {"status_str": status_str, "messages": messages}}}
    entry = parse_history(body, "p")
    assert entry is not None
    assert type(history_events(entry, 0.0)[-1]) is end


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"status": None, "outputs": None, "prompt": None, "meta": None},
        {"status": [], "outputs": [], "prompt": {}, "meta": []},
        {"outputs": {"3": [], "4": {"images": []}}, "prompt": [1], "meta": {"4": {"display_node": 4}}},
        {"status": {"messages": "x"}, "prompt": [1, 2, 3, 4], "meta": {"4": None}},
    ],
)
def test_a_hostile_history(value: Any) -> None:
    """What is odd is left out; an entry without a status is an old server's success."""
    entry = parse_history({"p": value}, "p")
    assert entry is not None
    assert type(history_events(entry, 0.0)[-1]) is ev.Completed
    assert all(isinstance(output, dict) for output in entry.outputs.values())


def test_one_job() -> None:
    """Where it stands, its graph when the server tells it, and None once it is over."""
    workflow = {"prompt": {"1": {}}, "extra_data": {"client_id": "me"}}
    job = {"id": "a", "status": "in_progress", "priority": 3, "workflow": workflow}
    entry = parse_job(job)
    assert entry is not None
    assert (entry.prompt_id, entry.number, entry.running) == ("a", 3, True)
    assert (entry.prompt, entry.extra_data) == ({"1": {}}, {"client_id": "me"})
    bare = parse_job({"id": "a", "status": "pending"})
    assert bare is not None
    assert (bare.running, bare.prompt) == (False, None)
    assert parse_job({**job, "status": "cancelled"}) is None
    odd: Any
    for odd in (None, [], {}, {"id": 3}):
        with pytest.raises(ValueError, match="no job"):
            parse_job(odd)
