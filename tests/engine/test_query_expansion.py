"""Gather steps that search for more than the question: what is searched for, found, told, and spent on it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, evolve, field
from hypothesis import given, strategies as st

from nexus_core import (
    Completion,
    InvalidRequestError,
    Item,
    Message,
    ModelInfo,
    QueryExpanded,
    Ranking,
    RunContext,
    ServerError,
    parts_of,
)
from nexus_core.contract.models import ModelPrices
from nexus_core.contract.values import ExpandedQuery, FollowUp
from nexus_core.engine.expansion.fusion import fuse
from nexus_core.engine.expansion.requests import read_phrasings
from nexus_core.testing.fakes import FakeConnector, FakeSource

if TYPE_CHECKING:
    from tests.engine.conftest import Fakes, Load

INFO = ModelInfo(
    id="fake-1",
    provider="fake",
    window=4096,
    capabilities=frozenset({"streaming", "generate"}),
    prices=ModelPrices(input=1.0, output=2.0),
)
PIPELINE = """
name: ask
models: {main: {use: fake, retry: {attempts: 1}, fallback: spare}, spare: {use: fake, to: spare}}
steps:
  - gather: {use: fake, expand: EXPAND}
  - rank: bm25
  - prompt: qa
  - generate: spare
"""
QUESTION = "Where did the designer of the Oslund Bridge learn?"
ITEMS = (
    Item(id="bridge", text="The Oslund Bridge is the work of Ines Holt, its designer."),
    Item(id="holt", text="Ines Holt was a carpenter first, as an apprentice in Varna."),
    Item(id="other", text="The designer of a garden may learn much on a bridge."),
    Item(id="rest", text="Nothing of all that."),
)


@define(kw_only=True, eq=False)
class Searching(FakeSource):
    """Finds the items that share a word with what it is asked for, and keeps what that was."""

    queries: list[str] = field(factory=list, init=False)
    ranks: bool = True

    async def gather(self, query: str, run: RunContext) -> Any:
        self.queries.append(query)
        asked = {word for word in query.casefold().split() if len(word) > 3}
        held = [(sum(word in item.text.casefold() for word in asked), item) for item in self.items]
        found = [(float(count), item) for count, item in held if count]
        items = tuple(item for _, item in found)
        return Ranking(items).scored("words", [count for count, _ in found]) if self.ranks else items


@pytest.fixture
def source(fakes: Fakes) -> Searching:
    """The source that says what was searched for; the first model writes, the second one answers."""
    fakes.source = Searching(items=ITEMS)
    fakes.connectors |= {"main": FakeConnector(model_info=INFO), "spare": FakeConnector()}
    return fakes.source


async def run(load: Load, expand: str, **asked: Any) -> tuple[Any, QueryExpanded]:
    """Return the answer of a run, and the event that tells of the expansion."""
    events: list[Any] = []
    async with load(PIPELINE.replace("EXPAND", expand)) as pipeline:
        answer = await pipeline.run(QUESTION, on_event=events.append, **asked)
    (told,) = [event for event in events if isinstance(event, QueryExpanded)]
    return answer, told


async def test_feedback_finds_the_second_step(fakes: Fakes, load: Load, source: Searching) -> None:
    """What the first item names is searched for, too, and no model is asked."""
    answer, told = await run(load, "{by: feedback, items: 1, words: 4}")
    assert len(source.queries) == 2
    assert {"Ines", "Holt"} <= set(source.queries[1].split())
    assert "holt" in {packed.item.id for packed in answer.prompt.items}
    assert (told.by, told.searches, told.added, told.failure, told.cost) == ("feedback", 1, 1, None, 0.0)
    assert [row.purpose for row in answer.attempts] == ["answer"]


async def test_phrasings_are_searched_for_and_cost_one_call(fakes: Fakes, load: Load, source: Searching) -> None:
    """Their tokens and their price stand in the ledger and in the event; a list is read as what it lists."""
    fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=['1. "Holt carpenter"\n- Varna apprentice\n'])
    answer, told = await run(load, "{phrasings: 2, model: main}")
    assert source.queries == [QUESTION, "Holt carpenter", "Varna apprentice"]
    assert parts_of(answer.prompt.searched) == ((QUESTION, 1.0), ("Holt carpenter", 0.5), ("Varna apprentice", 0.5))
    (row, last) = answer.attempts
    assert (row.purpose, last.purpose, answer.query) == ("expand", "answer", QUESTION)
    assert (told.searches, told.requests, told.model) == (2, 1, "main")
    assert (told.prompt_tokens, told.cost) == (row.prompt_tokens, row.cost)
    assert told.cost is not None
    assert told.cost > 0


async def test_a_made_up_answer_is_searched_for(fakes: Fakes, load: Load, source: Searching) -> None:
    """On one line, with the question."""
    fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=["She was apprentice\nto a carpenter."])
    answer, told = await run(load, "{by: hypothetical, model: main, max_tokens: 64}")
    assert source.queries == [QUESTION, "She was apprentice to a carpenter."]
    assert fakes.connectors["main"].options[0].max_tokens == 64
    assert "holt" in {packed.item.id for packed in answer.prompt.items}
    assert told.searches == 1


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (ServerError("no"), "no"),
        (InvalidRequestError("no"), "no"),
        ("  \n", "main"),
        (QUESTION, "the model wrote nothing"),
        (Completion(text="bad", finish_reason="content_filter"), "the model wrote nothing"),
    ],
    ids=["server error", "refused", "blank", "the question itself", "filtered"],
)
async def test_an_expansion_that_fails_costs_no_answer(
    fakes: Fakes, load: Load, source: Searching, said: Any, why: str
) -> None:
    """The question is searched for alone, and the event says why."""
    fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=[said] * 9)
    answer, told = await run(load, "{model: main}")
    assert source.queries == [QUESTION]
    assert (told.searches, told.added) == (0, 0)
    assert why in (told.failure or "")
    assert answer.attempts[-1].outcome == "ok"


async def test_an_expansion_is_retried_by_the_policy_of_its_model(fakes: Fakes, load: Load, source: Searching) -> None:
    """The calls have one owner of retries; a fallback that only quotes is not asked to write."""
    text = PIPELINE.replace("retry: {attempts: 1}", "retry: {attempts: 2, first_wait: 1ms}")
    fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=[ServerError("no"), "Holt carpenter"])
    async with load(text.replace("EXPAND", "{model: main}")) as pipeline:
        answer = await pipeline.run(QUESTION)
    assert [(row.purpose, row.model) for row in answer.attempts[:-1]] == [("expand", "main"), ("expand", "main")]
    assert source.queries[1:] == ["Holt carpenter"]


async def test_a_model_that_does_not_write_is_not_asked(fakes: Fakes, load: Load, source: Searching) -> None:
    """The question is searched for alone, and the event names the model."""
    answer, told = await run(load, "{model: spare}")
    assert [row.purpose for row in answer.attempts] == ["answer"]
    assert told.failure == "the model 'spare' writes no text of its own"


async def test_feedback_needs_scores(fakes: Fakes, load: Load, source: Searching) -> None:
    """Of items in any order none is known to be good."""
    source.ranks = False
    _, told = await run(load, "feedback")
    assert told.failure is not None
    assert "does not rank" in told.failure


async def test_a_source_that_gives_everything_is_searched_once_more_at_most(
    fakes: Fakes, load: Load, source: Searching
) -> None:
    """Its items come without a search; that rankers score them by all phrasings is what is left."""
    fakes.source = FakeSource(items=ITEMS)
    fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=["carpenter Varna\nHolt apprentice\n"])
    answer, told = await run(load, "{model: main}")
    assert told.added == 0
    scores = {entry.item_id: entry.scores for entry in answer.prompt.trace}
    assert scores["holt"].keys() == {"bm25"}
    assert scores["holt"]["bm25"] > 0


async def test_explain_asks_no_model_for_phrasings(fakes: Fakes, load: Load, source: Searching) -> None:
    """It says so; feedback, which costs nothing, is shown, and `prepare` asks."""
    model = fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=["Holt carpenter"])
    async with load(PIPELINE.replace("EXPAND", "{model: main}")) as pipeline:
        explanation = await pipeline.explain(QUESTION)
        assert (explanation.searched, model.prompts) == (QUESTION, [])
        assert "a run asks a model what to search for" in explanation.notes[0]
        prepared = await pipeline.prepare(QUESTION)
        assert [row.purpose for row in prepared.attempts] == ["expand"]
    async with load(PIPELINE.replace("EXPAND", "feedback")) as pipeline:
        assert len(parts_of((await pipeline.explain(QUESTION)).searched)) == 2


async def test_a_stream_tells_of_the_expansion(fakes: Fakes, load: Load, source: Searching) -> None:
    """After the row of its request, and before the first text."""
    fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=["Holt carpenter"])
    async with load(PIPELINE.replace("EXPAND", "{model: main}")) as pipeline:
        kinds = [event.type async for event in pipeline.stream(QUESTION)]
    assert kinds.index("attempt_finished") < kinds.index("query_expanded") < kinds.index("delta")


async def test_a_slow_model_is_left_in_time(fakes: Fakes, load: Load, source: Searching) -> None:
    """The timeout is that of the whole call; the run goes on without it."""
    fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=[[inf]])
    answer, told = await run(load, "{model: main, timeout: 20ms}")
    assert source.queries == [QUESTION]
    assert told.failure
    assert answer.attempts[0].outcome == "timeout"


def test_what_a_model_lists_is_read_line_by_line() -> None:
    """Numbers, signs and quotation marks of lists are no part of a query; what was cut is left out."""
    said = Completion(
        text="1. who built it\n* 'Who built it'\n(2) bridge  designer\n\n3) cut of", finish_reason="length"
    )
    assert read_phrasings("q", said, 8) == ("who built it", "bridge designer")
    assert read_phrasings("q", said, 1) == ("who built it",)
    assert read_phrasings("cut of", evolve(said, text="cut of"), 3) == ()


def test_an_expanded_question_keeps_its_own_parts() -> None:
    """Words of feedback count for those who add up words, and are no text to be embedded."""
    followed = FollowUp.after("Where?", ["Which bridge?"])
    found = ExpandedQuery.of(followed, ["span"], 0.5)
    assert parts_of(found) == (*followed.parts, ("span", 0.5))
    again = ExpandedQuery.of(found, ["a b c"], 0.25, readable=False)
    assert (str(again), again.question) == (f"{followed}\nspan", followed)
    assert parts_of(again)[-1] == ("a b c", 0.25)


_SCORES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.1, 9), max_size=8)


@given(searches=st.lists(_SCORES, min_size=1, max_size=4), by_places=st.booleans())
def test_fused_searches_are_a_ranking_of_what_was_found(searches: list[dict[str, float]], by_places: bool) -> None:
    """Each item once, and none besides; one search alone keeps its order."""
    rankings = [Ranking(tuple(Item(id=n, text=n) for n in found)).scored("s", [*found.values()]) for found in searches]
    fused = fuse(rankings[0], rankings[1:], 0.5, "rrf" if by_places else "scores")
    ids = [candidate.item.id for candidate in fused]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {name for found in searches for name in found}
    if len(searches) == 1:
        assert ids == [candidate.item.id for candidate in rankings[0]]


def test_items_of_the_question_and_of_its_phrasings_add_up() -> None:
    """What both find goes before what one finds, by places as by scores."""
    both, one, other = (Item(id=name, text=name) for name in ("both", "one", "other"))
    first = Ranking((one, both), searched=("english", [2.0, 1.9])).scored("store", [2.0, 1.9])
    second = Ranking((other, both)).scored("store", [2.0, 1.9])
    for method in ("rrf", "scores"):
        fused = fuse(first, [second], 1.0, method)
        assert fused[0].item is both
        assert fused[0].scores.keys() == {"store", "expand"}
        assert fused.searched is not None
        assert [*fused.searched[1]] == [candidate.score for candidate in fused]


HISTORY = (Message("user", "What is the Oslund Bridge?"), Message("assistant", "A bridge."))


async def test_a_follow_up_is_expanded_with_what_came_before(fakes: Fakes, load: Load, source: Searching) -> None:
    """The words of earlier questions stay beside the new ones."""
    text = PIPELINE.replace("steps:", "rewrite: true\nsteps:").replace("EXPAND", "{model: main}")
    fakes.connectors["main"] = FakeConnector(model_info=INFO, replies=["Holt carpenter"])
    async with load(text) as pipeline:
        answer = await pipeline.run("Who learned?", history=HISTORY)
    weights = [weight for _, weight in parts_of(answer.prompt.searched)]
    assert weights == [1.0, 0.5, 0.5]
