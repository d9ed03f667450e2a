"""Arguments of tool calls: whole or not."""

from __future__ import annotations

import pytest

from nexus_core.toolkit.tool_calls import are_whole, is_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null]}', "[]", '"a"', "1"])
def test_whole_arguments_are_told(text: str) -> None:
    """Whatever kind of value they are."""
    assert is_json(text)
    assert are_whole(f" {text}\n", "length")


@pytest.mark.parametrize("text", ['{"a": ', '{"a": 1}{', '{"a": NaN}', "[" * 100_000, "{'a': 1}"])
def test_what_is_no_json_is_not_whole(text: str) -> None:
    """Neither is what Python's parser takes beyond the standard, or gives up on with another error."""
    assert not are_whole(text, "stop")


def test_no_arguments_are_whole_unless_the_answer_was_cut() -> None:
    """A tool may take none."""
    assert are_whole(" ", "tool_calls")
    assert are_whole("", None)
    assert not are_whole("", "length")
