"""Caller: makes the attempts of calls. `failover.py` decides what follows a failure, `attempt.py` notes each one."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, frozen

from nexus_core.config.policies import CallPolicy
from nexus_core.contract.errors import ConnectorError, NexusError
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.protocols import AnswerCache
from nexus_core.contract.values import Chunk, Completion
from nexus_core.engine.calls.answer_checks import check_answer
from nexus_core.engine.calls.answer_reuse import AnswerReuse, chunks_of
from nexus_core.engine.calls.attempt import Attempt
from nexus_core.engine.calls.call import Call, CallEnvironment, Emit
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.calls.failover import Failover
from nexus_core.engine.calls.prompt_fitting import most_characters
from nexus_core.engine.calls.stream_accumulator import StreamAccumulator, check_stream
from nexus_core.engine.calls.targets import Targets
from nexus_core.engine.calls.text_buffer import StreamMemory
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.plugin_guard import is_own, watch_task
from nexus_core.toolkit.timers import Timer

if TYPE_CHECKING:
    from nexus_core.structured import StructuredAnswer

T = TypeVar("T")

_log = logging.getLogger(__name__)
_WHOLE_TIME = nullcontext()
"""In place of a share, where no other target is left."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class CallResult:
    """A call that got its whole answer."""

    completion: Completion
    model: Model
    prompt: Prompt
    structured: StructuredAnswer | None = None
    """What the answer is as JSON, where it is held to a schema; the text of the completion is this JSON then."""


class Caller:
    """Makes the attempts of calls and accounts for each of them."""

    def __init__(
        self,
        registry: ModelRegistry,
        resources: ComponentLifecycle,
        *,
        calls: CallPolicy | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        answers: AnswerCache | None = None,
    ) -> None:
        clock, random = clock or Clock(), random or Random()
        self._setting = CallEnvironment(
            registry=registry,
            resources=resources,
            policy=calls or CallPolicy(),
            clock=clock,
            random=random,
            targets=Targets(clock, random),
            timer=Timer(),
            memory=StreamMemory(),
            reuse=AnswerReuse(answers, clock),
        )

    @property
    def policy(self) -> CallPolicy:
        """What holds for each call."""
        return self._setting.policy

    @property
    def clock(self) -> Clock:
        """What calls tell the time by."""
        return self._setting.clock

    def states(self) -> Mapping[str, str]:
        """Return the state of each target's breaker: `closed`, `open`, `half_open` or `parked`."""
        setting = self._setting
        return {model.name: setting.targets.state(model) for model in setting.registry.targets()}

    async def complete(self, call: Call, emit: Emit) -> CallResult:
        """Return a whole answer; raises the error of the only target, NoAnswerError or DeadlineError."""
        attempt, completion = await self._attempt_until_done(call, emit, _complete)
        if attempt.key is not None:  # out here, where no deadline can take the answer back
            await self._setting.reuse.keep(attempt.target.model, attempt.key, call.owner, completion)
        return _answered(attempt, completion)

    async def serve(self, call: Call, emit: Emit, ask: Callable[[Any], Awaitable[T]]) -> T:
        """Return what `ask` gets of the connector of a target, which is no text; raises as `complete` does."""

        async def served(attempt: Attempt) -> T:
            attempt.send()
            results = await ask(attempt.target.model.connector)
            attempt.served(results)
            return results

        return await self._attempt_until_done(call, emit, served)

    async def _attempt_until_done(self, call: Call, emit: Emit, make: Callable[[Attempt], Awaitable[T]]) -> T:
        failover = Failover(self._setting, call, emit, self._setting.policy.deadline_s)
        try:
            with failover.deadline:
                while True:
                    attempt = (not failover.rows and failover.at_once()) or await failover.begin()
                    try:
                        with attempt, failover.share() or _WHOLE_TIME:
                            made = await make(attempt)
                    except ConnectorError as error:
                        failover.failed(error)
                    else:
                        return made
        finally:
            failover.end()

    async def stream(self, call: Call, emit: Emit) -> AsyncIterator[str | Chunk | CallResult]:
        """Yield the answer as it comes, and at the end what was answered.

        Text comes as such, a chunk with reasoning or tool calls as it is, and `""` where only events have been emitted.
        Before the first content a failed attempt is followed by the next; after it the pipeline's `on_stream_failure`
        decides.
        """
        failover = Failover(self._setting, call, emit, self._setting.policy.stream_deadline_s)
        deadline = failover.deadline
        try:
            while True:
                attempt = None
                while attempt is None:
                    if failover.waits:
                        yield ""
                    with deadline:
                        attempt = await failover.advance()
                most = most_characters(attempt.target.model.info, attempt.options)
                said = attempt.said = StreamAccumulator(most, self._setting.memory)
                chunks = None
                try:
                    with attempt:
                        yield ""
                        chunks = _streamed(attempt)
                        share = failover.share()
                        with deadline, share or _WHOLE_TIME:
                            async for chunk in chunks:
                                if part := attempt.took(chunk, said):
                                    if share is not None:
                                        share.drop()
                                    deadline.task = None
                                    yield part
                                    deadline.resume()
                        attempt.answered(completion := said.whole(attempt.target.model))
                        check_answer(completion, attempt)
                    if blank := attempt.rest():
                        yield blank
                except ConnectorError as error:
                    failover.broke_off(error, attempt.first_content_s is not None, said)
                    continue
                finally:
                    said.close()
                    if chunks is not None:
                        await _close(chunks, attempt)
                if attempt.key is not None:
                    await self._setting.reuse.keep(attempt.target.model, attempt.key, call.owner, completion)
                yield _answered(attempt, failover.ended(completion))
                return
        finally:
            failover.end()


async def _complete(attempt: Attempt) -> tuple[Attempt, Completion]:
    completion = attempt.reused
    if completion is None:
        prompt, options = attempt.send()
        completion = await attempt.target.model.connector.send_prompt(prompt, options)
    attempt.answered(completion)
    check_answer(completion, attempt)
    return attempt, completion


def _streamed(attempt: Attempt) -> AsyncGenerator[Chunk, None]:
    if attempt.reused is not None:
        return chunks_of(attempt.reused)
    prompt, options = attempt.send()
    # Only generators can be closed early, and the contract asks for one.
    found: AsyncGenerator[Chunk, None] = check_stream(attempt.target.model.connector.stream_response(prompt, options))
    return found


async def _close(chunks: AsyncGenerator[Chunk, None], attempt: Attempt) -> None:
    """Close a stream; what goes wrong with that costs neither its answer nor the failure that it is left for."""
    watch_task()
    try:
        await chunks.aclose()
    except BaseException as error:
        if not (isinstance(error, NexusError) or is_own(error)):
            raise
        model = attempt.target.model
        _log.warning(
            "the connector %s of %r failed as its stream was closed: %s",
            type(model.connector).__name__,
            model.name,
            type(error).__name__,
        )


def _answered(attempt: Attempt, completion: Completion) -> CallResult:
    if attempt.usage is not completion.usage:
        completion = evolve(completion, usage=attempt.usage)
    found = attempt.structured
    if found is not None and found.repaired:
        completion = evolve(completion, text=found.text)
    return CallResult(completion=completion, model=attempt.target.model, prompt=attempt.prompt, structured=found)
