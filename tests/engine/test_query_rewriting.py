"""Questions that follow others: what is searched for, by whom it is rewritten, and what is answered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, evolve, field
from hypothesis import given, strategies as st

from nexus_core import (
    AttemptFinished,
    Completion,
    Delta,
    FollowUp,
    InvalidRequestError,
    Item,
    Message,
    ModelInfo,
    Ranking,
    RunContext,
    ServerError,
    Store,
    ToolCall,
    parts_of,
)
from nexus_core.contract.values import EARLIER_QUESTIONS, EARLIER_WEIGHT
from nexus_core.engine.query_rewriting import read_query
from nexus_core.testing.fakes import FakeConnector, FakeSource

if TYPE_CHECKING:
    from tests.engine.conftest import Fakes, Load

ASK = """
name: ask
rewrite: true
models: {main: {use: fake, fallback: spare}, spare: {use: fake, to: spare}}
steps:
  - gather: fake
  - rank: bm25
  - prompt: qa
  - generate: main
"""
HISTORY = (Message("user", "What does CONN_MAX_AGE do?"), Message("assistant", "It keeps connections."))
QUESTION = "And what is its default?"
INFO = ModelInfo(id="fake-1", provider="fake", window=4096, capabilities=frozenset({"streaming", "generate"}))
BENCH = Path(__file__).parent.parent / "bench" / "followups.py"


@define(kw_only=True, eq=False)
class Searched(FakeSource):
    """Keeps what it is asked for."""

    queries: list[str] = field(factory=list, init=False)

    async def gather(self, query: str, run: RunContext) -> tuple[Item, ...]:
        self.queries.append(query)
        return await FakeSource.gather(self, query, run)


@pytest.fixture
def source(fakes: Fakes) -> Searched:
    """The source that says what was searched for; the first model writes, the second one answers only."""
    fakes.source = Searched(items=(Item(id="a", text="CONN_MAX_AGE is 0 by default."), Item(id="b", text="Other.")))
    fakes.connectors |= {"main": FakeConnector(model_info=INFO), "spare": FakeConnector()}
    return fakes.source


def replies(fakes: Fakes, *said: Any) -> FakeConnector:
    """Let the first model say this."""
    fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=said)
    return fakes.connectors["main"]


async def test_a_follow_up_is_rewritten_for_the_search_alone(fakes: Fakes, load: Load, source: Searched) -> None:
    """One request more, with a row of its own; the question that is answered, and kept, is the user's."""
    model = replies(fakes, 'The default of "CONN_MAX_AGE"\n', "It is 0.")
    async with load(ASK) as pipeline:
        answer = await pipeline.run(QUESTION, history=HISTORY)
    assert source.queries == ['The default of "CONN_MAX_AGE"']
    assert (answer.query, answer.prompt.query, answer.prompt.searched) == (QUESTION, QUESTION, source.queries[0])
    assert [(row.purpose, row.outcome) for row in answer.attempts] == [("rewrite", "ok"), ("answer", "ok")]
    assert QUESTION in model.prompts[1].messages[-1].content
    assert "CONN_MAX_AGE" in model.prompts[0].messages[-1].content


async def test_a_stream_is_searched_for_alike(fakes: Fakes, load: Load, source: Searched) -> None:
    """The rewriting itself is not shown."""
    replies(fakes, "default of CONN_MAX_AGE", "It is 0.")
    async with load(ASK) as pipeline:
        events = [event async for event in pipeline.stream(QUESTION, history=HISTORY)]
    assert source.queries == ["default of CONN_MAX_AGE"]
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "It is 0."
    assert [event.purpose for event in events if isinstance(event, AttemptFinished)] == ["rewrite", "answer"]


@pytest.mark.parametrize(
    "said",
    [
        ServerError("no"),
        InvalidRequestError("no"),
        "",
        "  \n",
        "x" * 5000,
        Completion(text="cut", finish_reason="length"),
        Completion(text="", finish_reason="tool_calls", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),)),
    ],
    ids=["retried elsewhere", "refused", "empty", "blank", "an essay", "cut", "tool call"],
)
async def test_a_rewriting_that_fails_costs_one_request_and_no_answer(
    fakes: Fakes, load: Load, source: Searched, said: Any
) -> None:
    """No retry, no fallback: the words of the question before count instead."""
    replies(fakes, said, "It is 0.")
    async with load(ASK) as pipeline:
        answer = await pipeline.run(QUESTION, history=HISTORY)
    assert source.queries == [f"{QUESTION}\n{HISTORY[0].content}"]
    assert [(row.purpose, row.model) for row in answer.attempts] == [("rewrite", "main"), ("answer", "main")]


async def test_a_model_that_does_not_generate_is_not_asked(fakes: Fakes, load: Load, source: Searched) -> None:
    """Nor is one asked where nothing was said before; the caller's choice of a model counts."""
    async with load(ASK) as pipeline:
        answer = await pipeline.run(QUESTION, history=HISTORY, model="spare")
        assert [row.purpose for row in answer.attempts] == ["answer"]
        assert parts_of(source.queries[0]) == ((QUESTION, 1.0), (HISTORY[0].content, EARLIER_WEIGHT))
        answer = await pipeline.run(QUESTION)
        assert ([row.purpose for row in answer.attempts], source.queries[1]) == (["answer"], QUESTION)


