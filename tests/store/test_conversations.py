"""Conversations at rest: what is kept of them, in which order, whose they are, and how they end."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nexus_core import Conversations, Message, Store, StoreFullError, UsageError
from nexus_core.store.conversations.stored_conversations import StoredConversations, _whole
from nexus_core.store.records import LONGEST_NAME

HOSTILE = [
    pytest.param("'; DROP TABLE turns; --", id="sql"),
    pytest.param('"quoted" \\ %s {} $1 ?', id="quotes"),
    pytest.param("../../etc/passwd", id="path"),
    pytest.param("Gespräch 字 \U0001f6f6 e\u0301", id="unicode"),
    pytest.param(" around ", id="spaces"),
    pytest.param("x" * LONGEST_NAME, id="long"),
]


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def kept(store: Store, clock: Clock) -> StoredConversations:
    return StoredConversations(store._threads, clock)


async def say(kept: StoredConversations, id: str, number: int, *, owner: str = "", answer: str | None = None) -> int:
    told = f"Answer {number}." if answer is None else answer
    return await kept.add(id, query=f"Question {number}?", answer=told, model="main", run_id=f"r{number}", owner=owner)


def rows(store: Store) -> tuple[int, int]:
    """Return how many conversations and turns there are in the file, expired ones included."""
    with sqlite3.connect(store.folder.database) as connection:
        counts = connection.execute("SELECT (SELECT count(*) FROM conversations), (SELECT count(*) FROM turns)")
        found: tuple[int, int] = counts.fetchone()
    connection.close()
    return found


async def test_turns_come_back_as_history_in_their_order(kept: StoredConversations) -> None:
    """A question, its answer, the next question: as a model wants to hear it."""
    assert isinstance(kept, Conversations)
    assert await kept.history("c") == ()
    assert [await say(kept, "c", number) for number in (1, 2)] == [1, 2]
    assert await kept.history("c") == (
        Message("user", "Question 1?"),
        Message("assistant", "Answer 1."),
        Message("user", "Question 2?"),
        Message("assistant", "Answer 2."),
    )


async def test_turns_tell_all_that_was_kept(kept: StoredConversations, clock: Clock) -> None:
    """Run, time and model are there, and pages follow each other without a gap."""
    for number in range(1, 6):
        clock.now += 1
        await say(kept, "c", number)
    first = await kept.turns("c", limit=3)
    rest = await kept.turns("c", after=first[-1].number, limit=3)
    assert await kept.turns("c", after=10**30) == ()
    assert [turn.number for turn in (*first, *rest)] == [1, 2, 3, 4, 5]
    last = rest[-1]
    assert (last.run_id, last.time, last.query, last.answer, last.model) == (
        "r5", 1005.0, "Question 5?", "Answer 5.", "main",
    )  # fmt: skip


async def test_a_run_is_kept_once(kept: StoredConversations) -> None:
    """The same run again changes nothing and is told the number it has."""
    assert await say(kept, "c", 1) == await say(kept, "c", 1, answer="Another.") == 1
    assert [turn.answer for turn in await kept.turns("c")] == ["Answer 1."]


async def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    """A turn that is acknowledged is durable."""
    async with Store(tmp_path) as store:
        await say(store.conversations, "c", 1)
    async with Store(tmp_path) as store:
        assert len(await store.conversations.history("c")) == 2


async def test_history_is_bounded_by_turns_and_characters(
    kept: StoredConversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more is loaded than can be of use, and it is the newest that is."""
    monkeypatch.setattr("nexus_core.store.conversations.conversation_rows.MOST_TURNS", 5)
    for number in range(1, 11):
        await say(kept, "c", number, answer="x" * 100)
    assert [message.content for message in (await kept.history("c"))[:1]] == ["Question 6?"]
    few = await kept.history("c", characters=250)
    assert [message.content for message in few if message.role == "user"] == [
        f"Question {number}?" for number in (8, 9, 10)
    ]
    assert len(await kept.history("c", characters=0)) == 2


async def test_a_turn_without_text_is_kept_and_not_told_to_a_model(kept: StoredConversations) -> None:
    """A call of a tool leaves an answer that services would refuse as a message."""
    await say(kept, "c", 1, answer=" \n")
    await say(kept, "c", 2)
    assert [message.content for message in await kept.history("c")] == ["Question 2?", "Answer 2."]
    assert [turn.answer for turn in await kept.turns("c")] == [" \n", "Answer 2."]


