"""The source suite: items with ids of their own, the same objects while nothing changes, and errors that help.

class TestNotes(SourceContract):
    def make(self, folder, texts):
        for number, text in enumerate(texts):
            (folder / f"{number}.txt").write_text(text, "utf-8")
        return Notes(path=str(folder))
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from nexus_core.contract.errors import SourceError
from nexus_core.contract.protocols import Source
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import Item
from nexus_core.testing.contracts.suite import Contract, opened, run
from nexus_core.testing.watching import Leftovers, resource_warnings

TEXTS = (
    "The ferry leaves at nine. It returns at noon.",
    "Où ünïcödé ⛵ 字 العربية e\u0301 stands.",
    "The ferry leaves at nine. It returns at noon.",
    "{{ 7 * 7 }} <b>&amp;</b> \"quoted\" 'text' \\n",
    "word " * 2000,
)
"""What the source is to yield: also twice the same, other scripts, signs that mean something elsewhere, and much."""
QUERY = "When does the ferry leave?"


class SourceContract(Contract):
    """Holds a source to the contract; a subclass defines `make`."""

    hooks = frozenset({"absent", "make", "make_broken", "change", "query"})
    capabilities: ClassVar[Mapping[str, str]] = {
        "texts": "the texts come back letter for letter",
        "failure": "what the source reads can be missing",
        "change": "what the source reads can change while it is used",
    }

    query: ClassVar[str] = QUERY
    """What is asked. A source that searches finds nothing else: here stands then what is in all of the texts."""

    @pytest.fixture(autouse=True)
    def _in(self, tmp_path: Path) -> None:
        """Give each test a folder of its own."""
        self._folder = tmp_path

    def make(self, folder: Path, texts: Sequence[str]) -> Source:
        """Return a source that yields these texts; the folder may hold them, and is empty at first.

        A second call in one test finds there what the first one wrote. Where items tell when their file was changed,
        leave those files as they are.
        """
        raise AssertionError("define make(self, folder, texts): return your source, with these texts in it")

    def make_broken(self, folder: Path) -> Source:
        """Return a source of something that is not there."""
        raise AssertionError("define make_broken(self, folder), or declare absent['failure']")

    def change(self, folder: Path) -> None:
        """Change what the source of `make` reads, so that it yields other items."""
        raise AssertionError("define change(self, folder), or declare absent['change']")

    async def _gathered(self, texts: Sequence[str] = TEXTS) -> Sequence[Item]:
        async with opened(self.make(self._folder, texts)) as source:
            return _items(await source.gather(self.query, RunContext()))

    def test_it_is_a_source(self) -> None:
        """It has `async gather(query, run)`.

        Fix: write that method.
        """
        assert isinstance(self.make(self._folder, TEXTS), Source), "a source has `async gather(query, run)`"

    def test_items_are_items(self) -> None:
        """What comes is a sequence of items with text, whose metadata is JSON.

        Fix: yield `Item(id=..., text=...)`; put plain values into `metadata`, no dates or paths.
        """
        items = run(self._gathered())
        assert isinstance(items, Sequence), f"gather returned a {type(items).__name__}: return a tuple"
        assert items, "five texts are there and no item came"
        for item in items:
            assert isinstance(item, Item), f"gather returned a {type(item).__name__} among its items"
            assert item.text.strip() or item.title.strip(), f"the item {item.id!r} is empty: leave it out"
            assert isinstance(item.tags, tuple), f"the tags of {item.id!r} are no tuple"
            try:
                json.dumps(dict(item.metadata), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise AssertionError(f"the metadata of {item.id!r} are no JSON: {error}") from error

    def test_ids_are_unique(self) -> None:
        """No two items have one id, also where their texts are alike; no id is empty.

        Fix: make ids of what tells the items apart (path and place, key of the record), not of their text.
        """
        ids = [item.id for item in run(self._gathered())]
        assert all(ids), "an item has no id"
        twice = sorted({name for name in ids if ids.count(name) > 1})
        assert not twice, f"several items have the id {twice[0]!r}: those that follow would be dropped"

    def test_texts_come_back_as_they_are(self) -> None:
        """Every text is in some item, letter for letter but for the white space around it.

        Fix: decode as UTF-8, and let nothing be replaced or lost. Absent: `texts`.
        """
        self._needs("texts")
        self._check_texts()

    def _check_texts(self) -> None:
        together = "\n".join(item.text for item in run(self._gathered()))
        missing = [text[:40] for text in TEXTS if text.strip() not in together]
        assert not missing, f"not in any item as it is: {missing}"

    def test_gather_yields_the_same_objects_while_nothing_changes(self) -> None:
        """A second gather yields the same tuple, or a search the same items: what is known of them is reused.

        Fix: keep what was made until what it was made of changes.
        """
        run(self._twice())

    async def _twice(self) -> None:
        async with opened(self.make(self._folder, TEXTS)) as source:
            first = await source.gather(self.query, RunContext())
            kept = [*_items(first)]
            second = await source.gather(self.query, RunContext())
            searches = isinstance(first, Ranking) and isinstance(second, Ranking)
            assert second is first or searches, "a second gather made another tuple, and nothing had changed"
            assert [*map(id, _items(second))] == [*map(id, kept)], "the items that were given out were replaced"

    def test_gathers_at_once_agree(self) -> None:
        """Several gathers at once yield the same items.

        Fix: let those that come later wait for the first.
        """
        run(self._together())

    async def _together(self) -> None:
        async with opened(self.make(self._folder, TEXTS)) as source:
            found = [
                _items(each)
                for each in await asyncio.gather(*(source.gather(self.query, RunContext()) for _ in range(8)))
            ]
        assert all([*map(id, items)] == [*map(id, found[0])] for items in found), "they made items of their own each"

    def test_gather_is_deterministic(self) -> None:
        """Another source of the same options yields equal items in the same order.

        Fix: sort what comes in no order of its own, such as the files of a folder; in `make`, write no file anew whose
        time is told in an item.
        """
        first, second = run(self._gathered()), run(self._gathered())
        assert list(first) == list(second), "made anew, it yields other items, or in another order"

    def test_change_is_seen(self) -> None:
        """What has changed comes with the next gather.

        Fix: look whether it has, at each gather. Absent: `change`.
        """
        self._needs("change")
        self._check_change()

    def _check_change(self) -> None:
        async def look() -> None:
            async with opened(self.make(self._folder, TEXTS)) as source:
                before = list(_items(await source.gather(self.query, RunContext())))
                self.change(self._folder)
                after = list(_items(await source.gather(self.query, RunContext())))
            assert after != before, "it had changed, and the same items came"

        run(look())

    def test_failure_is_a_clear_error(self) -> None:
        """What is not there ends in SourceError with a message that says what and where.

        Fix: `raise SourceError(f"acme: {path} cannot be read (...)") from error`. Absent: `failure`.
        """
        self._needs("failure")
        self._check_failure()

    def _check_failure(self) -> None:
        async def fail() -> None:
            async with opened(self.make_broken(self._folder)) as source:
                await source.gather(self.query, RunContext())

        try:
            run(fail())
        except SourceError as error:
            said = str(error)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} came out: raise SourceError from it") from error
        else:
            raise AssertionError("what it reads is not there, and no SourceError came")
        assert len(said.split()) >= 3, f"the error says no more than {said!r}: say what, where, and what to do"

    def test_source_leaves_nothing_behind(self) -> None:
        """Gathered and closed, it leaves no task, no open file or socket, and no warning.

        Fix: close what you open, in a `with` or in `__aexit__`.
        """

        async def look() -> list[str]:
            source = self.make(self._folder, TEXTS)
            async with opened(source):
                # What is started once in a process, such as threads, is no leftover.
                await source.gather(self.query, RunContext())
            before = Leftovers()
            async with opened(source):
                await source.gather(self.query, RunContext())
            return await before.leftovers()

        with resource_warnings() as told:
            left = run(look())
        assert not left, "left behind: " + "; ".join(left)
        assert not told, "thrown away without being closed: " + "; ".join(told)


def _items(found: Any) -> Sequence[Any]:
    """Return the items of what a source has yielded."""
    return found.items if isinstance(found, Ranking) else found
