"""Bodies of JSON: how deep, how many, and what it costs to find out."""

from __future__ import annotations

import json
from time import thread_time
from typing import Any

import orjson
import pytest
from hypothesis import example, given, strategies as st

from nexus_core.server.errors import Failure
from nexus_core.server.http.bodies import BRACKETS, DEPTH, parse

MIB = 2**20
TEXTS = st.text(alphabet=st.sampled_from('[]{}"\\,:aé \n'), max_size=12)
VALUES = st.recursive(
    TEXTS | st.integers(-9, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=40,
)


def nested(depth: int) -> bytes:
    """Return an object in which lists stand so deep, itself counted."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.slow
@given(st.dictionaries(TEXTS, VALUES, max_size=20), st.booleans())
@example({"messages": [":["] * 100}, True)
@example({"text": '\\"[' * 100}, True)
def test_brackets_in_texts_are_texts(value: dict[str, Any], ascii: bool) -> None:
    """However many of them, of whatever kind, and with whatever before them."""
    assert parse(json.dumps(value, ensure_ascii=ascii).encode()) == value


def test_lists_and_objects_may_stand_so_deep() -> None:
    """And one more is refused (fault 106)."""
    assert parse(nested(DEPTH)) == json.loads(nested(DEPTH))
    with pytest.raises(Failure, match=f"nested deeper than {DEPTH}"):
        parse(nested(DEPTH + 1))


def test_there_may_be_so_many_lists_and_objects() -> None:
    """And one more is refused (fault 106)."""
    body: dict[str, Any] = {"a": [{}, []] * (BRACKETS // 2 - 1)}
    assert parse(orjson.dumps(body)) == body
    with pytest.raises(Failure, match="more than 20,000 lists and objects"):
        parse(orjson.dumps({"a": [{}, []] * (BRACKETS // 2)}))


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":[' + b"[]," * (MIB // 3) + b"[]]}", id="lists"),
        pytest.param(b'{"a":[' + b'{"a":1},' * (MIB // 8) + b"{}]}", id="objects"),
        pytest.param(b"[" * MIB, id="deep"),
        pytest.param(b'{"a":"' + b"[:" * (MIB // 2) + b'"}', id="text"),
        pytest.param(b'{"a":"' + rb"\"[" * (MIB // 3) + b'"}', id="escapes"),
        pytest.param(b'{"a":"' + b"\\" * MIB, id="backslashes"),
    ],
)
def test_no_body_costs_much_to_look_at(body: bytes) -> None:
    """Next to a large but honest one, in time of the processor: everybody else waits for as long (fault 92)."""
    honest = orjson.dumps({"items": [{"id": str(n), "tags": ["a", "b"], "text": "x" * 900} for n in range(1000)]})

    def cost(data: bytes) -> float:
        began = thread_time()
        try:
            parse(data)
        except Failure:
            return thread_time() - began
        return thread_time() - began

    usual = min(cost(honest) for _ in range(5))
    assert min(cost(body) for _ in range(5)) < 20 * usual
