"""Grants in the store beside those of items: documents, kept turns, and reads by id."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from nexus_core import Item, Store, Viewer
from nexus_core.contract.errors import UsageError
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.run_context import NOBODY, narrow_readers, parse_readers
from nexus_core.store.store_view import StoreView

GROUPS = ("group:a", "group:b", "group:c")
SOME = st.frozensets(st.sampled_from(GROUPS))
TAGS = st.frozensets(st.sampled_from(("x", "y")))
ITEMS = st.lists(st.tuples(SOME, TAGS), min_size=1, max_size=8)


def packed(*items: Item) -> list[PackedItem]:
    return [PackedItem(number=number, item=item, text=item.text) for number, item in enumerate(items, 1)]


def may_see(context: frozenset[str], item: tuple[frozenset[str], frozenset[str]], viewer: Viewer) -> bool:
    """Tell, in other words than the store's, whether somebody may see an item of a context."""
    readers, tags = item
    granted = all(not groups or groups & viewer.groups for groups in (context, readers))
    return bool(granted) and (viewer.tags is None or bool(viewer.tags & tags))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(context=SOME, items=ITEMS, groups=SOME, tags=st.none() | TAGS, bound=st.sampled_from([None, "c", "d"]))
def test_a_view_shows_what_is_granted_and_nothing_else(
    context: frozenset[str],
    items: list[tuple[frozenset[str], frozenset[str]]],
    groups: frozenset[str],
    tags: frozenset[str] | None,
    bound: str | None,
) -> None:
    """By id, in pages, in searches and counts; of what is hidden as little as of what is not there."""
    viewer = Viewer(groups=groups, tags=tags, contexts=None if bound is None else frozenset({bound}))

    async def look(folder: str) -> None:
        async with Store(folder) as store:
            await store.create("c", readers=sorted(context))
            every = [
                Item(id=f"i{n}", text=f"leave of number {n}", readers=tuple(sorted(readers)), tags=tuple(sorted(marks)))
                for n, (readers, marks) in enumerate(items)
            ]
            await store.add("c", every)
            wanted = {f"i{n}" for n, each in enumerate(items) if bound != "d" and may_see(context, each, viewer)}
            view = StoreView(store, viewer)
            there = bound != "d" and (not context or bool(context & groups))
            assert [each.name for each in await view.contexts()] == (["c"] if there else [])
            if not there:
                return
            assert (await view.context("c")).items == len(wanted)
            assert {item.id for _, item in await view.items("c")} == wanted
            assert {item.id for item in await view.get("c", [each.id for each in every])} == wanted
            assert {item.id for _, item in await view.search("c", "leave", limit=20)} == wanted
            await store.conversations.add_turn(
                None, "t", query="q", answer="a", model="m", run_id="r", contexts=["c"], items=packed(*every)
            )
            assert len(await view.turns("t", "")) == (len(wanted) == len(every))

    with TemporaryDirectory() as folder:
        asyncio.run(look(folder))


@given(own=SOME, within=SOME, groups=SOME)
def test_narrowed_readers_are_those_who_may_see_both(
    own: frozenset[str], within: frozenset[str], groups: frozenset[str]
) -> None:
    """Nobody is shown more by it than each of the two would show."""
    viewer = Viewer(groups=groups | {NOBODY})
    if viewer.may_see(narrow_readers(own, within)):
        assert viewer.may_see(own)
        assert viewer.may_see(within)


def test_what_names_no_group_is_for_nobody() -> None:
    """A mistake hides, whatever it is."""
    assert parse_readers("group:hr, group:it") == (("group:hr", "group:it"), "")
    assert parse_readers(["group:hr"]) == (("group:hr",), "")
    for told in ("hr", "", [], ["group:hr", "it"], ["group:hr", 7], {"group:hr": 1}, None, 5, True, "group:"):
        readers, remark = parse_readers(told)
        assert (readers, bool(remark)) == ((NOBODY,), True)


async def add_secret_and_plain(store: Store) -> tuple[Item, Item]:
    """Return an item of the context `c` that `group:a` alone may see, and one that anybody may."""
    await store.create("c")
    secret, plain = Item(id="s", text="s", readers=("group:a",)), Item(id="p", text="p")
    await store.add("c", [secret, plain])
    return secret, plain


