"""The site as an OpenAPI document, with the inputs of each app as a schema of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .._client.app import App
from .._client.words import plain_title
from .apps import Offer
from .kinds import accepted

__all__ = ["describe_app", "document"]

_VERSION: Final = "3.1.0"
_ID: Final[Mapping[str, Any]] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}


def schema_of(app: App) -> dict[str, Any]:
    """Return the inputs of an app as a JSON schema; a file is the text of a `data:` URI."""
    return _with_files(app, {"format": "data-uri"}, "A data: URI with the bytes.")


def form_schema_of(app: App) -> dict[str, Any]:
    """Return the same for a form, in which files are files."""
    return _with_files(app, {"format": "binary"}, "")


def _with_files(app: App, form: Mapping[str, Any], how: str) -> dict[str, Any]:
    """Return the schema with its files in one form: the name of a file of the ComfyUI is not taken here."""
    schema = dict(app.json_schema())
    properties = dict(schema.get("properties") or {})
    for name, field in app.inputs.items():
        if field.upload is not None:
            properties[name] = {
                "title": field.title or name,
                "description": " ".join(filter(None, (field.description, how))),
                "type": "string",
                "contentMediaType": f"{field.upload}/*",
                **form,
            }
    return {**schema, "properties": properties}


def describe_app(slug: str, offer: Offer, root: str) -> dict[str, Any]:
    """Return an app with all that a form or a program needs to know of it."""
    app = offer.app
    return {
        "name": slug,
        "title": offer.title,
        "description": app.description,
        "inputs": [_input(app, name) for name in app.inputs],
        "outputs": [
            {"name": one.name, "type": one.type, "title": plain_title(one.title)}
            for one in app.outputs.values()
        ],
        "unresolved": [str(one) for one in app.unresolved],
        "schema": schema_of(app),
        "links": {
            "self": f"{root}/apps/{slug}",
            "run": f"{root}/apps/{slug}",
            "page": f"{root}/apps/{slug}/",
        },
    }


def _input(app: App, name: str) -> dict[str, Any]:
    """Return one input."""
    field = app.inputs[name]
    kind = field.upload
    choices = None if kind is not None or field.choices is None else list(field.choices)
    return {
        "name": name,
        "title": field.title or name,
        "type": field.type,
        "default": None if kind is not None else _plain(field.default),
        "choices": choices,
        "minimum": field.minimum,
        "maximum": field.maximum,
        "step": field.step,
        "multiline": field.multiline,
        "required": field.required,
        "description": field.description or "",
        "upload": kind,
        "accept": None if kind is None else accepted(kind),
        "seed": field.is_seed,
    }


def _plain(value: Any) -> Any:
    """Return a default that JSON can hold, None for any other."""
    return value if isinstance(value, (str, int, float, bool, list)) else None


def document(offers: Mapping[str, Offer], root: str, *, version: str) -> dict[str, Any]:
    """Return the whole document."""
    paths: dict[str, Any] = {f"/apps/{slug}": _app_path(slug, offer) for slug, offer in offers.items()}
    schemas: dict[str, Any] = {slug: schema_of(offer.app) for slug, offer in offers.items()}
    return {
        "openapi": _VERSION,
        "info": {"title": "Workflows as functions", "version": version},
        "servers": [{"url": root or "/"}],
        "paths": {
            "/apps": {"get": _operation("listApps", "What can be run", {"200": _json("The apps", {})})},
            **paths,
            **_JOB_PATHS,
        },
        "components": {"schemas": {**_SCHEMAS, **schemas}},
    }


def _app_path(slug: str, offer: Offer) -> dict[str, Any]:
    """Return the path of one app."""
    content = {
        "application/json": {"schema": _ref(slug)},
        "multipart/form-data": {"schema": form_schema_of(offer.app)},
    }
    answers = {
        "202": {**_json("The job that was made", _ref("Job")), "headers": {"Location": _header("the job")}},
        **{str(status): _refused(words) for status, words in _REFUSALS.items()},
    }
    run = _operation(f"run_{slug}", f"Run {offer.title}", answers)
    run["parameters"] = [_CANCEL_ON_LEAVE]
    run["requestBody"] = {"required": True, "content": content}
    look = _operation(f"describe_{slug}", f"The inputs of {offer.title}", {"200": _json("The app", {})})
    return {"get": look, "post": run}


_REFUSALS: Final[Mapping[int, str]] = {
    403: "It comes from a page of another site",
    413: "The request is too large",
    415: "It is neither JSON nor a form, or a file is of another kind",
    422: "Values that the inputs cannot have; `problems` has each",
    429: "Too many jobs wait or run: again after `Retry-After`",
    503: "The ComfyUI is away: again after `Retry-After`",
}


def _operation(id: str, summary: str, responses: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation."""
    return {"operationId": id, "summary": summary, "responses": dict(responses)}


