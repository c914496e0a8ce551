"""Why the server refused a prompt, read into `Problem`s; and why a node failed, into errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ..errors import JobFailedError, OutOfMemoryError, PartnerNodeError
from ..events import Failed
from ..types import NodeInfo, Problem, clipped

__all__ = ["failure", "nearest", "problems"]

_NO_NODES: Final[Mapping[str, NodeInfo]] = {}

_ADVICE: Final = {
    "missing_node_type": "Install the node pack that has it on the server, or replace the node.",
    "prompt_no_outputs": "Add a node that saves or shows something, for example SaveImage.",
    "no_prompt": "Send a workflow with at least one output node.",
    "dependency_cycle": "Remove one of the links of the cycle.",
}


_MOST_LETTERS: Final = 200
"""Longer than any name: a value such as a picture in base64, which resembles nothing."""

_MOST_DETAILS: Final = 1_000
"""Characters of the server's text that a message repeats: it may hold the whole value."""


def nearest(value: object, choices: Iterable[object], *, count: int = 3) -> tuple[str, ...]:
    """Return the choices that resemble a value, the best first.

    Model names are compared without their folders too: the separator differs by system.
    """
    import difflib  # only failures need it

    wanted = value if isinstance(value, str) else clipped(value)
    if len(wanted) > _MOST_LETTERS:
        return ()
    texts = [str(choice) for choice in choices]
    leaf = re.split(r"[\\/]", wanted)[-1].lower()
    same_leaf = [text for text in texts if re.split(r"[\\/]", text)[-1].lower() == leaf]
    close = difflib.get_close_matches(wanted, texts, count, 0.5)
    lowered = {text.lower(): text for text in texts}
    close += [lowered[t] for t in difflib.get_close_matches(wanted.lower(), list(lowered), count, 0.5)]
    return tuple(dict.fromkeys([*same_leaf, *close]))[:count]


def problems(
    error: object,
    node_errors: object,
    nodes: Mapping[str, NodeInfo] = _NO_NODES,
) -> list[Problem]:
    """Return every problem in an answer of POST /prompt.

    Args:
        error: The answer's `error`: an object with `type`, `message`, `details`, `extra_info`.
        node_errors: The answer's `node_errors`; a list on servers before 0.3.27.
        nodes: The nodes of the submitted workflow, for the titles.
    """
    found: list[Problem] = []
    if isinstance(node_errors, Mapping):
        for node, entry in node_errors.items():
            if isinstance(entry, Mapping):
                found.extend(_node_problems(str(node), entry, nodes))
    whole = _whole_problem(error, nodes)
    if whole is not None and (not found or whole.node is not None):
        found.insert(0, whole)
    return found


def _whole_problem(error: object, nodes: Mapping[str, NodeInfo]) -> Problem | None:
    """Read the error about the whole prompt; missing_node_type names its node in `extra_info`."""
    if not isinstance(error, Mapping):
        return Problem(message=str(error)) if error else None
    kind = str(error.get("type") or "")
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, Mapping) else {}
    node = extra.get("node_id")
    info = nodes.get(str(node)) if node is not None else None
    message = str(error.get("message") or kind)
    if kind == "missing_node_type" and extra.get("class_type"):
        # The server's own sentence names the title, as if that were the class.
        message = f"the server has no node class {clipped(extra['class_type'])}"
    details = _cut(str(error.get("details") or ""))
    if details and node is None and details != message:
        message = f"{message}: {details}"
    return Problem(
        node=None if node is None else str(node),
        title=info.title if info else str(extra.get("node_title") or ""),
        class_type=info.class_type if info else str(extra.get("class_type") or ""),
        type=kind,
        message=message,
        received=extra.get("class_type"),
        advice=_ADVICE.get(kind, ""),
    )


def _node_problems(node: str, entry: Mapping[str, Any], nodes: Mapping[str, NodeInfo]) -> list[Problem]:
    """Read the problems of one node."""
    info = nodes.get(node) or NodeInfo(node, "", str(entry.get("class_type") or ""))
    errors = entry.get("errors")
    rows = errors if isinstance(errors, list) else []
    return [_input_problem(info, row) for row in rows if isinstance(row, Mapping)]


def _input_problem(info: NodeInfo, row: Mapping[str, Any]) -> Problem:
    """Read one problem of one input."""
    extra = row.get("extra_info")
    extra = extra if isinstance(extra, Mapping) else {}
    kind = str(row.get("type") or "")
    received = extra.get("received_value")
    name = extra.get("input_name")
    return Problem(
        node=info.id,
        title=info.title,
        class_type=info.class_type,
        input=None if name is None else str(name),
        type=kind,
        message=_sentence(kind, row, extra, received),
        received=received,
        advice=_range(extra.get("input_config")) if kind == "invalid_input_type" else "",
        nearest=nearest(received, choices(extra.get("input_config"))) if kind == "value_not_in_list" else (),
    )


def _range(config: object) -> str:
    """Return what a number may be, "" when the spec does not say."""
    options = config[1] if isinstance(config, list) and len(config) > 1 else None
    if not isinstance(options, Mapping) or not {"min", "max"} <= options.keys():
        return ""
    return f"It takes {options['min']} to {options['max']}."


