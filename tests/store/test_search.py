"""Searching a context: what is found, in which order, and while others write."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse
from nexus_rankers.recency import Recency

from nexus_core import Item, Ranking, RunContext, Store, UsageError
from nexus_core.store.search import search
from nexus_core.store.search.index_updates import IndexUpdater

pytestmark = pytest.mark.slow

WORDS = "ferry baker lighthouse rope sail anchor tide harbour gull storm".split()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Yield an open store with an empty context."""
    async with Store(tmp_path / "store") as store:
        await store.create("harbour")
        yield store


def notes(*texts: str, tags: Sequence[str] = ()) -> list[Item]:
    """Return items with these texts, their numbers as ids."""
    return [Item(id=str(number), text=text, tags=tuple(tags)) for number, text in enumerate(texts)]


def letters(number: int) -> str:
    """Return a number in letters: a word with digits in it is also compared by its parts."""
    return "".join(["abcdefghij"[int(digit)] for digit in str(number)])


async def ids(store: Store, query: str, *, limit: int = 10, tags: Sequence[str] = ()) -> list[str]:
    """Return the ids that a search finds, best first."""
    return [item.id for item in (await store.search("harbour", query, limit=limit, tags=tags)).items]


async def test_the_best_come_first(store: Store) -> None:
    """Rare words count more than frequent ones, and two that stand together more than two apart."""
    texts = ["tide rope sail", "rope tide sail", "rope", "gull", *["sail anchor tide"] * 5]
    await store.add("harbour", notes(*texts))
    found = await ids(store, "rope sail")
    assert found.index("0") < found.index("1") < found.index("4")
    assert (await ids(store, "gull sail"))[0] == "3"


async def test_scores_are_those_of_the_ranker(store: Store) -> None:
    """Where all items are candidates, scores are those of `bm25`, but for how rare pairs are, which is estimated."""
    items = [
        Item(id=f"{n:02}", title=WORDS[n % 10], text=" ".join(WORDS[(n * k) % 10] for k in range(1, 4 + n % 5)))
        for n in range(80)
    ]
    await store.add("harbour", items)
    query = "ferry lighthouse gull"
    found = await store.search("harbour", query, limit=80)
    ranked = await Bm25().rank(query, Ranking(tuple(items)), RunContext())
    expected = {each.item.id: each.score for each in ranked if each.score > 0}
    assert {each.item.id: each.score for each in found} == pytest.approx(expected, rel=0.2)
    assert [each.item.id for each in found][:5] == [each.item.id for each in ranked][:5]


@pytest.mark.parametrize("query", ["", "   ", "the of and", "?!...", "nowhere", "\0\x1f", "\ud800"])
async def test_a_query_without_a_word_that_is_there_finds_nothing(store: Store, query: str) -> None:
    """Nothing, and no error."""
    await store.add("harbour", notes("The ferry leaves at nine."))
    found = await store.search("harbour", query)
    assert (found.items, found.top(3)) == ((), [])


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_of_none_finds_nothing(store: Store, limit: int) -> None:
    """A limit below one is no error."""
    await store.add("harbour", notes("The ferry leaves at nine."))
    assert await ids(store, "ferry", limit=limit) == []


async def test_a_very_long_query_is_looked_at_in_part(store: Store) -> None:
    """Of 20,000 characters the rarest words that occur: an old letter as a query takes no minutes."""
    straws = [f"straw{letters(n)}" for n in range(900)]
    await store.add("harbour", [*notes("needle in the hay"), Item(id="hay", text=" ".join(straws))])
    query = " ".join([*straws, *straws[:600]]) + " needle " + "filler " * 200_000
    found = await ids(store, query)
    assert {*found} == {"0", "hay"}
    assert await ids(store, "x " * 20_000 + "needle") == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Der Fährmann läßt übersetzen.", "fährmann"),
        ("灯台の下は暗い", "灯台"),
        ("Корабль ушёл", "корабль"),
        ("العربية", "العربية"),
        ("e\u0301tat", "e\u0301tat"),
        ("parseHTTPResponse(raw)", "http response"),
        ("💥 boom", "boom"),
    ],
    ids=["german", "japanese", "russian", "arabic", "combining", "identifier", "emoji"],
)
async def test_words_of_any_writing_are_found(store: Store, text: str, query: str) -> None:
    """What stands in a text is found by itself."""
    await store.add("harbour", [*notes(text), Item(id="other", text="Something else.")])
    assert await ids(store, query) == ["0"]


async def test_a_context_is_searched_in_its_language(store: Store) -> None:
    """Stems are those of the language that the context was made with, also when the items are scored again."""
    await store.create("hafen", language="german")
    await store.add("hafen", notes("Die Häuser am Hafen", "Ein Schiff"))
    found = await store.search("hafen", "Haus Häusern")
    assert [item.id for item in found.items] == ["0"]
    assert found.searched is not None
    assert found.searched[0] == "german"


