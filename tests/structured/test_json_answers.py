"""The JSON of an answer: read as it stands, repaired where that is safe, and refused elsewhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from nexus_core.structured.json_answers import MOST_DEPTH, NotJsonError, read_json_answer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
REPAIRED = {
    "a fence": ('```json\n{"a": 1}\n```', '{"a": 1}'),
    "a fence without a language": ("```\n[1, 2]\n```", "[1, 2]"),
    "a fence in windows' lines": ('```json\r\n{"a": 1}\r\n```\r\n', '{"a": 1}'),
    "text before": ('Here it is: {"a": 1}', '{"a": 1}'),
    "text after, with a citation": ('{"a": 1}\n\nAs told in [1] and [2].', '{"a": 1}'),
    "a trailing comma": ('{"a": [1, 2,], }', '{"a": [1, 2] }'),
    "a comma in a text": ('{"a": "x,]", "b": [1,]}', '{"a": "x,]", "b": [1]}'),
    "a raw line break": ('{"a": "x\ny\t"}', '{"a": "x\\ny\\t"}'),
    "all of it": ('Sure!\n```json\n{"a": "x\ny",}\n```\nBye.', '{"a": "x\\ny"}'),
    "a fence within a text": ('```json\n{"a": "```"}\n```', '{"a": "```"}'),
}
REFUSED = {
    "nothing": "",
    "prose": "I cannot do that.",
    "two objects": '{"a": 1} or {"a": 2}',
    "a cut object": '{"a": {"b": 1}, "c": ',
    "a cut text": '{"a": "x',
    "single quotes": "{'a': 1}",
    "a comment": '{"a": 1 // one\n}',
    "no comma": '{"a": 1 "b": 2}',
    "a key twice": '{"a": 1, "a": 2}',
    "not a number": '{"a": NaN}',
    "an infinite number": '{"a": 1e999}',
    "too many digits": "9" * 5_000,
    "half of a pair": '{"a": "\\ud800"}',
    "too deep": "[" * (MOST_DEPTH + 2) + "]" * (MOST_DEPTH + 2),
    "far too deep": "[" * 100_000,
    "open without end": '{"a": ' * 20_000,
    "quotes without end": '{"a": "' * 20_000,
    "backslashes without end": '{\\"' * 20_000,
}


@given(VALUES)
def test_json_is_read_as_it_stands(value: object) -> None:
    """Nothing is repaired of what needs no repair."""
    text = json.dumps(value)
    if text.isascii() and "\\ud" not in text:
        answer = read_json_answer(text)
        assert (answer.value, answer.text, answer.repaired) == (value, text, False)


@pytest.mark.parametrize(("text", "read"), REPAIRED.values(), ids=REPAIRED)
def test_safe_mistakes_are_repaired_and_marked(text: str, read: str) -> None:
    """The text that is left is JSON and says what the value is."""
    answer = read_json_answer(text)
    assert (answer.text, answer.repaired, answer.value) == (read, True, json.loads(read))


@pytest.mark.parametrize("text", REPAIRED.values(), ids=REPAIRED)
def test_nothing_is_repaired_where_it_may_not_be(text: tuple[str, str]) -> None:
    """As of an answer whose tokens were used up."""
    with pytest.raises(NotJsonError):
        read_json_answer(text[0], may_repair=False)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_would_have_to_be_guessed_is_refused(text: str) -> None:
    """Also what is hostile, which takes no longer than its length."""
    with pytest.raises(NotJsonError):
        read_json_answer(text)


@given(VALUES.map(lambda value: json.dumps({"a": value})), st.integers(0, 10_000))
def test_a_cut_object_is_never_taken_for_a_whole_one(text: str, cut: int) -> None:
    """Not even for one that stands within it."""
    with pytest.raises(NotJsonError):
        read_json_answer(text[: cut % len(text)])


@given(st.text(alphabet='{}[]",:\\ntru1e-`\n a'))
def test_any_text_is_read_or_refused(text: str) -> None:
    """And nothing else is raised."""
    try:
        answer = read_json_answer(text)
    except NotJsonError:
        return
    assert json.loads(answer.text) == answer.value
