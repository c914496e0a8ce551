"""`comfy-async doctor`: everything between here and the server, each with what to do about it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from .._client.session import engine_of
from ..types import counted
from ._connection import Connection
from ._doctor_job import look_at_job
from ._failure import EXIT_FAILED, describe
from ._fake import fake_server
from ._finding import Finding
from ._interrupt import Interrupts
from ._tables import has_colours, screen_width

if TYPE_CHECKING:
    from comfy_async import ComfyError, ComfySession

    from ._report import Report

__all__ = ["examine", "examine_fake"]

_PINGS: Final = 5
_SLOW_S: Final = 0.5
_HEARING_S: Final = 8.0


async def examine(connection: Connection, report: Report) -> int:
    """Check everything, print each finding as it comes, and return 1 when one is red."""
    return await _report_all(_findings(connection), report)


async def examine_fake(connection: Connection, report: Report, interrupts: Interrupts) -> int:
    """Check an embedded FakeComfy: whether this side works with a server that surely does.

    Raises:
        MissingExtraError: The extra `testing` is not installed.
    """
    fake = fake_server()
    interrupts.last_words.append(fake.folders.remove)
    async with fake:
        there = dataclasses.replace(connection, server=fake.url, cloud=False)
        return await _report_all(_findings(there, embedded=True), report)


async def _report_all(findings: AsyncIterator[Finding], report: Report) -> int:
    """Print each finding as it comes, and return 1 when one is red."""
    bad = False
    async for finding in findings:
        bad |= finding.state == "failed"
        text = finding.lines(width=screen_width(), colours=has_colours())
        fields = {"event": "check", **dataclasses.asdict(finding)}
        report.item(fields, text, colours=True, bad=finding.state == "failed")
    told = "something is wrong; see above" if bad else "everything works"
    report.item({"event": "examined", "ok": not bad}, told)
    return EXIT_FAILED if bad else 0


async def _findings(connection: Connection, *, embedded: bool = False) -> AsyncIterator[Finding]:
    """Yield the findings in an order in which each rests on those before."""
    from comfy_async import ComfyError

    yield _here()
    try:
        session = connection.session()
    except ComfyError as error:
        # What the environment says of proxies is read here.
        yield _failed("address", error)
        yield Finding("the rest", "skipped", "it needs a connection to the server")
        return
    yield _address(connection, session, embedded=embedded)
    yield _proxies(session)
    try:
        try:
            await session.connect()
        except ComfyError as error:
            yield _failed("reached", error)
            yield Finding("the rest", "skipped", "it needs a server that answers")
            return
        yield _reached(session)
        plain = (_version, _devices, _latency, _socket, _flags)
        for look in plain if engine_of(session).api.has_routes else (_version, _latency_v2, _limits):
            yield await _guarded(look, session)
        async for finding in look_at_job(session):
            yield finding
    finally:
        await session.aclose()


async def _guarded(look: object, session: ComfySession) -> Finding:
    """Run one check; its own failure is a finding."""
    from comfy_async import ComfyError, UnsupportedError

    name = getattr(look, "__name__", "").strip("_")
    try:
        return await look(session)  # type: ignore[operator,no-any-return]
    except UnsupportedError as error:
        # What an old server never had is no fault of the way to it.
        return dataclasses.replace(_failed(name, error), state="warning")
    except ComfyError as error:
        return _failed(name, error)


def _failed(name: str, error: ComfyError) -> Finding:
    """Return an error as a finding."""
    failure = describe(error)
    assert failure is not None
    return Finding(name, "failed", failure.message, failure.hint)


def _here() -> Finding:
    """Say what runs here."""
    import comfy_async

    text = f"comfy-async {comfy_async.__version__}, Python {platform.python_version()}, {platform.system()}"
    return Finding("here", "ok", text)


def _address(connection: Connection, session: ComfySession, *, embedded: bool) -> Finding:
    """Say which server it is, and who named it."""
    if embedded:
        who = "--fake, a FakeComfy in this process"
    elif connection.server is not None:
        who = "--server"
    elif connection.cloud:
        who = "--cloud"
    else:
        named = [name for name in ("COMFY_LOCAL_URL", "COMFY_BASE_URL") if os.environ.get(name, "").strip()]
        who = named[0] if named else "the default; --server or COMFY_LOCAL_URL name another"
    given = [
        word
        for word, is_given in (
            ("an API key", connection.api_key or connection.cloud),
            ("further headers", connection.header),
            ("credentials of the URL", "@" in (connection.server or "")),
        )
        if is_given
    ]
    return Finding(
        "address", "ok", f"{session.base_url} ({who}), with {', '.join(given) or 'no credentials'}"
    )


def _proxies(session: ComfySession) -> Finding:
    """Say whether requests take a proxy; HTTP and WebSocket take the same."""
    import urllib.request

    proxy = engine_of(session).http.proxy
    if proxy is not None:
        advice = f"If that is wrong: NO_PROXY={urlsplit(session.base_url).hostname}"
        return Finding("proxy", "ok", f"through {proxy}, HTTP and WebSocket alike", advice)
    if urllib.request.getproxies().get(urlsplit(session.base_url).scheme):
        return Finding("proxy", "ok", "the environment's proxy is not used for this address")
    return Finding("proxy", "ok", "none is used for this address")


async def _version(session: ComfySession) -> Finding:
    """Say which version it is, and what that lacks."""
    from comfy_async._dialects.server import CAPABILITIES

    server = session.server
    if server.dialect != "comfyui":
        return Finding("version", "ok", "Comfy Cloud" if server.cloud else "Comfy API v2 does not say it")
    lacking = [name for name in CAPABILITIES if not server.can(name)]
    if not server.version:
        return Finding("version", "warning", "the server does not say", "It is older than 0.3; update it.")
    if lacking:
        needs = functools.reduce(_later, (CAPABILITIES[name] for name in lacking))
        text = f"ComfyUI {server.version}, without {', '.join(lacking).replace('_', ' ')}"
        return Finding("version", "warning", text, f"Works all the same; {needs} has everything.")
    return Finding("version", "ok", f"ComfyUI {server.version}")


async def _devices(session: ComfySession) -> Finding:
    """Say what it runs on, and how full it is."""
    if session.server.dialect == "cloud-v1":
        return Finding("devices", "skipped", "the cloud does not show them")
    stats = await session.system.stats()
    if not stats.devices:
        return Finding("devices", "warning", "the server names none", "Look into its log: comfy-async logs")
    texts = []
    for device in stats.devices:
        memory = ""
        if device.vram_total and device.vram_free is not None:
            memory = f", {device.vram_free / 1e9:.1f} of {device.vram_total / 1e9:.1f} GB free"
        texts.append(f"{device.name or device.type}{memory}")
    return Finding("devices", "ok", "; ".join(texts))


async def _latency(session: ComfySession) -> Finding:
    """Measure the cheapest request."""
    taken = []
    remaining = 0
    for _ in range(_PINGS):
        began = time.perf_counter()
        remaining = await session.queue.remaining()
        taken.append(time.perf_counter() - began)
    median = statistics.median(taken)
    text = f"{median * 1000:.1f} ms to the server and back, {counted(remaining, 'job')} in its queue"
    if median < _SLOW_S:
        return Finding("latency", "ok", text)
    return Finding("latency", "warning", text, "The network is slow, or the server is busy loading a model.")


async def _latency_v2(session: ComfySession) -> Finding:
    """Measure the cheapest request of API v2; it does not say how busy the server is."""
    taken = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        await engine_of(session).api.ping()
        taken.append(time.perf_counter() - began)
    return Finding("latency", "ok", f"{statistics.median(taken) * 1000:.1f} ms to the server and back")


async def _limits(session: ComfySession) -> Finding:
    """Say which limits hold for a server of API v2."""
    settings = session.settings
    text = (
        f"at most {settings.streams} jobs are followed live, the others polled; "
        f"a busy server is waited for {settings.busy_seconds:g} s; uploads of about 100 MB"
    )
    return Finding("limits", "ok", text)


def _reached(session: ComfySession) -> Finding:
    """Say what answers, and which dialect is used."""
    engine = engine_of(session)
    where = f"routes are under {engine.http.prefix or '/'}" if engine.api.has_routes else "no other routes"
    what = "a ComfyUI" if engine.api.has_routes else "Comfy API v2"
    return Finding("reached", "ok", f"{what} answers (dialect {engine.api.name}); {where}")


async def _socket(session: ComfySession) -> Finding:
    """Check that the WebSocket opens, and that it receives messages: neither proves the other."""
    events = session.events()
    try:
        async with asyncio.timeout(_HEARING_S):
            while session.connection.state in {"idle", "connecting"}:
                await engine_of(session).link.settled(_HEARING_S)
    except TimeoutError:
        pass
    finally:
        await events.aclose()
    now = session.connection
    if now.state == "hearing":
        return Finding("socket", "ok", "the WebSocket receives messages")
    return Finding(
        "socket",
        "warning" if now.state == "stalled" else "failed",
        f"the WebSocket receives nothing: {now.reason or now.state}; polling works without it",
        "A gateway must pass WebSocket upgrades on /ws with their headers (nginx: proxy_set_header Upgrade).",
    )


async def _flags(session: ComfySession) -> Finding:
    """Say what the server announced."""
    from comfy_async import UnsupportedError

    try:
        flags = session.server.features or await session.system.features()
    except UnsupportedError as error:
        advice = f"ComfyUI {error.needs} and later do; it works all the same." if error.needs else ""
        return Finding("flags", "warning", "the server announces none", advice)
    if not flags:
        return Finding("flags", "warning", "the server announces none")
    size = flags.get("max_upload_size")
    shown = f"uploads up to {size / 1e6:.0f} MB, " if isinstance(size, int | float) else ""
    return Finding("flags", "ok", f"{shown}{len(flags)} flags: {', '.join(sorted(flags))}")


def _later(version: str, other: str) -> str:
    """Return the later one of two versions."""
    from comfy_async._dialects.server import is_before

    return other if is_before(version, other) else version
