"""Events: light, typed, lazy, and safe to print."""

from __future__ import annotations

import json
import pickle
import typing

import pytest
import wire_frames as wire

import comfy_async
from comfy_async import events as ev
from comfy_async._base.json import parse_json
from comfy_async._protocol.decode import decode_text
from comfy_async.events import BaseEvent, Event

CLASSES: tuple[type[BaseEvent], ...] = typing.get_args(Event)
WORDS = {
    ev.Queued: "queued",
    ev.Started: "execution_start",
    ev.NodesCached: "execution_cached",
    ev.NodeStarted: "executing",
    ev.Progress: "progress",
    ev.ProgressState: "progress_state",
    ev.Preview: "preview",
    ev.ProgressText: "progress_text",
    ev.NodeFinished: "executed",
    ev.NodeBlocked: "execution_error",
    ev.Completed: "execution_success",
    ev.Failed: "execution_error",
    ev.Cancelled: "execution_interrupted",
    ev.Lost: "lost",
    ev.StatusChanged: "status",
    ev.LogEntries: "logs",
    ev.FeatureFlags: "feature_flags",
    ev.AgentStatus: "agent_status",
    ev.Disconnected: "disconnected",
    ev.Reconnected: "reconnected",
    ev.PollingStarted: "polling_started",
    ev.QueuePosition: "queue_position",
    ev.MalformedFrame: "malformed",
}
NAMED = {ev.UnknownEvent, ev.AssetScan, ev.AssetTransfer}
"""Those that have the word on the wire for themselves."""
NODE_EVENTS = {
    ev.NodeStarted,
    ev.Progress,
    ev.Preview,
    ev.ProgressText,
    ev.NodeFinished,
    ev.NodeBlocked,
    ev.Failed,
    ev.Cancelled,
}


def test_the_union_is_every_event() -> None:
    """Each event of DESIGN 3 is public and in the union."""
    assert set(CLASSES) == {*WORDS, *NAMED}
    assert {cls.__name__ for cls in CLASSES} <= set(comfy_async.__all__)
    assert {"Event", *(cls.__name__ for cls in CLASSES)} == set(ev.__all__)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_event_has_the_common_fields(cls: type[BaseEvent]) -> None:
    """type, prompt_id, raw, received_at, data; without a frame they are empty."""
    event = cls()
    assert (event.prompt_id, event.raw, event.received_at, dict(event.data)) == (None, None, 0.0, {})
    assert event.type == WORDS.get(cls, "")
    assert event.terminal == (cls in {ev.Completed, ev.Failed, ev.Cancelled, ev.Lost})
    assert not hasattr(event, "__dict__")
    assert repr(event).startswith(f"<{cls.__name__}")
    hash(event.key)


@pytest.mark.parametrize("cls", CLASSES)
def test_node_events_have_a_node(cls: type[BaseEvent]) -> None:
    """node, title and class_type, on events of nodes only."""
    event = cls()
    if cls in NODE_EVENTS:
        assert isinstance(event, ev.NodeEvent)
        assert (event.node, event.display_node, event.title, event.class_type) == (None, None, "", "")
    else:
        assert not hasattr(event, "title")


def test_what_may_give_way() -> None:
    """Progress and previews, never what belongs to a job's life."""
    lossy = {cls for cls in CLASSES if cls.lossy}
    assert {ev.Progress, ev.ProgressState, ev.Preview, ev.ProgressText} <= lossy
    assert {ev.AgentStatus, *NAMED} <= lossy
    life = {ev.Queued, ev.Started, ev.NodesCached, ev.NodeStarted, ev.NodeFinished, ev.NodeBlocked}
    life |= {ev.Completed, ev.Failed, ev.Cancelled, ev.Lost}
    life |= {ev.Disconnected, ev.Reconnected, ev.PollingStarted}
    assert not life & lossy


def test_data_is_parsed_once_and_only_when_read() -> None:
    """An event nobody reads is never parsed."""
    event = wire.decode(wire.step("3", 1, 4))
    assert event._data is None
    assert event.data is event.data
    assert event._data is not None


def test_a_node_that_is_not_in_the_workflow() -> None:
    """Its title is its id."""
    event = wire.decode(wire.started("77"))
    assert isinstance(event, ev.NodeStarted)
    assert (event.title, event.class_type) == ("77", "")


