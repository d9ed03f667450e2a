"""Answers at rest: kept for their owner, until they expire, within bounds, and never given damaged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Completion, Store, StoreBusyError, ToolCall, UsageError
from nexus_core.store import answer_cache
from nexus_core.store.answer_cache import StoredAnswers
from nexus_core.store.database.sql import SqlConnection

ANSWER = Completion(
    text="Half \ud83d, ü.",
    finish_reason="tool_calls",
    model="m-1",
    reasoning="Hm.",
    tool_calls=(ToolCall(id="c", name="look", arguments="{}"),),
)


class Answers:
    """The cache of a store with a clock that is set by hand."""

    def __init__(self, store: Store) -> None:
        self.now = 1_000.0
        self.store = store
        self.cache = StoredAnswers(store._threads, lambda: self.now)

    async def put(self, key: str, text: str = "An answer.", **more: Any) -> None:
        bounds: dict[str, Any] = {"owner": "", "model": "m", "expires_s": 100.0, "items": 10, "size": 10_000, **more}
        await self.cache.put(key, Completion(text=text, finish_reason="stop"), **bounds)
        await self.cache.settle()

    async def get(self, key: str, owner: str = "", expires_s: float = 100.0) -> str | None:
        found = await self.cache.get(key, owner=owner, expires_s=expires_s)
        await self.cache.settle()
        return None if found is None else found.text

    async def there(self, *keys: str) -> list[str]:
        """Return which of some keys are there; that is no use of them."""

        def read(connection: SqlConnection) -> set[str]:
            return {key for (key,) in connection.execute("SELECT request FROM answers")}

        return sorted(await self.store.read(read) & set(keys))


@pytest.fixture
async def answers(tmp_path: Path) -> AsyncIterator[Answers]:
    async with Store(tmp_path / "store") as store:
        yield Answers(store)


@pytest.mark.parametrize("is_written", [False, True], ids=["waiting", "written"])
async def test_an_answer_comes_back_as_it_was_kept(answers: Answers, is_written: bool) -> None:
    """Halves of surrogate pairs included; it is found before it is written."""
    cache = answers.cache
    await cache.put("k", ANSWER, owner="", model="m", expires_s=1.0, items=1, size=10_000)
    if is_written:
        await cache.settle()
    assert await cache.get("k", owner="", expires_s=1.0) == ANSWER


async def test_closing_the_store_writes_what_waits(tmp_path: Path) -> None:
    """The next process finds it."""
    async with Store(tmp_path / "store") as store:
        await store.answers.put("k", ANSWER, owner="", model="m", expires_s=9e9, items=1, size=10_000)
    async with Store(tmp_path / "store") as store:
        assert await store.answers.get("k", owner="", expires_s=9e9) == ANSWER


async def test_an_answer_is_its_owners(answers: Answers) -> None:
    """The same key of another owner is another answer, and clearing one owner's leaves the others'."""
    await answers.put("k", "Ann's.", owner="ann")
    assert [await answers.get("k", owner) for owner in ("ann", "bob", "")] == ["Ann's.", None, None]
    await answers.put("k", "Bob's.", owner="bob")
    assert await answers.cache.clear("ann") == 1
    assert [await answers.get("k", owner) for owner in ("ann", "bob")] == [None, "Bob's."]
    assert await answers.cache.clear() == 1


async def test_an_answer_expires(answers: Answers) -> None:
    """After its own time or the reader's, whichever is shorter; the next write deletes it."""
    await answers.put("k", expires_s=100.0)
    answers.now += 50
    assert [await answers.get("k", expires_s=seconds) for seconds in (50, 51)] == [None, "An answer."]
    answers.now += 50
    assert await answers.get("k", expires_s=1e9) is None
    await answers.put("other")
    assert await answers.there("k", "other") == ["other"]


@pytest.mark.parametrize("is_written", [False, True], ids=["waiting", "written"])
async def test_an_answer_of_the_future_is_none(answers: Answers, is_written: bool) -> None:
    """Its clock was set back since: else it would live longer than it may. The next write deletes it."""
    await answers.cache.put("k", ANSWER, owner="", model="m", expires_s=100.0, items=9, size=10_000)
    if is_written:
        await answers.cache.settle()
    answers.now -= 50
    assert await answers.cache.get("k", owner="", expires_s=100.0) is None
    await answers.put("other")
    answers.now += 60
    assert await answers.get("k") is None
    assert await answers.there("k", "other") == ["other"]


