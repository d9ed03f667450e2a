"""What the parts of the store suite share: where stores are, how they are opened, and how one is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from nexus_core.contract.values import Item
from nexus_core.store.database.server_paths import CACHE_VARIABLE
from nexus_core.store.store import Store
from nexus_core.testing.contracts.suite import Contract

TEXTS = ("rope and sail", "a gull on the sail", "the baker's bread", "50 % of a rope, what?", "Ünïcode Straße")
ITEMS = [
    Item(id=f"n{number}", title=f"Note {number}", text=text, kind="note", tags=("all", f"t{number}"),
         metadata={"year": 2020 + number, "links": ["n0"] if number == 1 else []}, source=f"file:{number}")
    for number, text in enumerate(TEXTS)
]  # fmt: skip
"""What most tests put into a store."""


class StoreSuite(Contract):
    """Opens stores for the tests; what they derive from rows, and their originals, is in folders of the test."""

    hooks = frozenset({"absent", "url", "lose"})
    capabilities: ClassVar[dict[str, str]] = {"loss": "a connection can be lost while the process goes on"}

    def url(self) -> str:
        """Return the URL of an empty store, of another one each time."""
        raise AssertionError("define url(self): return the URL of an empty store, of another one each time")

    def lose(self, url: str) -> None:
        """End all connections to the database of a URL, as a restart of its server does."""
        raise AssertionError("define lose(self, url): end all connections to the database, as its restart does")

    def _check_loss(self) -> None:
        self.lose(self.url())

    @pytest.fixture(autouse=True)
    def _own_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keep what stores have on this machine away from the user's own."""
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[Store]:
        """Open a store with an empty context."""
        async with Store(self.url()) as store:
            await store.create("harbour")
            yield store

    def _elsewhere(self, url: str, folder: Path) -> Store:
        """Return a store as another server has it: what it derives from the rows is in a folder of its own."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(CACHE_VARIABLE, str(folder))
            return Store(url)


async def found_ids(store: Store, query: str, **options: object) -> list[str]:
    """Return the ids that a search finds, best first."""
    return [item.id for item in (await store.search("harbour", query, **options)).items]  # type: ignore[arg-type]
