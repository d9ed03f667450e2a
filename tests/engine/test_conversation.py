"""Runs that go on with a conversation: what they are told of it, and what they add to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core import (
    Completion,
    DeadlineError,
    Delta,
    Message,
    ModelInfo,
    RunFailed,
    RunFinished,
    ServerError,
    Store,
    StoreBusyError,
    StoreError,
    UsageError,
)
from nexus_core.testing.fakes import FakeConnector

if TYPE_CHECKING:
    from tests.engine.conftest import Fakes, Load

TALK = """
name: talk
models: {main: {use: fake, retry: false}}
steps:
  - prompt: {template: {text: "[system]\\nTalk.\\n[history]\\n[user]\\n{{ query }}"}}
  - generate: main
sinks: [fake]
"""
REWRITE = """
name: rewrite
models: {main: {use: fake}}
steps:
  - generate: main
    into: query
  - prompt: {template: {text: "[history]\\n[user]\\n{{ query }}"}}
  - generate: main
"""


class Remembering:
    """A memory of a test's own, with what goes wrong in it."""

    def __init__(self, told: Sequence[Message] = (), *, fails: Exception | None = None, slow_s: float = 0.0) -> None:
        self.told, self.fails, self.slow_s = told, fails, slow_s
        self.added: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, int | None]] = []

    async def history(self, id: str, *, owner: str = "", characters: int | None = None) -> Sequence[Message]:
        self.asked.append((id, owner, characters))
        await asyncio.sleep(self.slow_s)
        return self.told

    async def add(self, id: str, *, query: str, answer: str, model: str, run_id: str, owner: str = "") -> int:
        if self.fails is not None:
            raise self.fails
        self.added.append(
            {"id": id, "query": query, "answer": answer, "model": model, "run_id": run_id, "owner": owner}
        )
        return len(self.added)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(autouse=True)
def one_model(fakes: Fakes) -> FakeConnector:
    """A model that gives three answers."""
    fakes.connectors = {"main": FakeConnector(replies=("One.", "Two.", "Three."))}
    return fakes.connectors["main"]


def contents(connector: FakeConnector, prompt: int = -1) -> list[str]:
    return [message.text for message in connector.prompts[prompt].messages]


async def test_a_run_goes_on_where_the_last_one_ended(load: Load, store: Store, one_model: FakeConnector) -> None:
    """The model hears what was said before, in both ways of running, and the answer names its conversation."""
    async with load(TALK, conversations=store.conversations) as pipeline:
        answer = await pipeline.run("First?", conversation_id="c")
        events = [event async for event in pipeline.stream("Second?", conversation_id="c")]
        await pipeline.run("Third?", conversation_id="c", run_id="mine")
    assert answer.conversation_id == "c"
    assert isinstance(events[-1], RunFinished)
    assert contents(one_model) == ["Talk.", "First?", "One.", "Second?", "Two.", "Third?"]
    turns = await store.conversations.turns("c")
    assert [(turn.query, turn.answer, turn.model) for turn in turns] == [
        ("First?", "One.", "main"), ("Second?", "Two.", "main"), ("Third?", "Three.", "main"),
    ]  # fmt: skip
    assert (turns[0].run_id, turns[2].run_id) == (answer.id, "mine")


async def test_a_run_without_a_conversation_touches_no_memory(load: Load, one_model: FakeConnector) -> None:
    """It is neither asked nor told."""
    memory = Remembering()
    async with load(TALK, conversations=memory) as pipeline:
        answer = await pipeline.run("First?")
    assert (answer.conversation_id, memory.asked, memory.added) == (None, [], [])


async def test_the_question_is_kept_as_the_user_asked_it(load: Load, store: Store, one_model: FakeConnector) -> None:
    """A rewritten query is the search's business."""
    one_model.replies = ("Rewritten?", "An answer.")
    async with load(REWRITE, conversations=store.conversations) as pipeline:
        await pipeline.run("And it?", conversation_id="c")
    (turn,) = await store.conversations.turns("c")
    assert (turn.query, turn.answer) == ("And it?", "An answer.")