@pytest.mark.parametrize("line", ["rewrite: false\n", ""], ids=["said", "by default"])
async def test_it_can_be_switched_off(fakes: Fakes, load: Load, source: Searched, line: str) -> None:
    """The question is searched for as it is."""
    async with load(ASK.replace("rewrite: true\n", line)) as pipeline:
        answer = await pipeline.run(QUESTION, history=HISTORY)
    assert (source.queries, len(answer.attempts)) == ([QUESTION], 1)


async def test_explain_shows_what_is_searched_for_and_asks_nobody(fakes: Fakes, load: Load, source: Searched) -> None:
    """With a note where a run would ask a model; `prepare` asks it."""
    model = replies(fakes, "default of CONN_MAX_AGE")
    async with load(ASK) as pipeline:
        explanation = await pipeline.explain(QUESTION, history=HISTORY)
        assert (explanation.query, explanation.searched) == (QUESTION, f"{QUESTION}\n{HISTORY[0].content}")
        assert "a run asks main to rewrite" in explanation.notes[0]
        assert model.prompts == []
        assert (await pipeline.prepare(QUESTION, history=HISTORY)).state.search == "default of CONN_MAX_AGE"


async def test_a_rewriting_holds_little_of_a_long_conversation(fakes: Fakes, load: Load, source: Searched) -> None:
    """The newest turns, and of long messages their beginnings: the rewriting is cheap whatever was said."""
    model = replies(fakes, "default")
    long = tuple(Message(role, f"{n} " + "word " * 3000) for n in range(9) for role in ("user", "assistant"))
    fakes.connectors["main"].model_info = evolve(INFO, window=100_000)
    async with load(ASK) as pipeline:
        await pipeline.run(QUESTION, history=long)
    assert len(model.prompts[0].messages[-1].content) < 6 * 2_100
    assert model.options[0].max_tokens == 1024


def test_what_a_model_writes_is_read_on_one_line() -> None:
    """Quotation marks and line breaks are no part of a query."""
    assert read_query(Completion(text=' "default of\n X" ', finish_reason="stop")) == "default of X"
    assert read_query(Completion(text="\u200b\ufeff", finish_reason="stop")) == ""


@pytest.mark.slow
@given(st.lists(st.text(), max_size=6), st.text(min_size=1))
def test_a_follow_up_holds_the_newest_questions_with_falling_weights(earlier: list[str], question: str) -> None:
    """The question is first and counts 1; blank ones are passed over; the text holds all."""
    made = FollowUp.after(question, earlier)
    kept = [text.strip() for text in reversed(earlier) if text.strip()][:EARLIER_QUESTIONS]
    assert [text for text, _ in parts_of(made)] == [question, *kept]
    assert [weight for _, weight in parts_of(made)] == [EARLIER_WEIGHT**place for place in range(len(kept) + 1)]
    assert made == "\n".join([question, *kept])


@pytest.mark.parametrize("size", [40, 600], ids=["few", "many"])
async def test_bm25_adds_the_parts_up(size: int) -> None:
    """The score of a follow-up is that of the question, and of each earlier one times its weight."""
    from nexus_rankers.bm25 import Bm25

    ranker, ranking = Bm25(), Ranking(_texts(size))
    texts = ["its default", "conn max age", "the pool"]
    columns = [
        [c.score for c in map((await ranker.rank(text, ranking, RunContext())).candidate, range(size))]
        for text in texts
    ]
    found = await ranker.rank(FollowUp.after(texts[0], [texts[2], texts[1]]), ranking, RunContext())
    expected = [a + b * EARLIER_WEIGHT + c * EARLIER_WEIGHT**2 for a, b, c in zip(*columns, strict=True)]
    assert [found.candidate(place).score for place in range(size)] == pytest.approx(expected, rel=1e-5)


async def test_a_store_adds_the_parts_up(tmp_path: Path) -> None:
    """As the ranker does: the same items, in the same order, by the same weights."""
    async with Store(tmp_path) as store:
        await store.create("c")
        await store.add("c", _texts(40))
        asked = FollowUp.after("its default", ["conn max age"])
        alone = [await _scores(store, text) for text in ("its default", "conn max age")]
        found = await _scores(store, asked)
    expected = {id: alone[0].get(id, 0) + EARLIER_WEIGHT * alone[1].get(id, 0) for id in found}
    assert found == pytest.approx(expected)
    assert len(found) == len(alone[0].keys() | alone[1].keys())


async def _scores(store: Store, query: str) -> dict[str, float]:
    return {found.item.id: found.score for found in await store.search("c", query, limit=100)}


def _texts(size: int) -> tuple[Item, ...]:
    words: Sequence[str] = ("default", "conn max age", "pool", "default pool", "age of a max", "nothing")
    return tuple(Item(id=str(n), text=f"{words[n % len(words)]} number {n}") for n in range(size))


@pytest.mark.slow
def test_follow_ups_find_what_full_questions_find() -> None:
    """The benchmark holds its gates: 80 % of follow-ups, and no harm to a question on another topic."""
    done = subprocess.run([sys.executable, str(BENCH)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
