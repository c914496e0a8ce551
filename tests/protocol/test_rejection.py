"""Why a prompt was refused, and why a node failed, in words that help."""

from __future__ import annotations

from typing import Any

import pytest
import wire_frames as wire

from comfy_async import Failed, JobFailedError, NodeInfo, OutOfMemoryError, PartnerNodeError
from comfy_async._protocol.plan import Plan
from comfy_async._protocol.rejection import choices, failure, nearest, problems
from comfy_async.types import Problem


def recorded(name: str) -> list[Problem]:
    """Return the problems of a recorded answer of POST /prompt."""
    body = wire.answer(name, "/prompt")
    return problems(body.get("error"), body.get("node_errors"), Plan(wire.prompt(name)).nodes)


def test_invalid_values() -> None:
    """Each problem with node, title, class, input, value and nearest valid values."""
    found = recorded("rejected_invalid_values")
    body = wire.answer("rejected_invalid_values", "/prompt")
    assert len(found) == sum(len(entry["errors"]) for entry in body["node_errors"].values())
    for problem in found:
        assert problem.node
        assert problem.class_type
        assert problem.title
        assert problem.type
        assert problem.message
    listed = [problem for problem in found if problem.type == "value_not_in_list"]
    assert listed
    for problem in listed:
        assert problem.input
        assert problem.received is not None
        assert repr(problem.received) in str(problem)


def test_missing_class() -> None:
    """An unknown class is named with its node and advice."""
    (problem,) = recorded("rejected_missing_node_type")
    assert problem.type == "missing_node_type"
    assert problem.node is not None
    assert problem.received == problem.class_type != ""
    assert problem.advice


def test_no_outputs() -> None:
    """A problem of the whole has no node."""
    (problem,) = recorded("rejected_no_outputs")
    assert (problem.node, problem.type) == (None, "prompt_no_outputs")
    assert "SaveImage" in problem.advice


def test_partly_invalid() -> None:
    """A link to an absent node is said in plain words."""
    found = recorded("partly_invalid_200_with_node_errors")
    assert found
    assert any("not in the prompt" in problem.message for problem in found)


def spec(kind: str, *, received: Any = None, config: Any = None, **extra: Any) -> Problem:
    """Return the problem that a row of `node_errors` is read into."""
    info = {"input_name": "x", "received_value": received, "input_config": config, **extra}
    row = {"type": kind, "message": "Message", "details": "details", "extra_info": info}
    (problem,) = problems(None, {"3": {"errors": [row], "class_type": "KSampler"}})
    return problem


def test_sentences() -> None:
    """Each kind in one sentence; kinds without words of ours keep the server's."""
    assert spec("required_input_missing").message == "the input is required and missing"
    assert "'eulr' is not one" in spec("value_not_in_list", received="eulr").message
    assert spec("value_smaller_than_min", received=0, config=["INT", {"min": 1}]).message.endswith("least, 1")
    assert spec("value_bigger_than_max", received=9, config=["INT", {"max": 8}]).message.endswith("most, 8")
    assert spec("value_bigger_than_max", received=9).message == "Message: details"
    assert spec("custom_validation_failed").message == "Message: details"
    broken = spec("exception_during_inner_validation", exception_type="KeyError", exception_message="'77'")
    assert "'77'" in broken.message


def test_nearest_from_the_answer() -> None:
    """Both forms of a choice's spec are read."""
    for config in ([["euler", "heun", "dpm_2"], {}], ["COMBO", {"options": ["euler", "heun"]}]):
        assert spec("value_not_in_list", received="eulr", config=config).nearest[0] == "euler"
    assert spec("value_not_in_list", received="eulr", config=None).nearest == ()
    assert spec("value_not_in_list", received="eulr", config=["COMBO", {}]).nearest == ()
    assert choices([]) == ()


def test_nearest_compares_names_without_folders() -> None:
    """A model in another folder, or with the other separator, comes first."""
    known = ["sd\\v1-5.safetensors", "sd/v1-4.safetensors", "other.ckpt"]
    assert nearest("sd/V1-5.safetensors", known)[0] == "sd\\v1-5.safetensors"
    assert nearest("v1-4.safetensors", known)[0] == "sd/v1-4.safetensors"
    assert nearest("nothing like it at all", known) == ()
    assert len(nearest("a1", [f"a{n}" for n in range(20)])) == 3


@pytest.mark.parametrize("kind", ["value_not_in_list", "invalid_input_type", "custom_validation_failed"])
def test_a_huge_value_is_not_repeated(kind: str) -> None:
    """A picture in base64 that the server sends back, in its details too: the beginning says enough."""
    value = "iVBORw0KGgo" * 100_000
    row = {
        "type": kind,
        "message": "Invalid",
        "details": f"image - {value}",
        "extra_info": {"input_name": "image", "received_value": value, "input_config": [["a.png"], {}]},
    }
    (problem,) = problems(None, {"1": {"class_type": "LoadImage", "errors": [row]}})
    assert len(str(problem)) < 2_000
    assert problem.received == value
    assert problem.nearest == ()
    (whole,) = problems({"type": "x", "message": "Bad", "details": value}, {})
    assert len(str(whole)) < 2_000


def test_old_and_odd_answers() -> None:
    """Lists for objects, texts for errors, rows of any shape: nothing raises, nothing is invented."""
    assert problems("it broke", [])[0].message == "it broke"
    assert problems(None, []) == []
    assert problems("", None) == []
    assert problems({"type": "x"}, {"1": None, "2": {}, "3": {"errors": [None, {}]}})[0].node == "3"
    (whole,) = problems({"type": "no_prompt", "message": "No prompt", "details": "d"}, {})
    assert whole.message == "No prompt: d"
    (odd,) = problems({"extra_info": [], "details": 5}, {"x": 3})
    assert odd.node is None


