"""How much one site accepts: jobs, uploads, readers, and what it remembers."""

from __future__ import annotations

import dataclasses
from typing import Final

__all__ = ["Limits"]

_MEBIBYTE: Final = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a site accepts; sizes in bytes, durations in seconds.

    Attributes:
        open_jobs: Jobs that wait or run at once; one more is answered 429.
        open_jobs_per_client: The same for one caller.
        body_bytes: The largest request, all its files together; counted while it comes in.
        fields: The most inputs, and the most files, of one request.
        upload_seconds: How long a request may take to come in; then it is answered 408.
        retry_seconds: What `Retry-After` says where nothing better is known.
        readers: Readers of events at once, of all jobs.
        readers_per_job: The same for one job.
        unread_events: What a slow reader may leave unread before it is disconnected; it may reconnect.
            Steps, previews and places are not counted: only the newest of them is kept.
        stalled_seconds: How long a reader may read nothing at all.
        keep_alive_seconds: After how much silence a reader is sent a comment, since proxies cut
            connections on which nothing is sent.
        leave_seconds: How long a job that is bound to its readers outlives the last of them: a page
            that is loaded anew, or a network that fails for a moment, comes back within that.
        kept_jobs: Jobs that have ended and are remembered; older ones are asked of ComfyUI again.
        kept_seconds: How long they are remembered.
        lookups: Jobs that are looked up on the ComfyUI at once.

    Example:
        >>> from comfy_async.web import Limits, routes
        >>> site = routes("portrait.json", comfy, limits=Limits(open_jobs=20, open_jobs_per_client=2))
        >>> site.limits.open_jobs
        20
    """

    open_jobs: int = 100
    open_jobs_per_client: int = 10
    body_bytes: int = 64 * _MEBIBYTE
    fields: int = 200
    upload_seconds: float = 300.0
    retry_seconds: float = 10.0
    readers: int = 2000
    readers_per_job: int = 100
    unread_events: int = 1000
    stalled_seconds: float = 60.0
    keep_alive_seconds: float = 15.0
    leave_seconds: float = 15.0
    kept_jobs: int = 1000
    kept_seconds: float = 3600.0
    lookups: int = 8

    def __post_init__(self) -> None:
        """Refuse what would let nothing through.

        Raises:
            ValueError: A limit is not above zero.
        """
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} must be above 0, not {getattr(self, field.name)!r}")
