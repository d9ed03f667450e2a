"""Visible keys: which items of a context a viewer may see and a filter lets through, as a sorted array.

What an index proposes is looked up there, so that no row of an item that is hidden is ever read: grants and tags have
indexes of their own in the database, and other fields are read from rows that may be seen. An array is kept, and goes
on with the items that have come since and without those that have gone: what it costs is in proportion to what has
changed. Where the log of removals does not reach back so far, all of its keys are looked up.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

from attrs import define, field

from nexus_core.contract.run_context import Viewer
from nexus_core.store.contexts import ContextMoment
from nexus_core.store.database.sql import SqlConnection, UnreadableValueError, attempt
from nexus_core.store.items.grants import visible_grants
from nexus_core.store.items.removals import removals_after
from nexus_core.store.records import Context
from nexus_core.store.search.cache import still_there
from nexus_core.store.search.rough_filter import rough_filter
from nexus_core.toolkit.filters import EVERYTHING, Filter
from nexus_core.toolkit.lazy_module import LazyModule

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Keys = npt.NDArray[np.int64]
else:
    np = LazyModule("numpy")
    Keys = Any

KEPT = 64
"""Arrays, of different viewers and filters."""
KEPT_KEYS = 8_000_000
_PAGE = 2000
_OF_KEYS = "key IN (SELECT value FROM json_each(?) AS numbers) AND +context_id = ?"


@define(eq=False, slots=False)
class VisibleKeys:
    """The keys that may be found, in their order."""

    keys: Keys

    def __len__(self) -> int:
        return len(self.keys)

    def only(self, keys: Sequence[int]) -> list[int]:
        """Return those of the keys that are visible, in their order."""
        if not len(self.keys) or not keys:
            return []
        asked = np.asarray(keys, np.int64)
        return [int(key) for key in asked[self.mask(asked)]]

    def mask(self, asked: Keys) -> npt.NDArray[np.bool_]:
        """Return for each of the keys whether it is visible."""
        if not len(self.keys):
            return np.zeros(len(asked), bool)
        places = np.searchsorted(self.keys, asked)
        places[places == len(self.keys)] = 0
        return np.asarray(self.keys[places] == asked)

    def page(
        self, connection: SqlConnection, context: Context, *, after: int, limit: int, tag: str | None
    ) -> list[int]:
        """Return the next keys after one whose items are there still, and have a tag."""
        start = int(np.searchsorted(self.keys, after, "right"))
        found: list[int] = []
        while start < len(self.keys) and len(found) < limit:
            some = [int(key) for key in self.keys[start : start + max(limit, _PAGE // 10)]]
            start += len(some)
            found += still_there(connection, context, some, () if tag is None else (tag,))
        return found[:limit]

    @cached_property
    def listed(self) -> list[int]:
        """The keys as a list, for a query of an index."""
        return [int(key) for key in self.keys]


@define(eq=False)
class _Known:
    newest: int = 0
    removed: int = 0
    """The number of the last removal that is taken into account."""
    visible: VisibleKeys = field(factory=lambda: VisibleKeys(_array(())))


class Visibility:
    """What is visible in the contexts of one store; for the thread that reads."""

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection
        self._known: OrderedDict[tuple[int, Viewer | None, str], _Known] = OrderedDict()

    def of(
        self, context: Context, viewer: Viewer | None, where: Filter, moment: ContextMoment | None = None
    ) -> VisibleKeys | None:
        """Return what a viewer and a filter leave of a context, of which more may be known; `None` is all of it."""
        grants = visible_grants(self._connection, context, viewer) if moment is None else moment.grants
        if grants is None and not where and (viewer is None or viewer.tags is None):
            return None
        if moment is not None:
            newest, removed = moment.newest, moment.removed
        else:
            newest, removed = self._connection.execute(
                "SELECT newest, removed FROM contexts WHERE id = ?", (context.id,)
            ).fetchone()
        place = (context.id, viewer, repr(where))  # 1 and true are equal, and not the same
        known = self._known.pop(place, None)
        if known is None or known.newest > newest or known.removed > removed:  # a backup was put back
            known = _Known(removed=removed)
        if (known.newest, known.removed) != (newest, removed):
            found = self._after(context, viewer, grants, where, known.newest) if known.newest < newest else _array(())
            keys = np.concatenate([known.visible.keys, found[found <= newest]])
            gone = removals_after(self._connection, context, known.removed) if known.removed < removed else []
            if gone is None:
                keys = _array(still_there(self._connection, context, keys.tolist()))
            known = _Known(newest, removed, VisibleKeys(_without(keys, gone or ())))
        self._known[place] = known
        while len(self._known) > KEPT or (
            len(self._known) > 1 and sum(len(each.visible) for each in self._known.values()) > KEPT_KEYS
        ):
            self._known.popitem(last=False)
        return known.visible

    def count(self, context: Context, viewer: Viewer | None) -> int | None:
        """Return how many items of a context a viewer may see; `None` is all of them."""
        grants = visible_grants(self._connection, context, viewer)
        if viewer is None or viewer.tags is None:
            return None if grants is None else self._count_granted(context, grants)
        visible = self.of(context, viewer, EVERYTHING)
        return None if visible is None else len(visible)

    def _count_granted(self, context: Context, grants: list[int]) -> int:
        """Count in the index, one grant after the other: no row is read, and nothing of what is hidden."""
        counted = (
            self._connection.execute(
                "SELECT count(*) FROM items INDEXED BY items_of_grants WHERE context_id = ? AND grant_id = ?",
                (context.id, grant),
            ).fetchone()
            for grant in grants
        )
        return sum(int(count) for (count,) in counted)

    def _after(
        self, context: Context, viewer: Viewer | None, grants: list[int] | None, where: Filter, after: int
    ) -> Keys:
        """Return what is visible of the items that came after a key."""
        if grants is None and "tags" not in where.fields and (viewer is None or viewer.tags is None):
            return self._scanned(context, where, after)
        tags = [[tag] for tag in where.required_tags]
        if viewer is not None and viewer.tags is not None:
            tags.append(sorted(viewer.tags))
        parts = [self._tagged(some, after) for some in tags]
        if grants is not None or not parts:
            parts.append(self._granted(context, grants, after))
        keys = reduce(lambda one, other: np.intersect1d(one, other, assume_unique=True), parts)
        rest = where.without_tags()
        if not rest and grants is not None:
            return keys
        if not rest:  # tags are of all contexts
            pages = (keys[start : start + _PAGE].tolist() for start in range(0, len(keys), _PAGE))
            return _array(key for some in pages for key in still_there(self._connection, context, some))
        pages = (keys[start : start + _PAGE].tolist() for start in range(0, len(keys), _PAGE))
        return self._judged(rest, _OF_KEYS, [(json.dumps(page), context.id) for page in pages], are_keys=True)

    def _scanned(self, context: Context, where: Filter, after: int) -> Keys:
        """Return what matches of all that came after a key: one pass over the rows, most of them passed over by SQL."""
        return self._judged(where, "context_id = ? AND key > ?", [(context.id, after)])

    def _judged(self, where: Filter, some: str, parts: Sequence[tuple[object, ...]], *, are_keys: bool = False) -> Keys:
        """Return those of some rows that match, in their order; `parts` are the operands of `some`, one after another.

        SQL leaves out what surely does not. With `are_keys`, the first operand is the keys of the rows, as JSON.
        """
        rough = rough_filter(where)
        looks_at_tags = are_keys and "tags" in where.fields

        def judged(statement: str, operands: Sequence[object]) -> Iterator[int]:
            for part in parts:
                tags = self._tags_of(str(part[0])) if looks_at_tags else {}
                for key, written, *values in self._connection.execute(statement, (*operands, *part)):
                    own = {**dict(zip(rough.own, values, strict=True)), "tags": tags.get(key, ())}
                    if written is None or where.holds(own, _parsed(written)):
                        yield key

        try:
            with attempt(self._connection):
                return np.sort(_array(judged(rough.statement(some), rough.operands)))
        except (sqlite3.OperationalError, UnreadableValueError):  # some metadata is no JSON
            return np.sort(_array(judged(rough.unread(some), ())))

    def _granted(self, context: Context, grants: list[int] | None, after: int) -> Keys:
        if grants is None:
            found = self._connection.execute(
                "SELECT key FROM items WHERE context_id = ? AND key > ? ORDER BY key", (context.id, after)
            )
            return _array(key for (key,) in found)
        each = [
            _array(
                key
                for (key,) in self._connection.execute(
                    "SELECT key FROM items INDEXED BY items_of_grants"
                    " WHERE context_id = ? AND grant_id = ? AND key > ? ORDER BY key",
                    (context.id, grant, after),
                )
            )
            for grant in grants
        ]
        return np.sort(np.concatenate([_array(()), *each]))

    def _tagged(self, tags: Sequence[str], after: int) -> Keys:
        found = self._connection.execute(
            "SELECT DISTINCT item_key FROM tags WHERE tag IN (SELECT value FROM json_each(?) AS texts) AND item_key > ?"
            " ORDER BY item_key",
            (json.dumps(tags), after),
        )
        return _array(key for (key,) in found)

    def _tags_of(self, told: str) -> dict[int, list[str]]:
        tags: dict[int, list[str]] = {}
        found = self._connection.execute(
            "SELECT item_key, tag FROM tags WHERE item_key IN (SELECT value FROM json_each(?) AS numbers)", (told,)
        )
        for key, tag in found:
            tags.setdefault(key, []).append(tag)
        return tags


def _parsed(written: str) -> dict[str, Any]:
    """Return the metadata of a row; none where they are damaged, which is told where the item is read."""
    try:
        found = json.loads(written)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _without(keys: Keys, gone: Sequence[int]) -> Keys:
    """Return sorted keys without those that are gone, whether or not they are among them."""
    if not gone or not len(keys):
        return keys
    asked = np.asarray(gone, np.int64)
    places = np.searchsorted(keys, asked)
    places[places == len(keys)] = 0
    return np.delete(keys, places[keys[places] == asked])


def _array(keys: Iterable[int]) -> Keys:
    return np.fromiter(keys, np.int64)
