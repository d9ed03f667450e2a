"""Prompts without items take a short way through packing and rendering: it must lead where the long one does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import Message, ModelInfo
from nexus_core.contract.errors import PromptTooLongError
from nexus_core.contract.ranking import Ranking
from nexus_core.engine.packing.draft import Draft, PackingPolicy
from nexus_core.engine.packing.packer import pack
from nexus_core.toolkit.templates.sandbox import Budget, BudgetContext
from nexus_core.toolkit.templates.template import TextTemplate, _filled
from nexus_core.toolkit.tokens.counter import token_counter

TEMPLATE = TextTemplate.parse("[system]\nAnswer shortly.\n[history]\n[user]\nAsked: {{ query }}\n", "short")
INFO = ModelInfo(id="m", provider="p", window=400, encoding="o200k_base", tokens_per_message=3, tokens_per_prompt=3)


@pytest.mark.slow
@settings(deadline=None)  # the first one loads the tokenizer
@given(
    query=st.text(min_size=1, max_size=300),
    history=st.lists(st.text(max_size=120), max_size=4),
    reserved=st.integers(0, 300),
    budget=st.none() | st.integers(0, 400),
)
def test_a_prompt_without_items_is_what_counting_makes_of_it(
    query: str, history: list[str], reserved: int, budget: int | None
) -> None:
    """The same messages where the bytes decide, and never more tokens than the window has left."""
    past = tuple(Message("user", text) for text in history)
    policy = PackingPolicy(budget=budget)
    draft = Draft(template=TEMPLATE, ranking=Ranking(()), query=query, history=past, policy=policy)
    counter = token_counter("o200k_base")
    try:
        prompt = pack(draft, INFO, reserved=reserved, counter=lambda: counter)
        exact = pack(draft, INFO, reserved=reserved, counter=lambda: counter, exact=True)
    except PromptTooLongError:
        return
    assert (prompt.messages, prompt.history_kept, prompt.history_dropped) == (
        exact.messages,
        exact.history_kept,
        exact.history_dropped,
    )
    assert (exact.prompt_tokens or 0) <= prompt.tokens_at_most
    assert (exact.prompt_tokens or 0) + reserved <= INFO.window
    assert len(prompt.trace) == 0


class Measured(str):
    """A text that knows how often its bytes were counted."""

    counted = 0

    def isascii(self) -> bool:
        """Note that somebody wants to know its bytes."""
        self.counted += 1
        return super().isascii()


class Fixed:
    """A template of one message, the same text always."""

    variables: frozenset[str] = frozenset()

    def __init__(self, text: str) -> None:
        self.text = text

    def render(self, variables: object) -> tuple[Message, ...]:
        """Return it."""
        return (Message("user", self.text),)


def test_a_short_prompt_is_bounded_once_and_never_counted() -> None:
    """Its bytes fit: a counter is not even loaded, and the bytes are looked at a single time."""

    def counter() -> None:
        raise AssertionError("nobody needs to count")

    text = Measured("Why?")
    draft = Draft(template=Fixed(text), ranking=Ranking(()), query="Why?")
    prompt = pack(draft, INFO, reserved=0, counter=counter)  # type: ignore[arg-type]
    assert (prompt.prompt_tokens, prompt.tokens_at_most) == (None, 3 + 3 + len("user") + len(text))
    assert text.counted == 1


SOURCES = ["{{ a }}", "x {{ a }} y\n{{ b }}\n", "{{ a }}{{ b }}{{ a }}", "{# no #}{{ b }} \n\n", "{{ a }}\n\n"]
VALUES = st.text(max_size=30) | st.integers() | st.none() | st.booleans()


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@settings(deadline=None)
@given(a=VALUES, b=VALUES)
def test_texts_and_names_are_joined_as_the_sandbox_would(source: str, a: object, b: object) -> None:
    """The same text for the same work; what is no text is left to the sandbox."""
    section = TextTemplate.parse(source, "t").sections[0]
    assert section.template is not None
    ours, theirs = Budget(), Budget()
    variables = {"a": a, "b": b}
    joined = _filled(section.joined, variables, ours)
    rendered = "".join(section.template.root_render_func(BudgetContext(variables, theirs)))
    if joined is not None:
        assert (joined, ours.left) == (rendered, theirs.left)
    else:
        assert not all(isinstance(value, str) for value in variables.values())


@pytest.mark.parametrize("source", ["{{ a|upper }}", "{% if a %}{{ a }}{% endif %}", "{{ a.b }}", "{{ a or b }}"])
def test_what_does_more_than_join_is_left_to_the_sandbox(source: str) -> None:
    """Filters, conditions, paths."""
    assert TextTemplate.parse(source, "t").sections[0].joined == ()


def test_names_that_would_do_too_much_work_are_left_to_the_sandbox() -> None:
    """It says so in its own words, and where."""
    budget = Budget()
    budget.left = 2
    assert _filled(((True, "a"),), {"a": "abc"}, budget) is None
    assert budget.left == 2
