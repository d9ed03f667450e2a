"""Models with a `cache`: what is asked again is answered from the store, and looks like any other answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ConnectorError,
    Event,
    Message,
    ModelInfo,
    PromptPacked,
    RateLimitError,
    RunFinished,
    ServerError,
    Store,
    StoreBusyError,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageError,
)
from nexus_core.engine.interceptors import Interceptor
from nexus_core.testing.fakes import FakeConnector

if TYPE_CHECKING:
    from tests.engine.conftest import Fakes, Load

INFO = ModelInfo(id="fake-1", provider="fake", window=4096, capabilities=frozenset({"streaming", "generate"}))
PIPELINE = """
name: cached
models:
  m: {use: fake, retry: false, MODEL}
  s: {use: fake, to: spare}
steps:
  - prompt: {template: {text: "[system]\\nTalk.\\n[history]\\n[user]\\n{{ query }}"}}
  - generate: {model: m, options: {temperature: 0}}
"""
CALLS = (ToolCallDelta(index=0, id="call_1", name="look", arguments='{"at": 1}'),)
END = Chunk(finish_reason="stop", usage=Usage(prompt_tokens=7, completion_tokens=3), model="fake-1-2026")


def text(model: str = "cache: true") -> str:
    return PIPELINE.replace("MODEL", model)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def main(fakes: Fakes) -> FakeConnector:
    """The model with the cache; each of its answers is another one."""
    main = FakeConnector(replies=[f"Answer {n}." for n in range(9)], model_info=INFO)
    fakes.connectors = {"main": main, "spare": FakeConnector(replies=["Spare."], model_info=INFO)}
    return main


async def streamed(pipeline: Any, query: str, **asked: Any) -> list[Event]:
    return [event async for event in pipeline.stream(query, **asked)]


async def test_the_same_request_is_asked_once(load: Load, store: Store, main: FakeConnector) -> None:
    """Also by a pipeline that is loaded later; another question is another request."""
    for _ in range(2):
        async with load(text(), answers=store.answers) as pipeline:
            answers = [(await pipeline.run(query)).text for query in ("Why?", "Why?", "When?")]
            assert answers == ["Answer 0.", "Answer 0.", "Answer 1."]
        await store.answers.settle()
    assert len(main.prompts) == 2


async def test_a_model_without_a_cache_is_asked_each_time(load: Load, store: Store, main: FakeConnector) -> None:
    """Nothing is kept by default, nor with `cache: false`."""
    for model in ("window: 4096", "cache: false"):
        async with load(text(model), answers=store.answers) as pipeline:
            await pipeline.run("Why?")
            await pipeline.run("Why?")
    assert (len(main.prompts), await store.answers.clear()) == (4, 0)


async def test_a_hit_is_marked_and_costs_nothing(load: Load, store: Store, main: FakeConnector) -> None:
    """One row that nothing was sent for; the figures of the model do not know of it."""
    async with load(text(), answers=store.answers) as pipeline:
        await pipeline.run("Why?")
        answer = await pipeline.run("Why?")
        (row,) = answer.attempts
        assert (row.outcome, row.from_cache, row.request_sent) == ("ok", True, False)
        assert (row.prompt_tokens, row.completion_tokens, row.cost, row.answered_by) == (0, 0, 0.0, "fake-1")
        assert (answer.model, answer.usage.total_tokens, answer.finish_reason) == ("m", 0, "stop")
        figures = pipeline.models.usage()["m"]
        assert (figures.requests, figures.prompt_tokens) == (1, 7)


@pytest.mark.parametrize("warm", ["stream", "whole"])
async def test_a_stream_of_the_cache_has_the_events_of_a_real_one(
    load: Load, store: Store, fakes: Fakes, warm: str
) -> None:
    """Reasoning, text and tool calls, and the whole answer at the end; whichever way it was first asked for."""
    pieces = [Chunk(reasoning="Hm."), Chunk("Look"), Chunk(" there."), Chunk(tool_calls=CALLS), END]
    called = tuple(ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in CALLS)
    whole = Completion(
        text="Look there.", finish_reason="stop", reasoning="Hm.", tool_calls=called, model="fake-1-2026"
    )
    fakes.connectors = {
        "main": FakeConnector(replies=[pieces if warm == "stream" else whole, pieces], model_info=INFO),
        "spare": FakeConnector(model_info=INFO),
    }
    async with load(text(), answers=store.answers) as pipeline:
        await (streamed(pipeline, "Why?") if warm == "stream" else pipeline.run("Why?"))
        reused, real = await streamed(pipeline, "Why?"), await streamed(pipeline, "Why?", fresh=True)
    assert told(reused) == told(real)
    assert [row.from_cache for row in finished(reused).attempts] == [True]
    assert [row.from_cache for row in finished(real).attempts] == [False]


def finished(events: Sequence[Event]) -> Any:
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert last.answer is not None
    return last.answer


def told(events: Sequence[Event]) -> tuple[Any, ...]:
    """Return the types of events, what their deltas say, and the answer at the end."""
    types = [event.type for event in events]
    kinds = [kind for place, kind in enumerate(types) if kind != "delta" or types[place - 1] != "delta"]
    deltas = [event for event in events if event.type == "delta"]
    said = [[getattr(delta, name) for delta in deltas] for name in ("text", "reasoning", "tool_calls")]
    calls = [call for part in said[2] for call in part]
    answer = finished(events)
    ends = (answer.text, answer.reasoning, answer.tool_calls, answer.finish_reason, answer.model, answer.model_id)
    return kinds, "".join(said[0]), "".join(said[1]), calls, ends, answer.prompt.messages


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param([Chunk("Cut"), Chunk(finish_reason="length")], id="length"),
        pytest.param([Chunk("Bad"), Chunk(finish_reason="content_filter")], id="filtered"),
        pytest.param([Chunk("Odd"), Chunk(finish_reason="stop", native_finish_reason="tired")], id="unknown"),
        pytest.param([Chunk(" "), Chunk(finish_reason="stop")], id="empty"),
        pytest.param(("Half an ans", ServerError("broke")), id="broken"),
    ],
)
async def test_only_whole_good_answers_are_kept(load: Load, store: Store, fakes: Fakes, reply: Any) -> None:
    """What was cut, filtered, ended for an unknown reason, or is empty is asked for again."""
    main = FakeConnector(replies=[reply, "Good."], model_info=INFO)
    fakes.connectors = {"main": main, "spare": FakeConnector(model_info=INFO)}
    async with load(text("cache: true, allow_empty: true"), answers=store.answers) as pipeline:
        await streamed(pipeline, "Why?")
        assert (await pipeline.run("Why?")).text == "Good."
    assert len(main.prompts) == 2


async def test_owners_share_nothing(load: Load, store: Store, main: FakeConnector) -> None:
    """Each owner's answers are given to that owner alone."""
    async with load(text(), answers=store.answers) as pipeline:
        owners = ["", "ann", "bob", "ann", ""]
        answers = [(await pipeline.run("Why?", owner=owner)).text for owner in owners]
    assert answers == ["Answer 0.", "Answer 1.", "Answer 2.", "Answer 1.", "Answer 0."]


