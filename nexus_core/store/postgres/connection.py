"""A connection to Postgres, as the store uses it: for one thread at a time, opened anew where it was lost.

One server writes at a time: every transaction that writes takes the lock of the store first, so that keys are given in
the order in which they are committed, and an index can go on from the largest it has seen. Nothing depends on the
session, so a pooler of transactions may stand between: what holds for a transaction is set with its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from time import monotonic, sleep
from typing import Any, cast

import psycopg
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus

from nexus_core.contract.errors import NexusError, StoreUnavailableError, UsageError
from nexus_core.store.database.server_paths import secrets_of, without_password
from nexus_core.store.database.sql import Cursor, LostTransactionError, UnreadableValueError
from nexus_core.store.postgres.dialect import nul_in, translate
from nexus_core.store.postgres.errors import is_lost, meaning

STORE_LOCK = 0x4E58_5553_0001
"""The advisory lock of who writes."""
CONNECT_S = 5
LOST_S = 2.0
"""For so long a lost connection is tried to be opened anew by who needs it first."""
_REST_S = 1.0
"""For so long after that nobody tries, so that those who wait in line are told at once; then one does, once."""
_FIRST_PAUSE_S = 0.05
_ROWS = 500
"""Written with one statement."""
_FEW = 8
"""Rows up to which a statement costs less than a COPY, which takes one round trip more."""
# A context of a million items is deleted in one statement. Whoever is gone with the lock loses it after a minute.
_WRITING = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '10s';"
    " SET LOCAL statement_timeout = '600s'; SET LOCAL idle_in_transaction_session_timeout = '60s';"
    f" SELECT pg_advisory_xact_lock({STORE_LOCK:d})"
)
_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '60s'"
OPTIONS: dict[str, Any] = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "contextnexus",
}
_LOST = "{name} was lost, or a statement failed, within a transaction: nothing is there of it; do it again"
_UNKNOWN = "{name} was lost while a write was being kept: whether it was is not known; look, and write again if not"


class _Number(Loader):
    """Reads sums, which Postgres counts without a limit, as the numbers that SQLite gives."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return float(text) if "." in text else int(text)


