"""Names of saved files by pattern: `{seed}_{index:03d}.png`."""

from __future__ import annotations

import logging
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .._base.paths import MAX_BYTES, safe_name
from .output import OutputFile

__all__ = ["NamePattern"]

_SEEDS: Final = ("seed", "noise_seed")
_ENDING: Final = re.compile(r"\.([A-Za-z0-9]{1,8})$")
_SAME_ENDINGS: Final = {"jpeg": "jpg", "tiff": "tif", "mpeg": "mpg"}
_FIELDS: Final = (
    "index, job, seed, filename, node, title, kind, type, prompt_id, `{label.NAME}` and `{node.input}`"
)
_OF_FILES: Final = frozenset({"filename", "node", "title", "kind", "type", "prompt_id"})
_LABEL: Final = "label."
_OUTSIDE: Final = re.compile(r"[\\/]|[A-Za-z]:")

_log = logging.getLogger("comfy_async")


class NamePattern:
    """A pattern for file names, such as `{seed}_{index:03d}.png`; folders in it are made.

    Fields: `index` (the file's place in the result, from 0), `job` (the job's place in its batch, from
    0), `filename` (the server's, without its ending), `node`, `title`, `kind`, `type`, `prompt_id`,
    `seed`, a label as `{label.user}`, and any input of the workflow as `{3.steps}` or
    `{KSampler.steps}`. The ending is each file's own where the pattern's is another.
    """

    def __init__(
        self,
        text: str,
        *,
        prompt_id: str,
        graph: Mapping[str, Any] | None,
        job: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Read a pattern.

        Raises:
            ValueError: It is no pattern, is empty, or leads out of the folder.
        """
        parts = re.split(r"[\\/]+", text)
        if _OUTSIDE.match(text) or ".." in parts:
            raise ValueError(f"{text!r} leads out of the folder: a pattern names files and folders below it")
        ending = _ENDING.search(text)
        self._ending = ending[1] if ending else ""
        stem = text[: ending.start()] if ending else text
        self._parts = [part for part in re.split(r"[\\/]+", stem) if part not in {"", "."}]
        if not self._parts:
            raise ValueError(f"{text!r} names no file")
        self._text = text
        self._prompt_id = prompt_id
        self._graph = graph
        self._job = job
        self._labels = labels or {}

    def tell_endings(self, files: Sequence[OutputFile]) -> None:
        """Log that the pattern's ending is that of no file: nothing is converted."""
        found = {match[1] for file in files if (match := _ENDING.search(file.filename))}
        if self._ending and found and _plain(self._ending) not in map(_plain, found):
            others = " and ".join(f".{ending}" for ending in sorted(found))
            told = "files are saved as the server made them, %s, not as %r says: nothing is converted"
            _log.warning(told, others, self._text)

    @property
    def wants_workflow(self) -> bool:
        """True when a field is filled from the workflow: a seed, or another input."""
        return any(field == "seed" or "." in field for field, _ in self._fields())

    def check(self) -> None:
        """Find out before a job is submitted what is certain to fail after it.

        Without a workflow that is the form, and fields that do not exist; with one also values that it lacks.

        Raises:
            ValueError: The pattern cannot be filled.
        """
        for field, spec in self._fields():
            value: object = "x"
            if field == "index":
                value = 0
            elif field == "job":
                value = self._place()
            elif field.startswith(_LABEL) and field.removeprefix(_LABEL) in self._labels:
                pass
            elif field == "seed":
                value = 0 if self._graph is None else self._any_seed()
            elif field not in _OF_FILES:
                if "." not in field or self._graph is not None:
                    value = self._of_workflow(field)
                else:
                    continue
            self._formatted(field, value, spec)

    def _fields(self) -> Iterator[tuple[str, str]]:
        """Yield each field with its format.

        Raises:
            ValueError: A brace has no other one.
        """
        for part in self._parts:
            for _, field, spec, _ in self._read(part):
                if field is not None:
                    yield field, spec or ""

    def _read(self, part: str) -> list[tuple[str, str | None, str | None, str | None]]:
        """Read the braces of a part.

        Raises:
            ValueError: One has no other one.
        """
        try:
            return list(string.Formatter().parse(part))
        except ValueError as error:
            raise ValueError(f"{self._text!r} is no pattern: {error}") from None

    def _formatted(self, field: str, value: object, spec: str) -> str:
        """Return a value in its format.

        Raises:
            ValueError: It has no such format.
        """
        try:
            return format(value, spec)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{{{field}:{spec}}} in {self._text!r}: {error}") from None

    def parts(self, file: OutputFile, index: int) -> tuple[str, ...]:
        """Return the path of a file below the target folder.

        Raises:
            ValueError: A field is unknown, or could be several things.
        """
        own = _ENDING.search(file.filename)
        ending = own[1] if own and _plain(own[1]) != _plain(self._ending) else self._ending
        ending = f".{ending}" if ending else ""
        *folders, leaf = self._parts
        made = [safe_name(self._filled(part, file, index)) for part in folders]
        return (*made, safe_name(self._filled(leaf, file, index, room=MAX_BYTES - len(ending)) + ending))

    def _filled(self, part: str, file: OutputFile, index: int, *, room: int = MAX_BYTES) -> str:
        """Return a part with its fields filled in, each made safe by itself: none of them makes a folder.

        Of one that is too long the longest fields are shortened, so that what tells files apart stays.
        """
        texts: list[str] = []
        fields: list[int] = []
        for literal, field, spec, _ in self._read(part):
            texts.append(literal)
            if field is not None:
                fields.append(len(texts))
                texts.append(safe_name(self._formatted(field, self._value(field, file, index), spec or "")))
        over = len("".join(texts).encode()) - room
        while over > 0 and any(texts[place] for place in fields):
            longest = max(fields, key=lambda place: len(texts[place].encode()))
            over -= len(texts[longest][-1].encode())
            texts[longest] = texts[longest][:-1]
        return "".join(texts)

    def _value(self, field: str, file: OutputFile, index: int) -> object:
        """Return what a field stands for."""
        match field:
            case "index":
                return index
            case "filename":
                return _ENDING.sub("", file.filename)
            case "prompt_id":
                return self._prompt_id
            case "node" | "title" | "kind" | "type":
                return getattr(file, field)
            case "seed":
                return self._seed(file.node, file.filename)
            case "job":
                return self._place()
        if field.removeprefix(_LABEL) in self._labels and field.startswith(_LABEL):
            return self._labels[field.removeprefix(_LABEL)]
        return self._of_workflow(field)

    def _place(self) -> int:
        """Return the job's place in its batch.

        Raises:
            ValueError: It is of none.
        """
        if self._job is None:
            raise ValueError("{job} is the place in a batch, and this job is of none")
        return self._job

    def _of_workflow(self, field: str) -> object:
        """Return the value of an input.

        Raises:
            ValueError: That is none, or could be several.
        """
        if "." in field:
            return self._input(field)
        raise ValueError(f"a name has no field {{{field}}}: there are {_FIELDS}")

    def _any_seed(self) -> int:
        """Return a seed of any node at the end of the workflow: files come from some of these.

        Raises:
            ValueError: None of them has one.
        """
        graph = self._known_graph()
        inputs = [spec.get("inputs") for spec in graph.values() if isinstance(spec, Mapping)]
        read = {
            str(value[0])
            for named in inputs
            for value in (named.values() if isinstance(named, Mapping) else ())
            if isinstance(value, list) and len(value) == 2
        }
        errors: list[ValueError] = []
        for node in [node for node in graph if node not in read] or list(graph):
            try:
                return self._seed(node, f"what node {node} makes")
            except ValueError as error:
                errors.append(error)
        raise errors[0] if errors else ValueError("{seed}: the workflow has no nodes")

    def _seed(self, node: str, what: str) -> int:
        """Return the one seed that a file of a node can have come of."""
        found = {f"{place}.{name}": value for place, name, value in self._seeds(node)}
        if len(set(found.values())) == 1:
            return next(iter(found.values()))
        if found:
            choices = ", ".join(f"{{{place}}}" for place in found)
            raise ValueError(f"{{seed}} could be several for {what}: say which, {choices}")
        raise ValueError(f"{{seed}}: no input named seed with a value leads to {what}")

    def _seeds(self, node: str) -> Iterator[tuple[str, str, int]]:
        """Yield the seeds of a node and of everything that it reads from."""
        graph = self._known_graph()
        waiting, seen = [node if node in graph else node.partition(".")[0]], set[str]()
        while waiting:
            one = waiting.pop()
            if one in seen or not isinstance(spec := graph.get(one), Mapping):
                continue
            seen.add(one)
            inputs = spec.get("inputs")
            for name, value in inputs.items() if isinstance(inputs, Mapping) else ():
                if isinstance(value, list) and len(value) == 2 and str(value[0]) in graph:
                    waiting.append(str(value[0]))
                elif name in _SEEDS and isinstance(value, int) and not isinstance(value, bool):
                    yield one, name, value

    def _input(self, field: str) -> object:
        """Return the value of an input by `node.input`: the node's id, title or class."""
        graph = self._known_graph()
        name, _, wanted = field.rpartition(".")
        found = {
            node: spec["inputs"][wanted]
            for node, spec in graph.items()
            if _is_named(node, spec, name) and wanted in (spec.get("inputs") or {})
        }
        values = [value for value in found.values() if isinstance(value, str | int | float)]
        if not values:
            if field.startswith(_LABEL):
                raise ValueError(f"{{{field}}}: the job has the labels {', '.join(self._labels) or 'none'}")
            raise ValueError(f"{{{field}}}: the workflow has no such input with a value")
        if len(set(values)) > 1:
            raise ValueError(f"{{{field}}} could be several: nodes {', '.join(found)} have that name")
        return values[0]

    def _known_graph(self) -> Mapping[str, Any]:
        """Return the workflow.

        Raises:
            ValueError: It is not known.
        """
        if self._graph is None:
            raise ValueError(
                "seeds and inputs are unknown for a job that was attached to: name files otherwise"
            )
        return self._graph


def _is_named(node: str, spec: object, name: str) -> bool:
    """Say whether a node is called so: by id, title or class."""
    if not isinstance(spec, Mapping):
        return False
    meta = spec.get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else None
    return name in (node, title, spec.get("class_type"))


def _plain(ending: str) -> str:
    """Return an ending without the differences that mean nothing."""
    lowered = ending.lower()
    return _SAME_ENDINGS.get(lowered, lowered)
