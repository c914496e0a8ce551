"""What each recording of a real 0.33.0 says, event by event, through the reducer."""

from __future__ import annotations

from typing import Any

import pytest
import wire_frames as wire

from comfy_async import events as ev
from comfy_async._protocol.plan import Plan
from comfy_async._protocol.reducer import JobState
from comfy_async._protocol.snapshot import history_events, parse_history
from comfy_async.events import BaseEvent

STATE = "ProgressState"


def run(node: str, *inside: str, shows: bool = False) -> list[str]:
    """Return what one node tells: a state before its start and one after its end."""
    end = [f"NodeFinished {node}", STATE] if shows else [STATE, f"NodeFinished {node}"]
    return [STATE, f"NodeStarted {node}", *inside, *end]


def sampled(node: str, steps: int, *, preview: str = "") -> list[str]:
    """Return what a sampler's steps tell; `preview` says on which side of the step the picture comes."""
    row = {
        "": [STATE, f"Progress {node}"],
        "before": [STATE, f"Preview {node}", f"Progress {node}"],
        "after": [STATE, f"Progress {node}", f"Preview {node}"],
    }[preview]
    return row * steps


BEGIN = ["Started", "NodesCached"]
SD15_TEXT = [*run("10"), *run("5"), *run("4"), *run("7"), *run("6")]
EXPECTED: dict[str, list[str]] = {
    "text_to_image": [
        *BEGIN,
        *SD15_TEXT,
        *run("3", *sampled("3", 4, preview="before")),
        *run("8"),
        *run("9", shows=True),
        "Completed",
    ],
    "text_to_image_no_previews": [
        *BEGIN,
        *run("3", *sampled("3", 2)),
        *run("8"),
        *run("9", shows=True),
        "Completed",
    ],
    "text_to_image_legacy_previews": [
        *BEGIN,
        *run("3", *sampled("3", 2, preview="after")),
        *run("8"),
        *run("9", shows=True),
        "Completed",
    ],
    "text_to_image_fully_cached": [*BEGIN, "NodeFinished 9", STATE, "Completed"],
    "partly_invalid_200_with_node_errors": [*BEGIN, "NodeFinished 4", STATE, "Completed"],
    "two_outputs_batch": [
        *BEGIN,
        *run("1"),
        *run("4", shows=True),
        *run("2"),
        *run("3", shows=True),
        "Completed",
    ],
    "animated_and_text_outputs": [
        *BEGIN,
        *run("1"),
        *run("2", shows=True),
        *run("4"),
        *run("3", shows=True),
        "Completed",
    ],
    "save_image_websocket": [
        *BEGIN,
        *run("1"),
        *run("4", shows=True),
        *run("2"),
        *run("3", *sampled("3", 2, preview="before")),
        "Completed",
    ],
    "save_image_websocket_legacy": [
        *BEGIN,
        *run("1"),
        *run("4", shows=True),
        *run("2"),
        *run("3", *sampled("3", 2, preview="after")),
        "Completed",
    ],
    "execution_error": [*BEGIN, *run("10"), *run("5"), STATE, "NodeStarted 8", "Failed 8"],
    "interrupted_while_running": [*BEGIN, *run("5"), *run("4"), STATE, "NodeStarted 7", "Cancelled 7"],
    "cancelled_through_jobs_api": [*BEGIN, *run("7"), STATE, "NodeStarted 6", "Cancelled 6"],
    "pending_job_deleted": [
        *BEGIN,
        *SD15_TEXT,
        *run("3", *sampled("3", 3, preview="after")),
        *run("8"),
        *run("9", shows=True),
        "Completed",
    ],
    "deaf_after_reconnect": [],
    "rejected_invalid_values": [],
    "rejected_missing_node_type": [],
    "rejected_no_outputs": [],
}


def test_no_recording_is_forgotten() -> None:
    """Every recording has its list."""
    assert sorted(EXPECTED) == wire.RECORDINGS


@pytest.mark.parametrize("name", [name for name in EXPECTED if not name.startswith("rejected")])
def test_the_events_of_a_recording(name: str) -> None:
    """These events, in this order, each lifecycle once."""
    state, events = wire.replayed(name)
    assert wire.names(events) == EXPECTED[name]
    assert not state.gap


def one(name: str, kind: type[BaseEvent], *, nth: int = 0) -> Any:
    """Return one event of a recording."""
    return [event for event in wire.replayed(name)[1] if type(event) is kind][nth]


