"""What the servers of one store agree on: parts of the limits of keys, counts of wrong keys, choices that hold for all.

Every change is one statement of its own outside of a transaction, so that it waits for nobody who writes, and nothing
depends on a session. A budget is changed by who has read its last number; who comes second reads it again.
"""

from __future__ import annotations

from collections.abc import Mapping

from nexus_core.store.database.sql import SqlConnection

KEEP_S = 600.0
"""So long budgets and counts are kept that nobody has changed."""


def read_budget(connection: SqlConnection, name: str) -> tuple[int, str | None]:
    """Return the number and the state of a budget; 0 and `None` where there is none."""
    found = connection.execute("SELECT number, state FROM key_budgets WHERE name = ?", (name,)).fetchone()
    return (0, None) if found is None else (int(found[0]), str(found[1]))


def change_budget(connection: SqlConnection, name: str, number: int, state: str, now: float) -> bool:
    """Change a budget whose number is still the one that was read; returns whether it was."""
    if number:
        done = connection.execute(
            "UPDATE key_budgets SET number = ?, state = ?, changed = ? WHERE name = ? AND number = ?",
            (number + 1, state, now, name, number),
        )
    else:
        done = connection.execute(
            "INSERT INTO key_budgets (name, number, state, changed) VALUES (?, 1, ?, ?) ON CONFLICT (name) DO NOTHING",
            (name, state, now),
        )
    return done.rowcount == 1


def count_wrong_keys(connection: SqlConnection, origin: str, count: int, now: float, minute_s: float) -> int:
    """Add to the wrong keys of an address, and return how many there are within its minute, at whatever server."""
    connection.execute(
        "INSERT INTO wrong_keys (origin, since, count) VALUES (?, ?, ?) ON CONFLICT (origin) DO UPDATE SET"
        " count = CASE WHEN excluded.since - wrong_keys.since >= ? THEN excluded.count"
        " ELSE wrong_keys.count + excluded.count END,"
        " since = CASE WHEN excluded.since - wrong_keys.since >= ? THEN excluded.since ELSE wrong_keys.since END",
        (origin, now, count, minute_s, minute_s),
    )
    found = connection.execute("SELECT count FROM wrong_keys WHERE origin = ?", (origin,)).fetchone()
    return count if found is None else int(found[0])


def read_choices(connection: SqlConnection) -> Mapping[str, str]:
    """Return what was chosen, by name."""
    return dict(connection.execute("SELECT name, value FROM choices").fetchall())


def choose(connection: SqlConnection, name: str, value: str) -> None:
    """Let something hold for all servers, in the place of what was chosen by this name."""
    connection.execute(
        "INSERT INTO choices (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def drop_old(connection: SqlConnection, now: float) -> None:
    """Drop budgets and counts that nobody has changed for long."""
    connection.execute("DELETE FROM key_budgets WHERE changed < ?", (now - KEEP_S,))
    connection.execute("DELETE FROM wrong_keys WHERE since < ?", (now - KEEP_S,))
