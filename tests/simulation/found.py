"""Worlds that are kept: those that found a defect of the package, and those that find the planted ones."""

from __future__ import annotations

from typing import Final

FOUND: Final[dict[str, str]] = {
    # A batch whose disk was full after a post had been answered left that job running, known to nobody.
    "posted, and no room to note the server's id": (
        '{"seed":3,"shape":"session","version":"cloud","servers":1,"sessions":1,"poll":false,"shuff'
        'le":false,"named":false,"step_seconds":2.0,"history_delay":0.0,"delay":[0.0001,0.001],"pie'
        'ces":0.0,"storm":5.0,"steps":[{"at":0.5,"kind":"map_full_disk","number":1}],"faults":[]}'
    ),
}

PLANTED: Final[dict[str, str]] = {}
