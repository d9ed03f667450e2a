"""What is worked out of an item before it is written is what it would be if each part were worked out alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import Item
from nexus_core.store.items.passage_codec import figures_of
from nexus_core.store.items.piece_cache import PieceCache
from nexus_core.store.items.prepare import ItemPreparer, index_terms
from nexus_core.toolkit.text.bm25 import terms
from nexus_core.toolkit.tokens.counter import token_counter

WORDS = ["ferry", "The", "3.5", "e.g.", "HTTPServer", "snake_case", "ö", "字。", "x" * 70, "it's", "-", "U.S.", "<b>"]
SPACES = [" ", " ", " ", "  ", "\n", "\n\n", "\t", "\u2028", "\xa0", "\x1f", ". ", "! ", ""]
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)), max_size=120).map(
    lambda parts: "".join(word + space for word, space in parts)
)


def expected(item: Item, encoding: str) -> tuple[tuple[int, bytes], ...]:
    """Return the figures of an item, each sentence counted and each passage stemmed alone."""
    fresh = Item(id=item.id, text=item.text, title=item.title, kind=item.kind)
    return tuple(figures_of(fresh, encoding, token_counter(encoding).count))


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(text=TEXTS, title=TEXTS, kind=st.sampled_from(["text", "markdown", "code"]))
def test_figures_are_those_of_the_packer(text: str, title: str, kind: str) -> None:
    """Counts that are added up from pieces are exact, and stems and passages the same."""
    item = Item(id="1", text=text, title=title, kind=kind)
    prepared = ItemPreparer("english", "o200k_base")(item)
    assert prepared.figures == expected(item, "o200k_base")
    assert prepared.words.split() == terms(title, "english") * 2 + terms(text, "english")
    assert prepared.words == index_terms(item, "english", "o200k_base")


@pytest.mark.parametrize("encoding", ["cl100k_base", "approximate"])
def test_figures_are_right_in_other_encodings(encoding: str) -> None:
    """Estimates do not add up, and are made of whole sentences."""
    item = Item(
        id="1", text="The ferry leaves at nine. It returns,  at noon.\nNo ferry on Sundays. " * 9, title="Ferries"
    )
    assert ItemPreparer("none", encoding)(item).figures == expected(item, encoding)


def test_an_item_is_left_as_it_was() -> None:
    """Nothing stays with the item of whoever adds it."""
    item = Item(id="1", text="The ferry leaves at nine.")
    ItemPreparer("english", "o200k_base")(item)
    assert not item.features


def test_a_vocabulary_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts full of numbers do not fill the memory."""
    monkeypatch.setattr("nexus_core.toolkit.text.stemming.PIECES_KEPT", 10)
    known = PieceCache("english", "o200k_base")
    for number in range(100):
        assert known[f"number{number}"][0] == f"number{number} "
    assert known["y" * 500][0]
    assert len(known) <= 11
