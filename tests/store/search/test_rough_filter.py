"""The rough filter passes over no row that matches, whatever is in its metadata."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import Item, Store
from nexus_core.store.records import checked_item
from nexus_core.store.search.rough_filter import rough_filter
from nexus_core.toolkit import parse_filter

VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([2**53, -(2**60), 2020, 0.5, 2.0, 1e300]),
        st.sampled_from(["", "2", "2020", "2020-05-01", "Ann", "[", "[1]", "{", "nul\0l", "é", '"', "true"]),
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
SCALARS = st.one_of(
    st.integers(-3, 3), st.sampled_from([2020, 2**53, 0.5, 2.0, "2", "Ann", "2020-01-01", "[1]", "nul\0l", "é"])
)
CONDITIONS = st.one_of(
    SCALARS,
    st.booleans(),
    st.lists(SCALARS, min_size=1, max_size=3),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), SCALARS, min_size=1, max_size=2),
    st.fixed_dictionaries({"not": SCALARS}),
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["year", "a", "a.b", 'q"']), VALUES, max_size=3),
    st.dictionaries(st.sampled_from(["year", "a", "a.b", 'q"']), CONDITIONS, max_size=2),
)
def test_sql_tells_only_what_is_sure(metadata: dict[str, Any], told: dict[str, Any]) -> None:
    """Texts that are numbers, lists, numbers too large for SQL, nulls and truths included."""
    assert_rough(metadata, told)


@pytest.mark.parametrize("value", ["", "nul", "nul\0l", "[", "Ann"])
@pytest.mark.parametrize("operand", ["", "nul", "nul\0l", ["", "Ann"], ["nul\0l", "["], {"not": "nul\0l"}, {"not": ""}])
def test_sql_does_not_tell_of_texts_that_it_cannot_read(value: str, operand: Any) -> None:
    """One of nothing, which no field holds, and one with a NUL, of which it sees the beginning."""
    assert_rough({"year": value}, {"year": operand})


def assert_rough(metadata: dict[str, Any], told: dict[str, Any]) -> None:
    """Assert that SQL passes over no row that matches, and is sure of none that does not."""
    where = parse_filter(told)
    rough = rough_filter(where)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE items (metadata TEXT, front INTEGER)")
    connection.execute("CREATE TABLE fronts (id INTEGER, metadata TEXT)")
    item = Item(id="i", text="x", metadata=metadata)
    connection.execute("INSERT INTO items VALUES (?, NULL)", (checked_item(item),))
    statement = f"SELECT {rough.may}, {rough.surely} FROM items"
    may, surely = connection.execute(statement, (*rough.may_operands, *rough.surely_operands)).fetchone()
    assert may or not where.matches(item)
    assert not (may and surely) or where.matches(item)


@pytest.mark.parametrize("where", [{"year": {"gte": 2020}}, {"author": "Ann"}, {"author": ["Ann", "Bob"]}])
async def test_a_filtered_page_holds_what_matches(tmp_path: Path, where: dict[str, Any]) -> None:
    """Also of items that came after the first look, and where the metadata of another one are damaged."""
    items = [Item(id=f"i{n}", text="x", metadata={"year": 2015 + n, "author": ["Ann", "Cy"][n % 2]}) for n in range(10)]
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", items[:6])
        chosen = parse_filter(where)
        for count in (6, 10):
            await store.add("c", items[:count])
            found = [item.id for _, item in await store.items("c", where=chosen)]
            assert found == [item.id for item in items[:count] if chosen.matches(item)]
