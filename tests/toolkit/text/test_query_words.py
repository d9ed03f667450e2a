"""The words of a query and what they count: repeated ones, and forms in several languages."""

from __future__ import annotations

from math import log

import pytest
from nexus_rankers.bm25 import Bm25

from nexus_core import Item, Ranking, RunContext
from nexus_core.toolkit import query_words


def test_a_word_that_is_repeated_counts_more() -> None:
    """One and the logarithm of how often; pairs count once."""
    words = query_words("river to river to river bank")
    assert words.counts == {"river": 1 + log(3), "bank": 1.0}
    assert words.pairs == [("river", "river"), ("river", "bank")]


def test_a_word_weighs_by_all_its_forms() -> None:
    """A form that few items have is as common as the word itself."""
    words = query_words("measurements", ["english", "none"])
    weights = words.weights({"measur": 50, "measurements": 1}, 100)
    assert (
        weights["measur"] == weights["measurements"] < query_words("measurements").weights({"measur": 1}, 100)["measur"]
    )


def test_words_that_no_text_holds_have_no_weight() -> None:
    """They are not among those that are scored."""
    assert list(query_words("alpha beta").weights({"beta": 2, "alpha": 0}, 9)) == ["beta"]


def test_stop_words_of_english_are_left_out_in_every_language() -> None:
    """Items in English were indexed without: elsewhere they would be rare words."""
    assert [*query_words("the cost-of-living", ["english", "none"]).counts] == ["cost", "live", "living"]
    assert "it" in query_words("IT costs", ["english", "none"]).counts
    assert "the" in query_words("the cost", ["none"]).counts


def test_most_words_are_the_first_of_each_language() -> None:
    """A query as long as a book costs no more than its beginning."""
    assert [*query_words("one two three four", most=2).counts] == ["one", "two"]
    assert [*query_words("cats dogs hens", ["english", "none"], most=2).counts] == ["cat", "dog", "cats", "dogs"]


@pytest.mark.parametrize("fillers", [10, 600], ids=["few", "many"])
async def test_an_item_in_another_language_is_not_preferred_for_common_words(fillers: int) -> None:
    """That it alone has a form of the question's words makes it no better."""
    english = [
        Item(id=str(n), text=f"The measurement of noise in receivers, part {n}, and of its use.")
        for n in range(fillers)
    ]
    wanted = Item(id="wanted", text="The measurement of the dielectric constants of liquids, and their use.")
    other = Item(id="other", text="measurements of the voltage", metadata={"language": "catalan"})
    items = (*english, other, wanted)
    ranked = await Bm25().rank("measurements of the dielectric constant of liquids", Ranking(items), RunContext())
    assert items[ranked.order(1)[0]] is wanted
