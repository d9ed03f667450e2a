"""The store suite on what is kept of people and models: conversations, keys, sessions, usage, spend, answers."""

from __future__ import annotations

import json
from time import time
from typing import Any

import pytest
from attrs import evolve

from nexus_core.contract.errors import UsageError
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.values import Completion, Item
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.access.sessions import MOST_OF_ONE, Sessions
from nexus_core.store.access.spend import DailySpend, add_spend, read_spend
from nexus_core.store.usage import DailyUsage
from nexus_core.testing.contracts.store.opening import StoreSuite
from nexus_core.testing.contracts.suite import looped

_MANY = 2**40
DAY = DailyUsage(
    day="2026-11-23", pipeline="p", model="m", model_id="m-1", outcome="ok", attempts=1, requests=1,
    prompt_tokens=_MANY, completion_tokens=5, reasoning_tokens=0, cached_tokens=0, unreported=0, estimated=0,
    cost=0.25, unpriced=0, duration_s=1.5,
)  # fmt: skip
"""A row of the ledger."""
SPEND = DailySpend(
    day="2999-01-01", kind="group", name="group:hr", requests=1, prompt_tokens=_MANY, completion_tokens=30,
    unreported=0, cost=0.25, unpriced=0,
)  # fmt: skip


class RecordTests(StoreSuite):
    """Each kind of record, as the server writes it."""

    @looped
    async def test_conversations_are_kept_by_their_owner(self) -> None:
        """Turns have numbers without gaps, a run is kept once, and lists begin with what has changed last.

        Fix: compare rows of values, as in `(changed, key) < (?, ?)`, and keep times as floats of 64 bits.
        """
        async with self._store() as store:
            talks = store.conversations
            for number in (1, 2, 2):
                await talks.add(
                    "one", query=f"q{number} ?%", answer=f"a{number}", model="m", run_id=f"r{number}", owner="ann"
                )
            await talks.new("two", owner="ann", ttl_s=60)
            assert [turn.number for turn in await talks.turns("one", owner="ann")] == [1, 2]
            assert [message.text for message in await talks.history("one", owner="ann")] == [
                "q1 ?%",
                "a1",
                "q2 ?%",
                "a2",
            ]
            listed = await talks.list(owner="ann")
            assert [(talk.id, talk.turns, talk.title) for talk in listed] == [("two", 0, ""), ("one", 2, "q1 ?%")]
            assert await talks.list(owner="ann", after=listed[0].place) == listed[1:]
            assert await talks.list(owner="bob") == ()
            with pytest.raises(UsageError, match="there is a conversation"):
                await talks.new("one", owner="ann")
            await talks.rename("one", " Leave ", owner="ann")
            assert (await talks.list(owner="ann"))[1] == evolve(listed[1], title="Leave", is_renamed=True)
            await talks.rename("one", None, owner="ann")
            rated = await talks.rate("one", "r2", "down", comment=" Too long ", owner="ann")
            assert (rated.number, rated.rating, rated.comment) == (2, "down", "Too long")
            assert (await talks.turns("one", owner="ann"))[1] == rated
            assert await talks.rate("one", "r2", None, owner="ann") == evolve(rated, rating=None, comment=None)
            with pytest.raises(UsageError, match="has no turn of the run 'r3'"):
                await talks.rate("one", "r3", "up", owner="ann")
            assert await talks.list(owner="ann") == listed
            await talks.delete("one", owner="ann")
            assert await talks.history("one", owner="ann") == ()

    @looped
    async def test_a_turn_that_is_asked_again_stands_where_it_stood(self) -> None:
        """The run before is kept as a version, with its rating; what is told as history are the turns before it.

        Fix: keep the rows of `replaced_turns`, and copy them with `INSERT INTO ... SELECT`.
        """
        async with self._store() as store:
            talks = store.conversations
            told: dict[str, Any] = {"query": "q", "model": "m", "owner": "ann"}
            for number in (1, 2, 3):
                await talks.add("one", answer=f"a{number}", run_id=f"r{number}", **told)
            await talks.rate("one", "r2", "down", owner="ann")
            before = await talks.history_before(None, "one", "r2", owner="ann")
            assert [message.text for message in before.messages] == ["q", "a1"]
            replaced = [("r2", "again"), ("r2", "once more"), ("again", "last"), ("r2", "last")]
            for old, new in replaced:  # the last was kept already
                number = await talks.replace_turn(None, "one", old, answer=f"of {new}", run_id=new, **told)
                assert number == 2
            turns = await talks.turns("one", owner="ann")
            assert [(turn.number, turn.run_id, turn.version, turn.rating) for turn in turns] == [
                (1, "r1", 1, None), (2, "last", 4, None),
            ]  # fmt: skip
            for asked in ("r2", "last"):
                versions = await talks.versions("one", asked, owner="ann")
                assert [(each.run_id, each.version, each.rating) for each in versions] == [
                    ("r2", 1, "down"), ("again", 2, None), ("once more", 3, None), ("last", 4, None),
                ]  # fmt: skip
            assert await talks.add("one", answer="a2", run_id="r2", **told) == 2
            assert (await talks.get("one", owner="ann")).turns == 2
            for absent in ("r9", "r3"):  # the other is there, after another version
                with pytest.raises(UsageError, match=f"no turn of the run '{absent}'"):
                    await talks.history_before(None, "one", absent, owner="ann")
            with pytest.raises(UsageError, match="no conversation"):
                await talks.versions("one", "r2")
            assert await talks.replace_turn(None, "one", "gone", answer="a", run_id="r4", **told) == 3
            await talks.delete("one", owner="ann")
            assert await store.read(lambda it: it.execute("SELECT count(*) FROM replaced_turns").fetchone()[0]) == 0

    @looped
    async def test_what_followed_a_version_is_shown_with_it(self) -> None:
        """Whoever goes back to a version goes on from there; a run that was begun in another branch is kept in that.

        Fix: move rows between `turns` and `replaced_turns` with `INSERT INTO ... SELECT`, and compare `follows` with
        `coalesce`.
        """
        async with self._store() as store:
            talks = store.conversations
            told: dict[str, Any] = {"query": "q", "answer": "a", "model": "m", "owner": "ann"}

            async def shown() -> list[str]:
                turns = await talks.turns("one", owner="ann")
                assert [turn.number for turn in turns] == [*range(1, len(turns) + 1)]
                assert (await talks.get("one", owner="ann")).turns == len(turns)
                return [f"{turn.run_id} {turn.version}/{turn.versions}" for turn in turns]

            for run in ("a", "b", "c"):
                await talks.add("one", run_id=run, **told)
            await talks.rate("one", "b", "down", owner="ann")
            begun = await talks.history_before(None, "one", None, owner="ann")
            await talks.replace_turn(None, "one", "b", run_id="b2", **told)
            await talks.add("one", run_id="d", **told)
            assert await shown() == ["a 1/1", "b2 2/2", "d 1/1"]
            assert await talks.replace_turn(None, "one", None, run_id="late", recalled=begun, **told) == 4
            assert await talks.replace_turn(None, "one", "c", run_id="c2", **told) == 3
            assert await talks.replace_turn(None, "one", "c", run_id="c2", **told) == 3
            assert await shown() == ["a 1/1", "b2 2/2", "d 1/1"]
            for absent in ("c", "c2", "late", "x"):
                with pytest.raises(UsageError, match="no turn of the run"):
                    await talks.show_version("one", absent, owner="ann")
            await talks.show_version("one", "b", owner="ann")
            assert await shown() == ["a 1/1", "b 1/2", "c2 2/2"]
            assert (await talks.turns("one", owner="ann"))[1].rating == "down"
            await talks.show_version("one", "c", owner="ann")
            await talks.show_version("one", "c", owner="ann")
            assert await shown() == ["a 1/1", "b 1/2", "c 1/2", "late 1/1"]
            await talks.add("one", run_id="e", **told)
            await talks.replace_turn(None, "one", "b2", run_id="b3", **told)
            assert await shown() == ["a 1/1", "b3 3/3"]
            assert [each.run_id for each in await talks.versions("one", "b", owner="ann")] == ["b", "b2", "b3"]
            await talks.show_version("one", "b2", owner="ann")
            assert await shown() == ["a 1/1", "b2 2/3", "d 1/1"]
            await talks.show_version("one", "b", owner="ann")
            assert await shown() == ["a 1/1", "b 1/3", "c 1/2", "late 1/1", "e 1/1"]

    @looped
    async def test_conversations_expire(self) -> None:
        """At the end of their time, and when nothing has come for long; what settings say is the last that was said.

        Fix: keep `NULL` for what has no end, and times as floats.
        """
        async with self._store() as store:
            talks = store.conversations
            await talks.new("short", ttl_s=1)
            await talks.new("long")
            assert await talks.expire(now=4e9) == 1
            assert await talks.expire(now=4e9, idle_s=1.0) == 1
            await talks.set_default_ttl(5.5)
            await talks.set_default_ttl(6.5)
            assert await talks.default_ttl() == 6.5

    @looped
    async def test_a_link_shows_a_conversation_until_it_ends(self) -> None:
        """Its turns until then with the passages that they cite, by a secret of which the hash alone is kept.

        Fix: enforce `UNIQUE`, compare bytes with bytes, and delete what refers to a row along with it.
        """
        async with self._store() as store:
            talks, links = store.conversations, store.conversations.links
            items = [
                PackedItem(number=n, item=Item(id=f"i{n}", title="T", text="x" * 3000), text="x" * 3000, score=1.234)
                for n in range(1, 30)
            ]
            answer = "All [1, 3], [2] and " + "".join(f"[{n}]" for n in range(4, 30))
            turn = {"query": "q", "answer": answer, "model": "m", "owner": "ann"}
            await talks.add_turn(None, "t", run_id="1", contexts=["c"], items=items, **turn)
            made, token = await links.make("t", owner="ann")
            await talks.add_turn(None, "t", run_id="2", items=items[:1], **{**turn, "answer": "[7]"})
            shown = await links.open(token)
            assert (shown.link, shown.is_partial, [turn.number for turn in shown.turns]) == (made, False, [1])
            assert shown.turns == (await talks.turns("t", owner="ann"))[:1]
            (kept,) = shown.turns
            assert (kept.context, [each.number for each in kept.passages]) == ("c", [*range(1, 21)])
            assert (len(kept.passages[0].text), kept.passages[0].relevance) == (2000, 1.23)
            assert (await talks.turns("t", owner="ann"))[1].passages == ()
            _, other = await links.make("t", owner="ann", ttl_s=60)
            for wrong in (token, "", other[:-1], "x" * 200):
                with pytest.raises(UsageError, match="leads to nothing"):
                    await links.open(wrong)
            link = await links.get("t", owner="ann")
            assert link is not None
            assert (link.turns, link.expires) == (2, link.created + 60)
            await talks.delete("t", owner="ann")
            await talks.add("t", query="q", answer="a", model="m", run_id="1", owner="ann")
            assert (await links.get("t", owner="ann"), await links.withdraw("t", owner="ann")) == (None, False)
            with pytest.raises(UsageError, match="leads to nothing"):
                await links.open(other)

    @looped
    async def test_conversations_are_taken_out_of_a_file(self) -> None:
        """All in one transaction, and none that is here is changed; the newest comes first.

        Fix: let `executemany` write in the transaction that is open.
        """
        async with self._store() as store:
            talks = store.conversations
            line = {"_id": "r1", "text": "q\0", "response": "a\ud83d", "model": "m", "rating": "up", "comment": "Yes"}
            told = [
                {**line, "conversation": id, "time": f"2026-11-{day:02}T10:00:00Z"}
                for id, day in (("new", 23), ("old", 3))
            ]
            file = "\n".join(map(json.dumps, told)).encode()
            taken = await talks.take(file, owner="ann")
            assert [id for id, _ in taken] == ["new", "old"]
            assert [talk.id for talk in await talks.list(owner="ann")] == ["new", "old"]
            (turn,) = await talks.turns("old", owner="ann")
            assert (turn.query.rstrip("\0\ufffd"), turn.answer, turn.rating, turn.comment) == (
                "q",
                "a\ufffd",
                "up",
                "Yes",
            )
            assert [found for _, found in await talks.take(file, owner="ann")] == [None, None]
            await talks.add("old", query="q2", answer="a2", model="m", run_id="r2", owner="ann")
            (_, same), (_, also) = await talks.take(file, owner="ann")
            assert (same, also) == (None, None), "what has gone on since is the same still"
            other = json.dumps({**told[1], "response": "another"}).encode()
            ((_, renamed),) = await talks.take(other, owner="ann")
            assert renamed is not None
            assert (renamed.id != "old", renamed.turns) == (True, 1)
            assert len(await talks.turns("old", owner="ann")) == 2

    @looped
    async def test_keys_are_kept_rotated_limited_and_revoked(self) -> None:
        """With all they are bound to; the secret itself is nowhere. What is not there is refused.

        Fix: tell in `rowcount` how many rows an UPDATE has changed.
        """
        async with self._store() as store:
            keys = ApiKeys(store)
            key, secret = await keys.new("ann", scopes=("query",), groups=("group:hr",), contexts=("harbour",))
            await keys.note_used({key.id: 12.5})
            assert await keys.everything() == (evolve(key, used=12.5),)
            new, text, ends = await keys.rotate(key.id, overlap_s=60)
            assert (text[4:12], new.groups, ends - new.created) == (new.id, ("group:hr",), 60)
            await keys.limit(new.id, requests_per_minute=6, tokens_per_minute=None, concurrency=2)
            kept = {each.id: (each.expires, each.requests_per_minute, each.concurrency)
                    for each in await keys.everything()}  # fmt: skip
            assert kept == {key.id: (ends, None, 8), new.id: (None, 6, 2)}
            await keys.revoke(key.id)
            assert {each.id: each.revoked is None for each in await keys.everything()} == {key.id: False, new.id: True}
            for change in (keys.rotate(key.id), keys.rotate("0"), keys.revoke(secret)):
                with pytest.raises(UsageError, match=r"no key|holds no more"):
                    await change

    @looped
    async def test_a_session_is_found_until_it_ends(self) -> None:
        """Each sign-in begins one, once, and one person has a bounded number.

        Fix: enforce `UNIQUE`, and compare bytes with bytes.
        """
        async with self._store() as store:
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

    @looped
    async def test_usage_and_spend_are_summed_up(self) -> None:
        """Counts stay whole numbers, and costs what they are; rows of one write included, the newest day first.

        Fix: keep whole numbers of 64 bits, and let `executemany` write rows of one key one after the other.
        """
        async with self._store() as store:
            await store.add_usage([DAY, DAY], keep_days=10_000)
            await store.add_usage([DAY], keep_days=10_000)
            (used,) = await store.usage()
            assert (used.attempts, used.prompt_tokens, used.cost) == (3, 3 * _MANY, 0.75)
            assert isinstance(used.prompt_tokens, int), "a count came back as another type"
            others = [evolve(SPEND, day="2999-01-02"), evolve(SPEND, name="group:it"), evolve(SPEND, kind="owner")]
            await store.write(add_spend, [SPEND, SPEND, *others], time())
            spent = [(row.day, row.name, row.requests) for row in await store.read(read_spend, "group", "")]
            assert spent == [
                ("2999-01-02", "group:hr", 1),
                ("2999-01-01", "group:hr", 2),
                ("2999-01-01", "group:it", 1),
            ]

    @looped
    async def test_answers_are_kept_within_bounds(self) -> None:
        """The ones used last, of a model; a text that holds half of a surrogate pair is kept, too.

        Fix: order by `used`, and delete with a subquery that has `LIMIT`.
        """
        async with self._store() as store:
            for number in range(5):
                await store.answers.put(
                    f"k{number}", Completion(text=f"Half \ud83d {number}", finish_reason="stop"), owner="", model="m",
                    expires_s=100.0, items=3, size=10_000,
                )  # fmt: skip
                await store.answers.settle()
            kept = [await store.answers.get(f"k{number}", owner="", expires_s=100.0) for number in range(5)]
            assert [found is not None for found in kept] == [False, False, True, True, True]
            assert await store.answers.clear() == 3
