"""Vectors that come with items are kept as they are, and a change of them is a change of the item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nexus_core import Item, Store, UsageError, vector_key
from nexus_core.toolkit import KEPT_NUMBERS, embedder_named, item_vectors_key

pytest.importorskip("usearch")
pytest.importorskip("wordllama")


async def vectors(text: str) -> bytes:
    """Return what the static table makes of a text, as it is kept."""
    return (await embedder_named("static").embed([text])).astype(KEPT_NUMBERS).tobytes()


def with_vectors(id: str, text: str, data: Any) -> Item:
    item = Item(id=id, text=text)
    item.features.put(item_vectors_key(embedder_named("static").embedding_id), data)
    return item


async def nearest(store: Store, query: str) -> list[str]:
    ranking = await store.search("c", query, limit=1, by="meaning")
    return [each.item.id for each in ranking.top(1)]


@pytest.mark.parametrize("is_embedded_first", [True, False])
async def test_own_vectors_are_kept_and_not_worked_out_again(tmp_path: Path, is_embedded_first: bool) -> None:
    """Whether the context has its model before the items come, or gets it after."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id="a", text="Bread is baked.")])
        if is_embedded_first:
            await store.embed("c", "static")
        puppy = with_vectors("p", "Nothing of the kind.", await vectors("A puppy makes noise."))
        await store.add("c", [puppy])
        assert await store.embed("c", "static") == (0 if is_embedded_first else 1)
        assert await nearest(store, "puppies are loud") == ["p"]
        assert await store.check() == ()


async def test_a_change_of_own_vectors_is_a_change_of_the_item(tmp_path: Path) -> None:
    """The same ones are none, nor is an item without any."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.embed("c", "static")
        one, other = await vectors("A puppy makes noise."), await vectors("Interest rates rise.")
        await store.add("c", [with_vectors("p", "x", one), Item(id="a", text="Bread is baked.")])
        assert (await store.add("c", [with_vectors("p", "x", one)])).unchanged == 1
        assert (await store.add("c", [Item(id="p", text="x")])).unchanged == 1
        assert (await store.add("c", (await store.search("c", "x")).items)).unchanged == 2
        assert (await store.add("c", [with_vectors("p", "x", other)])).changed == 1
        assert await nearest(store, "bank interest") == ["p"]
        assert await store.check() == ()


def named(id: str, text: str, model: str, data: bytes) -> Item:
    item = Item(id=id, text=text)
    item.features.put(vector_key(model), data)
    return item


@pytest.mark.parametrize("is_embedded_first", [True, False])
async def test_own_vectors_may_name_the_model_as_the_context_does(tmp_path: Path, is_embedded_first: bool) -> None:
    """Whether it has the model already or takes it later; the same ones again are no change."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id="a", text="Bread is baked.")])
        puppy = named("p", "Nothing of the kind.", "static", await vectors("A puppy makes noise."))
        if is_embedded_first:
            await store.embed("c", "static")
        await store.add("c", [puppy])
        assert (await store.add("c", [puppy])).unchanged == 1
        assert await store.embed("c", "static") == (0 if is_embedded_first else 1)
        assert (await store.add("c", [puppy])).unchanged == 1
        assert await nearest(store, "puppies are loud") == ["p"]
        assert await store.check() == ()


async def test_own_vectors_of_another_length_than_the_named_model_are_refused(tmp_path: Path) -> None:
    """With what a vector of it has; nothing is written."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id="a", text="Bread is baked.")])
        await store.embed("c", "static")
        with pytest.raises(UsageError, match="'p': its vectors of 'static' are 7 numbers: one has 256"):
            await store.add("c", [named("p", "x", "static", bytes(14))])
        assert (await store.context("c")).items == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([1.0, 2.0], "of type list"),
        (b"", "0 bytes"),
        (b"odd", "3 bytes"),
        (np.array([np.nan, 1], KEPT_NUMBERS).tobytes(), "not all finite"),
    ],
)
async def test_what_is_no_vector_is_refused(tmp_path: Path, data: object, problem: str) -> None:
    """With the id of the item, and nothing of it is written."""
    async with Store(tmp_path) as store:
        await store.create("c")
        with pytest.raises(UsageError, match=f"item 'p'.*{problem}"):
            await store.add("c", [with_vectors("p", "x", data)])
        assert (await store.context("c")).items == 0


async def test_vectors_of_another_length_are_worked_out_by_the_model(tmp_path: Path) -> None:
    """They cannot be compared with those of the model that they are said to be of."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.embed("c", "static")
        short = np.ones(7, np.dtype(KEPT_NUMBERS)).tobytes()
        await store.add("c", [with_vectors("p", "A puppy makes noise.", short), Item(id="a", text="Bread is baked.")])
        assert await nearest(store, "loud puppies") == ["p"]
        assert await store.check() == ()
