"""Execute the example notebook in a real kernel; as a script, write its outputs back into it.

python tests/display/execute_example.py
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLE = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


def execute() -> nbformat.NotebookNode:
    """Return the notebook with fresh outputs.

    Raises:
        CellExecutionError: A cell failed.
    """
    notebook: nbformat.NotebookNode = nbformat.read(EXAMPLE, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        timeout=60,
        kernel_name="python3",
        resources={"metadata": {"path": str(EXAMPLE.parent)}},
        record_timing=False,
    )
    client.execute()
    # Which Python ran it is no matter of the notebook.
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


if __name__ == "__main__":
    text = nbformat.writes(execute())  # type: ignore[no-untyped-call]
    # Tracebacks of FakeComfy name the folder of whoever ran it.
    EXAMPLE.write_text(text.replace(f"{EXAMPLE.parents[1]}/", "") + "\n")