async def test_a_caller_may_refuse_what_was_kept(load: Load, store: Store, main: FakeConnector) -> None:
    """The model is asked, and its new answer is the one that is kept."""
    async with load(text(), answers=store.answers) as pipeline:
        answers = [(await pipeline.run("Why?", fresh=fresh)).text for fresh in (False, True, False)]
    assert answers == ["Answer 0.", "Answer 1.", "Answer 1."]


@pytest.mark.parametrize(
    "asked",
    [
        {"options": CallOptions(temperature=0.5)},
        {"options": CallOptions(max_tokens=9)},
        {"options": CallOptions(stop=("x",))},
        {"options": CallOptions(extra={"seed": 1})},
        {"options": CallOptions(extra={"response_format": {"type": "json_object"}})},
        {"history": [Message("user", "Hello."), Message("assistant", "Hi.")]},
    ],
    ids=str,
)
async def test_another_request_is_another_answer(
    load: Load, store: Store, main: FakeConnector, asked: dict[str, Any]
) -> None:
    """Every call option and every message counts; the same again is the same."""
    async with load(text(), answers=store.answers) as pipeline:
        answers = [(await pipeline.run("Why?", **each)).text for each in ({}, asked, asked, {})]
    assert answers == ["Answer 0.", "Answer 1.", "Answer 1.", "Answer 0."]


