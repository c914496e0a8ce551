"""Defects that are planted on purpose: a world that does not find them proves nothing.

Each is one small mistake of a kind that such a library makes, put in the place of a method while
the block lasts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

import comfy_async._session.attach as attach_module
import comfy_async._session.poller as poller_module
from comfy_async import Cancelled, Lost
from comfy_async._batch.journal import Journal
from comfy_async._dialects.api_v2.api import ApiV2
from comfy_async._dialects.dialect import Draft
from comfy_async._job.core import JobCore
from comfy_async._pool.engine import PoolEngine
from comfy_async._protocol.reducer import JobState
from comfy_async._session.cancel import Canceller
from comfy_async._session.ends import Ends
from comfy_async._session.engine import Engine
from comfy_async._session.link import Link
from comfy_async._session.poller import Poller
from comfy_async._session.router import Router
from comfy_async._session.socket_health import SocketHealth
from comfy_async._session.submission import Submission
from comfy_async._transport.links import is_home
from comfy_async._transport.sender import Sender

Change = tuple[Any, str, Any]


def _posted_twice() -> list[Change]:
    """An unknown outcome of a post is answered by a second post."""

    async def arrived(_self: Submission, _draft: object, _error: Exception) -> bool:
        return False

    return [(Submission, "_arrived", arrived)]


def _given_up_at_once() -> list[Change]:
    """An unknown outcome of a post is raised as the error that it was."""

    async def arrived(_self: Submission, _draft: object, error: Exception) -> bool:
        raise error

    return [(Submission, "_arrived", arrived)]


def _absent_after_one_look() -> list[Change]:
    """A job that one look does not show is lost."""

    async def count(self: Ends) -> None:
        for prompt_id in list(self._absent):
            job = self._jobs.by_id.get(prompt_id)
            del self._absent[prompt_id]
            if job is not None:
                self._end(job, Lost(None, {}, prompt_id, received_at=self._clock.unix()))

    return [(Ends, "_count_absences", count)]


def _end_dropped_after_a_gap() -> list[Change]:
    """What the history says is not believed when the socket has had a gap."""
    end_by = Ends.end_by

    def dropped(self: Ends, job: JobCore, entry: Any) -> None:
        if not job.state.gap:
            end_by(self, job, entry)

    return [(Ends, "end_by", dropped)]


def _gap_not_marked() -> list[Change]:
    """A job does not know that it may have missed something."""
    return [(JobState, "mark_gap", lambda _self: None)]


def _cancel_believed() -> list[Change]:
    """The answer to a cancel is taken for the end."""
    tell = Canceller._tell_server

    async def told(self: Canceller, job: JobCore) -> Any:
        failure = await tell(self, job)
        if failure is None:
            job.take(Cancelled(None, {}, job.prompt_id, received_at=self._clock.unix()))
        return failure

    return [(Canceller, "_tell_server", told)]


def _cancel_said_once() -> list[Change]:
    """A cancel that misses is not said again."""
    tell = Canceller._tell_server

    told_about: list[JobCore] = []

    async def told(self: Canceller, job: JobCore) -> Any:
        if any(one is job for one in told_about):
            return None
        told_about.append(job)
        return await tell(self, job)

    return [(Canceller, "_tell_server", told)]


def _cancel_hits_others() -> list[Change]:
    """A running job is cancelled by interrupting whatever runs."""
    from comfy_async._dialects.comfyui import RunApi

    async def cancel(self: RunApi, prompt_id: str) -> None:
        await self._http.request("POST", "/queue", json={"delete": [prompt_id]})
        await self._http.request("POST", "/interrupt", json={})

    return [(RunApi, "cancel", cancel)]


def _no_look_after_reconnecting() -> list[Change]:
    """What happened while the socket was down is not looked up, then or ever."""

    def needy(self: Poller) -> list[JobCore]:
        return [] if self._link.hearing else self._jobs.submitted()

    async def watch(_self: Poller) -> None:
        return None

    return [(Poller, "_needy", needy), (Poller, "_watch", watch)]


def _deaf_believed() -> list[Change]:
    """An open socket is taken for a hearing one."""

    def needy(self: Poller) -> list[JobCore]:
        return [] if self._link.hearing else self._jobs.submitted()

    async def look(_self: SocketHealth, **_options: Any) -> None:
        return None

    return [
        (SocketHealth, "_judge", lambda _self, _reason: None),
        (SocketHealth, "look", look),
        (Poller, "_needy", needy),
    ]


def _never_polls() -> list[Change]:
    """The poller never starts."""
    return [(Poller, "start", lambda _self: None)]


def _waiter_left_at_closing() -> list[Change]:
    """Closing a session leaves those who wait for its jobs waiting."""
    return [(JobCore, "abandon", lambda _self, _error: None)]


def _task_left_at_closing() -> list[Change]:
    """The socket's task outlives the session."""

    async def aclose(self: Link) -> None:
        self.state = "closed"
        self._settled.set()

    return [(Link, "aclose", aclose)]


def _connection_left_at_closing() -> list[Change]:
    """The HTTP connections outlive the session."""
    from comfy_async._transport.http import HttpClient

    async def aclose(_self: HttpClient) -> None:
        return None

    return [(HttpClient, "aclose", aclose)]


def _not_left() -> list[Change]:
    """Who leaves a job lets it run on."""
    return [(Engine, "leave", lambda _self, _job: None)]