async def test_tags_filter(store: Store) -> None:
    """Only items with all of the tags are found, however many better ones have none."""
    await store.add("harbour", [Item(id=f"plain {n}", text="ferry ferry") for n in range(900)])
    await store.add(
        "harbour", [Item(id="a", text="a ferry somewhere", tags=("x",)), Item(id="b", text="ferry", tags=("x", "y"))]
    )
    assert {*await ids(store, "ferry", tags=["x"])} == {"a", "b"}
    assert await ids(store, "ferry", tags=["x", "y"]) == ["b"]
    assert await ids(store, "ferry", tags=["z"]) == []


async def test_equal_scores_stand_in_the_order_of_ids(store: Store) -> None:
    """Two searches give the same, whatever was added first."""
    await store.add("harbour", [Item(id=f"{n:02}", text="the same ferry") for n in reversed(range(60))])
    assert await ids(store, "ferry", limit=60) == [f"{n:02}" for n in range(60)]
    assert await ids(store, "ferry", limit=5) == ["00", "01", "02", "03", "04"]


async def test_what_is_removed_is_found_no_more(store: Store) -> None:
    """And others take its place."""
    await store.add("harbour", notes(*["ferry"] * 30))
    await store.remove("harbour", [str(n) for n in range(20)])
    assert await ids(store, "ferry", limit=5) == ["20", "21", "22", "23", "24"]


async def test_what_is_replaced_is_found_as_it_is(store: Store) -> None:
    """The old state is found by none of its words."""
    await store.add("harbour", notes("ferry"))
    assert await ids(store, "ferry") == ["0"]
    await store.add("harbour", notes("baker"))
    assert await ids(store, "ferry") == []
    assert await ids(store, "baker") == ["0"]


async def test_an_unknown_context_is_told(store: Store) -> None:
    """With the closest name."""
    with pytest.raises(UsageError, match="did you mean 'harbour'"):
        await store.search("harbor", "ferry")


async def test_searches_find_what_was_added_before_them(store: Store) -> None:
    """Many additions and searches at once in one process: each search finds what its own addition has acknowledged."""

    async def add_and_search(number: int) -> None:
        await store.add("harbour", [Item(id=str(number), text=f"unique{letters(number)} ferry")])
        assert await ids(store, f"unique{letters(number)}") == [str(number)]

    await asyncio.gather(*(add_and_search(number) for number in range(12)))
    assert len(await ids(store, "ferry", limit=50)) == 12


