"""How a server of Comfy API v2 behaves: in what the cloud, a deployment and a proxy differ."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

__all__ = ["ApiV2"]

_DAY = 86_400.0


@dataclasses.dataclass(slots=True, kw_only=True)
class ApiV2:
    """How a server of API v2 behaves; all of it may be changed while it runs, as `fake.v2`.

    The defaults are the public description's; what that leaves open is a guess, never compared
    with Comfy Cloud. `ApiV2.proxy()` is comfy-api-proxy 0.1.6, compared with recordings of one.

    Attributes:
        style: In whose format it answers. The proxy passes ComfyUI's node errors on, has no sizes, times
            or tracebacks, lets its progress jump from node to node, and calls a waiting job that was
            cancelled expired.
        links: Where the bytes of an asset are: "served" here, "redirect" by a 302 to a signed URL on
            another origin, "signed" when the asset's own `url` is that one.
        url_seconds: How long a signed URL is good.
        relative_urls: Give the links of a job without scheme and host; a `prefix` of the server stays.
        max_streams: Event streams at once; one more is a 429 `too_many_streams`.
        streams: Serve events at all; 501 when not.
        max_queue: Jobs that may wait; one more is a 429 `queue_full`. None is without end.
        lists_jobs: Answer GET /api/v2/jobs, which the public description does not know; the cloud says 501.
        labels: What becomes of `metadata`, which it does not know either: the cloud refuses it, a
            deployment keeps it and lists jobs by it, an older one drops it.
        retention_seconds: How long a job is known; after that it is a 404.
        hash_after: How often an asset is returned with its hash null before the hash is there.
        request_ids: Send `X-Comfy-Request-Id`.
        partial: A graph of which only some outputs are valid is run as far as it goes, or rejected.
        lingering: Notice that a client has left its stream only when the next frame is sent to it, as the
            proxy does: until then the stream counts against `max_streams`.
        early_ends: End a stream with execution_success, though the job is still running by then.
        deafening: Send events to the newest stream of a job only, and to none any more once one of
            them is closed, as the proxy does: the others find out at their next keepalive.
        throttle_seconds: The least time between two progress (or preview) events of a stream.
        keepalive_seconds: The silence after which a stream sends a comment.
        newline: How lines of a stream end: LF, CRLF or CR.
        multiline: Send the data of an event in several `data:` lines.
        piece_bytes: Send frames in pieces of so many bytes; whole when None.
        strange_events: Send events of unknown names, `log` events, ids and comments between the others.

    Example:
        >>> async with FakeComfy(dialect="api-v2", api_v2=ApiV2(max_streams=2, links="signed")) as cloud:
        ...     cloud.v2.max_streams
        2
    """

    style: Literal["cloud", "proxy"] = "cloud"
    # Links and files
    links: Literal["served", "redirect", "signed"] = "redirect"
    url_seconds: float = 3600.0
    relative_urls: bool = False
    hash_after: int = 0
    # Jobs
    max_queue: int | None = None
    lists_jobs: bool = False
    labels: Literal["refused", "dropped", "kept"] = "refused"
    retention_seconds: float = _DAY
    partial: Literal["run", "reject"] = "run"
    request_ids: bool = True
    # Streams
    streams: bool = True
    max_streams: int = 8
    lingering: bool = False
    early_ends: bool = False
    deafening: bool = False
    throttle_seconds: float = 0.0
    keepalive_seconds: float = 15.0
    newline: Literal["\n", "\r\n", "\r"] = "\n"
    multiline: bool = False
    piece_bytes: int | None = None
    strange_events: bool = False

    @classmethod
    def deployment(cls, **changes: Any) -> ApiV2:
        """Return how a deployment behaves, with some fields changed: it lists jobs, by labels too."""
        return cls(**{"lists_jobs": True, "labels": "kept", **changes})

    @classmethod
    def proxy(cls, **changes: Any) -> ApiV2:
        """Return how comfy-api-proxy 0.1.6 behaves, with some fields changed."""
        found: dict[str, Any] = {"links": "served", "lists_jobs": True, "request_ids": False}
        found |= {"labels": "kept"}
        return cls(**{"style": "proxy", "lingering": True, "deafening": True, **found, **changes})
