"""The ledger's rows, summed up by day, pipeline, model and outcome; what is old is dropped, so that it is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from attrs import evolve, frozen

from nexus_core.contract.answers import AttemptFinished
from nexus_core.contract.errors import UsageError
from nexus_core.contract.values import Value
from nexus_core.store.database.sql import SqlConnection

KEEP_DAYS = 400
"""A year, and what is needed to compare it with the one before."""
MOST_ROWS_OF_A_DAY = 1000
"""Beyond, names are no longer told apart: a service may say another model id in every answer."""
OTHERS = "(others)"
"""Stands for the names that came after so many."""
_LONGEST_NAME = 200
_MOST_TOKENS = 1 << 40
_MOST_COST = 1e9
_KEY = ("day", "pipeline", "model", "model_id", "outcome")
_SUMS = (
    "attempts", "requests", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens", "unreported",
    "estimated", "cost", "unpriced", "duration_s", "from_cache",
)  # fmt: skip
_COLUMNS = ", ".join(_KEY + _SUMS)
_ADD = (
    f"INSERT INTO usage ({_COLUMNS}) VALUES ({', '.join('?' * len(_KEY + _SUMS))}) "
    f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE"
    f" SET {', '.join(f'{name} = usage.{name} + excluded.{name}' for name in _SUMS)}"
)
_SAME = " AND ".join(f"{name} = ?" for name in _KEY)


@frozen(kw_only=True, eq=False, repr=False)
class DailyUsage(Value):
    """What the attempts of a day have used, of one pipeline, model and outcome."""

    day: str
    """As in `2026-11-23`, in UTC."""
    pipeline: str
    model: str
    """The name in the pipeline."""
    model_id: str
    outcome: str
    """`ok`, `cancelled`, or the `kind` of the error."""
    attempts: int
    """Rows of the ledger."""
    requests: int
    """Those of them that reached a service."""
    prompt_tokens: int
    """Of the requests whose tokens are known, as are the next three."""
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    unreported: int
    """Requests of whose prompt or completion nobody knows the tokens."""
    estimated: int
    """Requests whose tokens were estimated, as a whole or in part."""
    cost: float
    """In US dollars, of the requests whose cost is known."""
    unpriced: int
    """Requests whose cost is unknown: their price, or their tokens."""
    duration_s: float
    """All of them together."""
    from_cache: int = 0
    """Attempts that the answer cache has answered: nothing was sent for them."""

    @classmethod
    def of(cls, pipeline: str, row: AttemptFinished) -> DailyUsage:
        """Return what one row of the ledger comes to."""
        sent = int(row.request_sent)
        unknown = row.prompt_tokens is None or row.completion_tokens is None
        return cls(
            day=datetime.fromtimestamp(row.time, UTC).date().isoformat(),
            pipeline=_name(pipeline),
            model=_name(row.model),
            model_id=_name(row.model_id),
            outcome=_name(row.outcome),
            attempts=1,
            requests=sent,
            prompt_tokens=_count(row.prompt_tokens),
            completion_tokens=_count(row.completion_tokens),
            reasoning_tokens=_count(row.reasoning_tokens),
            cached_tokens=_count(row.cached_tokens),
            unreported=int(sent and unknown),
            estimated=int(sent and row.usage_source != "provider"),
            cost=min(row.cost or 0.0, _MOST_COST),
            unpriced=int(sent and row.cost is None),
            duration_s=row.duration_s,
            from_cache=int(row.from_cache),
        )

    @classmethod
    def interrupted(
        cls,
        *,
        time: float,
        pipeline: str,
        model: str,
        model_id: str,
        was_sent: bool,
        prompt_tokens: int | None,
        completion_tokens: int | None,
        duration_s: float,
    ) -> DailyUsage:
        """Return what a run comes to whose server was killed: the request under way, as far as it is known."""
        row = AttemptFinished(
            run_id="", time=time, call_id="", number=1, model=model, model_id=model_id, outcome="interrupted",
            request_sent=was_sent, prompt_tokens=prompt_tokens if was_sent else 0,
            completion_tokens=completion_tokens if was_sent else 0, usage_source="estimated", duration_s=duration_s,
        )  # fmt: skip
        return cls.of(pipeline, row)

    @property
    def known_cost(self) -> float | None:
        """The cost, or `None` where that of every request is unknown."""
        return None if self.requests and self.unpriced >= self.requests else self.cost

    @property
    def key(self) -> tuple[str, ...]:
        """What the rows have in common that are one."""
        return tuple(getattr(self, name) for name in _KEY)

    def __add__(self, other: DailyUsage) -> DailyUsage:
        return evolve(self, **{name: getattr(self, name) + getattr(other, name) for name in _SUMS})

    def without_names(self) -> DailyUsage:
        """Return the same as one of the others, of which only day and outcome are told."""
        return evolve(self, pipeline=OTHERS, model=OTHERS, model_id=OTHERS)


def add(connection: SqlConnection, rows: Sequence[DailyUsage], now: float, keep_days: int) -> None:
    """Add to what is there, and drop the days that are over for longer than `keep_days`."""
    for row in rows:
        if not _is_known(connection, row) and _is_full(connection, row.day):
            _write(connection, row.without_names())
        else:
            _write(connection, row)
    last = datetime.fromtimestamp(now, UTC).date() - timedelta(days=keep_days)
    connection.execute("DELETE FROM usage WHERE day < ?", (last.isoformat(),))


def read(connection: SqlConnection, since: str) -> tuple[DailyUsage, ...]:
    """Return all rows from a day on, by day and name."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM usage WHERE day >= ? ORDER BY {', '.join(_KEY)}", (since,))
    return tuple(DailyUsage(**dict(zip(_KEY + _SUMS, row, strict=True))) for row in rows)


