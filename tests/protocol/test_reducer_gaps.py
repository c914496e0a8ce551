"""After a gap: nothing told twice, nothing invented, and what may be lost is named."""

from __future__ import annotations

from typing import Any

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
)

from comfy_async import events as ev
from comfy_async._protocol.decode import ExecutingNone


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

    @pytest.mark.parametrize("stamps", [(1000, 8500), (None, 8500), (1000, "soon"), (1000, float("nan"))])
    def test_the_length_of_a_run_that_was_not_heard(self, stamps: tuple[Any, Any]) -> None:
        """By the server's clock where it tells both ends; what was inferred before tells none."""
        state = new_state(GRAPH)
        state.mark_gap()
        state.apply(ev.Started(None, {}, wire.PROMPT_ID, received_at=70.0))
        assert state.duration == 0.0
        for kind, stamp in zip((ev.Started, ev.Completed), stamps, strict=True):
            state.apply(kind(None, {"timestamp": stamp}, wire.PROMPT_ID, received_at=72.0))
        assert state.duration == (7.5 if stamps == (1000, 8500) else 2.0)

    def test_the_length_of_a_run_that_was_heard(self) -> None:
        """By our own clock, which is finer; a server's clock that was set meanwhile changes nothing."""
        state = new_state(GRAPH)
        feed(state, START, at=5.0)
        feed(state, SUCCESS, at=5.0625)
        assert state.duration == 0.0625

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
