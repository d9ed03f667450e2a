"""What a search finds depends on what a context holds now, and not on how it came to hold that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from nexus_core import Item, Store
from nexus_core.contract.run_context import Viewer
from nexus_core.store.search import pool
from nexus_core.store.search.search import SCORED
from nexus_core.store.vectors.matrix import exact_cosines
from nexus_core.toolkit import EVERYTHING, parse_filter

pytestmark = pytest.mark.slow

WORDS = "ferry baker lighthouse rope sail anchor tide harbour gull storm".split()
GERMAN = "Die Fähren fahren um neun Uhr zu den Inseln, und sie kehren am Mittag des gleichen Tages zurück."
STAFF = Viewer(groups=frozenset({"group:staff"}))
TEXTS = st.lists(st.sampled_from(WORDS[:4]), min_size=1, max_size=5).map(" ".join)
CONTENTS = st.dictionaries(st.integers(0, 50).map(str), TEXTS, min_size=1, max_size=25)

Found = list[tuple[list[str], list[float]]]


def live(texts: dict[str, str], chooser: Random) -> list[Item]:
    """Return items with these texts, some of them granted."""
    return [
        Item(
            id=name,
            text=text,
            title=chooser.choice(["", "Rope"]),
            metadata={"year": chooser.randrange(2000, 2004)},
            readers=("group:staff",) if chooser.random() < 0.2 else (),
        )
        for name, text in texts.items()
    ]


async def add_at_once(store: Store, items: Sequence[Item]) -> None:
    """Add all items, and nothing else."""
    await store.create("c")
    await store.add("c", items)


async def add_with_detours(store: Store, items: Sequence[Item], chooser: Random) -> None:
    """Add the same in batches and in another order, changed, removed and added again, among others that go."""
    await store.create("c")
    others = [Item(id=f"gone{n}", text=" ".join(chooser.choices(WORDS, k=chooser.randint(1, 40)))) for n in range(9)]
    changed = [Item(id=item.id, text="before rope rope") for item in items if chooser.random() < 0.4]
    await store.add("c", [*others, *changed, Item(id="german", text=GERMAN)])
    mixed = chooser.sample(items, len(items))
    for start in range(0, len(mixed), max(1, len(mixed) // 3)):
        await store.add("c", mixed[start : start + max(1, len(mixed) // 3)])
    await store.remove("c", [*(item.id for item in others), "german"])
    back = [item for item in items if chooser.random() < 0.3]
    await store.remove("c", [item.id for item in back])
    await store.add("c", back)


async def found(store: Store, questions: Sequence[str], by: str = "words") -> Found:
    """Return ids and scores of the best ten, and of the whole pool, for all, with a filter and with grants."""
    answers: Found = []
    for question in questions:
        for where, viewer in ((EVERYTHING, None), (parse_filter({"year": {"gte": 2002}}), None), (EVERYTHING, STAFF)):
            for limit in (10, SCORED):
                ranking = await store.search("c", question, limit=limit, where=where, viewer=viewer, by=by)  # type: ignore[arg-type]
                answers.append(([item.id for item in ranking.items], [*(ranking.scores or ())]))
    return answers


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(texts=CONTENTS, seed=st.integers(0, 2**32))
async def test_two_histories_of_the_same_items_find_the_same(texts: dict[str, str], seed: int) -> None:
    """Lists, scores and pools, for few words that are held by many items."""
    chooser = Random(seed)
    items, questions = live(texts, chooser), ["rope", "ferry baker", '"rope ferry"', "lighthouse ferry ferry fahren"]
    with TemporaryDirectory() as folder:
        async with Store(Path(folder) / "one") as one, Store(Path(folder) / "other") as other:
            await add_at_once(one, items)
            await add_with_detours(other, items, chooser)
            assert await found(one, questions) == await found(other, questions)


@pytest.mark.parametrize("by", ["words", "both", "meaning"])
async def test_larger_contexts_of_two_histories_find_the_same(tmp_path: Path, by: str) -> None:
    """Hundreds of items, most of which say what others say, or nearly."""
    pytest.importorskip("wordllama")
    chooser = Random(by)
    texts = [" ".join(chooser.choices(WORDS, k=chooser.randint(2, 9))) for _ in range(60)]
    said = {f"i{n:03}": f"{chooser.choice(texts)} {chooser.choice(['', 'rope'])}" for n in range(400)}
    items = live(said, chooser)
    questions = [" ".join(chooser.choices(WORDS, k=chooser.randint(1, 5))) for _ in range(15)]
    async with Store(tmp_path / "one") as one, Store(tmp_path / "other") as other:
        await add_at_once(one, items)
        await add_with_detours(other, items, chooser)
        for store in (one, other) if by != "words" else ():
            await store.embed("c", "static")
        assert await found(one, questions, by) == await found(other, questions, by)


async def test_equal_scores_stand_in_the_order_of_their_ids(tmp_path: Path) -> None:
    """Whatever was added first; of more than are looked at, those with the first ids are found."""
    names = [f"{number:03}" for number in range(200)]
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id=name, text="a rope") for name in reversed(names)])
        assert [item.id for item in (await store.search("c", "rope")).items] == names[:10]
        like = await store.search("c", "", like="004", limit=5)
        assert [item.id for item in like.items] == ["000", "001", "002", "003", "005"]
        await store.add("c", [Item(id=f"stop{name}", text="To be or not to be.") for name in reversed(names)])
        phrase = await store.search("c", "to be or not to be", limit=2)
        assert [item.id for item in phrase.items] == ["stop000", "stop001"]


async def test_more_equal_items_than_an_index_is_asked_for_are_found_by_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are gone through from the first id on, and what is better than they are stays before them."""
    monkeypatch.setattr(pool, "MOST_TIED", 40)
    monkeypatch.setattr(pool, "_FIRST_PAGE", 30)
    names = [f"{number:03}" for number in range(300)]
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id=name, text="a rope", tags=(name[-1],)) for name in reversed(names)])
        await store.add("c", [Item(id="z", text="rope rope"), *(Item(id=f"0{n}x", text="tide") for n in range(99))])
        assert [item.id for item in (await store.search("c", "rope")).items] == ["z", *names[:9]]
        tagged = await store.search("c", "rope", tags=["7"], limit=SCORED)
        assert [item.id for item in tagged.items] == [name for name in names if name[-1] == "7"]


