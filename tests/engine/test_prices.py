"""From the prices of a model to the cost of each attempt, whoever knows the prices."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from attrs import evolve

from nexus_core import Chunk, Completion, ModelInfo, ModelPrices, RateLimitError, Usage
from nexus_core.testing.fakes import FakeConnector

USAGE = Usage(prompt_tokens=1000, completion_tokens=100)
WHOLE = Completion(text="Because.", finish_reason="stop", usage=USAGE)
INFO = ModelInfo(id="fake", provider="fake", window=4096)
TEXT = "name: x\nmodels: {{main: {{use: fake, retry: {{attempts: 2, first_wait: 0}}{more}}}}}\n"
TEXT += "steps: [{{generate: main}}]\n"
PRICED = TEXT.format(more=", prices: {input: 2, output: 10}")
PLAIN = TEXT.format(more="")


class PricedFake(FakeConnector):
    """A fake whose prices are looked up, as a test says."""

    find_prices: Any = None


def connector(*replies: Any, info: ModelInfo = INFO, find: Any = None) -> FakeConnector:
    """Return a connector that plays replies and, with `find`, looks its prices up."""
    made = PricedFake(replies=list(replies), model_info=info)
    made.find_prices = find
    return made


@pytest.mark.parametrize(
    ("text", "info", "expected"),
    [
        (PRICED, INFO, 0.003),
        (PLAIN, evolve(INFO, prices=ModelPrices(input=1, output=1)), 0.0011),
        (PRICED, evolve(INFO, prices=ModelPrices(input=1, output=1)), 0.003),
        (PLAIN, INFO, None),
    ],
    ids=["the pipeline", "the connector", "the pipeline over the connector", "nobody"],
)
async def test_cost_of_an_answer(text: str, info: ModelInfo, expected: float | None, load: Any, fakes: Any) -> None:
    """In the ledger, of the run for sinks, and in the figures of the model; unknown is no 0."""
    fakes.connectors = {"main": connector(WHOLE, info=info)}
    async with load(text + "sinks: [fake]\n") as pipeline:
        answer = await pipeline.run("Why?")
        figures = pipeline.models.usage()["main"]
    assert answer.attempts[0].cost == (expected and pytest.approx(expected))
    assert (figures.known_cost, figures.unpriced) == (answer.attempts[0].cost, int(expected is None))
    [finished] = [event for event in fakes.sink.events if event.type == "run_finished"]
    assert finished.cost == answer.attempts[0].cost


async def test_what_was_refused_has_an_unknown_cost(load: Any, fakes: Any) -> None:
    """The service counts no tokens for it; the attempt that answered has its own cost."""
    fakes.connectors = {"main": connector(RateLimitError("slow down"), WHOLE)}
    async with load(PRICED) as pipeline:
        answer = await pipeline.run("Why?")
    assert [row.cost for row in answer.attempts] == [None, pytest.approx(0.003)]


async def test_cost_of_estimated_tokens_is_an_estimate(load: Any, fakes: Any) -> None:
    """Where the service tells no usage, as `usage_source` says."""
    fakes.connectors = {"main": connector([Chunk("Because."), Chunk(finish_reason="stop")])}
    async with load(PRICED) as pipeline:
        async for event in pipeline.stream("Why?"):
            last = event
    [row] = last.answer.attempts
    assert row.usage_source == "estimated"
    assert row.cost == pytest.approx((row.prompt_tokens * 2 + row.completion_tokens * 10) / 1e6)


async def test_prices_are_looked_up_once_and_beside_the_first_request(load: Any, fakes: Any) -> None:
    """In a thread, since it may take as long as an import; never where the pipeline says them."""
    threads = []

    def find() -> ModelPrices:
        threads.append(threading.current_thread())
        return ModelPrices(input=2, output=10)

    fakes.connectors = {"main": connector(WHOLE, WHOLE, WHOLE, find=find)}
    async with load(PLAIN) as pipeline:
        assert threads == []  # nothing has been asked yet
        rows = [(await pipeline.run("Why?")).attempts[0] for _ in range(2)]
    assert [row.cost for row in rows] == pytest.approx([0.003, 0.003])
    async with load(PRICED) as pipeline:
        await pipeline.run("Why?")
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


@pytest.mark.parametrize("result", [OSError("no table"), "cheap"], ids=["raises", "no prices"])
async def test_a_look_up_that_fails_costs_no_answer(
    result: Any, load: Any, fakes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The cost is unknown, and the log says why, once."""

    def find() -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    fakes.connectors = {"main": connector(WHOLE, WHOLE, find=find)}
    async with load(PLAIN) as pipeline:
        costs = [(await pipeline.run("Why?")).attempts[0].cost for _ in range(2)]
    assert costs == [None, None]
    assert [record.message[:39] for record in caplog.records] == ["the prices of a model are unknown, find"]


@pytest.mark.parametrize(("text", "expected"), [(PLAIN, None), (PRICED, 0.003)], ids=["looked up", "the pipeline"])
async def test_usual_prices_do_not_hold_for_an_unusual_tier(
    text: str, expected: float | None, load: Any, fakes: Any
) -> None:
    """A service may charge half or twice for how it serves; a price that the pipeline states is meant for that."""
    odd = evolve(WHOLE, usage=evolve(USAGE, tier="flex"))
    fakes.connectors = {"main": connector(odd, find=lambda: ModelPrices(input=2, output=10))}
    async with load(text) as pipeline:
        answer = await pipeline.run("Why?")
    assert answer.attempts[0].cost == (expected and pytest.approx(expected))
