"""The rankers that ship: bm25, mmr, recency, fuse."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pytest
from hypothesis import given, settings, strategies as st
from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse
from nexus_rankers.mmr import Mmr
from nexus_rankers.per_items_cache import PerItemsCache
from nexus_rankers.recency import Recency, seconds

from nexus_core import Item, RankerError, Ranking, RunContext


def items(*texts: str, **metadata: Any) -> tuple[Item, ...]:
    return tuple(Item(id=str(n), text=text, metadata=metadata) for n, text in enumerate(texts))


def ids(ranking: Ranking) -> list[str]:
    return [candidate.item.id for candidate in ranking]


class Fixed:
    """A ranker with scores set beforehand, which notes whether it is open."""

    def __init__(self, *scores: float, name: str = "fixed") -> None:
        self.scores, self.name, self.open = scores, name, False

    async def __aenter__(self) -> Self:
        self.open = True
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.open = False

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        return ranking.scored(self.name, self.scores)


async def test_bm25_puts_the_item_with_the_rarer_words_first() -> None:
    """Forms of a word are the same word, and what does not match has 0."""
    found = items("The river flows.", "Rivers and bridges.", "Nothing here.", "The river again, a river.")
    ranking = await Bm25().rank("Which bridge crosses the river?", Ranking(found), RunContext())
    assert ids(ranking)[0] == "1"
    assert ids(ranking)[-1] == "2"
    assert ranking[3].score == 0.0


async def test_bm25_counts_the_title_twice() -> None:
    """A word in the title is worth more than in the text."""
    found = (Item(id="text", title="other", text="bridge"), Item(id="title", title="bridge", text="other"))
    assert ids(await Bm25().rank("bridge", Ranking(found), RunContext()))[0] == "title"


@pytest.mark.parametrize("fillers", [20, 600], ids=["few", "many"])
async def test_bm25_finds_by_feedback_what_shares_no_word_with_the_query(fillers: int) -> None:
    """Words that stand out in the first items found are asked for, too, and the query's own stay first."""
    found = items(
        "The tide mill has a sluice.", "A tide mill stores water behind a sluice.", "Oak for a sluice.",
        *[f"Notice {n}" for n in range(fillers)],
    )  # fmt: skip
    alone = await Bm25().rank("tide mill", Ranking(found), RunContext())
    more = await Bm25(feedback=2).rank("tide mill", Ranking(found), RunContext())
    assert alone.scores is not None
    assert more.scores is not None
    assert alone.scores[2] == 0.0 < more.scores[2]
    assert {*ids(more)[:2]} == {"0", "1"}


async def test_bm25_prefers_words_that_stand_together() -> None:
    """Pairs of the query count, and without them the order of the items decides."""
    found = items("house of white stone and a red door", "a white house of stone and red door")
    ranking = Ranking(found)
    assert ids(await Bm25().rank("white house", ranking, RunContext()))[0] == "1"
    apart = await Bm25(pairs=0).rank("white house", ranking, RunContext())
    assert apart[0].score == apart[1].score


async def test_bm25_finds_identifiers_by_their_parts() -> None:
    """And by the whole."""
    found = items("def getUserName(self): return 1", "def get_price(self): return 2", "nothing")
    assert ids(await Bm25().rank("user name", Ranking(found), RunContext()))[0] == "0"
    assert ids(await Bm25().rank("get_price", Ranking(found), RunContext()))[0] == "1"


async def test_bm25_stems_in_the_language_it_is_given() -> None:
    """German plurals with `german`, no forms at all with `none`."""
    found = items("Zeitungen", "Zeitung")
    german = await Bm25(language="german").rank("Zeitung", Ranking(found), RunContext())
    assert german[0].score == german[1].score > 0
    assert ids(await Bm25(language="none").rank("Zeitung", Ranking(found), RunContext())) == ["1", "0"]


@pytest.mark.parametrize(
    "query", ["", "the of", "unknownword", "🙂", "\x00", "a" * 10_000], ids=lambda query: repr(query[:8])
)
async def test_bm25_without_a_match_keeps_the_order(query: str) -> None:
    """Nothing is known, so nothing is moved."""
    assert ids(await Bm25().rank(query, Ranking(items("x y", "y z", "")), RunContext())) == ["0", "1", "2"]


async def test_bm25_ranks_no_items() -> None:
    """An empty context is no error."""
    assert len(await Bm25().rank("anything", Ranking(()), RunContext())) == 0


async def test_kept_makes_a_value_once_for_the_same_items() -> None:
    """The same tuple, or an equal one, also for runs at the same time; the last two are remembered."""
    made: list[tuple[Item, ...]] = []

    def make(found: tuple[Item, ...]) -> int:
        made.append(found)
        return len(found)

    kept, first, second = PerItemsCache[int](), items("one", "two"), items("three")
    assert await asyncio.gather(*(kept.get(first, make) for _ in range(8))) == [2] * 8
    for found in (items("one", "two"), second, first, second):
        assert await kept.get(found, make) == len(found)
    assert made == [first, second]
    await kept.get(items("four"), make)
    await kept.get(first, make)
    assert len(made) == 4


