"""The example notebook: it runs in a real kernel, and its stored outputs are those of a run."""

from __future__ import annotations

import json

from execute_example import EXAMPLE, execute


def test_it_runs_and_shows() -> None:
    """Every cell runs without an error, and shows what the stored one shows, at least in kind."""
    stored = json.loads(EXAMPLE.read_text())
    executed = execute()
    for before, now in zip(stored["cells"], executed.cells, strict=True):
        assert "".join(before["source"]) == now.source
        if now.cell_type == "code":
            kinds = [(output["output_type"], sorted(output.get("data", {}))) for output in now.outputs]
            assert kinds == [
                (output["output_type"], sorted(output.get("data", {}))) for output in before["outputs"]
            ]
    html = "".join(
        output["data"].get("text/html", "")
        for cell in executed.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert html.count("data:image/png;base64,") + html.count("data:image/webp;base64,") == 10
    assert "8 of 8" in html
    assert "VAE Decode (node 8)" in html


def test_what_is_stored_is_fit_to_be_shared() -> None:
    """No path of whoever ran it, no error among the outputs, and not too large for a repository."""
    text = EXAMPLE.read_text()
    assert str(EXAMPLE.parents[1]) not in text
    assert '"output_type": "error"' not in text
    assert len(text) < 800_000
