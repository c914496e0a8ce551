"""What API v2 says about jobs, read into facts and events."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from session_tools import picture, two_outputs

from comfy_async import Failed, NodeFinished, Preview, Progress
from comfy_async._protocol.job_v2 import JobTeller, job_record, listed_job, read_job
from comfy_async._protocol.plan import Plan
from comfy_async._protocol.reducer import JobState
from comfy_async._protocol.snapshot import HistoryEntry, QueueEntry, history_events
from comfy_async.events import BaseEvent

ID = "7f3d2c1b-9a8e-4d6f-b012-3c4d5e6f7a8b"


def job(status: str, **changes: Any) -> dict[str, Any]:
    """Return a job as API v2 has it."""
    return {
        "id": ID,
        "status": status,
        "created_at": "2026-11-28T00:00:00Z",
        "started_at": None,
        "completed_at": None,
        "expires_at": "2026-11-29T00:00:00Z",
        "queue_position": None,
        "progress": None,
        "outputs": [],
        "error": None,
        "urls": {"self": "/x", "events": "/x/events", "cancel": "/x/cancel"},
        **changes,
    }


def output(node: str, name: str, kind: str = "image") -> dict[str, Any]:
    """Return an output as API v2 has it."""
    return {
        "node_id": node,
        "name": name,
        "type": kind,
        "content_type": "image/png",
        "size_bytes": 12,
        "id": f"asset of {name}",
        "hash": None,
        "url": f"http://h/{name}",
        "url_expires_at": "2026-11-28T01:00:00Z",
    }


class Told:
    """A job's teller, and the reducer behind it."""

    def __init__(self, graph: dict[str, Any]) -> None:
        """Begin with a job that is queued."""
        plan = Plan(graph)
        self.teller = JobTeller(ID, plan)
        self.state = JobState(ID, plan)
        self.state.status = "pending"
        self.state.mark_gap()

    def take(self, events: list[BaseEvent]) -> list[BaseEvent]:
        """Return what consumers are told."""
        return [told for event in events for told in self.state.apply(event)]

    def kinds(self, events: list[BaseEvent]) -> list[str]:
        """Return what consumers are told, in short."""
        return [f"{type(told).__name__} {getattr(told, 'node', '')}".strip() for told in self.take(events)]


class TestReadJob:
    """A job is open, over, or gone."""

    @pytest.mark.parametrize(
        ("status", "running"), [("queued", False), ("running", True), ("canceling", True)]
    )
    def test_open(self, status: str, running: bool) -> None:
        """An open job has a place only while it waits."""
        found = read_job(job(status, queue_position=3), ID)
        assert isinstance(found, QueueEntry)
        assert (found.running, found.place) == (running, None if running else 3)

    @pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
    def test_over(self, status: str) -> None:
        """Each end becomes the event of that end, with the outputs before it."""
        body = job(status, outputs=[output("2", "a.png"), output("2", "b.png")])
        found = read_job(body, ID)
        assert isinstance(found, HistoryEntry)
        finished, end = history_events(found, 1.0)
        assert isinstance(finished, NodeFinished)
        assert finished.output is not None
        assert [file["filename"] for file in finished.output["images"]] == ["a.png", "b.png"]
        assert end.type == {"succeeded": "execution_success", "failed": "execution_error"}.get(
            status, "execution_interrupted"
        )

    def test_failed(self) -> None:
        """The node, its class, the message and the traceback are there; the code of all is no type."""
        error = {
            "code": "node_execution_error",
            "message": "broken",
            "node_id": "2",
            "class_type": "SaveImage",
            "traceback": "one\ntwo\n",
        }
        found = read_job(job("failed", error=error), ID)
        assert isinstance(found, HistoryEntry)
        (end,) = history_events(found, 1.0)
        assert isinstance(end, Failed)
        assert (end.node, end.exception_message, end.exception_type) == ("2", "broken", "")
        assert end.traceback == "one\ntwo\n"

    def test_expired(self) -> None:
        """Expired is an absence, to be looked at twice: a proxy says it of quick jobs."""
        assert read_job(job("expired"), ID) is None

    @pytest.mark.parametrize(
        "body",
        [
            None,
            [],
            {},
            {"id": "another", "status": "queued"},
            job("sleeping"),
            job("succeeded", outputs=None),
        ],
    )
    def test_another_shape(self, body: object) -> None:
        """What is no such job proves nothing about it."""
        with pytest.raises(ValueError, match=r"job|status|outputs"):
            read_job(body, ID)

    def test_sizes_that_nobody_knows(self) -> None:
        """A size of 0 beside no hash is none; an empty file with a hash is empty."""
        unknown = {**output("2", "a.png"), "size_bytes": 0}
        empty = {**output("2", "b.png"), "size_bytes": 0, "hash": "blake3:00"}
        found = read_job(job("succeeded", outputs=[unknown, empty]), ID)
        assert isinstance(found, HistoryEntry)
        assert [file["size_bytes"] for file in found.outputs["2"]["images"]] == [None, 0]

    def test_record(self) -> None:
        """A job in the words of ComfyUI's jobs API."""
        found = job_record(job("running", started_at="2026-11-28T00:00:01Z"))
        assert (found["status"], found["execution_start_time"]) == ("in_progress", 1_795_824_001_000)


