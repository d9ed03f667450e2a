"""Fixed parts of a prompt: the template's own words, the query, pinned items, the newest turns of the history."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate

from attrs import frozen

from nexus_core.contract.errors import PromptTooLongError, RunError
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.values import Item, Message
from nexus_core.engine.packing.draft import Draft
from nexus_core.engine.packing.renderer import Renderer
from nexus_core.toolkit.suggest import counted, did_you_mean, listed
from nexus_core.toolkit.text.segmentation import byte_length


def turns(history: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Return the history as turns: a user's message with all that follows up to the next one."""
    found: list[list[Message]] = []
    for message in history:
        if message.role == "user" or not found:
            found.append([])
        found[-1].append(message)
    return [tuple(turn) for turn in found]


def newest(history: Sequence[Message], room: int, cost: Callable[[Message], int]) -> tuple[Message, ...]:
    """Return the newest whole turns that cost at most `room` together."""
    kept: list[Message] = []
    for turn in reversed(turns(history)):
        room -= sum(map(cost, turn))
        if room < 0:
            break
        kept[:0] = turn
    return tuple(kept)


def without_oldest(history: Sequence[Message]) -> tuple[Message, ...]:
    """Return the history without its oldest turn."""
    return tuple(message for turn in turns(history)[1:] for message in turn)


_WILDCARD = re.compile(r"[*?\[]")


def find_pinned(items: Sequence[Item], patterns: Sequence[str]) -> list[int]:
    """Return the indices of the items whose id or source is named by a pattern, in their order.

    Raises RunError where an id without wildcards names no item: what must be in may not be left out silently.
    """
    if not patterns:
        return []
    names = {pattern for pattern in patterns if not _WILDCARD.search(pattern)}
    globs = [translate(pattern) for pattern in patterns if pattern not in names]
    matches = re.compile("|".join(globs)).match if globs else lambda name: None
    found = [
        index
        for index, item in enumerate(items)
        if item.id in names or item.source in names or matches(item.id) or matches(item.source)
    ]
    missing = names - {name for index in found for name in (items[index].id, items[index].source)}
    if missing:
        name = min(missing)
        hint = did_you_mean(name, [item.id for item in items[:10_000]])
        raise RunError(f"`pin` names {name!r}, and no item has that id or source{hint}: correct it, or use a glob")
    return found


@frozen(kw_only=True, eq=False, repr=False)
class Limit:
    """What a target leaves for the prompt."""

    window: int
    reserved: int
    max_input: int | None
    max_output: int | None = None

    @property
    def tokens(self) -> int:
        """The longest prompt there may be."""
        left = self.window - self.reserved
        return left if self.max_input is None else min(left, self.max_input)

    def __str__(self) -> str:
        """Return the limit and how it comes about."""
        if self.max_input is not None and self.max_input <= self.window - self.reserved:
            return f"{self.tokens:,} (the model's longest input)"
        return f"{self.tokens:,} (window {self.window:,} less {self.reserved:,} reserved for the answer)"


@frozen(kw_only=True, eq=False, repr=False)
class FixedParts:
    """The prompt without a choice of items."""

    pins: tuple[PackedItem, ...]
    history: tuple[Message, ...]
    tokens: int
    """Of all this together."""
    tokens_without_pins: int
    room: int
    """For more items."""

    @property
    def allowed(self) -> int:
        """The most tokens of a prompt with more items."""
        return self.tokens + self.room


def fixed_parts_of(draft: Draft, page: Renderer, limit: Limit, pins: tuple[PackedItem, ...]) -> FixedParts:
    """Return the frame of a draft with as much history as there is room for; raises PromptTooLongError."""
    bare = page.tokens(page.render((), ()))
    _check(bare, draft, page, limit, "instructions and query")
    tokens = page.tokens(page.render(pins, ())) if pins else bare
    _check(tokens, draft, page, limit, f"instructions, query and pinned {_named(pins)}")
    history: Sequence[Message] = ()
    if draft.history:
        history = newest(draft.history, _history_room(draft, limit.tokens - tokens), page.message_tokens)
        tokens = page.tokens(page.render(pins, history))
        while tokens > limit.tokens:
            history = without_oldest(history)
            tokens = page.tokens(page.render(pins, history))
    without_pins = page.tokens(page.render((), history)) if pins else tokens
    room = limit.tokens - tokens
    if draft.policy.budget is not None:
        left = draft.policy.budget - (tokens - without_pins)
        _check_budget(left, draft.policy.budget, pins)
        room = min(room, left)
    return FixedParts(pins=pins, history=tuple(history), tokens=tokens, tokens_without_pins=without_pins, room=room)


def bytes_of(items: Iterable[Item], enough: int) -> int:
    """Return the bytes of titles and texts, or some number above `enough` as soon as that is passed."""
    total = 0
    for item in items:
        total += byte_length(item.text) + byte_length(item.title)
        if total > enough:
            break
    return total


def _check(tokens: int, draft: Draft, page: Renderer, limit: Limit, what: str) -> None:
    over = tokens - limit.tokens
    if over > 0:
        what += _besides(draft, page)
        query = page.counter.count(draft.query)
        raise PromptTooLongError(
            f"{what} take {tokens:,} tokens (the query alone {query:,}) and the limit of {page.info.id!r} is {limit}: "
            f"{over:,} too many; shorten them, lower `max_tokens`, or take a model with a larger window",
            over=over,
        )


def _besides(draft: Draft, page: Renderer) -> str:
    """Return what else takes tokens of the prompt."""
    tools, images = page.options.tools, len(draft.attachments)
    named = [
        *([counted(images, "attachment")] if images else []),
        *([f"the definitions of {counted(len(tools), 'tool')}"] if tools else []),
        *(["the schema of the answer"] if page.options.response_schema is not None else []),
    ]
    return f" with {listed(named)}" if named else ""


def _check_budget(left: int, budget: int, pins: Sequence[PackedItem]) -> None:
    if left < 0:
        raise PromptTooLongError(
            f"pinned {_named(pins)} take {budget - left:,} tokens of context and the budget is {budget:,}: "
            f"{-left:,} too many; raise `budget` or pin less",
            over=-left,
        )


def _history_room(draft: Draft, free: int) -> int:
    """Return the history's share of what is free, or all that the items cannot use if that is more."""
    return max(int(free * draft.policy.history_share), free - bytes_of(draft.ranking.items, free))


def _named(pins: Sequence[PackedItem]) -> str:
    names = [repr(packed.item.id) for packed in pins]
    return "items " + listed(names if len(names) <= 5 else [*names[:4], f"{len(names) - 4} more"])
