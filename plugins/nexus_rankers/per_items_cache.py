"""What is worked out once for a tuple of items and kept while that tuple comes again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from nexus_core import Item

_T = TypeVar("_T")

_SETS = 2
"""How many tuples of items are remembered: an index over many items is large."""


class PerItemsCache(Generic[_T]):
    """Values by tuples of items, those of the last two tuples; safe for runs at the same time."""

    def __init__(self) -> None:
        self._known: tuple[tuple[tuple[Item, ...], _T], ...] = ()
        self._making = Lock()

    async def get(
        self, items: tuple[Item, ...], make: Callable[[tuple[Item, ...]], _T], *, in_thread: bool = True
    ) -> _T:
        """Return the value for `items`, made if they are new, in a thread if that takes long; runs share it."""
        found = self.find(items)
        if found is None:
            found = await asyncio.to_thread(self._make, items, make) if in_thread else self._make(items, make)
        return found[0]

    def find(self, items: tuple[Item, ...]) -> tuple[_T] | None:
        """Return the value for `items` alone in a tuple, `None` if they are new."""
        # Two looks: comparing two tuples that hold the same objects costs a millisecond for 100,000 of them.
        known = self._known
        for seen, value in known:
            if seen is items:
                return (value,)
        return next(((value,) for seen, value in known if seen == items), None)

    def _make(self, items: tuple[Item, ...], make: Callable[[tuple[Item, ...]], _T]) -> tuple[_T]:
        with self._making:
            found = self.find(items)
            if found is None:
                found = (make(items),)
                self._known = ((items, found[0]), *self._known[: _SETS - 1])
        return found
