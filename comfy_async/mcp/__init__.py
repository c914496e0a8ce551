"""Workflows as tools for language models, by the Model Context Protocol: `pip install 'comfy-async[mcp]'`.

`Toolbox` is what is offered: each workflow of a folder as a tool with a schema of its own, and the tools
that look after the server (`builtin`). A call of an app is run by `running`, which cancels the job when
the call is cancelled; `content` makes texts, pictures and links of its result, `uploads` lets files in.
`serving` serves the protocol by the official SDK, over stdio or HTTP; nothing else depends on the SDK.

Example:
    >>> from comfy_async import ComfySession
    >>> from comfy_async.mcp import Toolbox, serve_stdio
    >>> async with ComfySession() as comfy:
    ...     await serve_stdio(Toolbox("examples/workflows", comfy))
"""

from __future__ import annotations

try:
    import mcp as _mcp
except ModuleNotFoundError as error:
    if error.name != "mcp":
        raise
    raise ImportError("The MCP SDK is missing: pip install 'comfy-async[mcp]'", name="mcp") from error

from .limits import Limits
from .serving import serve_http, serve_stdio
from .toolbox import Toolbox

__all__ = ["Limits", "Toolbox", "serve_http", "serve_stdio"]

for _class in (Limits, Toolbox):
    # Users know the package by its face, not by its rooms.
    _class.__module__ = __name__
del _class, _mcp
