"""Workflows in pictures, films, sounds and models.

The files in tests/data/media were written once by the libraries that ComfyUI itself uses,
with its keys and options: Pillow 13 (PNG with tEXt, zTXt, iTXt and comf, WebP and JPEG with
EXIF) and PyAV 18 (MP4 and MOV with movflags use_metadata_tags, WebM, Matroska, FLAC, Opus,
OGG, MP3, M4A), each 16 pixels or 20 milliseconds of nothing. expected.json is what they carry.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfy_async.errors import WorkflowError, WorkflowFormatError
from comfy_async.workflow import Workflow
from comfy_async.workflow.media import image, is_media, media_kind, read_media
from comfy_async.workflow.media.reader import MediaDamageError, Reader

MEDIA = Path(__file__).parents[1] / "data/media"
EXPECTED: dict[str, Any] = json.loads((MEDIA / "expected.json").read_text())
PLAIN = sorted(MEDIA.glob("plain.*"))
CARRYING = sorted(path for path in MEDIA.iterdir() if path not in PLAIN and path.suffix != ".json")


@pytest.mark.parametrize("path", CARRYING, ids=lambda path: path.name)
def test_every_kind_of_file_gives_both(path: Path) -> None:
    """Path and bytes give the API graph, and keep the editor's file beside it."""
    assert read_media(path) == EXPECTED
    for source in (path, str(path), path.read_bytes()):
        flow = Workflow.load(source)
        assert flow.format == "api"
        assert flow.to_api() == EXPECTED["prompt"]
        assert flow.editor == EXPECTED["workflow"]


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_files_without_a_workflow_say_so(path: Path) -> None:
    """A picture that carries none is named as such, not as damaged JSON."""
    assert read_media(path.read_bytes()) == {}
    with pytest.raises(WorkflowFormatError, match="carries no workflow"):
        Workflow.load(path)


def png(**texts: str) -> bytes:
    """Return a picture with text chunks."""
    info, target = PngInfo(), io.BytesIO()
    for key, text in texts.items():
        info.add_text(key, text)
    Image.new("RGB", (1, 1)).save(target, "png", pnginfo=info)
    return target.getvalue()


def test_only_one_of_the_two() -> None:
    """The API graph alone has no editor file; the editor's file alone is an editor workflow."""
    api = Workflow.load(png(prompt=json.dumps(EXPECTED["prompt"])))
    assert (api.format, api.editor) == ("api", None)
    editor = Workflow.load(png(workflow=json.dumps(EXPECTED["workflow"])))
    assert (editor.format, editor.editor) == ("editor", EXPECTED["workflow"])


def test_text_that_other_programs_call_prompt() -> None:
    """A prompt that is no JSON does not hide the workflow beside it; alone it is named."""
    flow = Workflow.load(png(prompt="a cat", workflow=json.dumps(EXPECTED["workflow"])))
    assert flow.editor == EXPECTED["workflow"]
    with pytest.raises(WorkflowFormatError, match="PNG file carries is not valid JSON") as caught:
        Workflow.load(png(prompt="a cat"))
    assert caught.value.place == "prompt"


def test_nan_that_comfyui_leaves_beside_the_inputs() -> None:
    """Nodes that are never cached leave `is_changed: [NaN]` in the graph: it is dropped."""
    text = '{"1": {"class_type": "A", "inputs": {"x": 1}, "is_changed": [NaN]}}'
    assert Workflow.load(png(prompt=text)).to_api() == {"1": {"class_type": "A", "inputs": {"x": 1}}}


