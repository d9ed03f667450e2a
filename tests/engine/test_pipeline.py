"""A whole run, through the real loader, with fakes at the ends."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core import (
    AttemptFinished,
    Chunk,
    ConfigError,
    Delta,
    Event,
    Item,
    Message,
    PromptPacked,
    RankerError,
    RunFailed,
    RunFinished,
    RunStarted,
    ServerError,
    StepFinished,
    StepTimeoutError,
    UsageError,
)
from nexus_core.testing.fakes import FakeConnector

if TYPE_CHECKING:
    from tests.engine.conftest import Fakes, Load

PLAIN = """
name: plain
models:
  main: {use: fake, fallback: spare}
  spare: {use: fake, to: spare}
steps:
  - gather: fake
  - rank: fake.backwards
  - prompt: {template: {text: "{% for item in items %}[{{ item.number }}] {{ item.text }}\\n{% endfor %}{{ query }}"}}
  - generate: main
sinks: [fake]
"""


@pytest.fixture(autouse=True)
def two_models(fakes: Fakes) -> None:
    """A main model and a spare one."""
    fakes.connectors = {"main": FakeConnector(replies=("An answer.",)), "spare": FakeConnector(replies=("Spare.",))}


def kinds(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def test_run_returns_the_answer_with_its_prompt(fakes: Fakes, load: Load) -> None:
    """The answer knows what it was made from."""
    async with load(PLAIN) as pipeline:
        answer = await pipeline.run("Why?")
    assert (answer.text, answer.model, answer.usage.total_tokens) == ("An answer.", "main", 10)
    assert [packed.item.id for packed in answer.prompt.items] == ["i2", "i1", "i0"]
    assert fakes.connectors["main"].prompts[0].messages[-1].text.endswith("Why?")


async def test_sinks_get_every_event_once_and_no_content(fakes: Fakes, load: Load) -> None:
    """Queries and answers stay out of events unless they are asked for."""
    async with load(PLAIN) as pipeline:
        await pipeline.run("Why?")
    events = fakes.sink.events
    assert kinds(events) == [
        "run_started", "step_finished", "step_finished", "step_finished",
        "prompt_packed", "attempt_finished", "step_finished", "run_finished",
    ]  # fmt: skip
    assert len({event.run_id for event in events}) == 1
    assert "Why?" not in repr(events)
    assert "An answer." not in repr(events)


async def test_content_in_events_can_be_switched_on(fakes: Fakes, load: Load) -> None:
    """`content: true` is the one switch."""
    async with load(PLAIN + "content: true\n") as pipeline:
        await pipeline.run("Why?")
    first, last = fakes.sink.events[0], fakes.sink.events[-1]
    assert isinstance(first, RunStarted)
    assert isinstance(last, RunFinished)
    assert (first.content, last.content) == ("Why?", "An answer.")


async def test_stream_yields_deltas_between_events_and_ends_with_the_answer(load: Load) -> None:
    """The text of the deltas is the text of the answer."""
    async with load(PLAIN) as pipeline:
        events = [event async for event in pipeline.stream("Why?")]
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert last.answer is not None
    assert "".join(event.text for event in events if isinstance(event, Delta)) == last.answer.text == "An answer."
    assert isinstance(events[0], RunStarted)


async def test_the_reader_of_a_stream_alone_gets_the_prompt(fakes: Fakes, load: Load) -> None:
    """As it was packed, before the answer; sinks get its figures."""
    async with load(PLAIN) as pipeline:
        events = [event async for event in pipeline.stream("Why?")]
    at = next(place for place, event in enumerate(events) if isinstance(event, PromptPacked))
    packed = events[at]
    assert isinstance(packed, PromptPacked)
    assert packed.prompt is not None
    assert "Why?" in str(packed.prompt.messages[-1].content)
    assert not any(isinstance(event, Delta) for event in events[:at])
    (sunk,) = [event for event in fakes.sink.events if isinstance(event, PromptPacked)]
    assert (sunk.prompt, sunk.kept) == (None, packed.kept)


async def test_a_stream_that_breaks_off_ends_with_run_failed_and_the_partial_text(fakes: Fakes, load: Load) -> None:
    """A broken answer is never taken for a whole one."""
    fakes.connectors["main"].replies = (("Half an", ServerError("broken")),)
    async with load(PLAIN) as pipeline:
        events = [event async for event in pipeline.stream("Why?")]
    last = events[-1]
    assert isinstance(last, RunFailed)
    assert (last.kind, last.partial) == ("server_error", "Half an")
    assert isinstance(last.error, ServerError)
    assert not any(isinstance(event, RunFinished) for event in events)
    sunk = fakes.sink.events[-1]
    assert isinstance(sunk, RunFailed)
    assert (sunk.partial, sunk.error) == (None, None)


async def test_leaving_a_stream_early_closes_the_upstream_and_tells_the_sinks(fakes: Fakes, load: Load) -> None:
    """Whoever leaves pays for nothing more."""
    fakes.connectors["main"].replies = ("one two three four",)
    async with load(PLAIN) as pipeline:
        async with aclosing(pipeline.stream("Why?")) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Delta):
                    break
        assert fakes.connectors["main"].closed == 1
    outcomes = [event.outcome for event in fakes.sink.events if isinstance(event, AttemptFinished)]
    last = fakes.sink.events[-1]
    assert isinstance(last, RunFailed)
    assert (outcomes, last.kind) == (["cancelled"], "cancelled")


async def test_a_listener_hears_also_of_what_comes_when_the_reader_has_left(fakes: Fakes, load: Load) -> None:
    """The row of the attempt that was cut, with what it had used."""
    fakes.connectors["main"].replies = ("one two three four",)
    heard: list[Event] = []
    async with (
        load(PLAIN) as pipeline,
        aclosing(pipeline.stream("Why?", on_event=heard.append)) as events,  # type: ignore[type-var]
    ):
        async for event in events:
            if isinstance(event, Delta):
                break
    (row,) = [event for event in heard if isinstance(event, AttemptFinished)]
    assert (row.outcome, row.usage_source) == ("cancelled", "estimated")
    assert min(row.prompt_tokens or 0, row.completion_tokens or 0) > 0
    assert not any(isinstance(event, Delta | RunFinished | RunFailed) for event in heard)


async def test_a_fallback_answers_with_a_prompt_of_its_own(fakes: Fakes, load: Load) -> None:
    """Each target gets a packing and an attempt of its own, all in the answer."""
    fakes.connectors["main"].replies = (ServerError("broken", should_retry=False),)
    async with load(PLAIN) as pipeline:
        answer = await pipeline.run("Why?")
    assert (answer.model, [attempt.outcome for attempt in answer.attempts]) == ("spare", ["server_error", "ok"])
    assert [event.model for event in fakes.sink.events if isinstance(event, PromptPacked)] == ["main", "spare"]


async def test_the_caller_can_choose_the_model_and_the_default_can_change(fakes: Fakes, load: Load) -> None:
    """A name or alias of the pipeline's models, for one run or from now on."""
    async with load(PLAIN.replace("generate: main", "generate:")) as pipeline:
        assert (await pipeline.run("Why?", model="spare")).text == "Spare."
        pipeline.models.set_default("spare")
        assert (await pipeline.run("Why?")).text == "Spare."
        with pytest.raises(UsageError, match="did you mean 'spare'"):
            await pipeline.run("Why?", model="spar")


