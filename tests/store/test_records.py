"""What can be kept is kept exactly; anything else is refused with a reason that says what and where."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from nexus_core import Item, Store, UsageError
from nexus_core.store.records import (
    DEEPEST,
    LONGEST_NAME,
    LONGEST_TEXT,
    checked_item,
    checked_name,
    digest_of,
    links_of,
)

_ANY = st.text(st.characters(codec=None), max_size=40)
_NASTY = st.sampled_from(
    ["", "\0", "a\0b", "'", '"', "'; --", "\ud800", "\r\n", "\u2028", "\ufeff", "𝔘", "e\u0301", "\x7f"]
)
TEXTS = st.one_of(_ANY, _NASTY)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(10**60), 10**60), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
ITEMS = st.builds(
    Item,
    id=TEXTS,
    text=TEXTS,
    title=TEXTS,
    kind=st.one_of(st.sampled_from(["text", "code"]), TEXTS),
    tags=st.lists(TEXTS, max_size=3).map(tuple),
    source=TEXTS,
    metadata=st.dictionaries(TEXTS, JSON, max_size=3),
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One loop for all examples, since a store is opened once."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def store(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store"))
    loop.run(store.__aenter__())
    loop.run(store.create("c", encoding="approximate"))
    yield store
    loop.run(store.__aexit__(None, None, None))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(items=st.lists(ITEMS, min_size=1, max_size=4))
def test_items_come_back_exactly_or_are_refused(loop: asyncio.Runner, store: Store, items: list[Item]) -> None:
    """Surrogates, NUL, huge numbers, NaN, quotes, empty texts, anywhere (fault 163)."""
    good = []
    for item in items:
        try:
            checked_item(item)
        except UsageError as error:
            assert "item" in str(error)  # where
            assert str(error).isprintable() or "\n" not in str(error)
        else:
            good.append(item)
    loop.run(store.add("c", good))
    latest = {item.id: item for item in good}
    found = {item.id: item for item in loop.run(store.get("c", list(latest)))}
    assert found.keys() == latest.keys()
    for name, item in latest.items():
        kept = found[name]
        assert (kept.text, kept.title, kept.kind, kept.source) == (item.text, item.title, item.kind, item.source)
        assert kept.tags == tuple(sorted({*item.tags}))
        assert repr(kept.metadata) == repr(item.metadata)  # repr tells 1 from 1.0 and 0.0 from -0.0


@settings(max_examples=25, deadline=None)
@given(word=TEXTS)
def test_any_text_may_be_asked_for(loop: asyncio.Runner, store: Store, word: str) -> None:
    """Names and queries that cannot be there are not there, and are no errors of SQLite or the index (fault 163)."""
    assert loop.run(store.remove("c", [f"{word}\0not there"])) == 0
    assert isinstance(loop.run(store.get("c", [word])), tuple)
    loop.run(store.search("c", word))
    loop.run(store.items("c", tag=word.encode(errors="replace").decode()))
    with pytest.raises(UsageError, match="context"):
        loop.run(store.context(f"{word} no such context"))


class Odd(Mapping[str, Any]):
    """Metadata of a class of its own."""

    def __getitem__(self, key: str) -> Any:
        return [1]

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"in": [value]} if depth % 2 else {"in": value}
    return value


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"a": 10**4000}, id="huge"),
        pytest.param({"a": 1e308, "b": -0.0, "c": 5e-324}, id="floats"),
        pytest.param({"": "", "a": None}, id="empty-key"),
        pytest.param({"'; DROP TABLE items; --": "$.a[0]"}, id="sql"),
        pytest.param({"a": "\0"}, id="nul"),
        pytest.param(nested(DEEPEST), id="deep"),
        pytest.param({"a": [[1]] * 500}, id="wide"),
        pytest.param(Odd(), id="mapping"),
        pytest.param({"big": "x" * 3_000_000}, id="megabytes"),
    ],
)
async def test_unusual_metadata_is_kept(tmp_path: Path, metadata: Mapping[str, Any]) -> None:
    """Exactly as it is (fault 163)."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", [Item(id="a", text="a", metadata=metadata)])
        (item,) = await store.get("c", ["a"])
        assert item.metadata == dict(metadata)
        assert await store.check() == ()


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        pytest.param(Item(id="", text="a"), "the id of an item .* is empty", id="empty-id"),
        pytest.param(Item(id="\ud800", text="a"), r"the id of an item \('.ud800'\) holds half of a surro", id="id"),
        pytest.param(Item(id="a\0", text="a"), "holds a control character", id="nul-in-id"),
        pytest.param(Item(id="a" * (LONGEST_NAME + 1), text="a"), "4,097 characters, more than 4,096", id="long-id"),
        pytest.param(Item(id="a", text="ab\udfff"), "item 'a': its text holds half .* at character 3", id="text"),
        pytest.param(Item(id="a", text="a", title="\ud800"), "item 'a': its title", id="title"),
        pytest.param(Item(id="a", text="a", tags=("b", " ")), "item 'a': a tag is empty", id="tag"),
        pytest.param(Item(id="a", text="a", tags="abc"), "tags are of type str", id="tags"),  # type: ignore[arg-type]
        pytest.param(Item(id="a", text=None), "its text is no text but of type NoneType", id="none"),  # type: ignore[arg-type]
        pytest.param(Item(id="a", text=b"a"), "of type bytes", id="bytes"),  # type: ignore[arg-type]
        pytest.param(Item(id="a", text="a", metadata={"x": math.nan}), "its metadata is no JSON", id="nan"),
        pytest.param(Item(id="a", text="a", metadata={"x": math.inf}), "its metadata is no JSON", id="inf"),
        pytest.param(Item(id="a", text="a", metadata={"x": {1}}), "its metadata is no JSON", id="set"),
        pytest.param(Item(id="a", text="a", metadata={"x": 10**5000}), "its metadata is no JSON", id="too-huge"),
        pytest.param(Item(id="a", text="a", metadata={"x": {1: 2}}), "keys that are no texts", id="key"),
        pytest.param(Item(id="a", text="a", metadata={"\ud800": 1}), "its metadata holds half", id="key-half"),
        pytest.param(Item(id="a", text="a", metadata=nested(DEEPEST + 1)), "more than 64 lists and maps", id="deep"),
        pytest.param(Item(id="a", text="a", metadata=nested(100_000)), "no JSON|more than 64", id="very-deep"),
        pytest.param(Item(id="a", text="a", metadata={"links": ["\x07"]}), "a link holds a control", id="link"),
        pytest.param(Item(id="a", text="x" * (LONGEST_TEXT + 1)), "67,108,865 characters", id="long-text"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(item: Item, reason: str) -> None:
    """What, where, and what to do (fault 163)."""
    with pytest.raises(UsageError, match=reason):
        checked_item(item)


async def test_one_bad_item_leaves_the_batch_before_it(tmp_path: Path) -> None:
    """An addition ends at it; nothing of its own batch is there, and the store is whole."""
    async with Store(tmp_path) as store:
        await store.create("c")
        with pytest.raises(UsageError, match="item 'bad'"):
            await store.add("c", [Item(id="good", text="a"), Item(id="bad", text="\ud800")])
        assert await store.check() == ()


def test_a_name_is_returned_as_it_is() -> None:
    """Spaces around it, quotes and any script included."""
    for name in (" a ", "'\"`", "字", "e\u0301", "a" * LONGEST_NAME, "$.a", "../x", "%s"):
        assert checked_name(name, "a name") == name


@pytest.mark.parametrize(
    ("links", "expected"),
    [(["a", "b", "a"], ("a", "b")), (("a",), ("a",)), ("a", ()), ([1, "", "a"], ("a",)), (None, ())],
    ids=["list", "tuple", "text", "others", "none"],
)
def test_links_are_the_texts_of_their_list(links: object, expected: tuple[str, ...]) -> None:
    """What is no list of texts links to nothing."""
    assert links_of(Item(id="x", text="", metadata={"links": links})) == expected


@pytest.mark.slow
@given(one=st.tuples(st.text(), st.text(), st.text()), other=st.tuples(st.text(), st.text(), st.text()))
def test_digests_tell_items_apart(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """No text can pass for two others."""

    def digest(parts: tuple[str, str, str]) -> bytes:
        clean = [part.encode(errors="replace").decode() for part in parts]
        return digest_of(Item(id="a", title=clean[0], text=clean[1], source=clean[2]), "{}")

    assert (digest(one) == digest(other)) == (one == other)