@pytest.mark.parametrize("path", CARRYING, ids=lambda path: path.name)
def test_cut_off_files_end_in_named_errors(path: Path) -> None:
    """At whatever byte a file ends, it gives what stands before or a format error."""
    content = path.read_bytes()
    for end in range(12, len(content), max(1, len(content) // 300)):
        with contextlib.suppress(WorkflowFormatError):
            assert set(read_media(content[:end])) <= {"prompt", "workflow"}


@pytest.mark.parametrize("path", CARRYING, ids=lambda path: path.name)
def test_hostile_files_end_in_named_errors(path: Path) -> None:
    """Bytes that are changed at random never end in another error, nor in an endless loop."""
    content = path.read_bytes()
    draw = random.Random(path.name)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 8)):
            damaged[draw.randrange(12, min(len(damaged), 3000))] = draw.choice((0, 1, 127, 128, 255))
        with contextlib.suppress(WorkflowError):
            Workflow.load(bytes(damaged))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_compressed_text_cannot_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small picture with a huge text is refused."""
    monkeypatch.setattr("comfy_async.workflow.media.reader.MAX_TEXT", 1000)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b" " * 100_000))
    with pytest.raises(WorkflowFormatError, match="too large"):
        read_media(bomb)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31) + b"tEXt", "cut off"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"iTXt", b"prompt\0\1\0"), "too short"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"eXIf", b"nonsense"), "byte order"),
        (b"\xff\xd8\xff\xe1\0\0", "no length"),
        (b"\xff\xd8\xff\xe0\0\2\0\0", "no segment"),
        (b"\0\0\0\4ftyp" + bytes(8), "'ftyp' is cut off or damaged"),
        (b"\x1a\x45\xdf\xa3\xff", "no length"),
        (b"\x1a\x45\xdf\xa3\x80\0", "no element"),
        (b"OggS" + bytes(22) + b"\0nope" + bytes(40), "no page"),
        (b"ID3\4\0\0\0\0\0\x0aTXXX\0\0\1\0\0\0", "cut off"),
        (b"\x76\x2f\x31\x01\2\0\0\0prompt", "header is cut off"),
        (b"glTF\2\0\0\0\0\0\0\0\2\0\0\0JSONxx", "not valid JSON"),
        (b"\5\0\0\0\0\0\0\0{oops", "not valid JSON"),
    ],
)
def test_damage_is_named(content: bytes, says: str) -> None:
    """Lengths that lie are told with the byte at which it was noticed."""
    with pytest.raises(WorkflowFormatError, match=says) as caught:
        read_media(content)
    assert caught.value.place.startswith("byte ")


def test_limits_of_size_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many parts, and parts that are too large, end the reading."""
    ogg = (MEDIA / "tags.ogg").read_bytes()
    content = (MEDIA / "text.png").read_bytes()
    monkeypatch.setattr("comfy_async.workflow.media.reader.MAX_TEXT", 64)
    with pytest.raises(WorkflowFormatError, match="too large"):
        read_media(content)
    monkeypatch.setattr("comfy_async.workflow.media.audio.MAX_TEXT", 8)
    monkeypatch.setattr("comfy_async.workflow.media.reader.MAX_TEXT", 10_000)
    with pytest.raises(WorkflowFormatError, match="a packet is too large"):
        read_media(ogg)
    monkeypatch.setattr("comfy_async.workflow.media.reader.MAX_PARTS", 2)
    with pytest.raises(WorkflowFormatError, match="more than 2 parts"):
        read_media(content)


def test_a_file_that_shrinks_while_it_is_read() -> None:
    """Less than the size promised is a file that is cut off."""

    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size)[:3]

    with pytest.raises(MediaDamageError, match="cut off"):
        Reader(Shrinking(b"\x89PNG\r\n\x1a\n")).read(8)


def test_ogg_without_comments_ends_after_its_headers() -> None:
    """Four packets of each stream are looked at, the sound itself is not."""

    def page(packets: int) -> bytes:
        return b"OggS" + bytes(22) + bytes([packets]) + bytes([1] * packets) + bytes(packets)

    assert read_media(page(4) + page(4) + b"no page") == {}
    with pytest.raises(WorkflowFormatError, match="cut off"):
        read_media(page(1) + page(9)[:-20])


def test_id3_with_unsynchronisation_and_boxes_that_are_too_short() -> None:
    """Zeros that were put after 255 are taken out; a meta box of four bytes holds nothing."""
    text = b"\3prompt\0" + b'{"1": {"class_type": "\xc3\xbf", "inputs": {}}}'
    frame = b"TXXX" + struct.pack(">IH", len(text), 0) + text
    tag = b"ID3\3\0\x80" + bytes([0, 0, len(frame) >> 7, len(frame) & 0x7F]) + frame
    assert read_media(tag)["prompt"]["1"]["class_type"] == "\xff"
    meta = struct.pack(">I", 12) + b"meta" + bytes(4)
    assert read_media(struct.pack(">I", 8) + b"ftyp" + struct.pack(">I", 20) + b"moov" + meta) == {}


