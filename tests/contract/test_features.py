"""Features of an item: kept by key, told as they are put, and no part of what an item is."""

from __future__ import annotations

import pickle
from typing import Any

from attrs import evolve

from nexus_core import FeatureKey, Item, vector_key

LINES = FeatureKey[int]("acme.lines")


def test_feature_is_found_by_its_key_and_by_no_other() -> None:
    """Name and parameter together; what is not there is `None`."""
    item = Item(id="a", text="x")
    assert item.features.put(LINES, 3) == 3
    assert item.features.get(FeatureKey("acme.lines")) == 3
    assert item.features.get(FeatureKey("acme.lines", 5)) is None


def test_features_are_no_part_of_an_item() -> None:
    """Equal items stay equal, and a changed one begins without."""
    one, other = Item(id="a", text="x"), Item(id="a", text="x")
    one.features.put(LINES, 3)
    assert one == other
    assert "features" not in repr(one)
    assert not evolve(one, text="y").features


def test_listener_hears_of_each_put() -> None:
    """Of those after it, with key and value."""
    item, heard = Item(id="a", text="x"), list[Any]()
    item.features.put(LINES, 1)
    item.features.listen(lambda key, value: heard.append((key, value)))
    item.features.put(vector_key("m"), b"\1\2")
    assert heard == [(vector_key("m"), b"\1\2")]


def test_item_with_a_listener_goes_to_another_process() -> None:
    """What it is kept with goes along, and who listened here does not."""
    item = Item(id="a", text="x")
    item.features.listen(lambda key, value: None)
    item.features.put(LINES, 3)
    there = pickle.loads(pickle.dumps(item))
    assert there == item
    assert dict(there.features) == {LINES: 3}
