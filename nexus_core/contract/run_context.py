"""Run context: what a source or a ranker may know of the run that it serves, handed to it as an argument."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from secrets import randbits
from time import perf_counter
from typing import Any, Literal, TypeVar

from attrs import evolve, frozen

from nexus_core.contract.errors import DeadlineError, RunError
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import Item, Value

_Model = TypeVar("_Model")

_GROUP = re.compile(r"group:[^\x00-\x20\x7f\ud800-\udfff]{1,200}")

NOBODY = "group:nobody"
"""The group that nobody is in: what is granted to it alone is hidden from all who do not see everything."""


def parse_readers(told: object) -> tuple[tuple[str, ...], str]:
    """Return the groups that a document or a line names as its readers, and what is wrong with that.

    They are a list, or a text with commas or spaces between. What names no groups is for `NOBODY`: a mistake hides, and
    so does an empty list, since nobody can tell whether it stands for all or for none.
    """
    names = told.replace(",", " ").split() if isinstance(told, str) else told
    if isinstance(names, list | tuple) and names:
        groups = [name.strip() if isinstance(name, str) else "" for name in names]
        if all(_GROUP.fullmatch(name) for name in groups):
            return tuple(sorted(set(groups))), ""
    if not names and not isinstance(names, bool | int | float):
        return (NOBODY,), (
            "its readers are empty: nobody is shown it; name groups, as [group:hr], or leave `readers` out, so that all"
            " who may see the context see it"
        )
    return (NOBODY,), f"its readers, {str(told)[:80]!r}, name no groups, as [group:hr] does: nobody is shown it"


def narrow_readers(own: Iterable[str], within: Iterable[str]) -> tuple[str, ...]:
    """Return the groups that are among both; where one names none the other's, and where none is in both `NOBODY`."""
    ours, theirs = frozenset(own), frozenset(within)
    both = ours & theirs if ours and theirs else ours | theirs
    return tuple(sorted(both)) or ((NOBODY,) if ours else ())


@frozen(kw_only=True, eq=False, repr=False)
class Viewer(Value):
    """What somebody may see of a store: what has no grant, and what is granted to one of their groups."""

    groups: frozenset[str] = frozenset()
    """As `group:hr`."""
    contexts: frozenset[str] | None = None
    """Names of the contexts that they are bound to; `None` is any."""
    tags: frozenset[str] | None = None
    """Only items that have one of these; `None` is any."""

    def may_see(self, readers: Iterable[str]) -> bool:
        """Tell whether what is granted to these groups may be seen; what is granted to none may be seen by all."""
        granted = frozenset(readers)
        return not granted or not granted.isdisjoint(self.groups - {NOBODY})

    def may_ask(self, context: str) -> bool:
        """Tell whether they may ask a context of this name, as far as it is a matter of what they are bound to."""
        return self.contexts is None or context in self.contexts

    def may_see_item(self, item: Item) -> bool:
        """Tell whether an item of a context that they may see may be seen."""
        return self.may_see(item.readers) and (self.tags is None or not self.tags.isdisjoint(item.tags))


_NO_TOOL_NAME = re.compile(r"[^A-Za-z0-9_-]")
LONGEST_TOOL_NAME = 64
"""Characters of the name of a tool."""
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?P<more>-.*)?"
)


@frozen(kw_only=True)
class TraceContext:
    """A span in a trace, as W3C's Trace Context writes it into the header `traceparent`."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    sampled: bool
    parent_id: str = ""
    """The span above it, in another process; empty where the trace begins here."""
    is_sent: bool = True
    """Whether the services that are asked are told."""

    @classmethod
    def parse(cls, header: str | None) -> TraceContext | None:
        """Return what a header tells; `None` where there is none or it is malformed, which W3C has ignored."""
        found = None if header is None else _TRACEPARENT.fullmatch(header.strip())
        if found is None or (found["more"] and found[0].startswith("00")):
            return None
        return cls(trace_id=found[1], span_id=found[2], sampled=bool(int(found[3], 16) & 1))

    @property
    def traceparent(self) -> str:
        """The header."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"

    def child(self) -> TraceContext:
        """Return a new span below this one."""
        return evolve(self, span_id=f"{randbits(64) or 1:016x}", parent_id=self.span_id)


