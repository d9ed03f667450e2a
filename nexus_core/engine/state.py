"""What a run knows so far. Each step takes the state and returns the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from time import perf_counter
from typing import Any

from attrs import field, frozen

from nexus_core.contract.answers import Event
from nexus_core.contract.errors import DeadlineError
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Message
from nexus_core.engine.calls.caller import CallResult
from nexus_core.engine.packing.packer import Draft

NO_ITEMS = Ranking(())


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class State:
    """The state of a run between two steps."""

    query: str
    """As it is now: a rewriting step may have changed it."""
    searched: str = ""
    """What items are searched and ranked by, where that is not the query itself."""
    ranking: Ranking = NO_ITEMS
    """The items, in the order of the last ranker."""
    history: tuple[Message, ...] = ()
    inputs: Mapping[str, Any] = field(factory=dict)
    vars: Mapping[str, Any] = field(factory=dict)
    """What steps kept with `as:`."""
    draft: Draft | None = None
    answered: CallResult | None = None
    """By the last generate step."""

    @property
    def search(self) -> str:
        """What items are searched and ranked by."""
        return self.searched or self.query

    def variables(self, names: frozenset[str]) -> dict[str, Any]:
        """Return what expressions may read, of it only what `names` asks for."""
        offered: dict[str, Callable[[], Any]] = {
            "query": lambda: self.query,
            "inputs": lambda: self.inputs,
            "vars": lambda: self.vars,
            "items": lambda: describe(self.ranking),
            "history": lambda: [{"role": message.role, "content": message.content} for message in self.history],
            "answer": lambda: self.answered.completion.text if self.answered else None,
        }
        return {name: offered[name]() for name in names & offered.keys()}


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Scope:
    """What belongs to one run and is no state: its id, its listeners, what the caller asked for."""

    run_id: str
    emit: Callable[[Event], None]
    model: str | None = None
    """Instead of the model of the last generate step."""
    options: CallOptions = NOTHING_ASKED
    """Over the options of the last generate step."""
    is_heard: bool = True
    """Whether somebody listens to the events of the run."""
    ends_at: float | None = None
    """When the caller's time is up, by `perf_counter`."""
    context_id: str | None = None
    """Of the context that is asked, for sources that name none of their own."""
    calls: Iterator[int] = field(factory=count)

    def call_id(self) -> str:
        """Return the id of the next call of this run."""
        return f"{self.run_id}.{next(self.calls)}"

    def left_s(self) -> float | None:
        """Return what is left of the caller's time, where it is limited; raises DeadlineError where nothing is."""
        if self.ends_at is None:
            return None
        left = self.ends_at - perf_counter()
        if left <= 0:
            raise DeadlineError("the time that the caller gave the run is up")
        return left


_current: ContextVar[Scope | None] = ContextVar("nexus_run", default=None)


def current() -> Scope | None:
    """Return the run within which a component is asked, `None` outside of any."""
    return _current.get()


@contextmanager
def within(scope: Scope) -> Iterator[None]:
    """Let what is called know of its run, and what that calls. Not around a `yield`: its reader is no part of a run."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def describe(ranking: Ranking) -> list[dict[str, Any]]:
    """Return the items in rank order as JSON data."""
    return [
        {
            "id": candidate.item.id,
            "title": candidate.item.title,
            "text": candidate.item.text,
            "source": candidate.item.source,
            "tags": list(candidate.item.tags),
            "score": candidate.score,
        }
        for candidate in ranking
    ]
