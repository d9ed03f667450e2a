"""Filters say what holds, and what is wrong with those that say nothing."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from nexus_core import Item
from nexus_core.toolkit import parse_filter

ITEM = Item(
    id="a.md#one", text="", title="Leave", kind="markdown", tags=("hr", "public"), source="a.md",
    metadata={
        "year": 2021, "author": ["Ann", "Bob"], "status": "final", "date": "2024-03-05", "page": {"label": "iv"},
        "draft": False, "size": "12.5", "a.b": 1, "empty": "",
    },
)  # fmt: skip


@pytest.mark.parametrize(
    "where",
    [
        {}, None, {"tags": "hr"}, {"tags": ["x", "public"]}, {"kind": "markdown"}, {"id": "a.md#one"},
        {"year": 2021}, {"year": "2021"}, {"year": {"gte": 2021, "lt": 2022}}, {"year": {"in": [1, 2021]}},
        {"author": "Ann"}, {"author": {"in": ["Cy", "Bob"]}}, {"author": {"not": "Cy"}}, {"missing": {"not": "x"}},
        {"missing": {"exists": False}}, {"missing": None}, {"empty": {"exists": False}}, {"status": {"exists": True}},
        {"status": {"not": None}}, {"date": {"gte": "2024"}}, {"date": {"gt": "2024-03", "lte": date(2024, 3, 5)}},
        {"date": {"lt": "2024-03-05T10:00:00Z"}}, {"page.label": "iv"}, {"a.b": 1}, {"draft": False},
        {"size": {"gt": 12}}, {"status": {"gte": "f", "lt": "g"}}, {"year": {"gte": "2020-06"}},
    ],
)  # fmt: skip
def test_conditions_hold(where: Any) -> None:
    """Equal, in, ranges of numbers, dates and texts, exists and not, of own fields, metadata and lists."""
    assert parse_filter(where).matches(ITEM)


@pytest.mark.parametrize(
    "where",
    [
        {"tags": "x"}, {"tags": {"not": "hr"}}, {"year": 2020}, {"year": True}, {"draft": 0}, {"year": {"gt": 2021}},
        {"missing": {"gt": 1}}, {"missing": "x"}, {"status": {"gt": 1}}, {"author": {"not": ["Ann"]}},
        {"date": {"lt": "2024-03-05"}}, {"status": {"gt": "2024"}}, {"page": {"exists": False}},
        {"tags": "hr", "year": 1999}, {"status": {"not": {"exists": True}}},
    ],
)  # fmt: skip
def test_conditions_do_not_hold(where: Any) -> None:
    """And each of them keeps out what is not so."""
    assert not parse_filter(where).matches(ITEM)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("tags", "give a mapping"), ({"year": {}}, "has no condition"), ({"year": {"gtr": 1}}, "did you mean 'gt'"),
        ({"year": {"in": 3}}, "takes a list"), ({"year": {"exists": "yes"}}, "true or false"),
        ({"year": {"gt": None}}, "takes a number"), ({"year": [[1]]}, "of type list"),
        ({"a..b": 1}, "name of no field"),
        ({"year": {"not": {"not": 1}}}, "leave both out"), ({3: 1}, "name of no field"),
        ({"year": {"not": {"gt": 1, "lt": 3}}}, "give one each"), ({"year": [*range(1001)]}, "the most"),
        ({f"f{n}": n for n in range(33)}, "32 are the most"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(where: Any, told: str) -> None:
    """With the field, what is wrong and what is known."""
    with pytest.raises(ValueError, match="`where`") as error:
        parse_filter(where)
    assert told in str(error.value)


def test_required_tags_are_told_apart() -> None:
    """An index of tags finds them; what is left is looked at item by item."""
    where = parse_filter({"tags": "hr", "year": 2021})
    assert where.required_tags == ("hr",)
    assert where.without_tags() == parse_filter({"year": 2021})
