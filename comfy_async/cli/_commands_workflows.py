"""`inputs`, `check`, `convert`, `nodes` and `models`: before anything is queued."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._base import Work, command
from ._connection import Connection
from ._requests import CatalogFile, Prefer, Seed, Settings, WorkflowArgument


@command()
def inputs(
    workflow: WorkflowArgument,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="Every value, not only what people change.")
    ] = False,
    catalog: CatalogFile = None,
    prefer: Prefer = "workflow",
    *,
    connection: Connection,
) -> Work:
    """List what can be set: prompts, seeds, sizes, models, with what is there now.

    An API file needs no server; --server or --catalog add types and ranges.
    An editor file is converted first, which takes one of them.

    [bold]Examples[/bold]

      comfy-async inputs portrait.json

      comfy-async inputs portrait.json --all --server http://gpu:8188

      comfy-async inputs portrait.json --json | jq -r 'select(.kind=="seed").key'
    """
    from ._values import read_workflow
    from ._workflows import list_inputs

    return Work(
        lambda report, _: list_inputs(
            read_workflow(workflow, prefer=prefer), connection, report, every=every, catalog=catalog
        )
    )


@command()
def check(
    workflow: WorkflowArgument,
    settings: Settings = None,
    seed: Seed = None,
    catalog: CatalogFile = None,
    prefer: Prefer = "workflow",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    *,
    connection: Connection,
) -> Work:
    """Say what the server would refuse, before it is queued; 1 if there is an error.

    Of missing nodes and models it names what installs them; nothing is installed.

    [bold]Examples[/bold]

      comfy-async check portrait.json

      comfy-async check portrait.json --set 3.sampler_name=euler

      comfy-async check portrait.json --catalog object_info.json.gz --json
    """
    from ._workflows import Changed, check_workflow

    changed = Changed(workflow, settings or (), seed, prefer)
    return Work(lambda report, _: check_workflow(changed, connection, report, catalog=catalog, strict=strict))


@command()
def convert(
    workflow: WorkflowArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else it goes to stdout.")
    ] = None,
    catalog: CatalogFile = None,
    prefer: Prefer = "workflow",
    *,
    connection: Connection,
) -> Work:
    """Turn an editor file or a picture into API format, as ComfyUI's editor does.

    [bold]Examples[/bold]

      comfy-async convert portrait_ui.json -o portrait_api.json

      comfy-async convert picture.png --catalog object_info.json.gz > api.json
    """
    from ._values import read_workflow
    from ._workflows import convert_workflow

    return Work(
        lambda report, _: convert_workflow(
            read_workflow(workflow, prefer=prefer), connection, report, catalog=catalog, output=output
        )
    )


@command()
def nodes(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help="A class to show, or words to search for."),
    ] = None,
    stubs: Annotated[
        Path | None, typer.Option("--stubs", metavar="DIR", help="Write typed stubs for Workflow.build().")
    ] = None,
    apps: Annotated[
        list[Path] | None,
        typer.Option(
            "--app",
            metavar="FILE",
            help="With --stubs: a typed function for this workflow too. May be repeated.",
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the catalog (object_info, also .gz).")
    ] = None,
    catalog: CatalogFile = None,
    *,
    connection: Connection,
) -> Work:
    """Search the server's nodes, show one, or keep them for work without it.

    [bold]Examples[/bold]

      comfy-async nodes upscale model

      comfy-async nodes KSampler

      comfy-async nodes --save object_info.json.gz

      comfy-async nodes --stubs . --app portrait.json
    """
    from ._nodes import keep_catalog, show_nodes

    if apps and stubs is None:
        raise typer.BadParameter("--app needs --stubs DIR, where its function is written")
    if stubs is not None or save is not None:
        return Work(
            lambda report, _: keep_catalog(
                connection, report, catalog=catalog, stubs=stubs, apps=apps or (), save=save
            ),
        )
    text = " ".join(words or ())
    return Work(lambda report, _: show_nodes(text, connection, report, catalog=catalog))


@command()
def models(
    folder: Annotated[str | None, typer.Argument(metavar="FOLDER", help="A kind of models.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show its metadata.")] = None,
    *,
    connection: Connection,
) -> Work:
    """List the kinds of models, the models of a kind, or one model's metadata.

    [bold]Examples[/bold]

      comfy-async models

      comfy-async models checkpoints

      comfy-async models loras detail.safetensors --json
    """
    from ._nodes import show_models

    return Work(lambda report, _: show_models(connection, report, folder=folder, name=name))