def test_fields_of_the_start() -> None:
    """The job's id and the server's clock."""
    event = one("text_to_image", ev.Started)
    assert event.prompt_id == wire.first_job("text_to_image")
    assert event.timestamp == event.data["timestamp"] > 1_700_000_000_000


def test_fields_of_the_cache() -> None:
    """The ids of the cached nodes, none when everything runs."""
    assert one("text_to_image", ev.NodesCached).nodes == ()
    assert one("text_to_image_no_previews", ev.NodesCached).nodes == ("4", "5", "6", "7", "10")


def test_fields_of_a_node() -> None:
    """Id, title and class; titles are those of the submitted workflow."""
    event = one("text_to_image", ev.NodeStarted, nth=2)
    assert (event.node, event.display_node) == ("4", "4")
    assert (event.title, event.class_type) == ("Load Checkpoint", "CheckpointLoaderSimple")


def test_fields_of_progress() -> None:
    """Node and steps, and they match by position."""
    event = one("text_to_image", ev.Progress, nth=1)
    assert (event.node, event.title, event.value, event.max) == ("3", "KSampler", 2, 4)
    match event:
        case ev.Progress(node, value, maximum):
            assert (node, value, maximum) == ("3", 2, 4)


def test_fields_of_the_state() -> None:
    """Every node that ran or runs, with its state."""
    event = one("text_to_image", ev.ProgressState, nth=-1)
    assert {row["state"] for row in event.nodes.values()} == {"finished"}
    assert set(event.nodes) == {"3", "4", "5", "6", "7", "8", "9", "10"}


def test_fields_of_previews() -> None:
    """Picture, MIME type and node, named by the frame or by what ran."""
    new, old = one("text_to_image", ev.Preview), one("text_to_image_legacy_previews", ev.Preview)
    for event in (new, old):
        assert (event.node, event.title, event.class_type) == ("3", "KSampler", "KSampler")
        assert event.mime == "image/jpeg"
        assert event.image[:2] == b"\xff\xd8"
        assert event.raw.endswith(event.image)
        assert not event.delivered
    assert new.display_node == "3"


@pytest.mark.parametrize("name", ["save_image_websocket", "save_image_websocket_legacy"])
def test_images_of_the_socket(name: str) -> None:
    """What SaveImageWebsocket sends is an output, kept in order."""
    state, events = wire.replayed(name)
    previews = [event for event in events if isinstance(event, ev.Preview)]
    assert len(previews) == 2
    assert all(event.delivered and event.mime == "image/png" for event in previews)
    assert state.images == {"3": previews}
    assert previews[0].image.startswith(b"\x89PNG")
    assert state.missing == ()


def test_fields_of_outputs() -> None:
    """What nodes show is in the events, and is what the history holds."""
    for name in ("text_to_image", "two_outputs_batch", "animated_and_text_outputs"):
        state, events = wire.replayed(name)
        prompt_id = wire.first_job(name)
        history = wire.answer(name, f"/history/{prompt_id}"[:20])[prompt_id]
        assert state.outputs == history["outputs"]
        shown = {e.node: e.output for e in events if isinstance(e, ev.NodeFinished) and e.output}
        assert shown == history["outputs"]
    image = shown["2"]["images"][0]
    assert image["filename"].endswith(".webp")
    assert shown["3"]["text"]


def test_a_cached_output_is_sent_again() -> None:
    """The fully cached run has its outputs and its end, and no node ran."""
    state, events = wire.replayed("text_to_image_fully_cached")
    assert state.status == "completed"
    assert state.outputs["9"]["images"]
    assert state.was_started == set()
    assert set(state.cached or ()) == {"3", "4", "5", "6", "7", "8", "9", "10"}
    progress = state.progress(0.0)
    assert (progress.fraction, progress.done, progress.total) == (1.0, 8, 8)
    assert isinstance(events[-1], ev.Completed)


def test_fields_of_a_failure() -> None:
    """Node, exception and the server's traceback."""
    event = one("execution_error", ev.Failed)
    assert (event.node, event.class_type) == ("8", "VAEDecode")
    assert event.exception_type == event.data["exception_type"] != ""
    assert event.exception_message == event.data["exception_message"].strip() != ""
    assert event.traceback == "".join(event.data["traceback"])
    assert "File " in event.traceback
    assert event.exception_type in repr(event)
    assert "current_inputs" not in repr(event)


