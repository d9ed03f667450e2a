"""JSON of services that is not quite JSON: what can be read is read, what is cut is told apart."""

from __future__ import annotations

import json
import math
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nexus_core import ProtocolError, TruncatedError
from nexus_core.toolkit import read_json

BEFORE = [b"", b"\xef\xbb\xbf", b"\n\n  \n", b"\xef\xbb\xbf \n"]
BEHIND = [b"", b"\n\n\0\n", b"\n\ndata: [DONE]\n\n", b"\r\n[DONE]", b"\0\0"]


@pytest.mark.parametrize(("before", "behind"), list(product(BEFORE, BEHIND)), ids=repr)
@pytest.mark.parametrize("value", [{"a": [1, "é, }"]}, [{"a": None}], {}], ids=repr)
def test_what_stands_around_the_value_is_passed_over(before: bytes, behind: bytes, value: Any) -> None:
    """A byte order mark, blank lines, null characters, and the end of a stream."""
    assert read_json(before + json.dumps(value).encode() + behind) == value


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_has_not_are_read(constant: str) -> None:
    """Log-probabilities hold them, and nobody reads those."""
    found = read_json(f'{{"logprob": {constant}, "text": "a\\ud83d"}}'.encode())
    assert not math.isfinite(found["logprob"])
    assert found["text"] == "a\ufffd"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": 1,}', {"a": 1}), (b'{"a": [1, 2 , ], "b": {"c": ",}",},}', {"a": [1, 2], "b": {"c": ",}"}}),
        (b"[1,\n]", [1]),
    ],
    ids=["object", "nested", "list"],
)  # fmt: skip
def test_a_comma_too_many_is_left_out(data: bytes, expected: Any) -> None:
    """Before a closing bracket, and not in a text."""
    assert read_json(data) == expected


@pytest.mark.parametrize(
    "data",
    [b"{,}", b"[,]", b'{"a": 1,,}', b'{"a":}', b"{} {}", b'{"a": 1} x', b"[1 2]", b"[1,][1,]", b"\0", b"{'a': 1}"],
    ids=repr,
)  # fmt: skip
def test_what_cannot_be_understood_is_an_error(data: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(ProtocolError):
        read_json(data)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=3), values, min_size=1, max_size=3), st.sampled_from(BEFORE), st.integers(1, 99)
)
@settings(max_examples=200, deadline=None)
def test_every_cut_is_told_as_a_cut(value: dict[str, Any], before: bytes, size: int) -> None:
    """Whatever stands before it."""
    body = json.dumps(value, ensure_ascii=False).encode()
    with pytest.raises(TruncatedError):
        read_json(before + body[: min(size, len(body) - 1)])
