"""One field of a form for each input of an app: which widgets it has, and what they mean.

A widget lives twice, here and as JavaScript in the page: a whole number beyond 2**53 would come back
as another one, so such are texts. Where a widget cannot show what the workflow has (a number out of its
range, a choice that is gone) it is not made to show something else.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .._base.secrets import Secret, is_secret_name
from ..types import clipped
from .html import text

if TYPE_CHECKING:
    from .._client.form import FormApp
    from ..workflow.apps import AppInput

__all__ = ["NOTHING", "Field", "field_of"]

NOTHING: Final = object()
"""The value of an unchanged field: it stays as in the workflow."""

_MOST_LISTED: Final = 60
_EXACT: Final = 2**53
_STYLE: Final = {"description_width": "150px"}


class Field:
    """The widgets of one input, with a line below for what is wrong with it.

    Attributes:
        item: The input.
        box: What stands on the page.
        controls: What can be changed, or pressed.
    """

    def __init__(self, item: AppInput, *controls: Any) -> None:
        """Put widgets side by side; the first holds the value."""
        import ipywidgets

        self.item = item
        self.controls = controls
        self._note = ipywidgets.HTML(layout={"display": "none", "margin": "0 0 4px 154px"})
        self.box = ipywidgets.VBox([ipywidgets.HBox(controls), self._note])
        self._unchanged = self._held()

    @property
    def is_secret(self) -> bool:
        """Whether it holds a key or a password."""
        return False

    def value(self) -> Any:
        """Return what the app is given, `NOTHING` for what nobody changed."""
        held = self._held()
        return NOTHING if held == self._unchanged else self._meant(held)

    def tell(self, words: str) -> None:
        """Say what is wrong with it, "" for nothing."""
        self._note.value = f'<span role="alert" style="color:#b91c1c">{text(words, limit=600)}</span>' * bool(
            words
        )
        self._note.layout.display = None if words else "none"

    def _held(self) -> Any:
        """Return what the widget holds."""
        return self.controls[0].value

    def _meant(self, held: Any) -> Any:
        """Return what the app is given for it."""
        return held


class _Text(Field):
    """A text, also of a number or of what only its node knows: it is read as the app reads forms."""

    def _meant(self, held: str) -> Any:
        item = self.item
        if not held and (item.default is None or item.type != "STRING"):
            return NOTHING
        if item.type not in ("STRING", "INT", "FLOAT", "BOOLEAN", "COMBO") and not isinstance(
            item.default, str
        ):
            try:
                return json.loads(held)
            except ValueError:
                return held
        return item.parse(held)


class _Hidden(Field):
    """A key or a password: taken out of the widget at once, since notebooks are saved with their widgets."""

    def __init__(self, item: AppInput, control: Any) -> None:
        """Hold none yet; what the workflow has is not shown."""
        self._kept: Secret[str] | None = None
        super().__init__(item, control)
        control.observe(self._take, names="value")

    @property
    def is_secret(self) -> bool:
        return True

    def value(self) -> Any:
        return NOTHING if self._kept is None else self._kept.reveal()

    def _take(self, change: Mapping[str, Any]) -> None:
        """Keep what was typed."""
        if change["new"]:
            self._kept = Secret(change["new"])
            self.controls[0].value = ""
            self.controls[0].placeholder = "taken; type to replace it"


class _Choice(Field):
    """Some of the choices, told by their places: 1, 1.0 and True are three."""

    def _held(self) -> Any:
        return self.controls[0].index

    def _meant(self, held: Any) -> Any:
        choices = (True, False) if self.item.type == "BOOLEAN" else self.item.choices or ()
        if held is None:
            return NOTHING
        return [choices[one] for one in held] if isinstance(held, tuple) else choices[held]


class _File(Field):
    """A file of this computer, or else the name of one that the server has."""

    def _held(self) -> Any:
        return self.controls[0].value, tuple(self.controls[1].value)

    def _meant(self, held: Any) -> Any:
        name, files = held
        if not files:
            return name or NOTHING
        content = bytes(files[0]["content"])
        # An empty one is for the app to refuse, which looks at bytes.
        return _NamedBytes(content, str(files[0]["name"])) if content else content


class _NamedBytes(io.BytesIO):
    """The content of a file that knows its name, whose ending tells what it is."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def field_of(app: FormApp, item: AppInput) -> Field:
    """Return the field of an input, by its type."""
    if item.upload is not None:
        return _file(item)
    if item.is_seed:
        return _seed(app, item)
    if item.choices is not None:
        return _choice(item)
    if item.type == "STRING" and (is_secret_name(item.input) or is_secret_name(item.name)):
        return _secret(item)
    if item.type == "BOOLEAN":
        return _truth(item)
    if item.type in ("INT", "FLOAT"):
        return _number(item)
    return _Text(item, _made("Textarea" if item.multiline else "Text", item, **_written(item)))