async def test_a_later_turn_is_hidden_with_what_its_prompt_held(tmp_path: Path) -> None:
    """And is not where the turn before was not in it; what an older version kept is for who sees everything."""
    async with Store(tmp_path) as store:
        secret, plain = await add_secret_and_plain(store)
        kept, seen, none = store.conversations, Viewer(groups=frozenset({"group:a"})), Viewer()
        turn = {"query": "q", "answer": "a", "model": "m"}
        await kept.add_turn(seen, "t", run_id="1", contexts=["c"], items=packed(secret), **turn)
        await kept.add_turn(seen, "t", run_id="2", contexts=["c"], items=packed(plain), **turn)
        await kept.add_turn(none, "t", run_id="3", contexts=["c"], items=packed(plain), **turn)
        assert [each.number for each in await kept.turns("t", viewer=seen)] == [1, 2, 3]
        assert [each.number for each in await kept.turns("t", viewer=none)] == [3]
        assert len(await kept.history_for(none, "t")) == 2
        await store.write(lambda connection: connection.execute("UPDATE turns SET sources = NULL"))
        assert await kept.turns("t", viewer=none) == ()
        assert len(await kept.turns("t", viewer=seen)) == 3


async def test_an_earlier_version_hides_the_turns_that_had_it_in_their_prompts(tmp_path: Path) -> None:
    """And itself, but neither the version in its place nor what was asked long after; a link shows no later version."""
    now = [1000.0]
    async with Store(tmp_path) as store:
        secret, plain = await add_secret_and_plain(store)
        kept, seen, none = store.conversations, Viewer(groups=frozenset({"group:a"})), Viewer()
        kept._clock = lambda: now[0]
        turn: dict[str, Any] = {"query": "q", "answer": "a", "model": "m", "contexts": ["c"]}
        for name in ("t", "u"):
            await kept.add_turn(seen, name, run_id="1", items=packed(secret), **turn)
        await kept.add_turn(seen, "t", run_id="2", items=packed(plain), **turn)
        _, token = await kept.links.make("t", viewer=seen)
        now[0] += 60
        for name in ("t", "u"):
            await kept.replace_turn(seen, name, "1", run_id="1b", items=packed(plain), **turn)
        await kept.add_turn(seen, "t", run_id="3", items=packed(plain), **turn)  # whose run may have begun before
        now[0] += 3600
        for name in ("t", "u"):
            await kept.add_turn(seen, name, run_id="4", items=packed(plain), **turn)
        assert [each.run_id for each in await kept.turns("t", viewer=seen)] == ["1b", "3", "4"]
        assert [each.run_id for each in await kept.turns("t", viewer=none)] == [
            "1b"
        ]  # the last had the third before it
        assert [each.run_id for each in await kept.turns("u", viewer=none)] == ["1b", "4"]
        assert [each.run_id for each in await kept.versions("t", "1", viewer=seen)] == ["1", "1b"]
        assert [each.run_id for each in await kept.versions("t", "1", viewer=none)] == ["1b"]
        for run in ("2", "3"):
            with pytest.raises(UsageError, match="no turn of the run"):
                await kept.history_before(none, "t", run)
        shared = await kept.links.open(token, viewer=seen)
        assert (shared.turns, shared.is_partial) == ((), True)
        await kept.show_version("t", "1", viewer=seen)
        assert [each.run_id for each in await kept.turns("t", viewer=seen)] == ["1", "2"]
        assert await kept.turns("t", viewer=none) == ()
        with pytest.raises(UsageError, match="no turn of the run"):  # also where it is the one that is shown
            await kept.show_version("t", "1", viewer=none)
        await kept.show_version("t", "1b", viewer=none)
        with pytest.raises(UsageError, match="no turn of the run"):
            await kept.show_version("t", "1", viewer=none)


async def test_a_narrow_key_is_told_of_a_link_what_it_sees(tmp_path: Path) -> None:
    """As many turns as it reads itself, whoever has made the link."""
    async with Store(tmp_path) as store:
        secret, plain = await add_secret_and_plain(store)
        kept, seen, none = store.conversations, Viewer(groups=frozenset({"group:a"})), Viewer()
        turn: dict[str, Any] = {"query": "q", "answer": "a", "model": "m", "contexts": ["c"]}
        for run, item in (("1", plain), ("2", secret)):
            await kept.add_turn(seen, "t", run_id=run, items=packed(item), **turn)
        for maker in (seen, none):
            made, _ = await kept.links.make("t", viewer=maker)
            links = [await kept.links.get("t", viewer=viewer) for viewer in (None, seen, none)]
            assert [link and (link.turns, link.title) for link in links] == [(2, "q"), (2, "q"), (1, "")]
            assert made.turns == (2 if maker is seen else 1)


