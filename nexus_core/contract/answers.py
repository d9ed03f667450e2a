"""Answers of runs, and the attempts that they cost: one row for each upstream request.

Errors carry these, too; so they stand below the errors, and the other events above them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from attrs import field, frozen

from nexus_core.contract.prompts import PackedItem, Prompt, TraceEntry
from nexus_core.contract.values import FinishReason, ToolCall, Usage, Value

CITATION = re.compile(r"\[(\d{1,4})\]")
"""A citation in the text of an answer: the number of an item of its prompt."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Event(Value):
    """The root of all events."""

    type: ClassVar[str] = "event"

    run_id: str
    """Ties together all events of a run."""
    time: float
    """Seconds since the epoch."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class AttemptFinished(Event):
    """One attempt came to its end: a row of the ledger, the same for sinks, figures and the answer.

    There is exactly one for every request that reached a service; times are in seconds, and `None` is unknown.
    """

    type = "attempt_finished"

    call_id: str
    number: int
    """From 1 within the call; with `call_id` the key of the row."""
    model: str
    """The name in the pipeline; of a connector that is an option of a component its place, as `steps[1].rank.model`."""
    model_id: str
    outcome: str
    """`ok`, `cancelled`, or the `kind` of the error."""
    status: int | None = None
    """Of HTTP."""
    code: str | None = None
    """The service's own word for the error, or the timer that ran out."""
    error: str | None = None
    """A message without any content."""
    request_sent: bool = True
    """False where the attempt failed before anything left this machine, and in a replay of recordings."""
    queued_s: float = 0.0
    """Spent before this attempt waiting for a limit of the pipeline."""
    waited_s: float = 0.0
    """Spent before this attempt after the failure of the one before."""
    duration_s: float = 0.0
    """From the request to its end."""
    first_byte_s: float | None = None
    first_content_s: float | None = None
    """From the request to the first text, reasoning or tool call of a stream."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    usage_source: str = "provider"
    """`provider`, `estimated` or `mixed`."""
    cost: float | None = None
    """In US dollars, from the tokens above; `None` where the price or the tokens are unknown, and never 0 for that."""
    answered_by: str | None = None
    """The model that answered, by the service's own account."""
    bytes_received: int | None = None
    events: int | None = None
    purpose: str = "answer"
    """`answer` for a generate step; `rewrite` for the rewriting of a question, `expand` for what is searched for
    besides it; what a component asks its connector for is `prompt`, `embed` or `rerank`."""
    from_cache: bool = False
    """The answer was taken from the answer cache: nothing was sent, and no tokens were used."""
    span_id: str | None = None
    """Of the attempt in its trace, as its service was told; `None` where nothing is traced."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolFinished(Event):
    """A call of a tool came to its end: there is exactly one for each call that a model makes of a pipeline's tool."""

    type = "tool_finished"

    call_id: str
    """Of the request in which the model called it."""
    round: int
    """From 1."""
    number: int
    """From 1 within the step."""
    name: str
    outcome: str
    """`ok`; `failed` by the tool's own account; `error` where it broke; `timeout`; `invalid` where the arguments do not
    match its schema, `unknown` where there is no such tool, `refused` beyond the limit of calls or of the window,
    `not_approved` where a person was asked and did not agree: then it did not run; `cancelled` where the run, or the
    call of a tool that has it made, ended first."""
    duration_s: float = 0.0
    items: int = 0
    """Found by it."""
    tokens: int = 0
    """Of its result in the prompts that follow, at most."""
    was_cut: bool = False
    """A part of the result was left out, since there was no room."""
    arguments: str | None = None
    """As the model wrote them; for sinks if content is switched on."""
    result: str | None = None
    """As the model reads it; for sinks if content is switched on."""
    trace: Sequence[TraceEntry] = ()
    """What became of each item of its result; for sinks if content is switched on."""


def sum_costs(attempts: Iterable[AttemptFinished]) -> tuple[float | None, int]:
    """Return what attempts cost in US dollars, as far as that is known, and how many requests have an unknown cost.

    The sum is `None` where the cost of every request is unknown.
    """
    costs = [row.cost for row in attempts if row.request_sent]
    known = [cost for cost in costs if cost is not None]
    return (sum(known) if known or not costs else None), len(costs) - len(known)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Answer(Value):
    """What a run answered, by whom, from what, at which cost."""

    id: str
    query: str
    """As the user asked it."""
    text: str
    finish_reason: FinishReason
    model: str
    """The name in the pipeline of the model that answered."""
    model_id: str
    """The model as its service calls it."""
    usage: Usage
    """Of the attempt that answered; where the model called tools, of those of all rounds that did."""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    duration_s: float
    prompt: Prompt
    attempts: tuple[AttemptFinished, ...] = ()
    """Of the whole run, failed ones included, in order."""
    tools: tuple[ToolFinished, ...] = ()
    """Calls of the pipeline's tools, in the order in which they ended."""
    variables: Mapping[str, Any] = field(factory=dict)
    """What the steps kept with `as:`."""
    context_id: str | None = None
    contexts: tuple[str, ...] = ()
    """Those of a store that were searched for it, of whichever step and pipeline, by the names they were asked by."""
    conversation_id: str | None = None
    native_finish_reason: str = ""
    """The service's own word for the end, where nobody knows it: the answer may not be whole."""
    has_value: bool = False
    """It was held to a JSON Schema, and matches it."""
    value: Any = None
    """Then what its text says, as JSON data."""
    repaired: bool = False
    """Then the model wrote more than its JSON, or wrote it with small mistakes, which `text` is free of."""

    @property
    def cited_items(self) -> tuple[PackedItem, ...]:
        """The items of the prompt that the text cites as `[1]`, in the order of the prompt."""
        cited = {int(number) for number in CITATION.findall(self.text)}
        return tuple(packed for packed in self.prompt.items if packed.number in cited)