async def test_owners_are_kept_apart(kept: StoredConversations) -> None:
    """One id under two owners is two conversations, and nobody sees, deletes or lists those of another."""
    await say(kept, "c", 1, owner="ann")
    await say(kept, "c", 2, owner="bob")
    await say(kept, "own", 3)
    assert [turn.run_id for turn in await kept.turns("c", owner="bob")] == ["r2"]
    assert await kept.history("c") == ()
    assert [each.id for each in await kept.list()] == ["own"]
    with pytest.raises(UsageError, match="no conversation 'c'"):
        await kept.delete("c")
    await kept.delete("c", owner="ann")
    assert [(each.owner, each.id) for each in await kept.list(owner=None)] == [("", "own"), ("bob", "c")]


async def test_list_comes_in_pages_the_last_changed_first(kept: StoredConversations, clock: Clock) -> None:
    """A page goes on after the place of the last one, also where many changed in the same moment."""
    for number in range(7):
        clock.now += number % 2
        await say(kept, f"c{number}", number)
    await say(kept, "c0", 100)
    first = await kept.list(limit=3)
    second = await kept.list(limit=3, after=first[-1].place)
    third = await kept.list(limit=3, after=second[-1].place)
    found = [each.id for each in (*first, *second, *third)]
    assert (found[0], sorted(found)) == ("c6", [f"c{number}" for number in range(7)])
    assert first[0].turns == 1


async def test_two_runs_of_one_conversation_at_once_are_both_kept(tmp_path: Path) -> None:
    """Also from several stores, as of several processes: numbers are unique and have no gap (fault 154)."""
    async with Store(tmp_path) as one, Store(tmp_path) as other:
        numbers = await asyncio.gather(
            *(
                say(store.conversations, "c", 2 * n + place)
                for place, store in enumerate((one, other))
                for n in range(10)
            )
        )
        assert sorted(numbers) == list(range(1, 21))
        turns = await other.conversations.turns("c")
    assert len({turn.run_id for turn in turns}) == 20


async def test_new_makes_an_id_that_nobody_guesses(kept: StoredConversations) -> None:
    """Or takes the caller's, once."""
    one, other = await kept.new(), await kept.new(owner="ann")
    assert len({one.id, other.id}) == 2
    assert min(len(one.id), len(other.id)) >= 20
    assert (await kept.new("mine")).turns == 0
    with pytest.raises(UsageError, match="conversation 'mine' already"):
        await kept.new("mine")


