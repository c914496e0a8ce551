"""Keys reach the workers, and stand in nothing that is shown on the way."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import ray.cloudpickle
from session_tools import picture, steps

from comfy_async import Auth, AuthError, JobFailedError, Settings
from comfy_async._base.secrets import Secret
from comfy_async.ray import ComfyFleet
from comfy_async.ray._messages import Parcel
from comfy_async.testing import FakeComfy, Gatekeeper

KEYS = ("api-s3cret", "partner-s3cret", "url-s3cret", "bearer-s3cret", "proxy-s3cret")
SESSION = {
    "api_key": KEYS[0],
    "partner_api_key": KEYS[1],
    "auth": Auth.bearer(KEYS[3]),
    "settings": Settings(proxy=f"http://me:{KEYS[4]}@127.0.0.1:9"),
}


def shown(thing: Any, depth: int = 4) -> Iterator[str]:
    """Yield the reprs of an object and of all that it holds."""
    yield repr(thing)
    if depth:
        for inner in vars(thing).values() if hasattr(thing, "__dict__") else ():
            yield from shown(inner, depth - 1)
        for inner in thing if isinstance(thing, tuple | list) else ():
            yield from shown(inner, depth - 1)


def test_no_repr_shows_a_key() -> None:
    """Neither that of the fleet or anything in it, nor those of what it is pickled as."""
    fleet = ComfyFleet(f"http://me:{KEYS[2]}@127.0.0.1:9", session=SESSION)
    for one in (fleet, pickle.loads(pickle.dumps(fleet))):
        text = "\n".join([*shown(one), *shown(one.__reduce__())])
        assert not [key for key in KEYS if key in text]


def test_a_parcel_arrives_as_what_is_in_it() -> None:
    """By Ray's pickle and Python's; secrets, which refuse to be pickled, are secrets again."""
    value: dict[str, Any] = {"key": Secret("s3cret"), "settings": SESSION["settings"], "plain": [1]}
    parcel = Parcel(value)
    assert "s3cret" not in repr(parcel)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(value)
    for packed in (pickle.dumps(parcel), ray.cloudpickle.dumps(parcel)):  # type: ignore[no-untyped-call]
        twin = pickle.loads(packed)
        assert twin["key"] == value["key"]
        assert twin["plain"] == [1]
        assert twin["settings"].proxy == Secret(f"http://me:{KEYS[4]}@127.0.0.1:9")
        assert "s3cret" not in repr(twin)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("how", ["api_key", "address", "auth"])
async def test_keys_reach_the_workers(how: str) -> None:
    """From the constructor, and through a pickle of a fleet that hires its workers elsewhere."""
    key = {"X-API-Key": "api-s3cret"}
    gate = Gatekeeper(basic=("me", "pass-s3cret"), bearer="bearer-s3cret", headers=key)
    async with FakeComfy(auth=gate) as fake:
        url = fake.url.replace("//", "//me:pass-s3cret@") if how == "address" else fake.url
        known = {"api_key": "api-s3cret", "auth": Auth.bearer("bearer-s3cret")}
        with pytest.raises(AuthError):
            await ComfyFleet(fake.url).connect()
        fleet = ComfyFleet(url, session={how: known[how]} if how in known else None)
        async with pickle.loads(pickle.dumps(fleet)) as twin:
            assert (await twin.run(picture(1))).images
            assert twin.servers == [fake.url]


async def test_keys_of_partner_nodes(team: Any) -> None:
    """A job's own key beats the fleet's; what the server says of either is veiled."""
    async with team(limit=None) as (fleet, fake):
        fake.hold()
        mine = ComfyFleet(workers=fleet.workers, limit=None, session={"partner_api_key": "fleet-s3cret"})
        async with mine:
            first = await mine.submit(picture(1))
            await mine.submit(picture(2), partner_api_key="job-s3cret")
            sent = [item.sensitive.get("api_key_comfy_org") for item in fake.core.queue.pending]
            assert sent == ["fleet-s3cret", "job-s3cret"]
            fake.release()
            await first
            graph = steps(fake, 1, error=("ValueError", "it said fleet-s3cret and job-s3cret"))
            job = await mine.submit(graph)
            with pytest.raises(JobFailedError):
                await job
            html = job._repr_html_()
    assert "it said" in html
    assert "s3cret" not in html