class PostgresConnection:
    """A connection by a URL; opened by its first use. Raises errors of the store alone."""

    def __init__(self, url: str) -> None:
        self.name = without_password(url)
        self._url = url
        self._secrets = secrets_of(url)
        self._open: psycopg.Connection[tuple[Any, ...]] | None = None
        self._is_within = False
        """In a transaction: where the connection goes, the rest of it is not to be run on another one."""
        self._begin = ""
        """What is to be run with the next statement, and begins a transaction."""
        self._down = ""
        """What was said when the database could not be reached last; nothing while it can."""
        self._again_at = 0.0

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open on it."""
        return self._open is not None and self._open.info.transaction_status != TransactionStatus.IDLE

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement, and return its result; one that only reads is asked again where no transaction is open."""
        statement = translate(sql)
        values = statement.values(parameters)
        if self._begin:
            return self._run_first(statement.text, values)
        if self._is_within or statement.writes:
            return self._run(statement.text, values)
        return self._run_anew(statement.text, values)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Run one statement for each row of parameters, many of them at a time."""
        statement, rows = translate(sql), iter(parameters)
        if statement.copy:
            first = [*islice(rows, _FEW + 1)]
            if len(first) > _FEW:
                return self._copied(statement.copy, chain(first, rows))
            rows = iter(first)
        done: Cursor = self._opened().cursor()
        while some := [*islice(rows, _ROWS)]:
            values = [value for row in some for value in statement.values(row)]
            keys = {tuple(row[place] for place in statement.once) for row in some} if statement.once else some
            if statement.rows is not None and len(keys) == len(some):
                before, mark, after = statement.rows
                done = self._run(f"{before}{', '.join([mark] * len(some))}{after}", values)
            else:
                done = self._run(";".join([statement.text] * len(some)), values)
        return done

    def close(self) -> None:
        """Close it; what was not committed is undone."""
        self._drop()

    def _drop(self) -> None:
        """Let go of a connection that is lost: the next use opens one anew, and nothing else is closed with it."""
        if self._open is not None:
            with suppress(psycopg.Error):
                self._open.close()
            self._open = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction that may write, as the only one of the store; ends with all of it, or nothing."""
        self._run_anew(_WRITING)
        self._is_within = True
        try:
            yield
        except BaseException as error:
            self._undo()
            if isinstance(error, StoreUnavailableError):  # nothing is there of it, whatever was lost
                raise LostTransactionError(str(error)) from error
            raise
        status = None if self._open is None else self._open.info.transaction_status
        if status != TransactionStatus.INTRANS:  # it was lost or has failed, and whoever noticed has gone on
            self._undo()
            raise LostTransactionError(_LOST.format(name=self.name))
        try:
            self._run("COMMIT")
        except StoreUnavailableError as error:
            raise StoreUnavailableError(_UNKNOWN.format(name=self.name)) from error
        finally:
            self._is_within = False

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Begin a transaction that sees one state, and changes nothing: with its first statement."""
        self._begin = _READING
        try:
            yield
        finally:
            self._undo()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Begin a part of the open transaction that may meet what it cannot read: the rest of it goes on."""
        if not self._is_within:
            yield
            return
        self._run("SAVEPOINT attempt")
        try:
            yield
        except UnreadableValueError:
            self._run("ROLLBACK TO SAVEPOINT attempt")
            raise
        self._run("RELEASE SAVEPOINT attempt")

    def clock(self) -> float:
        """Return the time of the database in seconds since the epoch."""
        return float(self.execute("SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8)").fetchone()[0])

    def continue_keys(self, table: str, column: str) -> None:
        """Let the keys that the database gives go on after the largest there is; other columns are left alone."""
        (sequence,) = self.execute("SELECT pg_get_serial_sequence(?, ?)", (table, column)).fetchone()
        if sequence is not None:
            self.execute(
                f"SELECT setval('{sequence}', (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)"
            ).fetchone()

    def run(self, script: str) -> None:
        """Run statements as Postgres reads them."""
        self._run(script)

    def _undo(self) -> None:
        self._is_within, self._begin = False, ""
        try:
            if self.in_transaction:
                self._opened().execute("ROLLBACK")
        except psycopg.Error:  # whatever has happened to it, a new one has no transaction
            self._drop()

    def _run_first(self, text: str, parameters: Sequence[Any]) -> Cursor:
        """Begin a transaction with its first statement, which changes nothing, in one round trip."""
        done: Any = self._run_anew(f"{self._begin}; {text}", parameters)
        self._is_within, self._begin = True, ""
        has_more = done.nextset()  # the results of the beginning come before that of the statement
        while has_more:
            has_more = done.nextset()
        return cast(Cursor, done)

    def _run_anew(self, text: str, parameters: Sequence[Any] = ()) -> Cursor:
        """Run what changes nothing; where the connection was lost, or cannot be opened yet, again for some seconds."""
        if self._down and monotonic() < self._again_at:
            raise StoreUnavailableError(self._down)
        give_up, pause = monotonic() + (0.0 if self._down else LOST_S), _FIRST_PAUSE_S
        while True:
            try:
                done = self._run(text, parameters)
            except StoreUnavailableError as error:
                self._drop()
                if monotonic() + pause > give_up:
                    self._down, self._again_at = str(error), monotonic() + _REST_S
                    raise
            else:
                self._down = ""
                return done
            sleep(pause)
            pause *= 2

    def _run(self, text: str, parameters: Sequence[Any] = ()) -> Cursor:
        try:
            # Without parameters a text may hold several statements, and `%` is only a sign in it.
            return self._opened().execute(text, parameters or None) if parameters else self._plain(text)
        except psycopg.Error as error:
            raise self._meaning(error, parameters) from None  # its text, or what it was raised for, may hold the URL

    def _copied(self, text: str, rows: Iterable[Sequence[Any]]) -> Cursor:
        row: Sequence[Any] = ()
        try:
            done = self._opened().cursor()
            with done.copy(text.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise self._meaning(error, row) from None
        return done

    def _meaning(self, error: psycopg.Error, parameters: Sequence[Any]) -> NexusError:
        if is_lost(error):
            self._drop()
        told = meaning(error, self.name, self._secrets)
        if isinstance(told, UsageError) and (text_with_nul := nul_in(parameters)):
            return UsageError(f"{text_with_nul} holds a NUL character, which Postgres cannot keep: remove it")
        return told

    def _plain(self, text: str) -> Cursor:
        return self._opened().execute(text.replace("%%", "%").encode())

    def _opened(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._open is None or self._open.closed:
            if self._is_within:
                raise StoreUnavailableError(_LOST.format(name=self.name))
            try:
                self._open = psycopg.connect(
                    self._url, autocommit=True, cursor_factory=psycopg.ClientCursor, prepare_threshold=None, **OPTIONS
                )
            except psycopg.Error as error:
                raise meaning(error, self.name, self._secrets) from None
            self._open.adapters.register_loader("numeric", _Number)
        return self._open