def test_numbers_for_ids() -> None:
    """Careless nodes send numbers where ids belong."""
    event = wire.decode(wire.of_job("executing", node=3))
    assert isinstance(event, ev.NodeStarted)
    assert event.node == "3"


@pytest.mark.parametrize(
    "status", [None, {}, {"exec_info": None}, {"exec_info": {"queue_remaining": "x"}}, {"exec_info": []}]
)
def test_an_odd_status(status: object) -> None:
    """A status that says nothing of the queue has no number."""
    event = wire.decode(wire.text("status", status=status))
    assert isinstance(event, ev.StatusChanged)
    assert event.queue_remaining is None


def test_an_endless_queue() -> None:
    """A number that is no number of jobs raises nothing."""
    event = wire.decode(b'{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1e999}}}}')
    assert isinstance(event, ev.StatusChanged)
    assert event.queue_remaining is None


def test_log_entries() -> None:
    """Lines of the log, whatever else is among them."""
    event = wire.decode(wire.text("logs", entries=[{"t": "now", "m": "hello"}, 5, None], size=None))
    assert isinstance(event, ev.LogEntries)
    assert event.entries == ({"t": "now", "m": "hello"},)
    assert ev.LogEntries(None, {"entries": 3}).entries == ()


def test_odd_fields() -> None:
    """Fields of another kind read as empty."""
    assert ev.Queued(None, {"node_errors": [], "number": "x"}).node_errors == {}
    assert ev.Started(None, {"timestamp": "x"}).timestamp is None
    assert ev.NodesCached(None, {"nodes": [3, "4"]}).nodes == ("3", "4")
    assert ev.ProgressState(None, {"nodes": []}).nodes == {}
    assert ev.NodeFinished(None, {"output": "x"}).output is None
    assert ev.Failed(None, {"traceback": "one text"}).traceback == "one text"
    assert ev.Failed(None, {}).traceback == ""
    assert ev.Preview(None, {}).image == b""
    assert ev.Disconnected(None, {"reason": "gone"}).reason == "gone"


def test_what_newer_servers_send() -> None:
    """The agent, the scan for assets, downloads and exports: typed, whatever else is in them."""
    agent = wire.decode(wire.text("agent_status", state="failed", reason="no key"))
    assert isinstance(agent, ev.AgentStatus)
    assert (agent.state, agent.reason, repr(agent)) == ("failed", "no key", "<AgentStatus 'failed' 'no key'>")

    scan = wire.decode(wire.text("assets.seed.progress", scanned=500, total=900.0, created=None))
    assert isinstance(scan, ev.AssetScan)
    assert (scan.type, scan.stage, scan.key) == (
        "assets.seed.progress",
        "progress",
        ("scan", "assets.seed.progress"),
    )
    assert (scan.scanned, scan.total, scan.created, scan.message) == (500, 900, None, "")
    assert ev.AssetScan(None, {"message": "no database"}, type="assets.seed.error").message == "no database"

    half = {"bytes_total": 1000, "status": "running", "task_id": "t"}
    fetched = wire.decode(wire.text("asset_download", asset_name="flux", bytes_downloaded=500, **half))
    packed = wire.decode(wire.text("asset_export", export_name="all.zip", bytes_processed=250, **half))
    assert isinstance(fetched, ev.AssetTransfer)
    assert isinstance(packed, ev.AssetTransfer)
    assert (fetched.name, fetched.bytes_done, fetched.bytes_total, fetched.fraction) == (
        "flux",
        500,
        1000,
        0.5,
    )
    assert (packed.name, packed.fraction, packed.key) == ("all.zip", 0.25, ("asset_export", "t"))
    assert repr(packed) == "<AssetTransfer asset_export 't' running>"
    failed = ev.AssetTransfer(None, {"status": "failed", "error": "404"}, type="asset_download")
    assert (failed.error, failed.fraction, failed.bytes_done) == ("404", 0.0, None)
    assert ev.AssetTransfer(None, {"status": "completed"}, type="asset_download").fraction == 1.0


