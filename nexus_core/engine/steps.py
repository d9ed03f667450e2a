"""The four steps. Each is a frozen value that takes the state and returns the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, evolve, field, frozen

from nexus_core import structured
from nexus_core.contract.errors import RankerError, SourceError
from nexus_core.contract.optional_protocols import ContextSource
from nexus_core.contract.protocols import Ranker, Source, Template
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import Viewer
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Chunk, Item, Message
from nexus_core.engine.calls.call import Allowance, Call
from nexus_core.engine.calls.caller import Caller, CallResult
from nexus_core.engine.calls.prompt_fitting import merge_options
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import ModelRegistry
from nexus_core.engine.packing.packer import Draft, PackingPolicy
from nexus_core.engine.plugin_guard import PluginGuard, check_gathered, check_ranked
from nexus_core.engine.state import NO_ITEMS, Scope, State, describe
from nexus_core.toolkit.filters import FilteredItems
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.templates.template import Expression
from nexus_core.toolkit.text.segmentation import is_blank

if TYPE_CHECKING:
    from nexus_core.engine.expansion.expander import Expander
    from nexus_core.engine.tools import tool_rounds
    from nexus_core.engine.tools.toolbox import Toolbox
else:
    tool_rounds = LazyModule("nexus_core.engine.tools.tool_rounds")  # for steps with tools

Found = tuple[Item, ...] | Ranking

VIEWERS_KEPT = 16
"""Viewers for whom what they may see of a source is kept from one run to the next."""


class Step(Protocol):
    """One stage of a pipeline."""

    async def __call__(self, state: State, scope: Scope) -> State:
        """Return the next state."""


@define(eq=False, repr=False)
class Merger:
    """Joins the items of several sources, the first of two with one id wins.

    It keeps its last result: while the same tuples come in the same tuple goes out, and an index over it stays good.
    """

    _known: tuple[Item, ...] = ()
    _new: tuple[Item, ...] = ()
    _merged: tuple[Item, ...] = ()

    def has_seen(self, new: object) -> bool:
        """Tell whether these are the very items that came in last."""
        return new is self._new

    def merge(self, known: tuple[Item, ...], new: tuple[Item, ...]) -> tuple[Item, ...]:
        """Return the items of both, each id once."""
        if not (known is self._known and new is self._new):
            by_id = {item.id: item for item in (*reversed(new), *reversed(known))}
            together = known + new if known else new
            merged = together if len(by_id) == len(together) else tuple(reversed(by_id.values()))
            if merged == self._merged:
                merged = self._merged
            self._known, self._new, self._merged = known, new, merged
        return self._merged

    def add(self, known: Ranking, found: Sequence[Item] | Ranking) -> Ranking:
        """Return known items and those found; a ranking keeps its scores where nothing was known before it."""
        if isinstance(found, Ranking):
            if not known.items:
                return found
            found = found.items
        return Ranking(self.merge(known.items, found if isinstance(found, tuple) else tuple(found)))


@define(eq=False, repr=False)
class ViewFilter:
    """Leaves of what a source has found what a viewer may see.

    For the same viewer the same tuple comes out while the same one comes in, so that an index over it stays good.
    """

    _known: dict[Viewer, tuple[tuple[Item, ...], tuple[Item, ...]]] = field(factory=dict)

    def recall(self, found: object, viewer: Viewer) -> tuple[Item, ...] | None:
        """Return what a viewer may see of the very items that came in last for them; `None` where these are others."""
        known = self._known.get(viewer)
        return known[1] if known is not None and known[0] is found else None

    def __call__(self, found: Found, viewer: Viewer) -> Found:
        """Return what may be seen."""
        if isinstance(found, Ranking):
            places = [place for place, item in enumerate(found.items) if viewer.may_see_item(item)]
            return found if len(places) == len(found.items) else found.only(places)
        seen = tuple(item for item in found if viewer.may_see_item(item))
        if len(self._known) >= VIEWERS_KEPT:
            self._known.clear()
        self._known[viewer] = found, seen if len(seen) < len(found) else found
        return self._known[viewer][1]


@frozen(kw_only=True, eq=False, repr=False)
class Gather:
    """Adds the items of a source."""

    name: str
    source: Source
    resources: ComponentLifecycle
    keep_as: str | None = None
    merger: Merger = field(factory=Merger)
    filtered: FilteredItems | None = None
    """What is let through of what the source gives."""
    view: ViewFilter = field(factory=ViewFilter)
    expander: Expander | None = None
    """Searches for more than the question."""

    async def __call__(self, state: State, scope: Scope) -> State:
        """Return the state with the source's items added, those that the caller may see."""
        items, searched = await self.find(state, scope)
        return self.add(state, items, searched)

    async def find(self, state: State, scope: Scope) -> tuple[Sequence[Item] | Ranking, str]:
        """Return what the source has that the caller may see, and what was searched for if not the query."""
        if scope.asks_items_alone and isinstance(self.source, ContextSource) and self.source.takes_context:
            return (), state.searched
        with PluginGuard(f"source {self.name!r}", SourceError):
            await self.resources.open(self.source)
            items = self._filtered(await self.source.gather(state.search, scope))
        if scope.viewer is not None:
            items = self._seen(items, scope.viewer)
        if self.expander is None:
            return items, state.searched
        items = check_gathered(self.name, items)
        expanded, items = await self.expander(state, scope, items, partial(self._search, scope))
        return items, expanded.searched

    def add(self, state: State, items: Sequence[Item] | Ranking, searched: str) -> State:
        """Return the state with what was found added."""
        if not self.merger.has_seen(items):  # what was good is looked at once
            items = check_gathered(self.name, items)
        ranking = self.merger.add(state.ranking, items)
        after = state.with_ranking(ranking, searched)
        return keep_variable(after, self.keep_as, lambda: describe(ranking))

    async def _search(self, scope: Scope, query: str) -> tuple[Item, ...] | Ranking:
        with PluginGuard(f"source {self.name!r}", SourceError):
            found = self._filtered(await self.source.gather(query, scope))
        return check_gathered(self.name, found) if scope.viewer is None else self._seen(found, scope.viewer)

    def _seen(self, found: Sequence[Item] | Ranking, viewer: Viewer) -> Found:
        """Return of what the source has found what a viewer may see."""
        known = self.view.recall(found, viewer)
        return known if known is not None else self.view(check_gathered(self.name, found), viewer)

    def _filtered(self, found: Any) -> Any:
        """Return the items that pass the filter; of the same items as before the same ones, so that an index holds."""
        if self.filtered is None:
            return found
        items = check_gathered(self.name, found)
        if isinstance(items, Ranking):
            where = self.filtered.where
            return items.only([place for place, item in enumerate(items.items) if where.matches(item)])
        return self.filtered.of(items)


