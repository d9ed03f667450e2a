"""Runs of servers at rest: their events in batches, so that a stream that was cut can be read on, by any server.

A run is written by the server that executes it, and only while it is under way: whatever ends it, its own server, a
client or another server that finds it left behind, does so in one transaction, and exactly once. What has expired is
gone for readers at once, and deleted soon after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from time import time
from typing import Literal

from attrs import astuple, fields, frozen

from nexus_core.contract.errors import UsageError
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import Value
from nexus_core.store import usage
from nexus_core.store.access.approvals import StoredApprovals
from nexus_core.store.contexts import everything
from nexus_core.store.conversations.conversation_rows import find_row
from nexus_core.store.conversations.turn_sources import TurnVisibility
from nexus_core.store.conversations.turn_versions import kept_number
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.search.search import ContextSearch
from nexus_core.store.usage import KEEP_DAYS, DailyUsage
from nexus_core.store.worker_threads import WorkerThreads

KEEP_S = 900.0
"""So long a run can be read after its end."""
REFUSED_S = 30.0
"""The same of one that was refused before it began, for those who have asked for it by its name meanwhile."""
MOST_BYTES = 2 * 2**20
"""Of the events that are kept of one run: the oldest make room for the newest."""
BATCHES = 32
"""The most that are read at once."""
_AT_ONCE = 100
"""So many expired runs are deleted in one transaction: others want to write, too."""

RunState = Literal["running", "completed", "failed", "cancelled", "interrupted"]


@frozen(kw_only=True, eq=False, repr=False)
class NewRun(Value):
    """A run as it begins."""

    id: str
    owner: str
    """Whose it is: of those who name nobody `""`."""
    idempotency: str | None
    """The name that its client gave the request: one of its owner's names stands for one run."""
    fingerprint: str
    """Of the request: the same name with another one is refused."""
    api: str
    """In whose words its events are: `queries` or `responses`."""
    viewer: str | None
    """Whose eyes it looks with, as `describe_viewer` says it; `None` sees all."""
    pipeline: str
    context: str | None
    """The context of the store that it is asked over, `None` where its sources are the pipeline's own."""
    model: str
    """The name in the pipeline of the model that is asked first."""
    model_id: str
    background: bool
    in_ledger: bool
    """Whether its pipeline sums up usage in the store: then an interrupted run is a row there, too."""
    created: float
    """In seconds since the epoch, as all times."""
    server: str
    """The process that executes it."""
    answer: bytes | None = None
    """JSON, in the words of its API."""
    sources: str
    """What its answer is made of, as turns of conversations say it, as far as that is known."""


@frozen(kw_only=True, eq=False, repr=False)
class StoredRun(NewRun):
    """A run as it is now; one that was refused has no name any more."""

    beat: int
    """Grows while its server lives."""
    state: RunState
    ended: float | None
    expires: float | None
    events: int
    """The number of its last event; they count from 1."""
    is_sent: bool
    """A request to a service was under way when it was last written."""
    prompt_tokens: int | None
    completion_tokens: int | None
    usage_source: str


@frozen(kw_only=True, eq=False, repr=False)
class RunBatch(Value):
    """What a server writes of one run at a time."""

    id: str
    begins: NewRun | None = None
    """The run itself, where it is not there yet."""
    first_event: int = 0
    last_event: int = 0
    data: bytes = b""
    """The events as they are sent, one after the other."""
    oldest_event: int = 0
    """Events before this one make room."""
    is_sent: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usage_source: str = "estimated"
    state: RunState = "running"
    is_refused: bool = False
    """It has ended before it began: its name is free again."""
    answer: bytes | None = None
    sources: str = ""


@frozen(kw_only=True, eq=False, repr=False)
class Heartbeat(Value):
    """What a server hears of one of its runs."""

    id: str
    readers: int
    """Grows while somebody reads it by another server."""
    is_asked_to_end: bool


