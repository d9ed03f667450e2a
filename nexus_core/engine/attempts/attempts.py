"""The one owner of attempts: which target is tried, what counts as a failure, and the record each attempt leaves.

The policy: targets in the order of the chain, one attempt each; a retryable error before the first content moves on to
the next. Nothing else in the project retries or falls back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from time import perf_counter, time
from types import TracebackType
from typing import Self

from attrs import define, evolve, frozen

from nexus_core.contract.errors import (
    ConnectorError,
    ContextLengthError,
    NoAnswerError,
    PromptTooLongError,
    RunError,
    TruncatedError,
)
from nexus_core.contract.events import AttemptFinished, Event, PromptPacked
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Chunk, Completion, ModelInfo, Usage
from nexus_core.engine.attempts.reactions import reaction
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing import Draft, pack
from nexus_core.engine.resources import Resources
from nexus_core.toolkit.tokens import token_counter

Emit = Callable[[Event], None]

DEFAULT_RESERVE = 1024
"""Tokens kept free for the answer when `max_tokens` is not set, and never more than a quarter of the window."""


@frozen(kw_only=True)
class Call:
    """One logical request to a chain of targets."""

    id: str
    run_id: str
    draft: Draft
    chain: tuple[Model, ...]
    options: CallOptions = NOTHING_ASKED
    """Over the options of each model."""


@frozen(kw_only=True)
class Answered:
    """A call that got its whole answer."""

    completion: Completion
    model: Model
    prompt: Prompt


@define
class _Attempt:
    """One attempt while it lasts; as a context manager it leaves exactly one record, however it ends."""

    call: Call
    number: int
    model: Model
    registry: ModelRegistry
    emit: Emit
    started: float = 0.0
    usage: Usage = Usage()
    first_content: float | None = None

    def __enter__(self) -> Self:
        self.started = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._account("ok", None)
        elif isinstance(error, ConnectorError):
            self._account(error.kind, error)
        elif isinstance(error, Exception):
            name = self.model.name
            broken = ConnectorError(f"the connector of {name!r} broke its contract: it raised {type(error).__name__}")
            self._account(broken.kind, broken)
            raise broken from error
        else:
            self._account("cancelled", None)

    def _account(self, outcome: str, error: ConnectorError | None) -> None:
        finished = AttemptFinished(
            run_id=self.call.run_id,
            time=time(),
            call_id=self.call.id,
            number=self.number,
            model=self.model.name,
            model_id=self.model.info.id,
            outcome=outcome,
            status=error.status if error else None,
            error=str(error) if error else None,
            request_sent=error.request_sent if error else True,
            duration_s=perf_counter() - self.started,
            first_content_s=self.first_content and self.first_content - self.started,
            prompt_tokens=self.usage.prompt_tokens,
            completion_tokens=self.usage.completion_tokens,
        )
        self.registry.record(finished)
        self.emit(finished)


def merge_options(under: CallOptions, over: CallOptions) -> CallOptions:
    """Return `under` with everything that is set in `over`."""
    if over is NOTHING_ASKED or over == NOTHING_ASKED:
        return under
    if under is NOTHING_ASKED or under == NOTHING_ASKED:
        return over
    names = ("temperature", "max_tokens", "stop", "top_p", "frequency_penalty", "presence_penalty")
    changes = {name: value for name in names if (value := getattr(over, name)) is not None}
    return evolve(under, **changes, extra={**under.extra, **over.extra})


def reserve(info: ModelInfo, options: CallOptions) -> int:
    """Return how many tokens of the window stay free for the answer."""
    if options.max_tokens is not None:
        return options.max_tokens
    limits = [DEFAULT_RESERVE, info.window // 4, info.max_output or DEFAULT_RESERVE]
    return min(limits)


def pack_for(model: Model, draft: Draft, options: CallOptions, *, exact: bool = False) -> Prompt:
    """Pack a draft for one target, whose merged options are given; raises PromptTooLongError."""
    info = model.info
    return pack(draft, info, reserved=reserve(info, options), counter=lambda: token_counter(info.encoding), exact=exact)


class Attempts:
    """Makes the attempts of calls and accounts for each of them."""

    def __init__(self, registry: ModelRegistry, resources: Resources) -> None:
        self._registry = registry
        self._resources = resources

    async def complete(self, call: Call, emit: Emit) -> Answered:
        """Return the first whole answer of the chain; raises the error of the only target, or NoAnswerError."""
        failed: list[tuple[Model, RunError]] = []
        for number, model in enumerate(call.chain, 1):
            if not _worth_trying(model, failed):
                continue
            attempt = _Attempt(call, number, model, self._registry, emit)
            try:
                await self._open(attempt)
                prompt, options = self._packed(call, model, emit)
                with attempt:
                    completion = await model.connector.send_prompt(prompt, options)
                    attempt.usage = completion.usage
                return Answered(completion=completion, model=model, prompt=prompt)
            except (ConnectorError, PromptTooLongError) as error:
                _note_or_raise(failed, model, error)
        raise _no_answer(failed)

    async def stream(self, call: Call, emit: Emit) -> AsyncIterator[str | Answered]:
        """Yield the answer's text as it comes, and at the end what was answered.

        Before the first text a failed attempt moves on to the next target; after it the error is raised.
        """
        failed: list[tuple[Model, RunError]] = []
        for number, model in enumerate(call.chain, 1):
            if not _worth_trying(model, failed):
                continue
            parts: list[str] = []
            attempt = _Attempt(call, number, model, self._registry, emit)
            try:
                await self._open(attempt)
                prompt, options = self._packed(call, model, emit)
                with attempt:
                    end: Chunk | None = None
                    # Only generators can be closed early, and the contract asks for one.
                    async with aclosing(model.connector.stream_response(prompt, options)) as chunks:  # type: ignore[type-var]
                        async for chunk in chunks:
                            if chunk.text:
                                if attempt.first_content is None:
                                    attempt.first_content = perf_counter()
                                parts.append(chunk.text)
                                yield chunk.text
                            if chunk.finish_reason is not None:
                                end = chunk
                    completion = _whole(model, parts, end)
                    attempt.usage = completion.usage
            except (ConnectorError, PromptTooLongError) as error:
                if parts:
                    raise
                _note_or_raise(failed, model, error)
                continue
            yield Answered(completion=completion, model=model, prompt=prompt)
            return
        raise _no_answer(failed)

    async def _open(self, attempt: _Attempt) -> None:
        """Open the connector before packing for it: for one that is not configured no token need be counted."""
        try:
            await self._resources.open(attempt.model.connector)
        except BaseException:
            with attempt:
                raise

    def _packed(self, call: Call, model: Model, emit: Emit) -> tuple[Prompt, CallOptions]:
        started = perf_counter()
        options = merge_options(model.options, call.options)
        prompt = pack_for(model, call.draft, options)
        emit(
            PromptPacked(
                run_id=call.run_id,
                time=time(),
                call_id=call.id,
                model=model.name,
                window=prompt.window,
                reserved=prompt.reserved,
                tokens_at_most=prompt.tokens_at_most,
                prompt_tokens=prompt.prompt_tokens,
                context_tokens=prompt.context_tokens,
                kept=len(prompt.items),
                candidates=len(prompt.trace),
                duration_s=perf_counter() - started,
            )
        )
        return prompt, options


def _whole(model: Model, parts: list[str], end: Chunk | None) -> Completion:
    if end is None or end.finish_reason is None:
        message = f"the stream of {model.name!r} ended without a finish reason: the answer may be incomplete"
        raise TruncatedError(message, provider=model.info.provider, model=model.info.id)
    usage = end.usage or Usage()
    return Completion(text="".join(parts), finish_reason=end.finish_reason, usage=usage, model=end.model)


def _worth_trying(model: Model, failed: list[tuple[Model, RunError]]) -> bool:
    """Tell whether a target can do better: after a prompt that was too long, only one with a larger window."""
    if not failed or not isinstance(failed[-1][1], ContextLengthError | PromptTooLongError):
        return True
    return model.info.window > failed[-1][0].info.window


def _note_or_raise(failed: list[tuple[Model, RunError]], model: Model, error: RunError) -> None:
    failed.append((model, error))
    if isinstance(error, ConnectorError) and reaction(type(error)).onward in ("no", "if_filtered"):
        raise error


def _no_answer(failed: list[tuple[Model, RunError]]) -> RunError:
    if len(failed) == 1:
        return failed[0][1]
    said = "; ".join(f"{model.name}: {error}" for model, error in failed)
    return NoAnswerError(f"no model answered: {said}", [error for _, error in failed])
