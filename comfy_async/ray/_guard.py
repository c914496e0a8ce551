"""Runs a command for as long as its standard input is open: the command cannot outlive its owner.

Started by path and in isolation, since it must load nothing of this package. When the owner
ends in whatever way, by SIGKILL too, the pipe closes and the command is ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

_GRACE_S = 5.0


def main() -> int:
    """Run the command in a group of its own until it ends, or the owner does."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: _end(child))
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    return child.wait()


def _watch(child: subprocess.Popen[bytes]) -> None:
    """Wait for the end of the pipe."""
    while os.read(0, 4096):
        pass
    _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask the command's group to end, then make it end."""
    try:
        os.killpg(child.pid, signal.SIGTERM)
        timer = threading.Timer(_GRACE_S, _kill, (child,))
        timer.daemon = True
        timer.start()
    except ProcessLookupError:
        pass


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the command's group for good."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
