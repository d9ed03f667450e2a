"""Vectors at rest come back as they were, and take little more room than they must."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_core import Item, Store
from nexus_core.contract.features import vector_key
from nexus_core.store.items.vectors import keep_vectors, part_size


@pytest.mark.parametrize("dimensions", [1, 384, 512, 768, 1024, 1536, 3072], ids=str)
async def test_vectors_take_at_most_two_and_a_half_times_their_numbers(tmp_path: Path, dimensions: int) -> None:
    """Of one byte each, with the index and however many numbers they have."""
    items, size = 300, 2 * dimensions
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id=str(number), text="") for number in range(items)])
        before = (tmp_path / "store.db").stat().st_size
        keys = [key for key, _ in await store.items("c", limit=items)]
        data = {key: bytes([key % 251]) * size for key in keys}
        await store.write(keep_vectors, [(key, "model", data[key]) for key in reversed(keys)])
        found = dict(await store.items("c", limit=items))
        assert {key: item.features.get(vector_key("model")) for key, item in found.items()} == data
    grown = (tmp_path / "store.db").stat().st_size - before
    assert grown <= 2.5 * dimensions * items + 2**15


def test_parts_are_as_many_as_fill_pages() -> None:
    """A vector of any length is cut into parts that are alike, none larger than it."""
    for length in (0, 1, 255, 768, 2048, 6144, 100_000):
        assert 1 <= part_size(length) <= max(1, length)
    assert part_size(768) == 768
    assert part_size(3072) == 768


async def test_a_vector_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Also by a shorter one; those of other models stay."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id="i", text="")])
        [(key, _)] = await store.items("c")
        await store.write(keep_vectors, [(key, "a", b"x" * 5000), (key, "b", b"y"), (key + 1, "a", b"gone")])
        await store.write(keep_vectors, [(key, "a", b"z" * 10)])
        [(_, item)] = await store.items("c")
        assert (item.features.get(vector_key("a")), item.features.get(vector_key("b"))) == (b"z" * 10, b"y")
