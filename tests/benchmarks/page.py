"""The speed guide, written from the JSON of one run.

    python tests/benchmarks/run.py --peers --json tests/benchmarks/results.json
    python tests/benchmarks/page.py

A test holds the page against the JSON, so that no figure is there that was not measured.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench_clients import CASES, OURS
from install_peers import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results.json")
GUIDE = ROOT / "examples" / "guides" / "speed.md"

Found = dict[str, Any]


def missed(run: Run) -> str:
    """Return which targets were not reached."""
    names = [row["name"] for row in run.rows if row.get("target") and not row["met"]]
    if not names:
        return "Every target is met."
    return f"Missed: {'; '.join(names)}."


def number(value: float) -> str:
    """Return a figure with three digits, whole when it is large."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(row: Found | None) -> str:
    """Return what a row measured, "–" when there is none."""
    if row is None:
        return "–"
    value = row["value"]
    return value if isinstance(value, str) else f"{number(value)} {row['unit']}".strip()


def table(head: list[str], lines: Iterable[list[str]]) -> list[str]:
    """Return a Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return ["| " + " | ".join(line) + " |" for line in rows]


class Run:
    """What one run of the command found."""

    def __init__(self, found: Found) -> None:
        """Read its JSON."""
        self.machine: Found = found["machine"]
        self.seconds: float = found["seconds"]
        self.day: str = found["day"]
        self.rows: list[Found] = found["rows"]

    def row(self, figure: str, name: str) -> Found | None:
        """Return a row, None when it was not measured."""
        return next((row for row in self.rows if (row["figure"], row["name"]) == (figure, name)), None)

    def about(self) -> str:
        """Say when and where it ran."""
        machine = self.machine
        return (
            f"{self.day}, {machine['cpus']} cores of an {machine['model']}, Python {machine['python']}, "
            f"{machine['system'].split('-x86')[0]}, {self.seconds / 60:.0f} minutes"
        )

    def jobs(self, name: str) -> Found | None:
        """Return the row of a client's many jobs."""
        return next((r for r in self.rows if r["figure"] == "d" and r["name"].startswith(f"{name}: ")), None)

    def outcomes(self, name: str) -> dict[str, str]:
        """Return what a client made of each case."""
        return {case: cell(self.row("g", f"{name}: {case}")) for case in CASES}

    def client(self, name: str) -> list[str]:
        """Return the line of a client."""
        late = self.row("c", f"{name}: await after execution_success")
        many = self.jobs(name)
        notes = many["notes"] if many else {}
        jobs = int(notes["right"].split(" of ")[1]) if "right" in notes else 0
        verdicts = list(self.outcomes(name).values())
        return [
            name,
            cell(late),
            *([f"{number(notes['wall_ms_per_job'])} ms", f"{number(notes['cpu_ms_per_job'])} ms",
               number(notes["requests"] / jobs), str(notes["sockets"]), notes["right"]]
              if jobs else ["–"] * 5),
            *(str(verdicts.count(word)) for word in ("right", "wrong", "hung")),
        ]  # fmt: skip

    def targets(self) -> list[list[str]]:
        """Return the lines of our own figures, with their targets."""
        return [
            [row["name"], cell(row), row["target"], spread(row)]
            for row in self.rows
            if row["figure"] not in "gd" or row["name"] == "memory of an open job"
            if row["target"] or row["figure"] in {"b", "scale"}
        ]


def spread(row: Found) -> str:
    """Return the least and the greatest of a row."""
    return " to ".join(map(number, row["spread"])) if row["spread"] else ""


CLIENTS = [OURS, *PACKAGES]
IMPORTED = "from comfy_async import ComfySession, Workflow / import httpx, websockets, pydantic"
HEAD = ["client", "`await` after the end", "a job", "processor", "requests a job", "sockets", "completed",
        "right", "wrong", "hung"]  # fmt: skip


def prose(*sentences: str) -> list[str]:
    """Return a paragraph in lines of 120."""
    return [*textwrap.wrap(" ".join(sentences), 120, break_long_words=False, break_on_hyphens=False), ""]


def columns() -> list[str]:
    """Return what the columns of the table of clients are."""
    return prose(
        "`await` after the end: from `execution_success` on the wire to the result, median, the",
        "history 500 ms late as after a large image. Then many small jobs at once: time and the",
        "client's processor time for each. Then twelve cases (normal, cached, refused, interrupted, a",
        "broken or silent socket, a restarted server and others): how many the client reported rightly,",
        "reported wrongly, or never reported.",
    )


def summary(run: Run) -> list[str]:
    """Return our own figures in a few sentences."""
    return prose(
        f"Events reach a consumer that reads every field {events(run)} times as fast as a bare",
        "`websockets` loop with `json.loads` takes them (`progress`, `progress_state` of 30 and of",
        f"300 nodes, previews of 40 kB). A download has {times(run, 'f', 'download / bare httpx')} of",
        f"the rate of bare httpx; importing the session takes {times(run, 'e', IMPORTED)} of the time",
        "of importing httpx, websockets and pydantic; an open job takes",
        f"{cell(run.row('d', 'memory of an open job'))}.",
    )


def times(run: Run, figure: str, name: str) -> str:
    """Return a ratio without its unit."""
    return cell(run.row(figure, name)).removesuffix(" x")


def events(run: Run) -> str:
    """Return the ratios of figure a with every field read."""
    kinds = ("progress", "progress_state 30", "progress_state 300", "preview 40 kB")
    return ", ".join(times(run, "a", f"{kind}, all read") for kind in kinds)


def guide(run: Run) -> list[str]:
    """Return the guide."""
    return [
        "# Speed",
        "",
        *prose(
            f"Measured on {run.about()}, by `python tests/benchmarks/run.py --peers`;",
            "`tests/benchmarks/results.json` has all of it. The server, the client and everything else",
            "share the machine; both sides of a ratio run in turns. Without `--peers` the command prints",
            "our own rows.",
        ),
        "## Ours",
        "",
        *summary(run),
        *prose(
            "A ratio of events per second is against a bare `websockets` loop with `json.loads`: *all",
            "read* has a mailbox in which nothing is dropped and reads every field; *default* is the",
            "default mailbox and a consumer that reads fields, *awaiting* one that also awaits; what a",
            "consumer saw and `job.dropped` are together what was sent.",
        ),
        *table(["figure", "measured", "target", "from … to"], run.targets()),
        "",
        *prose(
            f"{missed(run)} The machine's speed varies from day to day by four: figures in ms compare within",
            "one run only. Each megabyte of an upload is read in a thread, so that the event loop never",
            "waits for the disk; bare httpx reads it on the loop: 0.8 to 1.3 in other runs.",
        ),
        "## Beside other clients",
        "",
        *prose(
            "Each in a virtual environment of its own, called as its documentation says, on the same",
            "FakeComfy. `comfy_async` ran with the extra `fast`. A thousand jobs by those that take no",
            "minutes for them; comfy-sdk ran 200, repeated after the run, since with a thousand at once",
            "its proxy took no connections. Of comfy-script's 200 one never came back, and the limit of",
            "90 s counts.",
        ),
        *columns(),
        *table(HEAD, (run.client(name) for name in CLIENTS)),
        "",
        "What each made of twelve cases:",
        "",
        *table(["case", *CLIENTS], ([case, *(run.outcomes(n)[case] for n in CLIENTS)] for case in CASES)),
    ]


def pages() -> dict[Path, str]:
    """Return the page as it should be."""
    return {GUIDE: "\n".join(guide(Run(json.loads(RESULTS.read_text())))) + "\n"}


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content)
