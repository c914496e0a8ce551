"""The life of one job: each lifecycle event once, one end, and nothing invented."""

from __future__ import annotations

import pytest
import wire_frames as wire
from wire_frames import (
    GRAPH,
    IMAGES,
    START,
    SUCCESS,
    executed,
    feed,
    graph,
    new_state,
    of_job,
    preview,
    started,
    states,
    step,
    tell,
)

from comfy_async import events as ev
from comfy_async._protocol.plan import Plan
from comfy_async._protocol.reducer import JobState

CACHED = of_job("execution_cached", nodes=[])


def queued(at: float = 1.0, **data: object) -> ev.Queued:
    """Return the event of POST /prompt's answer."""
    return ev.Queued(b"{}", data, wire.PROMPT_ID, received_at=at)


def test_queued_once() -> None:
    """The answer of POST /prompt is told once, with its number; the job is then pending."""
    state = JobState(wire.PROMPT_ID, Plan(GRAPH))
    assert state.status == "submitting"
    assert not state.wants_history
    (event,) = state.apply(queued(number=7.5, node_errors={"9": {}}))
    assert isinstance(event, ev.Queued)
    assert (event.number, event.node_errors) == (7.5, {"9": {}})
    assert (state.status, state.number, state.queued_at) == ("pending", 7.5, 1.0)
    assert state.apply(queued()) == []


def test_events_before_the_answer() -> None:
    """A job that runs before its POST is answered was accepted, and is not set back to pending."""
    for frame in (START, started("1"), SUCCESS):
        state = JobState(wire.PROMPT_ID, Plan(GRAPH))
        assert feed(state, frame)[:2] == ["Queued", "Started"]
        status = state.status
        assert state.apply(queued(number=4)) == []
        assert state.status == status != "pending"


@pytest.mark.parametrize("frame", [START, CACHED, started("1"), executed("3", IMAGES), SUCCESS])
def test_each_lifecycle_event_once(frame: bytes) -> None:
    """The same message twice is told once."""
    state = new_state(GRAPH)
    feed(state, START)
    feed(state, frame)
    assert feed(state, frame) == []


def test_a_start_is_implied() -> None:
    """Whatever happens to a node proves that the job runs, even when the start was missed."""
    for frame in (CACHED, started("1"), step("2", 1, 4), states(n1="finished"), executed("3"), SUCCESS):
        state = new_state(GRAPH)
        names = feed(state, frame, at=5.0)
        assert names[0] == "Started", frame
        assert state.started_at == 5.0
        assert feed(state, START) == []


def test_titles_reach_the_events() -> None:
    """Events of nodes know the submitted workflow, those of expanded nodes their origin."""
    made = graph(n12="Loop")
    made["12"]["_meta"] = {"title": "My loop"}
    state = new_state(made)
    (start, event) = tell(state, [started("12.0.0.1")])
    assert isinstance(event, ev.NodeStarted)
    assert (start.type, event.node) == ("execution_start", "12.0.0.1")
    assert (event.title, event.class_type) == ("My loop", "Loop")


def test_display_node_finds_the_title() -> None:
    """An id that says nothing of its origin is looked up by the node that the user sees."""
    state = new_state(graph(n7="Group"))
    event = tell(state, [of_job("executing", node="x9", display_node="7")])[-1]
    assert isinstance(event, ev.NodeStarted)
    assert (event.class_type, event.display_node) == ("Group", "7")


def test_expanded_nodes() -> None:
    """A node that expands runs its children under ids of their own, and ends after them."""
    state = new_state(graph(n12="Loop", n13=("SaveImage", {}, "12")))
    names = feed(
        state,
        START,
        CACHED,
        states(n12="running"),
        started("12"),
        states(**{"n12": "running", "n12.0.0.1": "running"}),
        started("12.0.0.1"),
        step("12.0.0.1", 1, 2),
        states(**{"n12": "running", "n12.0.0.1": "finished"}),
        states(**{"n12": "finished", "n12.0.0.1": "finished"}),
        started("13"),
        executed("13", IMAGES),
        SUCCESS,
    )
    assert [name for name in names if not name.startswith("Progress")] == [
        "Started",
        "NodesCached",
        "NodeStarted 12",
        "NodeStarted 12.0.0.1",
        "NodeFinished 12.0.0.1",
        "NodeFinished 12",
        "NodeStarted 13",
        "NodeFinished 13",
        "Completed",
    ]
    assert state.progress(0.0).done == 2


def test_the_states_end_nodes() -> None:
    """A node without an `executed` ends when its state says so, after the state itself."""
    state = new_state(GRAPH)
    feed(state, START, started("1"))
    assert feed(state, states(n1="finished")) == ["ProgressState", "NodeFinished 1"]
    assert feed(state, states(n1="finished", n2="running")) == ["ProgressState"]
    (finished,) = [
        e for e in tell(new_state(GRAPH), [states(n1="finished")]) if isinstance(e, ev.NodeFinished)
    ]
    assert (finished.raw, finished.output, finished.class_type) == (None, None, "EmptyImage")


def test_old_servers_without_states() -> None:
    """Before 0.3.45 the next node's start is what ends a node, and the success ends the last."""
    state = new_state(GRAPH)
    names = feed(
        state,
        START,
        CACHED,
        started("1"),
        started("2"),
        step("2", 1, 4),
        started("3"),
        executed("3"),
        SUCCESS,
    )
    assert names == [
        "Started",
        "NodesCached",
        "NodeStarted 1",
        "NodeFinished 1",
        "NodeStarted 2",
        "Progress 2",
        "NodeFinished 2",
        "NodeStarted 3",
        "NodeFinished 3",
        "Completed",
    ]
    state = new_state(GRAPH)
    assert feed(state, started("4"), SUCCESS)[-2:] == ["NodeFinished 4", "Completed"]