async def test_mmr_moves_a_copy_behind_what_is_new() -> None:
    """The best item stays first; its copy adds little."""
    found = items("red bridge over the river", "red bridge over the river!", "a bridge of wood", "no match")
    ranked = Ranking(found).scored("before", [1.0, 0.99, 0.8, 0.0])
    assert ids(await Mmr(weight=0.5, top=3).rank("bridge", ranked, RunContext())) == ["0", "2", "1", "3"]
    assert ids(await Mmr(weight=1.0).rank("bridge", ranked, RunContext())) == ["0", "1", "2", "3"]


async def test_mmr_leaves_what_is_below_the_top_below() -> None:
    """Only the best are reordered."""
    found = items(*["red bridge over the river"] * 4)
    ranked = Ranking(found).scored("before", [0.1, 0.2, 0.3, 0.4])
    assert ids(await Mmr(top=2).rank("bridge", ranked, RunContext())) == ["3", "2", "1", "0"]


async def test_mmr_ranks_by_the_query_where_nothing_has_ranked() -> None:
    """By likeness to it."""
    assert (
        ids(await Mmr().rank("wooden bridge", Ranking(items("a river", "a bridge", "a wooden bridge")), RunContext()))[
            0
        ]
        == "2"
    )


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("1970-01-02", 86_400.0), ("1970-01-01T01:00:00+01:00", 0.0), ("1970-01-01T00:00:10Z", 10.0), (5, 5.0),
        ("soon", None), (None, None), (True, None), ([1], None), ("", None),
    ],
)  # fmt: skip
def test_recency_reads_dates_and_seconds(date: Any, expected: float | None) -> None:
    """Whatever else stands there is no date."""
    assert seconds(date) == expected


async def test_recency_halves_with_every_half_life() -> None:
    """An item without a date is worth a half, one of the future no more than one of today."""
    dates = ["2026-01-31", "2026-01-21", "2026-01-11", None, "2027-01-01"]
    found = tuple(Item(id=str(n), text="", metadata={"day": date}) for n, date in enumerate(dates))
    ranking = await Recency(half_life_days=10, field="day", now="2026-01-31").rank("", Ranking(found), RunContext())
    assert [ranking.candidate(n).score for n in range(5)] == pytest.approx([1.0, 0.5, 0.25, 0.5, 1.0])


async def test_recency_mixes_with_the_ranker_before() -> None:
    """Its share is the weight."""
    found = tuple(
        Item(id=str(n), text="", metadata={"date": date}) for n, date in enumerate(["2020-01-01", "2026-01-01"])
    )
    ranked = Ranking(found).scored("before", [8.0, 2.0])
    assert ids(await Recency(weight=0.2, now="2026-01-01").rank("", ranked, RunContext())) == ["0", "1"]
    assert ids(await Recency(weight=0.8, now="2026-01-01").rank("", ranked, RunContext())) == ["1", "0"]


async def test_recency_counts_from_today() -> None:
    """Without `now`, the clock decides."""
    found = tuple(
        Item(id=str(n), text="", metadata={"date": date}) for n, date in enumerate(["1999-01-01", "2999-01-01"])
    )
    assert ids(await Recency().rank("", Ranking(found), RunContext())) == ["1", "0"]


def test_recency_refuses_a_now_that_is_no_date() -> None:
    """It would be ignored."""
    with pytest.raises(ValueError, match="not 'yesterday'"):
        Recency(now="yesterday")


@pytest.mark.parametrize(
    ("method", "expected"),
    [("zscore", ["2", "0", "1"]), ("minmax", ["2", "0", "1"]), ("rrf", ["2", "0", "1"])],
)
async def test_fuse_brings_scales_together(method: Any, expected: list[str]) -> None:
    """A ranker of large numbers does not drown the other."""
    fuse = Fuse(rankers=(Fixed(900.0, 100.0, 800.0), Fixed(0.1, 0.2, 0.9, name="other")), method=method)
    ranking = await fuse.rank("", Ranking(items("a", "b", "c")), RunContext())
    assert ids(ranking) == expected
    assert ranking[0].scores.keys() == {"fixed", "other", "fuse"}


async def test_fuse_weighs_its_rankers() -> None:
    """By place; two of one name stay apart."""
    rankers = (Fixed(1.0, 0.0), Fixed(0.0, 1.0))
    ranking = await Fuse(rankers=rankers, weights=(0.4, 0.6)).rank("", Ranking(items("a", "b")), RunContext())
    assert ids(ranking) == ["1", "0"]
    assert ranking[0].scores.keys() == {"fixed", "fixed 2", "fuse"}


class Vectors(Fixed):
    """One that says what it is worth, as those by vectors do."""

    usual_weight = 1.5


