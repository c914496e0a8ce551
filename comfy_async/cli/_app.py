"""The commands, in the order in which help lists them."""

from __future__ import annotations

# isort: off
from ._base import app
from . import _commands_run  # noqa: F401
from . import _commands_batch  # noqa: F401
from . import _commands_app  # noqa: F401
from . import _commands_jobs  # noqa: F401
from . import _commands_workflows  # noqa: F401
from . import _commands_server  # noqa: F401
from . import _commands_mcp  # noqa: F401
from . import _commands_web  # noqa: F401

__all__ = ["app"]
