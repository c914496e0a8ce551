"""One monotonic fraction over the whole graph, and a time to go that can be believed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import wire_frames as wire
from wire_frames import executed, graph, new_state, of_job, started, states, step

from comfy_async import JobProgress
from comfy_async._protocol.reducer import JobState

START = of_job("execution_start", timestamp=1)


def timeline(
    plan: list[tuple[str, int, float]], *, at: float = 0.0, before: Mapping[str, str] | None = None
) -> Iterator[tuple[float, bytes]]:
    """Yield (time, frame) of a run: nodes as (id, steps, seconds of a step), one after the other."""
    now = at
    rows: dict[str, str] = dict(before or {})
    yield now, START
    for node, steps, seconds in plan:
        rows[f"n{node}"] = "running"
        yield now, states(**rows)
        yield now, started(node)
        for number in range(1, steps + 1):
            now += seconds
            yield now, states(**rows)
            yield now, step(node, number, steps)
        if not steps:
            now += seconds
        rows[f"n{node}"] = "finished"
        yield now, states(**rows)
    yield now, of_job("execution_success")


def seen(state: JobState, frames: Iterator[tuple[float, bytes]]) -> list[tuple[float, JobProgress]]:
    """Feed a run and return the progress after each frame."""
    found = []
    for at, raw in frames:
        wire.told(state, [wire.decode(raw, at)])
        found.append((at, state.progress(at)))
    return found


LOADER_SAMPLER = graph(
    n4="Loader", n5="Empty", n3=("KSampler", {"steps": 20}, "4", "5"), n9=("Save", {}, "3")
)
SHAPES: dict[str, tuple[dict[str, Any], list[tuple[str, int, float]]]] = {
    "one sampler": (LOADER_SAMPLER, [("4", 0, 0.0), ("5", 0, 0.0), ("3", 20, 1.0), ("9", 0, 0.1)]),
    "a slow loader first": (LOADER_SAMPLER, [("4", 0, 6.0), ("5", 0, 0.0), ("3", 20, 1.0), ("9", 0, 0.1)]),
    "few steps": (
        graph(n1="Empty", n3=("KSampler", {"steps": 4}, "1"), n9=("Save", {}, "3")),
        [("1", 0, 0.0), ("3", 4, 2.0), ("9", 0, 0.05)],
    ),
    "two samplers in a row": (
        graph(
            n1="Empty",
            n3=("KSampler", {"steps": 20}, "1"),
            n5=("KSampler", {"steps": 20}, "3"),
            n9=("Save", {}, "5"),
        ),
        [("1", 0, 0.0), ("3", 20, 0.5), ("5", 20, 0.5), ("9", 0, 0.1)],
    ),
    "two samplers of two classes": (
        graph(
            n1="Empty",
            n3=("KSampler", {"steps": 20}, "1"),
            n5=("SamplerCustom", {"steps": 10}, "3"),
            n9=("Save", {}, "5"),
        ),
        [("1", 0, 0.0), ("3", 20, 0.5), ("5", 10, 0.5), ("9", 0, 0.1)],
    ),
    "steps that the workflow does not tell": (
        graph(n1="Empty", n3=("Upscale", {}, "1"), n9=("Save", {}, "3")),
        [("1", 0, 0.0), ("3", 50, 0.2), ("9", 0, 0.1)],
    ),
    "two nodes of one class with unknown steps": (
        graph(n1="Empty", n3=("Upscale", {}, "1"), n4=("Upscale", {}, "3"), n9=("Save", {}, "4")),
        [("1", 0, 0.0), ("3", 50, 0.2), ("4", 50, 0.2), ("9", 0, 0.1)],
    ),
    "many short nodes and a sampler": (
        graph(
            **{f"n{n}": "Text" for n in range(10, 30)},
            n3=("KSampler", {"steps": 30}, "10"),
            n9=("Save", {}, "3"),
        ),
        [*((str(n), 0, 0.01) for n in range(10, 30)), ("3", 30, 1.0), ("9", 0, 0.1)],
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_eta_is_right_within_a_fifth_from_half_on(name: str) -> None:
    """With even steps, once half of the run is done, until little is left."""
    made, plan = SHAPES[name]
    points = seen(new_state(made), timeline(plan, at=100.0))
    end = points[-1][0]
    checked = 0
    for at, progress in points:
        left = end - at
        if at >= 100.0 + (end - 100.0) / 2 and left > (end - 100.0) / 10:
            checked += 1
            assert progress.eta == pytest.approx(left, rel=0.2), (at, progress)
    assert checked


@pytest.mark.parametrize("name", SHAPES)
def test_the_fraction_moves_with_every_step(name: str) -> None:
    """It never goes back, moves with every step, and is 1.0 only at the end."""
    made, plan = SHAPES[name]
    state = new_state(made)
    last = -1.0
    for at, raw in timeline(plan):
        (*_, event) = wire.told(state, [wire.decode(raw, at)])
        fraction = state.progress(at).fraction
        assert fraction >= last
        if event.type == "progress":
            assert fraction > last
        assert (fraction == 1.0) == (event.type == "execution_success")
        last = fraction
    assert last == 1.0


def test_the_fraction_is_of_the_work() -> None:
    """Half of the steps of a sampler of 20 among three other nodes."""
    state = new_state(LOADER_SAMPLER)
    frames = list(timeline([("4", 0, 0.0), ("5", 0, 0.0), ("3", 20, 1.0)]))
    half = next(i for i, (_, raw) in enumerate(frames) if raw == step("3", 10, 20))
    progress = seen(state, iter(frames[: half + 1]))[-1][1]
    assert progress.fraction == pytest.approx(12 / 23, abs=0.01)
    assert (progress.node, progress.title, progress.step, progress.steps) == ("3", "KSampler", 10, 20)
    assert (progress.done, progress.total) == (2, 4)
    assert str(progress) == "52 %, KSampler 10/20, 10 s to go"


def test_cached_nodes_count() -> None:
    """What is cached is done at once, and what only cached nodes need as well."""
    state = new_state(LOADER_SAMPLER)
    wire.told(state, [wire.decode(raw) for raw in (START, of_job("execution_cached", nodes=["3"]))])
    progress = state.progress(0.0)
    assert (progress.done, progress.total) == (3, 4)
    assert progress.fraction == pytest.approx(22 / 23, abs=0.01)


def test_a_cached_node_out_of_nowhere() -> None:
    """Ids that the workflow does not have change nothing."""
    state = new_state(LOADER_SAMPLER)
    wire.told(state, [wire.decode(of_job("execution_cached", nodes=["99", "4", "4"]))])
    assert state.progress(0.0).done == 1


def test_nothing_is_promised_before_anything_is_known() -> None:
    """No eta before the start, nor before the first node has shown its pace."""
    state = new_state(LOADER_SAMPLER)
    assert state.progress(0.0).eta is None
    assert str(state.progress(0.0)) == "0 %"
    wire.told(state, [wire.decode(START)])
    assert state.progress(10.0).eta is None
    wire.told(state, [wire.decode(started("3"))])
    assert state.progress(50.0).eta is None
    wire.told(state, [wire.decode(step("3", 1, 20), 51.0)])
    assert state.progress(51.0).eta is None


def test_the_eta_counts_down_between_steps() -> None:
    """Time that passes within a step is taken off; it is never negative."""
    state = new_state(graph(n3=("KSampler", {"steps": 4})))
    for at, raw in ((0.0, START), (0.0, started("3")), (10.0, step("3", 1, 4)), (20.0, step("3", 2, 4))):
        wire.told(state, [wire.decode(raw, at)])
    assert state.progress(20.0).eta == pytest.approx(20.0)
    assert state.progress(25.0).eta == pytest.approx(15.0)
    assert state.progress(99.0).eta == 0.0


def test_plain_nodes_teach_of_others() -> None:
    """Nodes of unknown classes are expected to take what the others took."""
    state = new_state(graph(n1="A", n2=("B", {}, "1"), n3=("C", {}, "2"), n4=("D", {}, "3")))
    frames = [*timeline([("1", 0, 10.0), ("2", 0, 10.0)])][:-1]
    seen(state, iter(frames))
    assert state.progress(20.0).eta == pytest.approx(20.0)
    wire.told(state, [wire.decode(started("3"), 20.0)])
    assert state.progress(25.0).eta == pytest.approx(15.0)


def test_a_quick_node_teaches_nothing_of_a_sampler() -> None:
    """After an empty latent image the sampler is as unknown as before, and so is the time to go."""
    state = new_state(LOADER_SAMPLER)
    frames = list(timeline([("5", 0, 0.001), ("4", 0, 0.002)]))[:-1]
    assert [progress.eta for _, progress in seen(state, iter(frames))] == [None] * len(frames)


def test_one_quick_node_teaches_nothing_of_many() -> None:
    """Without any steps, what most nodes take is known once most nodes have run."""
    state = new_state(graph(n1="A", n2=("B", {}, "1"), n3=("C", {}, "2"), n4=("D", {}, "3")))
    frames = list(timeline([("1", 0, 0.001)]))[:-1]
    assert seen(state, iter(frames))[-1][1].eta is None


def test_a_node_that_outlasts_its_guess_is_unknown() -> None:
    """It is no longer 0 s to go: nobody can tell."""
    state = new_state(graph(n1="A", n2=("B", {}, "1"), n3=("C", {}, "2")))
    seen(state, iter([*timeline([("1", 0, 0.1), ("2", 0, 0.1)])][:-1]))
    wire.told(state, [wire.decode(started("3"), 0.2)])
    assert state.progress(0.25).eta == pytest.approx(0.05)
    assert state.progress(9.0).eta is None


def test_the_last_step_is_told_although_its_node_has_finished() -> None:
    """Frames come several at a time: the node that finished last is named until the next one begins."""
    state = new_state(LOADER_SAMPLER)
    for raw in (START, started("3"), step("3", 20, 20), states(n3="finished")):
        wire.told(state, [wire.decode(raw, 1.0)])
    shown = state.progress(1.0)
    assert (shown.node, shown.step, shown.steps) == ("3", 20, 20)
    assert "KSampler 20/20" in str(shown)
    wire.told(state, [wire.decode(started("9"), 1.0)])
    assert (state.progress(1.0).node, state.progress(1.0).step) == ("9", 0)


def test_steps_that_came_together_have_no_pace() -> None:
    """Two frames that were read at one moment do not make a run of no time."""
    state = new_state(graph(n3=("KSampler", {"steps": 20})))
    for at, raw in ((0.0, START), (0.0, started("3")), (1.0, step("3", 1, 20)), (1.0, step("3", 2, 20))):
        wire.told(state, [wire.decode(raw, at)])
    assert state.progress(1.0).eta is None
    wire.told(state, [wire.decode(step("3", 3, 20), 2.0)])
    assert state.progress(2.0).eta == pytest.approx(8.5)


def test_earlier_jobs_teach() -> None:
    """The second job of a session knows the pace of its classes from its first moment."""
    timings: dict[str, float] = {}
    made, plan = SHAPES["one sampler"]
    seen(new_state(made, timings=timings), timeline(plan))
    state = new_state(made, timings=timings)
    wire.told(state, [wire.decode(START, 50.0), wire.decode(started("4"), 50.0)])
    assert state.progress(50.0).eta == pytest.approx(20.1, rel=0.2)


def test_node_seconds() -> None:
    """How long each node ran, for the result."""
    state = new_state(LOADER_SAMPLER)
    seen(state, timeline([("4", 0, 6.0), ("3", 20, 1.0)]))
    assert state.meter.node_seconds == {"4": 6.0, "3": 20.0}


def test_values_that_lie() -> None:
    """More steps than there are, none, NaN, or huge ones: the fraction stays in its bounds."""
    state = new_state(graph(n3=("KSampler", {"steps": 4}), n4="Save"))
    wire.told(state, [wire.decode(START), wire.decode(started("3"))])
    raws = [step("3", 9, 4), step("3", -3, 4), step("3", 1, 0), step("3", float("nan"), 4)]
    raws += [step("3", float("inf"), float("inf")), step("3", 10**400, 4), step("3", 1, -1)]
    for number, raw in enumerate(raws):
        wire.told(state, [wire.decode(raw, float(number))])
        progress = state.progress(float(number))
        assert 0.0 <= progress.fraction < 1.0
        str(progress)


def test_steps_of_two_spellings() -> None:
    """A gateway that spaces its JSON otherwise from frame to frame does not break the pace."""
    state = new_state(graph(n3=("KSampler", {"steps": 4})))
    compact = step("3", 2, 4).replace(b": ", b":")
    for at, raw in ((0.0, START), (0.0, started("3")), (1.0, step("3", 1, 4)), (2.0, compact)):
        wire.told(state, [wire.decode(raw, at)])
    assert state.progress(2.0).eta == pytest.approx(2.0)


def test_a_job_that_stopped_has_nothing_to_go() -> None:
    """A failed or cancelled job stays where it was, without an eta."""
    state = new_state(LOADER_SAMPLER)
    frames = list(timeline([("4", 0, 1.0), ("3", 20, 1.0)]))[:-12]
    before = seen(state, iter(frames))[-1][1]
    assert before.eta
    wire.told(state, [wire.decode(of_job("execution_interrupted", node_id="3"), 50.0)])
    after = state.progress(50.0)
    assert after.eta is None
    assert (after.fraction, after.node, after.step) == (before.fraction, before.node, before.step)
    assert str(after).endswith(f"KSampler {before.step:g}/20")


def test_a_graph_without_nodes() -> None:
    """An attached job whose workflow is unknown has no fraction but an end."""
    state = new_state({})
    wire.told(state, [wire.decode(raw) for raw in (START, started("3"), step("3", 1, 2))])
    progress = state.progress(1.0)
    assert (progress.fraction, progress.title, progress.steps) == (0.0, "3", 2)
    wire.told(state, [wire.decode(of_job("execution_success"))])
    assert state.progress(1.0).fraction == 1.0


@pytest.mark.parametrize("seed", range(20))
def test_monotonic_whatever_comes(seed: int) -> None:
    """Frames in any order, gaps anywhere: the fraction never goes back."""
    draw = random.Random(seed)
    made, plan = SHAPES["two samplers in a row"]
    state = new_state(made)
    frames = list(timeline(plan)) + [
        (9.0, executed("9")),
        (9.0, of_job("execution_cached", nodes=["1", "3"])),
    ]
    frames = [frame for frame in frames if b"execution_success" not in frame[1]]
    draw.shuffle(frames)
    last = 0.0
    for at, raw in frames:
        if draw.random() < 0.1:
            state.mark_gap()
        wire.told(state, [wire.decode(raw, at)])
        progress = state.progress(at)
        assert last <= progress.fraction < 1.0
        assert progress.eta is None or progress.eta >= 0.0
        assert progress.done <= progress.total
        last = progress.fraction


def busy(**activities: object) -> bytes:
    """Return a `progress_state` frame of running nodes: `n4="loading"`, None for one that says nothing."""
    rows = {}
    for name, word in activities.items():
        row = {"value": 0, "max": 1, "state": "running", "node_id": name[1:]}
        rows[name[1:]] = row if word is None else {**row, "activity": word}
    return wire.text("progress_state", prompt_id=wire.PROMPT_ID, nodes=rows)


def doing(frames: list[tuple[float, bytes]], *, now: float) -> tuple[str, float]:
    """Return what the running node does after these frames, and for how long."""
    state = new_state(LOADER_SAMPLER)
    wire.told(state, (wire.decode(raw, at) for at, raw in [(0.0, START), *frames]))
    progress = state.progress(now)
    return progress.activity, progress.activity_seconds


def test_what_a_node_does_and_since_when() -> None:
    """The word of the running node, since the first frame that had it."""
    frames = [(1.0, busy(n4="loading")), (1.0, started("4")), (5.0, busy(n4="loading"))]
    assert doing(frames, now=13.0) == ("loading", 12.0)
    state = new_state(LOADER_SAMPLER)
    wire.told(state, (wire.decode(raw, at) for at, raw in [(0.0, START), *frames]))
    assert str(state.progress(13.0)) == "0 %, loading Loader, 12 s"


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (busy(n4="warming up"), ("warming up", 3.0)),
        (busy(n4=None), ("", 0.0)),
        (busy(n4=None, n5="loading"), ("", 0.0)),
        (busy(n4="loading", n5="loading"), ("loading", 7.0)),
        (states(n4="finished"), ("", 0.0)),
        (busy(n4='say "hi"\n twice'), ('say "hi" twice', 3.0)),
    ],
)
def test_another_activity(later: bytes, expected: tuple[str, float]) -> None:
    """A change counts from when it came, and what one node does is not said of another."""
    frames = [(3.0, busy(n4="loading", n5=None)), (3.0, started("4")), (7.0, later)]
    assert doing(frames, now=10.0) == expected


@pytest.mark.parametrize("odd", [None, 5, ["loading"], {"name": "loading"}, "", " "])
def test_an_odd_activity(odd: object) -> None:
    """What is no word is not shown."""
    assert doing([(1.0, busy(n4=odd)), (1.0, started("4"))], now=2.0) == ("", 0.0)


def test_frames_that_repeat_an_activity_stay_unread() -> None:
    """They come with every step of every node: only what has changed is parsed."""
    state = new_state(LOADER_SAMPLER)
    first, again = (wire.decode(busy(n4="loading"), at) for at in (1.0, 2.0))
    other = wire.decode(busy(n4="copying"), 3.0)
    wire.told(state, [wire.decode(START), first])
    assert (state.repeats(again), again._data) == (True, None)
    assert not state.repeats(other)


def test_nothing_is_at_work_at_the_end() -> None:
    """Of a completed job all is done: no node, no step, no time to go."""
    plan, nodes = SHAPES["one sampler"]
    end = seen(new_state(plan), timeline(nodes))[-1][1]
    assert (end.node, end.step, end.steps, end.eta) == (None, 0.0, 0.0, 0.0)
    assert (end.fraction, end.done, end.total) == (1.0, 4, 4)
