"""A prompt: a packed draft, ready to be sent, that knows what is in it and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import field, frozen

from nexus_core.contract.values import Item, Message, Value

Decision = Literal["kept", "cut", "dropped"]


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class PackedItem(Value):
    """An item as it stands in a prompt: whole, or the passages of it that were chosen."""

    number: int
    """From 1, in the order of the prompt: what a citation `[n]` refers to."""
    item: Item
    text: str
    score: float = 0.0
    """By the last ranker."""
    whole: bool = True


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class TraceEntry(Value):
    """What became of one candidate."""

    item_id: str
    title: str
    decision: Decision
    """`kept` whole, `cut` to a part, or `dropped`."""
    reason: str
    score: float
    scores: Mapping[str, float]
    tokens: int | None = None
    """What it takes in the prompt; for a dropped item what its text would have taken, where that was counted."""
    alike: int = 0
    """How many of its passages, or parts of them, were left out since what is packed says the same."""


@frozen(kw_only=True, eq=False, repr=False, slots=False)
class Prompt(Value):
    """Messages for one target. `prompt tokens + reserved <= window` holds for every prompt there is."""

    messages: tuple[Message, ...]
    query: str = ""
    searched: str = ""
    """What the items were searched and ranked by, where that is not the query."""
    items: tuple[PackedItem, ...] = ()
    window: int = 0
    reserved: int = 0
    """Tokens kept free for the answer."""
    max_output: int | None = None
    """Tokens of the target's longest answer, as the pipeline has it; `None` where only its window limits it."""
    prompt_tokens: int | None = None
    """Exact by the target's encoding; `None` where counting was not needed since the bytes already fit."""
    tokens_at_most: int = 0
    """An upper bound of the prompt's tokens, equal to `prompt_tokens` where that is known."""
    context_tokens: int | None = None
    """What the items take of `prompt_tokens`, their headers and separators included."""
    history_kept: int = 0
    """Messages of the history that are in the prompt."""
    history_dropped: int = 0
    trace: Sequence[TraceEntry] = ()
    """One entry per candidate, in rank order."""
    call_id: str = field(default="", eq=False)
    """Of the logical call that it is packed for: the same with each of its attempts; empty outside of a run."""
    traceparent: str = field(default="", eq=False)
    """W3C's header for the service, so that its spans are below that of the attempt; empty where nothing is traced."""
