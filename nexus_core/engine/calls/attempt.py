"""Attempts: exactly one row of the ledger for every request that reached a service, however it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self

from attrs import evolve

from nexus_core.contract.answers import AttemptFinished
from nexus_core.contract.errors import (
    ConnectorError,
    DeadlineError,
    EmptyAnswerError,
    RequestCapError,
    SchemaMismatchError,
    TruncatedError,
    UpstreamTimeoutError,
)
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.run_context import TraceContext
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Chunk, Completion, Results, Transfer, Usage
from nexus_core.engine.calls.answer_reuse import NO_TOKENS
from nexus_core.engine.calls.call import Allowance, Call, CallEnvironment, ReservedRequest, prompt_tokens
from nexus_core.engine.calls.deadline import Deadline, is_share
from nexus_core.engine.calls.failure_policy import reaction
from nexus_core.engine.calls.prompt_fitting import tokens_at_most
from nexus_core.engine.calls.stream_accumulator import ContractError, StreamAccumulator, check_returned
from nexus_core.engine.calls.targets import Target
from nexus_core.engine.plugin_guard import CANCELLED_ITSELF, describe_own, is_own
from nexus_core.toolkit.text.segmentation import is_blank
from nexus_core.toolkit.tokens.counter import token_counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from nexus_core.engine.calls.circuit_breaker import Permit
    from nexus_core.engine.calls.rate_limiter import Admission
    from nexus_core.structured import StructuredAnswer

_log = logging.getLogger(__name__)

_SLICE = 2**16
"""Characters whose tokens are counted at once."""
_NO_USAGE = Usage()
_NOT_TOLD = Transfer()
_NO_PROMPT = Prompt(messages=())


class ParentCall(Protocol):
    """The call that an attempt is part of: its clock, its deadline and its ledger."""

    setting: CallEnvironment
    call: Call
    now: Callable[[], float]
    deadline: Deadline
    alone: bool
    """The call has no other target."""
    is_hurried: bool
    """The caller gives less time than the pipeline."""
    rows: int
    """Of the ledger."""
    written: str
    """What has been shown already of an answer that another target continues."""

    def record(self, row: AttemptFinished) -> None:
        """Enter a row of the ledger."""

    def restarted(self) -> None:
        """Say that what has been shown is void, now that something else comes in its place."""


class Attempt:
    """One attempt while it lasts; as a context manager it gives back its slots and leaves one row, in this order.

    Nothing in its end awaits, so that no cancellation can come between. What most attempts never change stands in the
    class and not in each of them.
    """

    prompt: Prompt = _NO_PROMPT
    options: CallOptions = NOTHING_ASKED
    permit: Permit | None = None
    admission: Admission | None = None
    queued_s = 0.0
    waited_s = 0.0
    sent = False
    """Whether the connector was asked: before, nothing can have reached the service."""
    started = 0.0
    first_byte_s: float | None = None
    first_content_s: float | None = None
    transfer: Transfer | None = None
    usage: Usage = _NO_USAGE
    blank = ""
    """Blank text at the start of a stream that is held back: alone it would be no answer."""
    said: StreamAccumulator | Completion | None = None
    """What has come of the answer."""
    reused: Completion | None = None
    """The answer, where it was taken from the cache: then nothing is sent."""
    key: str | None = None
    """Under which the answer is kept."""
    structured: StructuredAnswer | None = None
    """What the answer is as JSON, where it is held to a schema."""
    span_id: str | None = None
    """Of the attempt in the trace of the run."""

    most_cost: float | None = None
    """In US dollars, where money is bounded: what is taken of it until the attempt ends."""

    def __init__(self, parent: ParentCall, target: Target) -> None:
        self.parent = parent
        self.target = target

    async def open(self) -> None:
        """Open the connector, before packing for it: for one that is not configured no token need be counted."""
        try:
            await self.parent.setting.resources.open(self.target.model.connector)
        except BaseException:
            with self:
                raise

    def take_from(self, allowance: Allowance | ReservedRequest) -> None:
        """Take the request, and where money is bounded the most that it can cost; raises RequestCapError."""
        call = self.parent.call
        if allowance.bounds_cost:
            self.most_cost = allowance.pay(self._most_cost(), self.target.model.name)
        try:
            allowance.take(of_component=call.asked is not None)
        except RequestCapError:
            if self.most_cost is not None:
                allowance.settle(self.most_cost, 0.0)
                self.most_cost = None
            raise

    def _most_cost(self) -> float | None:
        """Return the most that the request can cost, in US dollars, `None` where that is unknown."""
        model, asked = self.target.model, self.parent.call.asked
        if not model.sends or "offline" in model.info.capabilities:
            return 0.0
        if (prices := model.prices) is None:
            return None
        if asked is not None and asked.purpose != "prompt":  # a token has a byte at least
            return prices.bound_cost(sum(len(text.encode()) for text in asked.texts), 0)
        return prices.bound_cost(*tokens_at_most(model.info, self.prompt, self.options))

    def send(self) -> tuple[Prompt, CallOptions]:
        """Note that the request goes out now, and return what is sent."""
        self.sent = True
        model = self.target.model
        if (trace := self.parent.call.trace) is not None:
            self._trace(trace.child())
        if model.lookup is not None and model.sends:
            model.lookup.begin()
        self.started = self.parent.now()
        return self.prompt, self.options

    def _trace(self, span: TraceContext) -> None:
        self.span_id = span.span_id
        if span.is_sent:
            self.prompt = evolve(self.prompt, traceparent=span.traceparent)

    def reuse(self, prompt: Prompt, options: CallOptions, completion: Completion) -> None:
        """Take an answer of the cache for that of the service; nothing is used for it."""
        self.prompt, self.options, self.reused = prompt, options, completion
        self.usage = completion.usage
        self.started = self.parent.now()

    def took(self, chunk: Chunk, said: StreamAccumulator) -> str | Chunk:
        """Note a chunk of the answer, and return what of it is for the reader; nothing is `""`."""
        check_returned("stream_response", chunk, Chunk)
        shown: str | Chunk = chunk.text
        if shown:
            said.say(chunk.text)
        if chunk.finish_reason or chunk.usage or chunk.reasoning or chunk.tool_calls or chunk.transfer:
            shown = self._took_more(chunk, said)
        if said.left < 0:
            said.check_size(self.target.model)
        if self.first_content_s is None and shown:
            if type(shown) is str and is_blank(shown):
                self.blank += shown
                return ""
            if self.blank:
                shown = self._with_blank(shown)
            self.first_content_s = self.parent.now() - self.started
            self.parent.restarted()
        return shown

    def _took_more(self, chunk: Chunk, said: StreamAccumulator) -> str | Chunk:
        said.take(chunk)
        if chunk.transfer is not None and self.transfer is None:
            self.transfer = chunk.transfer
            self.first_byte_s = self.parent.now() - self.started
        return chunk if chunk.reasoning or chunk.tool_calls else chunk.text

    def _with_blank(self, shown: str | Chunk) -> str | Chunk:
        blank = self.rest()
        return evolve(shown, text=blank + shown.text) if isinstance(shown, Chunk) else blank + shown

    def rest(self) -> str:
        """Return the blank text that was held back, for the reader of an answer that is nothing else."""
        blank, self.blank = self.blank, ""
        return blank

    def answered(self, completion: Completion) -> None:
        """Note a whole answer, before anything is found to be wrong with it."""
        check_returned("send_prompt" if self.said is None else "stream_response", completion, Completion)
        self.said = completion
        self.usage = completion.usage
        if completion.transfer is not None:
            self.transfer = completion.transfer

    def served(self, results: object) -> None:
        """Note what came that is no text; vectors and relevances are no tokens."""
        if isinstance(results, Results):
            self.transfer = results.transfer
            if results.usage.prompt_tokens is not None:
                self.usage = evolve(results.usage, completion_tokens=results.usage.completion_tokens or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._end("ok", None, ok=True)
        elif isinstance(error, ConnectorError):
            # What its caller had no time for is no failure of the target.
            counts = reaction(type(error)).breaker and not (is_share(error) and self.parent.is_hurried)
            self._end(error.kind, error, ok=False if counts else None)
        elif isinstance(error, DeadlineError) or (
            self.parent.deadline.expired and isinstance(error, asyncio.CancelledError)
        ):
            self._end("timeout", None, ok=None, code="deadline")
        elif is_own(error):
            broken = self._broken(error)
            self._end(broken.kind, broken, ok=False)
            try:
                raise broken from error
            finally:
                del broken  # its traceback holds this frame
        else:
            self._end("cancelled", None, ok=None)

    def _broken(self, error: BaseException) -> ConnectorError:
        model = self.target.model
        what = f"the connector {type(model.connector).__name__} of {model.name!r} broke its contract"
        if isinstance(error, ContractError):
            did = str(error)
        elif isinstance(error, asyncio.CancelledError) and error.args in ((), (CANCELLED_ITSELF,)):
            did = f"it raised {describe_own(error)}"
        else:  # what it says may hold a secret
            did = f"it raised {type(error).__name__}"
        return ConnectorError(f"{what}: {did}", provider=model.info.provider, model=model.info.id)

    def _end(self, outcome: str, error: ConnectorError | None, *, ok: bool | None, code: str | None = None) -> None:
        now = self.parent.now()
        if error is not None and error.transfer is not None:
            self.transfer = error.transfer
        if self.usage.prompt_tokens is None or self.usage.completion_tokens is None:
            self._estimate(error)
        self.give_back(ok, now)
        if self.most_cost is not None:
            self._settle(self.most_cost, error)
        if not self.sent and error is None and self.reused is None:
            return
        self.parent.record(self._row(outcome, error, code, now))

    def _row(self, outcome: str, error: ConnectorError | None, code: str | None, now: float) -> AttemptFinished:
        parent, model, call = self.parent, self.target.model, self.parent.call
        transfer, replays = self.transfer or _NOT_TOLD, self.sent and not model.sends
        # The answer of a replay has the tokens that were recorded; its row tells that none were used.
        usage = NO_TOKENS if replays else self.usage
        return AttemptFinished(
            run_id=call.run_id,
            time=parent.setting.clock.wall(),
            call_id=call.id,
            number=parent.rows + 1,
            model=model.name,
            model_id=model.info.id,
            outcome=outcome,
            status=error.status if error and error.status is not None else transfer.status,
            code=error.code if error else code,
            error=str(error) if error else (code and "the time of the whole call was up"),
            request_sent=self.sent and not replays and (error is None or error.request_sent),
            queued_s=self.queued_s,
            waited_s=self.waited_s,
            duration_s=now - self.started if self.sent or self.reused else 0.0,
            first_byte_s=self.first_byte_s if transfer.first_byte_s is None else transfer.first_byte_s,
            first_content_s=self.first_content_s,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cached_tokens=usage.cached_tokens,
            usage_source=usage.source,
            cost=self._cost(usage),
            answered_by=(self.said.model or None) if self.said is not None else None,
            bytes_received=transfer.bytes_received if self.transfer else None,
            events=transfer.events if self.transfer else None,
            purpose=call.purpose if call.asked is None else call.asked.purpose,
            from_cache=self.reused is not None,
            span_id=self.span_id,
        )

    def _settle(self, most: float, error: ConnectorError | None) -> None:
        """Give back what the request has cost less than it could; what is unknown is taken to be the most."""
        allowance = self.parent.call.allowance
        spent = self._cost(self.usage) if self.sent and self._was_worked_on(error) else 0.0
        if allowance is not None:
            allowance.settle(most, most if spent is None else spent)

    def _cost(self, usage: Usage) -> float | None:
        model = self.target.model
        if self.reused is not None or (self.sent and not model.sends):
            return 0.0
        prices = model.prices if self.sent else None
        if prices is None or (usage.tier and model.lookup is not None):  # what is looked up are the usual prices
            return None
        return prices.cost(usage)

    def give_back(self, ok: bool | None, now: float) -> None:
        """Give back what the attempt holds; `ok` is the verdict for the breaker."""
        if self.permit is not None:
            self.target.breaker.leave(self.permit, ok, now, alone=self.parent.alone)
            self.permit = None
        if self.admission is not None and self.target.limiter is not None:
            used = (self.usage.prompt_tokens or 0) + (self.usage.completion_tokens or 0)
            self.target.limiter.leave(self.admission, used)

    # Token counts that the service did not tell

    def _estimate(self, error: ConnectorError | None) -> None:
        usage = self.usage
        if isinstance(self.said, StreamAccumulator) and self.said.usage is not None:
            usage = self.usage = self.said.usage
        if usage.prompt_tokens is not None and usage.completion_tokens is not None:
            return
        if not self.sent or not self._was_worked_on(error):
            return
        try:
            self.usage = self._completed(usage)
        except Exception:  # noqa: BLE001 - a figure that is missing must cost no row
            _log.warning("the tokens of an attempt could not be estimated", exc_info=True)

    def _was_worked_on(self, error: ConnectorError | None) -> bool:
        """Tell whether the service has read the prompt: what it refuses costs nothing."""
        if error is None or self.first_content_s is not None:
            return True
        worked = TruncatedError | UpstreamTimeoutError | EmptyAnswerError | SchemaMismatchError
        return error.request_sent and isinstance(error, worked)

    def _completed(self, usage: Usage) -> Usage:
        info = self.target.model.info
        count = token_counter(info.encoding).count
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        source: Literal["estimated", "mixed"] = "estimated" if prompt is None and completion is None else "mixed"
        if prompt is None and self.parent.call.asked is not None:
            prompt = self.parent.call.asked.tokens(info, self.options)
        elif prompt is None:
            known = self.prompt.prompt_tokens
            prompt = prompt_tokens(self.prompt, info, self.options) if known is None else known
        if completion is None:
            completion = sum(map(count, chain.from_iterable(map(_slices, self._spoken()))))
        return evolve(usage, prompt_tokens=prompt, completion_tokens=completion, source=source)

    def _spoken(self) -> Sequence[str]:
        match self.said:
            case Completion() as whole:
                calls = [part for call in whole.tool_calls for part in (call.name, call.arguments)]
                return [whole.text, whole.reasoning, *calls]
            case StreamAccumulator() as so_far:
                return [so_far.said()]
        return []


def _slices(text: str) -> Iterator[str]:
    """Yield a text in parts: to count a very long one at once takes many times its memory."""
    return (text[start : start + _SLICE] for start in range(0, len(text), _SLICE))