def test_fields_of_an_interruption() -> None:
    """The node that was running."""
    event = one("interrupted_while_running", ev.Cancelled)
    assert (event.node, event.title) == ("7", wire.prompt("interrupted_while_running")["7"]["_meta"]["title"])


def test_the_status_and_the_flags() -> None:
    """What is about no job."""
    events = [wire.decode(raw) for _, raw in wire.frames("text_to_image")]
    counts = [event.queue_remaining for event in events if isinstance(event, ev.StatusChanged)]
    assert counts == [0, 0, 1, 0] or counts[-1] == 0
    (flags,) = [event for event in events if isinstance(event, ev.FeatureFlags)]
    assert flags.flags["max_upload_size"] == 104857600


@pytest.mark.parametrize("name", [name for name in EXPECTED if EXPECTED[name]])
@pytest.mark.parametrize("gap", [None, 0.3, 0.7])
def test_the_short_way_tells_the_same(name: str, gap: float | None) -> None:
    """Frames that repeat what is known may skip the reducer: nothing else changes by it."""
    raws = wire.frames(name)
    whole, short = (JobState(wire.first_job(name), Plan(wire.prompt(name))) for _ in range(2))
    skipped = 0
    for number, (at, raw) in enumerate(raws):
        if gap is not None and number == int(len(raws) * gap):
            whole.mark_gap()
            short.mark_gap()
        expected = wire.names(wire.told(whole, [wire.decode(raw, at)]))
        event = wire.decode(raw, at)
        if event.prompt_id == short.prompt_id and event.lossy and short.repeats(event):
            skipped += 1
            assert wire.names([event]) == expected
        else:
            assert wire.names(wire.told(short, [event])) == expected
        assert short.progress(at) == whole.progress(at)
    assert (short.status, short.outputs, short.missing) == (whole.status, whole.outputs, whole.missing)
    assert skipped or len(raws) < 30


WITH_HISTORY = [name for name in EXPECTED if EXPECTED[name] and name != "pending_job_deleted"]


@pytest.mark.parametrize("name", WITH_HISTORY)
def test_the_history_tells_the_same_life(name: str) -> None:
    """Polling alone ends a job as its events did, with the same outputs."""
    heard, _ = wire.replayed(name)
    prompt_id = wire.first_job(name)
    entry = parse_history(wire.answer(name, "/history/"), prompt_id)
    assert entry is not None
    state = JobState(prompt_id, Plan(wire.prompt(name)))
    state.mark_gap()
    events = [told for event in history_events(entry, 5.0) for told in state.apply(event)]
    assert state.status == heard.status
    assert state.outputs == heard.outputs
    assert (state.cached or ()) == heard.cached
    assert type(state.terminal) is type(heard.terminal)
    assert state.terminal is not None
    assert state.terminal.data == heard.terminal.data  # type: ignore[union-attr]
    assert all(event.raw is None for event in events)
    assert sum(event.terminal for event in events) == 1


@pytest.mark.parametrize("name", WITH_HISTORY)
@pytest.mark.parametrize("cut", [0.0, 0.3, 0.6, 0.9])
def test_nothing_is_told_twice_after_a_gap(name: str, cut: float) -> None:
    """Miss any part of a recording: no lifecycle event twice, one end, which the history confirms."""
    prompt_id = wire.first_job(name)
    events = [wire.decode(raw, at) for at, raw in wire.frames(name)]
    start = int(len(events) * cut)
    for end in range(start + 1, len(events) + 1, 5):
        state = JobState(prompt_id, Plan(wire.prompt(name)))
        state.apply(ev.Queued(None, {}, prompt_id))
        out = wire.told(state, [wire.decode(e.raw or b"", e.received_at) for e in events[:start]])
        state.mark_gap()
        out += wire.told(state, [wire.decode(e.raw or b"", e.received_at) for e in events[end:]])
        entry = parse_history(wire.answer(name, "/history/"), prompt_id)
        assert entry is not None
        for event in history_events(entry, 99.0):
            out += state.apply(event)
        lives = [n for n in wire.names(out) if n.split()[0] not in (STATE, "Progress", "Preview")]
        assert len(lives) == len(set(lives)), (start, end)
        assert out[-1].terminal
        assert sum(event.terminal for event in out) == 1
        assert state.outputs == entry.outputs
        assert state.progress(99.0).fraction == 1.0 or state.status != "completed"
