"""What a run tells while it runs: to the reader of a stream, and to the sinks.

Events are frozen and each leaves once. Queries, prompts and answers are in them only in the fields named `content`, and
those are filled for sinks only where the pipeline says `content: true`. `Delta` goes to the reader of a stream alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from nexus_core.contract.errors import NexusError
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import FinishReason, ToolCall, Usage, Value

if TYPE_CHECKING:
    from nexus_core.contract.values import ToolCallDelta


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
    """Of the attempt that answered."""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    duration_s: float
    prompt: Prompt
    attempts: tuple[AttemptFinished, ...] = ()
    """Of the whole run, failed ones included, in order."""
    variables: Mapping[str, Any] = field(factory=dict)
    """What the steps kept with `as:`."""
    context_id: str | None = None
    conversation_id: str | None = None
    native_finish_reason: str = ""
    """The service's own word for the end, where nobody knows it: the answer may not be whole."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Event(Value):
    """The root of all events."""

    type: ClassVar[str] = "event"

    run_id: str
    """Ties together all events of a run."""
    time: float
    """Seconds since the epoch."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class RunStarted(Event):
    """A run begins."""

    type = "run_started"

    pipeline: str
    content: str | None = None
    """The query, if content is switched on."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class StepFinished(Event):
    """A step is done."""

    type = "step_finished"

    step: int
    """Its place in the pipeline, from 0."""
    verb: str
    """`gather`, `rank`, `prompt` or `generate`."""
    skipped: bool
    """Its `when` was false."""
    duration_s: float
    items: int
    """How many items the run holds now."""


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


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Waiting(Event):
    """A call waits before its next attempt."""

    type = "waiting"

    call_id: str
    model: str
    why: str
    """The `kind` of the error before it, or `queued` for a limit of the pipeline."""
    wait_s: float


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
    """False where the attempt failed before anything left this machine."""
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
    answered_by: str | None = None
    """The model that answered, by the service's own account."""
    bytes_received: int | None = None
    events: int | None = None
    purpose: str = "answer"
    """`answer` for a generate step; what a component asks its connector for is `prompt`, `embed` or `rerank`."""


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
