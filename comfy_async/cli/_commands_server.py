"""`upload`, `download`, `logs`, `free`, `doctor` and `fake-server`: the server itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._base import Work, command
from ._connection import Connection
from ._requests import out_place

Folder = Annotated[str, typer.Option("--subfolder", metavar="DIR", help="Below the server's folder.")]


@command()
def upload(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Images, videos, audio, any file.")],
    subfolder: Folder = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what has its name.")] = False,
    *,
    connection: Connection,
) -> Work:
    """Send files to the server's input folder, and print what LoadImage calls them.

    [bold]Examples[/bold]

      comfy-async upload face.png

      comfy-async run img2img.json --set 14.image="$(comfy-async upload face.png)"
    """
    from ._files import upload_files

    return Work(
        lambda report, _: upload_files(files, connection, report, subfolder=subfolder, overwrite=overwrite)
    )


@command()
def download(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Files on the server, or jobs for all their files.")
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="DIR", help="Where they go; s3://... is a store.")
    ] = ".",
    subfolder: Folder = "",
    type: Annotated[str, typer.Option("--type", metavar="WHICH", help="output, input or temp.")] = "output",
    *,
    connection: Connection,
) -> Work:
    """Fetch files from the server; nothing is overwritten.

    [bold]Examples[/bold]

      comfy-async download ComfyUI_00001_.png --out out

      comfy-async download 9e721e8c-948f-48d8-a684-409836d205e3 --out out

      comfy-async download face.png --type input --subfolder faces
    """
    from ._files import download_files

    return Work(
        lambda report, _: download_files(
            names, connection, report, out=out_place(out), subfolder=subfolder, type_=type
        )
    )


@command()
def logs(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new lines, until Ctrl-C.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, metavar="N", help="How many of the last.")
    ] = 50,
    *,
    connection: Connection,
) -> Work:
    """Print the server's log.

    [bold]Examples[/bold]

      comfy-async logs -n 200

      comfy-async logs -f
    """
    from ._files import show_logs

    return Work(
        lambda report, interrupts: show_logs(connection, report, interrupts, follow=follow, lines=lines)
    )


@command()
def free(
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Only the caches; models stay loaded.")
    ] = False,
    *,
    connection: Connection,
) -> Work:
    """Make the server unload its models and free memory, as soon as nothing runs.

    [bold]Examples[/bold]

      comfy-async free

      comfy-async free --keep-models
    """
    from ._files import free_memory

    return Work(lambda report, _: free_memory(connection, report, keep_models=keep_models))


@command()
def doctor(
    fake: Annotated[
        bool, typer.Option("--fake", help="Check an embedded FakeComfy: does this side work?")
    ] = False,
    *,
    connection: Connection,
) -> Work:
    """Check all that is between here and the server; say what to do about problems.

    [bold]Examples[/bold]

      comfy-async doctor

      comfy-async doctor --server https://gpu.example.com/comfy --json

      comfy-async doctor --fake
    """
    from ._doctor import examine, examine_fake

    if fake:
        return Work(lambda report, interrupts: examine_fake(connection, report, interrupts))
    return Work(lambda report, _: examine(connection, report), warn=False)


@command("fake-server")
def fake_server(
    port: Annotated[int, typer.Option("--port", "-p", metavar="PORT", help="0 picks a free one.")] = 8188,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="The address to listen at.")
    ] = "127.0.0.1",
    step_seconds: Annotated[
        float, typer.Option("--step-seconds", metavar="SECONDS", help="How long a step takes.")
    ] = 0.05,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir", metavar="DIR", help="Where outputs go; else a folder that ends with the server."
        ),
    ] = None,
    dialect: Annotated[
        str,
        typer.Option(
            "--dialect", metavar="WHICH", help="The API that it serves: comfyui, api-v2 or cloud-v1."
        ),
    ] = "comfyui",
    fail: Annotated[
        list[str] | None,
        typer.Option(
            "--fail",
            metavar="CLASS=HOW",
            help="Nodes of this class fail: oom, blocked, or a message. May be repeated.",
        ),
    ] = None,
) -> Work:
    """Serve a FakeComfy: a ComfyUI to try things on, which paints, not diffuses.

    [bold]Examples[/bold]

      comfy-async fake-server --port 8188

      comfy-async fake-server --port 0 --json --step-seconds 0.5

      comfy-async fake-server --fail KSampler=oom --fail VAEDecode="it broke"

      comfy-async fake-server --dialect api-v2
    """
    from ._fake import serve

    options = {"host": host, "port": port, "step_seconds": step_seconds, "output_dir": output_dir}
    options |= {"dialect": dialect}
    return Work(lambda report, interrupts: serve(options, report, interrupts, failing=fail or ()))
