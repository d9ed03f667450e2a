"""The index against BM25 written out, and the lazy order against sorting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from math import log, log1p
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from nexus_rankers import small_index
from nexus_rankers.bm25_index import build
from nexus_rankers.top_k import BestFirst, best, unit_scale

from nexus_core import Item
from nexus_core.toolkit.text.bm25 import DEFAULTS, terms

words = st.sampled_from(["river", "bridge", "town", "bridges", "getName", "the", "x"])
texts = st.lists(words, max_size=12).map(" ".join)


def written_out(items: list[tuple[str, str]], query: str) -> list[float]:
    """BM25 as the books have it, over words and over pairs; a word that the query repeats counts 1 + ln n."""
    asked = terms(query)
    total = np.zeros(len(items))
    repeated = {word: 1 + log(times) for word, times in Counter(asked).items()}
    both: tuple[tuple[float, Callable[[str], list[Any]], dict[Any, float]], ...] = (
        (1.0, lambda text: terms(text), repeated),
        (0.3, lambda text: list(pairwise(terms(text))), dict.fromkeys(pairwise(asked), 1.0)),
    )
    for weight, keys_of, wanted in both:
        counts = [Counter([*keys_of(title), *keys_of(title), *keys_of(text)]) for title, text in items]
        lengths = [sum(count.values()) for count in counts]
        mean = sum(lengths) / len(lengths)
        for key in wanted:
            holding = sum(key in count for count in counts)
            for place, count in enumerate(counts):
                if count[key]:
                    norm = 1.5 * (0.25 + 0.75 * lengths[place] / mean)
                    rarity = log1p((len(items) - holding + 0.5) / (holding + 0.5))
                    total[place] += weight * wanted[key] * rarity * count[key] / (count[key] + norm)
    return total.tolist()


@pytest.mark.slow
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6), texts)
@settings(max_examples=80, deadline=None)
def test_scores_are_bm25_over_words_and_pairs(found: list[tuple[str, str]], query: str) -> None:
    """To the precision that is kept."""
    items = [Item(id=str(n), title=title, text=text) for n, (title, text) in enumerate(found)]
    index = build(items, "english", DEFAULTS)
    scores = index.scores(index.query(query))
    assert scores.tolist() == pytest.approx(written_out(found, query), rel=2e-3, abs=1e-5)


@pytest.mark.slow
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6), st.lists(texts, min_size=1, max_size=3))
@settings(max_examples=80, deadline=None)
def test_scores_of_few_items_are_the_same(found: list[tuple[str, str]], queries: list[str]) -> None:
    """The index without numpy scores as the books have it too, whatever it was asked before."""
    items = [Item(id=str(n), title=title, text=text) for n, (title, text) in enumerate(found)]
    index = small_index.build(items, "english", DEFAULTS)
    for query in (*queries, queries[0]):
        assert index.scores(index.query(query)) == pytest.approx(written_out(found, query))


@given(st.lists(st.floats(-3, 3, width=16), max_size=60), st.integers(1, 70))
def test_best_is_the_head_of_a_stable_sort(numbers: list[float], count: int) -> None:
    """Equal scores stand in the order of the items."""
    scores = np.array(numbers, np.float32)
    expected = sorted(range(len(numbers)), key=lambda index: (-scores[index], index))
    assert best(scores, min(count, len(numbers))) == expected[:count]


def test_best_finds_the_head_of_many_scores_with_ties() -> None:
    """The part that is not sorted is cut at the right place."""
    scores = np.array([index % 7 for index in range(10_000)], np.float32)
    expected = sorted(range(10_000), key=lambda index: (-scores[index], index))
    assert best(scores, 2_000) == expected[:2_000]
    order = BestFirst(scores)
    assert len(order) == 10_000
    assert order[0] == 6
    assert order[5:40] == expected[5:40]
    assert order[-1] == expected[-1]
    assert list(order) == expected


@pytest.mark.parametrize("spread", [1, 3, 50, 100_000], ids=["equal", "few", "some", "many"])
def test_best_are_those_of_a_whole_sort(spread: int) -> None:
    """However many scores are equal, and however many of the best stand together."""
    chooser = np.random.default_rng(spread)
    scores = chooser.integers(0, spread, 20_000).astype(np.float32)
    scores[4_000:4_100] = spread
    for count in (1, 99, 101, 128, 4_999):
        assert best(scores, count) == np.argsort(-scores, kind="stable")[:count].tolist()


def test_unit_scale_runs_from_0_to_1() -> None:
    """And is 0 where all are equal."""
    assert unit_scale(np.array([2.0, 4.0, 3.0])).tolist() == [0.0, 1.0, 0.5]
    assert unit_scale(np.array([2.0, 2.0])).tolist() == [0.0, 0.0]
    assert unit_scale(np.array([])).tolist() == []
