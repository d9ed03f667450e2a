"""Daily spend of keys, owners and groups in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from nexus_core.store.access import spend
from nexus_core.store.access.spend import DailySpend, add_spend, read_spend
from nexus_core.store.store import Store
from nexus_core.store.usage import KEEP_DAYS, OTHERS

NOON = 1_790_000_000.0
ROW = DailySpend(
    day="2026-09-21", kind="key", name="4fQx01Zb", requests=1, prompt_tokens=70, completion_tokens=30, unreported=0,
    cost=0.25, unpriced=0,
)  # fmt: skip


async def test_rows_of_a_day_are_one(tmp_path: Path) -> None:
    """What comes later is added; other kinds and days are others."""
    async with Store(tmp_path) as store:
        for _ in range(2):
            await store.write(add_spend, [ROW, evolve(ROW, kind="owner", name="ann"), evolve(ROW, unpriced=1)], NOON)
        (found,) = await store.read(read_spend, "key", "")
        assert (found.requests, found.prompt_tokens, found.cost, found.unpriced) == (4, 280, 1.0, 2)
        assert [row.name for row in await store.read(read_spend, "owner", "")] == ["ann"]
        assert await store.read(read_spend, "key", "2026-09-22") == ()


async def test_days_are_dropped_and_names_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it grows for nobody without end; no request is lost of those that are counted."""
    monkeypatch.setattr(spend, "MOST_NAMES_OF_A_DAY", 2)
    async with Store(tmp_path) as store:
        rows = [evolve(ROW, name=name) for name in ("a", "b", "c", "d", "a")]
        await store.write(add_spend, rows, NOON)
        found: dict[str, Any] = {row.name: row.requests for row in await store.read(read_spend, "key", "")}
        assert found == {"a": 2, "b": 1, OTHERS: 2}
        await store.write(add_spend, [], NOON + (KEEP_DAYS + 2) * 86_400)
        assert await store.read(read_spend, "key", "") == ()


@pytest.mark.parametrize(
    ("requests", "unpriced", "cost"), [(2, 0, 0.25), (2, 1, 0.25), (2, 2, None), (0, 0, 0.25)], ids=str
)
def test_cost_is_unknown_where_that_of_all_is(requests: int, unpriced: int, cost: float | None) -> None:
    """And never nothing."""
    assert evolve(ROW, requests=requests, unpriced=unpriced).known_cost == cost
