"""What a run knows so far. Each step takes the state and returns the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import count
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from attrs import field, frozen

from nexus_core.contract.answers import Event
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import Approve, CallablePipeline, PipelineResult, RunContext, TraceContext
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Message, Part
from nexus_core.engine.calls.call import Allowance
from nexus_core.engine.calls.caller import CallResult
from nexus_core.engine.packing.packer import Draft

NO_ITEMS = Ranking(())

_Model = TypeVar("_Model")


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
    continuation: tuple[Message, ...] = ()
    """What follows the query: calls of tools, and their results."""
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

    def with_ranking(self, ranking: Ranking, searched: str) -> State:
        """Return the state with other items; each run does it for each of its steps, and `evolve` looks fields up."""
        return State(
            query=self.query,
            searched=searched,
            ranking=ranking,
            history=self.history,
            continuation=self.continuation,
            inputs=self.inputs,
            vars=self.vars,
            draft=self.draft,
            answered=self.answered,
        )

    def variables(self, names: frozenset[str]) -> dict[str, Any]:
        """Return what expressions may read, of it only what `names` asks for."""
        offered: dict[str, Callable[[], Any]] = {
            "query": lambda: self.query,
            "inputs": lambda: self.inputs,
            "vars": lambda: self.vars,
            "items": lambda: describe(self.ranking),
            "history": lambda: [{"role": message.role, "content": message.text} for message in self.history],
            "answer": lambda: self.answered.completion.text if self.answered else None,
        }
        return {name: offered[name]() for name in names & offered.keys()}


@runtime_checkable
class BindableModel(Protocol):
    """What a component is given for a connector: it makes requests only for a run."""

    def bound_to(self, scope: Scope) -> Any:
        """Return the connector for one run."""


@frozen(eq=False, repr=False)
class StepPlace:
    """Where a step stands, as events tell it."""

    index: int
    """Of the outermost step."""
    path: str


class PipelineCaller(Protocol):
    """Runs the other pipelines of a plan."""

    async def __call__(
        self, scope: Scope, pipeline: CallablePipeline, query: str, inputs: Mapping[str, Any], take: str
    ) -> PipelineResult:
        """Return what came of it; raises what its steps raise."""


def _unheard(_event: Event) -> None:
    """Tell nobody of an event."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Scope(RunContext):
    """The run context with what only the engine needs: listeners, and the caller's choice of model and options."""

    emit: Callable[[Event], None] = _unheard
    model: str | None = None
    """Instead of the model of the last generate step."""
    options: CallOptions = NOTHING_ASKED
    """Over the options of the last generate step."""
    attachments: tuple[Part, ...] = ()
    """For the prompt of the last generate step."""
    asks_items_alone: bool = False
    """The caller gives items and names no context: sources whose context is the caller's to choose have none."""
    is_heard: bool = True
    """Whether somebody listens to the events of the run."""
    fresh: bool = False
    """No answer is taken from a cache."""
    trace: TraceContext | None = None
    """The span of the run, where it is traced."""
    tells_steps: bool = False
    """Whether somebody wants to know of steps that are done."""
    calls: Iterator[int] = field(factory=count)
    notes: list[str] = field(factory=list)
    """Of the components of the step that runs."""

    contexts: list[str] = field(factory=list)
    """Of stores that sources have searched."""
    searching: Callable[[str], Awaitable[Ranking]] | None = None
    """Finds items for a tool."""
    calling: PipelineCaller | None = None
    """Runs other pipelines; `None` where the pipeline calls none."""
    approve: Approve | None = None
    """Asks a person before a tool changes something; `None` where that is allowed by the pipeline alone."""
    allowance: Allowance | None = None
    """What bounds what is asked for beside the policies of the calls; `None` where nothing does."""
    depth: int = 0
    """How many pipelines have called this one, each the next."""
    called_at: StepPlace | None = None
    """Where the pipeline whose steps run is called; `None` in the outermost."""
    calls_from: StepPlace | None = None
    """Where a pipeline that is called now would be called; `None` where no step says it."""

    def begin(
        self,
        emit: Callable[[Event], None],
        *,
        is_heard: bool = True,
        tells_steps: bool = False,
        ends_at: float | None = None,
        calling: PipelineCaller | None = None,
    ) -> None:
        """Take what is known when the run begins, before anybody sees the scope; from then on it is as it is.

        A copy, in each run, would cost more than all else that is done here.
        """
        self.__dict__.update(emit=emit, is_heard=is_heard, tells_steps=tells_steps, ends_at=ends_at, calling=calling)

    def place(self, index: int, path: str) -> StepPlace:
        """Return where a step of the pipeline that runs stands in the outermost one."""
        at = self.called_at
        return StepPlace(index, path) if at is None else StepPlace(at.index, f"{at.path}.{path}")

    async def call_pipeline(
        self,
        pipeline: CallablePipeline,
        query: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        take: Literal["answer", "items"] = "answer",
    ) -> PipelineResult:
        """Run another pipeline for the same caller."""
        if self.calling is None:
            return await super().call_pipeline(pipeline, query, inputs, take=take)
        return await self.calling(self, pipeline, query, inputs or {}, take)

    async def search(self, query: str) -> Ranking:
        """Return what the steps before the one that runs find for another query."""
        return await (super().search(query) if self.searching is None else self.searching(query))

    def looked_in(self, context: str) -> None:
        """Keep the name of a context that a source has searched."""
        if context not in self.contexts:
            self.contexts.append(context)

    def call_id(self) -> str:
        """Return the id of the next call of this run."""
        return f"{self.run_id}.{next(self.calls)}"

    def note(self, text: str) -> None:
        """Keep a note for the event that ends the step."""
        self.notes.append(text)

    def take_notes(self) -> tuple[str, ...]:
        """Return the notes of the step that has ended."""
        taken = tuple(self.notes)
        self.notes.clear()
        return taken

    def bind(self, model: _Model) -> _Model:
        """Return a connector whose requests are calls of this run."""
        if isinstance(model, BindableModel):
            bound: _Model = model.bound_to(self)
            return bound
        return model


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