def _made(kind: str, item: AppInput, **traits: Any) -> Any:
    """Return a widget with the title of its input, and for who points at it name and description."""
    import ipywidgets

    title = f"{item.title or item.name}{' *' if item.required else ''}"
    traits = {"description": title, "style": _STYLE, **traits}
    tooltip = f"{item.name}: {item.description}" if item.description else item.name
    layout = {"width": "100%", "max_width": "640px"}
    layout |= {"height": "90px"} if kind == "Textarea" else {}
    return getattr(ipywidgets, kind)(tooltip=tooltip, layout=layout, **traits)


def _written(item: AppInput) -> dict[str, Any]:
    """Return what a text shows at first."""
    value = item.default
    if value is None:
        return {"value": "", "placeholder": _hint(item)}
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return {"value": shown, "placeholder": _hint(item)}


def _hint(item: AppInput) -> str:
    """Return what it means to leave a field empty."""
    if item.required:
        return "required"
    if item.default is None or (item.type == "STRING" and item.upload is None):
        return ""
    return f"as in the workflow: {clipped(item.default)}"


def _file(item: AppInput) -> Field:
    """Return the field of a file."""
    import ipywidgets

    names = [choice for choice in item.choices or () if isinstance(choice, str)]
    hint = _hint(item) or "upload one, or name one that the server has"
    shown = item.default if isinstance(item.default, str) else ""
    known = _made("Combobox", item, options=names, value=shown, placeholder=hint)
    upload = ipywidgets.FileUpload(accept=f"{item.upload}/*", description=f"Upload {item.upload}")
    return _File(item, known, upload)


def _secret(item: AppInput) -> Field:
    """Return the field of a key or a password."""
    hint = "required" if item.required else "as in the workflow"
    return _Hidden(item, _made("Password", item, placeholder=hint, continuous_update=False))


def _seed(app: FormApp, item: AppInput) -> Field:
    """Return the field of a seed, and a button that takes a random one."""
    import ipywidgets

    control = _made("Text", item, **_written(item))
    button = ipywidgets.Button(
        description="random",
        tooltip=f'a random {item.name}; "random" in the field takes a new one at each run',
    )

    def draw(_button: object) -> None:
        # The app itself knows the range.
        control.value = str(app.reading.problems({item.name: "random"})[0][item.name])

    button.on_click(draw)
    return _Text(item, control, button)


def _choice(item: AppInput) -> Field:
    """Return the field of a choice: a list, or a text with suggestions where a list would be too long."""
    choices = item.choices or ()
    labels = [(str(choice), place) for place, choice in enumerate(choices)]
    if isinstance(item.default, list):
        at = [place for place, choice in enumerate(choices) if _is_in(choice, item.default)]
        return _Choice(item, _made("SelectMultiple", item, options=labels, value=at))
    if len(choices) > _MOST_LISTED:
        options = [label for label, _ in labels]
        shown = "" if item.default is None else str(item.default)
        return _Text(
            item, _made("Combobox", item, options=options, value=shown, placeholder="type to search")
        )
    found = next((place for place, choice in enumerate(choices) if _is_in(choice, [item.default])), None)
    return _Choice(item, _made("Dropdown", item, options=labels, value=found))


def _is_in(choice: Any, values: list[Any]) -> bool:
    """Tell whether a choice is one of some values, of its type too."""
    return any(type(choice) is type(value) and choice == value for value in values)


def _truth(item: AppInput) -> Field:
    """Return the field of a yes or no; without a default it can be neither."""
    if isinstance(item.default, bool):
        return Field(item, _made("Checkbox", item, value=item.default))
    return _Choice(item, _made("Dropdown", item, options=[("yes", 0), ("no", 1)], value=None))


def _number(item: AppInput) -> Field:
    """Return the field of a number, with its bounds where the widget can have them."""
    kind: Callable[[Any], Any] = int if item.type == "INT" else float
    bounds = (item.minimum, item.maximum)
    value = item.default
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_exact(value, kind):
        return _Text(item, _made("Text", item, **_written(item)))
    if kind is int and any(bound is not None and not _is_exact(bound, int) for bound in bounds):
        return _Text(item, _made("Text", item, **_written(item)))
    step = {} if not item.step or not _is_exact(item.step, kind) else {"step": kind(item.step)}
    low, high = bounds
    name = "IntText" if kind is int else "FloatText"
    if low is None or high is None or not low <= value <= high or not _is_exact(low + high, float):
        return Field(item, _made(name, item, value=kind(value), **step))
    return Field(
        item, _made(f"Bounded{name}", item, value=kind(value), min=kind(low), max=kind(high), **step)
    )


def _is_exact(value: float, kind: Callable[[Any], Any]) -> bool:
    """Tell whether a number survives its way through JavaScript, as that kind."""
    return math.isfinite(value) and abs(value) <= _EXACT and kind(value) == value
