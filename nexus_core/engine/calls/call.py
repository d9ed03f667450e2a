"""A call, and what all calls of a pipeline share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from attrs import define, field, frozen

from nexus_core.config.policies import CallPolicy
from nexus_core.contract.answers import Event
from nexus_core.contract.errors import RequestCapError
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
MOST_REQUESTS = 100_000
"""That a pipeline may declare."""


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


@define(kw_only=True, eq=False, repr=False)
class Allowance:
    """Upstream requests, money and calls of tools that are left to something that runs, with all that runs below it.

    What is taken of it is taken of those above it, too, of all or of none, and nothing awaits in between: so none is
    passed, however much runs at the same time.
    """

    said: str
    """Which cap it is, as the error says it."""
    requests: int
    tool_calls: int | None = None
    """`None` is not bounded."""
    components: bool = True
    """Whether the requests of rankers and sources count, as those for text always do."""
    cost: float | None = None
    """US dollars; `None` is not bounded."""
    said_of_cost: str = ""
    """Which cap of money it is, as the error says it."""
    above: Allowance | None = None

    def left(self, *, of_component: bool = False) -> int:
        """Return how many requests may yet be made."""
        return min([each.requests for each in self._chain(of_component)], default=MOST_REQUESTS)

    def take(self, *, of_component: bool = False) -> None:
        """Take one request, just before it is made; raises RequestCapError where none is left."""
        chain = self._chain(of_component)
        for each in chain:
            if each.requests < 1:
                raise RequestCapError(f"no more requests: all were made that {each.said}")
        for each in chain:
            each.requests -= 1

    def give_back(self) -> None:
        """Give a request for text back that was not made."""
        for each in self._chain():
            each.requests += 1

    @property
    def bounds_cost(self) -> bool:
        """Whether money is bounded."""
        return any(each.cost is not None for each in self._chain())

    def pay(self, most: float | None, model: str) -> float:
        """Take the most that a request can cost; raises RequestCapError where that is unknown, or more than is left."""
        bounds = [(each, each.cost) for each in self._chain() if each.cost is not None]
        if most is None:
            raise RequestCapError(f"the price of {model!r} is unknown, and {bounds[0][0].said_of_cost}")
        for each, left in bounds:
            if most > left:
                could = f"a request to {model!r} could cost ${most:.4g}, and ${left:.4g} are left"
                raise RequestCapError(f"no more requests: {could}, since {each.said_of_cost}")
        for each, left in bounds:
            each.cost = left - most
        return most

    def settle(self, most: float, spent: float) -> None:
        """Give back what a request has cost less than it could."""
        for each in self._chain():
            if each.cost is not None:
                each.cost += most - spent

    def reserve(self) -> ReservedRequest:
        """Take a request for later; raises RequestCapError where none is left."""
        self.take()
        return ReservedRequest(self)

    def take_tool_calls(self, wanted: int) -> int:
        """Take calls of tools, as many of those that are wanted as are left, and return how many these are."""
        bounds = [each for each in self._chain() if each.tool_calls is not None]
        taken = min([wanted, *[each.tool_calls or 0 for each in bounds]])
        for each in bounds:
            each.tool_calls = (each.tool_calls or 0) - taken
        return taken

    @property
    def has_tool_calls(self) -> bool:
        """Whether a tool may be called."""
        return all(each.tool_calls is None or each.tool_calls > 0 for each in self._chain())

    def _chain(self, of_component: bool = False) -> list[Allowance]:
        chain: list[Allowance] = []
        each: Allowance | None = self
        while each is not None:
            if each.components or not of_component:
                chain.append(each)
            each = each.above
        return chain


def allow_run(pipeline: str, policy: CallPolicy, above: Allowance | None = None) -> Allowance | None:
    """Return what bounds a run of a pipeline, what it calls included.

    `None` is no bound of its own: then that of what called it holds alone, if there is one.
    """
    if policy.requests is None and policy.cost is None:
        return above
    return Allowance(
        said=f"`calls.requests` of pipeline {pipeline!r} allows one run ({policy.requests})",
        requests=MOST_REQUESTS if policy.requests is None else policy.requests,
        cost=policy.cost,
        said_of_cost=f"`calls.cost` of pipeline {pipeline!r} allows one run ${policy.cost or 0:g}",
        above=above,
    )


@define(eq=False, repr=False)
class ReservedRequest:
    """An allowance of which one request is kept for a call, whatever else takes of it meanwhile."""

    allowance: Allowance
    _is_kept: bool = field(default=True, init=False)

    def left(self, *, of_component: bool = False) -> int:
        """Return how many requests may yet be made."""
        return self._is_kept + self.allowance.left(of_component=of_component)

    def take(self, *, of_component: bool = False) -> None:
        """Take the one that is kept, then what else is left; raises RequestCapError where nothing is."""
        if not self._is_kept:
            self.allowance.take(of_component=of_component)
        self._is_kept = False

    @property
    def bounds_cost(self) -> bool:
        """Whether money is bounded."""
        return self.allowance.bounds_cost

    def pay(self, most: float | None, model: str) -> float:
        """Take the most that a request can cost: no money is kept; raises RequestCapError."""
        return self.allowance.pay(most, model)

    def settle(self, most: float, spent: float) -> None:
        """Give back what a request has cost less than it could."""
        self.allowance.settle(most, spent)

    def release(self) -> None:
        """Give back what was kept and not used."""
        if self._is_kept:
            self._is_kept = False
            self.allowance.give_back()


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
    allowance: Allowance | ReservedRequest | None = None
    """What bounds its requests beside the policy of its pipeline."""
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
