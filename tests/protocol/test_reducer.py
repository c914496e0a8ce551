"""The life of one job: each lifecycle event once, one end, and nothing invented."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import wire_frames as wire
from wire_frames import executed, graph, new_state, of_job, preview, started, states, step

from comfy_async import events as ev
from comfy_async._protocol.decode import ExecutingNone
from comfy_async._protocol.plan import Plan
from comfy_async._protocol.reducer import JobState
from comfy_async.events import BaseEvent

GRAPH = graph(
    n1="EmptyImage",
    n2=("KSampler", {"steps": 4}, "1"),
    n3=("SaveImage", {}, "2"),
    n4=("SaveImageWebsocket", {}, "2"),
)
START = of_job("execution_start", timestamp=1)
CACHED = of_job("execution_cached", nodes=[])
SUCCESS = of_job("execution_success", timestamp=2)
IMAGES = {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}


def feed(state: JobState, *frames: bytes, at: float = 0.0) -> list[str]:
    """Feed frames and return the names of what is told."""
    return wire.names(tell(state, frames, at=at))


def tell(state: JobState, frames: Iterable[bytes], *, at: float = 0.0) -> list[BaseEvent]:
    """Feed frames and return what is told."""
    return wire.told(state, [wire.decode(raw, at) for raw in frames])


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
    """Before 0.3.44 the next node's start is what ends a node, and the success ends the last."""
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


class TestGap:
    """After a gap nothing is told twice, what was missed is told, and the history has the last word."""

    def test_the_running_node_is_repeated_without_an_id(self) -> None:
        """A reconnect repeats `executing` of a node that is known to run, or to have finished."""
        state = new_state(GRAPH)
        feed(state, START, started("1"))
        state.mark_gap()
        again = wire.decode(wire.text("executing", node="1"))
        assert state.apply(again) == []
        feed(state, states(n1="finished"))
        assert state.apply(wire.decode(wire.text("executing", node="1"))) == []

    def test_the_repeated_node_may_be_news(self) -> None:
        """It is told when its true start was missed."""
        state = new_state(GRAPH)
        feed(state, START)
        state.mark_gap()
        assert wire.names(state.apply(wire.decode(wire.text("executing", node="2")))) == ["NodeStarted 2"]

    def test_missed_nodes_are_told_by_the_state(self) -> None:
        """The first state after a gap tells starts and ends of what happened in it."""
        state = new_state(GRAPH)
        feed(state, START, states(n1="running"), started("1"))
        state.mark_gap()
        names = feed(state, states(n1="finished", n2="finished", n3="running"))
        assert names == [
            "NodeStarted 2",
            "NodeStarted 3",
            "ProgressState",
            "NodeFinished 1",
            "NodeFinished 2",
        ]
        assert feed(state, states(n1="finished", n2="finished", n3="running")) == ["ProgressState"]

    def test_a_step_tells_a_missed_start(self) -> None:
        """A step of a node that was not seen starting, after a gap."""
        state = new_state(GRAPH)
        feed(state, START)
        state.mark_gap()
        assert feed(state, step("2", 2, 4)) == ["NodeStarted 2", "Progress 2"]
        assert state.progress(0.0).step == 2

    def test_the_success_waits_for_the_history(self) -> None:
        """Outputs may have been missed: the end is held until the history has told the rest."""
        state = new_state(GRAPH)
        feed(state, START)
        state.mark_gap()
        assert feed(state, SUCCESS) == []
        assert state.wants_history
        assert state.status == "running"
        told = state.apply(ev.NodeFinished(None, {"node": "3", "output": IMAGES}, wire.PROMPT_ID))
        told += state.apply(ev.Completed(None, {}, wire.PROMPT_ID, received_at=3.0))
        assert wire.names(told) == ["NodeFinished 3", "Completed"]
        assert told[-1].raw is None
        assert state.outputs == {"3": IMAGES}
        assert not state.wants_history

    def test_the_history_never_comes(self) -> None:
        """The end that was heard is then taken as it was heard."""
        state = new_state(GRAPH)
        feed(state, START)
        state.mark_gap()
        feed(state, SUCCESS, at=4.0)
        assert wire.names(state.finish_without_history()) == ["Completed"]
        assert (state.status, state.ended_at) == ("completed", 4.0)
        assert state.finish_without_history() == []

    def test_failures_wait_for_nothing(self) -> None:
        """An error or an interruption says all that there is to say."""
        for frame in (of_job("execution_error", exception_type="E"), of_job("execution_interrupted")):
            state = new_state(GRAPH)
            state.mark_gap()
            assert feed(state, frame)[-1].split()[0] in ("Failed", "Cancelled")

    def test_the_end_marker_without_an_end(self) -> None:
        """`executing` null after a gap means that the history knows more."""
        state = new_state(GRAPH)
        feed(state, START)
        state.mark_gap()
        assert state.apply(ExecutingNone(b"{}", {}, wire.PROMPT_ID)) == []
        assert state.wants_history
        assert state.finish_without_history() == []

    def test_the_history_tells_no_order(self) -> None:
        """What an output needs had finished before it; what it does not need may run still."""
        state = new_state(graph(n1="A", n2=("B", {}, "1"), n3=("SaveImage", {}, "2"), n4="C"))
        feed(state, START, states(n2="running", n4="running"), started("2"), started("4"))
        state.mark_gap()
        told = state.apply(ev.NodeFinished(None, {"node": "3", "output": IMAGES}, wire.PROMPT_ID))
        assert wire.names(told) == ["NodeFinished 2", "NodeFinished 3"]
        assert state.running_node == "4"

    def test_outputs_of_the_history_are_told_once(self) -> None:
        """What was shown before the gap is not shown again."""
        state = new_state(GRAPH)
        feed(state, START, executed("3", IMAGES))
        state.mark_gap()
        assert state.apply(ev.NodeFinished(None, {"node": "3", "output": IMAGES}, wire.PROMPT_ID)) == []

    def test_a_gap_after_the_end(self) -> None:
        """An ended job has missed nothing."""
        state = new_state(GRAPH)
        feed(state, SUCCESS)
        state.mark_gap()
        assert not state.gap


