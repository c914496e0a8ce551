"""An app's inputs as a pydantic model, which accepts the same values as the app."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from .names import word
from .parts import AppInput
from .schema import input_schema
from .values import WrongValueError, value_for

__all__ = ["model_of"]

_TYPES: dict[str, Any] = {"STRING": str, "INT": int, "FLOAT": float, "BOOLEAN": bool}

_MOST_CHOICES = 400


class _Values(BaseModel):
    """The base class of every model of an app."""

    model_config = ConfigDict(
        extra="forbid",
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        populate_by_name=True,
        use_attribute_docstrings=False,
    )

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return the values that were given, by the app's names, to pass as `app(**...)`."""
        return super().model_dump(**{"by_alias": True, "exclude_unset": True, **options})


_TAKEN = frozenset(dir(BaseModel))


def model_of(name: str, description: str, inputs: Mapping[str, AppInput]) -> type[BaseModel]:
    """Return a model with a field for each input."""
    fields: dict[str, Any] = {}
    for item in inputs.values():
        # A name that BaseModel itself uses becomes the alias of a field with another name.
        own = item.name in _TAKEN
        fields[f"{item.name}_" if own else item.name] = (_annotation(item), _field(item, aliased=own))
    title = "".join(part.capitalize() for part in (word(name) or "app").split("_") if part)
    model: type[BaseModel] = create_model(title, __base__=_Values, __doc__=description, **fields)
    return model


def _annotation(item: AppInput) -> Any:
    """Return the type of a field, with the app's own check as a validator."""
    kind: Any = _TYPES.get(item.type, Any)
    if item.upload is not None:
        kind = Any
    elif item.choices is not None and not isinstance(item.default, list):
        plain = all(isinstance(one, str | int) for one in item.choices)
        short = len(item.choices) <= _MOST_CHOICES
        kind = Literal[item.choices] if plain and short else Any
    elif item.type == "COMBO":
        kind = Any
    if not item.required and item.default is None and kind is not Any:
        kind = kind | None
    return Annotated[kind, BeforeValidator(_check(item))]


def _check(item: AppInput) -> Callable[[Any], Any]:
    """Return a validator that rejects the values that the app would reject."""

    def check(value: Any) -> Any:
        try:
            return value_for(item, value)
        except WrongValueError as wrong:
            close = f"; nearest: {', '.join(map(str, wrong.close))}" if wrong.close else ""
            raise ValueError(f"{wrong}{close}") from None

    return check


def _field(item: AppInput, *, aliased: bool) -> Any:
    """Return the pydantic field: default, title, description, alias and JSON Schema."""
    schema = {key: value for key, value in input_schema(item).items() if key != "default"}
    return Field(
        default=... if item.required else item.default,
        title=item.title or item.name,
        description=item.description or None,
        alias=item.name if aliased else None,
        json_schema_extra=schema,
    )
