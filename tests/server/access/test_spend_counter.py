"""Spend counter: what is gathered is written once, whoever leaves and whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from nexus_core import AttemptFinished, StoreBusyError
from nexus_core.server.access import spend_counter
from nexus_core.server.access.identity import Identity
from nexus_core.server.access.spend_counter import SpendCounter
from nexus_core.store.access.spend import DailySpend

ANN = Identity(owner="ann", scopes=frozenset({"query"}), key_id="4fQx01Zb", groups=("group:hr",))


def attempt(*, sent: bool = True) -> AttemptFinished:
    """Return one that used ten tokens."""
    return AttemptFinished(
        run_id="r", call_id="c", number=1, model="main", model_id="m", outcome="ok", request_sent=sent,
        prompt_tokens=7, completion_tokens=3, time=1_790_000_000.0,
    )  # fmt: skip


class Rows:
    """Takes rows while its gate is open, but for so many times."""

    def __init__(self) -> None:
        self.requests: dict[str, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.refuses = 0

    async def write(self, rows: Sequence[DailySpend]) -> None:
        """Count the requests of each name."""
        self.begun.set()
        await self.gate.wait()
        if self.refuses:
            self.refuses -= 1
            raise StoreBusyError("not now")
        for row in rows:
            self.requests[row.name] = self.requests.get(row.name, 0) + row.requests


async def test_attempts_count_for_key_owner_and_groups() -> None:
    """Together in one write; what was never sent counts for nobody."""
    rows = Rows()
    counter = SpendCounter(rows.write)
    for sent in (True, True, False):
        counter.note(ANN, attempt(sent=sent))
    await counter.close()
    assert rows.requests == {"4fQx01Zb": 2, "ann": 2, "group:hr": 2}


async def test_what_the_store_refuses_is_kept() -> None:
    """Until it takes it."""
    rows = Rows()
    counter = SpendCounter(rows.write)
    counter.note(ANN, attempt())
    rows.refuses = 1
    with pytest.raises(StoreBusyError):
        await counter.flush()
    counter.note(ANN, attempt())
    await counter.close()
    assert rows.requests["ann"] == 2


async def test_who_leaves_while_rows_are_written_changes_nothing() -> None:
    """They are written once."""
    rows = Rows()
    counter = SpendCounter(rows.write)
    counter.note(ANN, attempt())
    rows.gate.clear()
    asked = asyncio.create_task(counter.flush())
    await rows.begun.wait()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    rows.gate.set()
    await counter.close()
    assert rows.requests["ann"] == 1


async def test_what_comes_while_rows_are_written_is_written_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another attempt to begin it."""
    monkeypatch.setattr(spend_counter, "GATHER_S", 0.0)
    rows = Rows()
    counter = SpendCounter(rows.write)
    counter.note(ANN, attempt())
    rows.gate.clear()
    await rows.begun.wait()
    counter.note(ANN, attempt())
    rows.gate.set()
    assert counter._soon is not None
    await counter._soon
    assert rows.requests["ann"] == 2
