"""The source `store` keeps the contract of sources."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nexus_store.source import StoreSource

from nexus_core import Item, Source, Store
from nexus_core.testing import SourceContract


def add(folder: Path, texts: Sequence[str]) -> None:
    """Add texts to the context `notes`, in a loop and a thread of their own: the suite's loop is running."""

    async def written() -> None:
        async with Store(folder) as store:
            if not await store.contexts():
                await store.create("notes")
            await store.add("notes", [Item(id=f"{n}-{text[:20]}", text=text) for n, text in enumerate(texts)])

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(written())).result()


class TestStoreSource(SourceContract):
    query = "ferry stands quoted word"

    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        add(folder, texts)
        return StoreSource(context="notes", path=str(folder))

    def make_broken(self, folder: Path) -> Source:
        add(folder, ["The ferry leaves at nine."])
        return StoreSource(context="letters", path=str(folder))

    def change(self, folder: Path) -> None:
        add(folder, ["The ferry leaves at ten."])
