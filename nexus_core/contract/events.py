"""What a run tells while it runs: to the reader of a stream, and to the sinks.

Events are frozen and each leaves once. Queries, prompts and answers are in them only in the fields named `content`, and
those are filled for sinks only where the pipeline says `content: true`. `Delta` goes to the reader of a stream alone.
"""

from __future__ import annotations

from attrs import frozen

from nexus_core.contract.answers import Answer, Event
from nexus_core.contract.errors import NexusError
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.run_context import TraceContext
from nexus_core.contract.values import ToolCallDelta


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class RunStarted(Event):
    """A run begins."""

    type = "run_started"

    pipeline: str
    content: str | None = None
    """The query, if content is switched on."""
    trace: TraceContext | None = None
    """The span of the run, where a sink traces it."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class StepFinished(Event):
    """A step is done, or was skipped by its `when`."""

    type = "step_finished"

    step: int
    """Its place in the pipeline, from 0; for one within another, that of the outermost."""
    path: str = ""
    """Where it stands: `steps[2]`, `steps[2].choose[0].steps[1]`, or where a pipeline is called
    `steps[2].call.steps[0]`."""
    verb: str
    """`gather`, `rank`, `prompt`, `generate`, `choose`, `together` or `call`."""
    skipped: bool
    """Its `when` was false."""
    duration_s: float
    items: int
    """How many items the run holds now."""
    notes: tuple[str, ...] = ()
    """What components have told of how they did it, such as a search that has done without vectors."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class QueryExpanded(Event):
    """A gather step with `expand` has searched for more than the question, or could not; its `StepFinished` follows."""

    type = "query_expanded"

    step: int
    """Its place in the pipeline, from 0; for one within another, that of the outermost."""
    path: str = ""
    """Where it stands, as in `StepFinished`."""
    by: str
    """`phrasings`, `feedback` or `hypothetical`."""
    searches: int
    """Besides the one for the question; 0 where that was searched for alone."""
    added: int
    """Items found that the question alone had not found."""
    failure: str | None = None
    """Why the question was searched for alone, where that is so; without any content."""
    model: str | None = None
    """The one that wrote what was searched for, or failed to."""
    requests: int = 0
    """Made for it; each has a row of its own in the ledger, with the purpose `expand`."""
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    cost: float | None = 0.0
    """In US dollars, as far as it is known."""
    duration_s: float = 0.0
    """Of the request and the searches."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class PromptPacked(Event):
    """A draft was packed for one target."""

    type = "prompt_packed"

    call_id: str
    """Ties together packing and attempts of one logical call."""
    model: str
    window: int
    reserved: int
    tokens_at_most: int
    prompt_tokens: int | None
    context_tokens: int | None
    kept: int
    """Items that are in the prompt, whole or cut."""
    candidates: int
    duration_s: float
    prompt: Prompt | None = None
    """For the reader of a stream; never given to sinks."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Waiting(Event):
    """A call waits before its next attempt; sent before the wait begins."""

    type = "waiting"

    call_id: str
    model: str
    why: str
    """The `kind` of the error before it, or `queued` for a limit of the pipeline."""
    wait_s: float


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class StreamRestarted(Event):
    """A stream failed after some content, and the answer begins anew: what came so far is void."""

    type = "stream_restarted"

    call_id: str
    model: str
    """The one that failed."""
    kind: str
    """Of its error."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolRoundFinished(Event):
    """The model called tools of the pipeline, and each call has its result; what it said is no part of the answer."""

    type = "tool_round"

    call_id: str
    """Of the request in which it called them."""
    round: int
    """From 1."""
    calls: int
    """Of tools of the pipeline; a `ToolFinished` each came before."""
    content: str | None = None
    """What the model said besides, for the reader of a stream; for sinks if content is switched on."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Delta(Event):
    """More text of the answer (streams only)."""

    type = "delta"

    text: str
    reasoning: str = ""
    """What the model thinks aloud: no part of the answer."""
    tool_calls: tuple[ToolCallDelta, ...] = ()


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class RunFinished(Event):
    """The run is done and its answer is complete. The last event of a good run."""

    type = "run_finished"

    duration_s: float
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None = None
    """Of all attempts of the run, in US dollars, as far as it is known."""
    content: str | None = None
    """The answer's text, if content is switched on."""
    answer: Answer | None = None
    """For the reader of a stream; never given to sinks."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class RunFailed(Event):
    """The run could not be finished. The last event of a failed run: whatever text came before it is not an answer."""

    type = "run_failed"

    duration_s: float
    kind: str
    """The class of the error, or the `kind` of a connector error; `cancelled` when the reader left."""
    message: str
    partial: str | None = None
    """The text that had come, for the reader of a stream; to sinks only if content is switched on."""
    error: NexusError | None = None
    """For the reader of a stream; never given to sinks."""