async def test_beyond_so_many_the_least_recently_used_goes_first(answers: Answers) -> None:
    """A use counts, and is written down once a minute at most; those of other models are not counted."""
    await answers.put("other", model="n", items=3)
    for key in ("a", "b", "c"):
        await answers.put(key, items=3)
        answers.now += 1
    answers.now += answer_cache.NOTE_S
    assert await answers.get("a", expires_s=1e9) is not None
    answers.now += 1
    await answers.put("d", items=3)
    assert await answers.there("a", "b", "c", "d", "other") == ["a", "c", "d", "other"]


async def test_beyond_so_many_bytes_the_least_recently_used_goes_first(answers: Answers) -> None:
    """And an answer that is larger than all of them is not kept."""
    for key in ("a", "b", "c"):
        await answers.put(key, "x" * 3_000, size=8_000)
        answers.now += 1
    assert await answers.there("a", "b", "c") == ["b", "c"]
    await answers.put("huge", "x" * 9_000, size=8_000)
    assert await answers.there("b", "c", "huge") == ["b", "c"]


@pytest.mark.parametrize(
    "change",
    [
        "answer = replace(answer, 'An', 'No')",
        "answer = '{'",
        "digest = x'00'",
        *(
            f"answer = '{text}', digest = x'{sha256(text.encode()).hexdigest()}'"
            for text in (
                "[1]", '["x", "stop", "", "", [["c", "f", 1]]]', '[1, "stop", "", "", []]',
                '["x", "stop", "", null, []]', '["x", ["stop"], "", "", []]', '["x", "stop", "", "", 1]', "[" * 100_000,
            )
        ),
    ],
    ids=range(10),
)  # fmt: skip
async def test_a_damaged_row_is_none(answers: Answers, change: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, and the next answer takes its place."""
    await answers.put("k")
    await answers.store.write(lambda connection: connection.execute(f"UPDATE answers SET {change}").rowcount)
    assert [await answers.get("k") for _ in range(2)] == [None, None]
    assert [record.getMessage() for record in caplog.records] == [
        "an answer in the cache is damaged and is asked for again"
    ]
    await answers.put("k", "Another.")
    assert await answers.get("k") == "Another."


async def test_what_cannot_be_written_is_told_once(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody who keeps an answer hears of it, and what comes when the store is free again is kept."""

    def busy(*_: Any) -> None:
        raise StoreBusyError("somebody else has it")

    with monkeypatch.context() as patched:
        patched.setattr(answer_cache, "_keep", busy)
        await answers.put("a")
        await answers.put("b")
    assert [record.getMessage() for record in caplog.records] == [
        "answers could not be kept in the cache: StoreBusyError: somebody else has it"
    ]
    await answers.put("c")
    assert await answers.there("a", "b", "c") == ["c"]


async def test_so_many_wait_at_most(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded whatever the disk does: what comes beyond is not kept."""
    monkeypatch.setattr(answer_cache, "MOST_WAITING", 2)
    for key in ("a", "b", "c"):
        await answers.cache.put(key, ANSWER, owner="", model="m", expires_s=1.0, items=9, size=10_000)
    await answers.cache.settle()
    assert await answers.there("a", "b", "c") == ["a", "b"]


async def test_an_owner_without_a_name_is_refused(answers: Answers) -> None:
    """As for conversations."""
    with pytest.raises(UsageError, match="the owner of an answer"):
        await answers.put("k", owner="a\nb")


async def test_an_export_holds_no_answers_and_a_backup_does(tmp_path: Path) -> None:
    """An export is of a context; a backup is of the whole store."""
    written = BytesIO()
    async with Store(tmp_path / "store") as store:
        await store.create("handbook")
        await store.answers.put("k", ANSWER, owner="", model="m", expires_s=9e9, items=1, size=10_000)
        await store.answers.settle()
        await store.export("handbook", written)
        await store.backup(tmp_path / "copy")
        assert await store.check() == ()
    assert b"Half" not in written.getvalue()
    async with Store(tmp_path / "copy") as copy:
        assert await copy.answers.get("k", owner="", expires_s=9e9) == ANSWER
