"""The seam to the databases: what a connection can do, and which SQL the modules of the store may write.

All statements are written once, for SQLite and for Postgres. They are SQLite's with `?` for parameters, one statement a
call, and keep to what both understand: `ON CONFLICT` with its columns, `RETURNING`, `CASE` for the larger of two,
`coalesce` where something may be NULL on both sides, `CAST(... AS BIGINT)`, windows, and parameters of a plain type
(int, float, str, bytes, None). What another database spells otherwise, its connection translates: `INDEXED BY`,
`json_each(?) AS numbers` and `AS texts` (the rows of a JSON array, in order, as `key` and `value`; its text is the
parameter), `json_group_array` of texts, `DEFER_FOREIGN_KEYS`, and the functions of the rough filter, which read JSON.

Whoever wants one state of the database or one change of it uses `transaction` and `snapshot` of `connection.py`. How
far the index of a context has come, and which graph it has, is asked of `copies_of` a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from nexus_core.contract.errors import StoreBusyError, StoreError, StoreUnavailableError


class WriteConflictError(StoreBusyError):
    """Another server has changed the same at the same time; the transaction is undone and may be run again."""


class LostTransactionError(StoreUnavailableError):
    """The database was lost within a transaction, of which nothing is there; it may be run again."""


class UnreadableValueError(StoreError):
    """A statement has met a value that it cannot read as it is to, such as a text that is no JSON."""


DEFER_FOREIGN_KEYS = "PRAGMA defer_foreign_keys = ON"
"""Lets foreign keys hold at the end of the transaction only, for who moves rows in parts."""


def like_pattern(words: str) -> str:
    r"""Return the pattern with which `lowered(...) LIKE ? ESCAPE '\'` finds all texts that have words in any case.

    It finds a few more: the databases know the other case of letters of ASCII alone, and any one stands for the rest.
    The Kelvin sign and the long s, which a k and an s are in another case, are found by themselves alone.
    """

    def like(letter: str) -> str:
        if letter.isascii():
            return f"\\{letter}" if letter in "\\%_" else letter.lower()
        return letter if letter.lower() == letter.upper() else "_"

    return f"%{''.join(map(like, words))}%"


def lowered(column: str, words: str) -> str:
    """Return a column as the pattern of words is compared with it: with İ and ı, of which I and i are other cases."""
    if "i" in words.lower():
        column = f"replace(replace({column}, '\u0130', 'i'), '\u0131', 'i')"
    return f"lower({column})"


class Cursor(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows it has changed."""

    @property
    def description(self) -> Sequence[Any] | None:
        """The columns of its rows, each with its name in front."""

    def fetchone(self) -> Any:
        """Return the next row as a tuple, `None` after the last."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Return the rows that are left, one by one."""


class SqlConnection(Protocol):
    """A connection to the database of a store, for one thread at a time; `sqlite3.Connection` is one as it is."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open on it."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement, and return its result."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Run one statement for each row of parameters."""

    def close(self) -> None:
        """Close it; what was not committed is undone."""


class ServerConnection(SqlConnection, Protocol):
    """A connection that begins and ends its transactions itself, and raises errors of the store alone."""

    @property
    def copies(self) -> SqlConnection:
        """The connection to what this server knows of its own indexes, beside them: those of others are elsewhere."""

    def transaction(self) -> AbstractContextManager[None]:
        """Begin a transaction that may write; what is written is there as a whole at the end, or not at all."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Begin a transaction that reads one state."""

    def clock(self) -> float:
        """Return the time of the database, which is one for all servers, in seconds since the epoch."""

    def check_version(self) -> None:
        """Raise StoreError where another server has brought the tables to a version that this one cannot use."""

    def continue_keys(self, table: str, column: str) -> None:
        """Let the keys that the database gives go on after the largest there is, for who has written some."""


@contextmanager
def attempt(connection: SqlConnection) -> Iterator[None]:
    """Read what may not be readable: where it is not, the transaction around it goes on.

    So it does by itself in SQLite. A connection to a database in which it does not has a method `attempt`, which makes
    a savepoint, and raises UnreadableValueError.
    """
    begin = getattr(connection, "attempt", nullcontext)
    with begin():
        yield


class ChangeListener(Protocol):
    """A connection that is told which contexts have been written to, at whichever server."""

    def fileno(self) -> int:
        """Return the descriptor that can be read when there is something to take."""

    def take(self) -> frozenset[str]:
        """Return what has arrived, numbers of contexts and texts that were announced; never waits.

        Raises StoreError where the connection is lost.
        """

    def announce(self, connection: SqlConnection, text: str) -> None:
        """Send a text to all who listen, by another connection than this one."""

    def close(self) -> None:
        """Close it."""


def copies_of(connection: SqlConnection) -> SqlConnection:
    """Return where it stands how far the indexes have come: in the database itself, or on this server alone."""
    found: SqlConnection = getattr(connection, "copies", connection)
    return found
