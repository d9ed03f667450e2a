"""Run log: what `run`, `ask` and `chat` were asked and answered, in an SQLite file that only its owner may read.

Kept where the variable NEXUS_LOGS asks for it. Several processes may write at once. Texts of sources, attachments,
values of options and keys are not kept; beyond `LARGEST` bytes the oldest runs are deleted.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, time
from typing import Any

from attrs import field, frozen
from platformdirs import user_state_path

from nexus_core.cli.output.echo import echo
from nexus_core.contract.answers import Answer, sum_costs
from nexus_core.contract.errors import ConnectorError, NexusError, RunError, StoreError, UsageError
from nexus_core.contract.values import Value
from nexus_core.engine.json_shapes import answer_json, attempt_json
from nexus_core.recordings.canonical_request import mask_all
from nexus_core.toolkit.stored_secrets import stored_names, stored_secret

LARGEST = 256 * 2**20
"""Characters of kept runs; the newest is kept in any case."""
FILE = "runs.sqlite3"
_BUSY_S = 10.0
_SHORTEST_KEY = 8
_KEY_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, size INTEGER NOT NULL,
  query TEXT NOT NULL, answer TEXT NOT NULL, error TEXT NOT NULL, details TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_size ON runs (size);
"""
_COLUMNS = "id, time, query, answer, error, details"


@frozen(kw_only=True, eq=False, repr=False)
class KeptRun(Value):
    """A run as it is kept."""

    id: int
    """From 1; that of a deleted run is not used again."""
    time: float
    """When it began, in seconds since the epoch."""
    query: str
    answer: str = ""
    error: str = ""
    """Empty where it did not fail."""
    details: Mapping[str, Any] = field(factory=dict)
    """Data for JSON: `command`, `missing`, `pipeline`, `sources`, and of `answer_json` figures, items and attempts."""


def log_file(folder: str = "") -> Path:
    """Return the file in a folder; by default in the user's own folder for state."""
    named = Path(os.path.abspath(os.path.expanduser(folder))) if folder else None
    return (named or user_state_path("contextnexus", appauthor=False) / "logs") / FILE


@contextmanager
def keep_run(
    path: Path,
    *,
    pipeline: str,
    query: str,
    command: Sequence[str],
    missing: Sequence[str],
    source_lines: Callable[[Answer], Sequence[str]],
) -> Iterator[Callable[[Answer], None]]:
    """Give what takes the answer of a run, and keep that at the end, or the error that the run failed with.

    `command` is what asks the same again but for the query, and `missing` names what that would need and is not kept.
    A run that was cancelled or refused is not kept. What cannot be written is told on stderr: the answer stands.
    """
    answers: list[Answer] = []
    failure: NexusError | None = None
    began, clock = time(), perf_counter()
    try:
        yield answers.append
    except (RunError, StoreError) as error:
        failure = error
        raise
    finally:
        answer = next(iter(answers), failure.answer if isinstance(failure, StoreError) else None)
        if answer or failure:
            details = {
                "command": [*command, query],
                "missing": [*missing],
                "pipeline": pipeline,
                **(_answer_details(answer) if answer else _failure_details(failure, perf_counter() - clock)),
                "sources": [*source_lines(answer)] if answer else [],
            }
            _write(path, KeptRun(
                id=0, time=began, query=query, answer=answer.text if answer else "",
                error=str(failure or ""), details=details,
            ))  # fmt: skip


