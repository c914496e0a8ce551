"""The requests of a session in Comfy API v2 (PROTOCOL 5)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Final, Literal
from urllib.parse import quote

from ..._base.json import parse_json
from ..._base.labels import LABELS, labels_of
from ..._base.latest import Latest
from ..._base.secrets import Secret
from ..._base.tasks import each, together
from ..._protocol.job_v2 import job_record, listed_job, read_job
from ..._protocol.snapshot import HistoryEntry, QueueEntry, QueueSnapshot
from ..._transport.answers import Answer, error_of
from ..._transport.http import HttpClient, Stream
from ...errors import ComfyError, NotComfyUIError, SubmitUnknownError, UnsupportedError
from ..bodies import body_of
from ..dialect import DialectName, Draft, Posted, UnreadableError
from ..server import ServerInfo
from .files import AssetFiles
from .links import JOBS, JobLinks
from .refusals import REFUSALS, in_comfyui_words

__all__ = ["ApiV2"]

_log = logging.getLogger("comfy_async")

_NO_LABELS: Final = frozenset({"metadata_not_supported", "invalid_request"})
# Some job that nobody has: the answer shows who speaks, and whether the key is good.
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
_JOBS_AT_ONCE: Final = 32
_REQUESTS_AT_ONCE: Final = 8
_ENDS_KEPT: Final = 1000
_LISTED: Final = 100
_EXTRA: Final = "api_key_comfy_org"


class ApiV2(AssetFiles):
    """Comfy API v2: jobs by their id, each with a stream of its own, and files as assets."""

    name: ClassVar[DialectName] = "api-v2"
    has_socket: ClassVar[bool] = False
    has_streams: ClassVar[bool] = True
    chooses_ids: ClassVar[bool] = True
    is_idempotent: ClassVar[bool] = True
    takes_extra_data: ClassVar[bool] = False
    labels_are_in: ClassVar[Literal["queue and history", "each job", "its list"]] = "its list"
    has_routes: ClassVar[bool] = False
    tells_single_classes: ClassVar[bool] = False
    hides_partial: ClassVar[bool] = True
    names_models: ClassVar[bool] = False
    history_route: ClassVar[str] = "/history"
    orders: ClassVar[Mapping[str, str]] = {}
    jobs_at_once: ClassVar[int | None] = _JOBS_AT_ONCE

    def __init__(self, http: HttpClient) -> None:
        """Use the session's HTTP client; its API key goes as a bearer token from now on."""
        super().__init__(http)
        http.auth.turn_key_into_bearer()
        http.prefix = ""
        self.server = ServerInfo(cloud=http.address.is_cloud, dialect=self.name)
        self.probed = False
        self._links = JobLinks(http)
        self._over = Latest[str, HistoryEntry](_ENDS_KEPT)
        self._expired = Latest[str, None](_ENDS_KEPT)
        self._lists: bool | None = None
        self._labels: Literal["pairs", "text", "none"] = "pairs"
        self._asking = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    @property
    def address(self) -> str:
        """The server's base URL, without credentials and without a trailing slash."""
        return self._http.address.base

    # What it is.

    async def probe(self) -> ServerInfo:
        """Find out whether API v2 answers, and whether the key is good.

        Raises:
            NotComfyUIError: Something else answers.
            AuthError: The key is wrong.
            ComfyError: It cannot be reached, or refuses.
        """
        answer = await self._http.request("GET", f"{JOBS}/{_NOBODY}", root=True, expect=(404,), retry=True)
        if not _is_absence(answer):
            raise answer.not_comfyui("this is no Comfy API v2")
        self.probed = True
        return self.server

    def learn(self, features: Mapping[str, Any]) -> None:
        """Keep nothing: API v2 announces nothing."""

    def prove(self, capability: str, has: bool) -> None:
        """Keep what an answer has shown."""
        if self.server.proven.get(capability) is not has:
            self.server = self.server.shown(capability, has)

    # Jobs come in.

    def encode(self, draft: Draft) -> Secret[bytes]:
        """Return the body of POST /api/v2/jobs.

        Raises:
            UnsupportedError: Something is asked for that API v2 cannot express.
        """
        unknown = sorted(draft.extra.keys() - {_EXTRA, LABELS})
        if unknown:
            raise self._without(
                f"take along {', '.join(unknown)} (`extra_data`)",
                hint=f"Its extra_data is closed: {_EXTRA} alone may stand there (`partner_api_key=`).",
            )
        if draft.number is not None or draft.front:
            raise self._without("be told a place in the queue (`front`, `number`)")
        if draft.targets is not None:
            raise self._without("run only some outputs (`targets`)")
        envelope: dict[str, Any] = {}
        if _EXTRA in draft.extra:
            envelope["extra_data"] = {_EXTRA: draft.extra[_EXTRA]}
        if (labels := labels_of(draft.extra)) and self._labels != "none":
            envelope["metadata"] = labels if self._labels == "pairs" else _in_one_text(labels)
        return body_of("workflow", draft.graph, envelope)

    async def post(self, draft: Draft, body: Secret[bytes]) -> Posted | Mapping[str, Any]:
        """POST /api/v2/jobs, under a key by which the server accepts it once, however often it comes."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": draft.prompt_id}
        async with self._asking:
            answer = await self._http.request(
                "POST", JOBS, content=body, headers=headers, root=True, expect=(422,)
            )
        said = answer.json_object()
        if answer.status == 422:
            code = _code(said)
            if code in _NO_LABELS and labels_of(draft.extra) and self._labels != "none":
                # The public description knows no labels: servers keep pairs, one text, or none.
                self._labels = "text" if self._labels == "pairs" and code == "invalid_request" else "none"
                if self._labels == "none":
                    _log.warning("%s keeps no labels (%s): only this process has them", self.address, code)
                return await self.post(draft, self.encode(draft))
            if code not in REFUSALS:
                raise error_of(answer)
            return in_comfyui_words(said, draft.graph)
        prompt_id = said.get("id")
        if not isinstance(prompt_id, str) or not prompt_id:
            raise answer.not_comfyui("the answer to a prompt is no job")
        self._links.keep(prompt_id, said)
        return Posted(prompt_id, answer.body, said)

    @property
    def finds_posted(self) -> bool:
        """True until it is known that the server lists no jobs."""
        return self._lists is not False

    async def find_posted(self, draft: Draft, known: Collection[str]) -> str | None:
        """Look through the latest jobs for one with this graph.

        GET /api/v2/jobs is in no public description; where it is served, each job's own graph decides.

        Raises:
            SubmitUnknownError: Several could be it.
            ComfyError: The request failed.
        """
        answer = await self._http.request(
            "GET", JOBS, params={"limit": _LISTED}, root=True, expect=(404, 405, 501), retry=True
        )
        rows = answer.json_object().get("jobs") if answer.status == 200 else None
        self._lists = isinstance(rows, list)
        graph = parse_json(draft.graph)
        found = []
        for row in rows if isinstance(rows, list) else ():
            prompt_id = row.get("id") if isinstance(row, Mapping) else None
            if (
                isinstance(prompt_id, str)
                and prompt_id not in known
                and await self.workflow(prompt_id) == graph
            ):
                found.append(prompt_id)
        if len(found) > 1:
            raise SubmitUnknownError(
                f"it is unknown whether a prompt reached {self.address}: {len(found)} jobs have its workflow",
                hint=f"One of them may be it: {', '.join(found[:5])}. `attach` follows it.",
                server=self.address,
            )
        return found[0] if found else None

    async def listed(self, labels: Mapping[str, str]) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the jobs that the server lists with these labels, where it lists jobs.

        Raises:
            UnsupportedError: It lists none.
        """
        # No server filters by more than three.
        params = {"limit": _LISTED, **{f"metadata[{name}]": labels[name] for name in sorted(labels)[:3]}}
        while True:
            answer = await self._http.request(
                "GET", JOBS, params=params, root=True, expect=(404, 405, 501), retry=True
            )
            if answer.status != 200:
                raise self._without("list its jobs", hint="Keep `job.ref`, and `attach` to it.")
            body = answer.json_object()
            rows = body.get("jobs")
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, Mapping):
                    yield listed_job(row)
            cursor = body.get("next_cursor")
            if not isinstance(cursor, str) or not cursor:
                return
            params["cursor"] = cursor

    async def find_keyed(self, key: str, mark: str) -> tuple[str, Mapping[str, Any]] | None:
        """Refuse: the server chooses the ids."""
        raise self._keyless()

    async def claim(self, name: str, text: str) -> bool:
        """Refuse, as `find_keyed`."""
        raise self._keyless()

    async def claim_text(self, name: str) -> str | None:
        """Refuse, as `find_keyed`."""
        raise self._keyless()

    def _keyless(self) -> UnsupportedError:
        """Return the error for keys."""
        hint = "Keep `job.ref` beside the key, and `attach` to it."
        return self._without("hold a job to a key: it chooses the ids", hint=hint)

    # Where they are.

    @property
    def lists_jobs(self) -> bool:
        """False: the list of jobs is in no public description."""
        return False

    async def has_jobs(self) -> bool:
        """Return False, as `lists_jobs`."""
        return False

    async def snapshot(self, of: Collection[str] = (), *, whole: bool = False) -> QueueSnapshot:
        """Return which of these jobs wait or run; those whose request failed are left out."""
        answers = await each([self._job(prompt_id) for prompt_id in of])
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        unforeseen = [failure for failure in failures if not isinstance(failure, ComfyError)]
        if unforeseen or (failures and len(failures) == len(answers)):
            raise (unforeseen or failures)[0]
        # What cannot be read is looked at once more by `history`, which names it.
        found = {
            one: answer
            for one, answer in zip(of, answers, strict=True)
            if isinstance(answer, UnreadableError) or not isinstance(answer, Exception)
        }
        waits = {one: entry for one, entry in found.items() if isinstance(entry, QueueEntry)}
        return QueueSnapshot(
            waits,
            of=frozenset(found),
            reasons={one: "the server says that it has expired" for one in of if one in self._expired},
            over=frozenset(one for one, entry in found.items() if entry is not None) - waits.keys(),
        )

    async def job_record(self, prompt_id: str) -> Mapping[str, Any] | None:
        """Return a job in the format of ComfyUI's jobs API.

        Raises:
            NotFoundError: The server does not know it.
        """
        answer = await self._http.request("GET", **self._links.at(prompt_id, "self"), expect=())
        return job_record(answer.json_object())

    async def find(self, prompt_id: str) -> QueueEntry | None:
        """Return a job that waits or runs."""
        found = await self._job(prompt_id)
        return found if isinstance(found, QueueEntry) else None

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """Return a job that has ended; one that a poll has just found is not requested again."""
        found = self._over.pop(prompt_id, None) or await self._job(prompt_id)
        self._over.pop(prompt_id, None)
        return found if isinstance(found, HistoryEntry) else None

    async def workflow(self, prompt_id: str) -> Mapping[str, Any]:
        """Return the graph that a job ran; {} for one of which only the editor's file is known."""
        path = f"{JOBS}/{quote(prompt_id, safe='')}/workflow"
        answer = await self._http.request("GET", path, root=True, expect=(404, 405, 501), retry=True)
        body = answer.json_object() if answer.status == 200 else {}
        graph = body.get("workflow")
        return graph if isinstance(graph, Mapping) and body.get("format") == "api" else {}

    async def _job(self, prompt_id: str) -> QueueEntry | HistoryEntry | None:
        """Request one job; one that has ended is kept until it is read."""
        async with self._asking:
            answer = await self._http.request("GET", **self._links.at(prompt_id, "self"), expect=(404,))
        self._expired.pop(prompt_id, None)
        if answer.status == 404:
            if not _is_absence(answer):
                raise answer.not_comfyui("this is no answer of Comfy API v2")
            return None
        body = answer.json()
        try:
            found = read_job(body, prompt_id)
        except ValueError as error:
            raise UnreadableError(f"the job: {error}", server=self.address) from None
        self._links.keep(prompt_id, body)
        if found is None:
            self._expired[prompt_id] = None
        elif isinstance(found, HistoryEntry):
            self._over[prompt_id] = found
        self._keep_file_links(body.get("outputs"))
        return found

    async def queue(self, *, retry: bool = False) -> Any:
        """Raise: the jobs of others are not shown."""
        raise self._without("show the queue of everybody")

    async def queue_remaining(self) -> int:
        """Raise, as `queue`."""
        raise self._without("say how long the queue is")

    async def ping(self) -> int | None:
        """Prove that the server answers; it does not say how busy it is."""
        await self.probe()
        return None

    # Jobs go.

    async def cancel(self, prompt_id: str) -> None:
        """Ask for the end of exactly this job; no answer is a proof of it."""
        await self._cancelled(prompt_id)

    async def cancel_all(self, prompt_ids: Sequence[str]) -> bool:
        """Ask for the end of these jobs; return whether any of them was still to end."""
        return any(await together([self._cancelled(one) for one in prompt_ids]))

    async def interrupt(self, prompt_id: str) -> None:
        """Ask for the end of this job: there is one request for that and for removing it."""
        await self._cancelled(prompt_id)

    async def _cancelled(self, prompt_id: str) -> bool:
        """POST the cancel; False when there is no such job, or it had another end."""
        async with self._asking:
            answer = await self._http.request(
                "POST", **self._links.at(prompt_id, "cancel"), expect=(404,), retry=True
            )
        if answer.status == 404:
            return False
        status = answer.json_object().get("status")
        return status in ("queued", "running", "canceling", "canceled")

    async def has_dead_worker(self) -> bool:
        """Return False: the server's log is not shown."""
        return False

    # What happens meanwhile.

    def stream(self, prompt_id: str, *, silent_seconds: float) -> AbstractAsyncContextManager[Stream]:
        """Open the stream of one job's events; one without a byte for so long breaks."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        at = self._links.at(prompt_id, "events")
        path, root = at["path"], at["root"]
        return self._http.stream(path, root=root, headers=headers, read_seconds=silent_seconds)

    # What there is not.

    async def object_info(self, class_type: str) -> Mapping[str, Any]:
        """Raise: the nodes are not described."""
        raise self._without(
            "describe its nodes",
            hint="`comfy.nodes.use(NodeCatalog.load(path))` takes a catalog saved from another server.",
        )

    def history_rows(self, body: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return none: there is no history."""
        return ()

    def _without(self, what: str, *, hint: str = "") -> UnsupportedError:
        """Return the error for what API v2 does not have."""
        return self.server.unsupported(what, hint=hint, server=self.address)


def _in_one_text(labels: Mapping[str, str]) -> str:
    """Return labels as the one text that comfy-api-proxy keeps with a job."""
    return json.dumps(labels, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _code(body: Mapping[str, Any]) -> str:
    """Return the code of an error."""
    error = body.get("error")
    return str(error.get("code") or "") if isinstance(error, Mapping) else ""


def _is_absence(answer: Answer) -> bool:
    """Return whether API v2 itself answers that it has no such job: a gateway's 404 does not count."""
    try:
        return answer.status == 404 and bool(_code(answer.json_object()))
    except NotComfyUIError:
        return False
