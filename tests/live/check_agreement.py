"""Asks a real ComfyUI and `check` about the same prompts, and prints where they differ.

    COMFY_LIVE_URL=http://127.0.0.1:8188 python tests/live/check_agreement.py [FOLDER...]

With folders, every file in them that carries a workflow is asked about: as it is, and once more
with the nodes, models and files left out that the server lacks, for it says nothing more after
the first unknown class. Without one, official templates (tests/data/expected_api.json.gz) with
one to three damages each. Nothing runs, see server_verdict; use a server of your own all the
same. Prints each difference, then the counts by kind; the exit code is 1 when a difference is
not explained by what the server leaves out after its first find.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prompt_damages import damaged_prompts, repaired
from server_verdict import Finding, Graph, LiveServer

from comfy_async import ComfyError, ConversionError
from comfy_async.workflow import NodeCatalog, Workflow
from comfy_async.workflow.convert import convert_editor

EXCEPTIONS = ("exception_during_inner_validation", "exception_during_validation")


def check_says(graph: Graph, catalog: NodeCatalog, replacements: Any = None) -> tuple[str, set[Finding]]:
    """Return what `check` says in the server's terms."""
    found = {
        (problem.node or "", problem.type, problem.input or "")
        for problem in Workflow.load(graph).check(catalog, replacements=replacements)
        if problem.severity == "error"
    }
    types = {kind for _, kind, _ in found}
    for whole in ("missing_node_type", "prompt_no_outputs"):
        if whole in types:
            return whole, {finding for finding in found if finding[1] != "prompt_no_outputs"}
    bad = {node for node, _, _ in found}
    outputs = [node for node in graph if catalog.node(graph[node]["class_type"]).output_node]
    failing = [node for node in outputs if bad & needed(graph, node, catalog)]
    if not failing:
        return "accepted", found
    return ("partial" if len(failing) < len(outputs) else "prompt_outputs_failed_validation"), found


def needed(graph: Graph, start: str, catalog: NodeCatalog) -> set[str]:
    """Return the nodes that the server visits for an output."""
    seen, waiting = set[str](), [start]
    while waiting:
        node = waiting.pop()
        if node in seen or node not in graph:
            continue
        seen.add(node)
        inputs = graph[node]["inputs"]
        names = {spec.name for spec in catalog.inputs(graph[node]["class_type"], inputs)}
        waiting += [
            value[0]
            for name, value in inputs.items()
            if name in names and isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
        ]
    return seen


def unexplained(theirs: set[Finding], ours: set[Finding], verdict: str) -> tuple[set[Finding], set[Finding]]:
    """Return what only the server found, and what only we found although it did not stop early.

    The server names the first unknown class only, and nothing else then; an exception hides
    the node's other problems and whatever lies behind inputs it had not come to. Its
    exceptions name no input; a node's own validation complains of all that it was given; of
    circles that share nodes it names those that it comes to first; and an output node that
    another node needs gets the word for inner nodes or for outputs, whichever way it comes.
    """

    def blurred(finding: Finding) -> Finding:
        node, kind, name = finding
        if kind in EXCEPTIONS:
            return node, "exception", ""
        return node, kind, "" if kind in {"dependency_cycle", "custom_validation_failed"} else name

    theirs, ours = set(map(blurred, theirs)), set(map(blurred, ours))
    only_theirs, only_ours = theirs - ours, ours - theirs
    kinds = {kind for _, kind, _ in theirs}
    if verdict == "missing_node_type" or "exception" in kinds:
        only_ours = set()
    if "dependency_cycle" in kinds:
        only_ours = {finding for finding in only_ours if finding[1] != "dependency_cycle"}
    return only_theirs, only_ours


def beyond_knowing(finding: Finding, graph: Graph) -> bool:
    """Tell whether only the server can know: object_info does not list files in deeper folders."""
    node, kind, _ = finding
    values = graph[node]["inputs"].values() if node in graph else ()
    deeper = any(isinstance(value, str) and {"/", "\\"} & set(value) for value in values)
    return kind == "custom_validation_failed" and deeper


@dataclass
class Comparison:
    """What came of asking both about prompts."""

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """Differences by who found what in which input of which class."""
    differences: list[str] = field(default_factory=list)

    def add(self, done: str, graph: Graph, theirs: _Said, ours: _Said) -> None:
        """Count one prompt, and keep a text where the two differ."""
        (verdict, found), (our_verdict, our_found) = theirs, ours
        only_theirs, only_ours = unexplained(found, our_found, verdict)
        same = verdict == our_verdict and not only_theirs and not only_ours
        unknowable = any(beyond_knowing(finding, graph) for finding in only_theirs)
        self.counts["prompts"] += 1
        self.counts[f"server: {verdict}"] += 1
        self.counts["same verdict"] += verdict == our_verdict
        self.counts["same findings"] += found == our_found
        self.counts["same as far as the server went"] += same and found != our_found
        self.counts["agree"] += same
        self.counts["a file that only the server can know of"] += not same and unknowable
        if same or unknowable:
            return
        lines = [f"{done}: the server {verdict}, check {our_verdict}"]
        if not only_theirs and not only_ours:
            self.kinds[f"verdict: server {verdict}, check {our_verdict}"] += 1
        for who, findings in (("server", only_theirs), ("check", only_ours)):
            lines += [self._finding(who, graph, finding) for finding in sorted(findings)]
        self.differences.append("\n".join(lines))

    def _finding(self, who: str, graph: Graph, finding: Finding) -> str:
        """Count a finding of one side only by its kind, and say it."""
        node, kind, name = finding
        entry = graph.get(node, {"class_type": "", "inputs": {}})
        self.kinds[f"only {who}: {kind} {entry['class_type']}.{name}"] += 1
        return (
            f"  only {who}: {node} {entry['class_type']}.{name} {kind} {repr(entry['inputs'].get(name))[:60]}"
        )

    def __str__(self) -> str:
        """Return all of it as text to print."""
        counts = {"counts": dict(self.counts), "differences by kind": dict(self.kinds.most_common())}
        return "\n".join([*self.differences, json.dumps(counts, indent=1)])


