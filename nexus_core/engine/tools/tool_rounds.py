"""Rounds of a generate step with tools: the model is asked, what it calls is run, and so on until it answers.

There are three bounds: the rounds, the calls, and the upstream requests of the whole step, retries and fallbacks
included, which are as many as `calls.attempts` allows one call. Requests and calls of the pipelines that its tools run
count, too; a request for the last round is kept from the beginning on. In that round the model may call nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import count
from math import inf

from attrs import define, evolve, field

from nexus_core.contract.answers import Event, ToolFinished
from nexus_core.contract.errors import DeadlineError, ToolRoundsError
from nexus_core.contract.events import StreamRestarted, ToolRoundFinished
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.values import CallOptions, Chunk, Message, ToolCall, ToolCallDelta, Usage
from nexus_core.engine.calls.call import Allowance, Call, ReservedRequest
from nexus_core.engine.calls.caller import Caller, CallResult
from nexus_core.engine.calls.prompt_fitting import free_tokens, merge_options
from nexus_core.engine.models import Model
from nexus_core.engine.packing.message_tokens import count_message_tokens
from nexus_core.engine.state import Scope
from nexus_core.engine.tools.approvals import Approvals
from nexus_core.engine.tools.tool_calls import MOST_ARGUMENTS, ToolOutcome, cancelled, run_calls
from nexus_core.engine.tools.tool_results import NO_ROOM, PackedResult, ResultPacker
from nexus_core.engine.tools.toolbox import OfferedTool, Toolbox

LEAST_ROOM = 48
"""Tokens for results below which a round is the last."""
_NUMBERS_STEP = 100
"""Results are numbered beyond a multiple of this that the items of the prompt are well below."""


@define(eq=False, repr=False)
class ToolRounds:
    """One generate step with tools, in one run."""

    caller: Caller
    toolbox: Toolbox
    first: Call
    scope: Scope
    """With what tools may search."""
    allowance: Allowance
    """Of the whole step, with what its tools run."""
    _offered: Mapping[str, OfferedTool] = field(factory=dict, init=False)
    _options: CallOptions = field(init=False)
    _continuation: list[Message] = field(factory=list, init=False)
    _items: list[PackedItem] = field(factory=list, init=False)
    """Of results, as they were shown."""
    _next_number: int = field(default=0, init=False)
    _round: int = field(default=0, init=False)
    _calls: int = field(default=0, init=False)
    _last_request: ReservedRequest | None = field(default=None, init=False)
    _request: ReservedRequest | None = field(default=None, init=False)
    """Of the round that runs."""
    _free: int = field(default=0, init=False)
    """Tokens of the window beside the fixed parts of the prompt."""
    _model: Model = field(init=False)
    """The one of the chain with the least room."""
    _usages: list[Usage] = field(factory=list, init=False)
    """Of the rounds so far."""
    _is_full: bool = field(default=False, init=False)
    """There was no room for some calls."""
    _ends_at: float = field(default=0.0, init=False)
    _caller_ends_at: float = field(default=inf, init=False)
    _approvals: Approvals | None = field(default=None, init=False)
    _held: list[str | Chunk] = field(factory=list, init=False)
    """What a stream has given of a round that may yet call tools."""

    async def complete(self) -> CallResult:
        """Return the answer; raises as `Caller.complete`, and ToolRoundsError where the model never answers."""
        try:
            await self._begin(streams=False)
            while True:
                call, is_last = self._next()
                result = await self._finished(await self.caller.complete(call, self._emit), call, is_last)
                if result is not None:
                    return result
        finally:
            self._release()

    async def stream(self) -> AsyncIterator[str | Chunk | CallResult]:
        """Yield the answer as it comes, and at the end what was answered, as `Caller.stream` does.

        Text is the answer's only if no call follows: of all rounds but the last it is given when the round is over.
        """
        try:
            await self._begin(streams=True)
            answered = None
            while answered is None:
                call, is_last = self._next()
                self._held.clear()
                result: CallResult | None = None
                async with aclosing(self.caller.stream(call, self._emit)) as parts:  # type: ignore[type-var]
                    async for part in parts:
                        if isinstance(part, CallResult):
                            result = part
                        elif is_last or part == "" or _is_thought(part):
                            yield _text_of(part)
                        else:
                            self._held.append(part)
                            yield ""
                answered = None if result is None else await self._finished(result, call, is_last)
                if answered is None:
                    yield ""  # for the events of the round
        finally:
            self._release()
        if not is_last:
            for part in self._held:
                if shown := _text_of(part):
                    yield shown
        if answered.completion.tool_calls:
            yield Chunk(tool_calls=_deltas(answered.completion.tool_calls))
        yield answered

    async def first_call(self, *, connects: bool) -> Call:
        """Return the request of the first round; without `connects` no tool is asked that is elsewhere."""
        await self._begin(streams=False, connects=connects)
        return self._next()[0]

    async def _begin(self, *, streams: bool, connects: bool = True) -> None:
        first = self.first
        self._last_request = self.allowance.reserve()
        client = first.options.tools or ()
        self._offered = await self.toolbox.open(self.scope, client, connects=connects)
        tools = (*[tool.definition for tool in self._offered.values()], *client)
        self._options = evolve(first.options, tools=tools)
        spaces = [(free_tokens(model, first.draft, merge_options(model.options, self._options)), model)
                  for model in first.chain if "tools" in model.info.capabilities]  # fmt: skip
        self._free, self._model = min(spaces, key=lambda space: space[0], default=(0, first.chain[0]))
        policy = self.caller.policy
        seconds = policy.stream_deadline_s if streams else policy.deadline_s
        now = self.caller.clock.now()
        self._caller_ends_at = inf if first.deadline_s is None else now + first.deadline_s
        self._ends_at = now + seconds
        if self.scope.approve is not None:
            self._approvals = Approvals(
                approve=self.scope.approve,
                timeout_s=self.toolbox.approval_timeout_s,
                scope=self.scope,
                now=self.caller.clock.now,
            )

    def _release(self) -> None:
        """Give back what was kept for requests that are not made any more."""
        for kept in (self._request, self._last_request):
            if kept is not None:
                kept.release()

    def _next(self) -> tuple[Call, bool]:
        """Return the request of the next round, and whether it is the last."""
        self._round += 1
        is_last = (
            self._round >= self.toolbox.rounds
            or self.allowance.left() < 1
            or not self.allowance.has_tool_calls
            or self._is_full
            or self._room_left() < LEAST_ROOM
        )
        seconds = min(self._time_left(), self._caller_ends_at - self.caller.clock.now())
        if seconds <= 0:
            raise DeadlineError("the time of the call is up: tools and requests to the model took all of it")
        options, draft = self._options, self.first.draft
        if is_last:
            options = evolve(options, tool_choice="none")
        elif self._round > 1 and options.tool_choice not in (None, "auto", "none"):  # it has called what it had to
            options = evolve(options, tool_choice=None)
        if self._continuation:
            draft = evolve(draft, continuation=(*draft.continuation, *self._continuation))
        self._request = self._last_request if is_last else self.allowance.reserve()  # nothing has awaited since
        return evolve(
            self.first,
            id=self.first.id if self._round == 1 else self.scope.call_id(),
            draft=draft,
            options=options,
            allowance=self._request,
            deadline_s=seconds,
        ), is_last

    async def _finished(self, result: CallResult, call: Call, is_last: bool) -> CallResult | None:
        """Return the answer, or run what the model has called and return `None`."""
        if self._request is not None:  # where an answer of the cache was taken, it was not made
            self._request.release()
        client = {tool.name for tool in self.first.options.tools or ()}
        asked = result.completion.tool_calls
        self._usages.append(result.completion.usage)
        theirs = tuple([each for each in asked if each.name in client])
        ours = _with_ids([each for each in asked if each.name not in client], self._round)
        if not ours:
            return self._answer(result, theirs)
        if is_last:
            names = ", ".join(sorted({each.name for each in ours}))
            raise ToolRoundsError(
                f"{result.model.name!r} calls {names[:200]} in round {self._round}, in which it has to answer: raise "
                "`rounds`, `tool_calls` or `calls.attempts`, or take a model that keeps to `tool_choice: none`"
            )
        if self._round == 1:
            self._number_from(result.prompt.items)
        there_is_room = self._fitting(ours, result.completion.text)
        ended: dict[int, ToolOutcome] = {}
        told = self._calls
        try:
            outcomes = await run_calls(
                ours,
                self._offered,
                self.scope,
                timeout_s=self.toolbox.timeout_s,
                left=self.allowance.take_tool_calls(min(len(ours), there_is_room)),
                time_left=self._time_left,
                ended=ended,
                approvals=self._approvals,
            )
            await self._keep(outcomes, there_is_room, result, call)
        except BaseException:
            for place, each in enumerate(ours[self._calls - told :], self._calls - told):
                self._calls += 1
                self._tell(ended.get(place) or cancelled(each, self._offered), PackedResult(text=""), call, 0)
            raise
        return self._answer(result, theirs) if theirs else None

    def _time_left(self) -> float:
        """Return the seconds that the pipeline leaves the step: a person takes nothing of them, but of the caller's."""
        waited_s = 0.0 if self._approvals is None else self._approvals.waited_s()
        return self._ends_at + waited_s - self.caller.clock.now()

    def _fitting(self, calls: Sequence[ToolCall], text: str) -> int:
        """Return how many of the calls there is room for, with the shortest results there are."""
        left = self._free - sum(map(self._tokens, self._continuation)) - self._tokens(Message("assistant", text))
        for place, each in enumerate(calls):
            shortest = Message("tool", NO_ROOM, (), each.id)
            left -= self._tokens(Message("assistant", "", (_shortened(each),))) + self._tokens(shortest)
            if left < 0:
                return place
        return len(calls)

    async def _keep(self, outcomes: Sequence[ToolOutcome], fitting: int, result: CallResult, call: Call) -> None:
        """Put calls and results into what the next round is asked, those that fit, and tell of all."""
        shown = outcomes[:fitting]
        if shown:
            calls = tuple([_shortened(each.call) for each in shown])
            self._continuation.append(Message("assistant", result.completion.text, calls))
        rounds_left = max(1, self.toolbox.rounds - self._round)
        around = sum([self._tokens(Message("tool", "", (), each.call.id)) for each in shown])
        packed = await ResultPacker(info=self._model.info).fit_beside(
            [(each.query, each.result) for each in shown],
            (self._room_left() - around) // rounds_left,
            self._next_number,
        )
        for place, each in enumerate(outcomes):
            self._calls += 1
            if place >= fitting:
                self._tell(each, PackedResult(text=each.result.text, was_cut=True), call, 0)
                continue
            message = Message("tool", packed[place].text, (), each.call.id)
            self._continuation.append(message)
            self._items += packed[place].items
            self._next_number += len(packed[place].items)
            self._tell(each, packed[place], call, self._tokens(message))
        self._is_full = self._is_full or len(shown) < len(outcomes)
        if self.scope.is_heard:
            self.scope.emit(
                ToolRoundFinished(
                    run_id=call.run_id,
                    time=self.caller.clock.wall(),
                    call_id=call.id,
                    round=self._round,
                    calls=len(outcomes),
                    content=result.completion.text,
                )
            )

    def _tell(self, outcome: ToolOutcome, shown: PackedResult, call: Call, tokens: int) -> None:
        self.scope.emit(
            ToolFinished(
                run_id=call.run_id,
                time=outcome.ended or self.caller.clock.wall(),
                call_id=call.id,
                round=self._round,
                number=self._calls,
                name=outcome.call.name,
                outcome=outcome.outcome,
                duration_s=outcome.duration_s,
                items=len(outcome.result.items),
                tokens=tokens,
                was_cut=shown.was_cut,
                arguments=outcome.call.arguments[:MOST_ARGUMENTS],
                result=shown.text,
                trace=shown.trace,
            )
        )

    def _emit(self, event: Event) -> None:
        if isinstance(event, StreamRestarted):
            self._held.clear()
        self.scope.emit(event)

    def _tokens(self, message: Message) -> int:
        info = self._model.info
        return count_message_tokens(message, info, ResultPacker(info=info).count)

    def _room_left(self) -> int:
        """Return the tokens that results may take, all rounds together, and have not."""
        return int(self._free * self.toolbox.share) - sum(map(self._tokens, self._continuation))

    def _number_from(self, items: Sequence[PackedItem]) -> None:
        """Number results beyond the items of the prompt, of which a later round may choose others, and not more."""
        step = _NUMBERS_STEP
        base = step * (1 + (len(items) + step // 2) // step)
        self._next_number = base + 1
        ranking = self.first.draft.ranking
        if len(ranking.items) > base:
            draft = evolve(self.first.draft, ranking=ranking.only(sorted(ranking.order(base))))
            self.first = evolve(self.first, draft=draft)

    def _answer(self, result: CallResult, theirs: tuple[ToolCall, ...]) -> CallResult:
        completion, prompt = result.completion, result.prompt
        if len(self._usages) > 1:
            completion = evolve(completion, usage=_sum_of(self._usages))
        if completion.tool_calls != theirs:
            completion = evolve(completion, tool_calls=theirs)
        if self._items:
            prompt = evolve(prompt, items=(*prompt.items, *self._items))
        return evolve(result, completion=completion, prompt=prompt)


def _sum_of(usages: Sequence[Usage]) -> Usage:
    """Return the tokens of all rounds; a count that is unknown in one is unknown."""

    def total(counts: Sequence[int | None]) -> int | None:
        known = [each for each in counts if each is not None]
        return sum(known) if len(known) == len(counts) else None

    sources = {usage.source for usage in usages}
    return Usage(
        prompt_tokens=total([usage.prompt_tokens for usage in usages]),
        completion_tokens=total([usage.completion_tokens for usage in usages]),
        reasoning_tokens=total([usage.reasoning_tokens for usage in usages]),
        cached_tokens=total([usage.cached_tokens for usage in usages]),
        source=sources.pop() if len(sources) == 1 else "mixed",
        tier=usages[-1].tier,
    )


def _with_ids(calls: Sequence[ToolCall], round_number: int) -> list[ToolCall]:
    """Return calls that each have an id of their own, which some services leave out."""
    seen: set[str] = set()
    fresh: Callable[[], int] = count(1).__next__
    found = []
    for each in calls:
        if not each.id or each.id in seen:
            each = evolve(each, id=f"call_{round_number}_{fresh()}")
        seen.add(each.id)
        found.append(each)
    return found


def _shortened(call: ToolCall) -> ToolCall:
    """Return a call as it is told again: arguments that were refused for their length would fill the window."""
    return call if len(call.arguments) <= MOST_ARGUMENTS else evolve(call, arguments="{}")


def _is_thought(part: str | Chunk) -> bool:
    return isinstance(part, Chunk) and bool(part.reasoning) and not part.text and not part.tool_calls


def _text_of(part: str | Chunk) -> str | Chunk:
    """Return a part without calls of tools, which are told when it is known whose they are."""
    if isinstance(part, str) or not part.tool_calls:
        return part
    return evolve(part, tool_calls=()) if part.text or part.reasoning else ""


def _deltas(calls: Sequence[ToolCall]) -> tuple[ToolCallDelta, ...]:
    return tuple(
        [
            ToolCallDelta(index=index, id=each.id, name=each.name, arguments=each.arguments, signature=each.signature)
            for index, each in enumerate(calls)
        ]
    )