def choices(config: object) -> Sequence[object]:
    """Return the values that an input takes, from its spec in either form, () when it has no list."""
    if not isinstance(config, (list, tuple)) or not config:
        return ()
    if isinstance(config[0], (list, tuple)):
        return config[0]
    options = config[1].get("options") if len(config) > 1 and isinstance(config[1], Mapping) else None
    return options if isinstance(options, (list, tuple)) else ()


def _sentence(kind: str, row: Mapping[str, Any], extra: Mapping[str, Any], received: object) -> str:
    """Say what is wrong in one sentence, with the server's own details."""
    config = extra.get("input_config")
    options = config[1] if isinstance(config, list) and len(config) > 1 else {}
    options = options if isinstance(options, Mapping) else {}
    match kind:
        case "required_input_missing":
            return "the input is required and missing"
        case "invalid_input_type" if _type_of(config) in _KINDS:
            return f"{clipped(received)} is no {_KINDS[_type_of(config)]}"
        case "value_not_in_list":
            return f"{clipped(received)} is not one of the values that the server has"
        case "value_smaller_than_min" if "min" in options:
            return f"{clipped(received)} is less than the least, {options['min']}"
        case "value_bigger_than_max" if "max" in options:
            return f"{clipped(received)} is more than the most, {options['max']}"
        case "exception_during_inner_validation" if extra.get("exception_type") == "KeyError":
            return f"a link leads to a node that is not in the prompt: {extra.get('exception_message')}"
    message, details = _cut(str(row.get("message") or kind)), _cut(str(row.get("details") or ""))
    return f"{message}: {details}" if details else message


def _cut(text: str) -> str:
    """Return a text of the server's, the beginning of a long one."""
    return text if len(text) <= _MOST_DETAILS else f"{text[:_MOST_DETAILS]}… ({len(text):,} characters)"


_KINDS: Final = {"INT": "whole number", "FLOAT": "number"}


def _type_of(config: object) -> str:
    """Return the type that an input's spec names, "" when it is a list of choices."""
    return config[0] if isinstance(config, list) and config and isinstance(config[0], str) else ""


_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|OutOfMemory|Allocation on device|MPS backend out of memory|hipErrorOutOfMemory"
    r"|CUDA_ERROR_OUT_OF_MEMORY|DefaultCPUAllocator: (?:can't|not enough)|OOMError"
    r"|^(?:[\w.]*\.)?_?(?:Array)?MemoryError$",
    re.IGNORECASE,
)

_PARTNER: Final = (
    ("login", re.compile(r"Unauthorized: Please login first"), "Give `partner_api_key=` a valid key."),
    ("credits", re.compile(r"Payment Required: Please add credits"), "Add credits to the account."),
    ("account", re.compile(r"There is a problem with your account"), "Ask the platform's support."),
    ("rate_limit", re.compile(r"Rate Limit Exceeded"), "Submit fewer of these at once, or later."),
    ("credits", re.compile(r"InsufficientFundsError|InactiveSubscriptionError"), "Check the account."),
    ("api", re.compile(r"API Error: "), "The partner's service refused it, with the message above."),
)


# Newer servers can be told which models may be loaded; a run finds out when it loads one (PROTOCOL 7.6).
_NOT_PERMITTED: Final = "ModelNotPermittedError"
_NOT_PERMITTED_HINT: Final = (
    "The rules of this server do not allow the model: choose another one, or ask the server's operator."
)


def failure(event: Failed, *, prompt_id: str, server: str) -> JobFailedError:
    """Return the error of a failed job: out of memory and partner services have errors of their own.

    The exact texts are those of ComfyUI's nodes (comfy_api_nodes/util/client.py) and of torch,
    CUDA, HIP and MPS.
    """
    kind, text = event.exception_type, event.exception_message
    node = event.node
    fields: dict[str, Any] = {
        "prompt_id": prompt_id,
        "server": server,
        "node": node,
        "title": event.title,
        "class_type": event.class_type,
        "exception_type": kind,
        "exception_message": text,
        "traceback": event.traceback,
    }
    message = f"{_where(event)}{kind or 'an error'}: {text or 'the server gave no message'}"
    if _OUT_OF_MEMORY.search(kind) or _OUT_OF_MEMORY.search(text):
        hint = "Use a smaller size or batch, or free the models first: `comfy.system.free()`."
        return OutOfMemoryError(message, hint=hint, **fields)
    for reason, pattern, hint in _PARTNER:
        if pattern.search(text) or pattern.search(kind):
            retryable = reason == "rate_limit"
            return PartnerNodeError(message, reason=reason, hint=hint, retryable=retryable, **fields)
    if kind.rpartition(".")[2] == _NOT_PERMITTED:
        return JobFailedError(message, hint=_NOT_PERMITTED_HINT, **fields)
    if not event.traceback:
        return JobFailedError(message, hint="The server's log may say more.", **fields)
    return JobFailedError(message, hint="`error.traceback` has the server's traceback.", **fields)


def _where(event: Failed) -> str:
    """Return what raised it; newer servers also report runs that failed outside of any node."""
    if event.node:
        return f"node {NodeInfo(event.node, event.title, event.class_type)} raised "
    if event.class_type:
        return f"a node of class {event.class_type} raised "
    return "the run failed, and the server names no node: "
