"""What packing promises, by example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve

from nexus_core import Item, Message, ModelInfo, Prompt, PromptTooLongError, Ranking, RunError
from nexus_core.engine.packing.packer import Draft, PackingPolicy, pack, prepare
from nexus_core.toolkit.tokens.counter import TokenCounter, token_counter

ENCODING = "o200k_base"


class Sources:
    """Instructions, the items under their titles, the history as it was, the query."""

    variables: frozenset[str] = frozenset({"query", "items"})

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        blocks = [f"[{item['number']}] {item['title']}\n{item['text']}" for item in variables["items"]]
        history = [Message(message["role"], message["content"]) for message in variables["history"]]
        return (Message("system", "Be brief."), *history, Message("user", "\n\n".join([*blocks, variables["query"]])))


class Ignoring:
    """A template that uses no items."""

    variables: frozenset[str] = frozenset({"query"})

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        return (Message("user", variables["query"]),)


class Twice:
    """A template that has every item twice."""

    variables: frozenset[str] = frozenset({"items"})

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        blocks = [f"{item['text']}\n\nAgain: {item['text']}" for item in variables["items"]]
        return (Message("user", "\n".join(blocks)),)


def refuse() -> TokenCounter:
    raise AssertionError("nothing needed to be counted")


def counter() -> TokenCounter:
    return token_counter(ENCODING)


def items(count: int, sentences: int = 8) -> tuple[Item, ...]:
    """Items that differ in every sentence, about 14 tokens each."""
    texts = [
        " ".join(f"Fact {n}-{k} about the river names town {n * 31 + k} and its bridge." for k in range(sentences))
        for n in range(count)
    ]
    return tuple(
        Item(id=f"i{n}", title=f"Report {n}", text=text, source=f"docs/{n % 2}.md") for n, text in enumerate(texts)
    )


def packed(
    found: tuple[Item, ...],
    *,
    window: int = 600,
    scores: Sequence[float] | None = None,
    count: Callable[[], TokenCounter] = counter,
    template: Any = None,
    exact: bool = False,
    history: tuple[Message, ...] = (),
    query: str = "Which town has a bridge?",
    max_input: int | None = None,
    **policy: Any,
) -> Prompt:
    ranking = Ranking(found)
    ranking = ranking.scored("falling", scores if scores is not None else [1.0 / (n + 1) for n in range(len(found))])
    draft = Draft(
        template=template or Sources(), ranking=ranking, query=query, history=history, policy=PackingPolicy(**policy)
    )
    info = ModelInfo(id="m", provider="p", window=window, max_input=max_input, encoding=ENCODING)
    return pack(draft, info, reserved=100, counter=count, exact=exact)


def recount(prompt: Prompt) -> int:
    count = counter().count
    return 3 + sum(count(message.text) + count(message.role) + 3 for message in prompt.messages)


def test_pack_counts_nothing_where_the_bytes_fit() -> None:
    """No encoding is loaded; everything is in, whole, in rank order."""
    prompt = packed(items(3), window=20_000, scores=[0.1, 0.9, 0.5], count=refuse)
    assert [p.item.id for p in prompt.items] == ["i1", "i2", "i0"]
    assert [p.number for p in prompt.items] == [1, 2, 3]
    assert prompt.prompt_tokens is None
    assert recount(prompt) <= prompt.tokens_at_most
    assert {entry.reason for entry in prompt.trace} == {"whole item fits"}


def test_pack_exactly_makes_the_same_prompt_and_counts_it() -> None:
    """To explain a prompt is not to change it."""
    exact = packed(items(3), window=20_000, exact=True)
    assert exact.messages == packed(items(3), window=20_000).messages
    assert exact.prompt_tokens == recount(exact)
    assert 0 < (exact.context_tokens or 0) < recount(exact)


def test_pack_exactly_tells_what_each_item_takes() -> None:
    """Where all fit whole, too: together they are about what the items take of the prompt."""
    exact = packed(items(3), window=20_000, exact=True)
    taken = [entry.tokens or 0 for entry in exact.trace]
    assert min(taken) > 0
    assert sum(taken) == pytest.approx(exact.context_tokens or 0, abs=6)


@pytest.mark.parametrize("window", [250, 400, 800, 1600])
def test_pack_fills_the_window_and_stays_within(window: int) -> None:
    """Little is left, and nothing is over."""
    prompt = packed(items(40), window=window)
    assert prompt.prompt_tokens == recount(prompt)
    assert 0 <= window - 100 - recount(prompt) <= max(16, (window - 100) // 50)


@pytest.mark.parametrize("budget", [60, 120, 300, 1000])
def test_pack_keeps_the_budget_with_headers_and_separators(budget: int) -> None:
    """The context is what the messages have more than without any item."""
    prompt = packed(items(40), window=20_000, budget=budget)
    without = packed((), window=20_000, exact=True)
    assert prompt.context_tokens == recount(prompt) - recount(without)
    assert budget * 0.9 - 16 <= (prompt.context_tokens or 0) <= budget


def test_pack_takes_the_smaller_of_window_and_longest_input() -> None:
    """`max_input` limits the prompt apart from the window."""
    assert recount(packed(items(40), window=20_000, max_input=300)) <= 300


def test_pack_puts_the_passages_of_an_item_together_in_its_order() -> None:
    """What is left out between them is marked."""
    text = " ".join(
        [*["Nothing to see here at all, only filler words."] * 9, "The zebra sleeps.", *["More filler."] * 9]
    )
    long = Item(id="long", title="Animals", text=f"The zebra eats grass. {text}")
    prompt = packed((long, *items(20)), budget=110, query="zebra", window=9000)
    found = next(p for p in prompt.items if p.item.id == "long")
    assert "The zebra eats grass." in found.text
    assert found.text.index("eats grass") < found.text.index(" … ") < found.text.index("zebra sleeps")
    assert not found.whole


def test_pack_finds_the_right_sentence_of_a_low_item() -> None:
    """The unit is the passage: its own words count beside its item's rank."""
    needle = Item(id="needle", title="", text=f"{items(1)[0].text} The quokka lives on Rottnest Island.")
    prompt = packed((*items(30), needle), budget=200, window=9000, query="Where does the quokka live?")
    assert "Rottnest" in prompt.messages[-1].content


