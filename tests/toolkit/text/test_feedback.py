"""Feedback: which words of the first items found are searched for, too."""

from __future__ import annotations

from hypothesis import given, strategies as st

from nexus_core import Item
from nexus_core.toolkit.text.feedback import best_terms, feedback_words

BRIDGE = Item(id="a", title="Oslund Bridge", text='The Oslund Bridge is "Ines Holt\'s" work. Holt built it in stone.')
GARDEN = Item(id="b", text="A garden of stone, with a bridge in it.")
CLOCK = Item(id="c", text="The clock strikes thirteen at the bridge of stone.")


def words(query: str, *items: Item, first: int, count: int = 20, language: str = "english") -> list[str]:
    """Return the words of items that a search found in this order."""
    scores = [3.0 - place for place in range(len(items))]
    return feedback_words(query, items, scores, first=first, count=count, language=language)


def test_the_rarest_words_of_the_first_item_come_first() -> None:
    """As they are written, without the signs around them; those of the query are known already."""
    found = words("Who built the Oslund Bridge?", BRIDGE, GARDEN, CLOCK, first=1)
    assert found[0] == "Holt"
    assert not {"Oslund", "Bridge", "built", "The"} & set(found)
    assert found.index("Ines") < found.index("stone")


def test_fewer_words_are_the_best_ones() -> None:
    """And of more items the later ones count less."""
    assert words("oslund", BRIDGE, GARDEN, CLOCK, first=1, count=1) == ["Holt"]
    both = words("oslund", BRIDGE, GARDEN, CLOCK, first=2)
    assert both.index("Holt") < both.index("garden")


def test_items_without_a_score_are_no_help() -> None:
    """Nor is nothing at all."""
    assert feedback_words("x", [BRIDGE], [0.0], first=3, count=9) == []
    assert feedback_words("x", [], [], first=3, count=9) == []


def test_words_of_a_script_without_spaces_are_found() -> None:
    """They stand for themselves, since a piece of such a text is a sentence."""
    items = [Item(id="a", text="大橋由伊內斯霍爾特設計"), Item(id="b", text="花園裡有石頭")]
    found = words("大橋", *items, first=1, language="none")
    assert found
    assert all(len(word) <= 2 for word in found)


_COUNTS = st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9)), min_size=1, max_size=4)


@given(counts=_COUNTS, count=st.integers(1, 8))
def test_best_terms_are_those_that_weigh_most(counts: list[dict[str, int]], count: int) -> None:
    """At most so many, each once, the best with weight 1; none of those that are left out."""
    found = best_terms(counts, [1.0] * len(counts), lambda term: 1.0 + "abcdef".index(term), count=count, without="a")
    weights = [weight for _, weight in found]
    assert len(found) <= count
    assert "a" not in dict(found)
    assert weights == sorted(weights, reverse=True)
    assert all(0 < weight <= 1 for weight in weights)
    assert not found or weights[0] == 1.0
