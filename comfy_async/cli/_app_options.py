"""The options of one app: made from its inputs, read by typer, turned into values."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ._connection import UsageError
from ._tables import choices_text, range_text, short_text
from ._values import read_text

if TYPE_CHECKING:
    from comfy_async import App, AppInput

__all__ = ["given_values", "option_of", "takes_text", "value_of"]

_KINDS: Final = {"STRING": "TEXT", "INT": "INTEGER", "FLOAT": "NUMBER", "BOOLEAN": "BOOLEAN"}


def given_values(
    app: App, words: Sequence[str], *, command: str, taken: Iterable[str]
) -> dict[str, Any] | None:
    """Return the values on a command line; None when it asked for help, which is printed.

    Args:
        app: The app.
        words: The arguments.
        command: What the arguments follow, for messages.
        taken: Options that have another meaning already.

    Raises:
        UsageError: An option is unknown, or lacks its value.
    """
    used = frozenset(taken)
    options = {f"value_{place}": item for place, item in enumerate(app.inputs.values())}
    parameters = [_parameter(key, item, option_of(item.name, used)) for key, item in options.items()]

    def run(**values: Any) -> dict[str, Any]:
        return {options[key].name: value for key, value in values.items() if value is not None}

    run.__doc__ = f"{app.description}\n\nGives: {', '.join(app.outputs) or 'nothing'}.\n\n{_MORE}"
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    maker = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    maker.command(context_settings={"help_option_names": ["-h", "--help"]})(run)
    try:
        given = typer.main.get_command(maker).main(list(words), prog_name=command, standalone_mode=False)
    except Exception as error:
        # Its classes are click's, or a copy that typer brings along.
        told = getattr(error, "format_message", None)
        if told is None:
            raise
        raise UsageError(f"{told().rstrip('.')}. `{command} --help` lists what there is.") from None
    if not isinstance(given, Mapping):
        return None
    return {name: _read(app.inputs[name], value) for name, value in given.items()}


_MORE: Final = (
    "`comfy-async app --help` lists the options that all apps have: --out, --json, --server and so on."
)


def option_of(name: str, taken: frozenset[str]) -> str:
    """Return the option of an input; one that has another meaning already gets `input-` before its name."""
    plain = f"--{name.replace('_', '-').strip('-')}"
    return f"--input-{plain[2:]}" if plain in taken else plain


def _parameter(key: str, item: AppInput, option: str) -> inspect.Parameter:
    """Return one option as typer takes it: a text, or a pair of flags for yes and no."""
    shown: Any
    if item.type == "BOOLEAN" and item.choices is None:
        shown = typer.Option(f"{option}/--no-{option[2:]}", help=_help(item), show_default=False)
        kind: Any = bool | None
    else:
        shown = typer.Option(option, metavar=_metavar(item), help=_help(item), show_default=False)
        kind = str | None
    annotation = Annotated[kind, shown]
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _metavar(item: AppInput) -> str:
    if item.upload is not None:
        return "FILE"
    if item.choices is not None:
        return "CHOICE"
    return _KINDS.get(item.type, "JSON")


def _help(item: AppInput) -> str:
    """Return what an option is for, what it takes, and what it is without."""
    parts = [" ".join(item.description.split()) or item.title]
    if (takes := takes_text(item)) and item.upload is None:
        parts.append(f"({takes})")
    if item.required:
        parts.append("[required]")
    elif item.default not in (None, ""):
        parts.append(f"[default: {short_text(item.default)}]")
    return " ".join(parts).replace("\b", "")


def takes_text(item: AppInput) -> str:
    """Return what an input takes, in a few words."""
    if item.upload is not None:
        return f"{item.upload} file"
    if item.choices is not None:
        return choices_text(item.choices)
    text = range_text(item.minimum, item.maximum)
    return f"{text}, or random" if text and item.is_seed else text


def _read(item: AppInput, value: Any) -> Any:
    """Return the value that stands behind an option."""
    return value if isinstance(value, bool) else value_of(item, value)


def value_of(item: AppInput, text: str) -> Any:
    """Return the value that a text of a terminal or a table means to an input: a file is a path.

    Raises:
        UsageError: The text's file is not there, or is no text.
    """
    if item.upload is not None:
        return _file(item, text)
    if item.type == "STRING" and item.choices is None:
        if text.startswith("@@"):
            return text[1:]
        if text.startswith("@"):
            return _text_of(Path(text[1:]).expanduser())
    return item.parse(text)


def _text_of(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"there is no file {path} (a text that begins with @ is written @@...)")
    return read_text(path).rstrip("\n")


def _file(item: AppInput, text: str) -> Any:
    """Return a file of this machine, or the name of one that the server has."""
    path = Path(text.removeprefix("@")).expanduser()
    if path.is_file():
        return path
    known = text in (item.choices or ()) or text.endswith(("[input]", "[output]", "[temp]"))
    if known or ":" in text[:8]:
        # The app says what it does not take: an address, for one.
        return text
    raise UsageError(f"--{item.name.replace('_', '-')}: there is no file {path}")
