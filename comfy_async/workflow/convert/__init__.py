"""Editor format to API format, as ComfyUI's own editor converts it when a file is queued.

In comes what the editor saves (version 0.4 or 1) and what a server can run (a `NodeCatalog`, or
plain object_info). Out goes the graph for POST /prompt, with the ids, inputs and titles that the
editor sends; or a `ConversionError` that lists every node for which that is not known for certain.
`convert_fields` tells which inputs of that graph the fields are that somebody sees in the editor.
`Drawing` goes the other way: values changed in the graph, written back into the file.
"""

from __future__ import annotations

from .convert import convert_editor, convert_fields, convert_traced
from .editor_version import NEWEST
from .fields import Field
from .write_back import Drawing

__all__ = ["NEWEST", "Drawing", "Field", "convert_editor", "convert_fields", "convert_traced"]