async def test_fuse_gives_vectors_less_weight_that_do_not_see_the_best_by_words() -> None:
    """Where they see it they have their whole weight, and where weights are named the named ones hold."""
    words, blind = Fixed(9.0, 8.0, 0.0, 0.0), Vectors(-5.0, 2.0, 4.0, 0.0, name="vectors")
    seeing, found = Vectors(5.0, 9.0, 0.0, 0.0, name="vectors"), Ranking(items("a", "b", "c", "d"))
    assert ids(await Fuse(rankers=(words, blind)).rank("", found, RunContext()))[0] == "0"
    assert ids(await Fuse(rankers=(words, blind), weights=(1.0, 1.5)).rank("", found, RunContext()))[0] == "1"
    assert ids(await Fuse(rankers=(words, seeing)).rank("", found, RunContext()))[0] == "1"


async def test_fuse_takes_a_ranker_that_scores_all_alike_for_none() -> None:
    """It has nothing to say."""
    ranking = await Fuse(rankers=(Fixed(3.0, 3.0), Fixed(1.0, 2.0))).rank("", Ranking(items("a", "b")), RunContext())
    assert ids(ranking) == ["1", "0"]


@pytest.mark.parametrize("method", ["zscore", "minmax", "rrf"])
@pytest.mark.parametrize(
    ("first", "expected"),
    [((0.1, 0.1, 0.1), ["2", "1", "0"]), ((1.0, 1.0 + 1e-15, 1.0), ["2", "1", "0"]), ((1e300, -1e300, 0.0), None)],
    ids=["equal", "equal but for rounding", "enormous"],
)
async def test_fuse_takes_any_scores(method: Any, first: tuple[float, ...], expected: list[str] | None) -> None:
    """What says nothing changes nothing, and nothing overflows."""
    fuse = Fuse(rankers=(Fixed(*first), Fixed(1.0, 2.0, 3.0)), method=method)
    ranking = await fuse.rank("", Ranking(items("a", "b", "c")), RunContext())
    assert all(abs(candidate.score) < 10 for candidate in ranking)
    if expected and method == "zscore":
        assert ids(ranking) == expected


async def test_fuse_ranks_the_candidates_of_a_search_as_it_ranks_all() -> None:
    """Its scales are those of the items at hand; the best of all stay the best of those found."""
    found = items(*(f"{'tide ' * (n % 7)}{'mill ' * (n % 5)}notice {n}" for n in range(900)))
    fuse = Fuse(rankers=(Bm25(), Bm25(pairs=0, b=0.2)))
    whole = ids(await fuse.rank("tide mill", Ranking(found), RunContext()))
    some = {item.id for item in found if int(item.id) % 3 == 0} | set(whole[:5])
    candidates = tuple(item for item in found if item.id in some)
    assert ids(await fuse.rank("tide mill", Ranking(candidates), RunContext()))[:5] == whole[:5]


@pytest.mark.parametrize("method", ["zscore", "minmax", "rrf"])
async def test_fuse_ranks_one_item_and_none(method: Any) -> None:
    """There is nothing to scale by."""
    one = await Fuse(rankers=(Fixed(7.0),), method=method).rank("", Ranking(items("a")), RunContext())
    assert ids(one) == ["0"]
    assert ids(await Fuse(rankers=(Fixed(),), method=method).rank("", Ranking(()), RunContext())) == []


async def test_fuse_opens_and_closes_its_rankers() -> None:
    """They may hold resources."""
    inner = Fixed(1.0)
    async with Fuse(rankers=(inner, Bm25())):
        assert inner.open
    assert not inner.open


@pytest.mark.parametrize(("rankers", "weights"), [((), ()), ((Fixed(),), (1.0, 2.0))], ids=["none", "weights"])
def test_fuse_refuses_rankers_and_weights_that_do_not_go_together(rankers: Any, weights: Any) -> None:
    """Found when the pipeline is built."""
    with pytest.raises(ValueError, match="ranker"):
        Fuse(rankers=rankers, weights=weights)


async def test_fuse_refuses_a_ranker_that_returns_another_ranking() -> None:
    """Items that nobody gathered are none."""

    class Inventing:
        async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
            return Ranking(items("mine")).scored("inventing", [1.0])

    with pytest.raises(RankerError, match="every ranker of `fuse` must return"):
        await Fuse(rankers=(Inventing(),)).rank("", Ranking(items("a")), RunContext())


words = st.sampled_from(["river", "bridge", "town", "getName", "3.5", "the", "été"])
texts = st.lists(st.lists(words, max_size=8).map(" ".join), max_size=8)


@pytest.mark.slow
@given(texts, st.lists(words, max_size=4).map(" ".join))
@settings(max_examples=40, deadline=None)
def test_rankers_return_every_item_once(found: list[str], query: str) -> None:
    """One after the other, whatever the items are."""

    async def ranked() -> Ranking:
        ranking = Ranking(items(*found, date="2026-01-01"))
        for ranker in (Bm25(), Recency(), Fuse(rankers=(Bm25(), Mmr()), method="rrf"), Mmr(top=3)):
            ranking = await ranker.rank(query, ranking, RunContext())
        return ranking

    assert sorted(ids(asyncio.run(ranked()))) == sorted(str(n) for n in range(len(found)))
