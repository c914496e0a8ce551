"""What POST /prompt checks, and the errors that it returns.

The kinds and shapes of the errors are those of ComfyUI's execution.py; a prompt is valid
when at least one of its output nodes is, and the bad ones are then left out in silence.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from ._capabilities import Capabilities
from ._specs import Choices, InputSpec, NodeSpec

__all__ = ["CustomCheck", "Validation", "validate_prompt"]

CustomCheck: TypeAlias = Callable[[dict[str, Any]], dict[str, str]]
"""What a class checks itself: given its plain inputs, complaints by input name."""

Complaint: TypeAlias = dict[str, Any]

_LONGEST_LIST_SHOWN = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Validation:
    """The verdict on a prompt: `error` is None when something of it can run."""

    outputs: list[str]
    node_errors: dict[str, Any]
    error: dict[str, Any] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """What a prompt is held against.

    Attributes:
        custom: Checks of some classes; an input that they look at is spared the usual ones.
    """

    classes: Mapping[str, NodeSpec]
    choices: Choices
    custom: Mapping[str, tuple[str, CustomCheck]]
    capabilities: Capabilities


def validate_prompt(prompt: Any, rules: Rules, *, targets: Collection[str] | None = None) -> Validation:
    """Check a prompt; numbers given as text are converted in place, as the server does.

    Args:
        prompt: A graph in API format.
        rules: The classes and lists of the server.
        targets: The output nodes that are wanted, all when None.
    """
    outputs = []
    for node_id, node in prompt.items():
        missing = _missing_class(node_id, node, rules)
        if missing is not None:
            return Validation([], {}, missing)
        if rules.classes[node["class_type"]].is_output and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        return Validation([], {}, _error("prompt_no_outputs", "Prompt has no outputs"))
    return _Check(prompt, rules).run(outputs)


def _missing_class(node_id: str, node: Any, rules: Rules) -> Complaint | None:
    """Return the complaint about a node whose class is not there."""
    class_type = node.get("class_type")
    if class_type is not None and class_type in rules.classes:
        return None
    details = f"Node ID '#{node_id}'"
    if not rules.capabilities.has("missing_node_type"):
        message = f"Cannot execute because node {class_type} does not exist."
        return _error("invalid_prompt", message, details)
    title = node.get("_meta", {}).get("title", class_type)
    message = f"Node '{title}' not found. The custom node may not be installed."
    if class_type is None:
        name = title or f"ID #{node_id}"
        message = (
            f"Node '{name}' has no class_type. The workflow may be corrupted or a custom node is missing."
        )
    extra = {"node_id": node_id, "class_type": class_type, "node_title": title}
    return _error("missing_node_type", message, details, extra)


def _error(kind: str, message: str, details: str = "", extra: dict[str, Any] | None = None) -> Complaint:
    """Return a complaint in ComfyUI's four keys."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra or {}}