async def test_items_and_history_of_the_caller_are_used(fakes: Fakes, load: Load) -> None:
    """A pipeline without gather works on what the caller brings."""
    text = "name: own\nmodels: {main: {use: fake}}\nsteps:\n  - prompt: chat\n  - generate: main\n"
    async with load(text) as pipeline:
        answer = await pipeline.run(
            "And then?",
            items=[Item(id="a", text="Alpha.")],
            history=[Message("user", "Hi"), Message("assistant", "Ho")],
        )
    roles = [message.role for message in answer.prompt.messages]
    assert roles[-3:] == ["user", "assistant", "user"]
    assert "Alpha." in "".join(message.text for message in answer.prompt.messages)


async def test_a_rewriting_step_changes_the_query_of_the_next_steps(fakes: Fakes, load: Load) -> None:
    """`into: query` is query rewriting in two lines; `as` keeps the text."""
    fakes.connectors["spare"].replies = (" better question ",)
    text = PLAIN.replace("steps:\n", "steps:\n  - generate: spare\n    into: query\n    as: rewritten\n")
    async with load(text) as pipeline:
        answer = await pipeline.run("Why?")
    assert (answer.query, answer.prompt.query) == ("Why?", "better question")
    assert answer.variables == {"rewritten": " better question "}


async def test_a_step_whose_when_is_false_is_skipped(fakes: Fakes, load: Load) -> None:
    """`when` is evaluated on the state of the run."""
    text = PLAIN.replace(
        "  - rank: fake.backwards\n", "  - rank: fake.backwards\n    when: \"{{ query == 'Rank!' }}\"\n"
    )
    async with load(text) as pipeline:
        plain, ranked = await pipeline.run("Why?"), await pipeline.run("Rank!")
    assert [packed.item.id for packed in plain.prompt.items] == ["i0", "i1", "i2"]
    assert [packed.item.id for packed in ranked.prompt.items] == ["i2", "i1", "i0"]
    assert [e.skipped for e in fakes.sink.events if isinstance(e, StepFinished) and e.verb == "rank"] == [True, False]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("raising", "ranker 'fake.raising' failed: KeyError", id="raises"),
        pytest.param("short", "returned 2 scores for 3 items", id="wrong-length"),
    ],
)
async def test_a_ranker_that_fails_is_named(load: Load, name: str, message: str) -> None:
    """An error in a plugin says whose it is."""
    async with load(PLAIN.replace("backwards", name)) as pipeline:
        with pytest.raises(RankerError, match=message):
            await pipeline.run("Why?")


