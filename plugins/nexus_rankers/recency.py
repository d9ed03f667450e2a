"""Newer items first."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from datetime import UTC, datetime
from math import nan
from typing import Any

from nexus_core import Item, Ranking, RunContext, component, hookimpl, option, state
from nexus_rankers.per_items_cache import PerItemsCache

_DAY_S = 86_400.0
_UNDATED = 0.5
"""What an item without a date is worth: as much as one whose half-life is just over."""


@component
class Recency:
    """Ranks items by their date: an item loses half its worth with every half-life.

    After another ranker it mixes the date with that ranker's score. An item without a date is neither old nor new.

    On squad with a copy of each item that is a year older and not relevant (`tests/bench/newer.py`); without any copy
    it is .901:

    | nDCG@10                  | weight .1 | weight .3 | weight .5 |
    |--------------------------|-----------|-----------|-----------|
    | bm25 alone               | .569      | .569      | .569      |
    | `half_life_days: 30`     | .882      | .862      | .449      |
    | `half_life_days: 180`    | .886      | .881      | .773      |
    """

    half_life_days: float = option(30.0, help="After how many days an item is worth half.", gt=0)
    field: str = option("date", help="The metadata field that holds the date: ISO 8601, or seconds since 1970.")
    weight: float = option(0.5, help="The date's share of the score; the ranker before has the rest.", ge=0, le=1)
    now: str | None = option(None, help="The day to count from, ISO 8601; the time of the run by default.")
    _dates: PerItemsCache[array[float]] = state(PerItemsCache)
    _clock: Callable[[], float] = state(default=time.time)

    def __attrs_post_init__(self) -> None:
        if self.now is not None and seconds(self.now) is None:
            raise ValueError(f"`now` must be a date such as 2026-01-31, not {self.now!r}")

    async def rank(self, query: str, ranking: Ranking, run: RunContext) -> Ranking:
        """Return the ranking by date and, where there is one, by the score before."""
        import numpy as np

        from nexus_rankers.top_k import column_of, scored, unit_scale

        dates = np.asarray(await self._dates.get(ranking.items, self._read))
        fixed = seconds(self.now)
        now = self._clock() if fixed is None else fixed
        age_days = np.maximum((now - dates) / _DAY_S, 0.0)
        worth = np.where(np.isnan(dates), _UNDATED, np.exp2(-age_days / self.half_life_days))
        before = column_of(ranking)
        scores = worth if before is None else self.weight * worth + (1 - self.weight) * unit_scale(before)
        return scored(ranking, "recency", scores)

    def _read(self, items: tuple[Item, ...]) -> array[float]:
        dates = (seconds(item.metadata.get(self.field)) for item in items)
        return array("d", (nan if date is None else date for date in dates))


def seconds(date: Any) -> float | None:
    """Return a date as seconds since 1970, `None` where it is none; without a zone it is UTC."""
    if isinstance(date, bool) or not isinstance(date, str | int | float):
        return None
    try:
        if not isinstance(date, str):
            return float(date)
        moment = datetime.fromisoformat(date.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


@hookimpl
def nexus_rankers() -> list[type]:
    """Yield the ranker."""
    return [Recency]