def test_exif_that_runs_in_circles() -> None:
    """A directory that points at itself is read once."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    block = b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    content = (
        b"RIFF" + struct.pack("<I", len(block) + 12) + b"WEBPEXIF" + struct.pack("<I", len(block)) + block
    )
    assert read_media(content) == {}


@pytest.mark.parametrize("kind", ["texts", "directories"])
def test_exif_entries_that_overlap(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small block whose entries all point to one long text, or to each other, is given up soon."""
    read: list[int] = []

    def noted(_tag: int, raw: bytes, _order: str) -> Iterator[tuple[str, str]]:
        read.append(len(raw))
        yield "key", "value"

    monkeypatch.setattr(image, "_exif_text", noted)
    count, text = 2000, b"prompt:" + b"x" * 50_000
    places = [10 + 12 * count + 4] * count if kind == "texts" else [10 + 12 * n for n in range(count)]
    tag, form = (0x10F, 2) if kind == "texts" else (0x8769, 4)
    entries = b"".join(struct.pack("<HHII", tag, form, len(text), place) for place in places)
    block = b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + text
    with pytest.raises(MediaDamageError, match="overlap|cut off"):
        list(image.exif(block, offset=0))
    assert sum(read) <= 4 * len(block)


def test_drawings_models_and_hdr_pictures() -> None:
    """SVG, safetensors, GLB and OpenEXR carry it in their headers."""
    texts = {key: json.dumps(value) for key, value in EXPECTED.items()}
    header = json.dumps({"__metadata__": texts}).encode()
    model = json.dumps({"asset": {"extras": texts}}).encode()
    attributes = b"".join(
        key.encode() + b"\0string\0" + struct.pack("<i", len(text)) + text.encode()
        for key, text in texts.items()
    )
    files = [
        f"<?xml version='1.0'?><svg><metadata><![CDATA[{json.dumps(EXPECTED)}]]></metadata></svg>".encode(),
        struct.pack("<Q", len(header)) + header,
        b"glTF" + struct.pack("<IIII", 2, 20 + len(model), len(model), 0x4E4F534A) + model,
        b"\x76\x2f\x31\x01\2\0\0\0" + attributes + b"compression\0compression\0\1\0\0\0\3\0",
    ]
    for content in files:
        assert read_media(content) == EXPECTED
    assert read_media(files[3].replace(b"prompt", b"xrompt").replace(b"workflow", b"xorkflow")) == {}


def test_id3_of_every_version() -> None:
    """Versions 2.2 to 2.4, with an extended header, UTF-16 texts and a FLAC file behind it."""
    text = json.dumps(EXPECTED["prompt"])
    wide = b"\1" + "prompt".encode("utf-16") + b"\0\0" + text.encode("utf-16")

    def synchsafe(number: int) -> bytes:
        return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))

    extended = synchsafe(6) + b"\1\0"
    frames = {
        2: b"TXX" + len(wide).to_bytes(3, "big") + wide,
        3: b"TXXX" + struct.pack(">IH", len(wide), 0) + wide,
        4: extended + b"TXXX" + synchsafe(len(wide)) + b"\0\0" + wide,
    }
    for version, frame in frames.items():
        flags = 0x40 if version == 4 else 0
        tag = b"ID3" + bytes([version, 0, flags]) + synchsafe(len(frame)) + frame
        assert read_media(tag) == {"prompt": EXPECTED["prompt"]}
    empty = b"ID3\4\0\0" + synchsafe(0)
    assert read_media(empty + (MEDIA / "tags.flac").read_bytes()) == EXPECTED


def test_itunes_and_quicktime_comments() -> None:
    """The older ways to put a comment into an MP4 are read too."""

    def box(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data) + 8) + kind + data

    comment = json.dumps(EXPECTED).encode()
    free = (
        box(b"mean", bytes(4))
        + box(b"name", bytes(4) + b"workflow")
        + box(b"data", bytes(8) + b'{"nodes": []}')
    )
    itunes = box(b"ilst", box(b"----", free) + box(b"\xa9cmt", box(b"data", bytes(8) + comment)))
    quicktime = box(b"\xa9cmt", struct.pack(">HH", len(comment), 0) + comment)
    long_box = struct.pack(">I", 1) + b"free" + struct.pack(">Q", 20) + bytes(4)
    for inner in (itunes, quicktime):
        content = (
            box(b"ftyp", b"mp42") + long_box + box(b"moov", box(b"udta", box(b"meta", bytes(4) + inner)))
        )
        assert read_media(content)["prompt"] == EXPECTED["prompt"]


@pytest.mark.parametrize("content", [b"", b"{", b"GIF89a", b'{"a": 1}      ', b"<html>"])
def test_what_is_no_media(content: bytes) -> None:
    """Other content is left to the JSON reader."""
    assert not is_media(content)
    assert media_kind(content) is None
    assert read_media(content) == {}