async def test_a_step_that_takes_too_long_is_stopped(fakes: Fakes, load: Load) -> None:
    """A timeout names its step, whole or streamed, and closes what was open."""

    class Slow(FakeConnector):
        async def send_prompt(self, prompt, options):  # type: ignore[no-untyped-def]
            await asyncio.Event().wait()

        async def stream_response(self, prompt, options):  # type: ignore[no-untyped-def]
            try:
                await asyncio.Event().wait()
                yield
            finally:
                self.closed += 1

    fakes.connectors["main"] = Slow()
    async with load(PLAIN.replace("generate: main", "generate: main\n    timeout: 20ms")) as pipeline:
        with pytest.raises(StepTimeoutError, match=r"steps\[3\] \(generate\) took longer than its timeout of 0.02 s"):
            await pipeline.run("Why?")
        events = [event async for event in pipeline.stream("Why?")]
    assert isinstance(events[-1], RunFailed)
    assert fakes.connectors["main"].closed == 1


async def test_inputs_are_checked_and_defaults_filled_in(fakes: Fakes, load: Load) -> None:
    """An undeclared or missing input is the caller's error, before anything runs."""
    text = PLAIN.replace("{{ query }}", "{{ inputs.tone }} {{ inputs.who }}") + (
        "inputs: {tone: plain, who: {required: true}}\n"
    )
    async with load(text) as pipeline:
        answer = await pipeline.run("Why?", inputs={"who": "me"})
        assert answer.prompt.messages[-1].text.endswith("plain me")
        with pytest.raises(UsageError, match="has no input 'wo', did you mean 'who'"):
            await pipeline.run("Why?", inputs={"wo": "me"})
        with pytest.raises(UsageError, match="needs the input who"):
            await pipeline.run("Why?")


async def test_an_unchanged_source_keeps_the_same_items(fakes: Fakes, load: Load) -> None:
    """The tuple of items is the same object in every run, so that indexes are reused."""
    async with load(PLAIN) as pipeline:
        runner = pipeline._opened()
        step: Any = runner.steps[0].step
        await pipeline.run("Why?")
        first = step.merger._merged
        await pipeline.run("Why not?")
    assert step.merger._merged is first
    assert fakes.source.asked == 2


