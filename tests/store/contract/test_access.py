"""Sessions, spend and keys that change, whatever database they are in."""

from __future__ import annotations

import pytest
from attrs import evolve

from nexus_core import Store, UsageError
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.access.sessions import MOST_OF_ONE, Sessions
from nexus_core.store.access.spend import DailySpend, add_spend, read_spend

pytestmark = pytest.mark.slow

ROW = DailySpend(
    day="2026-09-21", kind="group", name="group:hr", requests=1, prompt_tokens=2**40, completion_tokens=30,
    unreported=0, cost=0.25, unpriced=0,
)  # fmt: skip


async def test_a_session_is_found_until_it_ends(store: Store) -> None:
    """Each sign-in begins one, and one person has a bounded number."""
    now = 1000.0
    sessions = Sessions(store, lambda: now)
    one = await sessions.begin("ann", "Änn", ("group:hr",), lives_s=60, state="one")
    with pytest.raises(UsageError, match="used already"):
        await sessions.begin("bob", "bob", (), lives_s=60, state="one")
    found = await sessions.find(one)
    assert found is not None
    assert (found.owner, found.name, found.groups, found.expires) == ("ann", "Änn", ("group:hr",), 1060.0)
    for number in range(MOST_OF_ONE):
        now += 0.01
        last = await sessions.begin("ann", "ann", (), lives_s=60, state=str(number))
    assert (await sessions.find(one), await sessions.find(last) is None) == (None, False)
    await sessions.end(last)
    assert await sessions.find(last) is None


async def test_spend_is_summed_up_by_day_and_name(store: Store) -> None:
    """Rows of one write included."""
    rows = [ROW, ROW, evolve(ROW, day="2026-09-22"), evolve(ROW, name="group:it"), evolve(ROW, kind="owner", name="é")]
    await store.write(add_spend, rows, 1_790_000_000.0)
    found = [(row.day, row.name, row.requests) for row in await store.read(read_spend, "group", "")]
    assert found == [("2026-09-22", "group:hr", 1), ("2026-09-21", "group:hr", 2), ("2026-09-21", "group:it", 1)]
    assert (await store.read(read_spend, "group", ""))[1].prompt_tokens == 2**41


async def test_a_key_is_rotated_and_limited(store: Store) -> None:
    """The old one ends after a while, and what is not there is refused."""
    keys = ApiKeys(store)
    old, _ = await keys.new("ann", groups=("group:hr",))
    new, text, ends = await keys.rotate(old.id, overlap_s=60)
    assert (text[4:12], new.groups, ends - new.created) == (new.id, ("group:hr",), 60)
    await keys.limit(new.id, requests_per_minute=6, tokens_per_minute=None, concurrency=2)
    found = {key.id: (key.expires, key.requests_per_minute, key.concurrency) for key in await keys.everything()}
    assert found == {old.id: (ends, None, 8), new.id: (None, 6, 2)}
    await keys.revoke(old.id)
    with pytest.raises(UsageError, match="holds no more"):
        await keys.rotate(old.id)
    for change in (keys.rotate("0"), keys.limit("0", requests_per_minute=1, tokens_per_minute=1, concurrency=1)):
        with pytest.raises(UsageError, match="no key"):
            await change