def _ref(name: str) -> dict[str, str]:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": dict(schema)}}}


def _refused(description: str) -> dict[str, Any]:
    """Return an answer that refuses."""
    return _json(description, _ref("Refusal"))


def _header(description: str) -> dict[str, Any]:
    """Return a header of an answer."""
    return {"description": description, "schema": {"type": "string"}}


_CANCEL_ON_LEAVE: Final = {
    "name": "cancel_on_leave",
    "in": "query",
    "description": "1: the job is cancelled when nobody reads its events any more",
    "schema": {"type": "string", "enum": ["0", "1"]},
}

_SCHEMAS: Final[Mapping[str, Any]] = {
    "Job": {
        "type": "object",
        "required": ["id", "app", "status", "progress", "outputs", "links"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "app": {"type": "string"},
            "status": {
                "enum": ["submitting", "pending", "running", "completed", "failed", "cancelled", "lost"]
            },
            "position": {"type": ["integer", "null"], "description": "How many jobs come first"},
            "progress": {"type": "object", "properties": {"fraction": {"type": "number"}}},
            "outputs": {"type": "array", "items": {"type": "object"}},
            "texts": {"type": "array", "items": {"type": "string"}},
            "error": {"type": ["object", "null"]},
            "links": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
    "Refusal": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "hint", "problems", "retryable"],
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "hint": {"type": "string"},
                    "problems": {"type": "array", "items": {"type": "object"}},
                    "retryable": {"type": "boolean"},
                },
            }
        },
    },
}

_JOB: Final = _json("Where it stands", _ref("Job"))
_NO_JOB: Final = {"404": _refused("There is no such job"), "503": _refused("The ComfyUI is away")}
_EVENT_PARAMETERS: Final = (
    _ID,
    _CANCEL_ON_LEAVE,
    {"name": "since", "in": "query", "schema": {"type": "string"}, "description": "0: from the beginning"},
    {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
)
_JOB_PATHS: Final[Mapping[str, Any]] = {
    "/jobs/{id}": {
        "parameters": [_ID],
        "get": _operation("job", "Where a job stands", {"200": _JOB, **_NO_JOB}),
        "delete": _operation(
            "cancel", "Cancel a job; the answer says how it truly ended", {"200": _JOB, **_NO_JOB}
        ),
    },
    "/jobs/{id}/events": {
        "get": {
            **_operation(
                "events",
                "Server-sent events: `state` first, then what happens, `end` last",
                {"200": {"description": "The events", "content": {"text/event-stream": {}}}, **_NO_JOB},
            ),
            "parameters": list(_EVENT_PARAMETERS),
        }
    },
    "/jobs/{id}/outputs/{number}": {
        "parameters": [
            _ID,
            {"name": "number", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}},
        ],
        "get": _operation(
            "output",
            "The bytes of a file",
            {"200": {"description": "The file", "content": {"*/*": {}}}, **_NO_JOB},
        ),
    },
}
