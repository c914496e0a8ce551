"""`python -m comfy_async.testing`: a FakeComfy to try things on, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import FakeComfy


def _failing(text: str) -> tuple[str, Any]:
    """Return a class and how its nodes fail: "oom", "blocked", or with a message.

    Raises:
        ValueError: It says nothing.
    """
    name, _, how = text.partition("=")
    if not name or not how:
        raise ValueError(text)
    return name, how if how in ("oom", "blocked") else ("RuntimeError", how)


def main() -> None:
    """Read the options, serve, and say where.

    Raises:
        SystemExit: The options are wrong, or the extra is missing: in one line.
    """
    try:
        from . import serve
    except ImportError as error:
        sys.exit(str(error))
    parser = argparse.ArgumentParser(prog="python -m comfy_async.testing", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--step-seconds", type=float, default=0.2)
    parser.add_argument("--output-dir")
    parser.add_argument("--dialect", choices=("comfyui", "cloud-v1", "api-v2"), default="comfyui")
    parser.add_argument("--fail", action="append", default=[], metavar="CLASS=HOW", type=_failing)
    options = parser.parse_args()

    def ready(fake: FakeComfy) -> None:
        for name, how in options.fail:
            fake.fail_node(name, how)
        sys.stdout.write(f"FakeComfy listens at {fake.url} (Ctrl-C stops it)\n")
        sys.stdout.flush()

    work = serve(
        options.host,
        options.port,
        ready=ready,
        step_seconds=options.step_seconds,
        output_dir=options.output_dir,
        dialect=options.dialect,
    )
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        pass
    except ValueError as error:
        # A class that is none.
        sys.exit(str(error))


if __name__ == "__main__":
    main()
