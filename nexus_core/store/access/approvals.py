"""Approvals at rest: calls of tools that a run waits to be let make, decided once, by whichever server is asked."""

from __future__ import annotations

from attrs import frozen

from nexus_core.contract.values import Value
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.worker_threads import WorkerThreads


@frozen(kw_only=True, eq=False, repr=False)
class Decision(Value):
    """What was decided on one call of a run that is under way."""

    run_id: str
    call_id: str
    approved: bool


class StoredApprovals:
    """The calls that runs of a store wait to be let make, as `store.runs.approvals`. They go with their runs."""

    def __init__(self, threads: WorkerThreads) -> None:
        self._threads = threads

    async def add(self, run_id: str, call_id: str) -> None:
        """Keep a call that is to be decided on; its run is kept already."""
        await self._threads.write(_add, run_id, call_id)

    async def decide(self, run_id: str, call_id: str, *, approved: bool) -> bool | None:
        """Decide on a call, and return what holds: the first decision does.

        `None` where there is no such call, or its run has ended before anything was decided.
        """
        return await self._threads.write(_decide, run_id, call_id, approved)

    async def decided(self, server: str) -> tuple[Decision, ...]:
        """Return what was decided on calls of the runs of a server."""
        return await self._threads.read(_decided, server)


def _add(connection: SqlConnection, run_id: str, call_id: str) -> None:
    connection.execute("INSERT INTO approvals (run_id, call_id) VALUES (?, ?)", (run_id, call_id))


def _decide(connection: SqlConnection, run_id: str, call_id: str, approved: bool) -> bool | None:
    found = connection.execute(
        "UPDATE approvals SET approved = coalesce(approved, ?) WHERE run_id = ? AND call_id = ?"
        " AND (approved IS NOT NULL OR EXISTS (SELECT 1 FROM runs WHERE id = run_id AND state = 'running'))"
        " RETURNING approved",
        (int(approved), run_id, call_id),
    ).fetchone()
    return None if found is None else bool(found[0])


def _decided(connection: SqlConnection, server: str) -> tuple[Decision, ...]:
    rows = connection.execute(
        "SELECT run_id, call_id, approved FROM approvals JOIN runs ON id = run_id"
        " WHERE server = ? AND state = 'running' AND approved IS NOT NULL",
        (server,),
    )
    return tuple(
        Decision(run_id=run_id, call_id=call_id, approved=bool(approved))
        for run_id, call_id, approved in rows.fetchall()
    )
