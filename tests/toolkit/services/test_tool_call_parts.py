"""Tool calls in the parts of many services: one call, its name whole and its arguments whole."""

from __future__ import annotations

import json
from itertools import pairwise, product
from typing import Any

import pytest

from nexus_core.toolkit import ToolCallParts

ARGUMENTS = '{"harbour": "Varde", "at": {"h": 6}}'


def part(index: Any = 0, said_id: str | None = None, **function: Any) -> dict[str, Any]:
    """Return a part, without what is `None`."""
    found = {"index": index, "id": said_id, "function": function}
    return {name: value for name, value in found.items() if value is not None}


def calls_of(*parts: Any) -> list[tuple[str, str]]:
    """Return the names and arguments of the calls, after a check that the deltas say the same."""
    sorter = ToolCallParts()
    deltas = [delta for each in parts for delta in sorter.take([each])] + list(sorter.finish("tool_calls"))
    calls = [(call.name, call.arguments) for call in sorter.calls()]
    for number, (name, arguments) in enumerate(calls):
        own = [delta for delta in deltas if delta.index == number]
        assert ("".join(delta.name for delta in own), "".join(delta.arguments for delta in own)) == (name, arguments)
    return calls


QUIRKS: dict[str, list[Any]] = {
    "twice": [part(said_id="a", name="tide", arguments=ARGUMENTS)] * 2,
    "twice-without-id": [part(name="tide", arguments=ARGUMENTS)] * 2,
    "again-at-the-end": [
        part(said_id="a", name="tide", arguments=ARGUMENTS[:9]), part(arguments=ARGUMENTS[9:]),
        part(arguments=ARGUMENTS),
    ],
    "function-null": [part(said_id="a", function=None) | {"function": None}, part(name="tide", arguments=ARGUMENTS)],
    "name-last": [part(said_id="a", arguments=""), part(arguments=ARGUMENTS[:9]),
                  part(name="tide", arguments=ARGUMENTS[9:])],
    "one-object": [part(said_id="a", name="tide", arguments=json.loads(ARGUMENTS))],
    "id-changes": [part(said_id="a", name="tide", arguments=ARGUMENTS[:9]), part(0, "b", arguments=ARGUMENTS[9:])],
    "named-each-time": [part(said_id="a", name="tide", arguments=ARGUMENTS[:9]),
                        part(said_id="a", name="tide", arguments=ARGUMENTS[9:])],
}  # fmt: skip


@pytest.mark.parametrize("parts", QUIRKS.values(), ids=QUIRKS)
def test_one_call_stays_one_call(parts: list[Any]) -> None:
    """However it is said."""
    [(name, arguments)] = calls_of(*parts)
    assert (name, json.loads(arguments)) == ("tide", json.loads(ARGUMENTS))


@pytest.mark.parametrize("index", [0, "0", 0.0, None], ids=repr)
@pytest.mark.parametrize(("placeholder", "at"), list(product(["{}", " {} ", "null", ""], [4, 1, 12, len(ARGUMENTS)])))
def test_placeholder_before_the_arguments_is_none(index: Any, placeholder: str, at: int) -> None:
    """Proxies begin a call with `{}`, which is no part of its arguments; an index may be a text."""
    first = part(index, "a", name="tide", arguments=placeholder)
    rest = [part(index, arguments=ARGUMENTS[:at]), part(index, arguments=ARGUMENTS[at:])]
    assert calls_of(first, *rest) == [("tide", ARGUMENTS)]
    assert calls_of(part(index, "a", name="tide"), part(index, arguments=placeholder), *rest) == [("tide", ARGUMENTS)]
    assert calls_of(first) == [("tide", "{}")]


@pytest.mark.parametrize("said_id", [None, "a"])
@pytest.mark.parametrize("cuts", [(1,), (5,), (10,), (3, 6), (1, 2, 3, 4)], ids=repr)
def test_name_in_parts_is_one_name(cuts: tuple[int, ...], said_id: str | None) -> None:
    """As long as no arguments have come and nothing says that it is another call."""
    edges = (0, *cuts, len("tide_table"))
    names = ["tide_table"[start:end] for start, end in pairwise(edges)]
    parts = [part(0, "a", name=names[0], arguments=""), *(part(0, said_id, name=name) for name in names[1:])]
    assert calls_of(*parts, part(arguments=ARGUMENTS)) == [("tide_table", ARGUMENTS)]


@pytest.mark.parametrize("names", [("tide", "tide"), ("tide", "moon")], ids=["same", "other"])
@pytest.mark.parametrize("arguments", ["{}", '{"h": 1}', ""], ids=repr)
@pytest.mark.parametrize("indexes", [(0, 0), (0, 1), ("0", "1"), (None, None)], ids=repr)
def test_a_new_id_with_a_name_is_a_new_call(names: tuple[str, str], arguments: str, indexes: tuple[Any, Any]) -> None:
    """Also where all calls have the same index."""
    parts = [
        part(index, said_id, name=name, arguments=arguments)
        for index, said_id, name in zip(indexes, ("a", "b"), names, strict=True)
    ]
    assert calls_of(*parts) == [(name, arguments or "{}") for name in names]
