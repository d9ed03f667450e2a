"""The frozen values that travel between the core and the plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


Role = Literal["system", "user", "assistant", "tool"]
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
    readers: tuple[str, ...] = ()
    """The groups that may see it, as `group:hr`; empty: whoever may see its context, which they narrow, never widen."""
    features: Features = field(factory=Features, init=False, eq=False, repr=False)
    """What was worked out from the text (passages, token counts, vectors), so that nobody does it twice."""


@frozen(eq=False, repr=False, slots=False)
class TextPart(Value):
    """A text among the parts of a message."""

    text: str


def _has_one_origin(part: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if bool(part.data) == bool(part.url):
        raise ValueError(f"{type(part).__name__} takes either `data`, the bytes, or `url`")


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ImagePart(Value):
    """An image among the parts of a message, by its bytes or by its address."""

    data: bytes = b""
    url: str = field(default="", validator=_has_one_origin)
    """http or https; the service fetches it, so that nobody here knows its size."""
    media_type: str = ""
    """As `image/png`; needed with `data`."""
    detail: Literal["auto", "low", "high"] = "auto"
    """How closely the model looks, where it takes that option."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class FilePart(Value):
    """A file among the parts of a message, such as a PDF, by its bytes or by its address."""

    data: bytes = b""
    url: str = field(default="", validator=_has_one_origin)
    media_type: str = ""
    """As `application/pdf`; needed with `data`."""
    filename: str = ""


Part = TextPart | ImagePart | FilePart


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolCall(Value):
    """A call of a tool that the model asks for."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""
    signature: str = ""
    """What some services (Gemini) want back with the call, as they gave it."""


@frozen(eq=False, repr=False, slots=False)
class Message(Value):
    """One message of a chat."""

    role: Role
    content: str | tuple[Part, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant: the calls that it asked for; the text may be empty then."""
    tool_call_id: str = ""
    """With the role `tool`: the call whose result the content is."""

    @property
    def text(self) -> str:
        """The content, of several parts the texts, each in a line of its own."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join([part.text for part in self.content if isinstance(part, TextPart)])


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolDefinition(Value):
    """A tool that a model may ask to be called."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(factory=dict)
    """JSON Schema of its arguments, an object; empty for a tool that takes none."""
    changes: bool = False
    """It changes something outside of the run, so that it is offered only where the pipeline has `allow` for it."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolResult(Value):
    """What a call of a tool gave: a text, items that can be cited, or both."""

    text: str = ""
    items: tuple[Item, ...] = ()
    """Best first; they are packed, numbered and cited like those of the prompt."""
    scores: tuple[tuple[str, Sequence[float]], ...] = ()
    """(ranker, one score for each item), as `Ranking.columns`: they are packed by the last, and the trace shows all."""
    is_error: bool = False
    """The text says why there is no result; the model reads it."""


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
    tools: tuple[ToolDefinition, ...] | None = None
    """What the model may ask to be called; `()` is none."""
    tool_choice: str | None = None
    """`auto`, `none`, `required`, or the name of the one tool that must be called."""
    response_schema: Mapping[str, Any] | None = None
    """JSON Schema that the answer has to match; sent to services that can hold to one, and validated by the engine."""
    reasoning_effort: str | None = None
    """How long a reasoning model may think: `none`, `minimal`, `low`, `medium`, `high`, `xhigh`; others pass as is."""
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


FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class ToolCallDelta(Value):
    """A part of a tool call: parts with one `index` belong together, names and arguments are joined."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    signature: str = ""
    """With the beginning of the call: as in `ToolCall`."""


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


EARLIER_WEIGHT = 0.5
"""What a word of the question before counts, against 1 for one of the question itself; half of it for the one before.

Measured on tests/bench/followups.json, see docs/explanation/follow-ups.md.
"""
EARLIER_QUESTIONS = 3
"""So many questions of a conversation count, the newest."""
_LONGEST = 1_000
"""Characters of an earlier question that count."""


class WeightedQuery(str):
    """A query of several texts, each with its weight.

    It is the text of all of them, the question first, for sources and rankers that know no weights; those that add up
    words go by `parts`.
    """

    parts: tuple[tuple[str, float], ...]
    """Each text with its weight, the question itself first."""


class FollowUp(WeightedQuery):
    """A question, and the questions of its conversation before it, which count less."""

    @classmethod
    def after(cls, question: str, earlier: Sequence[str]) -> Self:
        """Return a question with those before it, oldest first."""
        asked = [text.strip()[:_LONGEST] for text in earlier if text.strip()][-EARLIER_QUESTIONS:]
        texts = [question, *reversed(asked)]
        made = cls("\n".join(texts))
        made.parts = tuple((text, EARLIER_WEIGHT**place) for place, text in enumerate(texts))
        return made


class ExpandedQuery(WeightedQuery):
    """A question, and what else is searched for with it: other phrasings, or words of the first items found."""

    question: str
    """As it was searched for before; it may follow others, and have parts itself."""

    @classmethod
    def of(cls, question: str, texts: Sequence[str], weight: float, *, readable: bool = True) -> Self:
        """Return a question with texts of one weight; those not `readable`, words in a row, are no part of its text."""
        plain = question.question if isinstance(question, ExpandedQuery) else question
        made = cls("\n".join([question, *texts]) if readable else question)
        made.question = plain
        made.parts = (*parts_of(question), *((text, weight) for text in texts))
        return made


def parts_of(query: str) -> tuple[tuple[str, float], ...]:
    """Return the texts that a query is made of, each with its weight: a plain one is all of its own, with weight 1."""
    return query.parts if isinstance(query, WeightedQuery) else ((query, 1.0),)
