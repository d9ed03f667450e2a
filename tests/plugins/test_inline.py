"""The source `inline`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from nexus_sources.inline import Inline, InlineItem

from nexus_core import RunContext


async def test_texts_and_entries_become_items() -> None:
    """What is not given is numbered or empty."""
    entry = InlineItem(text="b\n", id="two", title="T", kind="markdown", tags=("x",), source="s", metadata={"k": 1})
    first, second = await Inline(items=("a", entry)).gather("", RunContext())
    assert (first.id, first.text, first.title, first.kind) == ("inline-1", "a", "", "text")
    assert (second.id, second.text, second.title, second.kind) == ("two", "b", "T", "markdown")
    assert (second.tags, second.source, second.metadata) == (("x",), "s", {"k": 1})


async def test_mappings_from_python_are_taken_too() -> None:
    """A caller without YAML need not know the class of an entry."""
    items: Any = ({"text": "a", "tags": "x"},)
    (item,) = await Inline(items=items).gather("", RunContext())
    assert (item.text, item.tags) == ("a", ("x",))


async def test_the_same_tuple_comes_back() -> None:
    """Indexes over the items are reused."""
    source = Inline(items=("a",))
    assert await source.gather("x", RunContext()) is await source.gather("y", RunContext())


WRONG: dict[str, tuple[tuple[Any, ...], str]] = {
    "none": ((), "there are no items"),
    "empty": (("a", " "), "item 2 has no text"),
    "type": ((3,), "item 1 must be a text or a mapping, not int"),
    "key": (({"txet": "a", "text": "b"},), "item 1 has no 'txet', did you mean 'text'?"),
    "id": (({"text": "a", "id": "x"}, {"text": "b", "id": "x"}), "item 2 has the id 'x' of item 1"),
    "all": (("", 3), "item 1 has no text; item 2 must be a text"),
}


@pytest.mark.parametrize(("items", "reason"), WRONG.values(), ids=WRONG.keys())
def test_wrong_entries_are_found_when_the_source_is_built(items: tuple[Any, ...], reason: str) -> None:
    """All of them at once, by number."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        Inline(items=items)
