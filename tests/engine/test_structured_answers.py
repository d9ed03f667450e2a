"""Answers that are held to a JSON Schema, as a pipeline's file asks for it: valid, or an error with the place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from nexus_core import (
    Answer,
    CallOptions,
    Chunk,
    Completion,
    ContentFilterError,
    Delta,
    Event,
    ModelInfo,
    NoAnswerError,
    RunFailed,
    RunFinished,
    SchemaMismatchError,
    Store,
    StreamRestarted,
    Usage,
    UsageError,
)
from nexus_core.contract.values import FinishReason
from nexus_core.testing.fakes import FakeConnector

if TYPE_CHECKING:
    from tests.engine.conftest import Fakes, Load

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "days": {"type": "integer", "minimum": 0},
        "why": {"type": "string", "maxLength": 40},
        "tags": {"type": "array", "items": {"enum": ["leave", "travel"]}},
    },
    "required": ["days"],
    "additionalProperties": False,
}
GOOD, BAD = '{"days": 30}', '{"days": "thirty"}'
PIPELINE = """
name: structured
models:
  m: {use: fake, MODEL}
  s: {use: fake, to: spare}
STREAM
steps:
  - prompt: {template: {text: "[system]\\nTalk.\\n[user]\\n{{ query }}"}}
  - generate: {model: m, schema: SCHEMA}
    as: leave
