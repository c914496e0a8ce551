"""The generated parts of the guides, and what writes them anew: `python tests/helpers/doc_pages.py`.

The table of routes and the drawings of runs stand between two comments of a page, the page of names is
made of the docstrings. tests/docs holds all of it against what this gives.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator

from doc_drawings import SCENES, drawing, play
from doc_tools import GUIDES, ROOT
from name_tools import docs, example, first_sentence, groups, methods

from comfy_async import ComfySession
from comfy_async._resources.routes import ROUTES

EARLY = "2024 or before"
PACKAGE = ROOT / "comfy_async"
FACES = {
    "comfy_async": PACKAGE,
    "comfy_async.testing": PACKAGE / "testing",
    "comfy_async.ray": PACKAGE / "ray",
    "comfy_async.otel": PACKAGE / "otel",
    "comfy_async.webhooks": PACKAGE / "webhooks",
}
RESOURCES = "files queue history jobs nodes models system userdata settings_store assets".split()
NAMES = {f"{face}.{name}": doc for face, path in FACES.items() for name, doc in docs(path).items()}


def route_table() -> str:
    """Return the table of routes as routes.md shows it."""
    rows = ["| route | from here | since | Comfy Cloud |", "|---|---|---|---|"]
    rows += [
        f"| `{route.method} {route.path}` | `{route.verb}` | {route.since or EARLY} | {route.cloud} |"
        for route in ROUTES
    ]
    return "\n".join(rows)


def names_page() -> str:
    """Return names.md."""
    parts = [_HEAD]
    for title, names in groups(PACKAGE).items():
        parts += [f"## {title}", _index(names)]
        parts += [_entry(name, NAMES[f"comfy_async.{name}"]) for name in names]
    parts += ["## The rest of the server", _index([f"comfy.{name}" for name in RESOURCES])]
    parts += _resource_entries()
    for face, title in _OTHERS.items():
        found = docs(FACES[face])
        parts += [f"## {title}: `{face}`", _index(found)]
        parts += [_entry(name, doc) for name, doc in found.items()]
    return "\n\n".join(parts) + "\n"


_OTHERS = {
    "comfy_async.testing": "Test your own code",
    "comfy_async.ray": "A fleet on Ray",
    "comfy_async.otel": "Traces and metrics",
    "comfy_async.webhooks": "Webhooks",
}

_HEAD = """\
# Every public name, with an example

Made from the docstrings by `python tests/helpers/doc_pages.py`; the tests run each example as it stands.

In the examples `comfy` is an entered `ComfySession`, `fake` the `FakeComfy` that it leads to, `flow` the
workflow of `examples/workflows/sd15_text2image_api.json`, `job` one that was submitted, `result` its
result. `fake` makes things happen on purpose, which happen by themselves with a real server. `await` at the
top level works in notebooks and in `python -m asyncio`. `help(ComfySession)` has all that a class can do:
the methods, their arguments and what each of them raises."""


def _index(names: Iterable[str]) -> str:
    """Return links to the entries of some names."""
    return ",\n".join(f"[{name}](#{name.lower().replace('.', '')})" for name in names)


def _resource_entries() -> Iterator[str]:
    """Yield the resources of a session."""
    for name in RESOURCES:
        cls = type(getattr(ComfySession("http://127.0.0.1:8188"), name))
        yield _entry(f"comfy.{name}", cls.__doc__ or "", [method for method, _ in methods(cls)])


def _entry(name: str, doc: str, methods: list[str] | None = None) -> str:
    """Return what the page says of a name."""
    sentence = first_sentence(doc).removeprefix(f"`{name}`: ")
    listed = f"\n\nMethods: {', '.join(f'`{method}`' for method in methods)}." if methods else ""
    return f"### {name}\n\n{sentence[0].upper()}{sentence[1:]}{listed}\n\n```pycon\n{example(doc)}```"


def write(page: str, mark: str, content: str) -> None:
    """Put a generated part in its place."""
    path = GUIDES / page
    part = f"<!-- {mark} -->\n{content}\n<!-- /{mark} -->"
    text = path.read_text("utf-8")
    path.write_text(
        re.sub(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _: part, text, flags=re.DOTALL), "utf-8"
    )


def main() -> None:
    """Write every generated part."""
    write("routes.md", "routes", route_table())
    for title, scene in SCENES.items():
        write("events.md", title, drawing(asyncio.run(play(scene))))
    (GUIDES / "names.md").write_text(names_page(), "utf-8")


if __name__ == "__main__":
    main()
