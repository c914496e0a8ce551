"""Converting the editor format to the API format, as ComfyUI's own editor does when it queues a file.

The input is what the editor saves (version 0.4 or 1) and what a server can run (a `NodeCatalog`, or
plain object_info). The output is the graph for POST /prompt, with the ids, inputs and titles that
the editor sends, or a `ConversionError` that lists every node for which these are uncertain.
`convert_fields` maps widgets of the editor to inputs of that graph. `Drawing` does the reverse: it
writes values that were changed in the graph back into the file.
"""

from __future__ import annotations

from .convert import convert_editor, convert_fields, convert_traced
from .editor_version import NEWEST
from .fields import Field
from .write_back import Drawing

__all__ = ["NEWEST", "Drawing", "Field", "convert_editor", "convert_fields", "convert_traced"]
