"""Spend: the tokens and the money of each key, owner and group, summed up by day.

A request counts for its key, its owner and each of their groups, so the groups of one day may come to more than its
owners do. Like the ledger by model it is bounded: days that are over are dropped, and names beyond a number are summed
up together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from attrs import evolve, frozen

from nexus_core.contract.answers import AttemptFinished
from nexus_core.contract.values import Value
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.usage import KEEP_DAYS, OTHERS

SpendKind = Literal["key", "owner", "group"]
"""Whose spend a row is."""
KINDS: tuple[SpendKind, ...] = ("key", "owner", "group")
MOST_NAMES_OF_A_DAY = 10_000
"""Of one kind; those that come after so many are told as `(others)`."""
_MOST_COST = 1e9
_MOST_TOKENS = 1 << 40
_KEY = ("day", "kind", "name")
_SUMS = ("requests", "prompt_tokens", "completion_tokens", "unreported", "cost", "unpriced")
_COLUMNS = ", ".join(_KEY + _SUMS)
_ADDED = ", ".join(f"{name} = spend.{name} + excluded.{name}" for name in _SUMS)
_ADD = (
    f"INSERT INTO spend ({_COLUMNS}) VALUES ({', '.join('?' * len(_KEY + _SUMS))}) "
    f"ON CONFLICT (day, kind, name) DO UPDATE SET {_ADDED}"
)


@frozen(kw_only=True, eq=False, repr=False)
class DailySpend(Value):
    """What one key, owner or group has used on a day."""

    day: str
    """As in `2026-11-23`, in UTC."""
    kind: str
    """One of `key`, `owner`, `group`."""
    name: str
    """The name of the key, the owner, or the group as in `group:hr`."""
    requests: int
    """Requests that reached a service."""
    prompt_tokens: int
    """Of the requests whose tokens are known, as is the next one."""
    completion_tokens: int
    unreported: int
    """Requests of whose prompt or completion nobody knows the tokens."""
    cost: float
    """In US dollars, of the requests whose cost is known."""
    unpriced: int
    """Requests whose cost is unknown: their price, or their tokens."""

    @classmethod
    def of(cls, kind: SpendKind, name: str, row: AttemptFinished) -> DailySpend:
        """Return what one row of the ledger comes to for somebody."""
        sent = int(row.request_sent)
        unknown = row.prompt_tokens is None or row.completion_tokens is None
        return cls(
            day=datetime.fromtimestamp(row.time, UTC).date().isoformat(),
            kind=kind,
            name=name,
            requests=sent,
            prompt_tokens=min(row.prompt_tokens or 0, _MOST_TOKENS),
            completion_tokens=min(row.completion_tokens or 0, _MOST_TOKENS),
            unreported=int(sent and unknown),
            cost=min(row.cost or 0.0, _MOST_COST),
            unpriced=int(sent and row.cost is None),
        )

    @property
    def key(self) -> tuple[str, ...]:
        """What the rows have in common that are one."""
        return self.day, self.kind, self.name

    @property
    def known_cost(self) -> float | None:
        """The cost, or `None` where that of every request is unknown."""
        return None if self.requests and self.unpriced >= self.requests else self.cost

    def __add__(self, other: DailySpend) -> DailySpend:
        return evolve(self, **{name: getattr(self, name) + getattr(other, name) for name in _SUMS})


def add_spend(connection: SqlConnection, rows: Sequence[DailySpend], now: float) -> None:
    """Add to what is there, and drop the days that are over for too long."""
    for row in rows:
        known = connection.execute("SELECT 1 FROM spend WHERE day = ? AND kind = ? AND name = ?", row.key).fetchone()
        kept = evolve(row, name=OTHERS) if known is None and _is_full(connection, row) else row
        connection.execute(_ADD, [getattr(kept, name) for name in _KEY + _SUMS])
    last = datetime.fromtimestamp(now, UTC).date() - timedelta(days=KEEP_DAYS)
    connection.execute("DELETE FROM spend WHERE day < ?", (last.isoformat(),))


def read_spend(connection: SqlConnection, kind: SpendKind, since: str) -> tuple[DailySpend, ...]:
    """Return all rows of a kind from a day on, the newest day first, then by name."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM spend WHERE kind = ? AND day >= ? ORDER BY day DESC, name", (kind, since)
    )
    return tuple(DailySpend(**dict(zip(_KEY + _SUMS, row, strict=True))) for row in rows)


def _is_full(connection: SqlConnection, row: DailySpend) -> bool:
    found = connection.execute("SELECT count(*) FROM spend WHERE day = ? AND kind = ?", row.key[:2]).fetchone()
    return bool(found[0] >= MOST_NAMES_OF_A_DAY)
