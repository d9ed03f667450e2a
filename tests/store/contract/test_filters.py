"""Filters, whatever database the rows are in: they find what the plain rule says, and the rest does not leave it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, example, given, settings, strategies as st

from nexus_core import Item, Store, Viewer
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.items import removals
from nexus_core.store.postgres.connection import PostgresConnection
from nexus_core.store.records import Context
from nexus_core.store.search import index_updates
from nexus_core.store.search.rough_filter import rough_filter
from nexus_core.store.search.visibility import Visibility
from nexus_core.toolkit import Filter, parse_filter

pytestmark = pytest.mark.slow

NAMES = ["year", "a", "a.b", 'q"', "b\\s", "tab\t", "a b", "é?", "50%", "x:{y}", "it's", "0", "$", "[0]", "日付"]
TEXTS = [
    "", " ", "2", "2.0", " 2", "1_000", "\uff12\uff10\uff12\uff10", "nan", "Infinity", "-0", "1e3", "2020",
    "2020-05-01", "2020-05-01T23:59:00-11:00", "2020-02-31", "2020-05", "0999", "9999-12-31T23:59:59-01:00",
    "Ann", "ann", "[", "[1]", "{", '{"a":1}', "nul\0l", "é", "e\u0301",
    '"', "\\", "\\u0041", "\x1b[0m", "true", "null", "\U0001f600", "\uffff", "it's ?", "%s",
]  # fmt: skip
NUMBERS: list[Any] = [
    0, 1, -1, 2, 999, 1000, 2019, 2020, 2021, 9999, 2**53 - 1, 2**53, 2**53 + 1, -(2**63), 2**63, 10**18,
    10**25, 10**400, 0.0, -0.0, 0.5, 2.0, 2020.0, 2019.9999999999998, 1e15, 1e16, 1e300, -1e-300, 5e-324,
]  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.booleans(), st.integers(-3, 3), st.floats(-3, 3)
)
VALUES = st.recursive(
    st.none() | SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)
BOUNDS = st.sampled_from([*TEXTS, *NUMBERS, "\ud800", float("inf"), float("nan")])
CONDITIONS = st.recursive(
    st.one_of(
        SCALARS,
        st.none(),
        st.sampled_from(["\ud800"]),
        st.lists(SCALARS | st.none(), min_size=1, max_size=10),
        st.fixed_dictionaries({"exists": st.booleans()}),
        st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), BOUNDS, min_size=1, max_size=1),
    ),
    lambda inner: st.fixed_dictionaries({"not": inner}),
    max_leaves=1,
).filter(lambda told: "'not': {'not'" not in str(told))


@pytest.fixture(params=["folder", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Yield an open store with an empty context."""
    place = request.getfixturevalue("postgres") if request.param == "postgres" else str(tmp_path / "store")
    async with Store(place) as opened:
        await opened.create("harbour")
        yield opened


