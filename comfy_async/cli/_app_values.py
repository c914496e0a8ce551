"""Values by the names of an app's inputs, in a table beside those by NODE.INPUT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ._app_options import value_of
from ._values import apply_values

if TYPE_CHECKING:
    from comfy_async import App, NodeCatalog, Workflow

__all__ = ["app_of", "with_values"]


def app_of(workflow: Workflow, rows: Iterable[Mapping[str, str]], catalog: NodeCatalog | None) -> App | None:
    """Return the app whose inputs the rows name, None where they name none.

    Raises:
        WorkflowError: The workflow cannot be read as one.
    """
    from comfy_async import App

    if catalog is None or all("." in name for row in rows for name in row):
        return None
    return App.load(workflow, catalog)


def with_values(
    workflow: Workflow,
    row: Mapping[str, str],
    *,
    catalog: NodeCatalog | None = None,
    app: App | None = None,
) -> Workflow:
    """Return the workflow with the values of a row; a name without a dot is that of an app's input.

    Raises:
        UsageError: A value's file cannot be read.
        UnknownInputError: A name is unknown, or a value is wrong.
    """
    named = {name: text for name, text in row.items() if "." not in name}
    if named and app is not None:
        inputs = app.inputs
        values = {
            name: value_of(inputs[name], text) if name in inputs else text for name, text in named.items()
        }
        workflow = app.workflow(**values)
    plain = {name: text for name, text in row.items() if name not in named}
    return apply_values(workflow, plain, catalog=catalog) if plain else workflow
