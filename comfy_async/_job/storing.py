"""One file to a store behind fsspec: streamed, whole or not at all, and nothing overwritten."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, Final, TypeVar

from .._base.backoff import Backoff
from .._base.hand import Hand
from .._base.secrets import Secret
from .._base.stores import CHUNK, Draft, Store
from ..errors import ComfyError
from ..types import FileUrl

__all__ = ["has_all", "open_store", "probe", "store_at"]

_T = TypeVar("_T")

_log = logging.getLogger("comfy_async")

_TRIES: Final = 4
_FIRST_PAUSE_S: Final = 0.2

# Which names this process is about to give, in which store: looking first is all that some can do.
_LOCK: Final = threading.Lock()
_TAKEN: Final[set[tuple[int, str]]] = set()


async def open_store(
    place: Any, options: Secret[Mapping[str, Any]] | None, *, name: str | None = None, lone: str = ""
) -> tuple[Store, str | None]:
    """Return the folder that a URL or an fsspec object means, and the name or pattern in it, if it has one.

    Args:
        place: The URL or the object.
        options: What the file system is made with.
        name: A pattern that was given beside it: then the place is a folder.
        lone: The name that a single file gets in a folder; "" for several.

    Raises:
        ImportError: fsspec, or what it needs for this scheme, is not installed.
        OSError: The store refuses.
        ValueError: The scheme is unknown.
    """

    def opened() -> tuple[Store, str | None]:
        store = Store.at(place, options)
        if name is not None or store.is_folder:
            return store, name or lone or None
        return store.above()

    return await _asked(opened)


async def probe(place: Any, options: Secret[Mapping[str, Any]] | None = None) -> None:
    """Check that something can be written to a place; leaves nothing behind.

    Raises:
        ImportError: fsspec, or what it needs for this scheme, is not installed.
        OSError: Nothing can.
        ValueError: The scheme is unknown.
    """

    def probed() -> None:
        store = Store.at(place, options)
        (store if store.is_folder else store.above()[0]).probe()

    await _asked(probed)


async def has_all(folder: str, urls: Sequence[str]) -> bool:
    """Say whether a folder of a store has all of these files.

    Raises:
        OSError: It cannot be asked.
    """

    def asked() -> bool:
        store = Store.at(folder, None)
        start = len(store.url.rstrip("/")) + 1
        return all(store.has(store.at_name((url[start:],))[0]) for url in urls)

    return await _asked(asked)


async def _asked(work: Callable[[], _T]) -> _T:
    """Call a store, in a thread that is not waited for when it hangs."""
    hand = Hand("comfy_async store")
    try:
        return await hand.call(work)
    finally:
        await hand.end()


async def store_at(
    store: Store,
    parts: tuple[str, ...],
    fetch: Callable[[], AsyncGenerator[bytes, None]],
    *,
    kept: set[FileUrl] | None = None,
    overwrite: bool = False,
) -> FileUrl:
    """Stream a file into a store under a name, or the next free one, and return its URL.

    Raises:
        ComfyError: The server does not give it.
        OSError: The store would not take it.
    """
    kept = set() if kept is None else kept
    hand = Hand("comfy_async store")
    saving = _Saving(hand, store, fetch, kept=kept, overwrite=overwrite)
    try:
        return await saving.run(parts)
    finally:
        if not await hand.end(saving.tidy):
            _log.warning(
                "%s does not answer: a part of a file that was not saved may be left there", store.url
            )


class _Saving:
    """One file on its way."""

    def __init__(
        self,
        hand: Hand,
        store: Store,
        fetch: Callable[[], AsyncGenerator[bytes, None]],
        *,
        kept: set[FileUrl],
        overwrite: bool,
    ) -> None:
        """Prepare; nothing is asked or sent."""
        self._hand = hand
        self._store = store
        self._fetch = fetch
        self._kept = kept
        self._overwrite = overwrite
        self._draft: Draft | None = None

    async def run(self, parts: tuple[str, ...]) -> FileUrl:
        """Save it under the first name that is free, or take the file that holds the very same."""
        there: list[tuple[str, str]] = []
        for path, url in _names(self._store, parts):
            with _claimed(self._store, path) as is_ours:
                if self._overwrite:
                    await self._streamed(path)
                    await self._hand.call(self._commit)
                    self._kept.add(FileUrl(url))
                    return FileUrl(url)
                if not is_ours:
                    continue
                if await self._hand.call(self._store.has, path):
                    there.append((path, url))
                    continue
                same = await self._same(await self._streamed(path), there)
                if same is not None or await self._hand.call(self._commits):
                    saved = FileUrl(same or url)
                    self._kept.add(saved)
                    return saved
                there.clear()
        raise AssertionError("there is always another number")

    async def _same(self, draft: Draft, there: Sequence[tuple[str, str]]) -> str | None:
        """Return the URL of a file that was there before and holds the very same, None when none does."""
        for path, url in there:
            if url not in self._kept and await self._hand.call(
                self._store.holds, path, size=draft.size, digest=draft.digest
            ):
                return url
        return None

    async def _streamed(self, path: str) -> Draft:
        """Write the whole file, without giving it its name; begin again when the connection breaks.

        Raises:
            ComfyError: The server does not give it.
            OSError: The store would not take it.
        """
        backoff = Backoff(first=_FIRST_PAUSE_S, cap=5.0)
        while True:
            # The store first: what it refuses need not be fetched.
            draft = await self._hand.call(self._begin, path)
            try:
                async with aclosing(self._fetch()) as chunks:
                    await self._copy(chunks, draft)
            except ComfyError as error:
                if not error.retryable or backoff.tries >= _TRIES:
                    raise
                await self._hand.call(self.tidy)
                await asyncio.sleep(backoff.next())
            else:
                return draft

    async def _copy(self, chunks: AsyncIterator[bytes], draft: Draft) -> None:
        """Write what comes; one batch is written while the next one comes."""
        batch: list[bytes] = []
        size = 0
        writing: asyncio.Future[None] | None = None
        async for chunk in chunks:
            batch.append(chunk)
            size += len(chunk)
            if size >= CHUNK:
                if writing is not None:
                    await writing
                writing = self._hand.start(draft.write, batch)
                batch, size = [], 0
        if writing is not None:
            await writing
        if batch:
            await self._hand.call(draft.write, batch)

    # In the thread.

    def _begin(self, path: str) -> Draft:
        """Begin a file."""
        self._draft = Draft(self._store, path, overwrite=self._overwrite)
        return self._draft

    def _commit(self) -> None:
        """Give it its name."""
        assert self._draft is not None
        self._draft.commit()

    def _commits(self) -> bool:
        """Give it its name; False, and nothing of it is left, when another was faster."""
        try:
            self._commit()
        except FileExistsError:
            self.tidy()
            return False
        return True

    def tidy(self) -> None:
        """Discard what was not committed, in the thread."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.discard()


def _names(store: Store, parts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield path and URL of a name, and then of its numbers: `cat (1).png`."""
    yield store.at_name(parts)
    stem, dot, ending = parts[-1].rpartition(".")
    if not stem:
        stem, dot, ending = parts[-1], "", ""
    for count in itertools.count(1):
        yield store.at_name((*parts[:-1], f"{stem} ({count}){dot}{ending}"))


@contextmanager
def _claimed(store: Store, path: str) -> Iterator[bool]:
    """Hold a name against the other savers of this process; False when one of them holds it."""
    key = (id(store.fs), path)
    with _LOCK:
        is_ours = key not in _TAKEN
        _TAKEN.add(key)
    try:
        yield is_ours
    finally:
        if is_ours:
            with _LOCK:
                _TAKEN.discard(key)
