"""Search in conversations over both kinds of stores: the same is found, and as little is read for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Store
from nexus_core.store.conversations.conversation_search import LOOKED_AT, TURNS, candidates
from nexus_core.store.database.sql import SqlConnection

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store with more conversations than a search looks at, one of which has more turns than it looks at."""
    place = tmp_path / "store" if request.param == "sqlite" else request.getfixturevalue("postgres")
    async with Store(place) as opened:
        await opened.write(_fill)
        yield opened


def _fill(connection: SqlConnection) -> None:
    """Write rows, as many runs would."""
    many = LOOKED_AT + 50
    connection.executemany(
        "INSERT INTO conversations (owner, id, created, changed, turns) VALUES (?, ?, ?, ?, ?)",
        [("ann", f"c{n}", 1.0, float(n), TURNS + 1 if n == many - 1 else 1) for n in range(many)]
        + [("bob", "his", 1.0, 9e9, 1)],
    )
    keys = dict(connection.execute("SELECT id, key FROM conversations").fetchall())
    turns = [(keys[f"c{n}"], 1, f"r{n}", "Leave?", f"Ärzte of_{n}% €") for n in range(many - 1)]
    turns += [(keys[f"c{many - 1}"], n, f"long{n}", "Long?", f"answer {n} of it") for n in range(1, TURNS + 2)]
    connection.executemany(
        "INSERT INTO turns (conversation_key, number, run_id, query, answer, model, time)"
        " VALUES (?, ?, ?, ?, ?, '', 1)",
        [*turns, (keys["his"], 1, "his", "Leave?", "Ärzte of_1% €")],
    )


async def ids(store: Store, words: str, *, after: Any = None) -> tuple[list[str], Any]:
    found, place = await store.conversations.search(words, owner="ann", after=after)
    return [each.conversation.id for each in found], place


async def test_the_same_is_found_in_both(store: Store) -> None:
    """Literally, in any case, page by page, within the bounds that are told, of the owner alone."""
    after = (50.0, (await store.conversations.get("c50", owner="ann")).key)
    assert await ids(store, "ÄRZTE OF_60% €") == (
        ["c60"],
        (50.0, (await store.conversations.get("c50", owner="ann")).key),
    )
    first, after = await ids(store, "of_1")
    second, end = await ids(store, "of_1", after=after)
    assert (len(first), len(second), end) == (100, 11, None)
    assert (await ids(store, "of%"))[0] == []
    assert (await ids(store, "answer 2 of"))[0] == [f"c{LOOKED_AT + 49}"]
    assert (await ids(store, "answer 1 of"))[0] == []
    await store.conversations.add(
        "tr", query="?", answer="\u0130zmir \u0131l\u0131k", model="m", run_id="t", owner="ann"
    )
    for words in ("izmir", "\u0130ZM\u0130R", "IZMIR", "\u0131l\u0131k", "ILIK"):
        assert (await ids(store, words))[0] == ["tr"], words
    (found,), _ = await store.conversations.search("ANSWER 501", owner="ann")
    assert found.excerpt is not None
    assert (found.excerpt.turn, found.excerpt.words, found.excerpt.after) == (501, "answer 501", " of it")


async def test_turns_are_found_by_their_conversation(store: Store) -> None:
    """No other owner's turns are read: by the index of the turns of a conversation."""
    keys = "[1,2,3]"

    def plan(connection: SqlConnection) -> str:
        is_server = store.folder.is_server
        if is_server:
            connection.execute("ANALYZE turns")
        explain = "EXPLAIN" if is_server else "EXPLAIN QUERY PLAN"
        rows = connection.execute(f"{explain} {candidates('i')}", (keys, "%x%", "%x%")).fetchall()
        return "\n".join(str(row[-1]) for row in rows)

    told = await store.write(plan)
    assert "conversation_key" in told
    assert "Seq Scan on turns" not in told
    assert "SCAN turns" not in told
