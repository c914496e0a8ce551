"""Processing texts when a prompt is queued: alternatives in prompts, and %...% in file names."""

from __future__ import annotations

import datetime
import random
import re
from typing import Any

from .model import MISSING, Graph, Node

__all__ = ["choose_alternatives", "fill_placeholders"]

_COMMENTS = re.compile(r"/\*[\s\S]*?\*/|//.*")
_PLACEHOLDER = re.compile(r"%([^%]+)%")
_DATE_PART = re.compile(r"dd?|MM?|hh?|mm?|ss?|yyy?y?")
_UNSAFE = re.compile(r'[/?<>\\:*|"\x00-\x1F\x7F]')


def choose_alternatives(text: str, rng: random.Random) -> str:
    r"""Return a prompt with one alternative of each `{a|b}`, without comments.

    ComfyUI's editor does so whenever it queues a prompt (formatUtil.ts): `//` and `/* */` are
    comments, blocks may be nested, and `\{`, `\|`, `\}` are the characters themselves.

    Args:
        text: The prompt as written.
        rng: Chooses among the alternatives.
    """
    if not any(mark in text for mark in ("{", "\\", "//", "/*")):
        return text
    text = _COMMENTS.sub("", text)
    parts: list[str] = []
    place = 0
    while place < len(text):
        char = text[place]
        place += 1
        if char == "\\":
            parts.append("\\" + text[place : place + 1])
            place += 1
        elif char == "{":
            options, place = _alternatives(text, place)
            parts.append(choose_alternatives(rng.choice(options), rng))
        else:
            parts.append(char)
    return re.sub(r"\\([{}|])", r"\1", "".join(parts))


def _alternatives(text: str, place: int) -> tuple[list[str], int]:
    """Return the alternatives of the block that starts at the index, and the index after its end."""
    options, choice, depth = [], "", 0
    while place < len(text):
        char = text[place]
        place += 1
        if char == "\\":
            choice += "\\" + text[place : place + 1]
            place += 1
            continue
        if char == "}" and depth == 0:
            break
        if char == "|" and depth == 0:
            options.append(choice)
            choice = ""
            continue
        depth += (char == "{") - (char == "}")
        choice += char
    return [*options, choice], place


def fill_placeholders(text: str, root: Graph, now: datetime.datetime) -> str:
    """Return a file name with `%date:...%` and `%Node.widget%` filled in (searchAndReplace.ts).

    Other placeholders, for example `%width%`, are left for the server.

    Args:
        text: The file name as written.
        root: The graph in which nodes are looked up.
        now: The time to write.
    """
    if "%" not in text:
        return text

    def fill(match: re.Match[str]) -> str:
        parts = match[1].split(".")
        if len(parts) == 2:
            found = _widget_text(root, *parts)
            return match[0] if found is None else found
        if parts[0].startswith("date:"):
            return _date(parts[0].removeprefix("date:"), now)
        return match[0]

    return _PLACEHOLDER.sub(fill, text)


def _widget_text(root: Graph, name: str, widget_name: str) -> str | None:
    """Return a widget's value as a part of a file name, None when no node or widget has the name.

    The node is named by its alias or title.
    """
    nodes = [node for _, node in root.walk()]
    found = [node for node in nodes if _alias(node) == name] or [node for node in nodes if node.title == name]
    widget = found[0].widget(widget_name) if found else None
    if widget is None:
        return None
    value = "" if widget.value is None or widget.value is MISSING else widget.value
    return _UNSAFE.sub("_", _written(value))


def _alias(node: Node) -> Any:
    """Return the node's name for search and replace (`Node name for S&R`)."""
    alias = node.properties.get("Node name for S&R")
    return alias if alias is not None or node.class_type is None else node.type


def _written(value: Any) -> str:
    """Return a value as a text, in JavaScript's notation."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _date(form: str, now: datetime.datetime) -> str:
    """Return the time in a format of the editor, for example `yyyy-MM-dd hh:mm:ss`."""
    parts = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def write(match: re.Match[str]) -> str:
        part = match[0]
        if part == "yy":
            return f"{now.year}"[2:]
        if part == "yyyy":
            return f"{now.year}"
        return f"{parts[part[0]]:0{len(part)}d}" if part[0] in parts else part

    return _DATE_PART.sub(write, form)
