"""Answer cache: whole answers of models, each given again to the owner it was kept for until it expires.

No run waits for a write: what is to be kept waits in memory, where it is found already, and is written in batches; who
closes the store does, when the answer was given. A row that is damaged is none; a store that is busy, full or damaged
loses answers and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import islice
from time import time
from typing import Any

from attrs import frozen

from nexus_core.contract.errors import describe_error
from nexus_core.contract.values import Completion, ToolCall
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import checked_name
from nexus_core.store.worker_threads import WorkerThreads

MOST_WAITING = 1_000
"""Answers that wait to be written; one more is not kept."""
MOST_WAITING_BYTES = 64 * 2**20
NOTE_S = 60.0
"""Of one answer, not more often is it written down that it was used."""
_BATCH = 100
"""So many are written in one transaction: others want to write, too."""
_ROW_BYTES = 256
"""What a row takes beside its answer, its indexes included."""

_log = logging.getLogger(__name__)

_Name = tuple[str, str]
"""Owner and key."""


@frozen(kw_only=True, eq=False, repr=False)
class WaitingAnswer:
    """An answer that is not written yet, and what bounds those of its model."""

    completion: Completion
    text: str
    model: str
    made: float
    expires_s: float
    items: int
    size: int

    @property
    def takes(self) -> int:
        """Bytes of its row."""
        return len(self.text) + _ROW_BYTES


class StoredAnswers:
    """The answer cache of a store, as `store.answers`; give it to `Pipeline.load(..., answers=...)`."""

    def __init__(self, threads: WorkerThreads, clock: Callable[[], float] = time) -> None:
        self._threads = threads
        self._clock = clock
        self._waiting: dict[_Name, WaitingAnswer] = {}
        self._bytes = 0
        """Of those."""
        self._used: dict[_Name, float] = {}
        """When answers were used, to be written down."""
        self._writing: asyncio.Task[None] | None = None
        self._has_warned = False

    async def get(self, key: str, *, owner: str, expires_s: float) -> Completion | None:
        """Return the answer that was kept for an owner, unless that is longer ago than `expires_s`.

        What was kept in the future, before the clock was set back, is none: nobody knows how old it is.
        """
        waiting = self._waiting.get((owner, key))
        if waiting is not None:
            age = self._clock() - waiting.made
            return waiting.completion if 0 <= age < min(expires_s, waiting.expires_s) else None
        row = await self._threads.read(_find, owner, key)
        now = self._clock()  # after it: another process may just have written it
        if row is None or not row[2] <= now < min(row[2] + expires_s, row[4]):
            return None
        completion = _read(row[0], row[1])
        if completion is None:
            self._warn("an answer in the cache is damaged and is asked for again")
        elif row[3] + NOTE_S <= now and len(self._used) < MOST_WAITING:
            self._used[owner, key] = now
            self._wake()
        return completion

    async def put(
        self, key: str, completion: Completion, *, owner: str, model: str, expires_s: float, items: int, size: int
    ) -> None:
        """Keep an answer, and of this model at most so many that come to so many bytes, those that were used last.

        Returns at once. An answer that is larger than that alone is not kept.
        """
        if owner:
            checked_name(owner, "the owner of an answer")
        text = _written(completion)
        entry = WaitingAnswer(
            completion=completion,
            text=text,
            model=model,
            made=self._clock(),
            expires_s=expires_s,
            items=items,
            size=size,
        )
        name = (owner, key)
        self._drop(name)
        if entry.takes > size or len(self._waiting) >= MOST_WAITING or self._bytes + entry.takes > MOST_WAITING_BYTES:
            return
        self._waiting[name] = entry
        self._bytes += entry.takes
        self._wake()

    async def clear(self, owner: str | None = None) -> int:
        """Delete the answers of an owner, or with `None` those of all; returns how many they were."""
        await self.settle()
        return await self._threads.write(_clear, owner)

    async def settle(self) -> None:
        """Return when everything that waits is written, or could not be."""
        while self._writing is not None and not self._writing.done():
            await asyncio.shield(self._writing)

    def _wake(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while self._waiting or self._used:
            batch, (used, self._used) = dict(islice(self._waiting.items(), _BATCH)), (self._used, {})
            try:
                await self._threads.write(_keep, batch, used, self._clock)
            except Exception as error:  # noqa: BLE001 - whatever it is, no run has a part in it
                self._warn("answers could not be kept in the cache: %s", describe_error(error))
            finally:
                for name, entry in batch.items():
                    if self._waiting.get(name) is entry:
                        self._drop(name)

    def _drop(self, name: _Name) -> None:
        entry = self._waiting.pop(name, None)
        self._bytes -= 0 if entry is None else entry.takes

    def _warn(self, message: str, *about: object) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning(message, *about)


# On a connection


_Row = tuple[str, bytes, float, float, float]
"""Answer, digest, and when it was made, was used and expires."""


def _find(connection: SqlConnection, owner: str, key: str) -> _Row | None:
    row: _Row | None = connection.execute(
        "SELECT answer, digest, made, used, expires FROM answers WHERE owner = ? AND request = ?", (owner, key)
    ).fetchone()
    return row


def _keep(
    connection: SqlConnection,
    batch: Mapping[_Name, WaitingAnswer],
    used: Mapping[_Name, float],
    clock: Callable[[], float],
) -> None:
    """Write answers and uses, and delete what has expired, is of the future, or beyond the bounds of its model."""
    now = clock()  # in the transaction: whatever another process has written is older
    connection.executemany(
        "UPDATE answers SET used = ? WHERE owner = ? AND request = ?", [(when, *name) for name, when in used.items()]
    )
    # Written as new ones: of those that were used at the same time, those that were written last are kept.
    connection.executemany("DELETE FROM answers WHERE owner = ? AND request = ?", list(batch))
    connection.executemany(
        "INSERT INTO answers (owner, request, model, answer, digest, size, made, used, expires)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (*name, entry.model, entry.text, _digest(entry.text), entry.takes, entry.made, entry.made,
             entry.made + entry.expires_s)
            for name, entry in batch.items()
        ],
    )  # fmt: skip
    connection.execute("DELETE FROM answers WHERE expires <= ? OR made > ?", (now, now))
    for model, (items, size) in {entry.model: (entry.items, entry.size) for entry in batch.values()}.items():
        _bound(connection, model, items, size)


def _bound(connection: SqlConnection, model: str, items: int, size: int) -> None:
    count, total = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM answers WHERE model = ?", (model,)
    ).fetchone()
    if count <= items and total <= size:
        return
    connection.execute(
        "DELETE FROM answers WHERE key IN (SELECT key FROM ("
        "SELECT key, row_number() OVER by_use AS place, sum(size) OVER by_use AS total FROM answers WHERE model = ? "
        "WINDOW by_use AS (ORDER BY used DESC, key DESC ROWS UNBOUNDED PRECEDING)) AS placed"
        " WHERE place > ? OR total > ?)",
        (model, items, size),
    )


def _clear(connection: SqlConnection, owner: str | None) -> int:
    if owner is None:
        return connection.execute("DELETE FROM answers").rowcount
    return connection.execute("DELETE FROM answers WHERE owner = ?", (owner,)).rowcount


# Answers as text


def _written(completion: Completion) -> str:
    """Return an answer as ASCII, so that halves of surrogate pairs can be kept, too."""
    calls = [[call.id, call.name, call.arguments] for call in completion.tool_calls]
    return json.dumps([completion.text, completion.finish_reason, completion.model, completion.reasoning, calls])


def _read(text: str, digest: bytes) -> Completion | None:
    """Return an answer, `None` of a row that is not what was written: also where its digest says that it is."""
    if _digest(text) != digest:
        return None
    try:
        said, finish_reason, model, reasoning, calls = json.loads(text)
        tool_calls = tuple(ToolCall(id=id, name=name, arguments=arguments) for id, name, arguments in calls)
    except (ValueError, TypeError, RecursionError):
        return None
    parts = [part for call in tool_calls for part in (call.id, call.name, call.arguments)]
    if not all(isinstance(part, str) for part in (said, finish_reason, model, reasoning, *parts)):
        return None
    finished: Any = finish_reason
    return Completion(text=said, finish_reason=finished, model=model, reasoning=reasoning, tool_calls=tool_calls)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