def _submit_not_taken_back() -> list[Change]:
    """A submit that is cancelled forgets what it has posted."""

    async def clean_up(self: Submission, _error: BaseException) -> None:
        self._desk.jobs.remove(self.job)

    return [(Submission, "_clean_up", clean_up)]


def _not_rebound() -> list[Change]:
    """The id that an old server gives is not taken over."""
    return [(Router, "rebind", lambda _self, _job, _prompt_id: None)]


def _not_noted_before_the_post() -> list[Change]:
    """A results file does not know what was submitted."""
    return [(Journal, "posting", lambda _self, _job, _key: None)]


def _told_twice() -> list[Change]:
    """After a gap a node is told to have finished once more."""
    finish = JobState._finish_node

    def again(self: JobState, node: str, now: float) -> list[Any]:
        told = finish(self, node, now)
        return told + told if told and self.gap else told

    return [(JobState, "_finish_node", again)]


def _two_ends() -> list[Change]:
    """A cancelled job is told its end once more by the history."""
    tell = JobCore._tell

    def twice(self: JobCore, event: Any) -> None:
        tell(self, event)
        if isinstance(event, Cancelled):
            tell(self, event)

    return [(JobCore, "_tell", twice)]


def _key_in_the_log() -> list[Change]:
    """A failing request is logged with its headers."""
    send = Sender._send

    async def logged(self: Sender, request: Any) -> Any:
        response = await send(self, request)
        if response.status_code >= 500:
            poller_module._log.info("refused: %s", dict(self._auth.headers))
        return response

    return [(Sender, "_send", logged)]


def _key_to_others() -> list[Change]:
    """Credentials travel along on a redirect."""
    send = Sender._send

    async def signed(self: Sender, request: Any) -> Any:
        home = is_home(self._address, request.url)
        return await send(self, request if home else self._known(request))

    return [(Sender, "_send", signed)]


def _key_under_another_name() -> list[Change]:
    """A header of our own, with the key in it, goes wherever a redirect leads."""
    send = Sender._send

    async def signed(self: Sender, request: Any) -> Any:
        request.headers["X-Caller"] = " ".join(self._auth.headers.values())
        return await send(self, request)

    return [(Sender, "_send", signed)]


def _away_is_absent() -> list[Change]:
    """A server that does not answer has lost its jobs."""

    def unreachable(self: Poller, _error: Exception) -> None:
        for job in self._jobs:
            if job.status != "submitting":
                job.take(Lost(None, {}, job.prompt_id, received_at=self._clock.unix()))

    return [(Poller, "_unreachable", unreachable)]


def _interrupted_is_failed() -> list[Change]:
    """One kind of end is taken for another."""
    from comfy_async import Completed

    apply = JobState.apply

    def mixed(self: JobState, event: Any) -> list[Any]:
        if isinstance(event, Cancelled) and self.gap:
            event = Completed(None, {}, event.prompt_id, received_at=event.received_at)
        return apply(self, event)

    return [(JobState, "apply", mixed)]


def _failed_runs_elsewhere() -> list[Change]:
    """A pool runs a job that has failed on the next server."""
    return [(PoolEngine, "_reason_to_go_on", lambda _self, _job, _member, _event: "whatever")]


def _renamed_not_found() -> list[Change]:
    """The id that was noted before a post says nothing to a server which has chosen another."""

    async def renamed(_desk: Any, _prompt_id: str) -> None:
        return None

    return [(attach_module, "_renamed", renamed)]


def _job_forgotten_at_a_break() -> list[Change]:
    """A socket that breaks takes its jobs along."""
    down = Router.down

    def forgetful(self: Router, reason: str) -> None:
        down(self, reason)
        for job in list(self._jobs):
            self._jobs.remove(job)

    return [(Router, "down", forgetful)]


def _no_pause_after_a_failure() -> list[Change]:
    """A poll that failed is tried again at once."""
    next_pause = Poller._next_pause

    def none(self: Poller) -> float:
        return 0.0 if self._away_since is not None else next_pause(self)

    return [(Poller, "_next_pause", none)]


def _posted_under_another_key() -> list[Change]:
    """Each try of a post to API v2 has a key of its own."""
    post = ApiV2.post

    async def fresh(self: ApiV2, draft: Draft, body: Any) -> Any:
        return await post(self, dataclasses.replace(draft, prompt_id=str(uuid.uuid4())), body)

    return [(ApiV2, "post", fresh)]


def _expired_believed() -> list[Change]:
    """A job of API v2 that is once called expired is lost."""
    count = Ends._count_absences

    async def believed(self: Ends) -> None:
        for prompt_id in list(self._absent):
            job = self._jobs.by_id.get(prompt_id)
            if job is not None and self._api.has_streams:
                self.lose(job, {})
        await count(self)

    return [(Ends, "_count_absences", believed)]


PLANTS: Final[dict[str, Callable[[], list[Change]]]] = {
    name.removeprefix("_"): plant
    for name, plant in list(globals().items())
    if name.startswith("_") and callable(plant) and getattr(plant, "__module__", None) == __name__
}


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Let the package have a defect while the block lasts."""
    changes = PLANTS[name]()
    kept = [(place, attribute, vars(place)[attribute]) for place, attribute, _ in changes]
    for place, attribute, value in changes:
        setattr(place, attribute, value)
    try:
        yield
    finally:
        for place, attribute, value in kept:
            setattr(place, attribute, value)