@pytest.fixture(params=["folder", "postgres"])
def rows(request: pytest.FixtureRequest) -> Iterator[SqlConnection]:
    """Yield a connection to a database with the columns that a filter reads."""
    url = request.getfixturevalue("database") if request.param == "postgres" else ""
    connection: SqlConnection = PostgresConnection(url) if url else sqlite3.connect(":memory:")
    kind = 'TEXT COLLATE "C"' if url else "TEXT"
    connection.execute(f"CREATE TABLE items (key BIGINT, front BIGINT, metadata {kind}, title {kind}, kind {kind})")
    connection.execute("CREATE TABLE fronts (id BIGINT, metadata TEXT)")
    yield connection
    connection.close()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3), min_size=1, max_size=4),
    st.sampled_from(TEXTS),
    st.dictionaries(st.sampled_from([*NAMES, "title", "kind"]), CONDITIONS, min_size=1, max_size=3),
)
@example([{"a": True}, {"a": 1}, {"a": "1"}, {"a": [1]}, {"a": None}, {}], "", {"a": 1})
@example([{"a": "2020-05-01T23:59:00-11:00"}], "", {"a": {"gt": "2020-05-02"}})
@example([{"a": "2020-05-03T10:00:00+14:00"}], "", {"a": {"lt": "2020-05-02T23:00"}})
@example([{"a": "nul\0l"}, {"a": "nul"}], "", {"a": "nul"})
@example([{"a": "nul\0l"}], "", {"a": {"not": "nul"}})
@example([{"a": "nul\0l"}], "", {"a": {"gt": "nul"}})
@example([{"a": 2**53}, {"a": 2**53 + 1}, {"a": float(2**53)}], "", {"a": [2**53, "9007199254740993"]})
@example([{f"f{n}": [n] for n in range(32)}], "", {f"f{n}": n for n in range(32)})
def test_sql_decides_only_what_is_sure(
    rows: SqlConnection, metadata: list[dict[str, Any]], title: str, told: dict[str, Any]
) -> None:
    """It leaves out nothing that matches, and lets through unseen nothing that does not, whatever the values are."""
    where = parse_filter(told)
    title = title.replace("\0", "") if isinstance(rows, PostgresConnection) else title
    items = [Item(id="i", text="x", title=title, kind="note", metadata=each) for each in metadata]
    rows.execute("DELETE FROM items")
    written = [json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in metadata]
    for key, each in enumerate(written):
        rows.execute("INSERT INTO items VALUES (?, NULL, ?, ?, 'note')", (key, each, title))
    rough = rough_filter(where)
    found = rows.execute(rough.statement("key >= ?"), (*rough.operands, 0)).fetchall()
    matching = {key for key, item in enumerate(items) if where.matches(item)}
    assert {key for key, metadata, *_ in found if metadata is None} <= matching <= {key for key, *_ in found}


