"""A filtered page of a store in a folder; `contract/test_filters.py` has what holds of both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nexus_core import Item, Store
from nexus_core.toolkit import parse_filter


@pytest.mark.parametrize("where", [{"year": {"gte": 2020}}, {"author": "Ann"}, {"author": ["Ann", "Bob"]}])
async def test_a_filtered_page_holds_what_matches(tmp_path: Path, where: dict[str, Any]) -> None:
    """Also of items that came after the first look."""
    items = [Item(id=f"i{n}", text="x", metadata={"year": 2015 + n, "author": ["Ann", "Cy"][n % 2]}) for n in range(10)]
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", items[:6])
        chosen = parse_filter(where)
        for count in (6, 10):
            await store.add("c", items[:count])
            found = [item.id for _, item in await store.items("c", where=chosen)]
            assert found == [item.id for item in items[:count] if chosen.matches(item)]
