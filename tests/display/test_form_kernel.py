"""A form in a real kernel: pressed as a page presses it, and in a notebook that is executed whole."""

from __future__ import annotations

import json
from pathlib import Path

from kernel_tools import START, kernel
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from comfy_async.testing import FakeComfy
from comfy_async.testing._serve import in_thread

PORTRAIT = Path(__file__).parents[2] / "examples" / "workflows" / "sd15_text2image_api.json"
FORM = (
    f"app = await comfy.app({str(PORTRAIT)!r}, "
    'inputs={"prompt": "6.text", "seed": "3.seed"}, outputs={"picture": "9"})\n'
    "form = await app.form()\n"
)
PARTS = """
from comfy_async._client.form import run_of
sheet = run_of(form).view
"""


def test_a_page_fills_it_in_and_presses_run() -> None:
    """No cell runs meanwhile; a later cell waits for the result, another shows the form again."""
    fake = FakeComfy()
    with in_thread(fake), kernel() as desk:
        cell = desk.run(START.format(url=fake.url) + FORM + "form")
        assert (cell.error, cell.widgets) == ("", 1)
        ids = json.loads(
            desk.run(
                PARTS + "import json\n"
                "print(json.dumps([sheet.run.model_id, sheet.fields[0].controls[0].model_id]))"
            ).printed
        )
        desk.tell(ids[1], method="update", state={"value": "a fox"}, buffer_paths=[])
        desk.tell(ids[0], method="custom", content={"event": "click"})
        cell = desk.run(
            "result = await form.result()\n"
            'print(form.values, form.job.workflow.get("6", "text"), result["picture"].filename)\n'
            'print("data:image/png;base64," in sheet.shown.value, sheet.run.disabled)'
        )
        assert cell.printed.splitlines() == ["{'prompt': 'a fox'} a fox ComfyUI_00001_.png", "True False"]
        assert desk.run("form").widgets == 1
        assert not desk.run("await form.aclose()\nawait comfy.aclose()").error


def test_an_executed_notebook_keeps_it() -> None:
    """The form and the picture are in the notebook that is saved with its widgets; no key is."""
    fake = FakeComfy()
    with in_thread(fake):
        cells = [
            START.format(url=fake.url) + FORM + "form",
            PARTS + "sheet.fields[0].controls[0].value = 'a fox'\nsheet.run.click()\n"
            "result = await form.result()\nprint(form)",
            "await comfy.aclose()",
        ]
        notebook = new_notebook(cells=list(map(new_code_cell, cells)))  # type: ignore[no-untyped-call]
        NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells for output in cell.outputs]
    kinds = [output.output_type for output in shown]
    assert kinds == ["display_data", "stream"]
    assert "application/vnd.jupyter.widget-view+json" in shown[0].data
    assert shown[1].text.strip() == "<Form of sd15_text2image_api: completed>"
    saved = json.dumps([shown, notebook.metadata])
    assert "a fox" in saved
    assert "data:image/png;base64," in saved
    assert "s3cret" not in saved