def test_pack_drops_near_duplicates_unless_told_to_keep_them() -> None:
    """A copy says nothing new; the trace says of what it is one."""
    first = Item(id="a", title="A", text="The old stone bridge over the river was built by the monks of the abbey.")
    copy = Item(id="b", title="B", text="The old stone bridge over the river was built by the monks of the abbey!")
    kept = packed((first, copy, *items(40)), window=500, near_duplicates="keep", query="stone bridge monks")
    dropped = packed((first, copy, *items(40)), window=500, query="stone bridge monks")
    assert {"a", "b"} <= {p.item.id for p in kept.items}
    assert "b" not in {p.item.id for p in dropped.items}
    assert dropped.trace[1].reason == "near-duplicate of 'a'"


def test_pack_takes_no_row_of_a_table_for_a_duplicate() -> None:
    """Texts that differ in a number differ."""
    rows = tuple(
        Item(id=f"r{n}", title="", text=f"Room {n} on the second floor has a beamer and takes twenty people.")
        for n in range(100, 140)
    )
    prompt = packed(rows, window=500)
    assert not any("near-duplicate" in entry.reason for entry in prompt.trace)


def test_pack_goes_deeper_where_most_is_a_copy() -> None:
    """A hundred copies at the top do not leave the window empty."""
    text = "The old stone bridge over the river was built by the monks of the abbey in winter. " * 4
    copies = tuple(Item(id=f"c{n}", title="", text=text) for n in range(100))
    prompt = packed((*copies, *items(40)), window=1000)
    assert (prompt.prompt_tokens or 0) > 850


