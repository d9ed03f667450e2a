"""Renderer: a draft as messages for one target, with their tokens, and the order of the items in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import define, field

from nexus_core.contract.errors import TemplateError
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.values import NOTHING_ASKED, CallOptions, Message
from nexus_core.engine.packing.draft import Draft
from nexus_core.engine.packing.line_counts import Knowns, count_message
from nexus_core.engine.packing.message_order import (
    are_usual,
    arrange_messages,
    with_attachments,
    with_whole_history,
)
from nexus_core.engine.packing.message_tokens import (
    count_option_tokens,
    further_tokens,
    is_exact,
    texts_of,
)
from nexus_core.engine.plugin_guard import PluginGuard, check_rendered
from nexus_core.toolkit.text.segmentation import byte_length
from nexus_core.toolkit.tokens.counter import TokenCounter


@define(eq=False, repr=False)
class Renderer:
    """Renders a draft with some of its items and history, and counts what comes out."""

    draft: Draft
    info: ModelInfo
    load_counter: Callable[[], TokenCounter]
    options: CallOptions = NOTHING_ASKED
    """Tools and a schema among them are a part of the prompt."""
    _counter: TokenCounter | None = field(default=None, init=False)
    _counted: dict[str, int] = field(factory=dict, init=False)
    """Messages that are the same in each rendering, such as the instructions, are counted once."""
    _around: int | None = field(default=None, init=False)

    @property
    def counter(self) -> TokenCounter:
        """The counter of the target's encoding, loaded when it is first asked for."""
        if self._counter is None:
            self._counter = self.load_counter()
        return self._counter

    def render(self, items: Sequence[PackedItem], history: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages; raises what the template raises."""
        return render_draft(self.draft, self.info, items, history)

    def tokens(self, messages: Sequence[Message], known: Knowns | None = None) -> int:
        """Return the tokens of the messages as they are sent; `known` are lines in them whose tokens are known."""
        around = self._around
        if around is None:
            added = count_option_tokens(self.info, self.options, self.counter.count)
            around = self._around = self.info.tokens_per_prompt + added
        return around + sum([self.message_tokens(message, known) for message in messages])

    def message_tokens(self, message: Message, known: Knowns | None = None) -> int:
        """Return the tokens of one message, the chat format's own included."""
        content, count = message.content, self.counter.count
        if type(content) is str and not message.tool_calls and not message.tool_call_id:
            tokens = self._text_tokens(content, known)
        else:
            tokens = sum([self._text_tokens(text, known) for text in texts_of(message)])
            tokens += further_tokens(message, self.info, count)
        return tokens + count(message.role) + self.info.tokens_per_message

    def _text_tokens(self, text: str, known: Knowns | None) -> int:
        tokens = self._counted.get(text)
        if tokens is None:
            count = self.counter.count
            # The parts of an estimate are rounded, so only exact counts add up.
            tokens = count_message(text, known, count) if known and self.counter.exact else count(text)
            self._counted[text] = tokens
        return tokens

    def is_exact(self, messages: Sequence[Message]) -> bool:
        """Tell whether `tokens` is what the service counts, as far as its tokenizer is known, and not only a bound."""
        options = self.options
        if options is not NOTHING_ASKED and (options.tools or options.response_schema is not None):
            return False
        return all(is_exact(message, self.info) for message in messages)

    def tokens_at_most(self, messages: Sequence[Message]) -> int:
        """Return a bound of `tokens` that counts nothing: every token is at least one byte."""
        return most_tokens(self.info, messages, self.options)


def render_draft(
    draft: Draft, info: ModelInfo, items: Sequence[PackedItem], history: Sequence[Message]
) -> tuple[Message, ...]:
    """Return the messages of a draft for a model, with some items and history; raises what the template raises.

    Raises NotConfiguredError where the model does not take what is in them.
    """
    told, has_parts = _plain_history(history) if history else ([], False)
    variables = {
        **draft.variables,
        "query": draft.query,
        "items": [_plain(packed) for packed in items],
        "history": told,
    }
    name = draft.template_name or type(draft.template).__name__
    with PluginGuard(f"template {name!r}", TemplateError):
        messages = draft.template.render(variables)
    if are_usual(messages) and not (has_parts or draft.attachments or draft.continuation or info.joins_roles):
        return messages
    messages = check_rendered(name, messages)
    if has_parts:
        messages = with_whole_history(messages, history)
    if draft.attachments:
        messages = with_attachments(messages, draft.attachments, name)
    if draft.continuation:
        messages = (*messages, *draft.continuation)
    return arrange_messages(messages, info)


def _plain_history(history: Sequence[Message]) -> tuple[list[dict[str, Any]], bool]:
    """Return the history as templates see it, and whether there is more in it than that."""
    for message in history:
        if type(message.content) is not str or message.tool_calls or message.tool_call_id:
            return [{"role": said.role, "content": said.text} for said in history], True
    return [{"role": said.role, "content": said.content} for said in history], False


def most_tokens(info: ModelInfo, messages: Sequence[Message], options: CallOptions = NOTHING_ASKED) -> int:
    """Return a bound of the tokens of a prompt that counts nothing: every token is at least one byte."""
    around = info.tokens_per_message
    total = info.tokens_per_prompt
    for message in messages:
        content = message.content
        if type(content) is str and not message.tool_calls and not message.tool_call_id:
            total += byte_length(content) + len(message.role) + around
        else:
            total += sum(map(byte_length, texts_of(message))) + len(message.role) + around
            total += further_tokens(message, info, byte_length)
    if options is not NOTHING_ASKED:
        total += count_option_tokens(info, options, byte_length)
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
