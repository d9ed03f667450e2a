"""The ranker suite: one finite score per item, always the same, whatever the texts, and fast enough for many.

class TestNewest(RankerContract):
    def make(self):
        return newest(half_life_days=7)
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from nexus_core.contract.protocols import Ranker
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import Item
from nexus_core.testing.contracts.suite import Contract, opened, run

QUERY = "When does the ferry to the tide mill leave on Sundays?"
_TOPICS = ("ferry", "tide mill", "Sunday café", "harbour wall", "lamp", "leave", "ÜBERFAHRT 字 ⛵", "")
_FEW, _MANY = 1000, 10_000
_SLOWEST = 40.0
"""Ten times the items may take forty times as long; what is quadratic takes a hundred."""


def make_items(count: int) -> tuple[Item, ...]:
    """Return items of a small made-up harbour, all different."""
    return tuple(
        Item(
            id=f"item-{n}",
            title=f"{_TOPICS[n % len(_TOPICS)]} {n % 13}",
            text=f"Notice {n}: the {_TOPICS[n % 7]} opens at {n % 24}. "
            + f"Ask {_TOPICS[n * 5 % 8]} about {n % 101}. " * 3,
            kind=("text", "markdown", "code")[n % 3],
            tags=("harbour", f"t{n % 5}"),
            source=f"notices/{n % 50}.md",
            metadata={"date": f"2025-{n % 12 + 1:02}-{n % 28 + 1:02}"},
        )
        for n in range(count)
    )


class RankerContract(Contract):
    """Holds a ranker to the contract; a subclass defines `make`."""

    hooks = frozenset({"absent", "make"})
    capabilities: ClassVar[Mapping[str, str]] = {
        "determinism": "the same question gets the same scores",
        "ties": "items that are alike keep their order",
        "scale": "many items are ranked in a time that grows as they do",
    }

    def make(self) -> Ranker:
        """Return a ranker; where it counts from today, from a fixed day."""
        raise AssertionError("define make(self): return your ranker")

    def _ranked(self, query: str, items: Sequence[Item]) -> Ranking:
        before = Ranking(tuple(items))
        return self._again(query, before)

    def _again(self, query: str, before: Ranking, ranker: Ranker | None = None) -> Ranking:
        async def rank() -> Ranking:
            async with opened(ranker or self.make()) as made:
                return await made.rank(query, before, RunContext())

        after = run(rank())
        _check(after, before)
        return after

    def test_it_is_a_ranker(self) -> None:
        """It has `async rank(query, ranking, run)`.

        Fix: write that method, or make the ranker of a function with `@ranker`.
        """
        assert isinstance(self.make(), Ranker), "a ranker has a method `rank(query, ranking, run)`"

    def test_every_item_gets_one_score(self) -> None:
        """The items stay the same objects, none is lost, doubled or invented, and every score is a finite number.

        Fix: return `ranking.scored(name, scores)` with one number for each of `ranking.items`, in their order.
        """
        for count in (2, 3, 50, 300):
            ranking = self._ranked(QUERY, make_items(count))
            assert sorted(ranking.order()) == list(range(count)), f"with {count} items the order is no permutation"

    def test_no_items_are_no_error(self) -> None:
        """Nothing to rank is ranked to nothing.

        Fix: return `ranking.scored(name, [])`.
        """
        assert len(self._ranked(QUERY, ())) == 0

    def test_one_item_is_ranked(self) -> None:
        """A single item gets a score, although there is nothing to compare it with.

        Fix: mind means, deviations and ranges that are zero.
        """
        assert len(self._ranked(QUERY, make_items(1))) == 1

    def test_empty_query_is_ranked(self) -> None:
        """An empty query, or one without a word, gets scores like any other.

        Fix: give every item the same score where there is nothing to go by.
        """
        for query in ("", " \n\t", "?!", "the of and"):
            self._ranked(query, make_items(20))

    def test_any_text_is_ranked(self) -> None:
        """Any script, sign, length and kind of text gets a score.

        Fix: expect nothing of a text; a title, text, source or tag may be empty, or of one letter 100,000 times.
        """
        odd = [
            "",
            " ",
            "字",
            "e\u0301",
            "⛵" * 50,
            "\ud83d",
            "\x00\u2028\ufeff",
            "x" * 100_000,
            "a b " * 5000,
            "{{ x }}",
        ]
        items = tuple(Item(id=f"odd-{n}", text=text, title=text[:20]) for n, text in enumerate(odd))
        for query in (QUERY, "字 ⛵ e\u0301", "x" * 10_000):
            self._ranked(query, items)

    def test_any_collection_is_ranked(self) -> None:
        """Whatever items and scores of rankers before come, there is one finite score per item, and the same twice.

        Fix: see the example that is reported. Needs hypothesis; without it the test is a skip.
        """

        hypothesis = pytest.importorskip("hypothesis", reason="pip install 'contextnexus[testing]'")
        from nexus_core.testing.strategies import queries, rankings

        def holds(query: str, before: Ranking) -> None:
            after = self._again(query, before)
            if "determinism" not in self.absent:
                assert list(self._again(query, before).order()) == list(after.order()), "twice, and another order"

        for alike in (
            Item(id="-", text=""),
            Item(id="-", text="the of and"),
            Item(id="-", text="ferry", title="ferry"),
        ):
            items = tuple(Item(id=f"item-{n}", text=alike.text, title=alike.title) for n in range(3))
            for before in (Ranking(items), Ranking(items).scored("before", [0.0] * 3)):
                holds(QUERY, before)
        settings = hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)
        settings(hypothesis.given(queries(), rankings())(holds))()

    def test_same_question_gets_same_scores(self) -> None:
        """Two rankers of the same options, and one ranker asked twice, give the same scores.

        Fix: seed what is random, and take the time of day as an option. Absent: `determinism`.
        """
        self._needs("determinism")
        self._check_determinism()

    def _check_determinism(self) -> None:
        before, ranker = Ranking(make_items(60)), self.make()
        columns = [_scores(self._again(QUERY, before, each)) for each in (ranker, ranker, self.make())]
        assert columns[0] == columns[1], "the same ranker, asked twice, gave other scores"
        assert columns[0] == columns[2], "another ranker of the same options gave other scores"

    def test_one_question_does_not_touch_the_next(self) -> None:
        """What was asked before, about other items or with other words, changes nothing.

        Fix: keep what is derived of items by those items, and nothing by the query. Absent: `determinism`.
        """
        self._needs("determinism")
        ranker, before = self.make(), Ranking(make_items(60))
        alone = _scores(self._again(QUERY, before))
        self._again("lamp", Ranking(make_items(90)[30:]), ranker)
        self._again("", Ranking(()), ranker)
        assert _scores(self._again(QUERY, before, ranker)) == alone, "what was asked before changed the scores"

    def test_items_that_are_alike_keep_their_order(self) -> None:
        """Items that differ by nothing but their id stand in the order in which they came.

        Fix: score them alike, or later ones lower. Absent: `ties`.
        """
        self._needs("ties")
        self._check_ties()

    def _check_ties(self) -> None:
        one = make_items(2)[1]
        alike = tuple(
            Item(id=name, text=one.text, title=one.title, source=one.source, metadata=one.metadata)
            for name in ("m", "b", "z", "a", "k")
        )
        order = list(self._ranked(QUERY, alike).order())
        assert order == sorted(order), f"five items that are alike came in the order {order}"

    def test_nothing_that_was_given_is_changed(self) -> None:
        """Neither the items nor the ranking that came in are changed; the scores of rankers before stay.

        Fix: make new values; `ranking.scored` adds a column and leaves the others.
        """
        items = make_items(40)
        before = Ranking(items).scored("before", [float(n % 7) for n in range(40)])
        copy = [(item.id, item.text, item.title, item.tags, dict(item.metadata)) for item in items]
        scores, order = list(before.columns[0][1]), list(before.order())
        after = self._again(QUERY, before)
        assert [(item.id, item.text, item.title, item.tags, dict(item.metadata)) for item in items] == copy
        assert (list(before.columns[0][1]), list(before.order())) == (scores, order), "the ranking that came in changed"
        assert len(before.columns) == 1, "the ranking that came in got a column"
        name, kept = after.columns[0]
        assert (name, list(kept)) == ("before", scores), "the scores of the ranker before are gone, or others"

    def test_many_items_take_their_share_of_time(self) -> None:
        """Ten times as many items take ten times as long or so, and not a hundred times.

        Fix: compare no item with every other; build an index once, and look up. Absent: `scale`.
        """
        self._needs("scale")
        self._check_scale()

    def _check_scale(self) -> None:
        few, many = self._cost(_FEW, 3), self._cost(_MANY, 1)
        if many > _SLOWEST * max(few, 0.002):  # once may be an accident
            many = min(many, self._cost(_MANY, 2))
        assert many <= _SLOWEST * max(few, 0.002), (
            f"{_MANY:,} items took {many:.3f} s and {_FEW:,} took {few:.3f} s; it may be {_SLOWEST:g} times as long"
        )

    def _cost(self, count: int, rounds: int) -> float:
        """Return the processor time of ranking, its index included; the least of some rounds."""
        self._ranked(QUERY, make_items(200))  # what is imported at first use is no cost of the items
        costs = []
        for _ in range(rounds):
            items = make_items(count)  # new ones: a ranker may keep what it has worked out with them
            gc.collect()  # what was allocated up to here is no cost of the ranking
            begun = time.process_time()
            self._ranked(QUERY, items)
            costs.append(time.process_time() - begun)
        return min(costs)


def _scores(ranking: Ranking) -> list[float]:
    return [] if ranking.scores is None else [float(score) for score in ranking.scores]


def _check(after: Any, before: Ranking) -> None:
    assert isinstance(after, Ranking), f"rank returned a {type(after).__name__}: return ranking.scored(name, scores)"
    assert after.items is before.items, "the items are another tuple: return `ranking.scored(...)` of the ranking given"
    assert len(after.columns) > len(before.columns), "no scores were added: return ranking.scored(name, scores)"
    for (name, scores), (kept_name, kept) in zip(after.columns, before.columns, strict=False):
        assert name == kept_name, f"the scores of {kept_name!r} are gone"
        assert list(scores) == list(kept), f"the scores of {kept_name!r} were changed"
    name, scores = after.columns[-1]
    assert name.strip(), "the scores have no name"
    wrong = [n for n, score in enumerate(scores) if not math.isfinite(score)]
    assert not wrong, f"the score of item {wrong[:1]} is {scores[wrong[0]]}: scores are finite numbers"
    order = list(after.order())
    assert sorted(order) == list(range(len(before.items))), "the order is no permutation of the items"
    best = [float(scores[index]) for index in order]
    assert best == sorted(best, reverse=True), "`head` is not what the scores say: the best are first"