_NEW = tuple(field.name for field in fields(NewRun))
_ALL = tuple(field.name for field in fields(StoredRun))
_FLAGS = ("background", "in_ledger", "is_sent")
_INSERT = (
    f"INSERT INTO runs ({', '.join(_NEW)}, state) VALUES ({', '.join('?' * len(_NEW))}, 'running') "
    "ON CONFLICT DO NOTHING RETURNING id"
)
_SELECT = f"SELECT {', '.join(_ALL)} FROM runs WHERE "
_ALIVE = "(expires IS NULL OR expires > ?)"


class StoredRuns:
    """The runs of a store, as `store.runs`."""

    def __init__(self, threads: WorkerThreads, clock: Callable[[], float] = time) -> None:
        self._threads = threads
        self._clock = clock

    @property
    def may_write(self) -> bool:
        """Whether runs can be kept here."""
        return self._threads.may_write

    @property
    def approvals(self) -> StoredApprovals:
        """The calls of tools that runs wait to be let make."""
        return StoredApprovals(self._threads)

    # For who reads

    async def get(self, id: str, *, owner: str, viewer: Viewer | None = None) -> StoredRun:
        """Return a run of an owner, as far as the viewer may see what it is made of; UsageError where there is none."""
        return await self._threads.read(_get, id, owner, self._clock(), viewer, self._threads.opened())

    async def events(self, id: str, after: int) -> tuple[tuple[int, int, bytes], ...]:
        """Return the next batches with events after a number: first and last number, and the events."""
        return await self._threads.read(_events, id, after)

    async def note_reader(self, id: str) -> None:
        """Tell the server of a run that somebody reads it."""
        await self._threads.write(_note_reader, id)

    async def ask_to_end(self, id: str) -> None:
        """Tell the server of a run to end it."""
        await self._threads.write(_ask_to_end, id)

    async def delete(self, id: str, *, owner: str) -> None:
        """Delete a run of an owner that has ended."""
        await self._threads.write(_delete, id, owner)

    # For servers

    async def begin(self, run: NewRun) -> StoredRun:
        """Keep a run that begins, and return it, or the one that its name stands for already."""
        return await self._threads.write(_begin, run, self._clock())

    async def keep(self, server: str, batches: Sequence[RunBatch]) -> tuple[str, ...]:
        """Write what has come of some runs, all in one transaction; returns those that have ended elsewhere."""
        return await self._threads.write(_keep, server, batches, self._clock())

    async def discard(self, id: str, server: str) -> None:
        """Delete a run that a server has not begun after all."""
        await self._threads.write(_discard, id, server)

    async def beat(self, server: str) -> tuple[Heartbeat, ...]:
        """Tell that a server lives, and return what it is to hear of its runs."""
        return await self._threads.write(_beat, server)

    async def under_way(self, but: str = "") -> tuple[StoredRun, ...]:
        """Return the runs of all servers that are under way, but for those of one."""
        return await self._threads.read(_under_way, but)

    async def interrupt(self, run: StoredRun, data: bytes, answer: bytes | None) -> bool:
        """End a run whose server is gone, with a last event; returns whether it had not ended or gone on by itself.

        In the same transaction its row of the ledger is written.
        """
        return await self._threads.write(_interrupt, run, data, answer, self._clock())

    async def expire(self) -> int:
        """Delete some of what has expired; returns how many runs that were."""
        now = self._clock()
        if not await self._threads.read(_has_expired, now):
            return 0
        return await self._threads.write(_expire, now)


def describe_viewer(viewer: Viewer | None) -> str | None:
    """Return what a viewer may see as a text, the same one for the same; `None` for who sees all."""
    if viewer is None:
        return None
    parts = (viewer.groups, viewer.contexts, viewer.tags)
    return json.dumps([None if part is None else sorted(part) for part in parts])


# On a connection


def _get(
    connection: SqlConnection, id: str, owner: str, now: float, viewer: Viewer | None, search: ContextSearch
) -> StoredRun:
    rows = connection.execute(f"{_SELECT}id = ? AND owner = ? AND {_ALIVE}", (id, owner, now))
    run = _run(rows.fetchone())
    if run is None or not (viewer is None or _may_see(connection, run, viewer, search, now)):
        raise UsageError(f"there is no run {id[:80]!r}, or it has expired")
    return run


