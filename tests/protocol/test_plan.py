"""The submitted graph as work to do."""

from __future__ import annotations

from typing import Any

import pytest
from wire_frames import graph, prompt

from comfy_async._protocol.plan import Plan, Plans


def test_weights_are_steps() -> None:
    """A node weighs what its steps say, else one; what is no number of steps says nothing."""
    plan = Plan(
        graph(
            n1=("KSampler", {"steps": 20}),
            n2=("Other", {"num_inference_steps": 8.0}),
            n3="VAEDecode",
            n4=("A", {"steps": ["1", 0]}),
            n5=("A", {"steps": -3}),
            n6=("A", {"steps": float("nan")}),
            n7=("A", {"steps": 10**9}),
            n8=("A", {"steps": "20"}),
        )
    )
    assert [plan.weights[str(n)] for n in range(1, 9)] == [20.0, 8.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert plan.total_weight == 34.0


def test_links_are_told_from_values() -> None:
    """A pair of numbers is a value, a text and a number are a link."""
    made = graph(n1="A", n2="B", n3=("C", {"size": [1, 2], "names": ["1", "2"], "more": [["1", 0]]}, "2"))
    plan = Plan(made)
    assert plan.parents["3"] == ("2",)
    assert plan.sinks == {"1", "3"}


def test_titles() -> None:
    """The title of the editor, else the class."""
    made = graph(n1="A", n2="B")
    made["1"]["_meta"] = {"title": "Mine"}
    made["2"]["_meta"] = None
    plan = Plan(made)
    assert (plan.nodes["1"].title, plan.nodes["2"].title) == ("Mine", "B")


def test_targets_narrow_the_work() -> None:
    """Only what the targets need counts; the other nodes keep their names."""
    made = graph(n1="A", n2=("B", {}, "1"), n3=("C", {}, "1"), n4="D")
    plan = Plan(made, targets=["3", "nowhere"])
    assert set(plan.weights) == {"1", "3"}
    assert set(plan.nodes) == {"1", "2", "3", "4"}
    assert Plan(made, targets=[]).total_weight == 0


def test_what_cached_nodes_spare() -> None:
    """Nodes that only cached nodes need are not needed; those that others need are."""
    made = graph(n1="A", n2=("B", {}, "1"), n3=("C", {}, "2"), n4=("D", {}, "1"))
    plan = Plan(made)
    assert plan.unneeded(["3"]) == {"2"}
    assert plan.unneeded(["3", "4"]) == {"1", "2"}
    assert plan.unneeded([]) == set()


def test_socket_outputs() -> None:
    """SaveImageWebsocket delivers, whatever its id; so does a PNG of a node that nobody reads from."""
    plan = Plan(graph(n1="EmptyImage", n2=("SaveImageWebsocket", {}, "1"), n3=("Mine", {}, "1")))
    assert plan.socket_outputs == {"2"}
    assert plan.is_delivery("2", "image/jpeg")
    assert plan.is_delivery("2.0.0.1", "image/png")
    assert plan.is_delivery("3", "image/png")
    assert not plan.is_delivery("3", "image/jpeg")
    assert not plan.is_delivery("1", "image/png")
    assert not plan.is_delivery(None, "image/png")
    assert not plan.is_delivery("99", "image/png")


@pytest.mark.parametrize(
    "made",
    [{}, {"1": None}, {"1": {}}, {"1": {"inputs": []}}, {"1": {"inputs": {"a": ["1", 0]}, "class_type": 5}}],
)
def test_odd_graphs(made: Any) -> None:
    """A graph from a hostile history is read as far as it can be."""
    plan = Plan(made)
    plan.unneeded(["1"])
    plan.is_delivery("1", "image/png")


def test_a_real_workflow() -> None:
    """The SD1.5 graph: seven plain nodes and a sampler of its steps."""
    plan = Plan(prompt("text_to_image"))
    assert plan.total_weight == 7 + 4
    assert plan.sinks == {"9"}


def test_variants_share_one_plan() -> None:
    """Workflows that differ in values alone have one plan; steps, links and titles are no such values."""
    plans = Plans()

    def sampler(**inputs: object) -> dict[str, object]:
        return {"3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20, **inputs}}}

    plan = plans.of(sampler())
    assert plans.of(sampler(seed=2)) is plan
    assert plans.of(sampler(), targets=["3"]) is not plan
    assert plans.of(sampler(steps=30)).weights == {"3": 30.0}
    assert plans.of(sampler(model=["4", 0])).parents == {"3": ("4",)}
    titled = {"3": {**sampler()["3"], "_meta": {"title": "Base"}}}  # type: ignore[dict-item]
    assert plans.of(titled).nodes["3"].title == "Base"


def test_few_plans_are_kept() -> None:
    """Only the latest plans are kept, however many workflows there are."""
    plans = Plans()
    first = plans.of({"0": {"class_type": "A", "inputs": {}}})
    for number in range(1, 40):
        plans.of({str(number): {"class_type": "A", "inputs": {}}})
    assert plans.of({"0": {"class_type": "A", "inputs": {}}}) is not first