class Watched:
    """A connection whose rows are counted as they come out of the database."""

    def __init__(self, connection: SqlConnection) -> None:
        self.connection = connection
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Run a statement, and count what it returns."""
        found = self.connection.execute(sql, parameters).fetchall()
        self.rows += len(found)
        return _Rows(found)


class _Rows(list[Any]):
    def fetchone(self) -> Any:
        return self.pop(0) if self else None

    fetchall = list.copy


def keys(connection: SqlConnection, context: Context, viewer: Viewer | None, where: Filter) -> list[int]:
    """Return the keys that may be found, with nothing known from before."""
    visible = Visibility(connection).of(context, viewer, where)
    assert visible is not None
    return [int(key) for key in visible.keys]


HR = Viewer(groups=frozenset({"group:hr"}))
FILTERS = [
    {"year": 2020}, {"year": {"gte": 2019, "lt": 2021}}, {"year": {"not": 2020}}, {"year": {"gt": "2020-05"}},
    {"a b": "Ann"},
    {"year": {"exists": False}}, {"year": ["Ann", "2020-05-01"]}, {"year": {"lt": 2.5}}, {"kind": "note", "year": True},
    {"year": {"gte": "A"}}, {"tags": {"not": "t1"}, "year": {"exists": True}}, {"tags": "t0", "year": {"lte": 2020}},
]  # fmt: skip


async def test_a_store_finds_what_the_plain_rule_says(store: Store) -> None:
    """Of items with all kinds of values, alone and in lists; with tags, and for who may see a part."""
    texts = [text for text in TEXTS if "\0" not in text]
    values: list[Any] = [*texts, *NUMBERS, True, False, None, [], [None], ["Ann", 2020], {"a": 1}, {}]
    items = [
        Item(
            id=f"i{n}", text="x", kind="note" if n % 2 else "text", tags=(f"t{n % 2}",),
            metadata={"year": value, "a b": value} if n % 7 else {"a b": value},
            readers=("group:hr",) if n % 3 == 0 else (),
        )
        for n, value in enumerate([*values, *([value] for value in values)])
    ]  # fmt: skip
    await store.add("harbour", items)
    context = await store.context("harbour")
    numbers = dict(await store.items("harbour", limit=1000))
    for told in FILTERS:
        where = parse_filter(told)
        for viewer in (None, HR, Viewer()):
            expected = [
                key
                for key, item in numbers.items()
                if where.matches(item) and (viewer is None or viewer.may_see(item.readers))
            ]
            assert await store.read(keys, context, viewer, where) == expected, (told, viewer)


@pytest.mark.parametrize(
    ("told", "count"),
    [({"year": {"gte": 2095}}, 5), ({"author": "Ann"}, 50), ({"day": {"gte": "2024-12-27"}}, 6), ({"who": "a7"}, 1)],
)
async def test_what_surely_does_not_match_stays_in_the_database(store: Store, told: dict[str, Any], count: int) -> None:
    """One statement, whatever there is; the rows that it returns are those that match."""
    items = [
        Item(
            id=f"i{n}", text="x",
            metadata={
                "year": 2000 + n, "author": ("Ann", "Bob")[n % 2], "day": f"2024-12-{n % 28 + 1:02}", "who": [f"a{n}"],
            },
        )
        for n in range(100)
    ]  # fmt: skip
    await store.add("harbour", items)
    context = await store.context("harbour")
    where = parse_filter(told)

    def look(connection: SqlConnection) -> tuple[list[int], int]:
        watched = Watched(connection)
        return keys(watched, context, None, where), watched.rows

    found, rows = await store.read(look)
    assert len(found) == sum(map(where.matches, items)) == count
    assert rows == count + 1 + (3 if "day" in told else 0)  # the state of the context; dates of another zone


async def test_metadata_that_are_no_json_do_not_keep_others_from_being_found(store: Store) -> None:
    """Also in the transaction that goes on; the item itself is told of where it is read."""
    await store.add("harbour", [Item(id=f"i{n}", text="x", metadata={"year": 2020 + n}) for n in range(4)])
    context = await store.context("harbour")

    def damage(connection: SqlConnection) -> None:
        connection.execute("UPDATE items SET metadata = '{\"year\":2022,' WHERE id = 'i2'")

    def look(connection: SqlConnection) -> list[int]:
        found = [keys(connection, context, None, parse_filter({"year": {"gte": bound}})) for bound in (2022, 2021)]
        return [*map(len, found)]

    await store.write(damage)
    assert await store.read(look) == [1, 2]
    assert [item.id for _, item in await store.items("harbour", where=parse_filter({"year": {"gte": 2021}}))] == [
        "i1",
        "i3",
    ]


@pytest.mark.parametrize("kept", [10_000, 0])
async def test_a_change_costs_in_proportion_to_what_has_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """What is known goes on with items that have come, and without those that have gone, whoever has changed them.

    Where the log of removals does not reach back, each key is looked up once.
    """
    monkeypatch.setattr(removals, "MOST", kept)
    monkeypatch.setattr(index_updates, "LAST", kept)
    items = [Item(id=f"i{n}", text="x", tags=("t",), metadata={"year": 2000 + n}) for n in range(300)]
    await store.add("harbour", items)
    context = await store.context("harbour")
    asked = [
        (None, parse_filter({"year": {"gte": 2100}})),
        (Viewer(tags=frozenset({"t"})), parse_filter({})),
        (None, parse_filter({"tags": "t", "year": {"lt": 2200}})),
    ]
    watched = await store.read(Watched)
    kept_visible = Visibility(watched)

    def look(_: SqlConnection) -> int:
        before = watched.rows
        for viewer, where in asked:
            found = kept_visible.of(context, viewer, where)
            assert found is not None
            assert [int(key) for key in found.keys] == keys(watched.connection, context, viewer, where)
        return watched.rows - before

    assert await store.read(look) > 300
    assert await store.read(look) <= 2 * len(asked)  # nothing has changed: the state of the context, and its grants
    await store.add("harbour", [*(evolve(item, text="y") for item in items[198:203]), evolve(items[0], id="new")])
    await store.remove("harbour", ["i199", "i250", "i1"])
    await store.tag("harbour", ["i201", "i202"], remove=["t"])
    rows = await store.read(look)
    assert rows <= 60 if kept else rows > 300
