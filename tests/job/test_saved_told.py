"""`on_saved`: hooks hear of every file of a job that is saved, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from session_tools import picture
from store_tools import store  # noqa: F401 - a fixture

from comfy_async import ComfyPool, Job, OutputFile
from comfy_async.testing import FakeComfy
from comfy_async.types import FileUrl

pytestmark = pytest.mark.usefixtures("store")


class Places:
    """Writes down what is saved."""

    def __init__(self, *, broken: bool = False) -> None:
        self.told: list[tuple[Job, OutputFile, Path | FileUrl]] = []
        self._broken = broken

    def on_saved(self, job: Job, file: OutputFile, place: Path | FileUrl) -> None:
        self.told.append((job, file, place))
        if self._broken:
            raise RuntimeError("the book is full")


async def test_each_file_and_its_place(fake: FakeComfy, tmp_path: Path) -> None:
    """By the result and by the file, on the disk and in a store, and what was there already."""
    book = Places()
    async with fake.session(hooks=[book]) as comfy:
        job = await comfy.submit(picture())
        result = await job
        paths = await result.save(tmp_path)
        await result.save(tmp_path)
        urls = await result.save("memory://out")
        lone = await result.files[0].save("memory://lone/")
    assert [place for _, _, place in book.told] == [*paths, *paths, *urls, lone]
    assert {id(told) for told, _, _ in book.told} == {id(job)}
    assert {file for _, file, _ in book.told} == set(result.files)


async def test_what_was_not_saved_is_not_told(fake: FakeComfy, tmp_path: Path) -> None:
    """And a hook that fails is logged, and spoils nothing."""
    book = Places(broken=True)
    async with fake.session(hooks=[book]) as comfy:
        result = await comfy.run(picture())
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OSError, match="file"):
            await result.save(tmp_path / "file" / "out")
        assert not book.told
        assert len(await result.save(tmp_path)) == 1
    assert len(book.told) == 1


@pytest.mark.parametrize("of", ["session", "pool"])
async def test_jobs_of_a_batch(fake: FakeComfy, tmp_path: Path, of: str) -> None:
    """Also of those that a results file has, which run no more."""
    for _ in range(2):
        book = Places()
        client: Any = fake.session(hooks=[book]) if of == "session" else ComfyPool([fake.url], hooks=[book])
        async with client, client.map([picture(1), picture(2)], results=tmp_path / "r.jsonl") as finished:
            async for job in finished:
                await (await job).save(tmp_path / "out")
        assert sorted(job.index for job, _, _ in book.told if job.index is not None) == [0, 1]
        assert {place.name for _, _, place in book.told} == {"pic_00001_.png", "pic_00002_.png"}
    assert len(fake.books.accepted) == 2


async def test_attached_to_after_its_end(fake: FakeComfy, tmp_path: Path) -> None:
    """In another session."""
    async with fake.session() as comfy:
        job = await comfy.submit(picture())
        await job
    book = Places()
    async with fake.session(hooks=[book]) as comfy:
        again = await comfy.attach(job.prompt_id)
        await (await again).save(tmp_path)
    assert [told for told, _, _ in book.told] == [again]