async def test_searching_goes_on_while_items_are_added(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long addition in the same process makes no search wait for its end, and hides nothing that was there before."""
    monkeypatch.setattr("nexus_core.store.ingest.batch_add.BATCH", 50)
    await store.add("harbour", notes("the first ferry"))
    searched = threading.Event()

    def items() -> Iterator[Item]:
        for number in range(3000):
            if number == 1500:
                assert searched.wait(60)
            yield Item(id=f"n{number}", text=f"sail {number}")

    adding = asyncio.create_task(store.add("harbour", items()))
    try:
        for _ in range(5):
            assert await ids(store, "ferry") == ["0"]
        assert not adding.done()
    finally:
        searched.set()
    assert (await adding).new == 3000


async def test_another_searches_a_new_context_while_its_first_items_are_added(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first batch has brought is found by somebody else while the addition goes on, however long it takes."""
    monkeypatch.setattr("nexus_core.store.ingest.batch_add.BATCH", 10)
    monkeypatch.setattr("nexus_core.store.search.store_search.INDEX_WAIT_S", 0.2)
    begun, ends, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def items() -> Iterator[Item]:
        for number in range(20):
            if number == 10:  # asked for when the first ten are written
                loop.call_soon_threadsafe(begun.set)
                assert ends.wait(60)
            yield Item(id=str(number), text="ferry")

    async with Store(store.folder.root) as other:
        adding = asyncio.create_task(store.add("harbour", items()))
        try:
            await begun.wait()
            assert len(await ids(other, "ferry")) == 10
        finally:
            ends.set()
        await adding
        assert len(await ids(other, "ferry", limit=20)) == 20


async def test_a_cancelled_addition_leaves_what_it_has_written_searchable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its whole batches are there, and found."""
    monkeypatch.setattr("nexus_core.store.ingest.batch_add.BATCH", 10)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def items() -> object:
        for number in range(100_000):
            if number == 25:
                loop.call_soon_threadsafe(begun.set)
            yield Item(id=str(number), text="ferry")

    adding = asyncio.create_task(store.add("harbour", items()))  # type: ignore[arg-type]
    await begun.wait()
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    there = (await store.context("harbour")).items
    assert there % 10 == 0
    assert 20 <= there < 100_000
    assert len(await ids(store, "ferry", limit=100_000)) == there


async def test_items_that_raise_leave_what_came_before(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of whoever yields the items comes out, after the batches before it were written."""
    monkeypatch.setattr("nexus_core.store.ingest.batch_add.BATCH", 10)

    def items() -> object:
        for number in range(25):
            yield Item(id=str(number), text="ferry")
        raise OSError("the disk of the notes is gone")

    with pytest.raises(OSError, match="the notes"):
        await store.add("harbour", items())  # type: ignore[arg-type]
    assert len(await ids(store, "ferry", limit=50)) == 20


WRITER = """
import asyncio, sys
from nexus_core import Item, Store

async def main(folder):
    async with Store(folder) as store:
        for number in range(40):
            await store.add("harbour", [Item(id=f"w{number}x{n}", text=f"ferry w{'x' * number}y") for n in range(20)])
            print(number, flush=True)

asyncio.run(main(sys.argv[1]))
"""


async def test_another_process_may_add_meanwhile(store: Store) -> None:
    """Searches beside a process that adds raise nothing, and find its items once they are acknowledged, each once."""
    command = [sys.executable, "-c", WRITER, str(store.folder.root)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async for line in process.stdout:
        found = await ids(store, f"w{'x' * int(line)}y", limit=100)
        assert sorted(found) == sorted(f"w{int(line)}x{n}" for n in range(20))
    assert await process.wait() == 0
    assert len(await ids(store, "ferry", limit=2000)) == 800


async def test_what_the_index_lacks_is_looked_at_one_by_one(store: Store, tmp_path: Path) -> None:
    """While another one has the index for long, what is new is found all the same."""
    await store.add("harbour", notes("ferry", "baker"))
    indexing = IndexUpdater(store.folder, store._threads.connection(), store._threads.words)
    async with Store(tmp_path / "store") as other:
        with indexing.turn(await store.context("harbour"), 0.0) as ours:
            assert ours
            await other.add("harbour", [Item(id="new", text="ferry zephyr", tags=("t",))])
            assert await ids(other, "zephyr") == ["new"]
            assert await ids(store, "ferry", tags=["t"]) == ["new"]


async def test_many_that_the_index_lacks_are_waited_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this process has added itself is never passed over; what others are adding in bulk comes later."""
    monkeypatch.setattr(search, "TAIL", 3)
    await store.add("harbour", notes("ferry"))
    async with Store(tmp_path / "store") as other:
        context = await store.context("harbour")
        with IndexUpdater(store.folder, store._threads.connection(), store._threads.words).turn(context, 0.0):
            await other.add("harbour", [Item(id=f"o{n}", text="ferry") for n in range(9)])
            waiting = asyncio.create_task(ids(other, "ferry"))
            assert "0" in await ids(store, "ferry")
            assert not waiting.done()
        assert len(await waiting) == 10


async def test_items_in_memory_are_bounded_by_their_size(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few large items do not stay in memory; small ones do, as the same objects."""
    monkeypatch.setattr("nexus_core.store.search.cache.ITEM_BYTES_KEPT", 2_000_000)
    async with Store(store.folder.root) as other:
        await other.add("harbour", [Item(id=str(n), text="ferry " * 50_000) for n in range(4)])
        assert len(await ids(other, "ferry")) == 4
        kept = other._threads.opened()._found.items
        assert kept.bytes <= 2_000_000
        await other.add("harbour", [Item(id="small", text="gull")])
        first, second = [await other.search("harbour", "gull") for _ in range(2)]
        assert first.items[0] is second.items[0]


async def test_bm25_takes_the_scores_of_the_search(store: Store) -> None:
    """How rare a word is, is judged by the whole context and not by the items found."""
    await store.add("harbour", notes(*["ferry rope"] * 50, "gull ferry", "ferry gull rope"))
    found = await store.search("harbour", "gull ferry", limit=2)
    ranked = await Bm25().rank("gull ferry", found, RunContext())
    assert ranked.columns[-1][0] == "bm25"
    assert ranked.columns[-1][1] is found.columns[0][1]


async def test_fuse_takes_the_scores_of_the_search(store: Store) -> None:
    """Where `bm25` is one of several rankers, its part is the search's, too."""
    await store.add("harbour", notes("gull gull gull", "gull ferry", "a gull, a rope, a sail", "rope"))
    found = await store.search("harbour", "gull ferry")
    fused = await Fuse(rankers=(Bm25(), Recency())).rank("gull ferry", found, RunContext())
    columns = dict(fused.columns)
    assert list(columns["bm25"]) == list(found.columns[0][1])
    assert fused.top(1)[0].item.id == "1"


@pytest.mark.parametrize("ranker", [Bm25(k1=0.9), Bm25(b=0.4), Bm25(pairs=0.0), Bm25(language="german")])
async def test_bm25_with_other_weights_works_scores_out_itself(store: Store, ranker: Bm25) -> None:
    """The search knows the default weights only."""
    await store.add("harbour", notes("gull", "gull ferry"))
    found = await store.search("harbour", "gull ferry")
    ranked = await ranker.rank("gull ferry", found, RunContext())
    assert ranked.columns[-1][1] is not found.columns[0][1]
