"""The store suite on searches: what is found is what a store in a folder finds that holds the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Item
from nexus_core.store.store import Store
from nexus_core.testing.contracts.store.opening import ITEMS, StoreSuite, found_ids
from nexus_core.testing.contracts.suite import looped
from nexus_core.toolkit.filters import EVERYTHING, parse_filter

_WORDS = "ferry baker lighthouse rope sail anchor tide harbour gull storm".split()
_LATER = parse_filter({"year": {"gte": 2002}})
_STAFF = Viewer(groups=frozenset({"group:staff"}))


def _notes(chooser: Random) -> list[Item]:
    """Return items of which many say the same, some of them granted; the case of ids tells them apart."""
    texts = [" ".join(chooser.choices(_WORDS, k=chooser.randint(1, 6))) for _ in range(25)]
    return [
        Item(
            id=f"{chooser.choice('aBäZ')}{number}",
            text=chooser.choice(texts),
            metadata={"year": 2000 + number % 4},
            readers=("group:staff",) if number % 5 == 0 else (),
        )
        for number in range(120)
    ]


async def _search_all(
    store: Store, questions: Sequence[str], by: Literal["words", "both"]
) -> list[tuple[list[str], list[float]]]:
    """Return ids and scores of the best ten and of the pool, for all, with a filter and with grants."""
    answers = []
    for question in questions:
        for where, viewer, limit in ((EVERYTHING, None, 10), (EVERYTHING, None, 30), (_LATER, None, 10),
                                     (EVERYTHING, _STAFF, 10)):  # fmt: skip
            ranking = await store.search("harbour", question, limit=limit, where=where, viewer=viewer, by=by)
            answers.append(([item.id for item in ranking.items], [*(ranking.scores or ())]))
    return answers


class SearchTests(StoreSuite):
    """Words, phrases, filters, meaning, and the same lists as elsewhere."""

    @looped
    async def test_a_search_goes_by_stop_words_phrases_and_filters(self) -> None:
        """A query of stop words alone looks at the texts themselves, whatever signs they hold.

        Fix: `LIKE` and `lower` read letters of ASCII as SQLite does, and `||` joins texts.
        """
        async with self._store() as store:
            await store.add("harbour", [*ITEMS, Item(id="who", title="Who", text="To be or not to be")])
            assert await found_ids(store, "to be or not to be") == ["who"]
            assert await found_ids(store, '"gull on the sail"') == ["n1"]
            assert await found_ids(store, "sail", where=parse_filter({"kind": "note", "year": 2021})) == ["n1"]
            assert await found_ids(store, "zzz") == []

    @looped
    async def test_a_context_is_searched_by_meaning(self) -> None:
        """Its vectors are rows, and go with their items.

        Fix: keep bytes as they are, and give keys of `vector_parts` that rise and are never used twice.
        """
        pytest.importorskip("wordllama")
        async with self._store() as store:
            await store.add("harbour", ITEMS[:4])
            assert await store.embed("harbour", "static") == 4
            await store.add("harbour", ITEMS[4:])
            assert (await found_ids(store, "loaf", by="meaning", limit=1)) == ["n2"]
            await store.remove("harbour", ["n2"])
            assert "n2" not in await found_ids(store, "loaf", by="both")
            assert await store.check() == ()
            await store.unembed("harbour")
            assert not (await store.context("harbour")).embedder

    @looped
    async def test_the_same_is_found_as_in_a_folder(self, tmp_path: Path) -> None:
        """By words: equal ids and scores, though one was filled at once and this one item by item, with detours.

        Fix: order texts by their bytes, and give keys in the order in which transactions are committed.
        """
        await self._compared(tmp_path, "words")

    @looped
    async def test_the_same_is_found_by_meaning_as_in_a_folder(self, tmp_path: Path) -> None:
        """By words and vectors together: equal ids and scores.

        Fix: as for words; and keep the bytes of vectors.
        """
        pytest.importorskip("wordllama")
        await self._compared(tmp_path, "both")

    async def _compared(self, folder: Path, by: Literal["words", "both"]) -> None:
        chooser = Random(by)
        items = _notes(chooser)
        questions = ["rope", '"ferry rope"', *(" ".join(chooser.choices(_WORDS, k=1 + n % 4)) for n in range(6))]
        async with Store(folder / "folder") as one, self._store() as other:
            await one.create("harbour")
            await one.add("harbour", items)
            gone = [Item(id=f"gone{number}", text="rope " * number) for number in range(1, 20)]
            await other.add("harbour", [*gone, *(Item(id=item.id, text="before") for item in items[::3])])
            mixed = chooser.sample(items, len(items))
            for start in range(0, len(mixed), 50):
                await other.add("harbour", mixed[start : start + 50])
            await other.remove("harbour", [item.id for item in [*gone, *items[::7]]])
            await other.add("harbour", items[::7])
            for store in (one, other) if by == "both" else ():
                await store.embed("harbour", "static")
            expected, found = await _search_all(one, questions, by), await _search_all(other, questions, by)
            assert found == expected, "what is found, or its scores, is not what a folder finds"
