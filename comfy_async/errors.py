"""The errors of comfy_async: fields first, and a last sentence that says what to do.

::

    ComfyError
    ├── TransportError              no answer came
    │   ├── ConnectError            no server listens there, or TLS failed
    │   ├── HandshakeError          the WebSocket upgrade was refused
    │   ├── RequestTimeoutError     a request took too long (no builtin TimeoutError)
    │   └── NotComfyUIError         something answers, but it is not a ComfyUI
    ├── ResponseError               the server answered with an error status
    │   ├── AuthError               401, 403
    │   ├── NotFoundError           404
    │   ├── RateLimitError          429
    │   ├── UploadTooLargeError     413, or known to be before sending
    │   └── InsufficientCreditsError    402
    ├── PromptRejectedError         the server refused the whole prompt
    │   └── PartialPromptError      it dropped some outputs of it
    ├── SubmitUnknownError          the POST may or may not have arrived
    ├── UnsupportedError            this server is too old, or of another kind
    ├── WorkflowError
    │   ├── WorkflowFormatError     the file is not a workflow, or damaged
    │   ├── ConversionError         the editor format cannot be converted
    │   └── UnknownInputError       no such node or input, or more than one
    ├── JobError
    │   ├── JobFailedError          a node raised
    │   │   ├── OutOfMemoryError
    │   │   └── PartnerNodeError
    │   ├── JobCancelledError
    │   └── JobLostError            the server does not know the job any more, or is silent
    ├── SaveError                   some files of a result could not be saved
    ├── SessionClosedError
    └── WrongLoopError
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .types import FileUrl, Problem, Shown

__all__ = [
    "AuthError",
    "ComfyError",
    "ConnectError",
    "ConversionError",
    "HandshakeError",
    "InsufficientCreditsError",
    "JobCancelledError",
    "JobError",
    "JobFailedError",
    "JobLostError",
    "NotComfyUIError",
    "NotFoundError",
    "OutOfMemoryError",
    "PartialPromptError",
    "PartnerNodeError",
    "PromptRejectedError",
    "RateLimitError",
    "RequestTimeoutError",
    "ResponseError",
    "SaveError",
    "SessionClosedError",
    "SubmitUnknownError",
    "TransportError",
    "UnknownInputError",
    "UnsupportedError",
    "UploadTooLargeError",
    "WorkflowError",
    "WorkflowFormatError",
    "WrongLoopError",
]


def _rebuild(cls: type[ComfyError], args: tuple[Any, ...], state: dict[str, Any]) -> ComfyError:
    """Rebuild an error from its pickled parts, without its keyword-only constructor."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ComfyError(Shown, Exception):
    """Something went wrong between you and ComfyUI; the base of every error raised here.

    Attributes:
        hint: What to do about it, one sentence, "" when nothing is known; every error of the
            network, of the server's answers and of a closed session has one.
        prompt_id: The job that it is about, or None.
        server: The server's base URL without credentials, or None.
        retryable: True when the same call may succeed later or on another server
            without any change.

    Example:
        >>> try:
        ...     await comfy.jobs.get("no-such-job")
        ... except ComfyError as error:
        ...     print(type(error).__name__, error.retryable, error.server == comfy.base_url)
        NotFoundError False True
    """

    retryable: bool = False
    _way_out = ""

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        prompt_id: str | None = None,
        server: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        """Keep the fields; `retryable=None`, and no hint, mean what the class says."""
        super().__init__(message)
        self.hint = hint or (self._way_out if message else "")
        self.prompt_id = prompt_id
        self.server = server
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        """Return the message, then the hint."""
        message = str(self.args[0]) if self.args else ""
        if not self.hint or not message:
            return message or self.hint
        return f"{message.rstrip()}{'' if message.rstrip().endswith(('.', '!', '?')) else '.'} {self.hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by parts, so that errors keep all fields in other processes."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class TransportError(ComfyError):
    """No answer came: the connection failed, broke or took too long.

    Example:
        >>> rule = fake.faults.fail("POST", "/free", "reset")
        >>> try:
        ...     await comfy.system.free()
        ... except TransportError as error:
        ...     print(type(error).__name__, error.retryable)
        TransportError True
    """

    retryable = True
    _way_out = "Try again; if it happens again, check that the server, and a proxy before it, is running."


