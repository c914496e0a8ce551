"""Every example runs as it stands, without arguments, on the FakeComfy that it falls back to."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from comfy_async.testing import FakeComfy
from comfy_async.testing._serve import in_thread

EXAMPLES = Path(__file__).parents[2] / "examples"
STAND_IN = "pip install 'comfy-async[testing]', or name a ComfyUI: --server URL"


def run(name: str, folder: Path, *args: str, **environment: str) -> str:
    """Run an example and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *args],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_typed_nodes(tmp_path: Path) -> None:
    """It writes the stubs, shows what both the type checker and the run refuse, and runs what it built."""
    told = run("typed_nodes.py", tmp_path)
    assert "wrote comfy_nodes.py comfy_nodes.pyi" in told
    assert "Name the output, for example loader.MODEL." in told
    assert (tmp_path / "out/typed_00001_.png").exists()


def test_text_to_image(tmp_path: Path) -> None:
    """It shows progress, counts previews and saves the picture."""
    told = run("text_to_image.py", tmp_path, "a fox")
    assert "KSampler 12/20" in told
    assert "finished Save Image" in told
    assert "20 previews" in told
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".png"]


def test_text_to_image_on_another_server(tmp_path: Path) -> None:
    """COMFY_LOCAL_URL and --server lead it elsewhere."""
    fake = FakeComfy()
    with in_thread(fake):
        run("text_to_image.py", tmp_path, COMFY_LOCAL_URL=fake.url)
        run("text_to_image.py", tmp_path, "--server", fake.url)
        assert len(fake.books.runs) == 2


def test_image_to_image(tmp_path: Path) -> None:
    """It uploads a picture of its own or one that is named, and fetches what became of it."""
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")
    assert "(256, 256)" in run("image_to_image.py", tmp_path)
    assert "100 %" in run("image_to_image.py", tmp_path, str(tmp_path / "red.png"), "--out", "red")
    (found,) = (tmp_path / "red").iterdir()
    assert Image.open(found).convert("RGB").getpixel((128, 128)) == (0, 255, 255)


def test_batch(tmp_path: Path) -> None:
    """Every prompt with every seed has its tile on the sheet."""
    told = run("batch_contact_sheet.py", tmp_path, "--seeds", "3")
    assert "\n9/9\n" in told
    sheet = Image.open(tmp_path / "out" / "contact_sheet.png").convert("RGB")
    assert sheet.size == (576, 576)
    corners = {sheet.crop((x, y, x + 170, y + 170)).tobytes() for x in (0, 192, 384) for y in (0, 192, 384)}
    assert len(corners) == 9
    assert (255, 255, 255) not in {sheet.getpixel((x + 96, y + 60)) for x in (0, 192) for y in (0, 192)}


def test_several_servers(tmp_path: Path) -> None:
    """Each server does its part, and nothing is lost."""
    told = run("several_servers.py", tmp_path, "--jobs", "9")
    counts = [int(count) for count in re.findall(r"did (\d+)", told)]
    assert len(counts) == 3
    assert sum(counts) == 9
    assert len(list((tmp_path / "out").iterdir())) == 9


def test_metrics_for_prometheus(tmp_path: Path) -> None:
    """Jobs by how they ended, the waits and runs of all of them, and none that is open."""
    told = run("metrics_prometheus.py", tmp_path, "--jobs", "3")
    assert 'comfyui_jobs_total{status="completed"} 3.0' in told
    assert 'comfyui_jobs_total{status="cancelled"} 1.0' in told
    assert "comfyui_jobs_open 0.0" in told
    assert "comfyui_queue_seconds_count" in told
    assert 'comfyui_requests_total{method="POST",status="200"}' in told


def test_a_trace_as_a_tree(tmp_path: Path) -> None:
    """Each span in its place, with its time."""
    pytest.importorskip("opentelemetry.sdk")
    lines = run("trace_tree.py", tmp_path).splitlines()
    names = [line.partition("|")[0].rstrip() for line in lines]
    assert names[:3] == ["POST /portraits", "  comfyui.job", "    comfyui.queue"]
    assert "    comfyui.node CheckpointLoaderSimple" in names
    assert lines[-1].startswith("    comfyui.download ")
    assert all(line.endswith(" ms") for line in lines)