async def test_what_a_prompt_held_is_what_its_run_has_read(tmp_path: Path) -> None:
    """Whatever is withdrawn, asked or deleted while it goes on: the turn is hidden with it, by a link as well."""
    async with Store(tmp_path) as store:
        await store.create("c")
        plain = Item(id="p", text="p")
        await store.add("c", [Item(id="s", text="s"), plain])
        kept, seen, none = store.conversations, Viewer(groups=frozenset({"group:a"})), Viewer()
        turn: dict[str, Any] = {"query": "q", "answer": "a", "model": "m", "contexts": ["c"]}
        for name in ("t", "u"):
            await kept.add_turn(seen, name, run_id="1", items=packed(Item(id="s", text="s")), **turn)
        recalled = {name: await kept.history_before(seen, name, None) for name in ("t", "u")}
        nothing = await kept.history_before(none, "new", None)
        await store.add("c", [Item(id="s", text="s", readers=("group:b",))])
        await kept.delete("u")
        for name in ("t", "u"):
            await kept.replace_turn(seen, name, None, run_id="2", items=packed(plain), recalled=recalled[name], **turn)
        assert await kept.turns("t", viewer=seen) == ()
        assert [each.run_id for each in await kept.turns("u", viewer=seen)] == ["2"]
        assert await kept.turns("u", viewer=none) == ()  # made of what is gone: for who sees as much
        for name in ("t", "u"):
            _, token = await kept.links.make(name)
            assert (await kept.links.open(token, viewer=seen)).turns == ()
        await kept.add_turn(None, "new", run_id="1", items=packed(Item(id="s", text="s")), **turn)
        await kept.replace_turn(none, "new", None, run_id="2", items=packed(plain), recalled=nothing, **turn)
        assert [each.run_id for each in await kept.turns("new", viewer=none)] == ["2"]  # the first came meanwhile


async def test_a_title_is_hidden_with_an_earlier_version_of_which_it_may_tell(tmp_path: Path) -> None:
    """In lists and by a link; to who sees all versions it is told."""
    async with Store(tmp_path) as store:
        secret, plain = await add_secret_and_plain(store)
        kept, seen, none = store.conversations, Viewer(groups=frozenset({"group:a"})), Viewer()
        turn: dict[str, Any] = {"query": "q", "answer": "a", "model": "m", "contexts": ["c"]}
        await kept.add_turn(seen, "t", run_id="1", items=packed(secret), **turn)
        await kept.rename("t", "What s says")
        await kept.replace_turn(seen, "t", "1", run_id="1b", items=packed(plain), **turn)
        _, token = await kept.links.make("t", viewer=seen)
        for viewer, title in ((seen, "What s says"), (none, "")):
            told = await kept.list(viewer=viewer)
            shared = await kept.links.open(token, viewer=viewer)
            assert (told[0].title, told[0].turns) == (title, 1)
            assert (shared.link.title, len(shared.turns), shared.is_partial) == (title, 1, False)


async def test_a_context_that_takes_the_name_of_another_opens_nothing_of_it(tmp_path: Path) -> None:
    """What was made of the one that is gone is for who might see it then, and needs to see the new one, too."""
    async with Store(tmp_path) as store:
        item, groups = Item(id="s", text="s"), frozenset({"group:a"})
        turn: dict[str, Any] = {"query": "q", "answer": "a", "model": "m"}
        for name, readers in (("c", ["group:a"]), ("open", [])):
            await store.create(name, readers=readers)
            await store.conversations.add_turn(None, name, run_id="1", contexts=[name], items=packed(item), **turn)
            await store.delete(name)
            await store.create(name)
        for viewer, seen in ((Viewer(groups=groups), ["c", "open"]), (Viewer(), ["open"])):
            told = [name for name in ("c", "open") if await store.conversations.turns(name, viewer=viewer)]
            assert told == seen
        await store.grant("c", ["group:b"])
        assert await store.conversations.turns("c", viewer=Viewer(groups=groups)) == ()
