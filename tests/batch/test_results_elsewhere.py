"""Results files and servers: of another one, and of one whose files have become those of other jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from session_tools import fast, picture

from comfy_async import ComfyPool, ComfySession, JobError, NotFoundError, OutputFile, SaveError, Workflow
from comfy_async._base.tasks import closed_when_left
from comfy_async._batch.items import _place
from comfy_async._batch.kept_files import KeptFiles
from comfy_async._protocol.snapshot import HistoryEntry
from comfy_async.testing import FakeComfy

FLOWS = [Workflow.load(picture(color)) for color in (1, 2)]


async def run_all(comfy: ComfySession | ComfyPool, path: Path, **options: Any) -> list[str]:
    """Take a batch to its end."""
    async with comfy.map(FLOWS, results=path, ordered=True, limit=1, **options) as finished:
        return [job.status async for job in finished]


async def files_of(comfy: ComfySession, path: Path) -> list[OutputFile]:
    """The files of a batch that had ended before."""
    async with comfy.map(FLOWS, results=path, ordered=True) as finished:
        return [(await job).files[0] async for job in finished]


class TestAnotherServer:
    """The files are where the jobs ran."""

    async def test_it_is_refused(self, fake: FakeComfy, tmp_path: Path) -> None:
        """Nothing is sent, nothing is written, and the error names the servers and the choice."""
        path = tmp_path / "r.jsonl"
        async with fake.session() as comfy:
            await run_all(comfy, path)
        before = path.read_bytes()
        async with FakeComfy() as other, other.session() as comfy:
            with pytest.raises(ValueError, match="results_elsewhere") as caught:
                await run_all(comfy, path)
            assert f"2 of {fake.url}" in str(caught.value)
            assert not other.books.accepted
            assert path.read_bytes() == before
            # The file is free again.
            assert await run_all(comfy, path, results_elsewhere="keep") == ["completed"] * 2
            assert not other.books.accepted
            assert await run_all(comfy, path, results_elsewhere="rerun") == ["completed"] * 2
            assert len(other.books.accepted) == 2
            # From now on they are known as this server's.
            assert await run_all(comfy, path) == ["completed"] * 2
            assert len(other.books.accepted) == 2

    async def test_another_name_of_this_machine(self, fake: FakeComfy, tmp_path: Path) -> None:
        """127.0.0.1 and localhost are one."""
        path = tmp_path / "r.jsonl"
        async with fake.session() as comfy:
            await run_all(comfy, path)
        async with ComfySession(fake.url.replace("127.0.0.1", "localhost")) as comfy:
            assert await run_all(comfy, path) == ["completed"] * 2
        assert len(fake.books.accepted) == 2

    async def test_what_may_still_run_there(self, fake: FakeComfy, tmp_path: Path) -> None:
        """A job that was under way there is as much of a reason."""
        path = tmp_path / "r.jsonl"
        fake.hold()
        async with fast(fake) as comfy:
            batch = comfy.map(FLOWS, results=path)
            await batch.__aenter__()
            await fake.wait_for(lambda books: len(books.accepted) == 2)
            await comfy.aclose()
            await batch.__aexit__(None, None, None)
        async with FakeComfy() as other, other.session() as comfy:
            with pytest.raises(ValueError, match="2 of"):
                await run_all(comfy, path)
        fake.release()

    async def test_a_pool_asks_that_server(self, fake: FakeComfy, tmp_path: Path) -> None:
        """It reads the files where they are, though that server gets no more jobs."""
        path = tmp_path / "r.jsonl"
        async with fake.session() as comfy:
            await run_all(comfy, path)
        async with FakeComfy() as other, ComfyPool([other.url]) as pool:
            async with pool.map(FLOWS, results=path) as finished:
                saved = [await (await job).save(tmp_path / "out") async for job in finished]
            assert len({path for paths in saved for path in paths}) == 2
            assert not other.books.accepted

    async def test_an_unknown_word(self, comfy: ComfySession, tmp_path: Path) -> None:
        """It is named."""
        with pytest.raises(ValueError, match="results_elsewhere is"):
            await run_all(comfy, tmp_path / "r.jsonl", results_elsewhere="run")


class TestOtherFiles:
    """The same address, and outputs that were cleared meanwhile."""

    async def test_the_files_of_others(self, tmp_path: Path, free_port: int) -> None:
        """They carry the prompts of other jobs: none is taken for this batch's, however it is read."""
        path = tmp_path / "r.jsonl"
        async with FakeComfy(port=free_port) as fake, fake.session() as comfy:
            await run_all(comfy, path)
        async with FakeComfy(port=free_port) as fake, fake.session() as comfy:
            for color in (7, 8):
                await comfy.run(picture(color))
            first, second = await files_of(comfy, path)
            for reading in (first.read(), second.save(tmp_path / "one.png"), anext(first.stream())):
                with pytest.raises(JobError, match="carries the prompt of another") as caught:
                    await reading
                assert "results file" in str(caught.value)
            assert not (tmp_path / "one.png").exists()
            async with comfy.map(FLOWS, results=path) as finished:
                async for job in finished:
                    with pytest.raises((SaveError, JobError), match="carries the prompt of another"):
                        await (await job).save(tmp_path / "out")
            assert not list((tmp_path / "out").iterdir())

    async def test_files_that_are_gone(self, tmp_path: Path, free_port: int) -> None:
        """It is the results file that says they are there: the error names it, and the way on."""
        path = tmp_path / "r.jsonl"
        async with FakeComfy(port=free_port) as fake, fake.session() as comfy:
            await run_all(comfy, path)
        async with FakeComfy(port=free_port) as fake, fake.session() as comfy:
            first, second = await files_of(comfy, path)
            for reading in (first.read(), second.save(tmp_path / "one.png"), anext(first.stream())):
                with pytest.raises(JobError, match="no longer has the file") as caught:
                    await reading
                assert isinstance(caught.value.__cause__, NotFoundError)
                assert 'results_missing="rerun"' in str(caught.value)

    async def test_after_a_restart(self, fake: FakeComfy, tmp_path: Path) -> None:
        """A server that has only forgotten its history still has the files, and they are taken."""
        path = tmp_path / "r.jsonl"
        async with fake.session() as comfy:
            await run_all(comfy, path)
            await fake.faults.restart(history=False)
            for file in await files_of(comfy, path):
                assert (await file.save(tmp_path / "out")).stat().st_size == len(await file.read())

    @pytest.mark.parametrize("client", [ComfySession, lambda url: ComfyPool([url])], ids=["session", "pool"])
    async def test_gone_files_are_made_again(
        self, tmp_path: Path, free_port: int, client: Callable[[str], Any]
    ) -> None:
        """By choice the files are looked at first: of two, one is there and one is another job's by now."""
        path = tmp_path / "r.jsonl"
        async with FakeComfy(port=free_port) as fake, client(fake.url) as comfy:
            await run_all(comfy, path)
        async with FakeComfy(port=free_port) as fake, client(fake.url) as comfy:
            await comfy.run(FLOWS[0])
            await comfy.run(picture(9))
            assert await run_all(comfy, path, results_missing="rerun") == ["completed"] * 2
            assert len(fake.books.accepted) == 3
            async with comfy.map(FLOWS, results=path, results_missing="rerun") as finished:
                saved = [await (await job).save(tmp_path / "out") async for job in finished]
            assert len({path for paths in saved for path in paths}) == 2
            assert len(fake.books.accepted) == 3

    async def test_failures_are_run_again(self, fake: FakeComfy, tmp_path: Path) -> None:
        """By choice; else they fail as they did, and nothing is asked."""
        path = tmp_path / "r.jsonl"
        fake.fail_node("SaveImage", "it broke", count=1)
        async with fake.session() as comfy:
            assert await run_all(comfy, path) == ["failed", "completed"]
            assert await run_all(comfy, path) == ["failed", "completed"]
            assert len(fake.books.accepted) == 2
            assert await run_all(comfy, path, results_failed="rerun") == ["completed"] * 2
            assert len(fake.books.accepted) == 3

    @pytest.mark.parametrize("size", [10, 5 << 20])
    async def test_a_prompt_that_a_node_changed(self, fake: FakeComfy, size: int) -> None:
        """The history vouches for it; where that is gone, nobody does."""
        async with fake.session() as comfy:
            data = await (await comfy.run(picture(3))).images[0].read() + bytes(size)

        class Reader:
            """Stands for the session's files."""

            async def open(self, *_: Any, **__: Any) -> AsyncIterator[bytes]:
                for start in range(0, len(data), 1 << 20):
                    yield data[start : start + (1 << 20)]

        asked: list[str] = []
        entry: HistoryEntry | None = HistoryEntry("id", True, (), {}, {}, {}, {})

        async def history(prompt_id: str) -> HistoryEntry | None:
            asked.append(prompt_id)
            return entry

        async def read(graph: dict[str, Any]) -> bytes:
            files = KeptFiles(Reader(), graph, prompt_id="id", server="s", history=history)  # type: ignore[arg-type]
            return b"".join([chunk async for chunk in files.open("a.png")])

        assert await read(picture(3)) == data
        assert asked == []
        assert await read(picture(4)) == data
        assert asked == ["id"]
        entry = None
        with pytest.raises(JobError, match="carries the prompt of another"):
            await read(picture(4))

    async def test_who_leaves_early_leaves_nothing_open(self) -> None:
        """The inner stream ends with the outer one, not when it is collected."""
        ended: list[str] = []

        class Reader:
            """Stands for the session's files."""

            async def open(self, name: str, **_: Any) -> AsyncIterator[bytes]:
                try:
                    for _number in range(9):
                        yield bytes(1 << 20)
                finally:
                    ended.append(name)

        files = KeptFiles(Reader(), {}, prompt_id="id", server="s", history=None)  # type: ignore[arg-type]
        chunks = files.open("a.png")
        async with closed_when_left(chunks):
            await anext(chunks)
            assert ended == []
        assert ended == ["a.png"]

    async def test_numbers_that_the_server_reads_from_text(self, fake: FakeComfy) -> None:
        """They are the same number."""
        as_text = picture(3)
        as_text["1"]["inputs"]["width"] = "16"
        async with fake.session() as comfy:
            data = await (await comfy.run(picture(3))).images[0].read()
        files = KeptFiles(None, as_text, prompt_id="id", server="s", history=None)  # type: ignore[arg-type]
        await files._demand_mine(data, "a.png")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://127.0.0.1:8188", "http://localhost:8188/", True),
        ("http://[::1]:8188", "http://localhost:8188", True),
        ("http://127.0.0.1:8188", "http://127.0.0.1:8189", False),
        ("http://127.0.0.1:8188", "https://127.0.0.1:8188", False),
        ("http://10.0.0.7:8188", "http://10.0.0.8:8188", False),
        ("http://10.0.0.7:8188/a", "http://10.0.0.7:8188/b", False),
        ("http://10.0.0.7:8188", "http://localhost:8188", False),
        ("no url", "no url", True),
    ],
)
def test_the_names_of_a_server(one: str, other: str, same: bool) -> None:
    """This machine has several; ports, schemes, hosts and paths tell servers apart."""
    assert (_place(one) == _place(other)) is same
