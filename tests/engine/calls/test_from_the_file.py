"""What a pipeline file says about attempts is what is done."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from nexus_core import Completion, ModelInfo
from nexus_core.config.policies import BreakerPolicy, RateLimitPolicy, RetryPolicy
from nexus_core.contract.errors import EmptyAnswerError, NexusError, OverloadedError, ServerError
from nexus_core.testing.fakes import FakeConnector

INFO = ModelInfo(id="fake", provider="fake", window=4096)


def failing() -> FakeConnector:
    """Return a connector that always fails."""
    return FakeConnector(replies=[ServerError("no")], model_info=INFO)


def text(model: str, top: str = "") -> str:
    return (
        f"name: x\nmodels:\n  m: {{use: fake, {model}}}\n  s: {{use: fake, to: spare}}\n{top}\nsteps:\n- generate: m\n"
    )


@pytest.mark.parametrize(
    ("model", "top", "requests", "spares"),
    [
        ("retry: {attempts: 4, first_wait: 0}", "", 4, 0),
        ("retry: false", "", 1, 0),
        ("retry: {attempts: 4, first_wait: 0}", "calls: {attempts: 2}", 2, 0),
        ("retry: {attempts: 2, first_wait: 0}, fallback: s", "", 2, 2),
        ("retry: {attempts: 2, first_wait: 0}, fallback: s", "calls: {attempts: 3}", 2, 1),
        ("retry: {attempts: 2, first_wait: 0}, fallback: s", "calls: {targets: 1}", 2, 0),
    ],
    ids=["more", "none", "capped", "fallback", "fallback capped", "one target"],
)
async def test_attempts_are_as_many_as_the_file_allows(
    model: str, top: str, requests: int, spares: int, load: Any, fakes: Any
) -> None:
    """Retries of the model, and the caps of the call over them (fault 1)."""
    fakes.connectors = {"main": failing(), "spare": failing()}
    file = text(model, top).replace("to: spare}", "to: spare, retry: {attempts: 2, first_wait: 0}}")
    async with load(file) as pipeline:
        with pytest.raises(NexusError):
            await pipeline.run("Why?")
    assert (len(fakes.connectors["main"].prompts), len(fakes.connectors["spare"].prompts)) == (requests, spares)


@pytest.mark.parametrize(("said", "sent"), [("{failures: 2}", 2), ("false", 6)], ids=["two", "off"])
async def test_a_breaker_is_as_the_file_says(said: str, sent: int, load: Any, fakes: Any) -> None:
    """After two failures nothing is sent; without a breaker everything is."""
    fakes.connectors = {"main": failing(), "spare": failing()}
    async with load(text(f"retry: false, breaker: {said}")) as pipeline:
        for _ in range(6):
            with pytest.raises((ServerError, OverloadedError)):
                await pipeline.run("Why?")
    assert len(fakes.connectors["main"].prompts) == sent


async def test_limits_are_as_the_file_says(load: Any, fakes: Any) -> None:
    """The second request of a minute goes to the fallback."""
    fakes.connectors = {
        "main": FakeConnector(replies=["main"] * 3, model_info=INFO),
        "spare": FakeConnector(replies=["spare"] * 3, model_info=INFO),
    }
    async with load(text("limits: {requests_per_minute: 1}, fallback: s")) as pipeline:
        assert [(await pipeline.run("Why?")).text for _ in range(3)] == ["main", "spare", "spare"]


def test_what_the_file_leaves_out_is_the_default(load: Any, fakes: Any) -> None:
    """One default, in one place."""
    fakes.connectors = {"main": failing(), "spare": failing()}
    model, spare = load(text("limits: {concurrency: 2}")).models.list()
    assert (model.retry, model.breaker, model.limits) == (
        RetryPolicy(),
        BreakerPolicy(),
        RateLimitPolicy(concurrency=2),
    )
    assert (spare.retry, spare.breaker) == (RetryPolicy(), BreakerPolicy())


@pytest.mark.parametrize(("said", "requests"), [("", 2), ("allow_empty: true", 1)], ids=["default", "allowed"])
async def test_an_empty_answer_is_what_the_file_says(said: str, requests: int, load: Any, fakes: Any) -> None:
    """An error that is retried once, or an answer."""
    empty = FakeConnector(replies=[Completion(text=" ", finish_reason="stop")], model_info=INFO)
    fakes.connectors = {"main": empty, "spare": failing()}
    async with load(text(said)) as pipeline:
        with nullcontext() if said else pytest.raises(EmptyAnswerError):
            assert (await pipeline.run("Why?")).text == " "
    assert len(empty.prompts) == requests


async def test_a_query_stays_as_it_is_where_its_rewriting_is_empty(load: Any, fakes: Any) -> None:
    """The answer is given for the question as it was asked, and nothing is asked twice."""
    main = FakeConnector(replies=[Completion(text="", finish_reason="stop"), "Because."], model_info=INFO)
    fakes.connectors = {"main": main, "spare": failing()}
    steps = "- generate: m\n  into: query\n- generate: m\n"
    async with load(text("retry: false").replace("- generate: m\n", steps)) as pipeline:
        answer = await pipeline.run("Why?")
    assert (answer.text, answer.prompt.messages[-1].content) == ("Because.", "Why?")