async def test_many_items_near_the_cut_off_are_counted_by_their_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where items were removed and no score of the index is exact; the first ids are found all the same."""
    monkeypatch.setattr(pool, "MOST_COUNTED", 10)
    names = [f"{number:03}" for number in range(150)]
    items = [Item(id=name, text="a rope" if number % 2 else "a rope and a tide") for number, name in enumerate(names)]
    async with Store(tmp_path / "one") as one, Store(tmp_path / "other") as other:
        await add_at_once(one, items[::-1])
        await add_with_detours(other, items, Random(3))
        assert [item.id for item in (await other.search("c", "rope")).items] == names[1:20:2]
        assert await found(one, ["rope", "rope tide"]) == await found(other, ["rope", "rope tide"])


async def test_removed_items_do_not_count(tmp_path: Path) -> None:
    """Neither for how rare a word is, nor for how long items are, nor for the languages of a query."""
    items = [Item(id=str(number), text=text) for number, text in enumerate(["rope sail", "sail tide", "tide gull"])]
    async with Store(tmp_path / "one") as one, Store(tmp_path / "other") as other:
        await add_at_once(one, items)
        await add_at_once(other, [*items, *(Item(id=f"r{n}", text="rope " * 30) for n in range(5))])
        await other.add("c", [Item(id="german", text=GERMAN)])
        await other.remove("c", [*(f"r{n}" for n in range(5)), "german"])
        questions = ["rope sail", "the tides", "gulls"]
        assert await found(one, questions) == await found(other, questions)


def test_exact_cosines_are_the_same_beside_other_rows() -> None:
    """To the last bit: a row alone, among others, and in another order."""
    chooser = np.random.default_rng(1)
    rows = chooser.integers(-127, 128, (300, 256)).astype(np.int8)
    query = chooser.normal(size=256).astype(np.float32)
    query /= np.linalg.norm(query)
    together = exact_cosines(rows, query)
    assert [*exact_cosines(rows[::-1], query)] == [*together[::-1]]
    assert [float(exact_cosines(rows[n : n + 1], query)[0]) for n in range(9)] == [*together[:9]]
    wide = rows.astype(np.float64)
    assert np.allclose(together, wide @ query / np.linalg.norm(wide, axis=1), atol=1e-6)
