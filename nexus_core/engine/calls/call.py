"""A call, and what all calls of a pipeline share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from attrs import frozen

from nexus_core.config.policies import CallPolicy
from nexus_core.contract.answers import Event
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.prompts import Prompt
from nexus_core.contract.run_context import TraceContext
from nexus_core.contract.values import NOTHING_ASKED, CallOptions
from nexus_core.engine.calls.answer_reuse import AnswerReuse
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.calls.targets import Targets
from nexus_core.engine.calls.text_buffer import StreamMemory
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing.draft import Draft
from nexus_core.engine.packing.message_tokens import count_message_tokens, count_option_tokens
from nexus_core.toolkit.timers import Timer
from nexus_core.toolkit.tokens.counter import token_counter

Emit = Callable[[Event], None]


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class EmbedOrRerankRequest:
    """What a component asks of the connector that it was given."""

    purpose: Literal["prompt", "embed", "rerank"]
    prompt: Prompt = Prompt(messages=())
    """Goes out as it is."""
    texts: Sequence[str] = ()
    """What is sent that is no prompt."""

    def tokens(self, info: ModelInfo, options: CallOptions = NOTHING_ASKED) -> int:
        """Return how many tokens are sent, by the target's encoding."""
        if self.texts:
            return sum(map(token_counter(info.encoding).count, self.texts))
        return prompt_tokens(self.prompt, info, options)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Call:
    """One logical request to a chain of targets."""

    id: str
    run_id: str
    draft: Draft
    """Packed for each target."""
    chain: tuple[Model, ...]
    asked: EmbedOrRerankRequest | None = None
    """What a component asks for: it goes out in place of the draft."""
    purpose: Literal["answer", "rewrite", "expand"] = "answer"
    """What the draft is for, as the rows of the ledger tell it."""
    options: CallOptions = NOTHING_ASKED
    """Over the options of each model."""
    attempts: int | None = None
    """Upstream requests at most, where that is fewer than the pipeline allows."""
    deadline_s: float | None = None
    """The caller's own, where it is shorter than that of the pipeline."""
    allow_empty: bool = False
    """An answer without text is one, whatever the model says of it."""
    is_heard: bool = True
    """Whether somebody hears of more than the rows of the ledger."""
    owner: str = ""
    """Who asks: answers that were kept for others are not for them."""
    fresh: bool = False
    """No answer is taken from a cache; the new one is kept."""
    trace: TraceContext | None = None
    """The span of the run: those of the attempts are below it."""


@frozen(kw_only=True, eq=False, repr=False)
class CallEnvironment:
    """What all calls of a pipeline share."""

    registry: ModelRegistry
    resources: ComponentLifecycle
    policy: CallPolicy
    clock: Clock
    random: Random
    targets: Targets
    timer: Timer
    memory: StreamMemory
    reuse: AnswerReuse


def prompt_tokens(prompt: Prompt, info: ModelInfo, options: CallOptions = NOTHING_ASKED) -> int:
    """Return the tokens of a prompt that nobody has counted, with what the chat format adds."""
    count = token_counter(info.encoding).count
    around = info.tokens_per_prompt + count_option_tokens(info, options, count)
    return around + sum([count_message_tokens(message, info, count) for message in prompt.messages])
