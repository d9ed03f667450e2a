"""Other engines of search: a store finds the same with indexes in memory that know nothing of tantivy and usearch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from random import Random

import numpy as np
import pytest
from attrs import define, field

from nexus_core import Item, Store, Viewer
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.records import Context
from nexus_core.store.search.indexes import (
    IndexDamagedError,
    SearchableVectors,
    VectorIndexes,
    WordIndex,
    WordIndexes,
    WordIndexWriter,
    word_score,
)
from nexus_core.store.search.visibility import VisibleKeys
from nexus_core.store.vectors.context_vectors import newest_part, read_parts
from nexus_core.store.vectors.matrix import Vector, quantized
from nexus_core.store.vectors.vector_model import VectorModel
from nexus_core.toolkit import EVERYTHING, parse_filter
from nexus_core.toolkit.embedding.embedder import KEPT_NUMBERS

pytestmark = pytest.mark.slow

WORDS = "ferry baker lighthouse rope sail anchor tide harbour gull storm".split()
STAFF = Viewer(groups=frozenset({"group:staff"}))


@define(eq=False)
class WordsInMemory:
    """The words of a context, by key."""

    kept: dict[int, Counter[str]]
    items: dict[int, Counter[str]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.reload()

    def reload(self) -> None:
        self.items = dict(self.kept)

    def is_untouched(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self.items)

    @property
    def average_length(self) -> float:
        return sum(words.total() for words in self.items.values()) / max(len(self.items), 1)

    @property
    def scored_length(self) -> float:
        return self.average_length

    def count_newer(self, key: int) -> int:
        return sum(each > key for each in self.items)

    def holding(self, stem: str) -> int:
        return sum(stem in words for words in self.items.values())

    def lengths_of(self, keys: Sequence[int]) -> dict[int, int]:
        return {key: self.items[key].total() for key in keys if key in self.items}

    def counts_of(self, keys: Sequence[int], stems: Iterable[str]) -> dict[int, tuple[dict[str, float], float]]:
        asked = [*stems]
        return {
            key: ({stem: float(held[stem]) for stem in asked if stem in held}, float(held.total()))
            for key in keys
            if (held := self.items.get(key)) is not None
        }

    def search(
        self, asked: Mapping[str, float], limit: int, among: Sequence[int] | None = None,
        required: Sequence[Collection[str]] = (),
    ) -> list[tuple[int, float]]:  # fmt: skip
        average = self.average_length
        scores = {
            key: sum(word_score(weight, held[stem], held.total(), average) for stem, weight in asked.items())
            for key, held in self.items.items()
            if any(stem in held for stem in asked) and all(any(stem in held for stem in some) for some in required)
        }
        keys = [*scores] if among is None else [key for key in among if key in scores]
        return [(key, scores[key]) for key in sorted(keys, key=scores.__getitem__, reverse=True)[:limit]]

    def keys(self) -> Iterator[int]:
        yield from self.items

    def writer(self) -> WordIndexWriter:
        return Writer(self.kept, deepcopy(self.kept))


@define(eq=False)
class Writer:
    """Changes a copy, which takes the place of what was kept with the commit."""

    kept: dict[int, Counter[str]]
    new: dict[int, Counter[str]]
    is_open: bool = True

    def add(self, key: int, words: str) -> None:
        self.new[key] = Counter(words.split())

    def remove(self, keys: Iterable[int]) -> None:
        for key in keys:
            self.new.pop(key, None)

    def remove_newer(self, key: int) -> None:
        self.remove([each for each in self.new if each > key])

    def commit(self) -> None:
        self.kept.clear()
        self.kept.update(self.new)

    def close(self) -> None:
        self.is_open = False

    abandon = close


@define(eq=False)
class IndexesInMemory:
    """The indexes of contexts by their names; they are gone with the process."""

    kept: dict[str, dict[int, Counter[str]]] = field(factory=dict)
    opened: int = 0

    def open(self, name: str) -> WordIndex:
        if name not in self.kept:
            raise IndexDamagedError(f"there is no index {name}")
        self.opened += 1
        return WordsInMemory(self.kept[name])

    def create(self, name: str) -> WordIndex:
        return WordsInMemory(self.kept.setdefault(name, {}))

    def delete(self, name: str) -> None:
        self.kept.pop(name, None)

    def names_of(self, context_id: int) -> list[str]:
        return [name for name in self.kept if name.startswith(f"{context_id}-")]

    def damage_of(self, name: str) -> list[str]:
        return []


@define(eq=False)
class ExactVectors:
    """Every vector of a context, compared one by one."""

    keys: list[int]
    rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]

    def nearest(self, query: Vector, count: int, visible: VisibleKeys | None) -> Mapping[int, float]:
        cosines = self.cosines_of(query, self.keys if visible is None else visible.only(self.keys))
        return dict(sorted(cosines.items(), key=lambda each: -each[1])[: 2 * count])

    def cosines_of(self, query: Vector, keys: Sequence[int]) -> dict[int, float]:
        wanted, best = {*keys}, dict[int, float]()
        whole = np.rint(np.asarray(query, np.float64) * 2**24).astype(np.int64)
        lengths = np.sqrt((self.rows * self.rows).sum(axis=1).astype(np.float64)) * 2**24
        for key, cosine in zip(self.keys, (self.rows @ whole) / lengths, strict=True):
            if key in wanted:
                best[key] = max(best.get(key, -1.0), float(cosine))
        return best


@define(eq=False)
class VectorsInMemory:
    """Reads the vectors of rows anew for each search."""

    place: StorePaths
    connection: SqlConnection
    unarranged: dict[str, Context] = field(factory=dict)

    def vectors_of(self, context: Context, model: VectorModel) -> SearchableVectors | None:
        number = model.number(self.connection)
        if number is None:
            return None
        kept: dict[int, bytes] = {}
        for key, data in read_parts(self.connection, context, number, 0, newest_part(self.connection)):
            kept[key] = kept.get(key, b"") + data
        vectors = {key: np.frombuffer(data, KEPT_NUMBERS).reshape(-1, model.width) for key, data in kept.items()}
        keys = [key for key, rows in vectors.items() for _ in rows]
        return ExactVectors(keys, quantized(np.concatenate([*vectors.values()])).astype(np.int64)) if keys else None


def swapped(store: Store) -> IndexesInMemory:
    """Give a store that is not open yet other engines, and return that of words."""
    words: WordIndexes = (kept := IndexesInMemory())
    vectors: type[VectorIndexes] = VectorsInMemory
    store._threads.words, store._threads.vectors = words, vectors
    return kept


async def found(store: Store, question: str, by: str) -> list[tuple[list[str], list[float]]]:
    """Return ids and scores for all, with a filter, and with grants."""
    answers = []
    for where, viewer in ((EVERYTHING, None), (parse_filter({"year": {"gte": 2002}}), None), (EVERYTHING, STAFF)):
        ranking = await store.search("c", question, where=where, viewer=viewer, by=by)  # type: ignore[arg-type]
        answers.append(([item.id for item in ranking.items], [*(ranking.scores or ())]))
    return answers


@pytest.mark.parametrize("by", ["words", "both", "meaning"])
async def test_a_store_finds_the_same_with_engines_in_memory(tmp_path: Path, by: str) -> None:
    """Words and vectors: added, changed, removed; rows, packing and scores are the store's own."""
    pytest.importorskip("wordllama")
    chooser = Random(by)
    items = [
        Item(id=f"n{number}", text=" ".join(chooser.choices(WORDS, k=chooser.randint(1, 6))),
             metadata={"year": 2000 + number % 4}, readers=("group:staff",) if number % 5 == 0 else ())
        for number in range(120)
    ]  # fmt: skip
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    words = swapped(other)
    async with one, other:
        for store in (one, other):
            await store.create("c")
            await store.add("c", items)
            await store.embed("c", "static")
            await store.add("c", [Item(id="n3", text="a gull in a storm"), Item(id="new", text="the baker's rope")])
            await store.remove("c", ["n4", "n5"])
        for question in ("rope", '"ferry rope"', "gull storm tide", "loaf of bread"):
            assert await found(one, question, by) == await found(other, question, by)
        assert await other.check() == ()
        assert words.opened
        assert not [*other.folder.indexes.iterdir()], "an index in a folder was made, too"


async def test_an_index_that_is_gone_is_built_anew(tmp_path: Path) -> None:
    """By the engine that is there now; and it goes with its context."""
    store = Store(tmp_path)
    words = swapped(store)
    async with store:
        await store.create("c")
        await store.add("c", [Item(id="a", text="ferry")])
        (name,) = words.kept
        words.kept.clear()
        store._threads.opened()._open.clear()
        assert [item.id for item in (await store.search("c", "ferry")).items] == ["a"]
        assert words.kept
        assert name not in words.kept
        await store.delete("c")
        assert not words.kept
    async with Store(tmp_path) as again:
        await again.create("c")
        await again.add("c", [Item(id="b", text="ferry")])
        assert [item.id for item in (await again.search("c", "ferry")).items] == ["b"]
