"""Answer recall: what counts as an answer that stands in a prompt."""

from __future__ import annotations

import pytest

from nexus_core import Item, PackedItem
from nexus_core.evaluation.collection import JudgedCollection, Query
from nexus_core.evaluation.measures import Needed, holds_answer

TEXT = "One fact. Two facts. Three facts."
ENDS = (9, 20, 33)


def packed(**texts: str) -> list[PackedItem]:
    """Return items of which some text was packed."""
    return [
        PackedItem(number=number, item=Item(id=name, text=TEXT), text=text)
        for number, (name, text) in enumerate(texts.items(), 1)
    ]


def holds(query: Query, items: list[PackedItem], needed: Needed = "all") -> bool | None:
    collection = JudgedCollection(
        name="c", queries=(query,), relevant={"q": {"a": 1, "b": 1}}, ends={"a": ENDS, "b": ENDS}
    )
    return holds_answer(items, query, collection, needed)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        pytest.param({"a": "One fact."}, True, id="in-a-relevant-item"),
        pytest.param({"a": "one fact"}, False, id="written-differently"),
        pytest.param({"a": "Two facts.", "b": "an only one"}, True, id="another-answer"),
        pytest.param({"c": "One fact."}, False, id="in-an-item-that-is-not-relevant"),
        pytest.param({}, False, id="nothing-packed"),
    ],
)
def test_an_answer_is_searched_in_what_was_packed_of_relevant_items(texts: dict[str, str], found: bool) -> None:
    """As it is written, any of the answers."""
    assert holds(Query(id="q", text="?", answers=("One fact", "only one")), packed(**texts)) is found


@pytest.mark.parametrize(
    ("texts", "needed", "found"),
    [
        pytest.param({"a": "One fact. Two facts.", "b": TEXT}, "all", True, id="both"),
        pytest.param({"a": "One fact. … Three", "b": TEXT}, "all", False, id="a-sentence-is-missing"),
        pytest.param({"a": "Three facts.", "b": TEXT}, "all", True, id="the-other-alternative"),
        pytest.param({"a": TEXT}, "all", False, id="one-of-two-items"),
        pytest.param({"a": TEXT}, "any", True, id="one-is-enough"),
        pytest.param({"a": "Two facts.", "b": "One fact."}, "any", False, id="none"),
    ],
)
def test_evidence_is_every_sentence_of_an_alternative(texts: dict[str, str], needed: Needed, found: bool) -> None:
    """Of all items that are named, or of any."""
    asked = Query(id="q", text="?", answers=("fact",), evidence={"a": [[0, 1], [2]], "b": [[1]]})
    assert holds(asked, packed(**texts), needed) is found


def test_a_query_without_answers_is_not_judged() -> None:
    """Neither found nor missed."""
    assert holds(Query(id="q", text="?"), packed(a=TEXT)) is None
