"""What submitting, attaching and preparing need of the session."""

from __future__ import annotations

from typing import Protocol

from .._base.cleanups import Work
from .._job.core import JobCore, Owner
from .._protocol.meter import Timings
from .._protocol.plan import Plans
from .._resources.access import Resources
from .._resources.host import Host
from ..errors import SessionClosedError
from ..types import JobStatus
from .cancel import Canceller
from .link import Link
from .open_jobs import OpenJobs
from .poller import Poller
from .router import Router

__all__ = ["Desk"]


class Desk(Host, Owner, Protocol):
    """The engine of a session, as submitting and attaching see it.

    Attributes:
        jobs: The open jobs.
        router: What brings them their events.
        link: The socket.
        poller: What finds by HTTP what the socket does not say.
        canceller: What stops jobs.
        resources: The rest of the server.
        plans: What the graphs of earlier jobs were going to do.
        timings: How long their nodes took.
    """

    jobs: OpenJobs
    router: Router
    link: Link
    poller: Poller
    canceller: Canceller
    resources: Resources
    plans: Plans
    timings: Timings

    async def cancel(self, job: JobCore) -> JobStatus:
        """Stop a job on the server and return its true end."""
        ...

    async def clean_up(self, work: Work[None], *, name: str) -> None:
        """Do something to its end, however often its caller is cancelled."""
        ...

    def closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after the end."""
        ...