class TestProgress:
    """Snapshots become events, once each."""

    def test_nodes_in_turn(self) -> None:
        """A node has ended when the count has risen and another one runs."""
        told = Told(picture())
        first = told.teller.progress(
            {"value": 0.25, "nodes_done": 0, "nodes_total": 2, "current_node": "1", "step": 1, "steps": 2},
            1.0,
        )
        assert told.kinds(first) == ["Started", "NodeStarted 1", "Progress 1"]
        assert told.state.progress(1.0).fraction == pytest.approx(0.25, abs=0.001)
        second = told.teller.progress(
            {
                "value": 0.5,
                "nodes_done": 1,
                "nodes_total": 2,
                "current_node": "2",
                "step": None,
                "steps": None,
            },
            2.0,
        )
        assert told.kinds(second) == ["NodeFinished 1", "NodeStarted 2", "Progress 2"]
        assert (told.state.progress(2.0).done, told.state.progress(2.0).total) == (1, 2)

    def test_nodes_at_once(self) -> None:
        """A node that runs beside another has not ended."""
        told = Told(picture())
        told.take(told.teller.started(0.0))
        for node in ("1", "2", "1"):
            events = told.teller.progress(
                {
                    "value": 0.1,
                    "nodes_done": 0,
                    "nodes_total": 2,
                    "current_node": node,
                    "step": 1,
                    "steps": 9,
                },
                1.0,
            )
            assert not any(type(event) is NodeFinished for event in told.take(events))

    def test_a_count_of_what_has_begun(self) -> None:
        """A proxy's count of the nodes that have begun says less than ours, and is left out."""
        told = Told(picture())
        told.take(
            told.teller.progress({"value": 1.0, "nodes_done": 1, "nodes_total": 1, "current_node": None}, 1.0)
        )
        assert told.state.progress(1.0).fraction < 0.5
        assert told.state.progress(1.0).total == 2

    def test_a_poll_that_knows_nothing(self) -> None:
        """The zeros of a look are no news."""
        told = Told(picture())
        assert told.teller.progress({"value": 0.0, "nodes_done": 0, "nodes_total": 0}, 1.0) == []

    def test_the_same_again(self) -> None:
        """A repeated snapshot tells nothing; a fraction never falls."""
        told = Told(picture())
        far = {"value": 0.75, "nodes_done": 1, "nodes_total": 2, "current_node": "2", "step": 5, "steps": 10}
        assert any(type(event) is Progress for event in told.take(told.teller.progress(far, 1.0)))
        assert told.take(told.teller.progress(dict(far), 2.0)) == []
        told.take(told.teller.progress({**far, "value": 0.5, "step": 4}, 3.0))
        assert told.state.progress(3.0).fraction == pytest.approx(0.75, abs=0.001)

    @pytest.mark.parametrize("value", [float("nan"), "half", None, -1, 1e300])
    def test_numbers_that_are_none(self, value: object) -> None:
        """A value that is no share, and counts that are none, break nothing."""
        told = Told(picture())
        far = {"value": value, "nodes_done": value, "nodes_total": value, "current_node": "1", "step": value}
        told.take(told.teller.progress(far, 1.0))
        assert 0.0 <= told.state.progress(1.0).fraction <= 1.0