_Said = tuple[str, set[Finding]]


def compare(
    server: LiveServer,
    prompts: Iterable[tuple[str, Graph]],
    catalog: NodeCatalog | None = None,
    into: Comparison | None = None,
) -> Comparison:
    """Ask both about each prompt; `check` by the server's own catalog, or by another."""
    made = Comparison() if into is None else into
    catalog = server.catalog if catalog is None else catalog
    for done, graph in prompts:
        made.add(done, graph, server.says(graph), check_says(graph, catalog, server.replacements))
    return made


def sources(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield each file of a folder, and each graph of a file that holds many by name."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if not path.is_file():
            continue
        name = str(path.relative_to(folder)) if folder.is_dir() else path.name
        many = graphs_of(path)
        yield from ((f"{name}: {key}", graph) for key, graph in many.items())
        if not many:
            yield name, path


def graphs_of(path: Path) -> dict[str, Graph]:
    """Return the graphs of a packed file that holds many by name, {} where it is another file."""
    if path.suffix != ".gz":
        return {}
    try:
        value = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, ValueError):
        return {}
    graphs = value.values() if isinstance(value, dict) else ()
    nodes = [node for graph in graphs if isinstance(graph, dict) for node in graph.values()]
    whole = all(isinstance(node, dict) and isinstance(node.get("inputs"), dict) for node in nodes)
    return value if nodes and whole and "class_type" in nodes[0] else {}


def file_prompts(
    folder: Path, catalog: NodeCatalog, counts: Counter[str], *, known: bool
) -> Iterator[tuple[str, Graph]]:
    """Yield the prompts of a folder's files, and count those that give none by the reason.

    Args:
        folder: The folder, with all that is in it, or one file.
        catalog: Converts files of the editor.
        counts: Gets the reasons.
        known: Leave out what the server lacks.
    """
    for name, source in sources(folder):
        try:
            graph = graph_of(source, catalog, known=known)
        except ConversionError as error:
            kinds = {problem.type for problem in error.problems} or {"conversion_failed"}
            counts[f"no prompt: {', '.join(sorted(kinds))}"] += 1
            continue
        except (ComfyError, OSError) as error:
            counts[f"no prompt: {type(error).__name__}"] += 1
            continue
        graph = json.loads(json.dumps(graph))
        if known:
            graph = repaired(as_far_as_known(graph, catalog), catalog)
        if graph:
            yield name, graph


def graph_of(source: Any, catalog: NodeCatalog, *, known: bool) -> Graph:
    """Return the prompt of a file; only with `known` may there be nodes that the server lacks.

    Raises:
        ComfyError: It has none, or it cannot be converted.
        OSError: The file cannot be read.
    """
    flow = Workflow.load(source)
    if flow.drawn is None:
        return flow.to_api()
    return convert_editor(flow.drawn, catalog, unknown="keep" if known else "raise")


def as_far_as_known(graph: Graph, catalog: NodeCatalog) -> Graph:
    """Return a graph without the nodes of unknown classes and the links that come from them."""
    kept = {node: entry for node, entry in graph.items() if entry["class_type"] in catalog}
    for entry in kept.values():
        entry["inputs"] = {
            name: value
            for name, value in entry["inputs"].items()
            if not (isinstance(value, list) and value and isinstance(value[0], str) and value[0] not in kept)
        }
    return kept


def main() -> int:
    """Compare, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="folders of workflow files")
    parser.add_argument("--catalog", type=Path, help="an object_info.json for `check`, else the server's own")
    parser.add_argument("--count", type=int, default=400, help="how many damaged prompts without a folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    server = LiveServer(os.environ["COMFY_LIVE_URL"])
    catalog = server.catalog if options.catalog is None else NodeCatalog.load(options.catalog)
    how = "queued by the server" if server.queues_nothing else "left in the queue"
    results = {} if options.folders else {"damaged": Comparison()}
    if not options.folders:
        compare(server, damaged_prompts(catalog, options.count, options.seed), catalog, results["damaged"])
    for folder in options.folders:
        for word, known in (("as it is", False), ("as far as the server knows it", True)):
            made = results[f"{folder}, {word}"] = Comparison()
            compare(server, file_prompts(folder, catalog, made.counts, known=known), catalog, made)
    for title, made in results.items():
        print(f"{title} (nothing was {how})\n{made}")  # noqa: T201
    return 1 if any(made.differences for made in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