@frozen(kw_only=True, eq=False, repr=False)
class ModelTotal(Value):
    """What a model of a pipeline has used since a day."""

    pipeline: str
    model: str
    """The name in the pipeline."""
    requests: int
    cost: float
    """In US dollars, of the requests whose cost is known."""
    unpriced: int
    """Requests whose cost is unknown."""

    @property
    def known_cost(self) -> float | None:
        """The cost, or `None` where that of every request is unknown."""
        return None if self.requests and self.unpriced >= self.requests else self.cost


def read_totals(connection: SqlConnection, since: str) -> tuple[ModelTotal, ...]:
    """Return what each model has used from a day on, as in `2026-11-01`."""
    rows = connection.execute(
        "SELECT pipeline, model, sum(requests), sum(cost), sum(unpriced) FROM usage WHERE day >= ?"
        " GROUP BY pipeline, model ORDER BY pipeline, model",
        (since,),
    )
    return tuple(
        ModelTotal(pipeline=pipeline, model=model, requests=int(requests), cost=cost, unpriced=int(unpriced))
        for pipeline, model, requests, cost, unpriced in rows
    )


def checked_day(day: str) -> str:
    """Return a day that is one, or `""` for the first there is; raises UsageError."""
    if not day:
        return ""
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError as error:
        raise UsageError(f"{day!r} is no day: write it as in 2026-11-23") from error


def _write(connection: SqlConnection, row: DailyUsage) -> None:
    connection.execute(_ADD, [getattr(row, name) for name in _KEY + _SUMS])


def _is_known(connection: SqlConnection, row: DailyUsage) -> bool:
    return connection.execute(f"SELECT 1 FROM usage WHERE {_SAME}", row.key).fetchone() is not None


def _is_full(connection: SqlConnection, day: str) -> bool:
    (count,) = connection.execute("SELECT count(*) FROM usage WHERE day = ?", (day,)).fetchone()
    return bool(count >= MOST_ROWS_OF_A_DAY)


def _count(tokens: int | None) -> int:
    """Return a count that can be summed up for ever, whatever a service has said."""
    return min(max(tokens or 0, 0), _MOST_TOKENS)


def _name(text: str) -> str:
    """Return a name that can be kept: short, and without halves of surrogate pairs."""
    short = text[:_LONGEST_NAME]
    return short if short.isascii() else short.encode("utf-8", "replace").decode()