class _Check:
    """One pass over a prompt, from its outputs up."""

    def __init__(self, prompt: dict[str, Any], rules: Rules) -> None:
        self._prompt = prompt
        self._rules = rules
        self._verdicts: dict[str, tuple[bool, list[Complaint]]] = {}
        self._path: list[str] = []
        self._inputs: dict[str, dict[str, InputSpec]] = {}

    def run(self, outputs: list[str]) -> Validation:
        """Check every output and gather the complaints by node."""
        good, complaints = [], []
        node_errors: dict[str, Any] = {}
        for output in outputs:
            valid, reasons = self._output(output)
            if valid:
                good.append(output)
                continue
            complaints += reasons
            self._blame(output, node_errors)
        if good:
            return Validation(good, node_errors, None)
        details = "\n".join(f"{reason['message']}: {reason['details']}" for reason in complaints)
        error = _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", details)
        return Validation([], node_errors, error)

    def _output(self, output: str) -> tuple[bool, list[Complaint]]:
        """Check an output node with all that it needs."""
        try:
            return self._node(output)
        except Exception as error:
            extra = {"exception_type": type(error).__qualname__, "traceback": _frames(error)}
            reason = _error(
                "exception_during_validation", "Exception when validating node", str(error), extra
            )
            self._verdicts[output] = (False, [reason])
            return self._verdicts[output]

    def _blame(self, output: str, node_errors: dict[str, Any]) -> None:
        """Enter every node with complaints of its own; those that only inherit them stay out."""
        for node_id, (valid, reasons) in self._verdicts.items():
            if valid or not reasons:
                continue
            entry = node_errors.setdefault(
                node_id,
                {
                    "errors": reasons,
                    "dependent_outputs": [],
                    "class_type": self._prompt[node_id]["class_type"],
                },
            )
            entry["dependent_outputs"].append(output)

    def _node(self, node_id: str) -> tuple[bool, list[Complaint]]:
        """Check a node and what it depends on; raises what the server would stumble over."""
        if node_id in self._verdicts:
            return self._verdicts[node_id]
        if node_id in self._path:
            return self._cycle(node_id)
        inputs = self._prompt[node_id]["inputs"]
        spec = self._rules.classes[self._prompt[node_id]["class_type"]]
        self._path.append(node_id)
        try:
            sound, complaints = self._inputs_of(spec, inputs)
        finally:
            self._path.pop()
        complaints += self._custom(spec, inputs)
        # A cycle found on the way may have blamed this node already.
        before = self._verdicts.get(node_id, (True, []))
        complaints = before[1] + [complaint for complaint in complaints if complaint not in before[1]]
        self._verdicts[node_id] = (before[0] and sound and not complaints, complaints)
        return self._verdicts[node_id]

    def _inputs_of(self, spec: NodeSpec, inputs: dict[str, Any]) -> tuple[bool, list[Complaint]]:
        """Check the inputs of a node; returns whether its sources are sound, and its complaints."""
        complaints: list[Complaint] = []
        sound = True
        for name, declared in self._declared(spec).items():
            if name not in inputs:
                if name in spec.required:
                    missing = _error(
                        "required_input_missing", "Required input is missing", name, {"input_name": name}
                    )
                    complaints.append(missing)
            elif isinstance(inputs[name], list):
                sound = self._link(name, declared, inputs[name], complaints) and sound
            else:
                complaint = self._value(name, declared, inputs, spec)
                complaints += [] if complaint is None else [complaint]
        return sound, complaints

    def _declared(self, spec: NodeSpec) -> dict[str, InputSpec]:
        """Return the inputs of a class, its lists read once for each prompt."""
        if spec.name not in self._inputs:
            groups = spec.inputs(self._rules.choices)
            self._inputs[spec.name] = {**groups.get("required", {}), **groups.get("optional", {})}
        return self._inputs[spec.name]

    def _cycle(self, node_id: str) -> tuple[bool, list[Complaint]]:
        """Blame every node of a cycle.

        Raises:
            RecursionError: On servers that did not look for cycles yet.
        """
        if not self._rules.capabilities.has("dependency_cycle"):
            raise RecursionError("maximum recursion depth exceeded")
        round_trip = [*self._path[self._path.index(node_id) :], node_id]
        members = list(dict.fromkeys(round_trip))
        details = " -> ".join(f"{member} ({self._prompt[member]['class_type']})" for member in round_trip)
        for member in members:
            extra = {"node_id": member, "cycle_nodes": members}
            reason = _error("dependency_cycle", "Dependency cycle detected", details, extra)
            self._verdicts[member] = (False, [reason])
        return self._verdicts[node_id]

    def _link(self, name: str, declared: InputSpec, link: list[Any], complaints: list[Complaint]) -> bool:
        """Check a link and its source; returns whether the source is sound."""
        extra = {"input_name": name, "input_config": list(declared_config(declared))}
        if len(link) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            complaints.append(_error("bad_linked_input", message, name, {**extra, "received_value": link}))
            return True
        source = link[0]
        offered = self._rules.classes[self._prompt[source]["class_type"]].outputs[link[1]]
        if not _fits(offered, declared[0]):
            details = f"{name}, received_type({offered}) mismatch input_type({declared[0]})"
            extra |= {"received_type": offered, "linked_node": link}
            message = "Return type mismatch between linked nodes"
            complaints.append(_error("return_type_mismatch", message, details, extra))
            return True
        try:
            return self._node(source)[0]
        except Exception as error:
            extra |= {
                "exception_message": str(error),
                "exception_type": type(error).__qualname__,
                "traceback": _frames(error),
                "linked_node": link,
            }
            message = "Exception when validating inner node"
            reason = _error("exception_during_inner_validation", message, str(error), extra)
            self._verdicts[source] = (False, [reason])
            return False

    def _value(
        self, name: str, declared: InputSpec, inputs: dict[str, Any], spec: NodeSpec
    ) -> Complaint | None:
        """Convert a plain value to its type and hold it against range and list."""
        kind, options = declared_config(declared)
        try:
            value = inputs[name] = _converted(inputs[name], kind, self._rules.capabilities)
        except (TypeError, ValueError, OverflowError) as error:
            received = inputs[name]
            extra = {
                "input_name": name,
                "input_config": [kind, options],
                "received_value": received,
                "exception_message": str(error),
            }
            message = f"Failed to convert an input value to a {kind} value"
            return _error("invalid_input_type", message, f"{name}, {received}, {error}", extra)
        if spec.name in self._rules.custom and self._rules.custom[spec.name][0] == name:
            return None
        return _out_of_range(name, value, kind, options) or _not_in_list(name, value, kind, options)

    def _custom(self, spec: NodeSpec, inputs: dict[str, Any]) -> list[Complaint]:
        """Let a class check its own plain inputs."""
        if spec.name not in self._rules.custom:
            return []
        plain = {name: value for name, value in inputs.items() if not isinstance(value, list)}
        found = self._rules.custom[spec.name][1](plain)
        message = "Custom validation failed for node"
        return [
            _error("custom_validation_failed", message, f"{name} - {complaint}", {"input_name": name})
            for name, complaint in found.items()
        ]


