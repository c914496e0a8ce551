"""Server-sent events out of pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_async._protocol.sse import SseError, SseReader

STREAM = (
    b'\xef\xbb\xbfevent: status\ndata: {"status":"queued"}\n\n'
    b": keepalive\n\n"
    b"id: 7\r\nevent: progress\r\ndata: {\r\ndata: }\r\n\r\n"
    b"retry: 10\rdata:no space\r\r"
    b"event: empty\n\n"
    b"data\ndata: \n\n"
    b"event: cut off\ndata: never ended"
)
EVENTS = [
    ("status", b'{"status":"queued"}'),
    ("progress", b"{\n}"),
    ("message", b"no space"),
    ("message", b"\n"),
]


def read(*pieces: bytes) -> list[tuple[str, bytes]]:
    """Return the events of a stream that comes in these pieces."""
    reader = SseReader()
    return [event for piece in pieces for event in reader.feed(piece)]


def test_a_whole_stream() -> None:
    """All line ends, comments, ids, several lines of data; an event without data is none."""
    assert read(STREAM) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_pieces_of_any_size(cuts: list[int]) -> None:
    """It makes no difference where a stream is cut."""
    places = [0, *sorted(cuts), len(STREAM)]
    assert read(*(STREAM[a:b] for a, b in zip(places, places[1:], strict=False))) == EVENTS


def test_a_cr_at_the_end_of_a_piece() -> None:
    """A CR and the LF that comes with the next piece are one line end."""
    assert read(b"data: 1\r", b"\ndata: 2\r", b"\n\r", b"\n") == [("message", b"1\n2")]


def test_an_endless_event() -> None:
    """What grows beyond the limit is refused, as one line or as many."""
    for piece in (b"x" * 100, b"data: " + b"x" * 94 + b"\n"):
        reader = SseReader(most=1000)
        assert not any(reader.feed(piece) for _ in range(9))
        with pytest.raises(SseError, match="1,000"):
            reader.feed(piece * 2)
