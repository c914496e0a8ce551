"""The folders of the server, its models, and the names of the files that it writes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from ._specs import InputFiles, Models

__all__ = ["Folders"]

MODEL_FOLDERS = """
    checkpoints configs loras vae text_encoders diffusion_models clip_vision style_models embeddings diffusers
    vae_approx controlnet gligen upscale_models latent_upscale_models custom_nodes datasets hypernetworks
    photomaker classifiers model_patches audio_encoders background_removal frame_interpolation
    geometry_estimation optical_flow detection
""".split()

_STAND_INS = {
    "checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"],
    "vae": ["vae-ft-mse-840000-ema-pruned.safetensors"],
}


_FIRST_SETTINGS = {"Comfy.InstalledVersion": "1.49.6", "Comfy.TutorialCompleted": True}


class Folders:
    """Where the server keeps its files, and what models it pretends to have.

    Attributes:
        models: Names of models by folder; tests may change it while the server runs.
        model_metadata: The safetensors metadata of a model, by `(folder, name)`.
    """

    def __init__(
        self, *, output: str | os.PathLike[str] | None, models: Mapping[str, Iterable[str]] | None
    ) -> None:
        """Remember the choices; nothing is written before `create`."""
        self.models: dict[str, list[str]] = {name: [] for name in MODEL_FOLDERS}
        self.models |= {name: list(names) for name, names in _STAND_INS.items()}
        self.models |= {name: list(names) for name, names in (models or {}).items()}
        self.model_metadata: dict[tuple[str, str], dict[str, str]] = {}
        self.temp_prefix = "_temp_" + "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=5))
        self._wanted_output = None if output is None else Path(output).resolve()
        self._base: Path | None = None
        self._by_type: dict[str, Path] = {}
        self._counters: dict[tuple[Path, str], int] = {}

    def user(self, name: str) -> Path:
        """Return where the userdata and settings of a user live."""
        folder = self.base / "user" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            self.settings_file(name).write_text(json.dumps(_FIRST_SETTINGS))
        return folder

    def settings_file(self, name: str) -> Path:
        """Return where the settings of a user are kept, as JSON."""
        return self.base / "user" / name / "comfy.settings.json"

    @property
    def base(self) -> Path:
        """The folder that goes away with the server.

        Raises:
            RuntimeError: The server does not run.
        """
        if self._base is None:
            raise RuntimeError("FakeComfy is not running: enter it with `async with` first")
        return self._base

    def create(self) -> None:
        """Make the folders."""
        self._base = Path(tempfile.mkdtemp(prefix="fake-comfy-")).resolve()
        self._by_type = {name: self._base / name for name in ("input", "temp")}
        self._by_type["output"] = self._wanted_output or self._base / "output"
        for folder in self._by_type.values():
            folder.mkdir(parents=True, exist_ok=True)
        self.user("default")
        Image.new("RGB", (64, 64), (96, 120, 160)).save(self._by_type["input"] / "example.png")

    def remove(self) -> None:
        """Remove them, all but an output folder that the caller gave."""
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)
            self._base = None
            self._counters.clear()

    def empty_temp(self) -> None:
        """Remove the temporary outputs, as a server does when it starts."""
        if self._base is not None:
            shutil.rmtree(self._by_type["temp"], ignore_errors=True)
            self._by_type["temp"].mkdir(parents=True, exist_ok=True)

    def of_type(self, kind: str) -> Path | None:
        """Return the folder of input, output or temp files, None for another word."""
        return self._by_type.get(kind)

    def choices(self, marker: Models | InputFiles) -> list[str]:
        """Return what can be chosen now."""
        if isinstance(marker, Models):
            return [*self.models.get(marker.folder, ()), *marker.extra]
        return sorted(entry.name for entry in os.scandir(self._by_type["input"]) if entry.is_file())

    def annotated(self, name: str, *, default: str = "input") -> Path | None:
        """Return the path that a name such as `face.png` or `face.png [output]` stands for.

        None for one that leads out of the folder. Releases before 0.33 open that too; no test needs it, and
        a stand-in that does it would give away files of the machine that it runs on.
        """
        kind = default
        found = re.fullmatch(r"(.*) \[(input|output|temp)\]", name, re.DOTALL)
        if found:
            name, kind = found.groups()
        root = self._by_type[kind]
        try:
            path = Path(os.path.realpath(root / name))
        except ValueError:
            return None
        return path if path.is_relative_to(os.path.realpath(root)) else None

    def next_file(
        self, prefix: str, *, kind: str, size: tuple[int, int], suffix: str
    ) -> tuple[Path, dict[str, str]]:
        """Return where the next file of a prefix goes, and how it is announced.

        Raises:
            ValueError: The prefix leads out of the folder.
        """
        root = self._by_type[kind]
        pure = Path(os.path.normpath(_expanded(prefix, size)))
        folder = root / pure.parent
        if not folder.resolve().is_relative_to(root):
            raise ValueError(f"{prefix!r} leads out of the {kind} folder")
        folder.mkdir(parents=True, exist_ok=True)
        number = self._number(folder, pure.name)
        name = f"{pure.name}_{number:05}_{suffix}"
        subfolder = "" if str(pure.parent) == "." else pure.parent.as_posix()
        return folder / name, {"filename": name, "subfolder": subfolder, "type": kind}

    def _number(self, folder: Path, stem: str) -> int:
        """Return the next number of a stem: the folder is read once, then counted on."""
        key = (folder, stem)
        if key not in self._counters:
            pattern = re.compile(re.escape(stem) + r"_(\d+)_")
            found = (pattern.match(entry.name) for entry in os.scandir(folder))
            self._counters[key] = max((int(match[1]) for match in found if match), default=0)
        self._counters[key] += 1
        return self._counters[key]


def _expanded(prefix: str, size: tuple[int, int]) -> str:
    """Put size and time into a prefix such as `%year%-%month%/%width%`."""
    if "%" not in prefix:
        return prefix
    now = time.localtime()
    values = {
        "width": size[0],
        "height": size[1],
        "year": now.tm_year,
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    for name, value in values.items():
        prefix = prefix.replace(f"%{name}%", str(value))
    return prefix
