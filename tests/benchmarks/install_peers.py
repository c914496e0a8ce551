"""The other clients, each in a virtual environment of its own, never in the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path.home() / ".cache" / "comfy_async_peers"

PACKAGES = {
    "comfy_api_simplified": ["comfy_api_simplified"],
    "comfyui-workflow-client": ["comfyui-workflow-client"],
    "comfyui-xy": ["comfyui-xy"],
    "comfy-api-client": ["comfy-api-client"],
    "comfy-sdk": ["comfy-sdk", "comfy-api-proxy==0.1.6"],
    "comfy-script": ["comfy-script[client]", "tqdm"],
    "comfy-cli": ["comfy-cli"],
}


def install(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the interpreter of each client that could be installed, and why the others could not."""
    ready, refused = {}, {}
    for name, packages in PACKAGES.items():
        place = folder / name
        python = place / "bin" / "python"
        done = place / "installed"
        if not done.exists():
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
            result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if result.returncode != 0:
                lines = result.stderr.strip().splitlines()
                refused[name] = lines[-1][:200] if lines else f"pip ended with {result.returncode}"
                continue
            done.touch()
        ready[name] = str(python)
    return ready, refused
