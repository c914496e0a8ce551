"""The `comfy-async` command: run, watch and look after a ComfyUI from a terminal (extra `cli`).

`_commands_*` declare the options and turn them into work, the modules that are named after commands
do it with a session, and a report (`_report*`) prints it: JSON lines, plain lines or a live display.
`_failure` makes of every error a stable code, an exit code, and a message for a terminal.
"""

from __future__ import annotations

import io
import sys

__all__ = ["main"]

_NEEDED = frozenset({"typer", "rich", "click", "shellingham"})


def main() -> None:
    """Run the command line, and exit with 0 (done), 1 (failed), 2 (usage) or 130 (interrupted).

    Raises:
        SystemExit: Always; the code says how it went.
    """
    try:
        import rich as _rich  # noqa: F401 - typer without it would fail later, and worse

        from ._app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(f"comfy-async needs {error.name}: pip install 'comfy-async[cli]'\n")
        sys.exit(1)
    except KeyboardInterrupt:
        # So early there is nothing to cancel, and nothing to say.
        sys.exit(130)
    _write_anything()
    app(prog_name="comfy-async")


def _write_anything() -> None:
    """Write what the terminal's encoding lacks as an escape, so that no output costs a job."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
