"""Runs a command for as long as its standard input is open: the command cannot outlive its owner.

Started by path and in isolation, since it must load nothing of this package. When the owner
ends in whatever way, by SIGKILL too, the pipe closes and the command is ended with all that it
has started. On Linux it does not outlive this guard either.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

_LOOK_S = 0.02
# prctl(2)
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the command in a group of its own until it ends, or the owner does.

    The first argument is how long it may take to end, in seconds; the command follows.
    """
    end = partial(_end, grace=float(sys.argv[1]))
    child = subprocess.Popen(
        sys.argv[2:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    signal.signal(signal.SIGTERM, lambda *_: _beside(end, child.pid))
    _beside(lambda group: _watch(group, end), child.pid)
    code = child.wait()
    # A script that started ComfyUI may have ended without it.
    end(child.pid)
    return code


def _beside(work: Callable[[int], None], group: int) -> None:
    """Do something while the command is waited for, which must not stay a zombie meanwhile."""
    threading.Thread(target=work, args=(group,), daemon=True).start()


def _end_with_parent() -> None:
    """Have the kernel end this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch(group: int, end: Callable[[int], None]) -> None:
    """Wait for the end of the pipe."""
    while os.read(0, 4096):
        pass
    end(group)


def _end(group: int, *, grace: float) -> None:
    """Ask all processes of the group to end; end those for good that take too long."""
    try:
        os.killpg(group, signal.SIGTERM)
        limit = time.monotonic() + grace
        while time.monotonic() < limit:
            os.killpg(group, 0)
            time.sleep(_LOOK_S)
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


if __name__ == "__main__":
    sys.exit(main())