class TestOutputs:
    """A node is told once, with all of its files."""

    def test_files_together(self) -> None:
        """The files of one node wait for each other; what comes next tells them."""
        told = Told(two_outputs())
        assert told.take(told.teller.output(output("2", "a.png"), 1.0)) == []
        assert told.take(told.teller.output(output("2", "b.png"), 1.0)) == []
        events = told.take(told.teller.output(output("3", "c.png"), 1.0))
        (finished,) = [event for event in events if type(event) is NodeFinished]
        assert finished.output is not None
        assert [file["filename"] for file in finished.output["images"]] == ["a.png", "b.png"]

    def test_twice(self) -> None:
        """A file that comes by the stream and by a look is one file."""
        told = Told(picture())
        told.take(told.teller.output(output("2", "a.png"), 1.0))
        looked = told.take(
            told.teller.snapshot(job("running", outputs=[output("2", "a.png")]), 2.0, progress=True)
        )
        finished = [event for event in looked if type(event) is NodeFinished]
        assert len(finished) == 1
        again = told.teller.snapshot(job("running", outputs=[output("2", "a.png")]), 3.0, progress=True)
        assert not any(type(event) is NodeFinished for event in told.take(again))

    def test_words_of_the_kinds(self) -> None:
        """Pictures, films and sounds go under ComfyUI's words; nothing is dropped."""
        rows = [
            output("2", f"f.{kind}", kind) for kind in ("image", "video", "audio", "text", "latent", "new")
        ]
        found = read_job(job("succeeded", outputs=rows), ID)
        assert isinstance(found, HistoryEntry)
        assert {key: len(files) for key, files in found.outputs["2"].items()} == {
            "images": 1,
            "video": 1,
            "audio": 1,
            "files": 3,
        }


class TestPreview:
    """Pictures of work in progress."""

    def test_decoded(self) -> None:
        """The picture is there as bytes, with its node and kind."""
        data = {"node_id": "1", "content_type": "image/png", "data_base64": base64.b64encode(b"png").decode()}
        (event,) = Told(picture()).teller.preview(data, 1.0)
        assert isinstance(event, Preview)
        assert (event.image, event.mime, event.node) == (b"png", "image/png", "1")

    @pytest.mark.parametrize("data", [{}, {"data_base64": "%%%"}, {"data_base64": None}])
    def test_no_picture(self, data: dict[str, Any]) -> None:
        """What is no base64 is no picture."""
        assert Told(picture()).teller.preview(data, 1.0) == []


def test_started_once() -> None:
    """A job that is looked at again and again starts once."""
    told = Told(picture())
    kinds = [told.kinds(told.teller.snapshot(job("running"), now, progress=True)) for now in (1.0, 2.0)]
    assert kinds == [["Started"], []]


@pytest.mark.parametrize("outputs", [None, {}, "none", 3])
def test_outputs_that_are_no_list_are_none(outputs: Any) -> None:
    """A record has them as ComfyUI has: none, and a count of none."""
    record = job_record(job("succeeded", outputs=outputs))
    assert (record["outputs"], record["outputs_count"]) == ({}, 0)


@pytest.mark.parametrize("name", ["create_time", "created_at"])
def test_when_a_listed_job_was_made(name: str) -> None:
    """Under either name, in milliseconds as ComfyUI has it; the first one counts where both are there."""
    row = {"id": ID, "status": "queued", name: "2026-11-28T00:00:01Z"}
    assert listed_job(row)["create_time"] == 1795824001000
    both = {**row, "create_time": "2026-11-28T00:00:02Z", "created_at": "2026-11-28T00:00:01Z"}
    assert listed_job(both)["create_time"] == 1795824002000


@pytest.mark.parametrize(
    ("told", "reports"),
    [
        ({}, False),
        ({"value": 0.0, "nodes_done": 0, "nodes_total": 2}, False),
        ({"value": 0.5}, True),
        ({"nodes_done": 1, "nodes_total": 2}, True),
        ({"current_node": "1"}, True),
    ],
)
def test_progress_that_knows_nothing_is_left_out(told: dict[str, Any], reports: bool) -> None:
    """Neither a node, nor a finished one, nor a share of the whole."""
    found = JobTeller(ID, Plan(picture())).progress(told, 1.0)
    assert bool(found) is reports


def test_progress_without_a_node_counts_nodes() -> None:
    """One with a node counts its steps."""
    teller = JobTeller(ID, Plan(picture()))
    *_, whole = teller.progress({"nodes_done": 1, "nodes_total": 2, "step": 3, "steps": 4}, 1.0)
    assert isinstance(whole, Progress)
    assert (whole.node, whole.value, whole.max) == (None, 1, 2)
    *_, node = teller.progress({"current_node": "1", "nodes_total": 2, "step": 3, "steps": 4}, 1.0)
    assert isinstance(node, Progress)
    assert (node.node, node.value, node.max) == ("1", 3, 4)
