"""Live through many simulated worlds: `python tests/simulation/run.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

from sim_cli import main

if __name__ == "__main__":
    sys.exit(main())