def test_the_whole_error_gives_way_to_the_nodes() -> None:
    """`prompt_outputs_failed_validation` says nothing that the nodes do not say better."""
    row = {"type": "required_input_missing", "extra_info": {"input_name": "x"}}
    found = problems(
        {"type": "prompt_outputs_failed_validation", "message": "m"},
        {"3": {"errors": [row]}},
        {"3": NodeInfo("3", "My sampler", "KSampler")},
    )
    assert [str(problem) for problem in found] == [
        "3 \"My sampler\" (KSampler), input 'x': the input is required and missing"
    ]


def failed(kind: str, message: str) -> JobFailedError:
    """Return the error of a failed job."""
    data = {
        "node_id": "8",
        "node_type": "VAEDecode",
        "exception_type": kind,
        "exception_message": message,
        "traceback": ["a\n", "b\n"],
    }
    return failure(Failed(None, data, wire.PROMPT_ID), prompt_id=wire.PROMPT_ID, server="http://x")


def test_a_plain_failure() -> None:
    """Place, words and traceback of the server."""
    error = failed("ValueError", "bad\n")
    assert type(error) is JobFailedError
    assert (error.node, error.class_type, error.exception_type) == ("8", "VAEDecode", "ValueError")
    assert (error.exception_message, error.traceback) == ("bad", "a\nb\n")
    assert (error.prompt_id, error.server, error.retryable) == (wire.PROMPT_ID, "http://x", False)
    assert "VAEDecode" in str(error)
    assert "ValueError: bad" in str(error)


def test_a_failure_that_says_nothing() -> None:
    """A failure without any field is a failure."""
    error = failure(Failed(None, {}, "p"), prompt_id="p", server="s")
    assert type(error) is JobFailedError
    assert (error.node, error.traceback) == (None, "")
    assert "the run failed, and the server names no node: an error: the server gave no message" in str(error)
    assert "traceback" not in error.hint


@pytest.mark.parametrize("node", [{}, {"node_id": None}, {"node_id": None, "node_type": None}])
def test_a_failure_without_a_node(node: dict[str, None]) -> None:
    """Newer servers name none when a run fails outside of its nodes, and need not send inputs."""
    data: dict[str, Any] = {
        **node,
        "exception_type": "RuntimeError",
        "exception_message": "no disk",
        "traceback": [],
    }
    error = failure(Failed(None, data, "p"), prompt_id="p", server="s")
    assert (error.node, error.title, error.class_type) == (None, "", "")
    assert error.args[0] == "the run failed, and the server names no node: RuntimeError: no disk"


def test_a_failure_of_a_node_that_is_named_by_its_class_only() -> None:
    """What is known is said."""
    event = Failed(None, {"node_type": "KSampler", "exception_type": "ValueError"}, "p")
    assert "a node of class KSampler raised ValueError" in str(failure(event, prompt_id="p", server="s"))


@pytest.mark.parametrize("kind", ["ModelNotPermittedError", "comfy.governance.ModelNotPermittedError"])
def test_a_model_that_is_not_permitted(kind: str) -> None:
    """Told as a rule of the server's, which a traceback does not help with."""
    error = failed(kind, "Model 'flux.safetensors' is not permitted by your organization's policy.")
    assert type(error) is JobFailedError
    assert "do not allow the model" in error.hint
    assert not error.retryable


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("torch.OutOfMemoryError", "Allocation on device"),
        ("torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("RuntimeError", "MPS backend out of memory (MPS allocated: 8 GB)"),
        ("RuntimeError", "HIP error: hipErrorOutOfMemory"),
        ("RuntimeError", "CUDA error: CUDA_ERROR_OUT_OF_MEMORY"),
        ("RuntimeError", "[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        ("RuntimeError", "DefaultCPUAllocator: not enough memory: you tried to allocate 5 bytes"),
        ("OOMError", "the machine was too small"),
        ("MemoryError", "Unable to allocate 7 GiB"),
        ("MemoryError", ""),
    ],
)
def test_out_of_memory(kind: str, message: str) -> None:
    """However it is said, it is recognised."""
    error = failed(kind, message)
    assert type(error) is OutOfMemoryError
    assert "free" in error.hint


@pytest.mark.parametrize(
    ("message", "reason", "retryable"),
    [
        ("Unauthorized: Please login first to use this node.", "login", False),
        ("Payment Required: Please add credits to your account to use this node.", "credits", False),
        ("There is a problem with your account. Please contact support@comfy.org.", "account", False),
        ("Rate Limit Exceeded: The server returned 429 after all retry attempts.", "rate_limit", True),
        ("API Error: something (Type: x)", "api", False),
    ],
)
def test_partner_nodes(message: str, reason: str, retryable: bool) -> None:
    """The words of ComfyUI's partner nodes are told apart."""
    error = failed("Exception", message)
    assert type(error) is PartnerNodeError
    assert (error.reason, error.retryable) == (reason, retryable)


def test_memory_is_no_excuse() -> None:
    """A message that only speaks of memory is no out-of-memory error."""
    assert type(failed("ValueError", "bad memory_format")) is JobFailedError


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"min": 1, "max": 100}, "It takes 1 to 100."),
        ({"min": 1}, ""),
        ({"max": 100}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_range_of_a_number_is_told_whole_or_not_at_all(options: Any, advice: str) -> None:
    """Half of one would say that there is no other end."""
    assert spec("invalid_input_type", received="many", config=["INT", options]).advice == advice
