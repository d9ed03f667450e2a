"""Query expansion: a gather step that searches for more than the question, and fuses what all searches found.

Asked in other words or in several steps, a question finds what it has no word in common with. What else is searched
for is written by a model of the pipeline, in one bounded call, or taken from the first items found. Where neither gives
anything the question is searched for alone, as without `expand`; an event and the log say so, and no run fails by it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter, time

from attrs import evolve, frozen

from nexus_core.config.spec import ExpandSpec
from nexus_core.contract.answers import AttemptFinished, Event, sum_costs
from nexus_core.contract.errors import RunError
from nexus_core.contract.events import QueryExpanded
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import CallOptions, Completion, ExpandedQuery, Item
from nexus_core.engine.calls.call import Call
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.expansion.fusion import fuse
from nexus_core.engine.expansion.requests import LONGEST, ExpansionRequest, read_passage, read_phrasings
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing.draft import Draft
from nexus_core.engine.query_rewriting import GENERATE, SHARE
from nexus_core.engine.state import NO_ITEMS, Scope, State
from nexus_core.toolkit.text.feedback import feedback_words
from nexus_core.toolkit.text.languages import AUTO

POOL = 60
"""By so many of the items found it is judged how rare a word is."""

Found = tuple[Item, ...] | Ranking
Search = Callable[[str], Awaitable[Found]]

_log = logging.getLogger(__name__)


@frozen(eq=False, repr=False)
class _Expansion:
    """What else is searched for, and why there is nothing where there is not."""

    texts: tuple[str, ...] = ()
    failure: str = ""
    rows: tuple[AttemptFinished, ...] = ()
    """Of the call that it took."""


@frozen(kw_only=True, eq=False, repr=False)
class Expander:
    """Finds what else to search for, and searches for it; belongs to a gather step that says `expand`."""

    step: int
    """Its place in the pipeline."""
    path: str = ""
    spec: ExpandSpec
    attempts: Caller
    registry: ModelRegistry

    @property
    def asks_model(self) -> bool:
        """Whether a model writes what is searched for."""
        return self.spec.by != "feedback"

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that are asked in their turn: of the chain those that write text of their own."""
        chain = self.registry.chain(self.spec.model) if self.asks_model else ()
        return tuple(model for model in chain if GENERATE in model.info.capabilities)

    async def __call__(self, state: State, scope: Scope, found: Found, search: Search) -> tuple[State, Found]:
        """Return the state with all that is searched for, and what was found by it; `found` is for the question."""
        began = perf_counter()
        expansion = await self._expansion(state, scope, found)
        together, searches = found, 0
        if expansion.texts:
            readable = self.asks_model
            texts = expansion.texts if readable else (" ".join(expansion.texts),)
            together = await self._search(found, texts, search)
            searches = len(texts)
            state = evolve(state, searched=ExpandedQuery.of(state.search, texts, self.spec.weight, readable=readable))
        if scope.is_heard:
            scope.emit(self._event(scope, expansion, searches, _added(found, together), perf_counter() - began))
        return state, together

    async def _search(self, found: Found, texts: Sequence[str], search: Search) -> Found:
        """Return what the question and further texts found; a source that gives all it has is not asked again."""
        first = found if isinstance(found, Ranking) else Ranking(found)
        others: list[Ranking] = []
        for text in texts:
            more = await search(text)
            if more is found or (isinstance(more, tuple) and more == found):
                return found
            others.append(more if isinstance(more, Ranking) else Ranking(more))
        return fuse(first, others, self.spec.weight, self.spec.fusion)

    async def _expansion(self, state: State, scope: Scope, found: Found) -> _Expansion:
        if not self.asks_model:
            return self._by_feedback(state.search, found)
        models = self.models
        if not models:
            wanted = self.registry.get(self.spec.model).name
            return _Expansion(failure=f"the model {wanted!r} writes no text of its own")
        rows: list[AttemptFinished] = []

        def emit(event: Event) -> None:
            if isinstance(event, AttemptFinished):
                rows.append(event)
            scope.emit(event)

        try:
            answered = await self.attempts.complete(self._call(models, state, scope), emit)
        except RunError as error:
            _log.warning("the question was not expanded, it is searched for alone: %s", error)
            return _Expansion(failure=str(error), rows=tuple(rows))
        texts = self._read(state.search, answered.completion)
        return _Expansion(texts, "" if texts else "the model wrote nothing to search for", tuple(rows))

    def _by_feedback(self, query: str, found: Found) -> _Expansion:
        if not isinstance(found, Ranking) or found.scores is None:
            return _Expansion(failure="the source does not rank what it finds, so that no item is known to be good")
        order = found.order(max(POOL, self.spec.items))
        words = feedback_words(
            query,
            [found.items[index] for index in order],
            [float(found.scores[index]) for index in order],
            first=self.spec.items,
            count=self.spec.words,
            language=AUTO if found.searched is None else found.searched[0],
        )
        return _Expansion(tuple(words), "" if words else "nothing was found to take words from")

    def _read(self, question: str, completion: Completion) -> tuple[str, ...]:
        if self.spec.by == "hypothetical":
            return read_passage(completion)
        return read_phrasings(question, completion, self.spec.phrasings)

    def _call(self, models: tuple[Model, ...], state: State, scope: Scope) -> Call:
        left_s = scope.left_s()
        by_phrasings = self.spec.by == "phrasings"
        template = ExpansionRequest.phrasings(self.spec.phrasings) if by_phrasings else ExpansionRequest.hypothetical()
        return Call(
            id=scope.call_id(),
            run_id=scope.run_id,
            draft=Draft(template=template, ranking=NO_ITEMS, query=state.search[:LONGEST]),
            chain=models,
            purpose="expand",
            allowance=scope.allowance,
            options=CallOptions(max_tokens=self.spec.max_tokens),
            deadline_s=self.spec.timeout_s if left_s is None else min(self.spec.timeout_s, left_s / SHARE),
            is_heard=scope.is_heard,
            owner=scope.owner,
            fresh=scope.fresh,
            trace=scope.trace,
        )

    def _event(
        self, scope: Scope, expansion: _Expansion, searches: int, added: int, duration_s: float
    ) -> QueryExpanded:
        rows = expansion.rows
        place = scope.place(self.step, self.path)
        return QueryExpanded(
            run_id=scope.run_id,
            time=time(),
            step=place.index,
            path=place.path,
            by=self.spec.by,
            searches=searches,
            added=added,
            failure=expansion.failure or None,
            model=rows[-1].model if rows else None,
            requests=len(rows),
            prompt_tokens=_sum([row.prompt_tokens for row in rows]),
            completion_tokens=_sum([row.completion_tokens for row in rows]),
            cost=sum_costs(rows)[0] if rows else 0.0,
            duration_s=duration_s,
        )


def _added(found: Found, together: Found) -> int:
    """Return how many items the question alone had not found."""
    if together is found:
        return 0
    known = {item.id for item in (found.items if isinstance(found, Ranking) else found)}
    items = together.items if isinstance(together, Ranking) else together
    return sum(item.id not in known for item in items)


def _sum(counts: Sequence[int | None]) -> int | None:
    """Return a sum, as far as its parts are known; `None` where none of them is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known or not counts else None