class TestMissing:
    """`missing` names the outputs that a gap may have swallowed, and no others."""

    def test_nothing_is_missing_without_a_gap(self) -> None:
        """A stream without a gap is whole."""
        state = new_state(GRAPH)
        feed(state, START, started("4"), SUCCESS)
        assert state.missing == ()

    def test_a_gap_before_its_start(self) -> None:
        """The node that starts and ends after the gap is whole."""
        state = new_state(GRAPH)
        feed(state, START)
        state.mark_gap()
        feed(state, started("4"), states(n4="running"), states(n4="finished"))
        assert state.missing == ()

    def test_a_gap_after_its_end(self) -> None:
        """The node that ended before the gap is whole."""
        state = new_state(GRAPH)
        feed(state, START, started("4"), states(n4="finished"))
        state.mark_gap()
        assert state.missing == ()

    def test_a_gap_while_it_runs(self) -> None:
        """The node that runs through a gap may have lost images."""
        state = new_state(GRAPH)
        feed(state, START, started("4"), preview("4", mime="image/png"))
        state.mark_gap()
        feed(state, states(n4="finished"))
        assert state.missing == ("4",)

    def test_a_node_within_the_gap(self) -> None:
        """The node that was neither seen to start nor to end is missing."""
        state = new_state(GRAPH)
        feed(state, START)
        state.mark_gap()
        feed(state, SUCCESS)
        state.finish_without_history()
        assert state.missing == ("4",)

    def test_a_start_repeated_by_a_reconnect(self) -> None:
        """`executing` without a prompt_id says nothing of when the node began."""
        state = new_state(GRAPH)
        feed(state, START)
        state.mark_gap()
        state.apply(wire.decode(wire.text("executing", node="4")))
        feed(state, states(n4="finished"))
        assert state.missing == ("4",)

    def test_two_gaps(self) -> None:
        """A second gap spoils a node that the first had left whole."""
        state = new_state(GRAPH)
        state.mark_gap()
        feed(state, started("4"))
        state.mark_gap()
        feed(state, states(n4="finished"))
        assert state.missing == ("4",)


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