class RunLog:
    """The runs in a file; every method raises UsageError where that cannot be used."""

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        """Take the file, which need not be there, and how many characters it may keep."""
        self.path = path
        self._largest = largest

    def add(self, run: KeptRun) -> int:
        """Keep a run whose `id` is none yet, delete the oldest beyond the limit, and return its id."""
        details = json.dumps(run.details)
        texts = [run.query, run.answer, run.error, details]
        texts = [text.encode("utf-8", "replace").decode() for text in texts]  # half of a pair, from a broken stream
        with self._opened(create=True) as database:
            added = database.execute(
                "INSERT INTO runs (time, size, query, answer, error, details) VALUES (?, ?, ?, ?, ?, ?)",
                (run.time, sum(map(len, texts)), *texts),
            ).lastrowid
            if database.execute("SELECT sum(size) FROM runs").fetchone()[0] > self._largest:
                database.execute(
                    "DELETE FROM runs WHERE id < ? AND id IN (SELECT id FROM "
                    "(SELECT id, sum(size) OVER (ORDER BY id DESC) AS total FROM runs) WHERE total > ?)",
                    (added, self._largest),
                )
        return int(added or 0)

    def runs(self, words: Sequence[str] = (), *, limit: int) -> list[KeptRun]:
        """Return the newest runs first; those alone whose query, answer or error has each of the words."""
        wanted = [word.casefold() for word in words]

        def matches(*texts: str) -> bool:
            found = "\n".join(texts).casefold()
            return all(word in found for word in wanted)

        with self._opened() as database:
            database.create_function("matches", 3, matches)
            where = "WHERE matches(query, answer, error)" if wanted else ""
            return [*map(_run, database.execute(
                f"SELECT {_COLUMNS} FROM runs {where} ORDER BY id DESC LIMIT ?", (limit,)
            ))]  # fmt: skip

    def get(self, id: int | None = None) -> KeptRun:
        """Return a run, by default the newest; raises UsageError where it is not kept."""
        with self._opened() as database:
            where = "" if id is None else "WHERE id = :id"
            query = f"SELECT {_COLUMNS} FROM runs {where} ORDER BY id DESC LIMIT 1"
            row = database.execute(query, {"id": id}).fetchone()
        if row is None:
            raise UsageError("no run is kept yet" if id is None else f"no run {id} is kept; `nexus logs` lists them")
        return _run(row)

    def delete(self, ids: Iterable[int]) -> int:
        """Delete runs for good, and return how many there were."""
        with self._opened() as database:
            return sum(database.execute("DELETE FROM runs WHERE id = ?", (id,)).rowcount for id in ids)

    def delete_before(self, moment: float) -> int:
        """Delete the runs that began before a time, in seconds since the epoch, and return how many there were."""
        with self._opened() as database:
            return database.execute("DELETE FROM runs WHERE time < ?", (moment,)).rowcount

    @contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Give the database within a transaction; without `create` an empty one where there is no file."""
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            there = create or self.path.exists()
            if there:
                _restrict(self.path, create=create)
            with closing(sqlite3.connect(self.path if there else ":memory:", timeout=_BUSY_S)) as database:
                database.execute("PRAGMA secure_delete = ON")
                database.execute("PRAGMA auto_vacuum = FULL")
                database.executescript(_SCHEMA)
                with database:
                    yield database
        except OSError as error:
            raise UsageError(f"the log {self.path} cannot be used: {error.strerror or error}") from error
        except sqlite3.Error as error:
            raise UsageError(f"the log {self.path} cannot be used: {error}") from error


def run_json(run: KeptRun) -> dict[str, Any]:
    """Return a run as JSON data."""
    began = datetime.fromtimestamp(run.time, UTC).isoformat(timespec="seconds")
    texts = {"query": run.query, "response": run.answer, "error": run.error or None}
    return {"id": run.id, "time": began, **texts, **run.details}


def _run(row: Sequence[Any]) -> KeptRun:
    id, moment, query, answer, error, details = row
    return KeptRun(id=id, time=moment, query=query, answer=answer, error=error, details=json.loads(details))


def _restrict(path: Path, *, create: bool) -> None:
    """Let nobody but the owner read the file, with `create` made where there is none; raises OSError."""
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    try:
        if sys.platform == "win32":  # there the folder's rights hold
            return
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise PermissionError("it belongs to another user")
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _answer_details(answer: Answer) -> dict[str, Any]:
    told = answer_json(answer)
    names = ("contextId", "conversationId", "modelId", "metadata", "toolCalls", "attempts")
    return {"runId": answer.id, "model": answer.model} | {name: told[name] for name in names if name in told}


def _failure_details(failure: NexusError | None, duration_s: float) -> dict[str, Any]:
    attempts = failure.attempts if isinstance(failure, RunError) else ()
    cost, unpriced = sum_costs(attempts)
    last = attempts[-1] if attempts else None
    return {
        "runId": last.run_id if last else None,
        "errorKind": failure.kind if isinstance(failure, ConnectorError) else type(failure).__name__,
        "model": last.model if last else "",
        "modelId": last.model_id if last else "",
        "metadata": {"cost": cost, "unpricedAttempts": unpriced, "responseTimeMs": round(duration_s * 1000)},
        "attempts": [attempt_json(row) for row in attempts],
    }


def _write(path: Path, run: KeptRun) -> None:
    try:
        keys = _keys()
        command = run.details["command"]
        details = _masked(run.details, keys)
        if details["command"] != command:
            details["missing"] = [*details["missing"], "a key in what was asked"]
        texts = {name: mask_all(getattr(run, name), keys) for name in ("query", "answer", "error")}
        RunLog(path).add(KeptRun(id=0, time=run.time, details=details, **texts))
    except NexusError as error:
        echo(f"this run is not kept: {error}", err=True)


def _keys() -> list[str]:
    """Return the keys of this environment and of the file of stored ones, the longest first."""
    keys = {value.strip() for name, value in os.environ.items() if _KEY_VARIABLE.search(name)}
    keys |= {stored_secret(name) for name, where in stored_names().items() if where == "file"}
    return sorted((key for key in keys if len(key) >= _SHORTEST_KEY), key=len, reverse=True)


def _masked(value: Any, keys: Sequence[str]) -> Any:
    """Return JSON data without keys in its texts."""
    match value:
        case str():
            return mask_all(value, keys)
        case Mapping():
            return {name: _masked(part, keys) for name, part in value.items()}
        case list() | tuple():
            return [_masked(part, keys) for part in value]
    return value
