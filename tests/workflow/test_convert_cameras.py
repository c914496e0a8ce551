"""Converting: 3D viewports, which send where their camera stands."""

from __future__ import annotations

from typing import Any

import pytest
from convert_files import editor, inputs_of, node

CAMERA = {
    "position": {"x": 10, "y": 10, "z": pytest.approx(10)},
    "target": {"x": 0, "y": 0, "z": 0},
    "zoom": 1,
    "cameraType": "perspective",
    "quaternion": {
        "x": pytest.approx(-0.2798481423331213),
        "y": pytest.approx(0.3647051996310008),
        "z": pytest.approx(0.11591689595929511),
        "w": pytest.approx(0.8804762392171493),
    },
    "fov": 35,
    "aspect": 2,
    "near": 0.01,
    "far": 10000,
    "frustum": {"left": -5, "right": 5, "top": 5, "bottom": -5},
}


def camera_of(class_type: str, *values: Any, **properties: Any) -> dict[str, Any]:
    """Return the camera that a node sends."""
    named = {name.replace("_", " "): value for name, value in properties.items()}
    inputs = inputs_of(editor([node(1, class_type, *values, properties=named)]), "1")
    camera: dict[str, Any] = inputs["viewport_state"]["camera_info"]
    return camera


def test_viewports_send_their_camera() -> None:
    """Pictures only a browser could render, so their names are empty; the camera is known."""
    found = inputs_of(editor([node(1, "Load3D", "toy.glb", "a", "b", "c", "saved", 512, 256)]), "1")
    pictures = {"image": "", "mask": "", "normal": "", "recording": ""}
    assert found["image"] == {**pictures, "camera_info": CAMERA, "model_3d_info": []}
    assert (found["width"], found["height"], found["upload 3d model"]) == (512, 256, "a")
    found = inputs_of(editor([node(1, "Load3DAdvanced", "toy.glb", "", 512, 256)]), "1")
    assert found["viewport_state"] == {"camera_info": CAMERA, "model_3d_info": []}


@pytest.mark.parametrize("class_type", ["Preview3D", "SaveGLB", "WebcamCapture"])
def test_pictures_of_the_browser(class_type: str) -> None:
    """Other pictures that are made in the browser are empty, whatever the file says."""
    assert inputs_of(editor([node(1, class_type, "first", "second", 3)]), "1")["image"] == ""


# Cameras as the editor saved them; the rotations are those that frontend 1.49.6 sent.
@pytest.mark.parametrize(
    ("position", "target", "rotation"),
    [
        (
            (-8.229797471889722, 5.041376803504015, 5.82426920219876),
            (-0.46113666187600666, 2.5, 0),
            (-0.11416846177954852, -0.44363642502882716, -0.0570973210170989, 0.88706943395385),
        ),
        (
            (3.9656025385944904, -4.722558849633887, -3.5804364988653106),
            (0.9555946328972706, 2.5, 0),
            (0.1635937731020054, 0.8253983480281916, -0.448822293426636, 0.30085410649987226),
        ),
        (
            (1.2299806428804843, -8.360203306592831, -1.5612186282279978),
            (-0.6008578836223217, 2.5, 0),
            (0.26229240902115813, 0.7080811825848626, -0.5683737824710088, 0.3267644020371531),
        ),
    ],
)
def test_saved_cameras_are_sent(position: Any, target: Any, rotation: Any) -> None:
    """A saved camera keeps its place, looks at its target, and has its field of view."""
    where, what = (dict(zip("xyz", point, strict=True)) for point in (position, target))
    config = {"cameraType": "perspective", "fov": 50, "state": {"position": where, "target": what, "zoom": 2}}
    camera = camera_of("Load3DAdvanced", "none", "", 64, 64, Camera_Config=config)
    assert camera["position"] == pytest.approx(where)
    assert camera["target"] == what
    assert tuple(camera["quaternion"].values()) == pytest.approx(rotation)
    assert (camera["fov"], camera["zoom"], camera["aspect"]) == (50, 2, 1)


def test_flat_cameras() -> None:
    """An orthographic camera sees as wide as the picture, and has the other's field of view."""
    config = {"cameraType": "orthographic", "fov": 75}
    camera = camera_of("Save3DAdvanced", "x", "", 512, 1024, Camera_Config=config)
    assert (camera["cameraType"], camera["fov"], camera["aspect"]) == ("orthographic", 35, 0.5)
    assert camera["frustum"] == {"left": -2.5, "right": 2.5, "top": 5, "bottom": -5}


def test_previews_restore_their_camera_with_a_model() -> None:
    """A preview that showed no model yet begins with the camera of a new one."""
    state = {"position": {"x": 0, "y": 0, "z": 7}, "target": {"x": 0, "y": 0, "z": 0}}
    properties: dict[str, Any] = {"Camera_Config": {"fov": 35, "state": state}}
    assert camera_of("Preview3DAdvanced", "", 64, 64, **properties)["position"]["x"] == 10
    properties["Last_Time_Model_File"] = "a.glb"
    assert camera_of("Preview3DAdvanced", "", 64, 64, **properties)["position"]["z"] == 7


@pytest.mark.parametrize("config", [7, {"state": 5}, {"state": {"position": {"x": "a"}, "target": [1]}}])
def test_damaged_cameras_begin_anew(config: Any) -> None:
    """A camera that cannot be read stands where a new one does."""
    assert camera_of("Load3DAdvanced", "none", "", 512, 256, Camera_Config=config) == CAMERA


def test_cameras_at_their_target() -> None:
    """A camera inside its target, or right above it, still looks somewhere."""
    origin = {"x": 0, "y": 0, "z": 0}
    for height in (0, 5, -5):
        state = {"position": {**origin, "y": height}, "target": origin}
        camera = camera_of("Load3DAdvanced", "none", "", 0, 0, Camera_Config={"state": state})
        assert sum(part * part for part in camera["quaternion"].values()) == pytest.approx(1)
        assert camera["aspect"] == 1