"""
WRITES = frozenset({"streaming", "generate"})
HOLDS = WRITES | {"schema"}


def text(model: str = "fallback: s", stream: str = "fail", schema: Any = SCHEMA) -> str:
    filled = PIPELINE.replace("MODEL", model).replace("STREAM", f"on_stream_failure: {stream}")
    return filled.replace("SCHEMA", json.dumps(schema))


def fake(*replies: Any, holds: bool = False, window: int = 4096) -> FakeConnector:
    info = ModelInfo(id="fake-1", provider="fake", window=window, capabilities=HOLDS if holds else WRITES)
    return FakeConnector(replies=replies, model_info=info)


def use(fakes: Fakes, main: FakeConnector, spare: FakeConnector | None = None) -> FakeConnector:
    fakes.connectors = {"main": main, "spare": spare or fake(GOOD)}
    return main


class KeptAnswers:
    """A cache with one answer, whatever is asked."""

    def __init__(self, completion: Completion) -> None:
        self.completion = completion

    async def get(self, key: str, *, owner: str, expires_s: float | None) -> Completion:
        return self.completion

    async def put(self, key: str, completion: Completion, **bounds: Any) -> None:
        self.completion = completion


def outcomes(attempts: Any) -> list[str]:
    return [f"{row.model}:{row.outcome}" for row in attempts]


async def streamed(pipeline: Any, query: str) -> list[Event]:
    return [event async for event in pipeline.stream(query)]


async def test_the_value_is_in_the_answer_and_its_variables(load: Load, fakes: Fakes) -> None:
    """As JSON data; the text says the same."""
    use(fakes, fake(GOOD))
    async with load(text()) as pipeline:
        answer = await pipeline.run("How long?")
    assert (answer.value, answer.has_value, answer.repaired, answer.text) == ({"days": 30}, True, False, GOOD)
    assert answer.variables == {"leave": {"days": 30}}


async def test_a_service_that_can_hold_to_a_schema_is_sent_it(load: Load, fakes: Fakes) -> None:
    """And no word of it is in the prompt."""
    main = use(fakes, fake(GOOD, holds=True))
    async with load(text()) as pipeline:
        await pipeline.run("How long?")
    assert main.options[0].response_schema == SCHEMA
    assert [message.text for message in main.prompts[0].messages] == ["Talk.", "How long?"]


async def test_a_schema_is_described_to_other_services_and_counted(load: Load, fakes: Fakes) -> None:
    """In the instructions, so that the window holds it; nothing of it is an option then."""
    main = use(fakes, fake(GOOD))
    async with load(text()) as pipeline:
        answer = await pipeline.run("How long?")
        explained = await pipeline.explain("How long?")
    system = main.prompts[0].messages[0].text
    assert main.options[0].response_schema is None
    assert system.startswith("Talk.\n\n")
    assert json.loads(system.splitlines()[-1]) == SCHEMA
    assert answer.prompt.tokens_at_most >= explained.prompt.tokens_at_most > 60


async def test_a_schema_that_leaves_no_room_is_told_before_anything_is_sent(load: Load, fakes: Fakes) -> None:
    """The next model, which has the room, is asked."""
    main = use(fakes, fake(GOOD, window=120))
    async with load(text()) as pipeline:
        answer = await pipeline.run("How long?")
    assert (main.prompts, answer.model) == ([], "s")


async def test_a_mismatch_is_asked_again_once(load: Load, fakes: Fakes) -> None:
    """At once; what both attempts used is in the ledger."""
    use(fakes, fake(BAD, GOOD))
    async with load(text()) as pipeline:
        answer = await pipeline.run("How long?")
    assert outcomes(answer.attempts) == ["m:schema_mismatch", "m:ok"]
    assert [(row.prompt_tokens, row.completion_tokens, row.waited_s) for row in answer.attempts] == [(7, 3, 0.0)] * 2


async def test_the_fallback_answers_after_the_second_mismatch(load: Load, fakes: Fakes) -> None:
    """As after other failures; where it does not match either, the error tells of both."""
    use(fakes, fake(BAD))
    async with load(text()) as pipeline:
        assert outcomes((await pipeline.run("How long?")).attempts) == ["m:schema_mismatch"] * 2 + ["s:ok"]
    use(fakes, fake(BAD), fake("No."))
    async with load(text()) as pipeline:
        with pytest.raises(NoAnswerError) as raised:
            await pipeline.run("How long?")
    assert outcomes(raised.value.attempts) == ["m:schema_mismatch"] * 2 + ["s:schema_mismatch"] * 2


@pytest.mark.parametrize("model", ["retry: false", "retry: {attempts: 1}"])
async def test_a_mismatch_is_never_asked_again_beyond_the_cap(load: Load, fakes: Fakes, model: str) -> None:
    """The error has the place and what is expected, and nothing of the answer."""
    main = use(fakes, fake(BAD))
    async with load(text(model)) as pipeline:
        with pytest.raises(SchemaMismatchError, match="at `/days` it is to be of `type") as raised:
            await pipeline.run("How long?")
    assert (len(main.prompts), raised.value.pointer, "thirty" in str(raised.value)) == (1, "/days", False)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_repaired_answer_is_marked_and_its_text_is_json(load: Load, fakes: Fakes, stream: bool) -> None:
    """Of a stream the parts are what the model wrote, and the answer at the end is what was read of it."""
    use(fakes, fake('Sure:\n```json\n{"days": 30,}\n```'))
    async with load(text()) as pipeline:
        if stream:
            last = (await streamed(pipeline, "How long?"))[-1]
            assert isinstance(last, RunFinished)
            answer = last.answer
        else:
            answer = await pipeline.run("How long?")
    assert answer is not None
    assert (answer.repaired, answer.text, answer.value) == (True, GOOD, {"days": 30})


@pytest.mark.parametrize(("cut", "value"), [('{"days": 3', None), (GOOD, {"days": 30})], ids=["cut", "just whole"])
async def test_an_answer_whose_tokens_were_used_up_is_not_repaired(
    load: Load, fakes: Fakes, cut: str, value: Any
) -> None:
    """Nor asked again, since it would be cut again; a fallback may have more to say."""
    use(fakes, fake([Chunk(cut), Chunk(finish_reason="length", usage=Usage(prompt_tokens=1, completion_tokens=9))]))
    async with load(text()) as pipeline:
        answer = await pipeline.run("How long?")
    assert outcomes(answer.attempts) == (["m:ok"] if value else ["m:schema_mismatch", "s:ok"])


async def test_a_refusal_is_a_content_filter_error(load: Load, fakes: Fakes) -> None:
    """Though there is text, which is no mismatch."""
    main = use(fakes, fake(Completion(text="I won't.", finish_reason="content_filter")))
    async with load(text()) as pipeline:
        with pytest.raises(ContentFilterError, match="refused"):
            await pipeline.run("How long?")
    assert len(main.prompts) == 1


async def test_a_stream_that_does_not_match_ends_with_an_error(load: Load, fakes: Fakes) -> None:
    """What was shown is void, and nothing else comes in its place without a word."""
    main = use(fakes, fake(BAD))
    async with load(text()) as pipeline:
        *_, last = events = await streamed(pipeline, "How long?")
    assert isinstance(last, RunFailed)
    assert (last.kind, last.partial, len(main.prompts)) == ("schema_mismatch", BAD, 1)
    assert not any(isinstance(event, StreamRestarted) for event in events)


@pytest.mark.parametrize(("policy", "ends"), [("restart", RunFinished), ("continue", RunFailed)])
async def test_a_stream_begins_again_only_where_the_pipeline_says_so(
    load: Load, fakes: Fakes, policy: str, ends: type
) -> None:
    """With StreamRestarted before the new text; a whole answer cannot be continued."""
    main = use(fakes, fake(BAD))
    async with load(text(stream=policy)) as pipeline:
        events = await streamed(pipeline, "How long?")
    told = [event for event in events if isinstance(event, Delta | StreamRestarted)]
    restarts = [place for place, event in enumerate(told) if isinstance(event, StreamRestarted)]
    assert (type(events[-1]), len(main.prompts), len(restarts)) == (ends, 1, int(policy == "restart"))
    if restarts:
        assert "".join(event.text for event in told[restarts[0] + 1 :] if isinstance(event, Delta)) == GOOD


async def test_an_answer_of_the_cache_is_validated_too(load: Load, fakes: Fakes, tmp_path: Path) -> None:
    """It is kept as the model wrote it, and repaired again."""
    main = use(fakes, fake('{"days": 30,}'))
    async with Store(tmp_path / "store") as store, load(text("cache: true"), answers=store.answers) as pipeline:
        await pipeline.run("How long?")
        answer = await pipeline.run("How long?")
    assert (answer.value, answer.repaired, answer.attempts[0].from_cache) == ({"days": 30}, True, True)
    assert len(main.prompts) == 1


async def test_what_was_kept_and_does_not_match_is_asked_for(load: Load, fakes: Fakes) -> None:
    """As a mismatch of the service would be, and the new answer is kept in its place."""
    answers = KeptAnswers(Completion(text=BAD, finish_reason="stop"))
    use(fakes, fake(GOOD))
    async with load(text("cache: true"), answers=answers) as pipeline:
        answer = await pipeline.run("How long?")
    assert [(row.outcome, row.from_cache) for row in answer.attempts] == [("schema_mismatch", True), ("ok", False)]
    assert (answer.value, answers.completion.text) == ({"days": 30}, GOOD)


async def test_a_callers_schema_stands_over_that_of_the_step(load: Load, fakes: Fakes) -> None:
    """One that is none is told before anything is sent."""
    main = use(fakes, fake('"yes"'))
    async with load(text()) as pipeline:
        answer = await pipeline.run("Is it?", options=CallOptions(response_schema={"enum": ["yes", "no"]}))
        with pytest.raises(UsageError, match="`/type`"):
            await pipeline.run("Is it?", options=CallOptions(response_schema={"type": "txt"}))
    assert (answer.value, len(main.prompts)) == ("yes", 1)


@pytest.mark.parametrize("name", ["leave.json", "leave.yaml"])
async def test_a_schema_may_stand_in_a_file_beside_the_pipeline(
    load: Load, fakes: Fakes, tmp_path: Path, name: str
) -> None:
    """In JSON or YAML; the pipeline knows the file as one of its own."""
    (tmp_path / name).write_text(json.dumps(SCHEMA, indent="  "))
    main = use(fakes, fake(GOOD, holds=True))
    async with load(text(schema=f"./{name}")) as pipeline:
        await pipeline.run("How long?")
        assert [path.name for path in pipeline.files] == ["pipeline.yaml", name]
    assert main.options[0].response_schema == SCHEMA


# A thousand malformed answers

PROSE = ("Here it is:", "As [1] says, ", "{", "```", "Note: {x} and [y]. ", "\N{BYTE ORDER MARK}")
Mutation = Callable[[str, Random], str]


def _inserted(said: str, random: Random) -> str:
    place = random.randrange(len(said) + 1)
    return said[:place] + random.choice('{}[]",:\n\t\\0nN\x00') + said[place:]


def _removed(said: str, random: Random) -> str:
    place = random.randrange(max(len(said), 1))
    return said[:place] + said[place + 1 :]


MUTATIONS: tuple[Mutation, ...] = (
    _inserted,
    _removed,
    lambda said, random: said[: random.randrange(len(said) + 1)],
    lambda said, random: f"```json\n{said}\n```",
    lambda said, random: random.choice(PROSE) + said,
    lambda said, random: said + random.choice(PROSE),
    lambda said, random: said.replace("}", ",}").replace("]", ",]"),
    lambda said, random: said.replace(" ", "\n"),
    lambda said, random: said.replace('"', "'"),
    lambda said, random: said.replace(":", "=", 1),
    lambda said, random: said + said,
    lambda said, random: said.replace("days", random.choice(("Days", "days\\u0000", "d\\ud800ys", "why"))),
    lambda said, random: said.replace("1", random.choice(("NaN", "1e999", "-1", "1.5", "null", '"1"', "9" * 5000))),
    lambda said, random: f'{{"answer": {said}}}',
    lambda said, random: f"[{said}]",
    lambda said, random: json.dumps(said),
)


def _malformed(random: Random) -> str:
    value: dict[str, Any] = {"days": random.choice((1, 10, 1.0))}
    if random.random() < 0.6:
        value["why"] = random.choice(("Because.", "a, b] c} d", 'says "so"', "[1]\n{x}"))
    if random.random() < 0.6:
        value["tags"] = random.sample(("leave", "travel", "other"), random.randrange(3))
    said = json.dumps(value)
    for _ in range(random.randrange(1, 4)):
        said = random.choice(MUTATIONS)(said, random)
    return said


def _reply(random: Random) -> Any:
    said = _malformed(random)
    if random.random() < 0.2:
        end: FinishReason = random.choice(("length", "content_filter"))
        return [Chunk(said), Chunk(finish_reason=end, usage=Usage(prompt_tokens=7, completion_tokens=3))]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("holds", [False, True], ids=["described", "sent"])
async def test_a_thousand_malformed_answers_are_valid_or_a_declared_failure(
    load: Load, fakes: Fakes, holds: bool
) -> None:
    """With at most one more request for each; whatever comes out matches the schema by another library's word."""
    random = Random(14 + holds)
    ended = {"valid": 0, "repaired": 0, "failed": 0}
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for _ in range(100):  # each a pipeline of its own: the budget of retries is ten at first
        main = use(fakes, fake(holds=holds))
        async with load(text("window: 4096")) as pipeline:
            for _ in range(5):
                main.replies = (_reply(random), _reply(random))
                main.prompts.clear()
                answer = await _answer(pipeline, stream=random.random() < 0.3)
                assert len(main.prompts) <= 2
                if answer is not None:
                    assert validator.is_valid(answer.value)
                    assert json.loads(answer.text) == answer.value
                ended["failed" if answer is None else "repaired" if answer.repaired else "valid"] += 1
    assert sum(ended.values()) == 500
    assert min(ended.values()) > 10


async def _answer(pipeline: Any, *, stream: bool) -> Answer | None:
    """Return a valid answer, or `None` where the run ended with one of the errors there are for that."""
    try:
        if not stream:
            answer: Answer = await pipeline.run("How long?")
            return answer
        last = (await streamed(pipeline, "How long?"))[-1]
    except (SchemaMismatchError, ContentFilterError):
        return None
    if isinstance(last, RunFinished):
        return last.answer
    assert isinstance(last, RunFailed)
    assert last.kind in ("schema_mismatch", "content_filter")
    return None
