"""What packing promises, for whatever items, windows and policies there are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st

from nexus_core import Item, Message, ModelInfo, Prompt, PromptTooLongError, Ranking
from nexus_core.engine.packing.line_counts import _known, count_message
from nexus_core.engine.packing.packer import Draft, PackingPolicy, pack
from nexus_core.engine.packing.renderer import order_items
from nexus_core.toolkit.tokens.counter import TokenCounter, token_counter

pytestmark = pytest.mark.slow

ENCODING = "o200k_base"
WORDS = [
    "river",
    "town",
    "bridge",
    "Dr.",
    "3.5",
    "don't",
    "x_y",
    "naïve",
    "北京。",
    "(so)",
    "\n",
    "\n\n",
    "- ",
    "¡",
    "…",
    "a",
]
WORDS += ["the end.", "Why?", "town bridge river.", "/", "  "]

texts = st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join)
kinds = st.sampled_from(["text", "markdown", "code"])
found_items = st.lists(st.tuples(texts, texts.map(lambda text: text[:30]), kinds), max_size=14).map(
    lambda rows: tuple(
        Item(id=f"i{n}", title=title, text=text, kind=kind, source=f"s{n % 3}")
        for n, (text, title, kind) in enumerate(rows)
    )
)
histories = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), texts), max_size=4).map(
    lambda rows: tuple(Message(role, content) for role, content in rows)  # type: ignore[arg-type]
)
policies = st.builds(
    PackingPolicy,
    budget=st.none() | st.integers(1, 400),
    pin=st.just(()) | st.just(("i0*",)),
    quota=st.just({}) | st.just({"s1": 40}),
    unit=st.sampled_from(["passage", "item"]),
    overflow=st.sampled_from(["cut", "skip", "stop"]),
    order=st.sampled_from(["rank", "best_last", "both_ends", "source"]),
    passage_tokens=st.none() | st.integers(16, 100),
    near_duplicates=st.sampled_from(["drop", "keep"]),
    history_share=st.sampled_from([0.0, 0.3, 1.0]),
)
scores = st.lists(st.floats(-5, 5), min_size=14, max_size=14)


class Any1:
    """A template in one of several shapes, as authors write them."""

    variables: frozenset[str] = frozenset({"query", "items"})

    def __init__(self, shape: int) -> None:
        self.shape = shape

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        shape = self.shape
        block = ["[{number}] {title}\n{text}", "{text}", "{title}: {text}", "<doc id={id}>{text}</doc>"][shape % 4]
        blocks = [block.format(**item) for item in variables["items"]]
        context = ["\n\n", "\n", " ", ""][shape // 4 % 4].join(blocks) or ("nothing found " * 5 if shape > 15 else "")
        return (
            Message("system", f"Be brief. {context if shape % 3 == 0 else ''}"),
            *(Message(turn["role"], turn["content"]) for turn in variables["history"]),
            Message("user", f"{context}\n\n{variables['query']}"),
        )


def counter() -> TokenCounter:
    return token_counter(ENCODING)


def tokens(messages: Sequence[Message]) -> int:
    return 3 + sum(counter().count(message.text) + counter().count(message.role) + 3 for message in messages)


def draft_of(
    items: tuple[Item, ...], ranks: Sequence[float], history: tuple[Message, ...], policy: PackingPolicy, shape: int
) -> Draft:
    copies = tuple(Item(id=i.id, title=i.title, text=i.text, kind=i.kind, source=i.source) for i in items)
    ranking = Ranking(copies).scored("any", ranks[: len(items)])
    return Draft(template=Any1(shape), ranking=ranking, query="Which town?", history=history, policy=policy)


def packed(draft: Draft, window: int) -> Prompt | PromptTooLongError:
    info = ModelInfo(id="m", provider="p", window=window, encoding=ENCODING)
    try:
        return pack(draft, info, reserved=20, counter=counter)
    except PromptTooLongError as error:
        return error


cases = given(found_items, scores, histories, policies, st.integers(0, 19), st.integers(40, 700))


@cases
@settings(max_examples=250, deadline=None)
def test_pack_never_exceeds_window_or_budget_and_agrees_with_its_trace(
    items: tuple[Item, ...],
    ranks: list[float],
    history: tuple[Message, ...],
    policy: PackingPolicy,
    shape: int,
    window: int,
) -> None:
    """Counted again on what is sent, whatever the template makes of it."""
    draft = draft_of(items, ranks, history, policy, shape)
    prompt = packed(draft, window)
    if isinstance(prompt, PromptTooLongError):
        assert prompt.over > 0
        return
    total = tokens(prompt.messages)
    assert total + 20 <= window
    assert total == prompt.prompt_tokens or (prompt.prompt_tokens is None and total <= prompt.tokens_at_most)
    if policy.budget is not None and prompt.context_tokens is not None:
        assert prompt.context_tokens <= policy.budget
    check_items(prompt, draft)


def check_items(prompt: Prompt, draft: Draft) -> None:
    ids = [packed_item.item.id for packed_item in prompt.items]
    assert len(set(ids)) == len(ids)
    assert [packed_item.number for packed_item in prompt.items] == list(range(1, len(ids) + 1))
    assert [entry.item_id for entry in prompt.trace] == [candidate.item.id for candidate in draft.ranking]
    assert {entry.item_id for entry in prompt.trace if entry.decision != "dropped"} == set(ids)
    decided = {entry.item_id: entry.decision for entry in prompt.trace}
    for packed_item in prompt.items:
        whole = packed_item.item.text
        assert packed_item.whole == (decided[packed_item.item.id] == "kept")
        pieces = re.split(" … |\n…\n", packed_item.text) if not packed_item.whole else [packed_item.text.strip()]
        assert all(piece in whole for piece in pieces) or "…" in whole
    if draft.policy.pin:
        assert {item.id for item in draft.ranking.items if item.id == "i0"} <= set(ids)
    kept = prompt.history_kept
    assert kept + prompt.history_dropped == len(draft.history)
    assert [m.content for m in prompt.messages[1:-1]] == [m.content for m in draft.history[len(draft.history) - kept :]]


@cases
@settings(max_examples=60, deadline=None)
def test_pack_is_deterministic_and_says_how_much_is_too_much(
    items: tuple[Item, ...],
    ranks: list[float],
    history: tuple[Message, ...],
    policy: PackingPolicy,
    shape: int,
    window: int,
) -> None:
    """Fresh items or known ones, the prompt is the same; what does not fit fits with so many tokens more."""
    draft = draft_of(items, ranks, history, policy, shape)
    first, again = packed(draft, window), packed(draft_of(items, ranks, history, policy, shape), window)
    if isinstance(first, Prompt) and isinstance(again, Prompt):
        known = packed(draft, window)
        assert isinstance(known, Prompt)
        assert first.messages == again.messages == known.messages
        return
    assert str(first) == str(again)
    assert isinstance(first, PromptTooLongError)
    assume("budget" not in str(first))
    enough = packed(draft, window + first.over)
    assert isinstance(enough, Prompt) or "pinned" in str(enough)


@given(st.lists(st.floats(-1, 1), max_size=9), st.sampled_from(["rank", "best_last", "both_ends", "source"]))
def test_arranged_is_a_permutation(ranks: list[float], order: Any) -> None:
    """Each item once, numbered in the order they stand in."""
    ranking = Ranking(tuple(Item(id=str(n), text="") for n in range(len(ranks)))).scored("any", ranks)
    found = order_items(ranking, dict.fromkeys(range(len(ranks)), ("", True)), order)
    assert sorted(p.item.id for p in found) == sorted(str(n) for n in range(len(ranks)))
    assert all(second.number == first.number + 1 for first, second in pairwise(found))


@given(st.lists(st.sampled_from([*WORDS, "[1]", " ", ".", ".\n", "'s", "9", "é"]), min_size=3, max_size=40), st.data())
@settings(max_examples=300, deadline=None)
def test_tally_counts_what_the_counter_counts(words: list[str], data: st.DataObject) -> None:
    """With any lines of the text given as known, and any ends of lines."""
    lines = "".join(words).split("\n")
    places = sorted(data.draw(st.lists(st.integers(0, len(lines)), min_size=2, max_size=6)))
    stretches = [lines[start:end] for start, end in zip(places[::2], places[1::2], strict=False) if end > start]
    stretches += [[line[line.find(" ") :]] for line in lines if line.find(" ") > 0]
    for encoding in ("o200k_base", "cl100k_base"):
        count = token_counter(encoding).count
        known = [
            _known(found, count("\n".join(found)), count)
            for found in stretches
            if found[0].strip() and not found[0].removeprefix(" ")[:1].isspace()
        ]
        by_start = {found.key: found for found in known if found is not None}
        content = "\n".join(lines)
        assert count_message(content, by_start, count) == count(content)