@pytest.mark.parametrize("pin", ["i7", "i[7]", "docs/1.*"])
def test_pack_has_pinned_items_in_whole(pin: str) -> None:
    """By id, by glob, or by source; they need not rank high."""
    found = items(9, sentences=2)
    others = tuple(evolve(item, source="elsewhere") for item in items(40)[9:])
    prompt = packed((*found, *others), window=520, pin=(pin,))
    pinned = next(p for p in prompt.items if p.item.id == "i7")
    assert pinned.whole
    assert pinned.text == found[7].text
    assert prompt.trace[7].reason == "pinned"


def test_pack_says_by_how_much_pinned_items_do_not_fit() -> None:
    """With so many tokens more they do."""
    with pytest.raises(PromptTooLongError, match=r"pinned items 'i0' and 'i1' take .* too many") as raised:
        packed(items(5), window=250, pin=("i0", "i1"))
    packed(items(5), window=250 + raised.value.over, pin=("i0", "i1"))
    with pytest.raises(PromptTooLongError):
        packed(items(5), window=249 + raised.value.over, pin=("i0", "i1"))


def test_pack_says_by_how_much_pinned_items_exceed_the_budget() -> None:
    """Pinned items are context too."""
    with pytest.raises(PromptTooLongError, match="the budget is 20") as raised:
        packed(items(5), window=2000, pin=("i0",), budget=20)
    packed(items(5), window=2000, pin=("i0",), budget=20 + raised.value.over)


def test_pack_refuses_a_pin_that_names_nothing() -> None:
    """What must be in is not left out silently; a glob may match nothing."""
    with pytest.raises(RunError, match=r"names 'i77'.*did you mean 'i7'"):
        packed(items(9), pin=("i77",))
    assert packed(items(9), pin=("x*",)).items


def test_pack_says_by_how_much_the_bare_question_does_not_fit() -> None:
    """Nothing else can be left out."""
    query = "why " * 300
    with pytest.raises(PromptTooLongError, match=r"instructions and query take .* reserved for the answer") as raised:
        packed((), window=200, query=query)
    assert recount(packed((), window=200 + raised.value.over, query=query)) == 100 + raised.value.over


def test_pack_keeps_to_the_quota_of_a_source() -> None:
    """Only so much of what matches the glob, and the trace says so."""
    prompt = packed(items(40), window=2000, quota={"docs/0*": 100})
    count = counter().count
    from_quota = [p for p in prompt.items if p.item.source == "docs/0.md"]
    assert 0 < sum(count(p.text) for p in from_quota) <= 100
    assert any(entry.reason == "quota of docs/0* used up" for entry in prompt.trace)


def test_pack_leaves_the_oldest_turns_out_first_and_whole() -> None:
    """A turn is a user's message and what was answered."""
    history = tuple(
        Message(role, f"{role} {turn} " + "word " * 30) for turn in range(6) for role in ("user", "assistant")
    )
    prompt = packed(items(40), window=600, history=history)
    kept = [message.text.split()[1] for message in prompt.messages[1:-1]]
    assert kept == sorted(kept)
    assert kept[-2:] == ["5", "5"]
    assert prompt.history_kept == len(kept)
    assert prompt.history_kept % 2 == 0
    assert 0 < prompt.history_dropped == 12 - len(kept)


def test_pack_gives_the_history_what_no_item_needs() -> None:
    """Its share is a limit only while there are items for the rest."""
    history = tuple(Message("user", f"Question {n}: " + "word " * 30) for n in range(6))
    few = packed(items(1, sentences=1), window=420, history=history, history_share=0.1)
    many = packed(items(40), window=420, history=history, history_share=0.1)
    assert few.history_kept > many.history_kept


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("rank", ["i4", "i3", "i2", "i1", "i0"]),
        ("best_last", ["i0", "i1", "i2", "i3", "i4"]),
        ("both_ends", ["i4", "i2", "i0", "i1", "i3"]),
        ("source", ["i0", "i1", "i2", "i3", "i4"]),
    ],
)
def test_pack_orders_the_items_as_told(order: str, expected: list[str]) -> None:
    """Numbers follow the order in the prompt."""
    prompt = packed(items(5), window=20_000, scores=[1.0, 2.0, 3.0, 4.0, 5.0], order=order)
    assert [p.item.id for p in prompt.items] == expected
    assert [p.number for p in prompt.items] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("overflow", "decisions"),
    [
        ("cut", ["kept", "cut", "dropped", "dropped"]),
        ("skip", ["kept", "dropped", "kept", "dropped"]),
        ("stop", ["kept", "dropped", "dropped", "dropped"]),
    ],
)
def test_pack_by_item_deals_with_one_that_does_not_fit(overflow: str, decisions: list[str]) -> None:
    """It is cut at a sentence, skipped, or the last that is looked at."""
    found = items(4)
    small = Item(id="small", title="S", text="Short and sweet.")
    prompt = packed((found[0], found[1], small, found[2]), window=370, unit="item", overflow=overflow)
    assert [entry.decision for entry in prompt.trace] == decisions
    cut = [p.text for p in prompt.items if not p.whole]
    assert all(text.endswith(".") and found[1].text.startswith(text) for text in cut)


