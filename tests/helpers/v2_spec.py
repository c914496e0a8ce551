"""Answers of API v2 held against its public description, an OpenAPI file that is not part of this repository.

It is looked for where `COMFY_OPENAPI_V2` says, else at ../shared/wire/openapi_v2.yaml beside the checkout.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

Schema = dict[str, Any]

_BESIDE = Path(__file__).parents[3] / "shared" / "wire" / "openapi_v2.yaml"


def description() -> Description:
    """Return the description, or skip the test where it is not at hand."""
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("jsonschema")
    path = Path(os.environ.get("COMFY_OPENAPI_V2") or _BESIDE)
    if not path.is_file():
        pytest.skip("the public description of API v2 is not at hand: COMFY_OPENAPI_V2=openapi_v2.yaml")
    return Description(yaml.safe_load(path.read_text(encoding="utf-8")))


class Description:
    """The description, and what answers do not keep to it.

    Attributes:
        checked: How many answers and events were looked at, by route and status, or event.
        broken: What was wrong with them.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Read it."""
        self.checked: dict[tuple[str, str], int] = {}
        self.broken: list[str] = []
        self._schemas: Mapping[str, Any] = document["components"]["schemas"]
        self._responses: Mapping[str, Any] = document["components"]["responses"]
        self._routes = [
            (re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path) + "$"), path, methods)
            for path, methods in document["paths"].items()
        ]
        events = document["paths"]["/api/v2/jobs/{id}/events"]["get"]["x-sse-events"]
        self._events = {name: found["schema"].rpartition("/")[2] for name, found in events.items()}

    def expected(self) -> Iterator[tuple[str, str]]:
        """Yield every route with every status that it may answer."""
        for _, path, methods in self._routes:
            for method, operation in methods.items():
                for status in operation["responses"]:
                    yield f"{method.upper()} {path}", str(status)

    async def hold(self, answer: httpx.Response) -> None:
        """Look at an answer; what is a stream is looked at by `hold_event`."""
        request = answer.request
        path = request.url.path
        if not path.startswith("/api/v2/"):
            # The other origin's.
            return
        found = [(pattern, methods) for _, pattern, methods in self._matching(path)]
        operation = next((m[request.method.lower()] for _, m in found if request.method.lower() in m), None)
        where = f"{request.method} {found[0][0] if found else path}"
        if operation is None:
            self.broken.append(f"{where}: no such route")
            return
        status = str(answer.status_code)
        described = operation["responses"].get(status)
        if described is None:
            self.broken.append(f"{where}: {status} is not described")
            return
        self.checked[where, status] = self.checked.get((where, status), 0) + 1
        if "$ref" in described:
            described = self._responses[described["$ref"].rpartition("/")[2]]
        self._headers(where, answer, described.get("headers", {}))
        content = described.get("content", {})
        if "application/json" in content and request.method != "HEAD":
            await answer.aread()
            self._body(f"{where} {status}", answer.json(), content["application/json"]["schema"])
        elif "text/event-stream" in content and answer.headers["content-type"] != "text/event-stream":
            self.broken.append(f"{where}: {answer.headers['content-type']} is no event stream")

    def hold_event(self, name: str, data: str) -> None:
        """Look at an event of a stream."""
        if name not in self._events:
            self.broken.append(f"event {name}: no such event")
            return
        self.checked["event", name] = self.checked.get(("event", name), 0) + 1
        self._body(f"event {name}", json.loads(data), {"$ref": f"#/components/schemas/{self._events[name]}"})

    def _matching(self, path: str) -> Iterator[tuple[Any, str, Any]]:
        """Yield the routes of a path; those without a variable come first."""
        at = path.find("/api/v2/")
        found = [route for route in self._routes if route[0].match(path[at:])]
        return iter(sorted(found, key=lambda route: route[1].count("{")))

    def _headers(self, where: str, answer: httpx.Response, described: Mapping[str, Any]) -> None:
        """Hold the headers: a Retry-After is a number of seconds, a Location a whole URL."""
        if "Retry-After" in described and answer.status_code == 429:
            if not answer.headers.get("Retry-After", "").isdigit():
                self.broken.append(f"{where}: 429 without Retry-After")
        if "Location" in described and not answer.headers.get("Location", "").startswith("http"):
            self.broken.append(f"{where}: 302 without Location")

    def _body(self, where: str, body: Any, schema: Schema) -> None:
        jsonschema = pytest.importorskip("jsonschema")
        checker = jsonschema.FormatChecker(formats=())
        checker.checks("date-time", raises=ValueError)(_is_moment)
        checker.checks("uri", raises=ValueError)(_is_url)
        validator = jsonschema.Draft202012Validator(self._plain(schema), format_checker=checker)
        self.broken += [
            f"{where}: {'/'.join(map(str, error.absolute_path))}: {error.message}"
            for error in validator.iter_errors(body)
        ]

    def _plain(self, schema: Any) -> Any:
        """Return a schema of OpenAPI 3.0 as one of JSON Schema: references put in, nullable spelt out."""
        if isinstance(schema, list):
            return [self._plain(inner) for inner in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return self._plain(self._schemas[schema["$ref"].rpartition("/")[2]])
        plain = {key: self._plain(value) for key, value in schema.items() if key != "example"}
        if plain.pop("nullable", False) is True:
            return {"anyOf": [plain, {"type": "null"}]}
        return plain


def _is_moment(text: object) -> bool:
    """Whether a text is a time with an offset."""
    return not isinstance(text, str) or datetime.datetime.fromisoformat(text).tzinfo is not None


def _is_url(text: object) -> bool:
    """Whether a text is a whole URL."""
    return not isinstance(text, str) or text.startswith(("http://", "https://"))
