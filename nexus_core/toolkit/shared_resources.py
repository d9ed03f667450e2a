"""What several components use together, such as the connections of a process: built once, closed by its last user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Protocol, TypeVar


class Closable(Protocol):
    """What can be shared."""

    async def close(self) -> None:
        """Give back what is held."""


_Thing = TypeVar("_Thing", bound=Closable)


class SharedResources:
    """Things by key, each with the number of its users.

    The engine gives one to every component that declares the field `shared` with `injected()`; a component used alone
    makes its own. The key says all in which two things differ, and begins with the name of their kind. What belongs to
    an event loop has the loop in its key.
    """

    __slots__ = ("_held", "programs")

    def __init__(self, *, programs: Collection[str] | None = None) -> None:
        self.programs = None if programs is None else frozenset(programs)
        """The programs that whoever runs the process lets components start, by name or path; `None`: nobody has said.

        None is started then, and a pipeline that needs one is loaded all the same, to be looked at.
        """
        self._held: dict[Hashable, tuple[Closable, int]] = {}

    def take(self, key: Hashable, build: Callable[[], _Thing]) -> _Thing:
        """Return the thing of a key, built at first use; whoever takes it releases it once."""
        held = self._held.get(key)
        thing = build() if held is None else held[0]
        self._held[key] = (thing, 1 if held is None else held[1] + 1)
        return thing  # type: ignore[return-value]  # of this key nothing else was ever built

    async def release(self, key: Hashable) -> None:
        """Say that one user has no more need of it; with the last one it is closed."""
        thing, users = self._held.pop(key)
        if users > 1:
            self._held[key] = (thing, users - 1)
        else:
            await thing.close()

    def __bool__(self) -> bool:
        """It is there also when nothing is in it: `shared or SharedResources()` must not make another one then."""
        return True

    def __len__(self) -> int:
        return len(self._held)
