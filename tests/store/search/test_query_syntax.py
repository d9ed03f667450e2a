"""Phrases in quotes, words with a typing error, items like another one, and counts by field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexus_core import Item, Store, UsageError, Viewer
from nexus_core.store.search.query_syntax import MOST_CORRECTED, corrected
from nexus_core.store.search.search import WITH_PHRASES
from nexus_core.toolkit import parse_filter
from nexus_core.toolkit.text.query_words import query_words

TEXTS = {
    "exact": "You may carry over five days of leave into the next year.",
    "apart": "Carry the tray over to the kitchen, and leave it there for days.",
    "title": "Nothing here.",
    "other": "Expenses are refunded within ten working days.",
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A context of four items, one of them hidden from most."""
    async with Store(tmp_path) as opened:
        await opened.create("c")
        await opened.add(
            "c",
            [
                Item(
                    id=name, text=text, title="Carry over rules" if name == "title" else "", kind="text",
                    tags=("hr", "rare") if name == "exact" else ("hr",), metadata={"year": 2020 + len(name) % 2},
                    readers=("group:hr",) if name == "other" else (),
                )
                for name, text in TEXTS.items()
            ],
        )  # fmt: skip
        yield opened


async def found(store: Store, query: str, **asked: object) -> list[str]:
    ranking = await store.search("c", query, limit=10, **asked)  # type: ignore[arg-type]
    return [candidate.item.id for candidate in ranking.top(10)]


@pytest.mark.parametrize("query", ['"carry over" days', "\u201cCarry, over\u201d days", 'days "carry over"'])
async def test_a_phrase_in_quotes_is_held_by_all_that_is_found(store: Store, query: str) -> None:
    """In the text or in the title, whatever the case and the signs between its words."""
    assert set(await found(store, query)) == {"exact", "title"}


async def test_a_phrase_is_found_behind_many_items_that_score_higher(store: Store) -> None:
    """They hold its words in another order, and are short."""
    await store.add("c", [Item(id=f"n{n}", text="Science data.") for n in range(2 * WITH_PHRASES)])
    await store.add("c", [Item(id="held", text="We keep data science here. " + "And more of other matters. " * 40)])
    assert await found(store, '"data science"') == ["held"]


async def test_a_phrase_that_no_item_holds_is_words(store: Store) -> None:
    """A question that quotes what is said elsewhere still finds what it is about."""
    assert set(await found(store, '"over carry" tray')) >= {"apart"}


@pytest.mark.parametrize("word", ["expnses", "expenses", "expennses", "xepenses", "expenzes", "expense"])
async def test_a_word_may_have_a_typing_error(store: Store, word: str) -> None:
    """One letter too many, too few, another one, or two that changed places; only where that is asked for."""
    assert await found(store, word, typos=True) == ["other"]
    if word == "expnses":
        assert await found(store, word) == []


async def test_short_words_and_two_errors_stay_as_they_are(store: Store) -> None:
    """Too many others are one error away from a short word."""
    assert await found(store, "traz", typos=True) == []
    assert await found(store, "xpnses", typos=True) == []


async def test_what_is_hidden_decides_no_correction(store: Store) -> None:
    """Neither a word that hidden items hold is left as it is, nor one that they hold more often meant."""
    assert set(await found(store, "carrz", typos=True, viewer=Viewer())) == {"exact", "apart", "title"}
    hidden = [Item(id=f"hidden {n}", text="Carrs carrz zarry.", readers=("group:hr",)) for n in range(5)]
    await store.add("c", hidden)
    for word in ("carrz", "zarry", "carrx"):
        assert set(await found(store, word, typos=True, viewer=Viewer())) == {"exact", "apart", "title"}
    assert len(await found(store, "carrz", typos=True)) == len(hidden)


def test_of_many_unknown_words_the_first_are_corrected() -> None:
    """A query of thousands of words that nobody holds is no work of seconds."""
    asked: list[str] = []

    def held(word: str) -> int:
        asked.append(word)
        return int(word == "bbbbbb")

    unknown = [f"{'abcdefghij'[n % 10]}zz{'abcdefghij'[n // 10]}zz" for n in range(100)]
    words = corrected(query_words(" ".join(["bbbbxb", *unknown])), held, ())
    assert "bbbbbb" in words.counts
    assert len(asked) < MOST_CORRECTED * 400


async def test_items_like_another_one_are_found_without_it(store: Store) -> None:
    """By its text; an item that is not there, or not to be seen, is an error."""
    assert (await found(store, "", like="exact"))[0] in ("apart", "title")
    assert "exact" not in await found(store, "", like="exact")
    with pytest.raises(UsageError, match="there is no item 'other'"):
        await found(store, "", like="other", viewer=Viewer())


async def test_items_are_counted_by_a_field(store: Store) -> None:
    """By tag, by a field of their own or of the metadata, as a viewer and a filter leave them."""
    assert await store.counts("c") == {"hr": 4, "rare": 1}
    assert await store.counts("c", "year", viewer=Viewer()) == {"2021": 3}
    assert await store.counts("c", "kind", where=parse_filter({"tags": "rare"})) == {"text": 1}
