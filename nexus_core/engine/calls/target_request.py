"""What a call sends to the target whose turn it is: packed once, however often it is sent, and looked up in the cache.

A target whose model has a `cache` is asked only for what nobody has asked before: the packed prompt and the options are
the key under which answers are kept.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from attrs import evolve

from nexus_core.contract.events import PromptPacked
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.values import CallOptions
from nexus_core.engine.calls.call import Call, CallEnvironment, EmbedOrRerankRequest, Emit
from nexus_core.engine.calls.prompt_fitting import (
    continued,
    describe_to,
    drop_unsupported_schema,
    merge_options,
    pack_for,
    reserve,
    with_required,
)
from nexus_core.engine.models import Model
from nexus_core.engine.packing.message_order import arrange_messages, check_tools

if TYPE_CHECKING:
    from nexus_core.engine.calls.attempt import Attempt


class TargetRequest:
    """The request of one call to one target of its chain after another; `clear` it from one to the next."""

    packed: tuple[Prompt, CallOptions] | None = None
    key: str | None = None
    """Under which its answer is kept, where answers of it are."""

    def __init__(self, setting: CallEnvironment, call: Call, emit: Emit) -> None:
        self._setting = setting
        self._call = call
        self._emit = emit

    def clear(self) -> None:
        """Forget what was packed: the next target has another window."""
        self.packed = self.key = None

    def pack(self, model: Model, written: str) -> tuple[Prompt, CallOptions]:
        """Return what goes to a target, of an answer that has begun with `written`; raises as `pack_for` does."""
        if self.packed is None:
            self.packed = self._pack(model, written)
        return self.packed

    async def reuse(self, attempt: Attempt) -> bool:
        """Take the answer of an attempt from the cache; false where it is not there. Raises as `pack` does."""
        model, call, reuse = attempt.target.model, self._call, self._setting.reuse
        written = attempt.parent.written
        if model.cache is None or written or (call.asked is not None and call.asked.purpose != "prompt"):
            return False
        prompt, options = self.packed = self._pack(model, written)
        self.key = reuse.key(model, prompt, options)
        if self.key is None or call.fresh:
            return False
        completion = await reuse.recall(model, self.key, call.owner)
        if completion is None:
            return False
        attempt.reuse(prompt, options, completion)
        return True

    def _pack(self, model: Model, written: str) -> tuple[Prompt, CallOptions]:
        started, call = perf_counter(), self._call
        options = merge_options(model.options, call.options)
        if (asked := call.asked) is not None:
            check_tools(model.info, options)
            if options.response_schema is not None:
                asked = evolve(asked, prompt=describe_to(model, asked.prompt, options))
                options = drop_unsupported_schema(model, options)
            ready = self._ready_made(asked, model, options)
            if model.info.requires and asked.purpose == "prompt":
                room = min(reserve(model.info, options), model.info.window - asked.tokens(model.info, options))
                options = with_required(model, options, room)
            return ready, options
        draft = continued(call.draft, written) if written else call.draft
        prompt = pack_for(model, draft, options, call_id=call.id)
        if call.is_heard:
            self._tell_of_prompt(model, prompt, perf_counter() - started)
        if model.info.requires:
            options = with_required(model, options, prompt.reserved)
        return prompt, drop_unsupported_schema(model, options)

    def _ready_made(self, asked: EmbedOrRerankRequest, model: Model, options: CallOptions) -> Prompt:
        """Return what a component has made; it is counted before it is sent only where a limit wants to know."""
        messages = arrange_messages(asked.prompt.messages, model.info)
        prompt = evolve(asked.prompt, messages=messages, call_id=self._call.id)
        if model.limits is None or model.limits.tokens_per_minute is None:
            return prompt
        answer = reserve(model.info, options) if asked.purpose == "prompt" else 0
        return evolve(prompt, tokens_at_most=asked.tokens(model.info, options), reserved=answer)

    def _tell_of_prompt(self, model: Model, prompt: Prompt, seconds: float) -> None:
        call = self._call
        self._emit(
            PromptPacked(
                run_id=call.run_id,
                time=self._setting.clock.wall(),
                call_id=call.id,
                model=model.name,
                window=prompt.window,
                reserved=prompt.reserved,
                tokens_at_most=prompt.tokens_at_most,
                prompt_tokens=prompt.prompt_tokens,
                context_tokens=prompt.context_tokens,
                kept=len(prompt.items),
                candidates=len(prompt.trace),
                duration_s=seconds,
                prompt=prompt,
            )
        )