@pytest.mark.parametrize("value", [None, [], {}, float("inf"), -1, "many"])
def test_odd_fields_of_what_newer_servers_send(value: object) -> None:
    """Fields of another kind read as not said."""
    scan = ev.AssetScan(None, {"scanned": value, "message": 5}, type="assets.seed.x")
    assert (scan.scanned, scan.message) == (None, "")
    transfer = ev.AssetTransfer(None, {"bytes_total": value, "bytes_downloaded": value, "task_id": 5})
    assert (transfer.bytes_done, transfer.bytes_total, transfer.fraction, transfer.task) == (
        None,
        None,
        0.0,
        "",
    )


def test_messages_that_only_look_alike() -> None:
    """Of no known word: as they came."""
    for kind in ("assets.seeds", "assets", "asset_upload", "agent_status.x"):
        assert type(wire.decode(wire.text(kind, state="ready"))) is ev.UnknownEvent


def test_reprs() -> None:
    """Class, job, and the fields that matter."""
    expected = {
        wire.step("3", 1, 4): "<Progress 9e721e8c node='3' 1/4>",
        wire.started("3"): "<NodeStarted 9e721e8c node='3'>",
        wire.executed(
            "9", {"text": 1, "images": []}
        ): "<NodeFinished 9e721e8c node='9' output=['images', 'text']>",
        wire.preview("3", b"12345"): "<Preview 9e721e8c node='3' image/jpeg 5 bytes>",
        wire.node_text("3", "hello"): "<ProgressText node='3' 'hello'>",
        wire.states(n1="running"): "<ProgressState 9e721e8c 1 nodes>",
        wire.of_job("execution_cached", nodes=["1"]): "<NodesCached 9e721e8c nodes=['1']>",
        wire.text(
            "status", status={"exec_info": {"queue_remaining": 2}}
        ): "<StatusChanged queue_remaining=2>",
        wire.text("odd"): "<UnknownEvent 'odd'>",
        b"{": None,
    }
    for raw, text in expected.items():
        made = repr(wire.decode(raw))
        assert made == text if text else made.startswith("<MalformedFrame")
    assert repr(ev.Disconnected(None, {"reason": "gone"})) == "<Disconnected 'gone'>"
    assert repr(ev.Completed(None, None, "")) == "<Completed>"


def test_a_repr_keeps_inputs_to_itself() -> None:
    """Inputs of a failed node may hold keys."""
    frame = wire.of_job(
        "execution_error", node_id="3", current_inputs={"api_key": ["secret"]}, exception_type="E"
    )
    assert "secret" not in repr(wire.decode(frame))
    assert "E" in repr(wire.decode(frame))


def test_match() -> None:
    """Events match by class with positions and fields."""
    match wire.decode(wire.preview("3", b"jpeg")):
        case ev.Preview(image):
            assert image == b"jpeg"
        case _:
            pytest.fail("no match")
    match wire.decode(wire.node_text("3", "hello")):
        case ev.ProgressText(text, node=node):
            assert (text, node) == ("hello", "3")
        case _:
            pytest.fail("no match")


def test_events_pickle() -> None:
    """Events cross process borders with their bytes and titles."""
    state, events = wire.replayed("text_to_image")
    for event in events:
        twin = pickle.loads(pickle.dumps(event))
        assert (type(twin), twin.raw, twin.prompt_id, twin.data) == (
            type(event),
            event.raw,
            event.prompt_id,
            event.data,
        )
        if isinstance(event, ev.NodeEvent):
            assert twin.title == event.title
    assert state.status == "completed"


def test_an_event_is_read_by_the_parser_that_its_class_was_handed() -> None:
    """The decoder hands all events its fast one; without it they read frames by themselves."""
    frames: list[bytes] = []

    class Counted(ev.UnknownEvent):
        """An event with a parser of its own."""

        __slots__ = ()

        @staticmethod
        def parser(raw: bytes) -> object:  # type: ignore[override]
            """Note the frame, then read it as the standard library does."""
            frames.append(raw)
            return json.loads(raw)

    event = Counted(b'{"type": "x", "data": {"a": 1}}')
    assert (dict(event.data), dict(event.data), len(frames)) == ({"a": 1}, {"a": 1}, 1)
    assert dict(Counted(b"[" * 200_000).data) == {}
    assert type(decode_text(wire.step("3", 1, 20), 0.0)).parser is parse_json
