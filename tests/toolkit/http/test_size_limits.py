"""Bounds of answers."""

from __future__ import annotations

from hypothesis import given, strategies as st

from nexus_core.toolkit.http.line_decoder import LINE_CAP
from nexus_core.toolkit.http.size_limits import JSON_CAP, LARGEST_SIZES, STREAM_CAP, UNKNOWN, sizes_for


@given(st.integers(1, 10**7), st.integers(0, 10**6))
def test_sizes_grow_with_the_tokens_up_to_the_caps(tokens: int, more: int) -> None:
    """Room for eight characters a token at least, in a whole answer with each of them escaped."""
    low, high = sizes_for(tokens), sizes_for(tokens + more)
    assert low.text <= high.text
    assert low.line <= high.line < LARGEST_SIZES.line == LINE_CAP
    assert low.stream <= high.stream <= LARGEST_SIZES.stream == STREAM_CAP
    assert low.whole <= high.whole <= LARGEST_SIZES.whole == JSON_CAP
    assert low.text >= 8 * tokens
    assert low.stream >= min(STREAM_CAP, 1000 * tokens)


def test_sizes_of_the_largest_usual_answers_let_64_streams_stay_small() -> None:
    """What they may hold at once, each at its bound: text and a line."""
    for tokens, most in ((16_384, 90 * 2**20), (128_000, 150 * 2**20)):
        sizes = sizes_for(tokens)
        assert 64 * (sizes.text + sizes.line) <= most
    assert sizes_for(None) == sizes_for(UNKNOWN)
