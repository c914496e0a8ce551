"""The values that the editor's 3D viewports send: the state of their camera.

The editor also renders pictures for Load3D; that requires a browser, so their names are empty here.
The numbers equal those of frontend 1.49.6 to the last bit, where three.js converts a position to
spherical coordinates and back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from .model import JSON_OBJECT, Node

__all__ = ["VIEWPORTS", "viewport_state"]

VIEWPORTS: Final = frozenset(
    {
        "Preview3DAdvanced",
        "Save3DAdvanced",
        "PreviewGaussianSplat",
        "PreviewPointCloud",
        "SaveGaussianSplat",
        "SavePointCloud",
    }
)
"""Classes whose viewport is called `viewport_state` (load3d.ts)."""

_Vector: TypeAlias = tuple[float, float, float]

_START: Final[_Vector] = (10.0, 10.0, 10.0)
_ORIGIN: Final[_Vector] = (0.0, 0.0, 0.0)
_FIELD_OF_VIEW: Final = 35
_HALF_FRUSTUM: Final = 5.0


def viewport_state(node: Node) -> Any:
    """Return the value that the node's viewport sends, "" for classes without camera state."""
    if node.class_type == "Load3DAdvanced":
        return {"camera_info": _camera(node), "model_3d_info": []}
    if node.class_type == "Load3D" or node.class_type in VIEWPORTS:
        pictures = {"image": "", "mask": "", "normal": "", "recording": ""}
        return {**pictures, "camera_info": _camera(node), "model_3d_info": []}
    return ""


def _camera(node: Node) -> dict[str, Any]:
    """Return the camera as it is in the file, else its initial state."""
    config = _object(node.properties.get("Camera Config"))
    flat = config.get("cameraType") == "orthographic"
    fov = config.get("fov", _FIELD_OF_VIEW)
    # The camera is restored together with a model: in a preview, the one that was shown last. The
    # model of Load3D is on the server; newer editors wait for it, so here nothing is restored.
    if node.class_type in VIEWPORTS:
        restored = "Last Time Model File" in node.properties
    else:
        restored = node.class_type != "Load3D" or not node.editor.waits_for_models
    state = _object(config.get("state")) if restored else {}
    target = _vector(state.get("target"), _ORIGIN)
    position = _settled(_vector(state.get("position"), _START), target)
    aspect = _aspect(node)
    side = _HALF_FRUSTUM * aspect if flat else _HALF_FRUSTUM
    return {
        "position": _named("xyz", position),
        "target": _named("xyz", target),
        "zoom": state.get("zoom", 1),
        "cameraType": "orthographic" if flat else "perspective",
        "quaternion": _named("xyzw", _looking(position, target)),
        "fov": _FIELD_OF_VIEW if flat else fov,
        "aspect": _plain(aspect),
        "near": 0.01,
        "far": 10000,
        "frustum": {
            "left": _plain(-side),
            "right": _plain(side),
            "top": _plain(_HALF_FRUSTUM),
            "bottom": _plain(-_HALF_FRUSTUM),
        },
    }


def _object(data: Any) -> Mapping[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    return data if isinstance(data, JSON_OBJECT) else {}


def _vector(data: Any, fallback: _Vector) -> _Vector:
    """Return a saved point, the fallback when it is malformed."""
    saved = (_object(data).get(axis) for axis in "xyz")
    point = [float(part) for part in saved if isinstance(part, int | float) and math.isfinite(part)]
    return (point[0], point[1], point[2]) if len(point) == 3 else fallback


def _aspect(node: Node) -> float:
    """Return the aspect ratio, width divided by height; 1 when a size is unknown."""
    widgets = [widget for name in ("width", "height") if (widget := node.widget(name)) is not None]
    sizes = [float(each.value) for each in widgets if isinstance(each.value, int | float) and each.value]
    return sizes[0] / sizes[1] if len(sizes) == 2 else 1.0


def _settled(position: _Vector, target: _Vector) -> _Vector:
    """Return the position after orbit controls converted it repeatedly, until it no longer changes."""
    for _ in range(10):
        turned = _orbited(position, target)
        if turned == position:
            break
        position = turned
    return position


def _orbited(position: _Vector, target: _Vector) -> _Vector:
    """Return the position after a conversion to spherical coordinates around the target and back."""
    x, y, z = (one - other for one, other in zip(position, target, strict=True))
    radius = math.sqrt(x * x + y * y + z * z)
    if radius == 0:
        return position
    around = math.atan2(x, z)
    # The controls never look along the axis itself.
    down = min(max(math.acos(min(max(y / radius, -1), 1)), 1e-6), math.pi - 1e-6)
    flat = math.sin(down) * radius
    return (
        target[0] + flat * math.sin(around),
        target[1] + math.cos(down) * radius,
        target[2] + flat * math.cos(around),
    )


def _looking(position: _Vector, target: _Vector) -> tuple[float, float, float, float]:
    """Return the rotation of a camera that looks from the position to the target, upright."""
    back = _unit(_minus(position, target)) or (0.0, 0.0, 1.0)
    right = _unit((back[2], 0.0, -back[0])) or (1.0, 0.0, 0.0)
    up = (
        back[1] * right[2] - back[2] * right[1],
        back[2] * right[0] - back[0] * right[2],
        back[0] * right[1] - back[1] * right[0],
    )
    return _quaternion((right, up, back))


def _minus(one: _Vector, other: _Vector) -> _Vector:
    """Return the difference of two points."""
    return one[0] - other[0], one[1] - other[1], one[2] - other[2]


def _unit(vector: _Vector) -> _Vector | None:
    """Return the vector with length one, None when it has none."""
    length = math.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
    if length == 0:
        return None
    scale = 1 / length
    return vector[0] * scale, vector[1] * scale, vector[2] * scale


def _quaternion(columns: tuple[_Vector, _Vector, _Vector]) -> tuple[float, float, float, float]:
    """Return the quaternion (x, y, z, w) of a rotation matrix that is given by columns."""
    sums = [[columns[j][i] + columns[i][j] for j in range(3)] for i in range(3)]
    turns = (
        columns[1][2] - columns[2][1],
        columns[2][0] - columns[0][2],
        columns[0][1] - columns[1][0],
    )
    diagonal = [columns[i][i] for i in range(3)]
    if (trace := diagonal[0] + diagonal[1] + diagonal[2]) > 0:
        scale = 0.5 / math.sqrt(trace + 1.0)
        return turns[0] * scale, turns[1] * scale, turns[2] * scale, 0.25 / scale
    first = (
        0
        if diagonal[0] > diagonal[1] and diagonal[0] > diagonal[2]
        else 1
        if diagonal[1] > diagonal[2]
        else 2
    )
    others = [diagonal[i] for i in range(3) if i != first]
    scale = 2.0 * math.sqrt(1.0 + diagonal[first] - others[0] - others[1])
    parts = [0.25 * scale if i == first else sums[first][i] / scale for i in range(3)]
    return parts[0], parts[1], parts[2], turns[first] / scale


def _named(axes: str, parts: tuple[float, ...]) -> dict[str, Any]:
    """Return numbers by the names of their axes."""
    return {axis: _plain(part) for axis, part in zip(axes, parts, strict=True)}


def _plain(number: float) -> float:
    """Return a whole number as an int, as JavaScript writes it."""
    return int(number) if float(number).is_integer() else number
