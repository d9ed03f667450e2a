"""A context in several languages: each item by the stems of its own, a query by those of all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexus_core import Item, Store

TEXTS = {
    "english": "The ferries are leaving for the islands at nine, and they return at noon of the same day.",
    "german": "Die Fähren fahren um neun Uhr zu den Inseln, und sie kehren am Mittag des gleichen Tages zurück.",
    "russian": "Паромы отправляются на острова в девять часов и возвращаются в полдень того же дня.",
    "spanish": "Los transbordadores salen hacia las islas a las nueve y vuelven al mediodía del mismo día.",
    "turkish": "Vapurlar saat dokuzda adalara gider ve aynı gün öğlen limana geri döner.",
    "hamlet": "To be, or not to be, that is the question.",
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store with one context of these texts."""
    async with Store(tmp_path / "store") as opened:
        await opened.create("notes")
        await opened.add("notes", [Item(id=name, text=text) for name, text in TEXTS.items()])
        yield opened


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("When does the ferry leave?", "english"),
        ("Wann fährt die Fähre zur Insel?", "german"),
        ("faehre insel faehrt FÄHRE", "german"),
        ("когда отправляется паром на остров", "russian"),
        ("¿Cuándo sale el transbordador?", "spanish"),
        ("vapur adaya ne zaman gidiyor", "turkish"),
        ("to be or not to be", "hamlet"),
    ],
)
async def test_forms_of_words_are_found_in_every_language(store: Store, query: str, found: str) -> None:
    """Inflected otherwise than in the text; a question of nothing but stop words by its phrase."""
    ranking = await store.search("notes", query, limit=3)
    assert ranking.items[0].id == found


async def test_language_that_is_named_holds_for_all(tmp_path: Path) -> None:
    """`language: none` compares words without stems."""
    async with Store(tmp_path / "store") as store:
        await store.create("plain", language="none")
        await store.add("plain", [Item(id="a", text="The ferries leave.")])
        assert not (await store.search("plain", "ferry", limit=3)).items
        assert (await store.search("plain", "ferries", limit=3)).items


async def test_items_that_change_their_language_are_searched_by_the_new_one(store: Store) -> None:
    """An item is written anew with the stems of what it says now."""
    await store.add("notes", [Item(id="english", text="Die Schiffe warten im Hafen auf die Gäste der Insel.")])
    assert (await store.search("notes", "Schiff Hafen wartet", limit=1)).items[0].id == "english"