def _sees_turn(connection: SqlConnection, key: int, run: StoredRun, visibility: TurnVisibility) -> bool:
    number = kept_number(connection, key, run.id)
    hidden = visibility.hidden(connection, key)
    return number is not None and number not in hidden.numbers and run.id not in hidden.versions


def _may_see(connection: SqlConnection, run: StoredRun, viewer: Viewer, search: ContextSearch, now: float) -> bool:
    """Tell whether a viewer may see what has come of a run."""
    if run.viewer is None:  # it tells more than they are told
        return False
    visibility = TurnVisibility(search, viewer)
    if not visibility.may_see(connection, run.sources, run.created):
        return False
    id = json.loads(run.sources).get("conversation")
    conversation = None if id is None else find_row(connection, run.owner, id, now)
    if run.state == "completed":  # with a conversation it is seen as its turn is, whose prompt held those before it
        return id is None or (conversation is not None and _sees_turn(connection, conversation.key, run, visibility))
    if conversation is not None and visibility.hidden_since(connection, conversation.key, run.created):
        return False
    # Which items it looks at is not known yet: it is for those alone who see what it sees, while nothing has changed.
    if run.viewer != describe_viewer(viewer):
        return False
    contexts = [each for each in everything(connection, viewer) if each.name == run.context]
    return all(each.changed < run.created or search.visible(each, viewer) is None for each in contexts)


def _events(connection: SqlConnection, id: str, after: int) -> tuple[tuple[int, int, bytes], ...]:
    rows = connection.execute(
        "SELECT first_event, last_event, data FROM run_events WHERE run_id = ? AND last_event > ?"
        " ORDER BY first_event LIMIT ?",
        (id, after, BATCHES),
    )
    return tuple((first, last, bytes(data)) for first, last, data in rows.fetchall())


def _note_reader(connection: SqlConnection, id: str) -> None:
    connection.execute("UPDATE runs SET readers = readers + 1 WHERE id = ? AND state = 'running'", (id,))


def _ask_to_end(connection: SqlConnection, id: str) -> None:
    connection.execute("UPDATE runs SET is_asked_to_end = 1 WHERE id = ? AND state = 'running'", (id,))


def _delete(connection: SqlConnection, id: str, owner: str) -> None:
    connection.execute("DELETE FROM runs WHERE id = ? AND owner = ? AND state <> 'running'", (id, owner))


def _begin(connection: SqlConnection, run: NewRun, now: float) -> StoredRun:
    connection.execute(
        "DELETE FROM runs WHERE owner = ? AND idempotency = ? AND expires <= ?", (run.owner, run.idempotency, now)
    )
    if _insert(connection, run):
        found = _run(connection.execute(f"{_SELECT}id = ?", (run.id,)).fetchone())
    else:
        rows = connection.execute(f"{_SELECT}owner = ? AND idempotency = ?", (run.owner, run.idempotency))
        found = _run(rows.fetchone())
    assert found is not None
    return found


def _insert(connection: SqlConnection, run: NewRun) -> bool:
    """Insert a run, unless its name is taken; returns whether it was."""
    told = [int(each) if isinstance(each, bool) else each for each in astuple(run)]
    return connection.execute(_INSERT, told).fetchone() is not None


def _keep(connection: SqlConnection, server: str, batches: Sequence[RunBatch], now: float) -> tuple[str, ...]:
    return tuple(batch.id for batch in batches if not _keep_one(connection, server, batch, now))


