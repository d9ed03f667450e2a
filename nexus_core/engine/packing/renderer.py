"""Renderer: a draft as messages for one target, with their tokens, and the order of the items in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import define, field

from nexus_core.contract.errors import TemplateError
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import Message
from nexus_core.engine.packing.draft import Draft
from nexus_core.engine.packing.line_counts import Knowns, count_message
from nexus_core.engine.plugin_guard import PluginGuard, check_rendered
from nexus_core.toolkit.text.segmentation import byte_length
from nexus_core.toolkit.tokens.counter import TokenCounter


@define(eq=False, repr=False)
class Renderer:
    """Renders a draft with some of its items and history, and counts what comes out."""

    draft: Draft
    info: ModelInfo
    load_counter: Callable[[], TokenCounter]
    _counter: TokenCounter | None = field(default=None, init=False)
    _counted: dict[str, int] = field(factory=dict, init=False)
    """Messages that are the same in each rendering, such as the instructions, are counted once."""

    @property
    def counter(self) -> TokenCounter:
        """The counter of the target's encoding, loaded when it is first asked for."""
        if self._counter is None:
            self._counter = self.load_counter()
        return self._counter

    def render(self, items: Sequence[PackedItem], history: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages; raises what the template raises."""
        return render_draft(self.draft, items, history)

    def tokens(self, messages: Sequence[Message], known: Knowns | None = None) -> int:
        """Return the tokens of the messages as they are sent; `known` are lines in them whose tokens are known."""
        return self.info.tokens_per_prompt + sum([self.message_tokens(message, known) for message in messages])

    def message_tokens(self, message: Message, known: Knowns | None = None) -> int:
        """Return the tokens of one message, the chat format's own included."""
        content, count = message.text, self.counter.count
        tokens = self._counted.get(content)
        if tokens is None:
            # The parts of an estimate are rounded, so only exact counts add up.
            tokens = count_message(content, known, count) if known and self.counter.exact else count(content)
            self._counted[content] = tokens
        return tokens + count(message.role) + self.info.tokens_per_message

    def tokens_at_most(self, messages: Sequence[Message]) -> int:
        """Return a bound of `tokens` that counts nothing: every token is at least one byte."""
        return most_tokens(self.info, messages)


def render_draft(draft: Draft, items: Sequence[PackedItem], history: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages of a draft with some items and history; raises what the template raises."""
    variables = {
        **draft.variables,
        "query": draft.query,
        "items": [_plain(packed) for packed in items],
        "history": [{"role": message.role, "content": message.text} for message in history],
    }
    name = draft.template_name or type(draft.template).__name__
    with PluginGuard(f"template {name!r}", TemplateError):
        messages = check_rendered(name, draft.template.render(variables))
    messages = (*messages, *draft.continuation) if draft.continuation else messages
    return _with_one_system(messages) if any(message.role == "system" for message in history) else messages


def _with_one_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return messages with all that is said as system in one message at the front, in its order.

    Callers may say something as system in the history; many models take one such message, and as the first alone.
    """
    said = [message for message in messages if message.role == "system"]
    if not said:  # the template leaves it out, or makes something else of it
        return messages
    others = [message for message in messages if message.role != "system"]
    return (Message("system", "\n\n".join([message.text for message in said])), *others)


def most_tokens(info: ModelInfo, messages: Sequence[Message]) -> int:
    """Return a bound of the tokens of messages that counts nothing: every token is at least one byte."""
    around = info.tokens_per_message
    total = info.tokens_per_prompt
    for message in messages:
        total += byte_length(message.text) + len(message.role) + around
    return total


def _plain(packed: PackedItem) -> dict[str, Any]:
    item = packed.item
    return {
        "number": packed.number,
        "id": item.id,
        "title": item.title,
        "text": packed.text,
        "kind": item.kind,
        "tags": list(item.tags),
        "source": item.source,
        "metadata": item.metadata,
    }


Order = Literal["rank", "best_last", "both_ends", "source"]


def order_items(ranking: Ranking, texts: Mapping[int, tuple[str, bool]], order: Order) -> tuple[PackedItem, ...]:
    """Return the items of `texts` (index: text, and whether it is all of it) in an order, numbered from 1."""
    scores = ranking.scores
    score = {index: float(scores[index]) if scores is not None else 0.0 for index in texts}
    by_rank = sorted(texts, key=lambda index: (-score[index], index))
    return tuple(
        PackedItem(
            number=number, item=ranking.items[index], text=texts[index][0], score=score[index], whole=texts[index][1]
        )
        for number, index in enumerate(_ordered(by_rank, order), 1)
    )


def _ordered(by_rank: list[int], order: Order) -> list[int]:
    match order:
        case "rank":
            return by_rank
        case "best_last":
            return by_rank[::-1]
        case "both_ends":
            # The best first, the second best last, the worst in the middle: what stands in the middle of a long prompt
            # is used least (Liu et al. 2023, "Lost in the Middle", table 6).
            return by_rank[::2] + by_rank[1::2][::-1]
        case "source":
            return sorted(by_rank)
