"""The rankers that ship: what all of them keep, what each of them finds, and what options they refuse."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, SupportsIndex

import pytest
from hypothesis import given, settings, strategies as st
from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse
from nexus_rankers.links import Links
from nexus_rankers.mmr import Mmr
from nexus_rankers.recency import Recency
from nexus_rankers.rerank import Rerank
from nexus_rankers.semantic import Semantic

from nexus_core import ConfigError, Item, Pipeline, Ranker, RankerError, Ranking, RunContext
from nexus_core.config.check import check
from nexus_core.contract.components import component_name, component_summary, options_of
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.testing import FakeConnector
from nexus_core.toolkit import LANGUAGES, Language
from tests.plugins.conftest import CLASSES, column, ids, ranked, texts

pytestmark = pytest.mark.slow

RANKERS: dict[str, Ranker] = {
    "bm25": Bm25(),
    "bm25 as written": Bm25(language="none", pairs=0.0),
    "mmr": Mmr(top=3),
    "recency": Recency(now="2026-01-31"),
    "zscore": Fuse(rankers=(Bm25(), Recency(now="2026-01-31"))),
    "minmax": Fuse(rankers=(Bm25(), Mmr()), method="minmax", weights=(1.0, 0.5)),
    "rrf": Fuse(rankers=(Bm25(), Bm25(language="none")), method="rrf"),
    "semantic": Fuse(rankers=(Bm25(), Semantic())),
    "links": Links(),
    "rerank": Rerank(model=FakeConnector(replies=["[2] > [1]"]), top=2),
}
EACH = pytest.mark.parametrize("ranker", RANKERS.values(), ids=RANKERS.keys())
WORDS = st.lists(st.sampled_from(["tide", "moon", "the", "getMoonPhase", "潮の満ち引き", "größer", "1,000"])).map(
    " ".join
)
TEXTS = WORDS | st.text(max_size=30)
DATES: st.SearchStrategy[Any] = st.sampled_from(
    [None, "2026-01-01", "2019-05-04T03:02:01Z", 1_700_000_000, -5, True, "soon", [], 10**400]
)


@st.composite
def items_of_any_kind(draw: st.DrawFn) -> tuple[Item, ...]:
    """Return items with odd texts, titles and dates."""
    rows = draw(st.lists(st.tuples(TEXTS, TEXTS, DATES), max_size=8))
    return tuple(
        Item(id=str(place), text=text, title=title, metadata={"date": date})
        for place, (text, title, date) in enumerate(rows)
    )


def problems(rank: str, folder: Path) -> list[str]:
    """Return what lint says of a rank step."""
    steps = f"steps:\n  - gather: {{use: inline, items: [a]}}\n  - rank: {rank}\n  - prompt: qa\n  - generate: main\n"
    text = f"name: n\nmodels: {{main: {{use: extractive}}}}\n{steps}"
    (folder / "n.yaml").write_text(text, "utf-8")
    return [problem.message for problem in check(text, str(folder / "n.yaml"), PluginRegistry.installed(), {}).problems]


# What every ranker keeps


@EACH
@settings(max_examples=40, deadline=None)
@given(items=items_of_any_kind(), query=TEXTS, before=st.booleans())
def test_rankers_keep_items_and_columns_and_order_all_of_them(
    ranker: Ranker, items: tuple[Item, ...], query: str, before: bool
) -> None:
    """Whatever the items: the same tuple, one score each, the columns before, a permutation, twice the same."""
    start = (
        Ranking(items).scored("first", [float(place % 3) for place in range(len(items))]) if before else Ranking(items)
    )
    first, second = ranked(ranker, query, start), ranked(ranker, query, start)
    assert first.items is items
    assert first.columns[: len(start.columns)] == start.columns
    assert all(len(scores) == len(items) for _, scores in first.columns)
    assert sorted(first.order()) == list(range(len(items)))
    assert (list(first.order()), column(first)) == (list(second.order()), column(second))
    assert all(left.score >= right.score for left, right in zip(list(first), list(first)[1:], strict=False))


@EACH
def test_rankers_take_nothing_for_an_answer(ranker: Ranker) -> None:
    """No items and no query are as good as any."""
    assert ids(ranked(ranker, "tide", ())) == []
    assert len(ranked(ranker, "", texts("tide", "moon"))) == 2
    assert len(ranked(ranker, "", ())) == 0


@EACH
def test_rankers_order_many_items(ranker: Ranker) -> None:
    """The first of 2,000 items are the same ones, whether a few are asked for or all."""
    many = tuple(Item(id=str(place), text=f"tide {place} " + "moon " * (place % 7)) for place in range(2000))
    ranking = ranked(ranker, "moon 1234", many)
    few = list(ranking.order(10))
    assert few == list(ranking.order())[:10]
    assert sorted(ranking.order()) == list(range(2000))


@pytest.mark.parametrize("name", CLASSES)
def test_rankers_are_declared_like_any_component(name: str) -> None:
    """Each is named after its plugin and explains itself and its options."""
    cls = CLASSES[name]
    assert component_name(cls) == name
    assert component_summary(cls).endswith(".")
    assert all(option.help for option in options_of(cls))


# bm25


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("moon", "The moon pulls the sea."),
        ("user name", "return getUserName(id)"),
        ("max retries", "MAX_RETRIES = 3"),
        ("getUserName", "return getUserName(id)"),
        ("swimming", "She swims daily."),
        ("満ち", "潮の満ち引き"),
        ("ÄPFEL", "zwei äpfel"),
    ],
    ids=["word", "camel case", "snake case", "whole identifier", "stem", "no spaces", "case"],
)
def test_bm25_finds_the_item_with_the_words_of_the_query(query: str, text: str) -> None:
    """Only the item that holds them scores, however they are written."""
    ranking = ranked(Bm25(), query, texts("An empty street.", "Another thing entirely.", text))
    assert ids(ranking)[0] == text
    assert [score > 0 for score in column(ranking)] == [False, False, True]


def test_bm25_counts_a_rare_word_more_than_a_common_one() -> None:
    """The word that few items hold decides."""
    items = texts("tide one", "tide two", "tide three", "comet four")
    assert ids(ranked(Bm25(), "tide comet", items))[0] == "comet four"


def test_bm25_counts_the_title_twice() -> None:
    """A word in the title counts, and more than the same word in a text of the same length."""
    titled = Item(id="title", title="tide", text="sand rock")
    plain = Item(id="text", text="tide sand rock rock")
    other = Item(id="none", title="sand", text="rock rock")
    ranking = ranked(Bm25(), "tide", (other, plain, titled))
    assert ids(ranking) == ["title", "text", "none"]
    assert column(ranking)[0] == 0.0


def test_bm25_prefers_words_side_by_side_unless_pairs_are_off() -> None:
    """Neighbouring words of the query add to the score; with `pairs: 0` only the words count."""
    items = texts("york lies north of new haven", "haven lies north of new york")
    assert ids(ranked(Bm25(), "new york", items))[0] == items[1].id
    alone = column(ranked(Bm25(pairs=0.0), "new york", items))
    assert alone[0] == pytest.approx(alone[1])


def test_bm25_discounts_length_only_as_far_as_it_is_told() -> None:
    """With `b: 0` a long item scores as much as a short one for the same word."""
    items = texts("tide", "tide " + "sand " * 50)
    short, long = column(ranked(Bm25(), "tide", items))
    assert short > long
    short, long = column(ranked(Bm25(b=0.0), "tide", items))
    assert short == pytest.approx(long)


def test_bm25_with_k1_of_zero_does_not_count_occurrences() -> None:
    """A word that stands there again adds nothing."""
    once, often = column(ranked(Bm25(k1=0.0), "tide", texts("tide", "tide tide tide")))
    assert once == pytest.approx(often)


@pytest.mark.parametrize("language", LANGUAGES)
def test_bm25_ranks_in_every_language(language: Language) -> None:
    """The word as it is written is found with any stemmer, and with none."""
    assert column(ranked(Bm25(language=language), "Häuser", texts("zwei häuser", "ein baum")))[1] == 0.0
    assert ids(ranked(Bm25(language=language), "Häuser", texts("ein baum", "zwei häuser")))[0] == "zwei häuser"


def test_bm25_compares_by_the_stems_of_its_language() -> None:
    """German forms meet with the German stemmer; with `none` only what is written alike, and stop words count."""
    items = texts("das haus", "viele häuser")
    assert all(score > 0 for score in column(ranked(Bm25(language="german"), "häusern haus", items)))
    assert column(ranked(Bm25(language="none"), "häusern", items)) == [0.0, 0.0]
    assert column(ranked(Bm25(), "the lake", texts("the sea"))) == [0.0]
    assert column(ranked(Bm25(language="none"), "the", texts("the sea")))[0] > 0


class Watched(str):
    """A text that counts how often it is cut into pieces."""

    cuts = 0

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """Count and cut."""
        self.cuts += 1
        return super().split(sep, maxsplit)


def test_bm25_reads_an_unchanged_set_of_items_once() -> None:
    """The same tuple, or one of the same items, is not indexed again; a new item is found at once."""
    text = Watched("tide and sand")
    items, ranker = (Item(id="a", text=text), Item(id="b", text="moon")), Bm25()
    for query, given_items in (("tide", items), ("moon", items), ("sand", (*items,)[:1] + items[1:])):
        ranked(ranker, query, given_items)
    assert text.cuts == 1
    assert ids(ranked(ranker, "comet", (*items, Item(id="c", text="comet"))))[0] == "c"
    ranked(ranker, "tide", items)
    assert text.cuts == 2, "the larger set is read once, and the first is still known"


async def test_bm25_runs_at_the_same_time_share_one_index() -> None:
    """Many first queries at once read the items once, and each gets its own scores."""
    text = Watched("tide and sand")
    ranking, ranker = Ranking((Item(id="a", text="moon"), Item(id="b", text=text))), Bm25()
    found = await asyncio.gather(*(ranker.rank(query, ranking, RunContext()) for query in ("tide", "moon") * 10))
    assert [ids(each)[0] for each in found] == ["b", "a"] * 10
    assert text.cuts == 1


# recency


def dated(*dates: Any, field: str = "date") -> tuple[Item, ...]:
    """Return an item for each date, with the date as its id."""
    return tuple(Item(id=str(date), text="", metadata={} if date is None else {field: date}) for date in dates)


def test_recency_puts_newer_items_first() -> None:
    """An item of today is worth 1, after a half-life 0.5, after two 0.25; the future counts as today."""
    items = dated("2025-12-02", "2026-01-31", "2026-01-01", "2027-01-01")
    ranking = ranked(Recency(now="2026-01-31"), "", items)
    assert column(ranking) == pytest.approx([0.25, 1.0, 0.5, 1.0])
    assert ids(ranking) == ["2026-01-31", "2027-01-01", "2026-01-01", "2025-12-02"]


@pytest.mark.parametrize("date", [None, "", "soon", True, [], {}, "2026-02-30", 10**400, float("nan")], ids=repr)
def test_recency_takes_an_item_without_a_date_for_neither_old_nor_new(date: Any) -> None:
    """What is no date stands between new and old items."""
    items = (*dated("2020-01-01"), Item(id="undated", text="", metadata={"date": date}), *dated("2026-01-30"))
    assert ids(ranked(Recency(now="2026-01-31"), "", items)) == ["2026-01-30", "undated", "2020-01-01"]


def test_recency_reads_dates_of_several_forms_from_any_field() -> None:
    """A day, a time with a zone and seconds since 1970 of one moment are worth the same."""
    items = dated(
        "2026-01-01", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00Z", 1_767_225_600, 1_767_225_600.0, field="at"
    )
    assert column(ranked(Recency(field="at", now="2026-01-31"), "", items)) == pytest.approx([0.5] * 5)


@pytest.mark.parametrize(("weight", "first"), [(0.0, "2020-01-01"), (1.0, "2026-01-30")], ids=["score", "date"])
def test_recency_mixes_the_date_with_the_score_before(weight: float, first: str) -> None:
    """`weight` moves between the ranker before and the date."""
    start = Ranking(dated("2026-01-30", "2020-01-01")).scored("first", [2.0, 5.0])
    assert ids(ranked(Recency(weight=weight, now="2026-01-31"), "", start))[0] == first


def test_recency_counts_from_the_time_of_the_run_by_default() -> None:
    """Without `now`, the future is as new as anything, and 1970 is old."""
    first, second = column(ranked(Recency(), "", dated("9000-01-01", 0)))
    assert (first, second < 0.001) == (1.0, True)


# mmr


def test_mmr_moves_a_near_copy_of_the_best_item_down() -> None:
    """What repeats the best item falls behind what adds something."""
    best, copy, other, last = (
        "the moon pulls the sea twice daily",
        "the moon pulls the sea twice",
        "wind raises waves",
        "x",
    )
    start = Ranking(texts(best, copy, other, last)).scored("first", [1.0, 0.95, 0.8, 0.0])
    assert ids(ranked(Mmr(), "tides", start)) == [best, other, copy, last]
    assert ids(ranked(Mmr(weight=1.0), "tides", start)) == [best, copy, other, last]


def test_mmr_lets_no_number_of_copies_crowd_out_what_is_different() -> None:
    """Eight copies of the best page stand behind the one different item, however little that is worth."""
    page = "The bridge over the river was built by monks in the winter of the great flood. " * 3
    found = texts(*[f"{page} Copy{chr(97 + n)}." for n in range(8)], "A ferry crosses here, too.", "Unlike all.")
    ranking = Ranking(found).scored("bm25", [9.0, 8.9, 8.8, 8.7, 8.6, 8.5, 8.4, 8.3, 1.0, 0.5])
    order = ids(ranked(Mmr(top=9), "bridge", ranking))
    assert order[:2] == [found[0].id, found[8].id]
    assert order[-1] == found[9].id
    assert sorted(order) == sorted(item.id for item in found)


def test_mmr_reorders_only_the_top() -> None:
    """Items after the first `top` stay behind these, in their order."""
    items = texts("moon sea", "moon sea", "wind wave", "sun")
    start = Ranking(items).scored("first", [4.0, 3.0, 2.0, 1.0])
    assert list(ranked(Mmr(top=2), "moon", start).order()) == [0, 1, 2, 3]
    assert list(ranked(Mmr(top=3, weight=0.5), "moon", start).order()) == [0, 2, 1, 3]


def test_mmr_alone_ranks_by_the_query() -> None:
    """Without scores before it, likeness to the query stands for relevance."""
    assert ids(ranked(Mmr(), "moon", texts("wind wave", "moon sea")))[0] == "moon sea"


# fuse


class Fixed:
    """Gives the scores it was made with."""

    def __init__(self, name: str, *scores: float) -> None:
        self.name, self.scores = name, scores
        self.opened = 0

    async def __aenter__(self) -> Fixed:
        self.opened += 1
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.opened -= 1

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        """Return the scores."""
        return ranking.scored(self.name, self.scores)


METHODS: Mapping[Literal["zscore", "minmax", "rrf"], list[float]] = {
    "zscore": [-(6**0.5), 0.0, 6**0.5],
    "minmax": [0.0, 1.0, 2.0],
    "rrf": [2 / 63, 2 / 62, 2 / 61],
}


@pytest.mark.parametrize("method", METHODS)
def test_fuse_scales_by_its_method(method: Literal["zscore", "minmax", "rrf"]) -> None:
    """However large the numbers of a ranker are, two that agree count the same."""
    ranking = ranked(
        Fuse(rankers=(Fixed("a", 0, 1, 2), Fixed("b", 100, 200, 300)), method=method), "", texts("x", "y", "z")
    )
    assert ids(ranking) == ["z", "y", "x"]
    assert column(ranking) == pytest.approx(METHODS[method])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("weights", "first"), [((2.0, 1.0), "x"), ((1.0, 2.0), "z"), ((0.0, 1.0), "z")], ids=str)
def test_fuse_weighs_its_rankers(
    method: Literal["zscore", "minmax", "rrf"], weights: tuple[float, ...], first: str
) -> None:
    """The ranker with the larger weight decides."""
    fuse = Fuse(rankers=(Fixed("a", 3, 2, 1), Fixed("b", 1, 2, 3)), weights=weights, method=method)
    assert ids(ranked(fuse, "", texts("x", "y", "z")))[0] == first


def test_fuse_takes_a_ranker_without_an_opinion_for_neutral() -> None:
    """Equal scores change nothing by zscore and minmax."""
    for method in ("zscore", "minmax"):
        fuse = Fuse(rankers=(Fixed("a", 1, 2), Fixed("b", 7, 7)), method=method)
        assert ids(ranked(fuse, "", texts("x", "y"))) == ["y", "x"]


def test_fuse_shows_the_scores_of_each_ranker() -> None:
    """Columns stand in order, those of one name are told apart, and those before stay."""
    start = Ranking(texts("x", "y")).scored("a", [5, 6])
    ranking = ranked(Fuse(rankers=(Fixed("a", 1, 2), Fixed("a", 3, 4), Fixed("b", 5, 6))), "", start)
    assert [name for name, _ in ranking.columns] == ["a", "a 2", "a 3", "b", "fuse"]
    assert dict(ranking[0].scores) == pytest.approx({"a": 6, "a 2": 2, "a 3": 4, "b": 6, "fuse": 3})


async def test_fuse_opens_and_closes_its_rankers() -> None:
    """A ranker that holds resources is opened with it; one that does not is left alone."""
    fixed = Fixed("a", 1)
    async with Fuse(rankers=(fixed, Bm25())):
        assert fixed.opened == 1
    assert fixed.opened == 0


def test_fuse_refuses_a_ranker_that_swaps_the_items() -> None:
    """What is not a column for the items that were given is an error."""

    class Swapping:
        async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
            return Ranking(texts("other")).scored("swapping", [1.0])

    with pytest.raises(RankerError, match=r"must return `ranking\.scored"):
        ranked(Fuse(rankers=(Swapping(),)), "", texts("x"))


# Options

REFUSED = {
    "k1": ("{use: bm25, k1: -1}", "`k1` must be at least 0"),
    "b": ("{use: bm25, b: 1.5}", "`b` must be from 0 to 1"),
    "pairs": ("{use: bm25, pairs: -0.1}", "`pairs` must be at least 0"),
    "language": ("{use: bm25, language: klingon}", "`language` must be auto, arabic"),
    "mmr weight": ("{use: mmr, weight: 1.1}", "`weight` must be from 0 to 1"),
    "top too small": ("{use: mmr, top: 0}", "`top` must be from 1 to 1000"),
    "top too large": ("{use: mmr, top: 1001}", "`top` must be from 1 to 1000"),
    "half-life": ("{use: recency, half_life_days: 0}", "`half_life_days` must be more than 0"),
    "recency weight": ("{use: recency, weight: -1}", "`weight` must be from 0 to 1"),
    "no rankers": ("{use: fuse}", "needs `rankers`"),
    "method": ("{use: fuse, rankers: [bm25], method: borda}", "`method` must be zscore, minmax or rrf"),
    "k": ("{use: fuse, rankers: [bm25], k: 0}", "`k` must be more than 0"),
    "model of semantic": ("{use: semantic, model: [static]}", "`model` must be text or a connector"),
    "parts": ("{use: semantic, part_tokens: 8}", "`part_tokens` must be from 16 to 8192"),
    "requests": ("{use: semantic, concurrency: 0}", "`concurrency` must be from 1 to 100"),
    "nested connector": ("{use: semantic, model: {use: opnai, model: m}}", "did you mean 'openai'"),
    "links": ("{use: links, weight: 2}", "`weight` must be from 0 to 1"),
    "no model": ("rerank", "needs `model`"),
    "rerank top": ("{use: rerank, model: extractive, top: 1}", "`top` must be from 2 to 100"),
    "rerank method": ("{use: rerank, model: extractive, method: guess}", "`method` must be ask or endpoint"),
    "nested": ("{use: fuse, rankers: [{use: mmr, top: 0}]}", "`top` must be from 1 to 1000"),
}


@pytest.mark.parametrize(("rank", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_lint_refuses_options_out_of_bounds(rank: str, message: str, tmp_path: Path) -> None:
    """One problem, which names the option and what it may be."""
    (problem,) = problems(rank, tmp_path)
    assert message in problem


LATE = {
    "empty": ("{use: fuse, rankers: []}", "`rankers` is empty"),
    "weights": ("{use: fuse, rankers: [bm25, recency], weights: [1]}", "1 weight for 2 rankers"),
    "embeds": ("{use: semantic, model: {use: extractive}}", "does not embed"),
    "endpoint": ("{use: rerank, model: extractive, method: endpoint}", "has no rerank endpoint"),
    "now": ("{use: recency, now: soon}", "`now` must be a date such as 2026-01-31, not 'soon'"),
}


@pytest.mark.parametrize(("rank", "message"), LATE.values(), ids=LATE.keys())
def test_loading_refuses_options_that_do_not_fit_together(rank: str, message: str, tmp_path: Path) -> None:
    """What only the ranker itself can know is found when the pipeline is loaded."""
    assert problems(rank, tmp_path) == []
    with pytest.raises(ConfigError, match=re.escape(message)):
        Pipeline.load(tmp_path / "n.yaml")
