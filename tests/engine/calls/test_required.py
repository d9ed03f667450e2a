"""What a model must be given: the engine hands on what it keeps free for the answer, and says what is missing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import (
    CallOptions,
    Item,
    Message,
    ModelInfo,
    NotConfiguredError,
    Prompt,
    PromptTooLongError,
    Ranking,
)
from nexus_core.engine.calls.call import Call, EmbedOrRerankRequest
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry
from nexus_core.engine.packing.packer import Draft
from nexus_core.engine.steps import BareQuery
from nexus_core.testing.fakes import FakeConnector, FakeTemplate
from nexus_core.toolkit.tokens.counter import token_counter


def asked_of(connector: FakeConnector, draft: Draft, **call: Any) -> tuple[Prompt, CallOptions]:
    """Return what a connector is sent for a draft."""
    model = Model(name="m", connector=connector, info=connector.model_info, options=call.pop("own", CallOptions()))

    async def ask() -> None:
        attempts = Caller(ModelRegistry([model]), ComponentLifecycle())
        await attempts.complete(
            Call(id="c", run_id="r", draft=draft, chain=(model,), **call), lambda event: None
        )  # fmt: skip

    asyncio.run(ask())
    return connector.prompts[-1], connector.options[-1]


def demanding(*names: str, window: int = 4096, max_output: int | None = None) -> FakeConnector:
    """Return a connector whose model requires these options."""
    info = ModelInfo(id="m", provider="fake", window=window, max_output=max_output, requires=frozenset(names))
    return FakeConnector(model_info=info)


def bare(query: str = "Why?") -> Draft:
    return Draft(template=BareQuery(), ranking=Ranking(()), query=query)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    window=st.integers(64, 6000),
    max_output=st.none() | st.integers(8, 4000),
    wanted=st.none() | st.integers(1, 500),
    items=st.integers(0, 40),
    turns=st.integers(0, 6),
)
def test_prompt_and_max_tokens_never_exceed_the_window(
    window: int, max_output: int | None, wanted: int | None, items: int, turns: int
) -> None:
    """Whatever is packed: the model is told to say no more than there is room for."""
    found = tuple(Item(id=str(n), text=f"The wheel number {n} turns with the tide. " * 5) for n in range(items))
    history = tuple(Message(role, "Of wheels and tides. " * 3) for _ in range(turns) for role in ("user", "assistant"))
    draft = Draft(template=FakeTemplate(), ranking=Ranking(found), query="Which wheel?", history=history)
    connector = demanding("max_tokens", window=window, max_output=max_output)
    try:
        prompt, options = asked_of(connector, draft, options=CallOptions(max_tokens=wanted))
    except PromptTooLongError:
        return
    info, count = connector.model_info, token_counter(connector.model_info.encoding).count
    tokens = info.tokens_per_prompt + sum(
        count(message.text) + count(message.role) + info.tokens_per_message for message in prompt.messages
    )
    assert options.max_tokens is not None
    assert tokens + options.max_tokens <= window
    assert options.max_tokens == prompt.reserved
    assert wanted is not None or options.max_tokens <= (max_output or window)


@given(st.integers(1, 1500))
def test_what_a_component_sends_leaves_room_too(words: int) -> None:
    """A prompt that was made elsewhere is not packed: it is counted."""
    prompt = Prompt(messages=(Message("user", "word " * words),))
    connector = demanding("max_tokens", window=2000)
    sent, options = asked_of(connector, bare(), asked=EmbedOrRerankRequest(purpose="prompt", prompt=prompt))
    assert sent.messages == prompt.messages
    room = 2000 - EmbedOrRerankRequest(purpose="prompt", prompt=prompt).tokens(connector.model_info)
    assert options.max_tokens == max(1, min(500, room))


def test_nothing_is_handed_to_a_model_that_requires_nothing() -> None:
    """What is not set is not sent."""
    assert asked_of(demanding(), bare())[1] == CallOptions()


@pytest.mark.parametrize("own", [CallOptions(top_p=0.5), CallOptions(extra={"seed": 7})], ids=["option", "extra"])
def test_another_requirement_is_asked_of_the_pipeline(own: CallOptions) -> None:
    """It is named before anything is sent; set on the model it goes out."""
    name = "seed" if own.extra else "top_p"
    with pytest.raises(NotConfiguredError, match=f"must be given {name}: set it under its `options`"):
        asked_of(demanding(name), bare())
    assert asked_of(demanding(name), bare(), own=own)[1] == own