async def test_an_option_that_is_no_json_keeps_nothing(
    load: Load, store: Store, main: FakeConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody could tell whether it is the same; it is said once."""
    options = CallOptions(extra={"seed": object()})
    async with load(text(), answers=store.answers) as pipeline:
        answers = [(await pipeline.run("Why?", options=options)).text for _ in range(2)]
    assert answers == ["Answer 0.", "Answer 1."]
    assert [record.getMessage() for record in caplog.records] == [
        "answers of model 'm' are not kept: TypeError: a object is no JSON"
    ]


async def test_limits_and_breakers_are_not_touched(load: Load, store: Store, fakes: Fakes) -> None:
    """Neither the minute's only request nor an open breaker is in the way of what was kept."""
    main = FakeConnector(replies=["Kept.", ServerError("down")], model_info=INFO)
    fakes.connectors = {"main": main, "spare": FakeConnector(replies=["Spare."], model_info=INFO)}
    policies = "cache: true, breaker: {failures: 1}, limits: {requests_per_minute: 12, queue: 0}"
    async with load(text(policies), answers=store.answers) as pipeline:
        await pipeline.run("Why?")
        with pytest.raises(ConnectorError):
            await pipeline.run("When?")
        assert pipeline.targets()["m"] == "open"
        assert [(await pipeline.run("Why?")).text for _ in range(5)] == ["Kept."] * 5
        assert finished(await streamed(pipeline, "Why?")).text == "Kept."
        assert pipeline.targets()["m"] == "open"
    assert len(main.prompts) == 2


async def test_a_fallback_has_its_own_cache(load: Load, store: Store, fakes: Fakes) -> None:
    """The first model fails each time; what the second one has answered is not asked for again."""
    main = FakeConnector(replies=[RateLimitError("slow down")], model_info=INFO)
    fakes.connectors = {"main": main, "spare": FakeConnector(replies=["One.", "Two."], model_info=INFO)}
    file = text("fallback: s, breaker: false").replace("to: spare}", "to: spare, cache: true}")
    async with load(file, answers=store.answers) as pipeline:
        answers = [await pipeline.run("Why?") for _ in range(2)]
    assert [answer.text for answer in answers] == ["One.", "One."]
    assert [(row.model, row.from_cache) for row in answers[1].attempts] == [("m", False), ("s", True)]


async def test_a_rewritten_question_is_kept_too(load: Load, store: Store, main: FakeConnector) -> None:
    """Whatever is asked of the model, the rewriting of a question included."""
    history = [Message("user", "Who?"), Message("assistant", "Ann.")]
    async with load(f"{text()}rewrite: true\n", answers=store.answers) as pipeline:
        answers = [await pipeline.run("And when?", history=history) for _ in range(2)]
    assert [(row.purpose, row.from_cache) for row in answers[1].attempts] == [("rewrite", True), ("answer", True)]
    assert len(main.prompts) == 2


async def test_without_a_place_for_answers_models_are_asked(
    load: Load, main: FakeConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says so, once."""
    async with load(text()) as pipeline:
        assert [(await pipeline.run("Why?")).text for _ in range(2)] == ["Answer 0.", "Answer 1."]
    (record,) = caplog.records
    assert "the `cache` of model 'm' has no effect" in record.getMessage()


async def test_who_stands_between_sees_each_request(
    load: Load, main: FakeConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """With an interceptor and no place for answers there is no cache, and nothing to warn of."""
    async with load(text(), interceptor=Interceptor()) as pipeline:
        assert [(await pipeline.run("Why?")).text for _ in range(2)] == ["Answer 0.", "Answer 1."]
    assert caplog.records == []


class Failing:
    """A cache that cannot be used."""

    def __init__(self) -> None:
        self.asked = 0

    async def get(self, key: str, **_: Any) -> Completion | None:
        self.asked += 1
        raise StoreBusyError("somebody else has it")

    async def put(self, key: str, completion: Completion, **_: Any) -> None:
        raise UsageError("no")


async def test_a_cache_that_fails_costs_no_run(
    load: Load, main: FakeConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, then the model is asked; for a while nothing is looked up."""
    broken = Failing()
    async with load(text(), answers=broken) as pipeline:
        assert [(await pipeline.run("Why?")).text for _ in range(3)] == ["Answer 0.", "Answer 1.", "Answer 2."]
    assert (len(caplog.records), caplog.records[0].levelno, broken.asked) == (1, logging.WARNING, 1)
    assert "somebody else has it" in caplog.text


async def test_a_reader_who_leaves_early_leaves_one_row_without_tokens(
    load: Load, store: Store, main: FakeConnector
) -> None:
    """As of any stream; nothing was used for it."""
    rows: list[Any] = []
    async with load(text(), answers=store.answers) as pipeline:
        await pipeline.run("Why?")
        events: Any = pipeline.stream("Why?", on_event=rows.append)
        async for event in events:
            if event.type == "delta":
                break
        await events.aclose()
    (row,) = [row for row in rows if row.type == "attempt_finished"]
    assert (row.outcome, row.from_cache, row.request_sent, row.prompt_tokens) == ("cancelled", True, False, 0)


async def test_a_miss_packs_once(load: Load, store: Store, main: FakeConnector) -> None:
    """What the key is made of is what is sent."""
    async with load(text(), answers=store.answers) as pipeline:
        events = await streamed(pipeline, "Why?")
    assert len([event for event in events if isinstance(event, PromptPacked)]) == 1
