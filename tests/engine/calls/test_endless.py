"""Streams that do not end: they are cut where no answer that was asked for goes on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from nexus_core import CallOptions, Chunk, ModelInfo, NoAnswerError, ResponseTooLargeError, ToolCallDelta
from nexus_core.engine.calls.prompt_fitting import most_characters
from nexus_core.engine.calls.stream_accumulator import StreamAccumulator
from nexus_core.engine.calls.text_buffer import OWN_BYTES, SHARED_BYTES, StreamMemory, TextBuffer
from nexus_core.engine.models import Model
from nexus_core.testing import FakeConnector

MOST = 2**18
"""Characters that the fake's window of 4,096 tokens allows."""


@pytest.fixture(name="model")
def _model() -> Model:
    info = ModelInfo(id="m", provider="p", window=10**7)
    return Model(name="main", connector=FakeConnector(), info=info)


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(Chunk("x" * 1000), id="text"),
        pytest.param(Chunk(reasoning="x" * 1000), id="reasoning"),
        pytest.param(Chunk(tool_calls=(ToolCallDelta(index=0, name="f", arguments="x" * 1000),)), id="arguments"),
    ],
)
def test_an_endless_stream_is_cut(bench: Any, fake: Any, chunk: Chunk) -> None:
    """Whatever it consists of, and whichever connector gives it."""
    tried = bench(fake([chunk] * 300))
    with pytest.raises((ResponseTooLargeError, NoAnswerError), match="max_output"):
        tried.stream()
    assert tried.requests == [1]


def test_more_tool_calls_than_anybody_makes_are_cut() -> None:
    """Each counts, however short it is."""
    said = StreamAccumulator(MOST)
    for index in range(600):
        said.take(Chunk(tool_calls=(ToolCallDelta(index=index, name="f"),)))
    assert said.left < 0


@pytest.mark.parametrize(
    ("figures", "asked", "most"),
    [
        pytest.param({"window": 8192}, None, MOST, id="least"),
        pytest.param({"window": 200_000, "max_output": 50_000}, None, 531_072, id="max-output"),
        pytest.param({"window": 8192}, 50_000, 531_072, id="asked-for"),
        pytest.param({"window": 100_000}, None, 931_072, id="window"),
    ],
)
def test_the_bound_follows_from_what_a_model_may_give(figures: dict[str, Any], asked: int | None, most: int) -> None:
    """Its max output, else its window, and what a caller asks for."""
    info = ModelInfo(id="m", provider="p", **figures)
    assert most_characters(info, CallOptions(max_tokens=asked)) == most


@pytest.mark.slow
@given(st.lists(st.text(st.characters(codec=None), max_size=3), max_size=200), st.integers(1, 60))
def test_a_text_buffer_gives_back_every_character(some: list[str], times: int) -> None:
    """Halves of a surrogate pair too, and the size is that of its bytes."""
    pieces = TextBuffer()
    for piece in some * times:
        pieces.append(piece)
    whole = "".join(some * times)
    assert pieces.text() == whole
    assert bool(pieces) == bool(whole or some)
    assert pieces.size() == len(whole.encode(errors="surrogatepass"))


@pytest.mark.slow
def test_long_streams_share_what_memory_there_is(model: Model) -> None:
    """One may be very long; where several are, the one that asks for more is cut, and those of usual length are not."""
    memory = StreamMemory()
    said = [StreamAccumulator(10**8, memory) for _ in range(64)]
    most = cut = 0
    for _ in range(200):
        for stream in said:
            try:
                stream.say("\u4e00" * 2**13)
                stream.check_size(model)
            except ResponseTooLargeError:
                cut += 1
                stream.close()
        most = max(most, sum(stream.text.size() for stream in said))
    assert cut >= 64
    assert most <= 64 * (OWN_BYTES + 2**18) + SHARED_BYTES
    for stream in said:
        stream.close()
    assert memory.left == SHARED_BYTES


def test_streams_of_usual_length_take_nothing_that_is_shared(model: Model) -> None:
    """However many there are: what each may hold for itself is more than a long answer has."""
    memory = StreamMemory(shared=0)
    for _ in range(1000):
        said = StreamAccumulator(10**7, memory)
        for _ in range(OWN_BYTES // 2**15):
            said.say("x" * 2**15)
            said.check_size(model)
    assert memory.left == 0