@frozen(kw_only=True, eq=False, repr=False)
class Rank:
    """Scores and orders the items."""

    name: str
    ranker: Ranker
    resources: ComponentLifecycle
    keep_as: str | None = None

    async def __call__(self, state: State, scope: Scope) -> State:
        """Return the state with its items in the ranker's order."""
        return self.apply(state, await self.find(state, scope))

    async def find(self, state: State, scope: Scope) -> Ranking:
        """Return the items in the ranker's order."""
        with PluginGuard(f"ranker {self.name!r}", RankerError):
            await self.resources.open(self.ranker)
            found = await self.ranker.rank(state.search, state.ranking, scope)
        return check_ranked(self.name, found, state.ranking)

    def apply(self, state: State, ranking: Ranking) -> State:
        """Return the state with its items ranked so."""
        return keep_variable(state.with_ranking(ranking, state.searched), self.keep_as, lambda: describe(ranking))


@frozen(kw_only=True, eq=False, repr=False)
class MakeDraft:
    """Makes a draft: the prompt before it is packed for a target."""

    template: Template
    name: str = ""
    """As the pipeline names the template."""
    policy: PackingPolicy
    variables: Mapping[str, Any] = field(factory=dict)
    """Declared ones; an Expression is evaluated for each run."""

    async def __call__(self, state: State, scope: Scope) -> State:
        """Return the state with a draft of its items, history and query."""
        declared = {
            name: value.evaluate(state.variables(value.variables)) if isinstance(value, Expression) else value
            for name, value in self.variables.items()
        }
        draft = Draft(
            template=self.template,
            template_name=self.name,
            ranking=state.ranking,
            query=state.query,
            searched=state.searched,
            history=state.history,
            continuation=state.continuation,
            variables={**declared, "inputs": state.inputs, "vars": state.vars},
            policy=self.policy,
        )
        return State(
            query=state.query,
            searched=state.searched,
            ranking=state.ranking,
            history=state.history,
            continuation=state.continuation,
            inputs=state.inputs,
            vars=state.vars,
            draft=draft,
            answered=state.answered,
        )