def _keep_one(connection: SqlConnection, server: str, batch: RunBatch, now: float) -> bool:
    if batch.begins is not None:
        _insert(connection, batch.begins)
    has_ended = batch.state != "running"
    found = connection.execute(
        "UPDATE runs SET beat = beat + 1, events = ?, is_sent = ?, prompt_tokens = ?, completion_tokens = ?,"
        " usage_source = ?, state = ?, answer = coalesce(?, answer), sources = coalesce(?, sources), ended = ?,"
        " expires = ?, idempotency = CASE WHEN ? = 1 THEN NULL ELSE idempotency END"
        " WHERE id = ? AND server = ? AND state = 'running' RETURNING id",
        (
            batch.last_event, int(batch.is_sent), batch.prompt_tokens, batch.completion_tokens, batch.usage_source,
            batch.state, batch.answer, batch.sources or None, now if has_ended else None,
            now + (REFUSED_S if batch.is_refused else KEEP_S) if has_ended else None, int(batch.is_refused), batch.id,
            server,
        ),
    ).fetchone()  # fmt: skip
    if found is None:
        return False
    if batch.data:
        _insert_events(connection, batch.id, batch.first_event, batch.last_event, batch.data)
        connection.execute("DELETE FROM run_events WHERE run_id = ? AND last_event < ?", (batch.id, batch.oldest_event))
    return True


def _insert_events(connection: SqlConnection, id: str, first: int, last: int, data: bytes) -> None:
    connection.execute(
        "INSERT INTO run_events (run_id, first_event, last_event, data) VALUES (?, ?, ?, ?)", (id, first, last, data)
    )


def _discard(connection: SqlConnection, id: str, server: str) -> None:
    connection.execute("DELETE FROM runs WHERE id = ? AND server = ? AND state = 'running'", (id, server))


def _beat(connection: SqlConnection, server: str) -> tuple[Heartbeat, ...]:
    rows = connection.execute(
        "UPDATE runs SET beat = beat + 1 WHERE server = ? AND state = 'running' RETURNING id, readers, is_asked_to_end",
        (server,),
    )
    return tuple(
        Heartbeat(id=id, readers=readers, is_asked_to_end=bool(is_asked)) for id, readers, is_asked in rows.fetchall()
    )


def _under_way(connection: SqlConnection, but: str) -> tuple[StoredRun, ...]:
    rows = connection.execute(f"{_SELECT}state = 'running' AND server <> ?", (but,)).fetchall()
    return tuple(run for run in map(_run, rows) if run is not None)


def _interrupt(connection: SqlConnection, run: StoredRun, data: bytes, answer: bytes | None, now: float) -> bool:
    number = run.events + 1
    found = connection.execute(
        "UPDATE runs SET state = 'interrupted', events = ?, answer = ?, ended = ?, expires = ?"
        " WHERE id = ? AND beat = ? AND state = 'running' RETURNING id",
        (number, answer, now, now + KEEP_S, run.id, run.beat),
    ).fetchone()
    if found is None:
        return False
    _insert_events(connection, run.id, number, number, data)
    if run.in_ledger:
        usage.add(connection, [_ledger_row(run, now)], now, KEEP_DAYS)
    return True


def _ledger_row(run: StoredRun, now: float) -> DailyUsage:
    """Return what is known of the request that was under way: its server cannot tell of it any more."""
    return DailyUsage.interrupted(
        time=now,
        pipeline=run.pipeline,
        model=run.model,
        model_id=run.model_id,
        was_sent=run.is_sent,
        prompt_tokens=run.prompt_tokens,
        completion_tokens=run.completion_tokens,
        duration_s=max(0.0, now - run.created),
    )


def _has_expired(connection: SqlConnection, now: float) -> bool:
    return connection.execute("SELECT 1 FROM runs WHERE expires <= ? LIMIT 1", (now,)).fetchone() is not None


def _expire(connection: SqlConnection, now: float) -> int:
    rows = connection.execute(
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE expires <= ? LIMIT ?) RETURNING id", (now, _AT_ONCE)
    )
    return len(rows.fetchall())


def _run(row: Sequence[object] | None) -> StoredRun | None:
    if row is None:
        return None
    told = dict(zip(_ALL, row, strict=True))
    told["answer"] = None if told["answer"] is None else bytes(told["answer"])  # type: ignore[call-overload]
    return StoredRun(**{**told, **{name: bool(told[name]) for name in _FLAGS}})  # type: ignore[arg-type]
