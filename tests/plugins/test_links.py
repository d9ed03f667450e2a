"""The ranker `links`: what good items link to gains, and nothing else moves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from nexus_rankers.links import Links

from nexus_core import Item, Ranking, RunContext


def linked(**links: Any) -> tuple[Item, ...]:
    """Return an item for each name, with its links."""
    return tuple(Item(id=name, text=name, metadata={"links": found}) for name, found in links.items())


async def scores(items: tuple[Item, ...], *before: float, **options: Any) -> list[float]:
    """Return the scores by links after those of another ranker."""
    ranking = await Links(**options).rank("", Ranking(items).scored("before", before), RunContext())
    assert [name for name, _ in ranking.columns] == ["before", "links"]
    return [ranking.candidate(place).score for place in range(len(items))]


async def test_links_lift_what_a_good_item_links_to() -> None:
    """By its share of that item's score, brought to the range from 0 to 1."""
    items = linked(best=["answer"], other=[], answer=[], last=["other"])
    assert await scores(items, 10, 8, 2, 0) == pytest.approx([1.0, 0.8, 0.5, 0.0])


async def test_links_count_the_best_and_not_the_sum() -> None:
    """What many items link to is not what was asked for."""
    items = linked(a=["hub"], b=["hub"], c=["hub"], d=["answer"], hub=[], answer=[])
    found = await scores(items, 1, 1, 1, 2, 0, 0, weight=0.5)
    assert found[4:] == [0.25, 0.5]


async def test_links_reach_as_far_as_they_are_told() -> None:
    """A second round passes on what the first has brought, damped again."""
    items = linked(a=["b"], b=["c"], c=[])
    assert (await scores(items, 1, 0, 0, weight=0.5))[2] == 0.0
    assert await scores(items, 1, 0, 0, weight=0.5, rounds=2) == [1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    "links", [None, "b", 7, {"b": 1}, [], ["gone"], [7, None, ["b"]], ["a"]],
    ids=["none", "text", "number", "mapping", "empty", "unknown", "no texts", "itself"],
)  # fmt: skip
async def test_what_is_no_link_to_another_item_is_ignored(links: Any) -> None:
    """Metadata may hold anything."""
    assert await scores(linked(a=links, b=[]), 3, 1) == [1.0, 0.0]


async def test_links_twice_count_once() -> None:
    """It is the same link."""
    assert await scores(linked(a=["b", "b"], b=[]), 1, 0) == [1.0, 0.3]


async def test_without_a_ranker_before_what_is_linked_stands_first() -> None:
    """All are worth the same but for that."""
    ranking = await Links().rank("", Ranking(linked(a=[], b=["c"], c=[])), RunContext())
    assert [candidate.item.id for candidate in ranking] == ["c", "a", "b"]


@pytest.mark.slow
@given(
    st.lists(st.lists(st.integers(0, 9).map(str), max_size=4), max_size=10),
    st.integers(1, 4),
    st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
async def test_no_item_loses_and_none_gains_without_a_link(links: list[list[str]], rounds: int, weight: float) -> None:
    """Whatever links to whatever, in circles too, and scores stay bounded."""
    items = linked(**{str(place): found for place, found in enumerate(links)})
    before = [place / max(len(items) - 1, 1) for place in range(len(items))]
    after = await scores(items, *before, rounds=rounds, weight=weight)
    targets = {name for place, found in enumerate(links) for name in found if name != str(place)}
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        assert old - 1e-9 <= new <= rounds + 1
        assert str(place) in targets or new == pytest.approx(old)
