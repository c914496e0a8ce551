"""Secrets: held where they are not shown by accident, and masked wherever a server repeats them."""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Generic, NoReturn, TypeVar, overload

__all__ = ["HIDDEN", "Secret", "Veil", "chain_of", "is_secret_name", "sealed"]

_T = TypeVar("_T")
_V = TypeVar("_V", str, bytes)

HIDDEN: Final = "•••"
"""What replaces a secret."""

# A shorter one is hidden where it stands by itself only: as a part it would hide ordinary words.
_WITHIN_WORDS: Final = 6
_SHORTEST: Final = 4
# Without any of these a text holds nothing in an escaped form.
_ESCAPES: Final = "%\\&+"
_SECRET_NAME: Final = re.compile(
    r"(^|[_.\-\s])(api_?key|key|token|secret|password|passwd|auth|authorization|credentials?)s?($|[_.\-\s])",
    re.IGNORECASE,
)


class Secret(Generic[_T]):
    """A value that is sent and never shown: a key, a body that holds one, headers.

    It has no readable repr, is no part of a pickle, and an f-string refuses it, so that neither
    a log line nor a header gets a mask, or a key, by accident. `reveal()` is the one way out, for
    whoever sends it in that very expression: a local variable would stand in tracebacks.

    Example:
        >>> key = Secret("s3cret")
        >>> key, key.reveal()
        (Secret(•••), 's3cret')
    """

    __slots__ = ("_value",)

    def __init__(self, value: _T) -> None:
        """Hold a value."""
        self._value = value

    @overload
    @classmethod
    def of(cls, value: None) -> None: ...
    @overload
    @classmethod
    def of(cls, value: _V | Secret[_V]) -> Secret[_V]: ...
    @overload
    @classmethod
    def of(cls, value: _V | Secret[_V] | None) -> Secret[_V] | None: ...
    @classmethod
    def of(cls, value: Any) -> Secret[Any] | None:
        """Return a value held as a secret, one that is already as it is, and None for None."""
        return value if value is None or isinstance(value, Secret) else cls(value)

    def reveal(self) -> _T:
        """Return the value, for what sends it."""
        return self._value

    def __bool__(self) -> bool:
        """Say whether there is anything in it."""
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        """Compare with another secret; a plain value is never equal."""
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        """Hash as the value does."""
        return hash(self._value)

    def __repr__(self) -> str:
        """Return a mask; nothing of the value, not even its length."""
        return f"Secret({HIDDEN})"

    def __format__(self, spec: str) -> NoReturn:
        """Refuse to become a part of a text.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a secret does not become a part of a text: reveal() it where it is sent")

    def __copy__(self) -> Secret[_T]:
        """Return itself: it never changes."""
        return self

    def __deepcopy__(self, memo: object) -> Secret[_T]:
        """Return itself: it never changes."""
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled.

        Raises:
            TypeError: Always.
        """
        raise TypeError("keys and passwords are not pickled: hand them to the other process by themselves")


class Veil:
    """Hides the secrets that it knows in texts that come from elsewhere.

    A server that repeats a request in its error, a redirect to a login page, a proxy's page: none
    of them may carry a key into an error, an event or a log. A secret is found as it is, in percent
    and base64 form, and with the escapes of JSON, HTML and Python.

    Example:
        >>> Veil(["s3cret/key"])("GET /?token=s3cret%2Fkey")
        'GET /?token=•••'
    """

    def __init__(self, secrets: Iterable[str | Secret[str] | None] = ()) -> None:
        """Hide these; more may be added."""
        self._secrets: set[Secret[str]] = set()
        self._forms: list[_Form] = []
        self.add(*secrets)

    def add(self, *secrets: str | Secret[str] | None) -> None:
        """Hide these too; very short ones are left, since they would hide ordinary words."""
        new = {Secret.of(secret) for secret in secrets if secret} - self._secrets
        new = {secret for secret in new if len(secret.reveal()) >= _SHORTEST}
        if new:
            self._secrets |= new
            # The longest first: one may be the beginning of another.
            ordered = sorted(self._secrets, key=lambda one: len(one.reveal()), reverse=True)
            self._forms = [_Form(secret) for secret in ordered]

    def __call__(self, text: object) -> str:
        """Return a text without any of the secrets."""
        shown = str(text)
        for form in self._forms:
            shown = form.hidden_in(shown)
        return shown

    def value(self, value: Any) -> Any:
        """Return a JSON value with the secrets in every text masked, keys too."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self.value, value))
        return value

    def data(self, data: bytes) -> bytes:
        """Return the bytes of a text without any of the secrets; other bytes stay as they are."""
        if not self._forms:
            return data
        text = data.decode("utf-8", "surrogateescape")
        veiled = self(text)
        return data if veiled == text else veiled.encode("utf-8", "surrogateescape")

    def error(self, error: BaseException) -> None:
        """Mask secrets in an error of another library, and in the errors that caused it."""
        for one in chain_of(error):
            one.args = tuple(self.value(_plain(part)) for part in one.args)

    def __repr__(self) -> str:
        """Say how many secrets it knows."""
        return f"<Veil over {len(self._secrets)}>"


class _Form:
    """One secret in all the forms that it may take in a text."""

    __slots__ = ("_escaped", "_literals")

    def __init__(self, secret: Secret[str]) -> None:
        """Work out the forms, once."""
        self._literals: list[Secret[str]] = []
        escaped = _escaped_form(secret)
        if len(secret.reveal()) >= _WITHIN_WORDS:
            # Most texts hold none: what needs no pattern is looked for without one.
            self._literals = [secret, *_base64_forms(secret)]
        else:
            escaped = Secret(rf"(?<![^\W_]){escaped.reveal()}(?![^\W_])")
        self._escaped = Secret(re.compile(escaped.reveal()))

    def hidden_in(self, text: str) -> str:
        """Return a text without the secret."""
        for literal in self._literals:
            text = text.replace(literal.reveal(), HIDDEN)
        if self._literals and not any(mark in text for mark in _ESCAPES):
            return text
        return self._escaped.reveal().sub(HIDDEN, text)


def sealed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with their keys and tokens held as secrets; `key` alone names a thing, and is none."""
    return {
        name: Secret.of(value) if is_secret_name(name) and name != "key" else value
        for name, value in options.items()
    }