def declared_config(declared: InputSpec) -> tuple[Any, dict[str, Any]]:
    """Return the type of an input and its options, {} when it has none."""
    return declared[0], (declared[1] if len(declared) > 1 else {})


def _converted(value: Any, kind: Any, capabilities: Capabilities) -> Any:
    """Unwrap a `__value__` and turn a value into its declared type."""
    if isinstance(value, dict) and "__value__" in value and capabilities.has("wrapped_values"):
        value = value["__value__"]
    convert = (
        {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}.get(kind) if _is_name(kind) else None
    )
    return value if convert is None else convert(value)


def _is_name(kind: Any) -> bool:
    """Whether a type is a word and no list of choices."""
    return isinstance(kind, str)


def _out_of_range(name: str, value: Any, kind: Any, options: dict[str, Any]) -> Complaint | None:
    """Return the complaint about a number that is too small or too big."""
    extra = {"input_name": name, "input_config": [kind, options], "received_value": value}
    if "min" in options and value < options["min"]:
        message = f"Value {value} smaller than min of {options['min']}"
        return _error("value_smaller_than_min", message, name, extra)
    if "max" in options and value > options["max"]:
        message = f"Value {value} bigger than max of {options['max']}"
        return _error("value_bigger_than_max", message, name, extra)
    return None


def _not_in_list(name: str, value: Any, kind: Any, options: dict[str, Any]) -> Complaint | None:
    """Return the complaint about a value that is none of the choices."""
    if kind != "COMBO" and not isinstance(kind, list):
        return None
    choices = options.get("options", []) if kind == "COMBO" else kind
    wanted = value if options.get("multiselect") and isinstance(value, list) else [value]
    bad = [item for item in wanted if item not in choices]
    if not bad:
        return None
    config: list[Any] | None = [kind, options]
    shown = str(choices)
    if len(choices) > _LONGEST_LIST_SHOWN:
        config, shown = None, f"(list of length {len(choices)})"
    extra = {"input_name": name, "input_config": config, "received_value": value}
    details = f"{name}: {', '.join(map(repr, bad))} not in {shown}"
    return _error("value_not_in_list", "Value not in list", details, extra)


def _fits(offered: Any, wanted: Any) -> bool:
    """Whether an output may go into an input: types may be unions, and `*` is any."""
    if isinstance(wanted, list):
        return offered == wanted or offered in ("COMBO", "*")
    if "*" in (offered, wanted):
        return True
    return not {part.strip() for part in offered.split(",")}.isdisjoint(
        part.strip() for part in wanted.split(",")
    )


def _frames(error: BaseException) -> list[str]:
    """Return a traceback as a list of texts."""
    return traceback.format_tb(error.__traceback__)