@frozen(kw_only=True, eq=False, repr=False)
class PipelineInput(Value):
    """An input that a pipeline declares."""

    name: str
    description: str = ""
    default: str | int | float | bool | None = None
    required: bool = False


@frozen(kw_only=True, eq=False, repr=False)
class CallablePipeline(Value):
    """Another pipeline, as an option of a component: in YAML its file, which stands beside the calling one or below it.

    It was checked with the calling pipeline. `run.call_pipeline(self.pipeline, query)` runs it.
    """

    path: str
    """Absolute."""
    name: str
    description: str = ""
    inputs: tuple[PipelineInput, ...] = ()

    @property
    def tool_name(self) -> str:
        """What a tool is called that runs it: like the pipeline, with `_` for what no name of a tool has."""
        return _NO_TOOL_NAME.sub("_", self.name)[:LONGEST_TOOL_NAME]


@frozen(kw_only=True, eq=False, repr=False)
class PipelineResult(Value):
    """What came of calling a pipeline."""

    text: str = ""
    """The answer, without citations of its items; empty where only the items were wanted."""
    value: Any = None
    """The answer as JSON data, where the pipeline holds it to a schema."""
    has_value: bool = False
    ranking: Ranking
    """The items that its last step had."""


@frozen(kw_only=True, eq=False, repr=False)
class ApprovalRequest(Value):
    """A call of a tool that changes something, before it is made: a person decides whether it is."""

    run_id: str
    id: str
    """Unique in the run."""
    name: str
    """Of the tool."""
    description: str = ""
    """Of the tool, by its author."""
    arguments: Mapping[str, Any]
    """They match the tool's schema. The model wrote them: show them as text."""
    timeout_s: float
    """Seconds from now after which the call counts as refused."""


Approve = Callable[[ApprovalRequest], Awaitable[bool]]
"""Asks a person, and returns whether they agree: `True`, and nothing else, does. May run several times at once."""


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
    viewer: Viewer | None = None
    """Whose eyes the run looks with; `None` sees all, as the local shell does."""
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

    async def search(self, query: str) -> Ranking:
        """Return the items that the gather and rank steps of this pipeline find for another query, best first.

        For tools, in a run: what the caller may not see is not found. Raises RunError where nothing is searched.
        """
        raise RunError("there is nothing to search here: this is no run of a pipeline that gathers")

    async def call_pipeline(
        self,
        pipeline: CallablePipeline,
        query: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        take: Literal["answer", "items"] = "answer",
    ) -> PipelineResult:
        """Run another pipeline for the same caller, in the time that is left, and return its answer, or its items only.

        Its requests are rows of this run's ledger, its sinks are not used, and it sees neither the history nor the
        attachments of this run. With `take="items"` its steps after the last one that finds or ranks are not run.
        Raises what its steps raise, UsageError for inputs that it does not take or an answer that it does not have,
        RunError outside of a run and where calls nest more than 8 deep.
        """
        raise RunError("no pipeline can be called here: this is no run of a pipeline")

    def note(self, text: str) -> None:
        """Tell something of how a component has done its work, for the event that ends its step; nobody else hears it.

        Such as a search that has done without vectors. Without any content: sinks get it.
        """

    def looked_in(self, context: str) -> None:
        """Tell that a component has searched a context of a store: what is kept of the run is as secret as that is."""

    def bind(self, model: _Model) -> _Model:
        """Return a connector option of a component for use in this run: `run.bind(self.model).embed(texts)`.

        Within a pipeline its requests are calls of the run: retried, limited, and rows of its ledger. Elsewhere it is
        the connector itself.
        """
        return model
