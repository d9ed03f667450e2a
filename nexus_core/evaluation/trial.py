"""One pipeline on one collection: each query is run up to its packing, and what came of it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from math import nan
from time import perf_counter, process_time
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

from nexus_core.contract.errors import NexusError, PromptTooLongError, RunError, UsageError
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import Item
from nexus_core.engine.calls.call import Call
from nexus_core.engine.calls.prompt_fitting import merge_options, pack_for, reserve
from nexus_core.engine.composition.called_pipelines import CallPipeline
from nexus_core.engine.composition.traversal import inner_steps, with_source
from nexus_core.engine.explain import PreparedRun
from nexus_core.engine.models import Model
from nexus_core.engine.packing.draft import Draft
from nexus_core.engine.pipeline import Pipeline
from nexus_core.engine.plan import Plan
from nexus_core.engine.steps import Gather, Generate, MakeDraft
from nexus_core.evaluation.collection import JudgedCollection, Query
from nexus_core.evaluation.costs import QueryCost, cost_of
from nexus_core.evaluation.measures import NAMES, Needed, holds_answer, measure_rankings, retrieved
from nexus_core.evaluation.statistics import Table
from nexus_core.toolkit.tokens.counter import token_counter

BUDGETS = (256, 512, 1024, 2048, 4096)
_USUAL_BUDGET = 4000
"""Tokens of context that are enough for most questions."""
_WIDE = 4
"""Prompts of so many times the largest budget that is measured cost far more than what is measured."""


@frozen(kw_only=True, eq=False)
class TrialSettings:
    """How a pipeline is measured."""

    budgets: tuple[int, ...] = BUDGETS
    """Of context, in tokens, for answer recall."""
    needed: Needed = "all"
    asked: Mapping[str, Any] = field(factory=dict)
    """What else is asked of it, in the words of `Pipeline.run`: `inputs`, `model`."""

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of a trial's figures."""
        return (*NAMES, *(f"answer recall at {budget}" for budget in self.budgets))


@frozen(kw_only=True, eq=False, repr=False)
class Trial:
    """What came of one pipeline; the rows of its tables are the queries of the collection."""

    pipeline: str
    figures: Table
    """A column for each of `Settings.figures`; answer recall is NaN where a query has no answer to look for."""
    seconds: Mapping[str, Table]
    """One column for `ranking` (gathering included), `packing` and `asking` (models, before the answer)."""
    notes: tuple[str, ...]
    costs: tuple[QueryCost, ...] = ()


def measurable(plan: Plan, collection: JudgedCollection) -> Plan:
    """Return a plan without sinks, whose gather steps add nothing where the collection brings the items."""
    if collection.items is None:
        if not any(isinstance(planned.step, Gather) for planned in plan.all_steps()):
            raise UsageError(
                f"pipeline {plan.name!r} has no gather step, so it has nothing to rank: give the items with --corpus"
            )
        return evolve(plan, sinks=())
    return evolve(plan.with_steps(with_source(_Nothing())), sinks=())


class _Nothing:
    """A source without items, so that a step keeps its `when` and `as`."""

    async def gather(self, query: str, run: RunContext) -> Sequence[Item]:
        """Return no items."""
        return ()


async def run_trial(
    plan: Plan,
    collection: JudgedCollection,
    settings: TrialSettings,
    seen: Callable[[], None],
    warn: Callable[[str], None] = lambda warning: None,
) -> Trial:
    """Run a pipeline, as `measurable` returns it, for every query, and call `seen` after each.

    After the first query, `warn` is told what will make the others take long. Raises RunError that names the query
    which failed.
    """
    asked = dict(settings.asked)
    if collection.items is not None:
        # Copies, since token counts are kept with an item: no pipeline is to profit from the one before it.
        asked["items"] = tuple(map(evolve, collection.items))
    rows: list[_Row] = []
    async with Pipeline(plan) as pipeline:
        for query in collection.queries:
            try:
                rows.append(_row(await pipeline.prepare(query.text, **asked), query, collection, settings))
            except NexusError as error:
                raise RunError(f"pipeline {plan.name!r}, query {query.id!r}: {error}") from error
            if len(rows) == 1 and (warning := _unbounded(plan, rows[0].cost, settings)):
                warn(f"pipeline {plan.name!r}: {warning}")
            seen()
    if not any(row.could_find for row in rows):
        raise UsageError(_nothing_gathered(plan, collection))
    notes = dict.fromkeys(chain(_about(plan, collection, rows, settings), *(row.notes for row in rows)))
    return Trial(
        pipeline=plan.name,
        figures=np.array([row.figures for row in rows], np.float64),
        seconds={name: np.array([[row.seconds[name]] for row in rows]) for name in rows[0].seconds},
        notes=tuple(notes),
        costs=tuple([row.cost for row in rows]),
    )


@frozen(kw_only=True, eq=False, repr=False)
class _Row:
    """What came of one query."""

    figures: tuple[float, ...]
    seconds: Mapping[str, float]
    could_find: bool
    """Whether a relevant item was there to be ranked."""
    is_ranked: bool
    cost: QueryCost
    notes: tuple[str, ...] = ()


