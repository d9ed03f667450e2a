"""Streams that do not end: they are cut where no answer that was asked for goes on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from nexus_core import CallOptions, Chunk, ModelInfo, NoAnswerError, ResponseTooLargeError, ToolCallDelta
from nexus_core.engine.calls.prompt_fitting import most_characters
from nexus_core.engine.calls.stream_accumulator import StreamAccumulator, TextBuffer

MOST = 2**18
"""Characters that the fake's window of 4,096 tokens allows."""


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


@given(st.lists(st.text(max_size=3), max_size=200), st.integers(1, 60))
def test_pieces_are_few_and_hold_everything(some: list[str], times: int) -> None:
    """Joined now and then, and never a second time."""
    pieces = TextBuffer()
    for piece in some * times:
        pieces.append(piece)
    assert "".join(pieces) == "".join(some * times)
    assert len(pieces) <= 2048 + len(some) * times // 2048 + 1