async def test_a_full_disk_leaves_the_conversation_as_it_was(store: Store, kept: StoredConversations) -> None:
    """What does not fit is refused as a whole, reading goes on, and so does writing when there is space (fault 158)."""
    await say(kept, "c", 1)
    await store.write(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
    with pytest.raises(StoreFullError, match="no space is left"):
        await say(kept, "c", 2, answer="x" * 1_000_000)
    assert len(await kept.turns("c")) == 1
    await store.write(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchall())
    assert await say(kept, "c", 2, answer="x" * 1_000_000) == 2


# Time to live


async def test_a_conversation_lives_from_its_last_turn_on(kept: StoredConversations, clock: Clock) -> None:
    """What is in use does not expire; what has expired is gone for every reader at once."""
    await kept.new("c", ttl_s=10)
    clock.now += 9
    await say(kept, "c", 1)
    clock.now += 9
    assert len(await kept.history("c")) == 2
    clock.now += 1
    assert (await kept.history("c"), await kept.list()) == ((), ())
    for reading in (kept.turns("c"), kept.get("c"), kept.delete("c")):
        with pytest.raises(UsageError, match="or it has expired"):
            await reading


async def test_the_next_write_deletes_what_has_expired(store: Store, kept: StoredConversations, clock: Clock) -> None:
    """The same id begins anew, from number 1; others that have expired go along."""
    for id in ("c", "d"):
        await kept.new(id, ttl_s=10)
        await say(kept, id, 1)
    clock.now += 10
    assert rows(store) == (2, 2)
    assert await say(kept, "c", 2) == 1
    assert rows(store) == (1, 1)
    assert (await kept.get("c")).ttl_s is None


async def test_the_default_time_to_live_is_the_stores(tmp_path: Path, kept: StoredConversations, clock: Clock) -> None:
    """It holds for those that are begun afterwards, unless they say otherwise, also after a restart."""
    assert await kept.default_ttl() is None
    await say(kept, "before", 1)
    await kept.set_default_ttl(60)
    async with Store(tmp_path / "store") as again:
        assert await again.conversations.default_ttl() == 60.0
    await say(kept, "after", 2)
    await kept.new("for ever", ttl_s=None)
    found = {each.id: each.expires for each in await kept.list()}
    assert found == {"before": None, "after": clock.now + 60, "for ever": None}


async def test_expire_deletes_in_portions_all_that_is_due(
    store: Store, kept: StoredConversations, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has expired, of every owner, and on demand what nobody has used for long."""
    monkeypatch.setattr("nexus_core.store.conversations.stored_conversations._AT_ONCE", 2)
    for number in range(5):
        await kept.new(f"c{number}", owner=f"o{number % 2}", ttl_s=10)
    await say(kept, "old", 1)
    clock.now += 20
    await kept.new("young", ttl_s=10)
    assert await kept.expire() == 0  # beginning one has taken the others along
    assert await kept.expire(idle_s=20) == 1
    assert await kept.expire(clock.now + 10) == 1
    assert rows(store) == (0, 0)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
async def test_a_time_to_live_that_is_none_is_refused(kept: StoredConversations, seconds: float) -> None:
    """Not taken for `at once` or `for ever`."""
    with pytest.raises(UsageError, match="seconds above 0"):
        await kept.new("c", ttl_s=seconds)


# Hostile


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_ids_and_owners_are_kept_exactly(kept: StoredConversations, text: str) -> None:
    """They are bound and never part of a statement (faults 161 and 163)."""
    await say(kept, text, 1, owner=text)
    (found,) = await kept.list(owner=text)
    assert (found.id, found.owner, found.turns) == (text, text, 1)
    assert len(await kept.history(text, owner=text)) == 2
    await kept.delete(text, owner=text)


@pytest.mark.parametrize(
    ("id", "reason"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param(" \t", "empty", id="blank"),
        pytest.param("a\0b", "control character", id="nul"),
        pytest.param("a\x1b[2J", "control character", id="escape"),
        pytest.param("x" * (LONGEST_NAME + 1), "characters, more than", id="too-long"),
        pytest.param("a\ud83d", "surrogate", id="lone-surrogate"),
    ],
)
async def test_ids_that_cannot_be_kept_are_refused_with_the_reason(
    kept: StoredConversations, id: str, reason: str
) -> None:
    """Before anything is asked of a model, and of owners alike (fault 163)."""
    with pytest.raises(UsageError, match=f"the id of a conversation.*{reason}"):
        await kept.history(id)
    if id:
        with pytest.raises(UsageError, match=f"the owner of a conversation.*{reason}"):
            await kept.history("c", owner=id)


async def test_texts_are_kept_exactly_but_for_halves_of_surrogate_pairs(kept: StoredConversations) -> None:
    """A model may break off inside a pair: its answer is kept with U+FFFD there, and is not lost (fault 163)."""
    text = "NUL \0, \x1b[2J, \r\n, 'quotes', 字 \U0001f6f6" + "x" * 1_000_000
    await kept.add("c", query=text, answer=text + "\ud83d", model="m\udc00", run_id="r\ud83d\ude00")
    (turn,) = await kept.turns("c")
    assert (turn.query, turn.answer) == (text, text + "\ufffd")
    assert (turn.model, turn.run_id) == ("m\ufffd", "r\U0001f600")


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_a_text_is_kept_as_it_is_or_as_valid_text_of_the_same_length(text: str) -> None:
    """Nothing but halves is replaced, each by one character; pairs are joined."""
    whole = _whole(text)
    whole.encode()
    halves = [character for character in text if "\ud800" <= character <= "\udfff"]
    if not halves:
        assert whole == text
    assert len(text) - len(halves) <= len(whole) <= len(text)


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_limit_that_is_none_is_refused(kept: StoredConversations, limit: int) -> None:
    """A negative one would be all there are."""
    with pytest.raises(UsageError, match="limit is"):
        await kept.list(limit=limit)
