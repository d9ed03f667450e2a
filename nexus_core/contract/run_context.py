"""Run context: what a source or a ranker may know of the run that it serves, handed to it as an argument."""

from __future__ import annotations

from time import perf_counter
from typing import TypeVar

from attrs import frozen

from nexus_core.contract.errors import DeadlineError
from nexus_core.contract.values import Value

_Model = TypeVar("_Model")


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class RunContext(Value):
    """One run, as its sources and rankers see it. A component that holds others hands it on to them.

    `RunContext()` stands for no run in particular: in tests, and wherever a component is called by hand.
    """

    run_id: str = ""
    """Ties together the events of the run."""
    query: str = ""
    """The question as the caller wrote it; what is searched for may have been rewritten."""
    context_id: str | None = None
    """Id or name of the context that the caller chose; for sources that name none of their own."""
    conversation_id: str | None = None
    """Of the conversation that the run belongs to."""
    owner: str = ""
    """Who asks, where there are several users."""
    groups: frozenset[str] = frozenset()
    """What the caller may see. Empty: there are no grants yet."""
    ends_at: float | None = None
    """When the caller's time is up, by `time.perf_counter`; `None` without a limit."""

    def left_s(self) -> float | None:
        """Return the seconds left of the caller's time, `None` without a limit; raises DeadlineError where none is."""
        if self.ends_at is None:
            return None
        left = self.ends_at - perf_counter()
        if left <= 0:
            raise DeadlineError("the time that the caller gave the run is up")
        return left

    def bind(self, model: _Model) -> _Model:
        """Return a connector option of a component for use in this run: `run.bind(self.model).embed(texts)`.

        Within a pipeline its requests are calls of the run: retried, limited, and rows of its ledger. Elsewhere it is
        the connector itself.
        """
        return model
