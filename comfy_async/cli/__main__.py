"""`python -m comfy_async.cli`: the same as `comfy-async`."""

from __future__ import annotations

from . import main

if __name__ == "__main__":
    main()