def test_pack_by_item_uses_nearly_all_of_the_room() -> None:
    """A cut item fills the rest to a sentence."""
    prompt = packed(items(100), window=4100, unit="item")
    assert (prompt.prompt_tokens or 0) >= 0.99 * 4000


def test_pack_leaves_items_out_that_the_template_does_not_use() -> None:
    """They would be sources that nobody saw."""
    prompt = packed(items(40), template=Ignoring())
    assert prompt.items == ()
    assert {entry.reason for entry in prompt.trace} == {"the template uses no items"}


def test_pack_holds_with_a_template_that_repeats_the_items() -> None:
    """What is sent is what is counted."""
    prompt = packed(items(40), template=Twice(), window=900)
    assert 600 < recount(prompt) <= 800
    assert recount(prompt) == prompt.prompt_tokens


def test_pack_works_without_a_ranker() -> None:
    """The passages' own words decide."""
    ranking = Ranking((*items(60), Item(id="q", title="", text="The quokka smiles.")))
    draft = Draft(template=Sources(), ranking=ranking, query="quokka", policy=PackingPolicy(budget=100))
    info = ModelInfo(id="m", provider="p", window=9000, encoding=ENCODING)
    prompt = pack(draft, info, reserved=100, counter=counter)
    assert "q" in {p.item.id for p in prompt.items}
    assert prompt.trace[0].scores == {}


def test_pack_keeps_figures_with_the_items() -> None:
    """What was prepared is what packing would have worked out, and the prompt is the same."""
    fresh, ready = items(40), items(40)
    policy, info = PackingPolicy(budget=300), ModelInfo(id="m", provider="p", window=9000, encoding=ENCODING)
    prepare(ready, policy, info, counter())
    before = [dict(item.features) for item in ready]
    assert packed(ready, window=9000, budget=300).messages == packed(fresh, window=9000, budget=300).messages
    assert [item.features for item in ready] == before


@pytest.mark.slow
def test_pack_counts_the_same_whether_counts_are_remembered_or_read_off_the_items() -> None:
    """Of many items the prompt is put together from counts, and every one of them is right."""
    many = (*items(30), *(Item(id=f"n{n}", title="None", text="Nothing.") for n in range(5000)))
    odd = Item(id="odd", title="Über", text="Ça va? Café 2.\n\nThe second paragraph. It's (mostly) “quoted”.\n- a list")
    for budget in (100, 300, 900):
        prompt = packed((odd, *many), window=20_000, budget=budget, query="town bridge paragraph list")
        assert prompt.prompt_tokens == recount(prompt)


def test_pack_traces_every_candidate_only_when_asked() -> None:
    """The trace agrees with what is in the prompt, entry by entry and as a slice."""
    prompt = packed(items(40))
    assert len(prompt.trace) == 40
    kept = {entry.item_id for entry in prompt.trace if entry.decision != "dropped"}
    assert kept == {p.item.id for p in prompt.items}
    assert prompt.trace[-1] == prompt.trace[0:40][-1]
    assert prompt.trace[39].reason == "ranked below what fits"
    assert prompt.trace[0].scores == {"falling": 1.0}