class ConnectError(TransportError):
    """No server answers at the address, or TLS could not be set up.

    Example:
        >>> try:
        ...     async with ComfySession("http://127.0.0.1:9"):
        ...         pass
        ... except ConnectError as error:
        ...     print(error)
        no server answers at http://127.0.0.1:9...
    """

    _way_out = "Check that ComfyUI is running there."


class HandshakeError(TransportError):
    """The server refused the WebSocket.

    A session does not raise it: it polls instead, and `comfy.connection.reason` says why.

    Attributes:
        status: The HTTP status of the refusal, or None when there was none.

    Example:
        >>> rule = fake.faults.refuse_upgrades(403)
        >>> async with ComfySession("http://127.0.0.1:8188") as comfy:
        ...     result = await comfy.run(flow)  # by polling
        ...     print(comfy.connection.reason)
        http://127.0.0.1:8188 refused the WebSocket with status 403
    """

    def __init__(self, message: str = "", *, status: int | None = None, **fields: Any) -> None:
        """Keep the status."""
        super().__init__(message, **fields)
        self.status = status


class RequestTimeoutError(TransportError):
    """A request took longer than it may; not a builtin TimeoutError, which is your own.

    A plain `except TimeoutError` around `asyncio.timeout()` therefore never swallows it.

    Example:
        >>> rule = fake.faults.delay("GET", "/queue", seconds=60)
        >>> async with ComfySession("http://127.0.0.1:8188", settings=Settings(request_seconds=1.5)) as other:
        ...     try:
        ...         await other.queue.snapshot()
        ...     except RequestTimeoutError as error:
        ...         print(error.retryable)
        True
    """


class NotComfyUIError(TransportError):
    """Something answers at the address, but it is not a ComfyUI.

    Example:
        >>> rule = fake.faults.fail("GET", "*", 200, json={"service": "something else"})
        >>> try:
        ...     async with ComfySession("http://127.0.0.1:8188"):
        ...         pass
        ... except NotComfyUIError as error:
        ...     print(error)
        GET /api/system_stats at http://127.0.0.1:8188: this is no ComfyUI (status 200, ...
    """

    retryable = False
    _way_out = "Check the address: a proxy or another program may answer there."


class ResponseError(ComfyError):
    """The server answered with an error status.

    Attributes:
        status: The HTTP status.
        method: The request's method.
        path: The request's path, without the query.
        code: The server's own code for the error, "" when it has none.
        body: The beginning of the answer's body as text.
        retry_after: Seconds to wait before the next try as the server said, or None.

    Example:
        >>> rule = fake.faults.fail("GET", "/models", 500)
        >>> try:
        ...     await comfy.models.folders()
        ... except ResponseError as error:
        ...     print(error.status, error.method, error.path)
        500 GET /models
    """

    _way_out = "The server's log says more (`comfy-async logs`); `error.body` has what it answered."

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        method: str = "",
        path: str = "",
        code: str = "",
        body: str = "",
        retry_after: float | None = None,
        **fields: Any,
    ) -> None:
        """Keep the fields; 502, 503 and 504 are retryable unless `retryable` says otherwise."""
        super().__init__(message, **fields)
        self.status = status
        self.method = method
        self.path = path
        self.code = code
        self.body = body
        self.retry_after = retry_after
        if fields.get("retryable") is None and status in {502, 503, 504}:
            self.retryable = True


class AuthError(ResponseError):
    """The server, or a gateway before it, requires other credentials (401, 403).

    Example:
        >>> fake.auth = Gatekeeper(bearer="s3cret")
        >>> try:
        ...     async with ComfySession("http://127.0.0.1:8188", auth="an old token"):
        ...         pass
        ... except AuthError as error:
        ...     print(error.status, error.hint)
        401 Give the session `api_key=` or `auth=`; if it has one, it is wrong or outdated.
    """


class NotFoundError(ResponseError):
    """The server has no such thing (404).

    Example:
        >>> try:
        ...     await comfy.files.read("gone.png")
        ... except NotFoundError as error:
        ...     print(error.status, error.method, error.path)
        404 GET /view
    """


class RateLimitError(ResponseError):
    """Too many requests or jobs (429); `retry_after` says for how long, when the server does.

    Example:
        >>> rule = fake.faults.refuse_prompts("queue_limit", count=1, retry_after="0.1")
        >>> try:
        ...     job = await comfy.submit(flow)
        ... except RateLimitError as error:
        ...     await asyncio.sleep(error.retry_after or 10)
        ...     job = await comfy.submit(flow)
    """

    retryable = True