def _row(prepared: PreparedRun, query: Query, collection: JudgedCollection, settings: TrialSettings) -> _Row:
    ranking = prepared.state.ranking
    relevant = collection.relevant[query.id]
    figures = measure_rankings({query.id: relevant}, {query.id: retrieved(ranking)})[query.id]
    spent = prepared.seconds
    seconds = {
        "ranking": sum([spent.get(verb, 0.0) for verb in ("gather", "rank", "together")]),
        "packing": nan,
        "asking": sum([spent.get(verb, 0.0) for verb in ("generate", "call")]),
    }
    recall: Iterable[float] = (nan,) * len(settings.budgets)
    notes, packed, model = prepared.notes, None, None
    if prepared.call is None or prepared.state.draft is None:
        notes += ("nothing is packed, so there is no answer recall: that needs a prompt step and a generate step",)
    else:
        model, packed = _packed(prepared.call)
        seconds["packing"] = packed.seconds
        recall = [_recalled(prepared.call, model, budget, query, collection, settings) for budget in settings.budgets]
        if query.is_answerable:
            notes += _about_counts(model, prepared.call, settings)
    return _Row(
        figures=(*figures, *recall),
        seconds=seconds,
        could_find=any(item.id in relevant for item in ranking.items),
        is_ranked=bool(ranking.columns),
        cost=_cost(prepared, model, packed),
        notes=notes,
    )


@frozen(eq=False, repr=False)
class _Packed:
    """A prompt, and the time that packing it took."""

    prompt: Prompt
    seconds: float
    cpu_seconds: float


def _packed(call: Call) -> tuple[Model, _Packed]:
    """Return the first model of the chain that has room for the prompt, and that prompt."""
    for model in call.chain[:-1]:
        try:
            return model, _timed(model, call)
        except PromptTooLongError:
            continue
    return call.chain[-1], _timed(call.chain[-1], call)


def _timed(model: Model, call: Call) -> _Packed:
    began, cpu_began = perf_counter(), process_time()
    prompt = _pack(model, call, call.draft)
    return _Packed(prompt, perf_counter() - began, process_time() - cpu_began)


def _cost(prepared: PreparedRun, model: Model | None, packed: _Packed | None) -> QueryCost:
    spent = prepared.cpu_seconds
    return cost_of(
        prepared.attempts,
        None if packed is None else _counted(prepared, model, packed.prompt),
        model,
        sum([spent.get(verb, 0.0) for verb in ("gather", "rank", "together")]),
        None if packed is None else packed.cpu_seconds,
    )


def _counted(prepared: PreparedRun, model: Model | None, prompt: Prompt) -> Prompt:
    """Return the prompt with its tokens counted, which a run leaves out where its bytes already fit."""
    if prompt.context_tokens is not None or model is None or prepared.call is None:
        return prompt
    return _pack(model, prepared.call, prepared.call.draft, exact=True)


def _pack(model: Model, call: Call, draft: Draft, *, exact: bool = False) -> Prompt:
    return pack_for(model, draft, merge_options(model.options, call.options), exact=exact)


def _recalled(
    call: Call, model: Model, budget: int, query: Query, collection: JudgedCollection, settings: TrialSettings
) -> float:
    if not query.is_answerable:
        return nan
    draft = evolve(call.draft, policy=evolve(call.draft.policy, budget=budget))
    try:
        prompt = _pack(model, call, draft)
    except PromptTooLongError as error:
        raise PromptTooLongError(f"at a budget of {budget:,} tokens: {error}", over=error.over) from error
    return float(bool(holds_answer(prompt.items, query, collection, settings.needed)))


# What a reader of the figures must know


def _about(plan: Plan, collection: JudgedCollection, rows: Sequence[_Row], settings: TrialSettings) -> Iterable[str]:
    if not any(row.is_ranked for row in rows):
        order = "its source" if collection.items is None else "the corpus file"
        yield f"nothing ranks the items: they are measured in the order of {order}"
    if warning := _unbounded(plan, rows[0].cost, settings):
        yield warning
    for planned in inner_steps(plan.steps):
        asks = isinstance(planned.step, CallPipeline) and planned.step.take == "answer"
        if asks or (isinstance(planned.step, Generate) and not planned.step.last):
            yield f"{planned.label} asks a model for every query"
        if isinstance(planned.step, Gather) and planned.step.expander is not None and planned.step.expander.asks_model:
            yield f"{planned.label} asks a model what to search for, for every query"


def _unbounded(plan: Plan, cost: QueryCost, settings: TrialSettings) -> str | None:
    """Return a warning where a pipeline without a budget packs far more than is measured, for every query."""
    free = [
        each for each in inner_steps(plan.steps) if isinstance(each.step, MakeDraft) and each.step.policy.budget is None
    ]
    if not free or cost.prompt_tokens is None or cost.prompt_tokens <= _WIDE * max(settings.budgets, default=0):
        return None
    return (
        f"{free[-1].label} packs without a budget: the first prompt has {cost.prompt_tokens:,} tokens, and each query "
        f"takes the time and the money of one; say `budget: {_USUAL_BUDGET}` there, or "
        f"`--set {free[-1].path}.prompt.budget={_USUAL_BUDGET}`"
    )


def _about_counts(model: Model, call: Call, settings: TrialSettings) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if not token_counter(model.info.encoding).exact:
        notes += (
            f"the tokens of {model.name} are counted approximately, on the safe side: budgets are not quite used",
        )
    room = model.info.window - reserve(model.info, merge_options(model.options, call.options))
    if settings.budgets and room < max(settings.budgets):
        notes += (f"the window of {model.name} leaves {room:,} tokens: budgets above that are the same as this one",)
    return notes


def _any_of(count: int) -> str:
    return "the only query" if count == 1 else f"any of {count:,} queries"


def _nothing_gathered(plan: Plan, collection: JudgedCollection) -> str:
    wanted = next(iter(collection.relevant[collection.queries[0].id]))
    return (
        f"pipeline {plan.name!r} gathered no relevant item for {_any_of(len(collection.queries))}: "
        f"check that the items it gathers have the ids of the qrels, such as {wanted!r}"
    )
