"""No passage is packed twice, whichever item it is from."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import permutations
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import Item, Message, ModelInfo, Prompt, Ranking
from nexus_core.engine.packing.packer import Draft, PackingPolicy, pack
from nexus_core.engine.packing.repetition import Repetition
from nexus_core.engine.packing.trace import left_out_for_likeness
from nexus_core.toolkit.tokens.counter import token_counter

CHOOSER = random.Random(3)
SYLLABLES = "ba ko ri tu se mi no la ve du pa fi go hu je ka lo".split()
WORDS = ["".join(CHOOSER.choices(SYLLABLES, k=3)) for _ in range(2000)]


def paragraph() -> str:
    """Return a paragraph like no other."""
    return " ".join(
        " ".join(CHOOSER.choices(WORDS, k=CHOOSER.randint(8, 14))).capitalize() + "."
        for _ in range(CHOOSER.randint(2, 5))
    )


PARAGRAPHS = [paragraph() for _ in range(12)]


class Plain:
    """The texts of the items and the query."""

    variables: frozenset[str] = frozenset({"query", "items"})

    def render(self, variables: Mapping[str, Any]) -> Sequence[Message]:
        """Return one message."""
        blocks = [f"{item['title']}\n{item['text']}" for item in variables["items"]]
        return (Message("user", "\n\n".join([*blocks, variables["query"]])),)


def packed(items: Sequence[Item], window: int, scores: Sequence[float] = (), **policy: Any) -> Prompt:
    """Return the prompt of some items, which are ranked as they stand."""
    ranking = Ranking(tuple(items)).scored("any", list(scores) or [1.0 / (n + 1) for n in range(len(items))])
    draft = Draft(template=Plain(), ranking=ranking, query=PARAGRAPHS[0][:30], policy=PackingPolicy(**policy))
    info = ModelInfo(id="m", provider="p", window=window, encoding="o200k_base")
    return pack(draft, info, reserved=20, counter=lambda: token_counter("o200k_base"))


def sentences_twice(prompt: Prompt) -> list[str]:
    """Return the sentences that the prompt has more than once."""
    text = " ".join(item.text for item in prompt.items)
    known = [sentence for paragraph in PARAGRAPHS for sentence in re.findall(r"[^.]+\.", paragraph)]
    return [sentence for sentence in known if text.count(sentence.strip()) > 1]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=8, unique=True), min_size=2, max_size=8),
    st.sampled_from(["text", "markdown"]),
    st.sampled_from([250, 600, 1500, 4500, 100_000]),
    st.booleans(),
)
def test_no_sentence_is_packed_twice(files: list[list[int]], kind: str, window: int, pin: bool) -> None:
    """However the paragraphs that files share are mixed, whether all would fit, and whether the first is pinned."""
    items = [
        Item(id=f"i{n}", title=f"T{n}", kind=kind, text="\n\n".join(PARAGRAPHS[place] for place in places))
        for n, places in enumerate(files)
    ]
    if pin and window < 1000:
        return
    prompt = packed(items, window, pin=("i0",) if pin else ())
    assert sentences_twice(prompt) == []


def short_paragraph() -> str:
    """Return a paragraph of a long sentence among short ones, which alone are no repetition."""
    lengths = [CHOOSER.randint(3, 5), CHOOSER.randint(9, 14), CHOOSER.randint(3, 5), CHOOSER.randint(3, 5)]
    return " ".join(" ".join(CHOOSER.choices(WORDS, k=length)).capitalize() + "." for length in lengths)


SHORT = [short_paragraph() for _ in range(12)]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=5, unique=True), min_size=2, max_size=8),
    st.sampled_from([250, 600, 1500, 4500]),
)
def test_an_item_is_packed_only_with_something_of_its_own(files: list[list[int]], window: int) -> None:
    """Also where all that is left of its passages are short sentences: those were said, too."""
    items = [
        Item(id=f"i{n}", title=f"T{n}", text="\n\n".join(SHORT[place] for place in places))
        for n, places in enumerate(files)
    ]
    said: set[str] = set()
    for packed_item in packed(items, window).items:
        sentences = {sentence.strip() for sentence in re.findall(r"[^.…]+\.", packed_item.text)}
        assert sentences - said, packed_item.text
        said |= sentences


@pytest.mark.parametrize("window", [900, 100_000], ids=["tight", "all fits"])
def test_two_files_with_the_same_paragraphs_are_packed_once(window: int) -> None:
    """Of the second only what it has of its own; the trace counts the rest."""
    shared = "\n\n".join(PARAGRAPHS[:5])
    first = Item(id="a", title="A", text=shared)
    second = Item(id="b", title="B", text=f"{PARAGRAPHS[5]}\n\n{shared}\n\n{PARAGRAPHS[6]}")
    third = Item(id="c", title="C", text=shared)
    prompt = packed([first, second, third], window)
    assert sentences_twice(prompt) == []
    assert [(entry.item_id, entry.decision, entry.alike > 0) for entry in prompt.trace] == [
        ("a", "kept", False),
        ("b", "cut", True),
        ("c", "dropped", True),
    ]
    assert PARAGRAPHS[5] in prompt.items[1].text
    assert left_out_for_likeness(prompt.trace)[1] == 2


@pytest.mark.parametrize("window", [250, 600, 100_000])
@pytest.mark.parametrize("page", ["Page {n}. {text}", "{text}\n\nPrinted on day {n}."])
def test_copies_that_differ_in_the_number_of_a_page_are_packed_once(page: str, window: int) -> None:
    """A number of its own keeps its own sentence, and not the short ones around it that stand already."""
    text = "The harbour is open from six. Ships pay a fee at the gate. Fishing boats pay nothing before noon."
    items = [Item(id=str(n), text=page.format(n=n, text=text)) for n in range(8)]
    prompt = packed([*items, Item(id="other", text=PARAGRAPHS[0])], window)
    assert "\n".join(item.text for item in prompt.items).count("Ships pay a fee") == 1
    assert prompt.items[-1].item.id == "other"


RULE = "Everybody has 28 days of leave a year, carried over until March by those who ask in time and with a reason."
RULES = {
    "bare": RULE,
    "summer": f"{RULE} Only in A: leave in summer is asked for by April.",
    "winter": f"{RULE} Only in B: leave in winter is asked for by October.",
    "dogs": f"Dogs are not allowed in the office. {RULE}",
}


@pytest.mark.parametrize("window", [200, 100_000], ids=["tight", "all fits"])
@pytest.mark.parametrize("order", list(permutations(RULES)), ids="-".join)
def test_a_near_duplicate_keeps_the_sentences_of_its_own(order: tuple[str, ...], window: int) -> None:
    """Whichever comes first, each has its own sentence in the prompt, what they share is there once, and is counted."""
    prompt = packed([Item(id=name, text=RULES[name]) for name in order], window)
    text = " ".join(item.text for item in prompt.items)
    assert [text.count(words) for words in (RULE, "in summer", "in winter", "Dogs are")] == [1, 1, 1, 1]
    assert ("bare" in [item.item.id for item in prompt.items]) == (order[0] == "bare")
    assert left_out_for_likeness(prompt.trace) == (3, 3)


@pytest.mark.parametrize("copy", ["leaf in summer is asked for by April", "leave in summer is wanted by April"])
def test_a_near_duplicate_with_a_word_exchanged_is_dropped(copy: str) -> None:
    """A sentence is new in several words, not by a typo."""
    changed = RULES["summer"].replace("leave in summer is asked for by April", copy)
    prompt = packed([Item(id="a", text=RULES["summer"]), Item(id="b", text=changed)], 100_000)
    assert [entry.decision for entry in prompt.trace] == ["kept", "dropped"]


def test_nothing_is_left_out_where_it_is_wanted() -> None:
    """`near_duplicates: keep` packs all of it."""
    items = [Item(id=str(n), text=PARAGRAPHS[0]) for n in range(3)]
    assert len(packed(items, 100_000, near_duplicates="keep").items) == 3
    assert len(packed(items, 100_000).items) == 1


def test_what_a_pinned_item_says_is_not_packed_again() -> None:
    """It is in the prompt before all others."""
    items = [Item(id=str(n), title=f"T{n}", text=PARAGRAPHS[n % 2]) for n in range(4)]
    prompt = packed(items, 100_000, pin=("3",))
    assert sorted(item.item.id for item in prompt.items) == ["0", "3"]


def test_texts_that_differ_in_a_number_are_all_packed() -> None:
    """The rows of a table, two versions of a rule."""
    items = [
        Item(id=str(n), text=f"Room {n} on the second floor has a beamer and takes twenty people.") for n in range(9)
    ]
    assert len(packed(items, 100_000).items) == 9


def test_a_program_is_packed_without_holes() -> None:
    """Its lines repeat one another by nature; only what another file has is left out."""
    tests = "\n\n".join(
        f"def test_{word}():\n    value = load(path, mode)\n    assert value is not None" for word in WORDS[:9]
    )
    code = Item(id="a.py", text=tests, kind="code")
    assert packed([code], 100_000).items[0].text == tests
    prompt = packed([code, Item(id="b.py", text=tests, kind="code")], 100_000)
    assert [item.item.id for item in prompt.items] == ["a.py"]


def test_stems_of_what_was_taken_are_worked_out_once() -> None:
    """However many near duplicates are held against them: a file of one paragraph over and over is packed at once."""
    said, original, copy = Repetition(), Item(id="a", text=""), Item(id="b", text="")
    for text in PARAGRAPHS:
        said.add(original, text)
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_name == "codes"

    sys.setprofile(count)
    try:
        found = [said.originals(copy, [text], original) for text in PARAGRAPHS]
    finally:
        sys.setprofile(None)
    assert found == [[original]] * len(PARAGRAPHS)
    assert calls <= 3 * len(PARAGRAPHS)
