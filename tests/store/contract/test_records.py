"""Documents, conversations, keys, usage and kept answers, whatever database they are in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import time

import pytest
from attrs import define, evolve

from nexus_core import Completion, DailyUsage, DocumentMark, DocumentRead, Item, Store, UsageError
from nexus_core.store.access.api_keys import ApiKeys
from nexus_core.store.access.sessions import Sessions
from nexus_core.store.access.spend import DailySpend, add_spend, read_spend
from nexus_core.store.runs import NewRun, RunBatch

pytestmark = pytest.mark.slow

_MANY = 2**40
DAY = DailyUsage(
    day="2026-11-23", pipeline="p", model="m", model_id="m-1", outcome="ok", attempts=1, requests=1,
    prompt_tokens=_MANY, completion_tokens=5, reasoning_tokens=0, cached_tokens=0, unreported=0, estimated=0,
    cost=0.25, unpriced=0, duration_s=1.5,
)  # fmt: skip


@define
class Notes:
    """Documents out of a mapping."""

    texts: dict[str, str]
    problems: Sequence[str] = ()

    def documents(self) -> Iterable[DocumentMark]:
        return [DocumentMark(name=name, stamp=text) for name, text in self.texts.items()]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        parts = self.texts[mark.name].split("\n")
        items = [
            Item(id=f"{mark.name}#{number}", text=part, metadata={"path": mark.name, "line": number})
            for number, part in enumerate(parts)
        ]
        return DocumentRead(items=items, digest=self.texts[mark.name], size=8)


async def test_documents_are_read_when_they_change(store: Store) -> None:
    """What is new, changed and gone of a source is in the context in the end, and what it says of it."""
    notes = Notes({"a.txt": "rope\nsail", "b.txt": "gull"})
    first = await store.ingest("harbour", notes, origin="notes")
    notes.texts = {"a.txt": "rope\nsail\nanchor", "c.txt": "tide"}
    second = await store.ingest("harbour", notes, origin="notes", prune=True)
    assert (first.items.new, second.items.new, second.pruned) == (3, 2, 1)
    assert [document.name for document in await store.documents("harbour")] == ["a.txt", "c.txt"]
    assert [item.id for item in (await store.search("harbour", "anchor")).items] == ["a.txt#2"]
    assert await store.remove_documents("harbour", ["a.txt"]) == 3
    assert await store.check() == ()


async def test_large_originals_are_kept_and_collected(store: Store) -> None:
    """By the digest of their bytes."""
    data = b"\0\xff%s" * 40_000
    key = await store.keep_original(data)
    assert key is not None
    assert await store.original(key) == data


async def test_conversations_are_kept_by_their_owner(store: Store) -> None:
    """Turns have numbers without gaps, a run is kept once, and lists begin with what has changed last."""
    talks = store.conversations
    for number in (1, 2, 2):
        await talks.add("one", query=f"q{number} ?%", answer=f"a{number}", model="m", run_id=f"r{number}", owner="ann")
    await talks.new("two", owner="ann", ttl_s=60)
    assert [turn.number for turn in await talks.turns("one", owner="ann")] == [1, 2]
    assert [message.text for message in await talks.history("one", owner="ann")] == ["q1 ?%", "a1", "q2 ?%", "a2"]
    listed = await talks.list(owner="ann")
    assert [(talk.id, talk.turns, talk.title) for talk in listed] == [("two", 0, ""), ("one", 2, "q1 ?%")]
    assert await talks.list(owner="ann", after=listed[0].place) == listed[1:]
    assert await talks.list(owner="bob") == ()
    with pytest.raises(UsageError, match="there is a conversation"):
        await talks.new("one", owner="ann")
    await talks.delete("one", owner="ann")
    assert await talks.history("one", owner="ann") == ()


async def test_conversations_expire(store: Store) -> None:
    """At the end of their time, and when nothing has come for long."""
    talks = store.conversations
    await talks.new("short", ttl_s=1)
    await talks.new("long")
    assert await talks.expire(now=4e9) == 1
    assert await talks.expire(now=4e9, idle_s=1.0) == 1
    await talks.set_default_ttl(5.5)
    await talks.set_default_ttl(6.5)
    assert await talks.default_ttl() == 6.5


async def test_keys_are_kept_and_revoked(store: Store) -> None:
    """With all they are bound to; the secret itself is nowhere."""
    keys = ApiKeys(store)
    key, secret = await keys.new("ann", scopes=("query",), groups=("group:hr",), contexts=("harbour",))
    await keys.note_used({key.id: 12.5})
    assert await keys.everything() == (evolve(key, used=12.5),)
    await keys.revoke(key.id)
    assert (await keys.everything())[0].revoked is not None
    with pytest.raises(UsageError, match="there is no key"):
        await keys.revoke(secret)


async def test_usage_is_summed_up(store: Store) -> None:
    """Counts stay whole numbers, and costs what they are."""
    await store.add_usage([DAY, DAY], keep_days=10_000)
    await store.add_usage([DAY], keep_days=10_000)
    (found,) = await store.usage()
    assert (found.attempts, found.prompt_tokens, found.cost) == (3, 3 * 2**40, 0.75)
    assert isinstance(found.prompt_tokens, int)


async def test_answers_are_kept_within_bounds(store: Store) -> None:
    """The ones used last, of a model."""
    for number in range(5):
        await store.answers.put(
            f"k{number}", Completion(text=f"Half \ud83d {number}", finish_reason="stop"), owner="", model="m",
            expires_s=100.0, items=3, size=10_000,
        )  # fmt: skip
        await store.answers.settle()
    kept = [await store.answers.get(f"k{number}", owner="", expires_s=100.0) for number in range(5)]
    assert [found is not None for found in kept] == [False, False, True, True, True]
    assert await store.answers.clear() == 3


async def test_runs_go_on_and_end_once(store: Store) -> None:
    """What a server writes of them is read by others; a second run of one name is the first one."""
    runs = store.runs
    run = NewRun(
        id="r1", owner="ann", idempotency="name", fingerprint="f", api="queries", viewer=None, pipeline="p",
        context="harbour", model="m", model_id="m-1", background=False, in_ledger=True, created=time(), server="one",
    )  # fmt: skip
    assert (await runs.begin(run)).id == (await runs.begin(evolve(run, id="r2"))).id == "r1"
    batch = RunBatch(id="r1", first_event=1, last_event=2, data=b"a\0b", is_sent=True, prompt_tokens=7)
    assert await runs.keep("one", [batch]) == ()
    await runs.ask_to_end("r1")
    assert [beat.is_asked_to_end for beat in await runs.beat("one")] == [True]
    (found,) = await runs.under_way(but="other")
    assert (await runs.interrupt(found, b"end", None), await runs.interrupt(found, b"end", None)) == (True, False)
    assert await runs.events("r1", 0) == ((1, 2, b"a\0b"), (3, 3, b"end"))
    assert await runs.keep("one", [evolve(batch, first_event=3, last_event=3)]) == ("r1",)
    assert [(row.model, row.prompt_tokens) for row in await store.usage()] == [("m", 7)]
    assert (await runs.get("r1", owner="ann")).state == "interrupted"


async def test_sessions_begin_once_and_end(store: Store) -> None:
    """A sign-in begins one session, with the groups of who is signed in."""
    sessions = Sessions(store)
    id = await sessions.begin("ann", "Ann", ["group:hr"], lives_s=60.0, state="s" * 32)
    found = await sessions.find(id)
    assert found is not None
    assert (found.owner, found.groups) == ("ann", ("group:hr",))
    with pytest.raises(UsageError):
        await sessions.begin("ann", "Ann", [], lives_s=60.0, state="s" * 32)
    await sessions.end(id)
    assert await sessions.find(id) is None


async def test_spend_is_summed_up(store: Store) -> None:
    """By day and name, the newest day first."""
    spend = DailySpend(
        day="2999-01-01", kind="key", name="k", requests=1, prompt_tokens=2**40, completion_tokens=1, unreported=0,
        cost=0.5, unpriced=0,
    )  # fmt: skip
    await store.write(add_spend, [spend, spend, evolve(spend, day="2999-01-02")], time())
    found = await store.read(read_spend, "key", "")
    assert [(row.day, row.prompt_tokens, row.cost) for row in found] == [
        ("2999-01-02", 2**40, 0.5),
        ("2999-01-01", 2**41, 1.0),
    ]
