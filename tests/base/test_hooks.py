"""Hooks: who has which method, and what becomes of what they raise."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from comfy_async._base import hooks as module
from comfy_async._base.hooks import NO_HOOKS, Hooks
from comfy_async._base.secrets import HIDDEN, Veil


class Ends:
    """Wants to know of ends."""

    def __init__(self) -> None:
        """Know of none."""
        self.seen: list[object] = []

    def on_end(self, job: object) -> None:
        """Note it."""
        self.seen.append(job)


class Raises:
    """Raises what it was given."""

    def __init__(self, *errors: BaseException) -> None:
        """Raise these, one after the other."""
        self._errors = list(errors)

    def on_end(self, job: object) -> None:
        """Raise the next."""
        raise self._errors.pop(0)


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as an error."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def test_what_nobody_wants_is_none() -> None:
    """So that it costs one look; every name that is told stands as a line in the class."""
    hooks = Hooks([Ends()])
    assert [name for name in Hooks.__annotations__ if getattr(hooks, name) is not None] == ["on_end"]
    assert all(getattr(NO_HOOKS, name) is None for name in Hooks.__annotations__)
    assert hooks.hear_jobs
    assert not NO_HOOKS.hear_jobs


def test_every_hook_is_told_whatever_the_others_raise(caplog: pytest.LogCaptureFixture) -> None:
    """In order; an error in one changes nothing for the next, nor for who tells."""
    first, last = Ends(), Ends()
    tell = Hooks([first, Raises(ValueError("no")), last]).on_end
    assert tell is not None
    tell("a")
    assert (first.seen, last.seen) == (["a"], ["a"])
    assert errors_in(caplog) == ["the hook Raises.on_end failed: ValueError"]


def test_each_kind_of_error_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that fails at each event must not fill the disk; another kind is news."""
    tell = Hooks([Raises(ValueError(1), ValueError(2), KeyError(3), ValueError(4))]).on_end
    assert tell is not None
    for _ in range(4):
        tell("a")
    assert errors_in(caplog) == [
        "the hook Raises.on_end failed: ValueError",
        "the hook Raises.on_end failed: KeyError",
    ]


def test_a_cancellation_of_its_own_does_not_cancel_us(caplog: pytest.LogCaptureFixture) -> None:
    """Who looks at a task that was cancelled gets its CancelledError: it must not end the reader."""
    tell = Hooks([Raises(asyncio.CancelledError())]).on_end
    assert tell is not None
    tell("a")
    assert errors_in(caplog) == ["the hook Raises.on_end failed: CancelledError"]


def test_ctrl_c_comes_through() -> None:
    """Who interrupts the program means the program."""
    tell = Hooks([Raises(KeyboardInterrupt())]).on_end
    assert tell is not None
    with pytest.raises(KeyboardInterrupt):
        tell("a")


def test_keys_are_hidden_in_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error that repeats a key is logged without it."""
    hooks = Hooks([Raises(ValueError("sk-1234567890abcdef is bad"))])
    hooks.veils.append(Veil(["sk-1234567890abcdef"]))
    assert hooks.on_end is not None
    hooks.on_end("a")
    assert "sk-1234567890abcdef" not in caplog.text
    assert HIDDEN in caplog.text


def test_a_slow_hook_is_named_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds up everything: nothing else tells why."""
    monkeypatch.setattr(module, "_SLOW_S", 0.0)
    tell = Hooks([Ends()]).on_end
    assert tell is not None
    tell("a")
    tell("b")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert told[0].startswith("the hook Ends.on_end blocked the event loop for")


class Nothing:
    """Is no hook."""


class Slip:
    """Misspells what it wants."""

    def on_evnt(self, job: object, event: object) -> None:
        """Is never called."""


class Waits:
    """Believes that it is awaited."""

    async def on_event(self, job: object, event: object) -> None:
        """Would never run."""


class ClosesAtOnce:
    """Believes that it is not awaited."""

    def before_close(self) -> None:
        """Would fail at the end."""


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (Nothing(), "Nothing is no hook: a hook has any of the methods before_submit, "),
        (Slip(), "is 'on_evnt' misspelt?"),
        (Waits(), "Waits.on_event is never awaited: make it `def`"),
        (ClosesAtOnce(), "ClosesAtOnce.before_close is awaited: make it `async def`"),
        (Ends, "a class: make an object of it"),
    ],
)
def test_what_would_be_called_in_vain_is_refused(one: object, words: str) -> None:
    """When it is handed over, not when its first event is missed."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Hooks([one])
    assert words in str(caught.value)


class Closes:
    """Has something left to do."""

    def __init__(self, work: Any = None) -> None:
        """Do this."""
        self.work = work
        self.closed = 0

    async def before_close(self) -> None:
        """Do it."""
        self.closed += 1
        if self.work is not None:
            await self.work()


async def test_closing_waits_for_what_is_left() -> None:
    """All at once, each once; who was lent the hooks closes none."""
    one, other = Closes(), Closes()
    hooks = Hooks([one, other])
    await hooks.lent().close()
    assert (one.closed, other.closed) == (0, 0)
    await hooks.close()
    assert (one.closed, other.closed) == (1, 1)
    await NO_HOOKS.close()


async def test_closing_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that never ends is left behind, and said to be; one that fails is logged."""

    async def broken() -> None:
        raise OSError("no")

    stuck, fails = Closes(asyncio.Event().wait), Closes(broken)
    await Hooks([stuck, fails]).close(0.01)
    assert "1 hooks were not done after 0.01 s, when the session was closed" in caplog.text
    assert "the hook Closes.before_close failed: OSError" in caplog.text


def test_hooks_that_are_hooks_already_stay_the_same() -> None:
    """What a pool lends its sessions is not wrapped again: an error is new once for all of them."""
    hooks = Hooks([Ends()])
    assert Hooks.of(hooks) is hooks
    assert hooks.lent().on_end is hooks.on_end
    assert Hooks.of([]).on_end is None