class BareQuery:
    """The template of a generate step that has no prompt before it: the query alone."""

    variables: frozenset[str] = frozenset()

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the query as one message."""
        return (Message("user", variables["query"]),)


@frozen(kw_only=True, eq=False, repr=False)
class Generate:
    """Sends the draft to a model and takes its answer."""

    attempts: Caller
    registry: ModelRegistry
    model: str | None = None
    options: CallOptions = NOTHING_ASKED
    into_query: bool = False
    client_tools: bool = False
    """Callers may offer tools."""
    keep_as: str | None = None
    last: bool = False
    """The caller's choice of model and options is for the step that gives the answer."""
    toolbox: Toolbox | None = None
    """What the model may call."""
    search: Callable[[State, Scope, str], Awaitable[Ranking]] | None = None
    """What a tool searches with: the steps before this one that find items."""
    index: int = 0
    path: str = ""
    pipeline: str = ""
    """The name of the one that it is a step of."""

    async def __call__(self, state: State, scope: Scope) -> State:
        """Return the state with the whole answer."""
        if self.toolbox is not None:
            return self._after(state, await self._rounds(self.toolbox, state, scope).complete())
        return self._after(state, await self.attempts.complete(self.call(state, scope), scope.emit))

    async def stream(self, state: State, scope: Scope) -> AsyncIterator[str | Chunk | State]:
        """Yield the answer as it comes, and at the end the next state."""
        streamed = (
            self.attempts.stream(self.call(state, scope), scope.emit)
            if self.toolbox is None
            else self._rounds(self.toolbox, state, scope).stream()
        )
        async with aclosing(streamed) as parts:  # type: ignore[type-var]
            async for part in parts:
                yield self._after(state, part) if isinstance(part, CallResult) else part

    async def first_call(self, state: State, scope: Scope, *, connects: bool) -> Call:
        """Return the request that a run would make first; without `connects` no tool is asked that is elsewhere."""
        if self.toolbox is None:
            return self.call(state, scope)
        return await self._rounds(self.toolbox, state, scope).first_call(connects=connects)

    def _rounds(self, toolbox: Toolbox, state: State, scope: Scope) -> tool_rounds.ToolRounds:
        most = self.attempts.policy.attempts
        allowance = Allowance(
            said=f"`calls.attempts` of pipeline {self.pipeline!r} allows {self.path} and what its tools call ({most})",
            requests=most,
            tool_calls=toolbox.calls,
            components=False,
            above=scope.allowance,
        )
        within = evolve(scope, allowance=allowance)
        search = None if self.search is None else partial(self.search, state, within)
        run = evolve(within, searching=search, calls_from=scope.place(self.index, f"{self.path}.tools"))
        first = self.call(state, scope)
        return tool_rounds.ToolRounds(
            caller=self.attempts, toolbox=toolbox, first=first, scope=run, allowance=allowance
        )

    def call(self, state: State, scope: Scope) -> Call:
        """Return the request that this step would make."""
        draft = state.draft or Draft(
            template=BareQuery(),
            ranking=NO_ITEMS,
            query=state.query,
            history=state.history,
            continuation=state.continuation,
        )
        if draft.continuation and not self.last:  # it belongs to the answer
            draft = evolve(draft, continuation=())
        wanted, options = self.model, self.options
        if self.last:
            wanted, options = scope.model or wanted, merge_options(options, scope.options)
            if scope.attachments:
                draft = evolve(draft, attachments=scope.attachments)
        if options.response_schema is not None:
            structured.validator_of(options.response_schema)  # a caller's may be none
        chain = self.registry.chain(wanted)
        return Call(
            id=scope.call_id(),
            run_id=scope.run_id,
            draft=draft,
            chain=chain,
            allowance=scope.allowance,
            options=options,
            deadline_s=None if scope.ends_at is None else scope.left_s(),
            allow_empty=self.into_query,  # the query stays as it is then
            is_heard=scope.is_heard,
            owner=scope.owner,
            fresh=scope.fresh,
            trace=scope.trace,
        )

    def _after(self, state: State, answered: CallResult) -> State:
        text, found = answered.completion.text, answered.structured
        rewritten = text.strip() if self.into_query and not is_blank(text) else ""
        after = State(
            query=rewritten or state.query,
            searched="" if rewritten else state.searched,
            ranking=state.ranking,
            history=state.history,
            continuation=state.continuation,
            inputs=state.inputs,
            vars=state.vars,
            answered=answered,
        )
        return keep_variable(after, self.keep_as, lambda: text if found is None else found.value)


def keep_variable(state: State, name: str | None, value: Callable[[], Any]) -> State:
    """Return the state with a variable of that name, or as it is without one."""
    return state if name is None else evolve(state, vars={**state.vars, name: value()})
