"""Journal of a batch: an SQLite file with each record, each request before it is sent, and each result.

Whoever runs a batch writes it, in one thread. Writes wait for a commit that all of one turn of the event loop share; so
a request is in the file before it leaves, and a result together with what it has used. What a killed process has
written stays: the system has it. A loss of power can take the last moments with it, which then are done again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any, Literal, Self

from attrs import field, frozen

from nexus_core.batch.records import BatchRecord
from nexus_core.batch.results import RecordState, failure
from nexus_core.contract.errors import StoreBusyError, StoreDamagedError, StoreError, StoreFullError, UsageError
from nexus_core.contract.values import Value

RequestState = Literal["sent", "ok", "refused", "unknown"]
"""`sent` is under way; `refused` has cost nothing; of an `unknown` one nobody has told what it has used."""

_SCHEMA = """
CREATE TABLE records (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    line INTEGER NOT NULL,
    conversation TEXT,
    payload TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    kind TEXT,
    result TEXT,
    timings TEXT
) STRICT;
CREATE INDEX unfinished ON records (position) WHERE state = 'pending';
CREATE INDEX conversations ON records (conversation, position) WHERE conversation IS NOT NULL;
CREATE TABLE requests (
    number INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    model TEXT NOT NULL,
    method TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'sent',
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    reasoning_tokens INTEGER,
    cost REAL,
    most_tokens INTEGER NOT NULL,
    most_cost REAL
) STRICT;
CREATE TABLE stops (
    number INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    why TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX unsettled ON requests (number) WHERE state = 'sent';
PRAGMA user_version = 1;
"""
BAD_LINE = "bad_line"
"""The kind of failure of a line that is no record: to do it again would change nothing."""
_FORMAT = 1
_PAGE = 512
_FULL = ("full", "disk I/O error")


@frozen(kw_only=True, eq=False)
class RequestUsage(Value):
    """What one upstream request has used, as far as its service has told it; `None` is unknown."""

    state: RequestState
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None
    """In US dollars."""


@frozen(kw_only=True, eq=False)
class BatchTotals(Value):
    """How far a batch is, and what it has used."""

    records: int = 0
    done: int = 0
    failed: int = 0
    requests: int = 0
    repeated: int = 0
    """Requests of a process that died or was interrupted before their answer was in the journal."""
    tokens: int = 0
    """Told by services."""
    unknown_tokens: int = 0
    """The most that requests of unknown usage can have used, in addition."""
    cost: float | None = 0.0
    """In US dollars, of what services have told; `None` where a price is unknown."""
    unknown_cost: float | None = 0.0
    """The most, in addition; `None` where a price is unknown."""
    priced: int = 0
    """Requests whose cost is known."""
    kinds: tuple[tuple[str, int], ...] = field(default=())
    """Failures by the kind of their error, the most frequent first."""

    @property
    def pending(self) -> int:
        """Records without a result."""
        return self.records - self.done - self.failed


class Journal:
    """The journal of one batch, open for writing by its only process, or for reading beside it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._statements: list[tuple[str, Sequence[Any]]] = []
        self._committed: asyncio.Future[None] | None = None
        with self._translating_errors():
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM requests").fetchone()
        self._number = int(last)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the journal of a new batch."""
        path.touch(mode=0o600, exist_ok=False)
        connection = _connect(path, "rw")
        connection.executescript(f"PRAGMA journal_mode = WAL;{_SCHEMA}")
        return cls(path, connection)

    @classmethod
    def open(cls, path: Path, *, writes: bool) -> Self:
        """Open a journal; raises StoreError where it is none, or damaged, and says what to do."""
        if not path.exists():
            raise UsageError(f"{path.parent} is no folder of a batch: it has no {path.name}")
        try:
            connection = _connect(path, "rw" if writes else "ro")
            (format,) = connection.execute("PRAGMA user_version").fetchone()
            (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone() if writes else ("ok",)
        except sqlite3.DatabaseError as error:
            raise StoreDamagedError(_damaged(path, error)) from error
        if format != _FORMAT or sound != "ok":
            raise StoreDamagedError(_damaged(path, sound if sound != "ok" else f"its format is {format}"))
        return cls(path, connection)

    def close(self) -> None:
        """Write what is left and close the file."""
        self.commit()
        self._connection.close()

    # Records

    def add(self, rows: Iterable[tuple[int, BatchRecord, str | None]]) -> int:
        """Take in the records of an input with their lines, all or none, and return how many; raises UsageError.

        One with a problem has failed. Records without an id of their own that are equal are numbered; an id that is
        given twice is an error.
        """
        count = 0
        insert = (
            "INSERT INTO records (position, id, line, conversation, payload, state, kind, result, timings)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        with self._translating_errors(), self._transaction():
            for line, record, problem in rows:
                values: tuple[Any, ...] = (line, record.conversation, record.payload(), "pending", None, None, None)
                if problem is not None:
                    failed = failure(BAD_LINE, problem)
                    values = (*values[:3], "failed", BAD_LINE, failed.result, failed.timings)
                try:
                    self._connection.execute(insert, (count, record.id, *values))
                except sqlite3.IntegrityError:
                    self._connection.execute(insert, (count, self._another(record, line), *values))
                count += 1
        return count

    def _another(self, record: BatchRecord, line: int) -> str:
        (first,) = self._connection.execute("SELECT line FROM records WHERE id = ?", (record.id,)).fetchone()
        if record.has_own_id:
            raise UsageError(
                f"lines {first} and {line} have the same id {record.id!r}: each record needs one of its own"
            )
        return f"{record.id}-{self._first_free(record.id)}"

    def _first_free(self, id: str) -> int:
        """Return the next number of an id, of those that were given one after the other from 2."""

        def is_taken(number: int) -> bool:
            asked = "SELECT 1 FROM records WHERE id = ?"
            return self._connection.execute(asked, (f"{id}-{number}",)).fetchone() is not None

        above = 2
        while is_taken(above):
            above *= 2
        below = above // 2
        while above - below > 1:
            middle = (above + below) // 2
            below, above = (middle, above) if is_taken(middle) else (below, middle)
        return above

    def pending(self, after: int) -> list[tuple[int, BatchRecord]]:
        """Return the next records without a result, by their position, in the order of the input."""
        with self._translating_errors():
            rows = self._connection.execute(
                "SELECT position, id, payload, conversation FROM records"
                " WHERE state = 'pending' AND position > ? ORDER BY position LIMIT ?",
                (after, _PAGE),
            ).fetchall()
        return [(position, BatchRecord.from_payload(id, payload, talk)) for position, id, payload, talk in rows]

    def position_before(self, conversation: str, position: int) -> int | None:
        """Return where the last record of a conversation stands before a position; `None` where there is none."""
        with self._translating_errors():
            (found,) = self._connection.execute(
                "SELECT max(position) FROM records WHERE conversation = ? AND position < ?", (conversation, position)
            ).fetchone()
        return None if found is None else int(found)

    def turns(self, conversation: str, before: int) -> Iterator[tuple[RecordState, str, str]]:
        """Yield the earlier records of a conversation, the last one first: state, payload, and result or empty."""
        self.commit()
        with self._translating_errors():
            yield from self._connection.execute(
                "SELECT state, payload, coalesce(result, '') FROM records"
                " WHERE conversation = ? AND position < ? ORDER BY position DESC",
                (conversation, before),
            )

    def results(self) -> Iterator[tuple[str, int, RecordState, str | None, str | None]]:
        """Yield id, line, state, result and timings of each record, in the order of the input."""
        self.commit()
        after = -1
        while True:
            with self._translating_errors():
                rows = self._connection.execute(
                    "SELECT position, id, line, state, result, timings FROM records"
                    " WHERE position > ? ORDER BY position LIMIT ?",
                    (after, _PAGE),
                ).fetchall()
            if not rows:
                return
            for row in rows:
                yield row[1:]
            after = rows[-1][0]

    def finish(self, position: int, state: RecordState, result: str, timings: str, kind: str | None = None) -> None:
        """Note the result of a record, once: a second one is dropped."""
        self._queue(
            "UPDATE records SET state = ?, kind = ?, result = ?, timings = ? WHERE position = ? AND state = 'pending'",
            (state, kind, result, timings, position),
        )

    def reopen(self, positions: Iterable[int] | None = None, *, kind: str = "") -> int:
        """Make failed records pending again, all, some, or those of a kind, and return how many."""
        self.commit()
        update = (
            "UPDATE records SET state = 'pending', kind = NULL, result = NULL, timings = NULL"
            f" WHERE state = 'failed' AND kind <> '{BAD_LINE}'"
        )
        with self._translating_errors(), self._transaction():
            if positions is not None:
                ask = self._connection.execute
                return sum(ask(f"{update} AND position = ?", (each,)).rowcount for each in positions)
            return self._connection.execute(f"{update} AND kind LIKE ?", (kind or "%",)).rowcount

    # Requests

    async def begin_request(
        self, position: int, model: str, method: str, most_tokens: int, most_cost: float | None
    ) -> int:
        """Note a request before it is sent, and return its number; raises StoreError where that cannot be written."""
        self._number += 1
        number = self._number
        self._queue(
            "INSERT INTO requests (number, position, model, method, most_tokens, most_cost) VALUES (?, ?, ?, ?, ?, ?)",
            (number, position, model, method, most_tokens, most_cost),
        )
        assert self._committed is not None
        await asyncio.shield(self._committed)
        return number

    def end_request(self, number: int, usage: RequestUsage) -> None:
        """Note what a request has used."""
        self._queue(
            "UPDATE requests SET state = ?, prompt_tokens = ?, completion_tokens = ?, cached_tokens = ?,"
            " reasoning_tokens = ?, cost = ? WHERE number = ?",
            (
                usage.state, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens,
                usage.cost, number,
            ),
        )  # fmt: skip

    def settle(self) -> None:
        """Note that nobody will hear any more of the requests that a process before this one has left under way."""
        with self._translating_errors(), self._transaction():
            self._connection.execute("UPDATE requests SET state = 'unknown' WHERE state = 'sent'")

    def note_stop(self, why: str, message: str) -> None:
        """Note why a run of it has ended before its last record."""
        with self._translating_errors(), self._transaction():
            self._connection.execute("INSERT INTO stops (time, why, message) VALUES (?, ?, ?)", (time(), why, message))

    def last_stop(self) -> tuple[float, str, str] | None:
        """Return when and why the last run ended that did so early."""
        with self._translating_errors():
            row: tuple[float, str, str] | None = self._connection.execute(
                "SELECT time, why, message FROM stops ORDER BY number DESC LIMIT 1"
            ).fetchone()
        return row

    def totals(self) -> BatchTotals:
        """Return how far it is."""
        self.commit()
        ask = self._connection.execute
        with self._translating_errors():
            states = dict(ask("SELECT state, count(*) FROM records GROUP BY state").fetchall())
            kinds = ask(
                "SELECT kind, count(*) FROM records WHERE state = 'failed' GROUP BY kind ORDER BY 2 DESC, 1"
            ).fetchall()
            requests, repeated = ask(
                "SELECT count(*), coalesce(sum(state = 'unknown' AND position IN"
                " (SELECT position FROM requests GROUP BY position HAVING count(*) > 1)), 0) FROM requests"
            ).fetchone()
            tokens, cost, priceless, priced = ask(
                "SELECT coalesce(sum(prompt_tokens + completion_tokens), 0), coalesce(sum(cost), 0.0),"
                " coalesce(sum(cost IS NULL), 0), count(cost) FROM requests WHERE state = 'ok'"
            ).fetchone()
            more, more_cost, more_priceless = ask(
                "SELECT coalesce(sum(most_tokens), 0), coalesce(sum(most_cost), 0.0),"
                " coalesce(sum(most_cost IS NULL), 0) FROM requests WHERE state IN ('unknown', 'sent')"
            ).fetchone()
        return BatchTotals(
            records=sum(states.values()),
            done=states.get("done", 0),
            failed=states.get("failed", 0),
            requests=requests,
            repeated=repeated,
            tokens=tokens,
            unknown_tokens=more,
            cost=None if priceless or (requests and not priced) else cost,
            priced=priced,
            unknown_cost=None if more_priceless else more_cost,
            kinds=tuple(kinds),
        )

    # Writing

    def _queue(self, statement: str, values: Sequence[Any]) -> None:
        self._statements.append((statement, values))
        if self._committed is None:
            loop = asyncio.get_running_loop()
            self._committed = loop.create_future()
            loop.call_soon(self.commit)

    def commit(self) -> None:
        """Write what is queued; who waits for that hears how it went."""
        statements, self._statements = self._statements, []
        committed, self._committed = self._committed, None
        if not statements:
            return
        try:
            with self._translating_errors(), self._transaction():
                for statement, values in statements:
                    self._connection.execute(statement, values)
        except StoreError as error:
            self._statements[:0] = statements  # results among them are paid for: they are tried again
            if committed is None or committed.done():
                raise
            committed.set_exception(error)
            committed.exception()  # whoever waits raises it; where nobody does, the next to write will
        else:
            if committed is not None and not committed.done():
                committed.set_result(None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        """Raise errors of the database as ours."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            if any(word in str(error) for word in _FULL):
                raise StoreFullError(
                    f"the journal {self.path} cannot be written: {error}; what is not in it yet will be asked again"
                ) from error
            if "locked" in str(error):
                raise StoreBusyError(f"the journal {self.path} is locked by another program: {error}") from error
            raise StoreDamagedError(_damaged(self.path, error)) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=5.0, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA trusted_schema = OFF")
    if mode == "ro":
        connection.execute("PRAGMA query_only = ON")
    return connection


def _damaged(path: Path, why: object) -> str:
    return (
        f"the journal {path} cannot be read: {why}. Copy its folder before anything else; `nexus batch export` may "
        "still give what can be read, and a new batch of what is missing can be begun with --run-dir"
    )