async def test_items_with_one_id_are_merged(fakes: Fakes, load: Load) -> None:
    """The first of two items with one id stays."""
    fakes.source.items = (Item(id="a", text="One."), Item(id="b", text="Two."), Item(id="a", text="Again."))
    async with load(PLAIN) as pipeline:
        answer = await pipeline.run("Why?", items=[Item(id="b", text="Mine.")])
    assert sorted(packed.text for packed in answer.prompt.items) == ["Mine.", "One."]


async def test_explain_shows_the_prompt_and_calls_nobody(fakes: Fakes, load: Load) -> None:
    """Messages, parts that add up to the window, a trace entry per candidate, the chain."""
    async with load(PLAIN) as pipeline:
        explanation = await pipeline.explain("Why?")
    assert fakes.connectors["main"].prompts == []
    assert sum(part.tokens for part in explanation.parts) == explanation.prompt.window == 4096
    assert [entry.decision for entry in explanation.prompt.trace] == ["kept"] * 3
    assert [target.model.name for target in explanation.targets] == ["main", "spare"]


async def test_explain_shows_exactly_what_a_run_sends(fakes: Fakes, load: Load) -> None:
    """The dry run is the run."""
    async with load(PLAIN) as pipeline:
        explanation = await pipeline.explain("Why?")
        await pipeline.run("Why?")
    assert explanation.prompt.messages == fakes.connectors["main"].prompts[0].messages


async def test_an_empty_query_is_refused(load: Load) -> None:
    """Nothing is asked, so nothing is sent."""
    async with load(PLAIN) as pipeline:
        with pytest.raises(UsageError, match="the query is empty"):
            await pipeline.run("  ")


async def test_a_pipeline_that_is_not_open_says_how_to_open_it(load: Load) -> None:
    """Forgetting `async with` is the first mistake to make."""
    with pytest.raises(UsageError, match="use `async with"):
        await load(PLAIN).run("Why?")


def test_load_raises_every_problem_at_once(load: Load) -> None:
    """All mistakes of a file come in one error."""
    with pytest.raises(ConfigError) as caught:
        load(PLAIN.replace("generate: main", "generate: man").replace("gather: fake", "gather: flies"))
    assert len(caught.value.problems) >= 2


def test_load_of_a_missing_file_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A wrong path is the most likely mistake of all."""
    from nexus_core import Pipeline

    with pytest.raises(UsageError, match="there is no such file"):
        Pipeline.load(tmp_path_factory.mktemp("empty") / "none.yaml")


async def test_many_runs_at_once_do_not_mix(fakes: Fakes, load: Load) -> None:
    """Each run keeps its own id, events and answer."""
    async with load(PLAIN) as pipeline:
        answers = await asyncio.gather(*(pipeline.run(f"Question {n}?") for n in range(50)))
    assert [answer.query for answer in answers] == [f"Question {n}?" for n in range(50)]
    assert len({answer.id for answer in answers}) == 50
    assert pipeline.models.usage()["main"].requests == 50


def partials() -> set[int]:
    """Return what there is of failed streams, those of other tests included."""
    return {id(found) for found in gc.get_objects() if isinstance(found, RunFailed) and found.partial}


@pytest.mark.slow
async def test_a_stream_that_failed_is_no_circle(fakes: Fakes, load: Load) -> None:
    """Its error's traceback does not hold the event that holds the error: both, and the text, are gone at once."""
    fakes.connectors["main"] = FakeConnector(replies=([Chunk("Half of"), ServerError("no", provider="p", model="m")],))
    async with load(PLAIN.replace(", fallback: spare", "")) as pipeline:
        gc.collect()
        before = partials()
        gc.disable()
        try:
            kinds([event async for event in pipeline.stream("Why?")])
            assert partials() <= before
        finally:
            gc.enable()
