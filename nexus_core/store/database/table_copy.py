"""Brings the rows of one store's database into another's, table by table, in the order of their keys.

Both sides are read side by side: what is equal is left alone, so that a copy that was killed goes on where it was, and
the same walk without writing is the proof that nothing differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from attrs import evolve, frozen

from nexus_core.contract.errors import StoreError, UsageError
from nexus_core.store.database.sql import SqlConnection

PAGE = 200
"""Rows that are read, and at most written, at a time: the text of an item may be large."""

Row = tuple[Any, ...]
Seen = Callable[[int, int, str], None]
"""Is told how many rows of a table are done, of how many, and which table it is."""
Locate = Callable[[Mapping[str, Any]], str]
"""Returns how messages call a row."""
Transaction = Callable[[], AbstractContextManager[SqlConnection]]
"""Gives the connection that writes, in a transaction."""


@frozen
class CopiedTable:
    """A table, and the columns by which its rows are told apart and walked through."""

    name: str
    key: tuple[str, ...]


TABLES = (
    CopiedTable("settings", ("name",)),
    CopiedTable("grants", ("id",)),
    CopiedTable("contexts", ("id",)),
    CopiedTable("context_grants", ("context_id", "grant_id")),
    CopiedTable("context_languages", ("context_id", "language")),
    CopiedTable("origins", ("context_id", "origin")),
    CopiedTable("aliases", ("context_id", "id")),
    CopiedTable("objects", ("key",)),
    CopiedTable("documents", ("id",)),
    CopiedTable("fronts", ("id",)),
    CopiedTable("items", ("key",)),
    CopiedTable("tags", ("item_key", "tag")),
    CopiedTable("links", ("item_key", "target")),
    CopiedTable("figures", ("item_key",)),
    CopiedTable("vector_models", ("id",)),
    CopiedTable("vectors", ("item_key", "model")),
    CopiedTable("vector_parts", ("key",)),
    CopiedTable("keys", ("id",)),
    CopiedTable("conversations", ("key",)),
    CopiedTable("turns", ("key",)),
    CopiedTable("replaced_turns", ("conversation_key", "number", "version")),
    CopiedTable("share_links", ("conversation_key",)),
    CopiedTable("answers", ("key",)),
    CopiedTable("sessions", ("digest",)),
    CopiedTable("spend", ("day", "kind", "name")),
    CopiedTable("runs", ("id",)),
    CopiedTable("run_events", ("run_id", "first_event")),
    CopiedTable("approvals", ("run_id", "call_id")),
    CopiedTable("key_budgets", ("name",)),
    CopiedTable("wrong_keys", ("origin",)),
    CopiedTable("choices", ("name",)),
    CopiedTable("usage", ("day", "pipeline", "model", "model_id", "outcome")),
)
"""What is copied: each after those that it refers to."""
DERIVED = frozenset({"indexes", "index_snapshots", "vector_indexes", "removals", "removal_log"})
"""What each store works out by itself."""
UNFINISHED = "copy_unfinished"
"""The setting of a store that something is being copied into, or was when that was interrupted."""
FIRST, UPDATE = "first", "update"
"""Its values: the store was never whole, or it is a backup that is brought up to its store."""
OWN_SETTINGS = frozenset({"objects", "copy_of", UNFINISHED})
"""Settings that say where a store is, and not what is in it."""


@frozen
class Differences:
    """How many rows one side has, and what of them the other one lacked, had otherwise, or had besides."""

    rows: int = 0
    lacking: int = 0
    changed: int = 0
    extra: int = 0

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self.lacking or self.changed or self.extra)


def unfinished_copy(connection: SqlConnection) -> str | None:
    """Return what is being copied into a store, `FIRST` or `UPDATE`, or was when it was interrupted; mostly `None`."""
    found = connection.execute("SELECT value FROM settings WHERE name = ?", (UNFINISHED,)).fetchone()
    return None if found is None else str(found[0])


def refuse_unfinished(connection: SqlConnection, name: str) -> None:
    """Raise StoreError for half a copy that never was whole: what is read there or written would be of no store."""
    if unfinished_copy(connection) == FIRST:
        raise StoreError(
            f"{name} is a copy that is not whole: it was interrupted, or is under way; run the same `nexus store copy`,"
            " `backup` or `restore` again, which goes on where it was"
        )


def compare(source: SqlConnection, target: SqlConnection, table: CopiedTable) -> Differences:
    """Return how the rows of a table differ."""
    return _walk(source, target, table, None)


def copy_rows(
    source: SqlConnection, target: SqlConnection, table: CopiedTable, transaction: Transaction,
    seen: Seen | None = None,
) -> Differences:  # fmt: skip
    """Make the rows of a table those of the source, and return what has changed; `seen` is told the progress.

    `target` reads outside of the transactions, each of which takes at most `PAGE` rows.
    """
    columns = _columns(source, table)
    total = source.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0] if seen is not None else 0
    told = None if seen is None else partial(_tell, seen, int(total), table.name)
    return _walk(source, target, table, _Writer(table, columns, transaction, partial(_locate, source, table)), told)


def _locate(source: SqlConnection, table: CopiedTable, row: Mapping[str, Any]) -> str:
    """Return how messages call a row: an item by its id and context, any other by its table and key."""
    item = row.get("key") if table.name == "items" else row.get("item_key")
    if item is not None:
        found = source.execute(
            "SELECT items.id, contexts.name FROM items JOIN contexts ON contexts.id = context_id WHERE key = ?", (item,)
        ).fetchone()
        if found is not None:
            return f"the item {found[0]!r} in the context {found[1]!r} (table {table.name})"
    keys = ", ".join(f"{column} {row[column]!r}" for column in table.key)
    return f"the row of {table.name} with {keys}"


def _tell(seen: Seen, total: int, name: str, done: int) -> None:
    seen(min(done, total), total, name)


def _walk(
    source: SqlConnection, target: SqlConnection, table: CopiedTable, writer: _Writer | None,
    seen: Callable[[int], None] | None = None,
) -> Differences:  # fmt: skip
    columns = _columns(source, table)
    count = len(table.key)
    ours, theirs = _rows(source, table, columns), _rows(target, table, columns)
    told = Differences()
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[:count] < other[:count]):
            assert one is not None
            told = evolve(told, rows=told.rows + 1, lacking=told.lacking + 1)
            if writer is not None:
                writer.put(one)
            one = next(ours, None)
        elif one is None or other[:count] < one[:count]:
            told = evolve(told, extra=told.extra + 1)
            if writer is not None:
                writer.remove(other[:count])
            other = next(theirs, None)
        else:
            is_changed = one != other
            told = evolve(told, rows=told.rows + 1, changed=told.changed + is_changed)
            if writer is not None and is_changed:
                writer.put(one)
            one, other = next(ours, None), next(theirs, None)
        if seen is not None and told.rows % PAGE == 0:
            seen(told.rows)
    if writer is not None:
        writer.flush()
    return told


class _Writer:
    """Gathers what is to change in a table and does it a page at a time; what is to go goes first."""

    def __init__(self, table: CopiedTable, columns: Sequence[str], transaction: Transaction, locate: Locate) -> None:
        self._columns, self._locate = columns, locate
        named, marks = ", ".join(columns), ", ".join("?" * len(columns))
        rest = [column for column in columns if column not in table.key]
        change = ", ".join(f"{column} = excluded.{column}" for column in rest)
        self._put = (
            f"INSERT INTO {table.name} ({named}) VALUES ({marks}) ON CONFLICT ({', '.join(table.key)})"
            f" DO {f'UPDATE SET {change}' if change else 'NOTHING'}"
        )
        self._remove = f"DELETE FROM {table.name} WHERE {' AND '.join(f'{column} = ?' for column in table.key)}"
        self._transaction = transaction
        self._new: list[Row] = []
        self._gone: list[Row] = []

    def put(self, row: Row) -> None:
        """Add a row, or its new state."""
        self._new.append(row)
        self._flush_full()

    def remove(self, key: Row) -> None:
        """Remove a row."""
        self._gone.append(key)
        self._flush_full()

    def _flush_full(self) -> None:
        if len(self._new) + len(self._gone) >= PAGE:
            self.flush()

    def flush(self) -> None:
        """Do what was gathered."""
        if self._new or self._gone:
            try:
                with self._transaction() as connection:
                    if self._gone:
                        connection.executemany(self._remove, self._gone)
                    if self._new:
                        connection.executemany(self._put, self._new)
            except UsageError as error:  # a value that the other database does not take
                raise self._named(error) from error
            self._new, self._gone = [], []

    def _named(self, error: UsageError) -> UsageError:
        """Return an error that says which value it is of, where that is one with a NUL."""
        for row in self._new:
            for column, value in zip(self._columns, row, strict=True):
                if isinstance(value, str) and "\0" in value:
                    where = self._locate(dict(zip(self._columns, row, strict=True)))
                    return UsageError(
                        f"the {column} of {where} holds a NUL character, which the target cannot keep: write it again"
                        " without, and run the same copy again"
                    )
        return error


def _columns(connection: SqlConnection, table: CopiedTable) -> list[str]:
    """Return the columns of a table, those of its key first."""
    every = [each[0] for each in connection.execute(f"SELECT * FROM {table.name} LIMIT 0").description or ()]
    return [*table.key, *(column for column in every if column not in table.key)]


def _rows(connection: SqlConnection, table: CopiedTable, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a table in the order of their keys, but for settings that are a store's own."""
    named, keys = ", ".join(columns), ", ".join(table.key)
    first = f"SELECT {named} FROM {table.name} ORDER BY {keys} LIMIT {PAGE:d}"
    marks = ", ".join("?" * len(table.key))
    after = f"SELECT {named} FROM {table.name} WHERE ({keys}) > ({marks}) ORDER BY {keys} LIMIT {PAGE:d}"
    page: list[Row] = connection.execute(first).fetchall()
    while page:
        for row in page:
            if table.name != "settings" or row[0] not in OWN_SETTINGS:
                yield row
        page = connection.execute(after, page[-1][: len(table.key)]).fetchall()
