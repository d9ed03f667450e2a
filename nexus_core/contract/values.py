"""The frozen values that travel between the core and the plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Literal, Self, TypeVar, cast

import attrs
from attrs import define, field, frozen

from nexus_core.contract.features import Features


class Value:
    """Compares and shows the fields of an attrs class as attrs would; for classes with `eq=False, repr=False`."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, part.name) == getattr(other, part.name) for part in _fields(self) if part.eq)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, part.name) for part in _fields(self) if part.eq)))

    def __repr__(self) -> str:
        shown = [f"{part.name}={getattr(self, part.name)!r}" for part in _fields(self) if part.repr]
        return f"{type(self).__name__}({', '.join(shown)})"


def _fields(value: Value) -> tuple[attrs.Attribute[object], ...]:
    declared: tuple[attrs.Attribute[object], ...] = attrs.fields(cast(type[attrs.AttrsInstance], type(value)))
    return declared


Role = Literal["system", "user", "assistant"]
_Result = TypeVar("_Result")


@frozen(kw_only=True, eq=False, repr=False)
class Item(Value):
    """One piece of context."""

    id: str
    """Unique within a run; two items with one id are taken for the same item."""
    text: str
    title: str = ""
    kind: str = "text"
    """`text`, `markdown` or `code`: decides how the text is cut into passages and words."""
    tags: tuple[str, ...] = ()
    source: str = ""
    """Where it comes from, as a person would say it: a path, a URL, a table."""
    metadata: Mapping[str, Any] = field(factory=dict)
    """JSON values only."""
    features: Features = field(factory=Features, init=False, eq=False, repr=False)
    """What was worked out from the text (passages, token counts, vectors), so that nobody does it twice."""


@frozen(eq=False, repr=False, slots=False)
class Message(Value):
    """One message of a chat."""

    role: Role
    content: str


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class CallOptions(Value):
    """What a caller asks of a model; what is `None` is not sent."""

    temperature: float | None = None
    max_tokens: int | None = None
    """Upper bound of the answer, in tokens."""
    stop: tuple[str, ...] | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    extra: Mapping[str, Any] = field(factory=dict)
    """Options of one model only, passed through as they are."""


NOTHING_ASKED = CallOptions()
"""The options of a caller who sets none: one object, so that the usual case is seen at a glance."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Usage(Value):
    """Token counts as the service reports them; `None` is unknown and never 0."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Of the completion, those that were thought and not said."""
    cached_tokens: int | None = None
    """Of the prompt, those that the service had at hand."""
    source: Literal["provider", "estimated", "mixed"] = "provider"
    """Who counted: the service, or the engine where the service tells nothing, or each of them a part."""
    tier: str = ""
    """The service's word for how it served the request, where its usual prices do not hold for that: `flex`."""

    @property
    def total_tokens(self) -> int | None:
        """The sum, where both parts are known."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


def _is_price(prices: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError(f"`{attribute.name}` of ModelPrices must be a finite number of at least 0, not {value!r}")


def _price_of(name: str) -> Any:
    """Declare a price that is another one where nothing is said."""
    same = attrs.Factory(lambda prices: getattr(prices, name), takes_self=True)
    return field(default=same, validator=_is_price)


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ModelPrices(Value):
    """What a model costs, in US dollars per million tokens."""

    input: float = field(validator=_is_price)
    output: float = field(validator=_is_price)
    cached: float = _price_of("input")
    """Of those tokens of the prompt that the service had at hand; by default as any other of the prompt."""
    reasoning: float = _price_of("output")
    """Of those tokens of the completion that were thought and not said; by default as any other of the completion."""
    long_from: int | None = None
    """A prompt of more tokens than this costs `long`, with all its tokens and those of its completion."""
    long: ModelPrices | None = None

    def cost(self, usage: Usage) -> float | None:
        """Return what one attempt costs, in US dollars; `None` where its tokens are not known.

        Cached tokens are a part of the prompt's and reasoning tokens a part of the completion's, as OpenAI counts them
        and the connector `openai` reads them. Those that are not told are charged as the others. Where a part is more
        than its whole the service counts differently, and what it charges is not known.
        """
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        if prompt is None or completion is None:
            return None
        cached, reasoning = max(usage.cached_tokens or 0, 0), max(usage.reasoning_tokens or 0, 0)
        if cached > prompt or reasoning > completion:
            return None
        prices = self._for(prompt)
        spent = (prompt - cached) * prices.input + cached * prices.cached
        return (spent + (completion - reasoning) * prices.output + reasoning * prices.reasoning) / 1_000_000

    def bound_cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the most that a prompt can cost, in US dollars, before it is sent.

        Nothing of it is cached, and the completion, as long as what is reserved for it, costs the dearer of output and
        reasoning.
        """
        prices = self._for(prompt_tokens)
        spent = prompt_tokens * max(prices.input, prices.cached)
        return (spent + completion_tokens * max(prices.output, prices.reasoning)) / 1_000_000

    def _for(self, prompt_tokens: int) -> ModelPrices:
        if self.long is None or self.long_from is None or prompt_tokens <= self.long_from:
            return self
        return self.long._for(prompt_tokens)


FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolCall(Value):
    """A call of a tool that the model asks for; nothing here runs it."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolCallDelta(Value):
    """A part of a tool call: parts with one `index` belong together, and their arguments are one text."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class QuotaLimit(Value):
    """One limit of a service, as it stood when a request was counted."""

    limit: int
    remaining: int
    reset_s: float
    """Until all of it is there again."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Quota(Value):
    """What a service tells of its rate limits; `None` is not told."""

    requests: QuotaLimit | None = None
    tokens: QuotaLimit | None = None


@define(kw_only=True, eq=False, repr=False, slots=False)
class Transfer(Value):
    """What came over the wire in one attempt. A connector fills it as it goes, so it is right however the end comes."""

    status: int | None = None
    first_byte_s: float | None = None
    """From the request to the head of the answer."""
    bytes_received: int = 0
    """Of the body, decoded."""
    events: int = 0
    """Of a stream."""
    quota: Quota | None = None
    """What the head of the answer tells of rate limits."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Completion(Value):
    """A whole answer of a model service."""

    text: str
    finish_reason: FinishReason
    usage: Usage = Usage()
    model: str = ""
    """The model that answered, by the service's own account."""
    reasoning: str = ""
    """What it thought aloud before; no part of the answer."""
    tool_calls: tuple[ToolCall, ...] = ()
    transfer: Transfer | None = None
    native_finish_reason: str = ""
    """The service's own word for the end, where it is none that the connector knows: then `finish_reason` is `stop`."""


class Results(tuple[_Result, ...]):
    """Vectors or relevances together with what they took: what an `Embedder` or `Reranker` returns that knows it."""

    usage: Usage = Usage()
    transfer: Transfer | None = None

    @classmethod
    def from_service(cls, results: Iterable[_Result], usage: Usage | None, transfer: Transfer | None) -> Self:
        """Return results with the account of the service."""
        found = cls(results)
        found.usage, found.transfer = usage or Usage(), transfer
        return found


@frozen(eq=False, repr=False, slots=False)
class Chunk(Value):
    """A part of a streamed answer; the last one carries the finish reason, and the usage where the service tells it.

    A connector that keeps a `Transfer` gives it with the first chunk, as soon as the head of the answer is there.
    """

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    transfer: Transfer | None = None
    native_finish_reason: str = ""
    """With the finish reason: as in `Completion`."""


def _is_set(info: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, str):  # it would be taken for a set of its letters
        raise TypeError(f"`{attribute.name}` of a ModelInfo is a set of names, not the text {value!r}")


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ModelInfo(Value):
    """What is known of a model. Window, max input and max output are three figures, in tokens."""

    id: str
    provider: str
    window: int
    """Prompt and answer together."""
    max_input: int | None = None
    """The longest prompt, where the service limits it apart from the window."""
    max_output: int | None = None
    """The longest answer, where the service limits it apart from the window."""
    encoding: str = "approximate"
    """The tokenizer by name (`o200k_base`, `cl100k_base`), or `approximate`."""
    tokens_per_message: int = 3
    """What the chat format adds to each message, in tokens."""
    tokens_per_prompt: int = 3
    """What the chat format adds once, in tokens."""
    capabilities: frozenset[str] = field(default=frozenset(), validator=_is_set)
    """Out of `streaming`, `json`, `tools`, `vision`, `offline`, `generate` (it writes text of its own, so that it can
    rewrite a question) and `continue` (it goes on where a last message of the assistant ends)."""
    requires: frozenset[str] = field(default=frozenset(), validator=_is_set)
    """The call options that each request must have, by their names in `CallOptions` or as keys of `extra`.

    The engine gives `max_tokens` by itself, as many as it keeps free for the answer, so that prompt and answer never
    exceed the window. Any other must stand in the `options` of the model, else the call raises `NotConfiguredError`
    before anything is sent.
    """
    version: str = ""
    description: str = ""
    prices: ModelPrices | None = None
    """Where they are known at once; a connector that has to look them up is a `PricedConnector`."""


EARLIER_WEIGHT = 0.5
"""What a word of the question before counts, against 1 for one of the question itself; half of it for the one before.

Measured on tests/bench/followups.json, see docs/explanation/follow-ups.md.
"""
EARLIER_QUESTIONS = 3
"""So many questions of a conversation count, the newest."""
_LONGEST = 1_000
"""Characters of an earlier question that count."""


class FollowUp(str):
    """A question, and the questions of its conversation before it, which count less.

    It is the text of all of them, the question first, for sources and rankers that know no weights; those that add up
    words go by `parts`.
    """

    parts: tuple[tuple[str, float], ...]
    """Each question with its weight, the question itself first."""

    @classmethod
    def after(cls, question: str, earlier: Sequence[str]) -> Self:
        """Return a question with those before it, oldest first."""
        asked = [text.strip()[:_LONGEST] for text in earlier if text.strip()][-EARLIER_QUESTIONS:]
        texts = [question, *reversed(asked)]
        made = cls("\n".join(texts))
        made.parts = tuple((text, EARLIER_WEIGHT**place) for place, text in enumerate(texts))
        return made


def parts_of(query: str) -> tuple[tuple[str, float], ...]:
    """Return the texts that a query is made of, each with its weight: a plain one is all of its own, with weight 1."""
    return query.parts if isinstance(query, FollowUp) else ((query, 1.0),)
