"""The source `sql`: rows of a database of SQLite, through SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Documents, RunContext, Secret, SourceError, Store
from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry

pytestmark = pytest.mark.slow

SQL = PluginRegistry.installed().component(Kind.SOURCE, "sql")
QUERY = "SELECT id, title, body, changed FROM tickets ORDER BY id"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Do something to the database, which has two tickets."""

    def execute(statement: str, *values: Any) -> None:
        connection = sqlite3.connect(tmp_path / "tickets.db")
        with connection:
            connection.execute(statement, values)
        connection.close()

    execute("CREATE TABLE tickets (id INTEGER PRIMARY KEY, title TEXT, body TEXT, changed TEXT, photo BLOB)")
    execute("INSERT INTO tickets VALUES (17, 'Lift', 'It is out of order.', '2026-01-02', x'00')")
    execute("INSERT INTO tickets VALUES (18, 'Printer', 'It has no paper.', NULL, x'00')")
    return execute


def tickets(folder: Path, **options: Any) -> Any:
    """Return a source of all tickets."""
    given = {"query": QUERY, "text": "{{ title }}: {{ body }}", "title": "title", "prefix": "tickets/", **options}
    source = SQL(url="sqlite:///tickets.db", **given)
    source.base_dir = str(folder)
    return source


def rows(source: Any) -> Any:
    """Return what is read of the one document."""
    (mark,) = source.documents()
    return source.read(mark)


def test_a_row_becomes_an_item_by_templates(tmp_path: Path, run: Callable[..., None]) -> None:
    """Text, title and metadata come from columns; what is empty stays out."""
    source = tickets(tmp_path, metadata=("changed",))
    assert isinstance(source, Documents)
    first, second = rows(source).items
    assert (first.id, first.title, first.text) == ("tickets/17", "Lift", "Lift: It is out of order.")
    assert (first.metadata, second.metadata) == ({"changed": "2026-01-02"}, {})


async def test_only_rows_that_have_changed_become_new_items(tmp_path: Path, run: Callable[..., None]) -> None:
    """In a store and in a pipeline; a row that is gone is an item that is gone."""
    source = tickets(tmp_path, refresh_s=0)
    before = await source.gather("", RunContext())
    assert await source.gather("", RunContext()) is before
    async with Store(tmp_path / "store") as store:
        await store.create("tickets")
        await store.ingest("tickets", source, origin=source.origin, within=source.within)
        run("UPDATE tickets SET body = 'It works.' WHERE id = 17")
        run("INSERT INTO tickets VALUES (19, 'Door', 'It squeaks.', NULL, NULL)")
        run("DELETE FROM tickets WHERE id = 18")
        done = await store.ingest("tickets", source, origin=source.origin, within=source.within)
        assert (done.items.new, done.items.changed, done.items.removed, done.failed) == (1, 1, 1, ())
    after = await source.gather("", RunContext())
    assert [item.text for item in after] == ["Lift: It works.", "Door: It squeaks."]


@pytest.mark.parametrize("query", ["DELETE FROM tickets", "UPDATE tickets SET body = ''", "DROP TABLE tickets"])
def test_a_query_changes_nothing(tmp_path: Path, run: Callable[..., None], query: str) -> None:
    """Whatever it is."""
    with pytest.raises(SourceError, match="cannot be read"):
        list(rows(tickets(tmp_path, query=query)).items)
    assert len(list(rows(tickets(tmp_path)).items)) == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"query": "SELECT * FROM nowhere"}, "no such table"),
        ({"query": "SELECT title FROM tickets"}, "no column 'id'"),
        ({"text": "{{ boddy }}"}, "no column 'boddy', but id, title, body, changed"),
        ({"metadata": ("when",)}, "no column 'when'"),
    ],
    ids=["table", "id", "text", "metadata"],
)
def test_what_cannot_be_read_is_an_error(
    tmp_path: Path, run: Callable[..., None], options: dict[str, Any], reason: str
) -> None:
    """With what there is instead."""
    with pytest.raises(SourceError, match=reason):
        list(rows(tickets(tmp_path, **options)).items)


def test_rows_without_id_or_text_are_reported(tmp_path: Path, run: Callable[..., None]) -> None:
    """And those with the id of another one; binary columns are no text."""
    run("INSERT INTO tickets VALUES (19, NULL, NULL, NULL, NULL)")
    read = rows(tickets(tmp_path, query=f"SELECT * FROM ({QUERY}) UNION ALL SELECT 17, 'a', 'b', NULL", text="body"))
    assert [item.id for item in read.items] == ["tickets/17", "tickets/18"]
    assert [problem.rpartition(" (")[2] for problem in read.problems] == [
        "19) has no text; left out", "17) has the id of another row; left out",
    ]  # fmt: skip
    few = rows(tickets(tmp_path, most=1))
    assert (len(list(few.items)), "more rows than most: 1" in few.problems[0]) == (1, True)


def test_no_password_is_shown() -> None:
    """In origin, name, errors and representation."""
    source = SQL(url="acme://me:hunter2@example.com/db", query="SELECT 1", text="a", password=Secret("hunter3"))
    (mark,) = source.documents()
    with pytest.raises(SourceError) as caught:
        list(source.read(mark).items)
    told = f"{source.origin} {mark!r} {caught.value}"
    assert "me@example.com" in told
    assert "hunter" not in told


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """SQLite would make an empty one."""
    with pytest.raises(SourceError, match="there is no file"):
        list(rows(tickets(tmp_path)).items)
    assert not (tmp_path / "tickets.db").exists()


@pytest.mark.parametrize("options", [{"url": "tickets.db"}, {"text": "{{ title"}])
def test_what_is_no_address_or_template_is_refused(options: dict[str, Any]) -> None:
    """Before anything is asked."""
    with pytest.raises(ValueError, match=r"."):
        SQL(**{"url": "sqlite:///tickets.db", "query": QUERY, "text": "a", **options})