def test_partner_nodes(tmp_path: Path) -> None:
    """Each user is told about their own account, and no key is printed."""
    told = run("partner_nodes.py", tmp_path)
    assert "anna: ComfyUI_" in told
    assert "ben: credits:" in told
    assert "cleo: login:" in told
    assert "key-of" not in told


def test_resume_after_crash(tmp_path: Path) -> None:
    """The second life saves what the first one had submitted, and it ran once."""
    fake = FakeComfy()
    with in_thread(fake):
        told = run("resume_after_crash.py", tmp_path, "--server", fake.url)
        assert len(fake.books.accepted) == 1
    (submitted,) = re.findall(r"submitted (\S+),", told)
    assert f"picked up {submitted}" in told
    assert (tmp_path / "out" / "ComfyUI_00001_.png").exists()


def test_chat_bot(tmp_path: Path) -> None:
    """Two pictures are sent, and the one that was called off is not."""
    told = run("chat_bot.py", tmp_path)
    assert told.count("done in") == 2
    assert "[bot] a fox ['ComfyUI_" in told
    assert "[bot] a bear ['ComfyUI_" in told
    assert "cancelled" in told
    assert "[bot] a boat" not in told
    assert "  [bot] 1 before you" in told


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray_dataset.py needs Ray: the extra ray is not installed"
)
def test_ray_dataset(tmp_path: Path) -> None:
    """Every row has its picture on the sheet."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "ray_dataset.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "240 pictures are in contact_sheet.png" in done.stdout
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.size == (1000, 600)


@pytest.mark.parametrize(
    ("name", "missing", "advice"),
    [
        ("web_app.py", "fastapi", "pip install 'comfy-async[testing]' fastapi uvicorn"),
        ("web_app.py", "uvicorn", "pip install 'comfy-async[testing]' fastapi uvicorn"),
        ("web_apps.py", "starlette", "pip install 'comfy-async[web,testing]' fastapi uvicorn"),
        ("web_apps.py", "fastapi", "pip install 'comfy-async[web,testing]' fastapi uvicorn"),
        ("ray_dataset.py", "ray", "pip install 'comfy-async[ray,testing]'"),
        ("batch_contact_sheet.py", "PIL", "pip install 'comfy-async[testing]'"),
        ("image_to_image.py", "PIL", STAND_IN),
        ("text_to_image.py", "aiohttp", STAND_IN),
        ("partner_nodes.py", "aiohttp", "pip install 'comfy-async[testing]'"),
        ("text_to_image.py", "comfy_async", "pip install comfy-async"),
    ],
)
def test_a_missing_package_is_named(tmp_path: Path, name: str, missing: str, advice: str) -> None:
    """One line that says what to install, and no traceback."""
    absent = f"raise ModuleNotFoundError(\"No module named '{missing}'\", name={missing!r})\n"
    (tmp_path / f"{missing}.py").write_text(absent)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"{name} needs {missing}: {advice}\n"


def test_testing_an_app(tmp_path: Path) -> None:
    """The tests of the example app pass, with the fixtures that pytest finds by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_my_app.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_each_example_says_what_it_shows(path: Path) -> None:
    """A docstring whose first line is a sentence."""
    first = path.read_text().splitlines()[0]
    assert first.startswith('"""')
    assert first.endswith(".")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_each_example_says_what_it_needs(path: Path) -> None:
    """Its docstring names what to install, with whichever packages it imports."""
    if path.name == "example_needs.py":
        return
    text = path.read_text()
    described = text.split('"""')[1]
    assert re.search(r"(?m)^(Needs|needs) `pip install 'comfy-async\[", described)
    for package in ("fastapi", "uvicorn", "ray", "opentelemetry", "prometheus_client"):
        if re.search(rf"(?m)^ +(import|from) {package}\b", text):
            assert package in described.replace("-", "_")