def test_interleaved_async_nodes() -> None:
    """Two nodes at work at once each have their steps, their start and their end."""
    state = new_state(graph(n1=("A", {"steps": 4}), n2=("B", {"steps": 4})))
    feed(state, START, states(n1="running"), started("1"), states(n1="running", n2="running"), started("2"))
    feed(state, step("1", 1, 4), step("2", 1, 4), step("1", 2, 4), step("2", 3, 4))
    assert state.progress(0.0).fraction == pytest.approx(5 / 8, abs=0.01)
    assert feed(state, states(n1="running", n2="finished")) == ["ProgressState", "NodeFinished 2"]
    assert state.running_node == "1"
    assert feed(state, states(n1="finished", n2="finished")) == ["ProgressState", "NodeFinished 1"]


def test_blocked_nodes_end_nothing() -> None:
    """ExecutionBlocked is told, and the run goes on to its success."""
    state = new_state(GRAPH)
    frame = of_job("execution_error", node_id="3", exception_type="ExecutionBlocked", exception_message="no")
    assert feed(state, START, frame, SUCCESS) == ["Started", "NodeBlocked 3", "Completed"]
    assert state.status == "completed"


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (SUCCESS, "completed"),
        (of_job("execution_error", node_id="2", exception_type="ValueError"), "failed"),
        (of_job("execution_interrupted", node_id="2"), "cancelled"),
    ],
)
def test_one_end(frame: bytes, status: str) -> None:
    """The first end stands; whatever comes later is not told."""
    state = new_state(GRAPH)
    feed(state, START, frame, at=8.0)
    assert (state.status, state.ended_at) == (status, 8.0)
    later = [SUCCESS, started("3"), step("3", 1, 1), executed("3"), of_job("execution_interrupted")]
    assert feed(state, *later, of_job("execution_error", exception_type="X"), preview("2")) == []
    assert state.apply(ev.Lost(None, {}, wire.PROMPT_ID)) == []
    assert state.status == status
    assert state.outputs == {}


def test_what_repeats() -> None:
    """Only a further step of a node that is known to run, and a state that says nothing new."""
    state = new_state(GRAPH)
    one, two = wire.decode(step("2", 1, 4)), wire.decode(step("2", 2, 4))
    running = wire.decode(states(n2="running"))
    assert not state.repeats(running)
    feed(state, START, states(n2="running"), started("2"))
    assert not state.repeats(one)
    wire.told(state, [one])
    assert state.repeats(two)
    assert state.progress(0.0).step == 2
    assert isinstance(two, ev.Progress)
    assert two.title == "KSampler"
    assert state.repeats(running)
    assert not state.repeats(wire.decode(states(n2="finished")))
    state.mark_gap()
    assert not state.repeats(running)
    assert not state.repeats(wire.decode(preview("2")))
    feed(state, of_job("execution_interrupted"))
    assert not state.repeats(two)


def test_lost() -> None:
    """What polling finds nowhere is lost."""
    state = new_state(GRAPH)
    assert wire.names(state.apply(ev.Lost(None, {}, wire.PROMPT_ID))) == ["Lost"]
    assert state.status == "lost"


def test_a_failed_job_finishes_nothing() -> None:
    """A node that runs when the job fails is not told as finished."""
    state = new_state(GRAPH)
    failure = of_job("execution_error", node_id="2", exception_type="ValueError")
    assert feed(state, START, started("2"), failure) == ["Started", "NodeStarted 2", "Failed 2"]


def test_output_frames() -> None:
    """PNGs of SaveImageWebsocket are outputs; a sampler's previews are not."""
    state = new_state(GRAPH)
    (work, out, png) = tell(
        state,
        [preview("2"), preview("4", b"\x89PNG", mime="image/png"), preview("2", mime="image/png")],
    )
    assert isinstance(work, ev.Preview)
    assert isinstance(out, ev.Preview)
    assert isinstance(png, ev.Preview)
    assert (work.delivered, out.delivered, png.delivered) == (False, True, False)
    assert state.images == {"4": [out]}


def test_a_preview_of_nobody_is_told() -> None:
    """A preview without a node is shown and kept nowhere."""
    state = new_state(GRAPH)
    event = ev.Preview(b"x", {"image_type": "image/png"}, wire.PROMPT_ID)
    assert state.apply(event) == [event]
    assert state.images == {}


def test_shapes_that_nobody_expects() -> None:
    """Hostile frames about the job end nothing and raise nothing."""
    state = new_state(GRAPH)
    out = feed(
        state,
        of_job("executed", node=None, output=IMAGES),
        of_job("executed", node={"a": 1}, output="none"),
        of_job("executed", node=["x"]),
        of_job("executing", node={}),
        of_job("execution_cached", nodes={"a": 1}),
        of_job("progress", node=None, value=None, max="x"),
        of_job("progress", node=[], value=10**400, max=0),
        of_job("progress_state", nodes={"1": "finished", "2": {"state": ["finished"]}, "3": None}),
        of_job("progress_state", nodes=[1]),
        wire.text("progress_state", prompt_id=wire.PROMPT_ID),
        preview("x", display_node_id=5),
    )
    assert "Completed" not in out
    assert state.status == "running"
    assert state.outputs == {}
    str(state.progress(1.0))
    assert feed(state, SUCCESS)[-1] == "Completed"
    unsure = new_state(GRAPH)
    unsure.mark_gap()
    assert feed(unsure, of_job("progress_state", nodes={"1": {"state": ["finished"]}, "2": {"state": {}}}))
