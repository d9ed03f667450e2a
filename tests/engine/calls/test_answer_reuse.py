"""The key of an answer: equal for what is the same, and another one as soon as anything that decides it differs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve, fields
from hypothesis import given, strategies as st

from nexus_core import (
    CallOptions,
    Chunk,
    Completion,
    ImagePart,
    Item,
    Message,
    ModelInfo,
    PackedItem,
    Prompt,
    ToolCall,
    ToolDefinition,
)
from nexus_core.config.policies import CachePolicy
from nexus_core.config.spec import ComponentSpec
from nexus_core.config.yaml.problems import SourceLocation
from nexus_core.contract.components import Kind
from nexus_core.contract.values import FollowUp
from nexus_core.engine.calls.answer_reuse import AnswerReuse, chunks_of, declaration, is_reusable, to_json
from nexus_core.engine.calls.deadline import Clock
from nexus_core.engine.models import Model
from nexus_core.store.answer_cache import StoredAnswers
from nexus_core.store.database.paths import StorePaths
from nexus_core.store.worker_threads import WorkerThreads
from nexus_core.testing.fakes import FakeConnector
from nexus_core.toolkit.secrets import Secret

INFO = ModelInfo(id="fake", provider="fake", window=4096)
MODEL = Model(name="m", connector=FakeConnector(), info=INFO, cache=CachePolicy(), declaration='["openai",{}]')
ITEM = Item(id="i", text="Twenty-eight days of leave.", title="Leave")
PACKED = PackedItem(number=1, item=ITEM, text="Twenty-eight days.", score=1.0)
PROMPT = Prompt(messages=(Message("user", "Why?"),), query="Why?", items=(PACKED,), window=4096, reserved=1024)
OPTIONS = CallOptions(temperature=0.5, max_tokens=9, stop=("x",), extra={"a": 1, "b": {"c": [1, None]}})

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def reuse(tmp_path_factory: pytest.TempPathFactory) -> AnswerReuse:
    """One whose store is never opened: keys need none."""
    return AnswerReuse(StoredAnswers(WorkerThreads(StorePaths(tmp_path_factory.mktemp("store")), None, False)), Clock())


class Addressed(FakeConnector):
    """A connector whose address comes from elsewhere than its options."""

    answer_id = "http://elsewhere/v1"


@pytest.mark.parametrize(
    ("model", "prompt", "options"),
    [
        pytest.param({"declaration": '["openai",{"thinks":true}]'}, {}, {}, id="option"),
        pytest.param({"info": evolve(INFO, id="other")}, {}, {}, id="model"),
        pytest.param({"info": evolve(INFO, provider="other")}, {}, {}, id="provider"),
        pytest.param({"info": evolve(INFO, version="2")}, {}, {}, id="version"),
        pytest.param({"connector": Addressed()}, {}, {}, id="address"),
        pytest.param({}, {"messages": (Message("user", "Why? "),)}, {}, id="content"),
        pytest.param({}, {"messages": (Message("system", "Why?"),)}, {}, id="role"),
        pytest.param({}, {"messages": (Message("user", "Wh"), Message("user", "y?"))}, {}, id="cut"),
        pytest.param({}, {"messages": (Message("user", (ImagePart(url="http://a/b.png"),)),)}, {}, id="image"),
        pytest.param({}, {"messages": (Message("user", (ImagePart(data=b"GIF89a"),)),)}, {}, id="bytes"),
        pytest.param({}, {"query": "When?"}, {}, id="query"),
        pytest.param({}, {"searched": "leave"}, {}, id="searched"),
        pytest.param({}, {"searched": FollowUp.after("leave", ["days"])}, {}, id="follow-up"),
        pytest.param({}, {"items": ()}, {}, id="items"),
        pytest.param({}, {"items": (evolve(PACKED, text="Twenty."),)}, {}, id="passage"),
        pytest.param({}, {"items": (evolve(PACKED, item=evolve(ITEM, title="Days")),)}, {}, id="title"),
        pytest.param({}, {"window": 8192}, {}, id="window"),
        pytest.param({}, {"max_output": 100}, {}, id="max-output"),
        *[
            pytest.param({}, {}, {name: value}, id=name)
            for name, value in {
                "temperature": 0.6, "max_tokens": 10, "stop": ("x", "y"), "top_p": 0.1, "frequency_penalty": 1.0,
                "presence_penalty": 1.0, "tools": (ToolDefinition(name="clock"),), "tool_choice": "required",
                "response_schema": {"type": "object"}, "reasoning_effort": "low", "extra": {"a": 1, "b": {"c": [1, 0]}},
            }.items()
        ],
    ],
)  # fmt: skip
def test_whatever_decides_an_answer_is_in_its_key(
    reuse: AnswerReuse, model: dict[str, Any], prompt: dict[str, Any], options: dict[str, Any]
) -> None:
    """Any of it changed is another key; the same again is the same."""
    key = reuse.key(MODEL, PROMPT, OPTIONS)
    other = [reuse.key(evolve(MODEL, **model), evolve(PROMPT, **prompt), evolve(OPTIONS, **options)) for _ in range(2)]
    assert key is not None
    assert (len(key), len({key, *other})) == (64, 2)


def test_every_call_option_is_tried_above() -> None:
    """One that is added to the contract is in the key by itself, and in the test by hand."""
    tried = {
        "temperature", "max_tokens", "stop", "top_p", "frequency_penalty", "presence_penalty", "extra", "tools",
        "tool_choice", "response_schema", "reasoning_effort",
    }  # fmt: skip
    assert {field.name for field in fields(CallOptions)} == tried


def test_what_decides_nothing_is_not_in_the_key(reuse: AnswerReuse) -> None:
    """The call, the trace, and a score that a service is never told of; an offline model answers by it."""
    scored = evolve(PROMPT, items=(evolve(PACKED, score=2.0),), call_id="r.1", prompt_tokens=3, tokens_at_most=9)
    assert reuse.key(MODEL, scored, OPTIONS) == reuse.key(MODEL, PROMPT, OPTIONS)
    offline = evolve(MODEL, info=evolve(INFO, capabilities=frozenset({"offline"})))
    assert reuse.key(offline, scored, OPTIONS) != reuse.key(offline, PROMPT, OPTIONS)


@given(JSON, JSON)
def test_values_that_differ_are_written_differently(first: Any, second: Any) -> None:
    """Also where Python takes them for equal: `1`, `1.0` and `True`; the order of a mapping counts."""
    written = [json.dumps(to_json({"x": value})) for value in (first, second)]
    assert (written[0] == written[1]) == (repr(first) == repr(second))


@pytest.mark.parametrize(
    "value",
    [object(), b"x", {1: "x"}, {"x": {2}}, CallOptions(extra={"x": object()})],
    ids=["object", "bytes", "number", "set", "option"],
)
def test_what_is_no_json_has_no_key(value: Any) -> None:
    """To guess would be to mix up answers."""
    with pytest.raises(TypeError, match="no JSON|not all texts"):
        to_json(value)


def test_secrets_stand_in_no_declaration() -> None:
    """A key decides nothing; a header may, so that a digest of it counts."""
    place = SourceLocation("x.yaml")

    def declared(key: str, header: str, line: int = 1) -> str:
        options = {"api_key": Secret(key), "headers": {"X-Team": Secret(header)}, "model": "gpt-4o"}
        where = evolve(place, line=line)
        return declaration(ComponentSpec(kind=Kind.CONNECTOR, use="openai", options=options, place=where))

    assert declared("sk-1", "red") == declared("sk-2", "red", line=9) != declared("sk-1", "blue")
    assert not any(word in declared("sk-1", "red") for word in ("sk-1", '"red"'))


@pytest.mark.parametrize(
    ("completion", "is_good"),
    [
        (Completion(text="Yes.", finish_reason="stop"), True),
        (
            Completion(text="", finish_reason="tool_calls", tool_calls=(ToolCall(id="", name="f", arguments="{}"),)),
            True,
        ),
        (
            Completion(text="", finish_reason="tool_calls", tool_calls=(ToolCall(id="", name="f", arguments="{"),)),
            False,
        ),
        (Completion(text="Yes.", finish_reason="tool_calls"), False),
        (Completion(text=" \n", finish_reason="stop"), False),
        (Completion(text="Yes.", finish_reason="length"), False),
        (Completion(text="Yes.", finish_reason="content_filter"), False),
        (Completion(text="Yes.", finish_reason="stop", native_finish_reason="tired"), False),
    ],
    ids=["whole", "calls", "half-call", "no-call", "blank", "cut", "filtered", "unknown"],
)
def test_only_whole_good_answers_are_reusable(completion: Completion, is_good: bool) -> None:
    """Everything else may come out better when it is asked for again."""
    assert is_reusable(completion) is is_good


class Odd:
    """A cache of somebody else, which gives what it does not promise."""

    async def get(self, key: str, *, owner: str, expires_s: float) -> Any:
        return Completion(text=1, finish_reason="stop")  # type: ignore[arg-type]

    async def put(self, key: str, completion: Completion, **about: Any) -> None:
        raise NotImplementedError


async def test_what_is_no_answer_costs_no_run_more_than_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The model is asked, whatever a cache has given."""
    assert await AnswerReuse(Odd(), Clock()).recall(MODEL, "k", "") is None
    assert "the answers that were kept cannot be read, so models are asked" in caplog.text


@given(text=st.text(max_size=3_000), reasoning=st.text(max_size=1_500))
async def test_the_chunks_of_an_answer_are_the_answer(text: str, reasoning: str) -> None:
    """In parts of a bounded size, however long it is; the end comes last."""
    chunks: list[Chunk] = [
        chunk
        async for chunk in chunks_of(Completion(text=text, finish_reason="stop", reasoning=reasoning, model="m-1"))
    ]
    assert "".join(chunk.text for chunk in chunks) == text
    assert "".join(chunk.reasoning for chunk in chunks) == reasoning
    assert max(len(chunk.text) + len(chunk.reasoning) for chunk in chunks) <= 1_000
    assert [chunk.finish_reason for chunk in chunks][-1] == "stop"
    assert chunks[-1].model == "m-1"
