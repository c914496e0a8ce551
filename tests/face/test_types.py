"""Plain data and how it prints."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from comfy_async import JobProgress, NodeInfo, Problem
from comfy_async.types import TERMINAL_STATUSES, Shown, duration_text, renderer_of


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (NodeInfo("3", "Base sampler", "KSampler"), '3 "Base sampler" (KSampler)'),
        (NodeInfo("3", "KSampler", "KSampler"), "3 (KSampler)"),
        (NodeInfo("3", "", "KSampler"), "3 (KSampler)"),
        (NodeInfo("3", "3", "KSampler"), "3 (KSampler)"),
        (NodeInfo("12:3", "", ""), "12:3"),
    ],
)
def test_node_info(info: NodeInfo, text: str) -> None:
    """Id, title and class, each only when it says something."""
    assert str(info) == text


def test_problem() -> None:
    """Place, message, nearest values and advice on one line."""
    problem = Problem(
        node="3",
        title="KSampler",
        class_type="KSampler",
        input="sampler_name",
        message="'eulr' is unknown",
        nearest=("euler", "heun"),
        advice="Choose one",
    )
    text = "3 (KSampler), input 'sampler_name': 'eulr' is unknown; nearest: 'euler', 'heun'. Choose one"
    assert str(problem) == text
    assert str(Problem(message="no outputs")) == "no outputs"
    assert str(Problem(node="3", message="bad")) == "3: bad"
    assert str(Problem(message="It is gone.", nearest=("it",), advice="Find it.")) == (
        "It is gone; nearest: 'it'. Find it."
    )
    assert str(Problem(message="It is gone.", advice="Find it.")) == "It is gone. Find it."
    assert problem.severity == "error"
    assert "nearest=('euler', 'heun'), advice='Choose one', severity='error')" in repr(problem)
    assert len(repr(Problem(received="A" * 10**6))) < 2000


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (JobProgress(), "0 %"),
        (
            JobProgress(fraction=0.62, eta=8.2, title="KSampler", step=12, steps=20),
            "62 %, KSampler 12/20, 8 s to go",
        ),
        (JobProgress(fraction=0.5, title="VAE Decode", step=0, steps=1), "50 %, VAE Decode"),
        (JobProgress(fraction=0.1, title="Up", step=0.5, steps=2.5), "10 %, Up 0.5/2.5"),
        (JobProgress(fraction=0.2, eta=0.2), "20 %, <1 s to go"),
        (JobProgress(fraction=0.2, eta=59.6), "20 %, 1 min to go"),
        (JobProgress(fraction=0.2, eta=125), "20 %, 2 min 5 s to go"),
        (JobProgress(fraction=0.2, eta=3600), "20 %, 1 h to go"),
        (JobProgress(fraction=0.2, eta=3780), "20 %, 1 h 3 min to go"),
        (JobProgress(title="Flux", activity="loading", activity_seconds=12), "0 %, loading Flux, 12 s"),
        (JobProgress(title="Flux", activity="loading", activity_seconds=0.4), "0 %, loading Flux"),
        (
            JobProgress(fraction=0.5, title="KSampler", step=2, steps=4, activity="sampling", eta=3.0),
            "50 %, sampling KSampler 2/4, 3 s to go",
        ),
        (JobProgress(fraction=1.0, eta=0.0), "100 %"),
        (JobProgress(fraction=0.999, eta=1), "99 %, 1 s to go"),
    ],
)
def test_progress(progress: JobProgress, text: str) -> None:
    """A line to print; 100 % only at the end."""
    assert str(progress) == text


def test_data_is_frozen_and_pickles() -> None:
    """Values do not change under the reader's hands, and cross process borders."""
    for value in (NodeInfo("3", "a", "b"), Problem(node="3"), JobProgress(fraction=0.5)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.title = "4"  # type: ignore[misc]
        assert pickle.loads(pickle.dumps(value)) == value


def test_final_statuses() -> None:
    """Four ends and no fifth."""
    assert {"completed", "failed", "cancelled", "lost"} == TERMINAL_STATUSES


def test_a_thing_is_shown_as_its_class_or_the_nearest_above_is() -> None:
    """A renderer is looked up by class; what nobody shows is told by name."""

    class Mine(Problem):
        """A class that the table does not know."""

    assert "<b>KSampler</b>" in Mine(node="3", title="KSampler", message="bad")._repr_html_()
    assert renderer_of(Mine(), "html") is renderer_of(Problem(), "html")
    with pytest.raises(LookupError, match="nothing shows a Problem as 'show'"):
        renderer_of(Problem(), "show")
    with pytest.raises(LookupError, match="nothing shows a Own as 'html'"):
        type("Own", (Shown,), {})()._repr_html_()


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (8.2, "8 s"), (60, "1 min"), (125, "2 min 5 s"), (3780, "1 h 3 min")]
)
def test_durations(seconds: float, text: str) -> None:
    """As people say them."""
    assert duration_text(seconds) == text