async def test_the_turn_is_kept_before_the_stream_tells_its_end(load: Load, store: Store) -> None:
    """Whoever sees RunFinished can rely on it."""
    async with load(TALK, conversations=store.conversations) as pipeline:
        async with aclosing(pipeline.stream("First?", conversation_id="c")) as events:  # type: ignore[type-var]
            async for event in events:
                kept = len(await store.conversations.history("c"))
                assert kept == (2 if isinstance(event, RunFinished) else kept)
                if isinstance(event, Delta):
                    assert kept == 0
        assert kept == 2


async def test_failed_and_cancelled_runs_leave_nothing(load: Load, store: Store, one_model: FakeConnector) -> None:
    """Nor do partial answers: a conversation is made of whole turns."""
    one_model.replies = (ServerError("broken"), ("Half an", ServerError("broken")), "Whole answer.")
    async with load(TALK, conversations=store.conversations) as pipeline:
        with pytest.raises(ServerError):
            await pipeline.run("First?", conversation_id="c")
        assert isinstance([event async for event in pipeline.stream("Second?", conversation_id="c")][-1], RunFailed)
        async with aclosing(pipeline.stream("Third?", conversation_id="c")) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Delta):
                    break
        one_model.replies = ((10.0,),)
        waiting = asyncio.create_task(pipeline.run("Fourth?", conversation_id="c"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await store.conversations.list() == ()


async def test_one_run_id_is_kept_once(load: Load, store: Store) -> None:
    """The same run asked for again is answered, and is still one turn."""
    async with load(TALK, conversations=store.conversations) as pipeline:
        answers = [await pipeline.run("First?", conversation_id="c", run_id="again") for _ in range(2)]
    assert [answer.text for answer in answers] == ["One.", "Two."]
    assert [turn.answer for turn in await store.conversations.turns("c")] == ["One."]


async def test_runs_of_one_conversation_at_once_are_all_kept(
    load: Load, store: Store, one_model: FakeConnector
) -> None:
    """In the order in which they end, each with a number of its own."""
    one_model.replies = ("Same.",)
    async with load(TALK, conversations=store.conversations) as pipeline:
        asked = [f"Question {number}?" for number in range(12)]
        await asyncio.gather(*(pipeline.run(query, conversation_id="c") for query in asked))
    turns = await store.conversations.turns("c")
    assert [turn.number for turn in turns] == list(range(1, 13))
    assert sorted(turn.query for turn in turns) == sorted(asked)


async def test_owners_share_a_pipeline_and_no_conversation(load: Load, store: Store, one_model: FakeConnector) -> None:
    """The same id of another owner is another conversation."""
    async with load(TALK, conversations=store.conversations) as pipeline:
        await pipeline.run("Ann asks?", conversation_id="c", owner="ann")
        await pipeline.run("Bob asks?", conversation_id="c", owner="bob")
    assert contents(one_model) == ["Talk.", "Bob asks?"]


async def test_the_packer_trims_the_oldest_turns(load: Load, store: Store, one_model: FakeConnector) -> None:
    """Whole turns go, the newest stay, and no more is loaded than the window could hold."""
    one_model.model_info = ModelInfo(id="small", provider="fake", window=300)
    one_model.replies = ("word " * 60,)
    async with load(TALK, conversations=store.conversations) as pipeline:
        for number in range(40):
            answer = await pipeline.run(f"Question {number}?", conversation_id="c")
    told = contents(one_model)
    assert (told[-3], answer.prompt.history_kept % 2) == ("Question 38?", 0)
    assert 2 <= answer.prompt.history_kept < 8
    assert answer.prompt.history_kept + answer.prompt.history_dropped <= 2 * (300 * 8 // 300 + 1)


async def test_explain_shows_the_conversation_and_adds_nothing(load: Load, store: Store) -> None:
    """What would be sent is what a run would send."""
    async with load(TALK, conversations=store.conversations) as pipeline:
        await pipeline.run("First?", conversation_id="c")
        explanation = await pipeline.explain("Second?", conversation_id="c")
    assert [message.content for message in explanation.prompt.messages] == ["Talk.", "First?", "One.", "Second?"]
    assert len(await store.conversations.turns("c")) == 1


# Misuse


async def test_a_conversation_without_a_memory_says_what_to_write(load: Load) -> None:
    """Nothing is quietly forgotten."""
    async with load(TALK) as pipeline:
        with pytest.raises(UsageError, match=r"Pipeline.load\(..., conversations=store.conversations\)"):
            await pipeline.run("First?", conversation_id="c")


async def test_history_and_conversation_together_are_refused(load: Load) -> None:
    """Which of them is the conversation is not for us to guess."""
    async with load(TALK, conversations=Remembering()) as pipeline:
        with pytest.raises(UsageError, match="history and conversation_id"):
            await pipeline.run("First?", conversation_id="c", history=[Message("user", "Hi")])


async def test_a_hostile_id_is_refused_before_any_model_is_asked(
    load: Load, store: Store, one_model: FakeConnector
) -> None:
    """Its answer could not be kept (fault 163)."""
    async with load(TALK, conversations=store.conversations) as pipeline:
        with pytest.raises(UsageError, match="surrogate"):
            await pipeline.run("First?", conversation_id="c\ud83d")
        last = [event async for event in pipeline.stream("First?", conversation_id="")][-1]
    assert isinstance(last, RunFailed)
    assert isinstance(last.error, UsageError)
    assert one_model.prompts == []


# Failures of the memory


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        pytest.param(StoreBusyError("kept by another process"), StoreBusyError, id="busy"),
        pytest.param(RuntimeError("a bug"), StoreError, id="bug"),
    ],
)
async def test_an_answer_is_not_lost_with_its_turn(
    fakes: Fakes, load: Load, failure: Exception, kind: type[StoreError]
) -> None:
    """The error of a run, and of a stream, carries the whole answer (fault 158)."""
    async with load(TALK, conversations=Remembering(fails=failure)) as pipeline:
        with pytest.raises(kind) as caught:
            await pipeline.run("First?", conversation_id="c")
        last = [event async for event in pipeline.stream("Second?", conversation_id="c")][-1]
    assert caught.value.answer is not None
    assert isinstance(last, RunFailed)
    assert isinstance(last.error, kind)
    assert last.error.answer is not None
    assert last.partial == last.error.answer.text
    assert [event.type for event in fakes.sink.events].count("run_failed") == 2


async def test_what_could_not_be_kept_can_be_kept_later(load: Load, store: Store) -> None:
    """The error holds all that the turn is made of, and a second attempt adds it once."""
    async with load(TALK, conversations=Remembering(fails=StoreBusyError("busy"))) as pipeline:
        with pytest.raises(StoreBusyError) as caught:
            await pipeline.run("First?", conversation_id="c")
    answer = caught.value.answer
    assert answer is not None
    for _ in range(2):
        await store.conversations.add("c", query=answer.query, answer=answer.text, model=answer.model, run_id=answer.id)
    assert [turn.answer for turn in await store.conversations.turns("c")] == ["One."]


async def test_an_answer_that_breaks_off_inside_a_surrogate_pair_is_kept(
    load: Load, store: Store, one_model: FakeConnector
) -> None:
    """The caller has it as it came; what is kept has U+FFFD in that place (fault 163)."""
    one_model.replies = (Completion(text="Half \ud83d", finish_reason="length"),)
    async with load(TALK, conversations=store.conversations) as pipeline:
        answer = await pipeline.run("First?", conversation_id="c")
    assert answer.text == "Half \ud83d"
    assert [turn.answer for turn in await store.conversations.turns("c")] == ["Half \ufffd"]


async def test_reading_a_conversation_takes_of_the_callers_time(load: Load, one_model: FakeConnector) -> None:
    """A memory that hangs does not make a run hang that has a deadline."""
    async with load(TALK, conversations=Remembering(slow_s=30.0)) as pipeline:
        with pytest.raises(DeadlineError, match="before the conversation had been read"):
            await pipeline.run("First?", conversation_id="c", deadline_s=0.05)
    assert one_model.prompts == []


async def test_a_memory_that_tells_no_messages_is_an_error(load: Load) -> None:
    """What a foreign memory gives is not taken for text."""
    wrong: Any = [{"role": "user", "content": "Hi"}]
    async with load(TALK, conversations=Remembering(wrong)) as pipeline:
        with pytest.raises(StoreError, match="must be made of messages"):
            await pipeline.run("First?", conversation_id="c")
