"""Turns that were asked again: a tree of turns, of which `turns` has the branch that is shown.

A turn that is asked again leaves its place to the new one, and those after it leave with it: each is kept with its
number, all that was kept with it, and the run that it was asked after. Whoever goes back to a version is shown it and
what had followed it. No transaction is made here.
"""

from __future__ import annotations

from collections.abc import Collection

from nexus_core.store.database.sql import SqlConnection

COLUMNS = "number, run_id, time, query, answer, model, rating, comment, passages"
"""What is read of a turn, from `turns` as from `replaced_turns`."""
BESIDE = (
    "coalesce(other.follows, '') = coalesce((SELECT before.run_id FROM turns AS before"
    " WHERE before.conversation_key = other.conversation_key AND before.number = other.number - 1), '')"
)
"""Whether a row of `replaced_turns AS other` was asked after the same turn as the one that is shown at its number."""
_OTHERS = (
    "(SELECT count(*) FROM replaced_turns AS other WHERE other.conversation_key = turns.conversation_key"
    f" AND other.number = turns.number AND {BESIDE}"
)
VERSION = f"1 + {_OTHERS} AND (turns.version IS NULL OR other.version < turns.version))"
"""Which of its versions a row of `turns` is, from 1, as an expression of SQL."""
VERSIONS = f"1 + {_OTHERS})"
"""How many versions a row of `turns` has, itself included, as an expression of SQL."""
_KEPT = "run_id, time, query, answer, model, sources, rating, comment, passages"
_NEWEST = (
    "(SELECT coalesce(max(version), 0) FROM (SELECT version FROM replaced_turns AS each_left"
    " WHERE each_left.conversation_key = {key} AND each_left.number = {number} UNION ALL SELECT version FROM turns AS"
    " each_shown WHERE each_shown.conversation_key = {key} AND each_shown.number = {number}) AS every)"
)
"""The newest version that a number has."""


def kept_number(connection: SqlConnection, key: int, run_id: str) -> int | None:
    """Return the number of the turn that a run has made, shown or not; `None` of none."""
    for table in ("turns", "replaced_turns"):
        found = connection.execute(
            f"SELECT number FROM {table} WHERE conversation_key = ? AND run_id = ?", (key, run_id)
        ).fetchone()
        if found is not None:
            return int(found[0])
    return None


def shown_number(connection: SqlConnection, key: int, run_id: str) -> int | None:
    """Return the number of the turn that is shown of which a run has made a version; `None` of none."""
    found = connection.execute(
        "SELECT number FROM turns WHERE conversation_key = ? AND run_id = ? UNION ALL SELECT number FROM replaced_turns"
        f" AS other WHERE conversation_key = ? AND run_id = ? AND {BESIDE}",
        (key, run_id, key, run_id),
    ).fetchone()
    return None if found is None else int(found[0])


def find_shown(connection: SqlConnection, key: int, number: int) -> str | None:
    """Return the run of the turn that is shown at a number, if there is one."""
    found = connection.execute(
        "SELECT run_id FROM turns WHERE conversation_key = ? AND number = ?", (key, number)
    ).fetchone()
    return None if found is None else str(found[0])


def leave(connection: SqlConnection, key: int, number: int, now: float) -> None:
    """Show the turns of a conversation from a number on no more: each is kept as a version, after what it followed."""
    newest = _NEWEST.format(key="turns.conversation_key", number="turns.number")
    connection.execute(
        f"INSERT INTO replaced_turns (conversation_key, number, version, replaced, follows, {_KEPT})"
        f" SELECT conversation_key, number, coalesce(version, 1 + {newest}), ?, (SELECT before.run_id FROM turns AS"
        " before WHERE before.conversation_key = turns.conversation_key AND before.number = turns.number - 1),"
        f" {_KEPT} FROM turns WHERE conversation_key = ? AND number >= ?",
        (now, key, number),
    )
    connection.execute("DELETE FROM turns WHERE conversation_key = ? AND number >= ?", (key, number))


def keep_aside(
    connection: SqlConnection, key: int, other: str, now: float, turn: tuple[str | None, ...], *, beside: bool
) -> int | None:
    """Keep a turn after one that is shown no more, or beside it, and return its number; `None` where it is shown."""
    left = connection.execute(
        "SELECT number, replaced, follows FROM replaced_turns WHERE conversation_key = ? AND run_id = ?", (key, other)
    ).fetchone()
    if left is None:
        return None
    number = int(left[0]) if beside else int(left[0]) + 1
    connection.execute(
        "INSERT INTO replaced_turns (conversation_key, number, version, replaced, follows, time, run_id, query, answer,"
        f" model, sources, passages) SELECT ?, ?, 1 + {_NEWEST.format(key='?', number='?')}, ?, ?, ?, ?, ?, ?, ?, ?, ?",
        (key, number, *(key, number) * 2, left[1], left[2] if beside else other, now, *turn),
    )
    return number


def show_branch(connection: SqlConnection, key: int, run_id: str, now: float) -> int:
    """Show the version that a run has made of a turn, with what had followed it; return the last number then."""
    number = shown_number(connection, key, run_id) or 0
    leave(connection, key, number, now)
    following: str | None = run_id
    last = number - 1
    while following is not None:
        last += 1
        connection.execute(
            f"INSERT INTO turns (conversation_key, number, version, {_KEPT})"
            f" SELECT conversation_key, number, version, {_KEPT} FROM replaced_turns"
            " WHERE conversation_key = ? AND run_id = ?",
            (key, following),
        )
        connection.execute("DELETE FROM replaced_turns WHERE conversation_key = ? AND run_id = ?", (key, following))
        found = connection.execute(
            "SELECT run_id FROM replaced_turns WHERE conversation_key = ? AND number = ? AND follows = ?"
            " ORDER BY replaced DESC, version DESC LIMIT 1",
            (key, last + 1, following),
        ).fetchone()
        following = None if found is None else str(found[0])
    return last


def replaced_since(connection: SqlConnection, key: int, moment: float) -> Collection[int]:
    """Return the numbers of the turns that were asked again, or shown no more, after a moment."""
    found = connection.execute(
        "SELECT DISTINCT number FROM replaced_turns WHERE conversation_key = ? AND replaced > ?", (key, moment)
    )
    return [number for (number,) in found]