def is_secret_name(name: str) -> bool:
    """Tell whether an input or a header of that name holds a key, as far as its name tells."""
    return _SECRET_NAME.search(name) is not None or name.lower() in ("x-api-key", "cookie", "apikey")


def _plain(value: object) -> object:
    """Return bytes as text, so that secrets in them can be masked; everything else as it is."""
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else value


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that caused it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
            yield one


def _escaped_form(secret: Secret[str]) -> Secret[str]:
    """Return a pattern for a text, each character as itself or in one of its escaped forms.

    It begins with a set of characters, which `re` looks for fastest.
    """
    first = _forms_of(secret.reveal()[0])
    heads = Secret("".join(sorted({re.escape(head) for head, _ in first})))
    start = Secret("|".join(f"(?<={re.escape(head)}){tail}" for head, tail in first))
    rest = Secret(
        "".join(
            f"(?:{'|'.join(re.escape(head) + tail for head, tail in _forms_of(char))})"
            for char in secret.reveal()[1:]
        )
    )
    return Secret(f"[{heads.reveal()}](?:{start.reveal()}){rest.reveal()}")


@functools.cache
def _forms_of(char: str) -> tuple[tuple[str, str], ...]:
    """Return the forms of a character, plain and in percent, JSON, HTML and Python, the longest first.

    Each is its first character and a pattern for what follows.
    """
    plain = {char, html.escape(char), f"&#{ord(char)};"} | ({"+"} if char == " " else set())
    forms = {(form[0], re.escape(form[1:])) for form in plain}
    short = {json.dumps(char)[1:-1], repr(char)[1:-1], "\\" + char if char in "/'\"\\" else char}
    # JSON within JSON is escaped twice, and so on.
    forms |= {("\\", r"\\*" + re.escape(form[1:])) for form in short if form[0] == "\\"}
    units = char.encode("utf-16-be", "surrogatepass").hex()
    pairs = [f"u{_any_case(units[at : at + 4])}" for at in range(0, len(units), 4)]
    forms.add(("\\", r"\\*" + r"\\+".join(pairs)))
    forms.add(("&", rf"#[xX]0*{_any_case(f'{ord(char):x}')};"))
    for encoding in ("utf-8", "latin-1"):
        octets = [_any_case(f"{octet:02x}") for octet in char.encode(encoding, "ignore")]
        if octets:
            # A URL within a URL is quoted twice.
            forms.add(("%", "%".join(f"(?:25)*{octet}" for octet in octets)))
            forms.add(("\\", r"\\*" + r"\\+".join(f"x{octet}" for octet in octets)))
    return tuple(sorted(forms, key=lambda form: len(form[1]), reverse=True))


def _any_case(digits: str) -> str:
    """Return a pattern for hex digits in either case."""
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


def _base64_forms(secret: Secret[str]) -> list[Secret[str]]:
    """Return what a secret looks like within base64, wherever in the text it stands.

    Three characters of base64 hold a little more than two bytes: by where it begins there are
    three forms, whose first and last character belong to the neighbours as well.
    """
    forms: list[Secret[str]] = []
    for shift in range(3):
        data = Secret(b"\0" * shift + secret.reveal().encode("utf-8", "surrogatepass"))
        first = -(-shift * 8 // 6)
        last = len(data.reveal()) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            form = Secret(encode(data.reveal()).decode("ascii")[first:last])
            quoted = Secret(form.reveal().replace("+", "%2B").replace("/", "%2F"))
            forms += [one for one in dict.fromkeys((form, quoted)) if one not in forms]
    return forms