class UploadTooLargeError(ResponseError):
    """The upload is larger than the server, or a proxy before it, takes (413).

    Attributes:
        limit: The limit in bytes, or None when unknown.
        size: The upload's size in bytes, or None when unknown.

    Example:
        >>> async with FakeComfy(max_upload_size=1000) as small, small.session() as comfy:
        ...     try:
        ...         await comfy.files.upload(b"x" * 5000, name="scan.png")
        ...     except UploadTooLargeError as error:
        ...         print(error.limit, error.size)
        1000 5000
    """

    def __init__(
        self, message: str = "", *, limit: int | None = None, size: int | None = None, **fields: Any
    ) -> None:
        """Keep both sizes."""
        super().__init__(message, **fields)
        self.limit = limit
        self.size = size


class InsufficientCreditsError(ResponseError):
    """The account has no credits or no plan for this (402, and the 429s that mean it).

    Example:
        >>> rule = fake.faults.refuse_prompts("insufficient_credits")
        >>> try:
        ...     await comfy.submit(flow)
        ... except InsufficientCreditsError as error:
        ...     print(error.status, error.code)
        402 INSUFFICIENT_CREDITS
    """


class PromptRejectedError(ComfyError):
    """The server refused the prompt before running anything.

    Attributes:
        problems: What is wrong, each with node, input, value and nearest valid values.
        type: The server's own type of the refusal, for example `prompt_outputs_failed_validation`.
        node_errors: The server's `node_errors` as they came.

    Example:
        >>> try:
        ...     job = await comfy.submit(flow.with_inputs({"3.sampler_name": "eulr"}))
        ... except PromptRejectedError as error:
        ...     for problem in error.problems:
        ...         print(problem.title, problem.input, problem.received, problem.nearest)
        KSampler sampler_name eulr ('euler', 'heun', 'euler_cfg_pp')
    """

    def __init__(
        self,
        message: str = "",
        *,
        problems: Sequence[Problem] = (),
        type: str = "",
        node_errors: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Keep the problems."""
        super().__init__(message, **fields)
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.type = type
        self.node_errors: Mapping[str, Any] = node_errors or {}

    def __str__(self) -> str:
        """Return the message, one line for each problem, then the hint."""
        message = str(self.args[0]) if self.args else ""
        lines = [message, *(f"  - {problem}" for problem in self.problems)]
        told = any(self.hint in line for line in lines)
        return "\n".join(lines if told else [*lines, self.hint])


class PartialPromptError(PromptRejectedError):
    """The server accepted the prompt but dropped some of its outputs; the job was cancelled.

    `submit(on_partial="keep")` keeps such a job and leaves `job.node_errors`.

    Example:
        >>> both = flow.add("SaveImage", {"images": ["8", 0]}, id="20")  # filename_prefix is missing
        >>> try:
        ...     job = await comfy.submit(both)
        ... except PartialPromptError as error:
        ...     print(error.problems[0])
        20 (SaveImage), input 'filename_prefix': the input is required and missing
        >>> job = await comfy.submit(both, on_partial="keep")
        >>> len(job.node_errors), len((await job).images)
        (1, 1)
    """


class SubmitUnknownError(ComfyError):
    """It could not be found out whether the prompt arrived; it was not sent a second time.

    `attach(error.prompt_id)` finds the job if it turns up later.

    Example:
        >>> settings = Settings(submit_seconds=0.5)
        >>> async with ComfySession("http://127.0.0.1:8188", settings=settings) as other:
        ...     rule = fake.faults.fail("*", "*", "reset", after_effect=True)
        ...     try:
        ...         job = await other.submit(flow)
        ...     except SubmitUnknownError as error:
        ...         rule.cancel()  # the network is back
        ...         job = await other.attach(error.prompt_id)
        ...     print((await job).images[0].filename)
        ComfyUI_00002_.png
    """


class UnsupportedError(ComfyError):
    """This server cannot do that.

    Attributes:
        needs: The ComfyUI version that can, for example "0.6.0", "" when no version does.
        version: The server's version, "" when unknown.

    Example:
        >>> async with FakeComfy(version="0.3.40") as old, old.session() as comfy:
        ...     try:
        ...         await comfy.system.features()
        ...     except UnsupportedError as error:
        ...         print(error.needs, error.version)
        0.3.45 0.3.40
    """

    def __init__(self, message: str = "", *, needs: str = "", version: str = "", **fields: Any) -> None:
        """Keep both versions."""
        super().__init__(message, **fields)
        self.needs = needs
        self.version = version


class WorkflowError(ComfyError):
    """Something is wrong with the workflow itself; nothing was sent.

    Attributes:
        problems: Each finding with its place, may be empty.

    Example:
        >>> from pathlib import Path
        >>> try:
        ...     flow.add("LoadImage", {"image": Path("face.png")}).to_api()
        ... except WorkflowError as error:
        ...     print(error)
        files wait to be uploaded: 11 (LoadImage), input 'image'. submit() uploads them; ...
    """

    def __init__(self, message: str = "", *, problems: Sequence[Problem] = (), **fields: Any) -> None:
        """Keep the problems."""
        super().__init__(message, **fields)
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        """Return the message, one line for each problem, then the hint."""
        if not self.problems:
            return super().__str__()
        message = str(self.args[0]) if self.args else ""
        lines = [message, *(f"  - {problem}" for problem in self.problems)]
        return "\n".join([*lines, self.hint] if self.hint else lines)


class WorkflowFormatError(WorkflowError):
    """This is not a workflow, or a damaged one.

    Attributes:
        place: Where the damage is, for example `nodes[3].inputs`, "" when it is the whole.

    Example:
        >>> try:
        ...     Workflow.load({"3": {"class_type": "KSampler", "inputs": []}})
        ... except WorkflowFormatError as error:
        ...     print(error.place, "|", error)
        3.inputs | node '3' has inputs of type list
    """

    def __init__(self, message: str = "", *, place: str = "", **fields: Any) -> None:
        """Keep the place."""
        super().__init__(message, **fields)
        self.place = place


class ConversionError(WorkflowError):
    """The editor format cannot be turned into the API format; `problems` says why, node by node.

    Example:
        >>> try:
        ...     Workflow.from_ui("examples/workflows/sd15_text2image_ui.json", NodeCatalog({}))
        ... except ConversionError as error:
        ...     print(error.problems[0])
        8 (VAEDecode): the server has no class 'VAEDecode'
    """


class UnknownInputError(WorkflowError):
    """No node or input has that name, or more than one node has.

    Attributes:
        candidates: The names that were meant perhaps, or the nodes that all match.

    Example:
        >>> try:
        ...     flow.with_inputs({"KSampler.sede": 42})
        ... except UnknownInputError as error:
        ...     print(error.candidates)
        ('seed', 'scheduler')
    """

    def __init__(self, message: str = "", *, candidates: Sequence[str] = (), **fields: Any) -> None:
        """Keep the candidates."""
        super().__init__(message, **fields)
        self.candidates: tuple[str, ...] = tuple(candidates)


class JobError(ComfyError):
    """The job did not complete.

    Example:
        >>> fake.script("Broken", error=ValueError("no such font"))
        >>> variants = [flow, {"1": {"class_type": "Broken", "inputs": {}}}]
        >>> async with comfy.map(variants) as finished:
        ...     async for job in finished:
        ...         try:
        ...             paths = await (await job).save("out")
        ...         except JobError as error:
        ...             print(job.index, job.status, error)
        1 failed ...no such font...
    """


class JobFailedError(JobError):
    """A node raised while the job ran.

    Attributes:
        node: The node's id, or None when the server did not say.
        title: Its title in the editor.
        class_type: Its class.
        exception_type: The server-side exception's name, for example `RuntimeError`.
        exception_message: The server-side exception's text.
        traceback: The server's traceback, one string with line ends.

    Example:
        >>> fake.script("DrawText", error=ValueError("no such font"))
        >>> try:
        ...     await comfy.run({"1": {"class_type": "DrawText", "inputs": {}}})
        ... except JobFailedError as error:
        ...     print(error.node, error.class_type, error.exception_type, error.exception_message)
        1 DrawText ValueError no such font
    """

    def __init__(
        self,
        message: str = "",
        *,
        node: str | None = None,
        title: str = "",
        class_type: str = "",
        exception_type: str = "",
        exception_message: str = "",
        traceback: str = "",
        **fields: Any,
    ) -> None:
        """Keep the place and what the server reported."""
        super().__init__(message, **fields)
        self.node = node
        self.title = title
        self.class_type = class_type
        self.exception_type = exception_type
        self.exception_message = exception_message
        self.traceback = traceback


class OutOfMemoryError(JobFailedError):
    """The server ran out of memory (CUDA, HIP, MPS or the host's).

    Example:
        >>> fake.script("Upscale16K", error="oom")
        >>> try:
        ...     await comfy.run({"1": {"class_type": "Upscale16K", "inputs": {}}})
        ... except OutOfMemoryError as error:
        ...     await comfy.system.free(unload_models=True)
        ...     print(error.class_type, "needs less, or another try")
        Upscale16K needs less, or another try
    """


class PartnerNodeError(JobFailedError):
    """A partner node was refused by its service: no login, no credits, or too many calls.

    Attributes:
        reason: "login", "credits", "rate_limit", "account" or "api".

    Example:
        >>> refusal = ("Exception", "Unauthorized: Please login first to use this node.")
        >>> fake.script("FluxProUltra", error=refusal)
        >>> try:
        ...     await comfy.run({"1": {"class_type": "FluxProUltra", "inputs": {}}})
        ... except PartnerNodeError as error:
        ...     print(error.reason, error.hint)
        login Give `partner_api_key=` a valid key.
    """

    def __init__(self, message: str = "", *, reason: str = "api", **fields: Any) -> None:
        """Keep the reason."""
        super().__init__(message, **fields)
        self.reason = reason


class JobCancelledError(JobError):
    """The job was cancelled or interrupted, by you or by another client.

    Example:
        >>> fake.hold()
        >>> job = await comfy.submit(flow)
        >>> await comfy.queue.delete(job.prompt_id)
        >>> try:
        ...     result = await job
        ... except JobCancelledError as error:
        ...     print(error.prompt_id == job.prompt_id)
        True
    """

    _way_out = "A cancelled job has no result, even of the nodes that had finished: submit it again."


class JobLostError(JobError):
    """The server does not know the job any more, mostly after a restart, or is silent for too long.

    `retryable` tells them apart. True: the server knows nothing of the job, which will never run. False: the
    server has not answered for `Settings.away_seconds`, and may run the job still (`attach` finds it when
    the server is back), or the job has ended in a way that cannot be read.

    Example:
        >>> fake.hold()
        >>> job = await comfy.submit(flow)
        >>> await fake.faults.restart(history=False)
        >>> try:
        ...     result = await job
        ... except JobLostError as error:
        ...     if error.retryable:
        ...         job = await comfy.submit(flow)  # it is safe: the first one will never run
    """

    retryable = True


class SaveError(ComfyError):
    """Some of a result's files could not be saved; the others are.

    Attributes:
        saved: The paths, or URLs, of those that were saved.
        failed: Why each of the others was not, by its name on the server.

    Example:
        >>> try:
        ...     paths = await result.save("out")
        ... except SaveError as error:
        ...     print(len(error.saved), list(error.failed))
    """

    def __init__(
        self,
        message: str = "",
        *,
        saved: Sequence[os.PathLike[str] | FileUrl] = (),
        failed: Mapping[str, Exception] | None = None,
        **fields: Any,
    ) -> None:
        """Keep both lists."""
        super().__init__(message, **fields)
        self.saved: tuple[os.PathLike[str] | FileUrl, ...] = tuple(saved)
        self.failed: Mapping[str, Exception] = dict(failed or {})


class SessionClosedError(ComfyError):
    """The session was closed; its jobs go on on the server.

    Example:
        >>> async with ComfySession("http://127.0.0.1:8188") as other:
        ...     result = await other.run(flow)
        >>> try:
        ...     await result.images[0].read()  # inside the block it would have worked
        ... except SessionClosedError as error:
        ...     print(error)
        the session with http://127.0.0.1:8188 was closed. Do it inside the `async with` block, or...
    """

    _way_out = "Do it inside the `async with` block, or keep it open: `await ....connect()` until `aclose()`."


class WrongLoopError(ComfyError):
    """The session belongs to another event loop.

    Example:
        >>> def in_a_thread():
        ...     asyncio.run(comfy.run(flow))  # a loop of its own wants a session of its own
        >>> try:
        ...     await asyncio.to_thread(in_a_thread)
        ... except WrongLoopError as error:
        ...     print(error)
        this session belongs to another event loop. Make one session in each loop...
    """
