"""The errors of API v2: one envelope, and ComfyUI's validation errors in its format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from aiohttp import web

from ._validate import Validation

__all__ = ["JobRefusal", "REFUSALS", "V2Problem", "envelope", "rejection"]

JobRefusal: TypeAlias = Literal[
    "queue_full",
    "rate_limited",
    "deployment_not_ready",
    "deployment_stopped",
    "insufficient_credits",
    "unauthorized",
    "forbidden",
    "upstream_error",
    "upstream_unreachable",
]
REFUSALS: dict[JobRefusal, tuple[int, str]] = {
    "queue_full": (429, "The queue is full."),
    "rate_limited": (429, "Too many requests."),
    "deployment_not_ready": (429, "The deployment is starting."),
    "deployment_stopped": (422, "The deployment is stopped."),
    "insufficient_credits": (402, "There are not enough credits."),
    "unauthorized": (401, "A valid API key is needed."),
    "forbidden": (403, "This key may not do that."),
    "upstream_error": (500, "Something went wrong."),
    "upstream_unreachable": (503, "ComfyUI cannot be reached."),
}
_REASONS = {"required_input_missing": "missing_input"}


class V2Problem(Exception):  # noqa: N818 - it is an answer
    """A request that is refused."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        **details: Any,
    ) -> None:
        """Remember what is answered."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}
        self.details = details

    def response(self) -> web.Response:
        """Return the answer."""
        body = envelope(self.code, str(self), self.details)
        return web.json_response(body, status=self.status, headers=self.headers)


def envelope(code: str, message: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": {"code": code, "message": message, "details": dict(details) if details else None}}


def rejection(verdict: Validation, prompt: Mapping[str, Any], *, style: str) -> V2Problem:
    """Return the refusal of a graph, in the cloud's format or in the proxy's."""
    error = verdict.error or {"type": "", "message": "Some outputs cannot run.", "extra_info": {}}
    if style == "proxy":
        return V2Problem(422, "invalid_workflow", error["message"], node_errors=verdict.node_errors)
    node_errors = {
        node: [
            {"field": _field(reason), "reason": _REASONS.get(reason["type"], reason["type"])}
            for reason in found["errors"]
        ]
        for node, found in verdict.node_errors.items()
    }
    if not node_errors and "node_id" in error["extra_info"]:
        node_errors = {error["extra_info"]["node_id"]: [{"field": "class_type", "reason": error["type"]}]}
    if not node_errors:
        return V2Problem(422, "invalid_workflow", error["message"])
    return V2Problem(422, "invalid_workflow", _message(verdict, prompt, error), node_errors=node_errors)


def _field(reason: Mapping[str, Any]) -> str | None:
    """Return the input that a validation error is about, None when it is about none."""
    found: str | None = reason["extra_info"].get("input_name")
    return found


def _message(verdict: Validation, prompt: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    """Return a sentence about the first validation error."""
    for node, found in verdict.node_errors.items():
        for reason in found["errors"]:
            return f"Node {node} ({prompt[node]['class_type']}): {reason['message']}: {reason['details']}"
    return str(error["message"])
