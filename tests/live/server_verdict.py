"""What a real ComfyUI says to a prompt, without running it where that can be had.

The server validates, then stamps the time into `extra_data`, then queues. An `extra_data` that
takes no stamp (a list) ends a valid prompt between the two with a 500, and nothing is queued; an
invalid one gets the 400 that it always gets. Servers that stamp nothing queue it all the same:
there a prompt that was taken is deleted and interrupted at once. A harmless prompt finds out which.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from typing import Any

from comfy_async.workflow import NodeCatalog

Graph = dict[str, Any]
Finding = tuple[str, str, str]
"""Node, type and input."""

_HARMLESS: Graph = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
_NOBODY = "no node has this id"


def send(url: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Send a request; return the status, and the decoded answer or None where it is no JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    try:
        return status, json.loads(content)
    except ValueError:
        return status, None


def ask(url: str, path: str, body: Any = None) -> Any:
    """Send a request, return the decoded answer of whatever status."""
    return send(url, path, body)[1]


class LiveServer:
    """A server to be asked what it says to prompts.

    Attributes:
        catalog: What it can run.
        replacements: What GET /node_replacements answers, or None where it has none.
        queues_nothing: Whether valid prompts end before they are queued.
    """

    def __init__(self, url: str) -> None:
        """Read what the server can run, and find out how it can be asked."""
        self.url = url.rstrip("/")
        self.catalog = NodeCatalog(ask(self.url, "/object_info"))
        status, replacements = send(self.url, "/api/node_replacements")
        self.replacements = replacements if status == 200 else None
        self.queues_nothing = self._queues_nothing()

    def _queues_nothing(self) -> bool:
        """Tell whether a valid prompt that cannot be stamped ends, and an invalid one is refused."""
        status, answer = self._post(_HARMLESS, stamped=False)
        if status == 200:
            self._take_back(answer["prompt_id"])
            return False
        invalid = {"1": {"class_type": _NOBODY, "inputs": {}}}
        return status == 500 and self._post(invalid, stamped=False)[0] == 400

    def says(self, graph: Graph) -> tuple[str, set[Finding]]:
        """Return the server's verdict on a prompt (accepted, partial, or why not) and its findings."""
        if not self.queues_nothing:
            return self._queued(graph)
        status, answer = self._post(graph, stamped=False)
        if status != 500:
            return _refusal(answer)
        if self._post(graph, stamped=False, targets=[_NOBODY])[0] != 400:
            return "server_error", set()
        return self._by_output(graph)

    def _by_output(self, graph: Graph) -> tuple[str, set[Finding]]:
        """Return what a server that takes a prompt says to each output: it may leave some out."""
        found: set[Finding] = set()
        for node, entry in graph.items():
            known = entry["class_type"] in self.catalog
            if known and self.catalog.node(entry["class_type"]).output_node:
                status, answer = self._post(graph, stamped=False, targets=[node])
                found |= set() if status == 500 else _refusal(answer)[1]
        return ("partial" if found else "accepted"), found

    def _queued(self, graph: Graph) -> tuple[str, set[Finding]]:
        """Return what a server says that queues what it takes, and take it back."""
        _, answer = self._post(graph)
        if "prompt_id" not in answer:
            return _refusal(answer)
        self._take_back(answer["prompt_id"])
        found = _findings(answer)
        return ("partial" if found else "accepted"), found

    def _take_back(self, prompt_id: str) -> None:
        """Delete a prompt, or interrupt it where it runs already."""
        send(self.url, "/queue", {"delete": [prompt_id]})
        send(self.url, "/interrupt", {"prompt_id": prompt_id})

    def _post(
        self, graph: Graph, *, stamped: bool = True, targets: list[str] | None = None
    ) -> tuple[int, Any]:
        """Post a prompt, whole or for some outputs only."""
        body: dict[str, Any] = {"prompt": graph, "prompt_id": str(uuid.uuid4())}
        body |= {} if stamped else {"extra_data": []}
        body |= {} if targets is None else {"partial_execution_targets": targets}
        return send(self.url, "/prompt", body)


def _findings(answer: Any) -> set[Finding]:
    """Return what an answer to POST /prompt finds wrong with nodes."""
    return {
        (node, error["type"], (error.get("extra_info") or {}).get("input_name") or "")
        for node, entry in (answer.get("node_errors") or {}).items()
        for error in entry["errors"]
    }


def _refusal(answer: Any) -> tuple[str, set[Finding]]:
    """Return the verdict and the findings of an answer that refuses."""
    error, found = answer["error"], _findings(answer)
    if error["type"] == "missing_node_type":
        found.add((error["extra_info"]["node_id"], "missing_node_type", ""))
    return error["type"], found
