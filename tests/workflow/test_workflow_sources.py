"""Whatever a workflow comes in: wrappers, pictures of other programs, what is no workflow at all."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from comfy_async.errors import WorkflowFormatError
from comfy_async.workflow import Workflow

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/data/cases"
EDITOR = json.loads((CASES / "02_duplicate_id_of_nodes.json").read_text())
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
EXTRA = {"client_id": "x", "extra_pnginfo": {"workflow": EDITOR}}
ITEM = [4, "9e721e8c-948f-48d8-a684-409836d205e3", GRAPH, EXTRA, ["2"]]


@pytest.mark.parametrize(
    ("wrapped", "has_editor"),
    [
        ({"output": GRAPH, "workflow": EDITOR}, True),
        ({"prompt": GRAPH, "workflow": EDITOR}, True),
        ({"prompt": GRAPH, "extra_data": EXTRA}, True),
        ({"prompt": GRAPH, "client_id": "x"}, False),
        ({"input": {"workflow": GRAPH}}, False),
        ({"input": {"prompt": GRAPH, "images": []}, "webhook": "x"}, False),
        ({"workflow": GRAPH}, False),
        ({"workflow": {"prompt": GRAPH, "extra_data": EXTRA}, "id": "x", "status": "completed"}, True),
        (ITEM, True),
        (ITEM[:3], False),
        ({"prompt": ITEM, "outputs": {}, "status": {}}, True),
        ({ITEM[1]: {"prompt": ITEM, "outputs": {}, "status": {}}}, True),
    ],
)
def test_what_programs_wrap_workflows_in(wrapped: Any, has_editor: bool) -> None:
    """Requests, history and queue entries, exports, bodies of serverless workers."""
    for source in (wrapped, json.dumps(wrapped)):
        if isinstance(source, list):
            continue
        flow = Workflow.load(source)
        assert flow.to_api() == GRAPH
        assert flow.carries_both is has_editor
        assert (flow.editor == EDITOR) is has_editor


def test_an_editor_file_in_a_wrapper() -> None:
    """It stays one, and is converted when there is a catalog."""
    assert Workflow.load({"workflow": EDITOR}).format == "editor"
    assert Workflow.load({"input": {"workflow": EDITOR}}).format == "editor"


def test_nodes_may_be_called_like_wrappers() -> None:
    """What has a class is a node, whatever its id."""
    odd = {"prompt": GRAPH["1"], "workflow": GRAPH["1"], "input": GRAPH["1"]}
    assert list(Workflow.load(odd).nodes) == ["prompt", "workflow", "input"]


@pytest.mark.parametrize(
    "nothing",
    [
        {"workflow": {"workflow": {"workflow": {"workflow": {"workflow": {"workflow": {}}}}}}},
        {"a": {"prompt": ITEM}, "b": {"prompt": ITEM}},
        {"prompt": "a fox"},
        {"input": {}},
        [1, 2, 3],
    ],
)
def test_wrappers_of_nothing_are_refused(nothing: Any) -> None:
    """Several runs, an empty body, a wrapper without end."""
    with pytest.raises(WorkflowFormatError):
        Workflow.load(json.dumps(nothing))


@pytest.mark.parametrize(
    "name",
    [
        *("20_text_after_iend.png", "21_ztxt.png", "23_itxt_plain.png", "24_text_raw_utf8.png"),
        *("25_comf_chunk.png", "26_text_latin1.png", "29_prompt_with_nan.png"),
        *("30_exif_make_model.avif", "30_exif_make_model.jpeg", "30_exif_make_model.png"),
        *("30_exif_make_model.webp", "31_exif_usercomment_json.jpeg", "31_exif_usercomment_json.webp"),
        *("32_exif_imagedescription.jpeg", "32_exif_imagedescription.webp", "33_png_comment_json.png"),
        *("34_png_workflow_is_api.png", "37_bom_utf8.json", "38_utf16.json", "39_nan.json"),
        *("40_wrapper_output_workflow.json", "41_wrapper_runpod.json", "43_gzip.json.gz"),
    ],
)
def test_every_way_to_carry_a_workflow(name: str) -> None:
    """Two nodes each, by path and by content."""
    flow = Workflow.load(CASES / name)
    assert len(flow) == 2
    assert Workflow.load((CASES / name).read_bytes()) == flow


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("28_a1111_only.png", "settings of another program"),
        ("44_trailing_comma.json", "line 1, column 638"),
        ("45_lfs_pointer.png", "git lfs pull"),
        ("46_api_nan_input.json", "1.inputs.color"),
    ],
)
def test_what_carries_none_says_what_it_is(name: str, says: str) -> None:
    """A pointer, settings of another program, damaged JSON: each by its name."""
    with pytest.raises(WorkflowFormatError, match=says):
        Workflow.load(CASES / name)
    with pytest.raises(WorkflowFormatError, match=says):
        Workflow.load((CASES / name).read_bytes())


def test_rubbish_after_a_picture_is_no_damage() -> None:
    """Only what stands before the end of a PNG is believed to be whole."""
    whole = (ROOT / "tests/data/media/plain.png").read_bytes()
    for rest in (b"rubbish", b"\xff" * 40, b"\0\0\0\5tEXt"):
        with pytest.raises(WorkflowFormatError, match="carries no workflow"):
            Workflow.load(whole + rest)
    with pytest.raises(WorkflowFormatError, match="damaged"):
        Workflow.load(whole[:-12] + b"rubbish")


AVIF = CASES / "30_exif_make_model.avif"


def test_avif_that_is_cut_off_or_lies_ends_in_named_errors() -> None:
    """At every length, with every byte of its tables; what stands before the damage is taken."""
    content = AVIF.read_bytes()
    damaged = [content[:end] for end in range(12, len(content), 7)]
    for place in range(12, 0x154):
        damaged += [content[:place] + bytes([byte]) + content[place + 1 :] for byte in (0, 0x7F, 0xFF)]
    ends = set[str]()
    for file in damaged:
        try:
            assert len(Workflow.load(file)) == 2
            ends.add("read")
        except WorkflowFormatError as error:
            ends.add(str(error).split("(")[0])
    assert len(ends) > 3
    assert "read" in ends


def box(kind: bytes, content: bytes) -> bytes:
    """Return a box of the MP4 family."""
    return struct.pack(">I", len(content) + 8) + kind + content


def test_avif_tables_of_other_versions() -> None:
    """Wide item numbers and offsets; items of several parts, or not in the file, are left out."""
    prompt = b"prompt:" + json.dumps(GRAPH).encode() + b"\0"
    tiff = b"MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x0110, 2, len(prompt), 26, 0) + prompt
    block = struct.pack(">I", 0) + tiff
    infos = b"".join(
        box(b"infe", struct.pack(">B3xIH", 3, number, 0) + kind)
        for number, kind in ((7, b"Exif"), (8, b"Exif"))
    )
    head = box(b"ftyp", b"heic\0\0\0\0heic")

    def file(offset: int) -> bytes:
        locations = struct.pack(">B3xBBI", 2, 0x88, 0, 2)
        locations += struct.pack(">IHHHQQQQ", 8, 0, 0, 2, 0, 1, 1, 1)
        locations += struct.pack(">IHHHQQ", 7, 0, 0, 1, offset, len(block))
        tables = box(b"iinf", struct.pack(">B3xI", 1, 2) + infos) + box(b"iloc", locations)
        return head + box(b"meta", bytes(4) + tables) + box(b"mdat", block)

    offset = len(file(0)) - len(block)
    assert Workflow.load(file(offset)).to_api() == GRAPH
